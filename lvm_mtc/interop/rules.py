"""Weights of other libraries as Flax parameters: rules say of which tensors each parameter is made, and how."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from lvm_mtc.models.weights import WeightsError, check_params, unflatten_params

Shape = tuple[int, ...]


def joined(*arrays: np.ndarray) -> np.ndarray:
    """Rows that stand in several tensors, one after the other."""
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def as_kernel(*arrays: np.ndarray) -> np.ndarray:
    """PyTorch's ``[out, in]`` or ``[out, in, height, width]`` with the axes where Flax has them; others as they are."""
    array = joined(*arrays)
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T


def patch_kernel(array: np.ndarray) -> np.ndarray:
    """``[width, 3, patch, patch]`` to ``[patch * patch * 3, width]``, the order of ``models.patches.patchify``."""
    return as_kernel(array).reshape(-1, array.shape[0])


class Rule(NamedTuple):
    """Where one parameter comes from.

    Attributes:
        target: Its place, ``"image/block0/fc1/kernel"``.
        sources: Names and shapes of the tensors.
        convert: Takes the tensors in float64, in their order.
    """

    target: str
    sources: tuple[tuple[str, Shape], ...]
    convert: Callable[..., np.ndarray] = joined


def layer(target: str, sources: tuple[str, ...], shape: Shape) -> Iterator[Rule]:
    """Weight (of a norm where ``shape`` has one axis) and bias; the rows may stand in several tensors of one size."""
    part = (shape[0] // len(sources), *shape[1:])
    weights, biases = (tuple(f"{source}.{kind}" for source in sources) for kind in ("weight", "bias"))
    kind = "kernel" if len(shape) > 1 else "scale"
    yield Rule(f"{target}/{kind}", tuple((name, part) for name in weights), as_kernel)
    yield Rule(f"{target}/bias", tuple((name, part[:1]) for name in biases))


def folded_layer(
    target: str, convolution: str, norm: str, shape: Shape, epsilon: float, place: Callable = as_kernel
) -> Iterator[Rule]:
    """A convolution and the batch norm behind it: kernel * s and bias - mean * s, s = scale / sqrt(variance + epsilon).

    Args:
        shape: ``[outputs, inputs, height, width]``.
        place: Brings the kernel to Flax's axes.
    """

    def kernel(weight, scale, var):
        return place(weight * (scale / np.sqrt(var + epsilon))[:, None, None, None])

    def shift(bias, mean, scale, var):
        return bias - mean * (scale / np.sqrt(var + epsilon))

    scale, bias, mean, var = (
        (f"{norm}.{part}", shape[:1]) for part in ("weight", "bias", "running_mean", "running_var")
    )
    yield Rule(f"{target}/kernel", ((f"{convolution}.weight", shape), scale, var), kernel)
    yield Rule(f"{target}/bias", (bias, mean, scale, var), shift)


def converted(
    tensors: Mapping[str, Any], rules: Iterable[Rule], *, name: str, unused: Mapping[str, Shape] | None = None
) -> dict[str, Any]:
    """Nested dictionaries of float32 arrays, by rules that take every tensor.

    Args:
        name: What to call the tensors in a message.
        unused: Shapes of tensors that must be there although no parameter is made of them.

    Raises:
        WeightsError: listing all missing, superfluous and misshapen tensors, or all that are not of finite numbers.
    """
    rules = list(rules)
    want = dict(source for rule in rules for source in rule.sources) | dict(unused or {})
    check_params(tensors, {key: jax.ShapeDtypeStruct(shape, np.float32) for key, shape in want.items()}, name=name)
    flat, faulty = {}, {}
    for rule in rules:
        arrays = {source: _numbers(tensors[source]) for source, _ in rule.sources}
        faulty |= {source: None for source, array in arrays.items() if not np.isfinite(array).all()}
        if not faulty:
            flat[rule.target] = np.array(rule.convert(*arrays.values()), np.float32, order="C")
    if faulty:
        raise WeightsError(f"{name}: {len(faulty)} not of finite numbers: {', '.join(faulty)}")
    return unflatten_params(flat)


def _numbers(value: Any) -> np.ndarray:
    try:
        return np.asarray(value, np.float64)
    except (TypeError, ValueError):
        return np.full((), np.nan)
