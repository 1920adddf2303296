"""Everything that goes over a link in these tests is held to the shapes that its classes document."""

import pytest
from documented_shapes import hold_links


@pytest.fixture(autouse=True)
def documented_shapes(monkeypatch):
    """Signals, what is received of them, and what is measured and booked."""
    hold_links(monkeypatch)
