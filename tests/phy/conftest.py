"""Every call of the channel layer in these tests is held to the shapes of its docstring."""

import inspect

import pytest
from documented_shapes import PATTERN, checked

from lvm_mtc import phy


@pytest.fixture(autouse=True)
def documented_shapes(monkeypatch):
    """``phy``'s public functions, checked; the library's own modules call each other unchecked."""
    for name in phy.__all__:
        function = getattr(phy, name)
        if inspect.isfunction(function) and PATTERN.search(inspect.getdoc(function) or ""):
            monkeypatch.setattr(phy, name, checked(function))
