import sys

import pytest

from lvm_mtc.allocation.optional import scipy
from lvm_mtc.allocation.uep import bit_error_rate


def test_without_scipy_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    with pytest.raises(ImportError, match=r"lvm_mtc.allocation needs SciPy: pip install 'lvm-mtc\[allocation\]'"):
        bit_error_rate(2, 1.0)
    monkeypatch.undo()
    assert scipy("special").ndtr(0.0) == 0.5
