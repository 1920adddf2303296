"""A classifier's features as a second teacher of the detector's backbone.

A few thousand pictures with boxes are little to learn features from. An ImageNet classifier (EfficientNet-Lite0) has
features of the same strides; the backbone learns, beside the boxes, to predict them linearly at every cell. The maps
that predict are thrown away after the training.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lvm_mtc.models.image_classifier import EfficientNetLite0, lite0_blocks

# Module of FlashSAM -> block of the classifier whose output has the same stride (16 and 32).
GUIDED = {"stage16": 10, "attention": 15}
_VARIANCE_FLOOR = 1e-4


def is_guided(module: Any, method: str) -> bool:
    """Filter for ``capture_intermediates``: outputs of FlashSAM's guided modules."""
    return method == "__call__" and module.name in GUIDED


def captured(intermediates: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Outputs of the guided modules, by name, from what ``capture_intermediates`` collected."""
    return {name: intermediates[name]["__call__"][0] for name in GUIDED}


def guide_features(params: Mapping[str, Any], images: jax.Array) -> dict[str, jax.Array]:
    """Features of the classifier, each channel with mean 0 and variance 1 over the batch.

    Args:
        params: Parameters of ``EfficientNetLite0``.
        images: ``[batch, height, width, 3]`` in [0, 1]; height and width are multiples of 32.

    Returns:
        ``[batch, height/stride, width/stride, channels]`` by the guided module's name.
    """
    wanted = {f"block{number}" for number in GUIDED.values()}

    def keep(module, method):
        return method == "__call__" and module.name in wanted

    _, collected = EfficientNetLite0().apply(
        {"params": params}, images, capture_intermediates=keep, mutable=["intermediates"]
    )
    outputs = {name: collected["intermediates"][f"block{number}"]["__call__"][0] for name, number in GUIDED.items()}
    return {name: standardized(output) for name, output in outputs.items()}


def standardized(features: jax.Array) -> jax.Array:
    """``[..., channels]`` with mean 0 and variance 1 per channel."""
    axes = tuple(range(features.ndim - 1))
    mean, variance = jnp.mean(features, axes, keepdims=True), jnp.var(features, axes, keepdims=True)
    return (features - mean) * jax.lax.rsqrt(variance + _VARIANCE_FLOOR)


def init_projections(key: jax.Array, widths: Mapping[str, int]) -> dict[str, dict[str, jax.Array]]:
    """Linear maps from the guided modules' channels to the classifier's.

    Args:
        key: Typed key.
        widths: Channels of the guided modules by name.

    Returns:
        ``kernel [width, channels]`` and ``bias [channels]`` by name.
    """
    blocks, maps = lite0_blocks(), {}
    for name, k in zip(GUIDED, jax.random.split(key, len(GUIDED)), strict=True):
        shape = widths[name], blocks[GUIDED[name]][1].channels
        kernel = jax.random.normal(k, shape) / jnp.sqrt(shape[0])
        maps[name] = {"kernel": kernel, "bias": jnp.zeros(shape[1])}
    return maps


def guide_loss(
    projections: Mapping[str, Any], outputs: Mapping[str, jax.Array], features: Mapping[str, jax.Array]
) -> jax.Array:
    """Mean squared error of the linear predictions, mean over the guided modules: 1 is what predicting 0 gives.

    Args:
        projections: Of :func:`init_projections`.
        outputs: Of the guided modules, ``[batch, h, w, width]`` by name.
        features: Of :func:`guide_features`, the same h and w.

    Returns:
        Scalar.

    Raises:
        ValueError: if a map has another height or width than its target.
    """
    losses = []
    for name, target in features.items():
        output = outputs[name]
        if output.shape[:3] != target.shape[:3]:
            raise ValueError(f"outputs of {name} {output.shape} and features {target.shape} differ in size")
        flat = output.reshape(-1, output.shape[-1]) @ projections[name]["kernel"] + projections[name]["bias"][None]
        losses.append(jnp.mean(jnp.square(flat.reshape(target.shape) - target)))
    return sum(losses) / len(losses)


def guided_batch_fn(batch_fn: Callable) -> Callable:
    """Adds to a batch the classifier's features; ``data["guide"]`` holds the classifier's parameters."""

    def with_features(data, key):
        batch = batch_fn(data, key)
        return batch, guide_features(data["guide"], batch.images)

    return with_features
