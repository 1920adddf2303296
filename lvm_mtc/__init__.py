"""Token and semantic communication over MIMO fading links, as one differentiable JAX program.

Names are loaded when they are first used, so ``import lvm_mtc.phy`` brings jax and numpy and nothing else:

    from lvm_mtc import phy                                         # the channel layer alone
    from lvm_mtc import LinkConfig, Source, forward, load_scheme    # a scheme over a link

docs/architecture.md says what stands in which room.
"""

import importlib
from typing import Any

__version__ = "0.2.0"

_SUBMODULES = ("config", "data", "link", "metrics", "models", "phy", "results", "schemes", "sweep", "training", "zoo")
_HOME = {
    "LinkConfig": "lvm_mtc.link.config",
    "OperatingPoint": "lvm_mtc.link.signal",
    "Source": "lvm_mtc.schemes.scheme",
    "forward": "lvm_mtc.schemes.simulate",
    "from_dict": "lvm_mtc.config",
    "load_scheme": "lvm_mtc.schemes.loading",
    "make_scheme": "lvm_mtc.schemes",
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
