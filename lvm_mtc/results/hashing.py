"""Digests of arrays."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np


def params_hash(params: Any) -> str:
    """SHA-256 of names, types, shapes and bytes of nested mappings, lists, tuples or named tuples of arrays."""
    digest = hashlib.sha256()
    for name, leaf in sorted(_leaves(params, ""), key=lambda pair: pair[0]):
        digest.update(f"{name} {leaf.dtype} {leaf.shape} ".encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


def arrays_hash(*arrays: np.ndarray | None) -> str:
    """SHA-256 of arrays as float32; None is left out."""
    return params_hash({str(i): np.float32(a) for i, a in enumerate(arrays) if a is not None})


def _leaves(tree: Any, name: str) -> Iterator[tuple[str, np.ndarray]]:
    """Leaves with their paths, written as ``jax.tree_util.keystr`` writes them."""
    if tree is None:
        return
    if isinstance(tree, Mapping):
        for key in tree:
            yield from _leaves(tree[key], f"{name}[{key!r}]")
    elif hasattr(tree, "_fields"):
        for field in tree._fields:
            yield from _leaves(getattr(tree, field), f"{name}.{field}")
    elif isinstance(tree, (list, tuple)):
        for number, entry in enumerate(tree):
            yield from _leaves(entry, f"{name}[{number}]")
    else:
        yield name, np.asarray(tree)
