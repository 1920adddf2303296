"""What the detector learns beside the boxes of a batch, from a classifier or from another detector."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lvm_mtc.models.detection import RawDetections
from lvm_mtc.models.flashsam import FlashSAM

_VARIANCE_FLOOR = 1e-4


class Lesson(NamedTuple):
    """One lesson.

    Attributes:
        params: Parameters of its own, thrown away after the training.
        data: What ``answers`` needs beside the pictures, by name.
        answers: ``(data, images) -> answers``.
        modules: Names of the network's modules whose outputs the loss gets.
        loss: ``(params, raw outputs, intermediates, answers) -> (loss, metrics)``, weighted.
    """

    params: Any
    data: dict[str, Any]
    answers: Callable[[Mapping[str, Any], jax.Array], Any]
    modules: Collection[str]
    loss: Callable[[Any, RawDetections, Mapping[str, Any], Any], tuple[jax.Array, dict[str, jax.Array]]]

    def batch_fn(self, batch_fn: Callable) -> Callable:
        """From a function ``(data, key) -> batch`` to one ``(data, key) -> (batch, answers)``."""

        def with_answers(data, key):
            batch = batch_fn(data, key)
            return batch, self.answers(data, batch.images)

        return with_answers


def outputs_of(modules: Collection[str]) -> Callable[[Any, str], bool]:
    """Filter for ``capture_intermediates``."""
    return lambda module, method: method == "__call__" and module.name in modules


def intermediate_shapes(model: FlashSAM, variables: Mapping[str, Any], size: int, modules: Collection[str]) -> Any:
    """Shapes of what these modules make of one picture of ``size`` pixels."""
    images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)

    def apply(variables, images):
        return model.apply(variables, images, capture_intermediates=outputs_of(modules), mutable=["intermediates"])

    return jax.eval_shape(apply, variables, images)[1]["intermediates"]


def linear_map(key: jax.Array, width: int, channels: int) -> dict[str, jax.Array]:
    """Parameters ``kernel [width, channels]`` and ``bias [channels]`` of a map that keeps the scale."""
    return {"kernel": jax.random.normal(key, (width, channels)) / jnp.sqrt(width), "bias": jnp.zeros(channels)}


def standardized(features: jax.Array) -> jax.Array:
    """``[..., channels]`` with mean 0 and variance 1 per channel."""
    axes = tuple(range(features.ndim - 1))
    mean, variance = jnp.mean(features, axes, keepdims=True), jnp.var(features, axes, keepdims=True)
    return (features - mean) * jax.lax.rsqrt(variance + _VARIANCE_FLOOR)
