"""What weights files say of where their weights come from, and a digest that tells weights from others."""

import hashlib
import importlib.metadata
import platform
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

import lvm_mtc

_PACKAGES = ("jax", "flax", "optax", "numpy")


def made_with() -> dict[str, Any]:
    """Versions and device, as JSON."""
    versions = {"lvm_mtc": lvm_mtc.__version__, "python": platform.python_version()}
    return {
        "versions": versions | {name: importlib.metadata.version(name) for name in _PACKAGES},
        "device": jax.devices()[0].device_kind,
    }


def digest(variables: Mapping[str, Any]) -> str:
    """SHA-256 of names, types, shapes and values."""
    found = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        found.update(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}".encode())
        found.update(np.ascontiguousarray(leaf).tobytes())
    return found.hexdigest()
