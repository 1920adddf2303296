"""SciPy, which is an extra of the package."""

import importlib
from types import ModuleType


def scipy(module: str) -> ModuleType:
    """``scipy.<module>``; ``ImportError`` with one line where SciPy is missing."""
    try:
        return importlib.import_module(f"scipy.{module}")
    except ImportError as error:
        raise ImportError("lvm_mtc.allocation needs SciPy: pip install 'lvm-mtc[allocation]'") from error
