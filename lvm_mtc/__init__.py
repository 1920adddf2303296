"""Multi-UAV token communication from pixels to pixels, as one differentiable JAX program.

Names are loaded when they are first used, so ``import lvm_mtc.phy`` brings jax and numpy and nothing else:

    from lvm_mtc import phy                      # the channel layer alone
    from lvm_mtc import System, SystemConfig     # the whole chain
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_SUBMODULES = ("config", "data", "evaluation", "models", "phy", "system", "training")
_HOME = {
    "LinkConfig": "lvm_mtc.system",
    "OperatingPoint": "lvm_mtc.system",
    "System": "lvm_mtc.system",
    "SystemConfig": "lvm_mtc.system",
    "from_dict": "lvm_mtc.config",
    "to_dict": "lvm_mtc.config",
}

__all__ = ["__version__", *_SUBMODULES, *_HOME]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"lvm_mtc.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'lvm_mtc' has no attribute {name!r}; it has {', '.join(sorted(__all__))}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
