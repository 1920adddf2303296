"""Attention heads and MLP units taken out of a network's parameters, which really get smaller.

The modules read their widths off the parameters (``transformer.held_features``), so a pruned network needs no other
configuration. Two kinds of groups are found: ``qkv`` and ``proj`` of an attention, of which whole heads go, and ``fc1``
and ``fc2`` behind a ``norm2``, of which hidden units go.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from lvm_mtc.models.weights import flatten_params, unflatten_params

_LAST = {"qkv": "proj", "fc1": "fc2"}


class Group(NamedTuple):
    """What can be taken out of two layers: ``count`` heads or units of ``size`` features each."""

    count: int
    size: int


Groups = dict[str, Group]
"""By the name of the first layer, ``"encoder/block0/qkv"`` or ``"encoder/block0/fc1"``."""

Kept = Mapping[str, np.ndarray]
"""Which heads or units of a group stay, ascending; all of a group that is left out."""


def find_groups(loss: Callable[[Any], Any], params: Mapping[str, Any]) -> Groups:
    """Looks where a program uses attention and MLPs, by tracing it.

    Args:
        loss: Any pure function of the parameters that applies the modules, not jitted inside.

    Raises:
        ValueError: if layers are scanned or used under ``vmap``: their parameters are not those of one layer.
    """
    heads: dict[int, int] = {}
    names: dict[int, str] = {}

    def note(call, args, kwargs, context):
        module = context.module
        if context.method_name == "__call__" and hasattr(module, "num_heads") and module.has_variable("params", "qkv"):
            heads[id(module.get_variable("params", "qkv")["kernel"])] = module.num_heads
        return call(*args, **kwargs)

    def traced(params):
        names.update({id(leaf): name for name, leaf in flatten_params(params).items()})
        with nn.intercept_methods(note):
            return loss(params), params  # which keeps the leaves, and so their ids, alive

    jax.eval_shape(traced, params)
    groups, flat = {}, {name: np.shape(leaf) for name, leaf in flatten_params(params).items()}
    by_name = {names[leaf]: count for leaf, count in heads.items() if leaf in names}
    for name, shape in flat.items():
        prefix, _, layer = name.removesuffix("/kernel").rpartition("/")
        if layer == "qkv" and name.endswith("/kernel"):
            if name not in by_name or len(shape) != 2:
                raise ValueError(f"{name} {shape}: layers that are scanned or mapped cannot be pruned one by one")
            size = shape[0] // by_name[name]
            groups[f"{prefix}/qkv"] = Group(shape[1] // 3 // size, size)
        elif layer == "fc1" and name.endswith("/kernel") and _norm(f"{prefix}/fc1") in flat:
            groups[f"{prefix}/fc1"] = Group(shape[1], 1)
    return groups


def _norm(mlp: str) -> str:
    """What stands before the MLP of a transformer and before no other pair of layers."""
    return f"{mlp.rpartition('/')[0]}/norm2/scale"


def layers(group: str) -> tuple[str, str]:
    """Kernels of the two layers of a group."""
    prefix, _, first = group.rpartition("/")
    return f"{group}/kernel", f"{prefix}/{_LAST[first]}/kernel"


def importance(
    params: Mapping[str, Any], gradients: Sequence[Mapping[str, Any]], groups: Groups
) -> dict[str, np.ndarray]:
    """How much the loss would change without each head or unit, to first order: the mean of (sum of w dL/dw)^2.

    The sum is over the rows of the second layer that it feeds, the mean over ``gradients``, one for each part of some
    examples.

    Source: Molchanov et al., Importance Estimation for Neural Network Pruning (2019), their Eq. 8.
    """
    flat, found = flatten_params(params), {}
    flat_gradients = [flatten_params(gradient) for gradient in gradients]
    for name, group in groups.items():
        last = layers(name)[1]
        changes = [np.asarray(flat[last], np.float64) * np.asarray(g[last], np.float64) for g in flat_gradients]
        found[name] = np.mean([c.reshape(group.count, -1).sum(1) ** 2 for c in changes], axis=0)
    return found


def prune(params: Mapping[str, Any], groups: Groups, kept: Kept) -> dict[str, Any]:
    """The smaller parameters, NumPy arrays; ``kept`` has at least one head or unit of each group."""
    flat = dict(flatten_params(params))
    for tensor, axis, places in _cuts(flat, groups, kept):
        flat[tensor] = np.take(np.asarray(flat[tensor]), places, axis)
    return unflatten_params(flat)


def grow(pruned: Mapping[str, Any], params: Mapping[str, Any], groups: Groups, kept: Kept) -> dict[str, Any]:
    """Pruned parameters in the shapes of ``params``, with zeros where something was taken out: the same function."""
    flat, full = dict(flatten_params(pruned)), flatten_params(params)
    for tensor, axis, places in _cuts(full, groups, kept):
        whole = np.moveaxis(np.zeros(np.shape(full[tensor]), np.float32), axis, 0)
        whole[places] = np.moveaxis(np.asarray(flat[tensor]), axis, 0)
        flat[tensor] = np.moveaxis(whole, 0, axis)
    return unflatten_params(flat)


def widths(params: Mapping[str, Any]) -> dict[str, int]:
    """Features between the two layers of each group, by the group's name: what a weights file says of its pruning."""
    flat = flatten_params(params)
    firsts = (name.removesuffix("/kernel") for name in flat if name.endswith(("/qkv/kernel", "/fc1/kernel")))
    groups = [name for name in firsts if name.endswith("/qkv") or _norm(name) in flat]
    return {name: np.shape(flat[layers(name)[1]])[0] for name in groups}


def pruned_shapes(shapes: Mapping[str, Any], pruned: Mapping[str, int]) -> dict[str, Any]:
    """Shapes of a network's parameters where some groups have the :func:`widths` ``pruned``.

    Raises:
        ValueError: if the network has no such group, or one that is not that wide.
    """
    flat, full = dict(flatten_params(shapes)), widths(shapes)
    groups, kept = {}, {}
    for name, width in pruned.items():
        if not isinstance(width, int) or not 1 <= width <= full.get(name, 0):
            raise ValueError(f"pruned: {name!r} has at most {full.get(name, 0)} features, got {width!r}")
        groups[name], kept[name] = Group(full[name], 1), np.arange(width)
    for tensor, axis, places in _cuts(flat, groups, kept):
        old, size = flat[tensor], len(places)
        if tensor.endswith("/position_bias"):  # a column a head, not a feature
            size = old.shape[1] * size // full[f"{tensor.removesuffix('position_bias')}qkv"]
        flat[tensor] = jax.ShapeDtypeStruct((*old.shape[:axis], size, *old.shape[axis + 1 :]), old.dtype)
    return unflatten_params(flat)


def _cuts(flat: Mapping[str, Any], groups: Groups, kept: Kept) -> Iterator[tuple[str, int, np.ndarray]]:
    """Tensors, axes and the places on them that stay."""
    for name, which in kept.items():
        group, (prefix, _, first) = groups[name], name.rpartition("/")
        features = (np.asarray(which)[:, None] * group.size + np.arange(group.size)).ravel()
        outputs = features
        if first == "qkv":
            outputs = (np.arange(3)[:, None] * group.count * group.size + features).ravel()
            if f"{prefix}/position_bias" in flat:
                yield f"{prefix}/position_bias", 1, np.asarray(which)
        yield f"{name}/kernel", 1, outputs
        if f"{name}/bias" in flat:
            yield f"{name}/bias", 0, outputs
        yield layers(name)[1], 0, features
