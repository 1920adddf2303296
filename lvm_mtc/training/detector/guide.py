"""A classifier's features as a second teacher of the detector's backbone.

A few thousand pictures with boxes are little to learn features from. An ImageNet classifier (EfficientNet-Lite0) has
features of the same strides; the backbone learns, beside the boxes, to predict them linearly at every cell. The maps
that predict are thrown away after the training.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lvm_mtc.models.flashsam import FlashSAM
from lvm_mtc.models.image_classifier import EfficientNetLite0, lite0_blocks
from lvm_mtc.training.detector.lessons import Lesson, intermediate_shapes, linear_map, outputs_of, standardized
from lvm_mtc.training.detector.recipe import DetectorPhase

# Module of FlashSAM -> block of the classifier whose output has the same stride (16 and 32).
GUIDED = {"stage16": 10, "attention": 15}


def guide_lesson(
    key: jax.Array, model: FlashSAM, variables: Mapping[str, Any], phase: DetectorPhase, guide: Mapping[str, Any]
) -> Lesson:
    """To predict the features; ``guide`` are ``EfficientNetLite0``'s parameters."""
    shapes, blocks = intermediate_shapes(model, variables, phase.size, GUIDED), lite0_blocks()
    maps = {
        name: linear_map(k, shapes[name]["__call__"][0].shape[-1], blocks[number][1].channels)
        for (name, number), k in zip(GUIDED.items(), jax.random.split(key, len(GUIDED)), strict=True)
    }

    def loss(maps, raw, intermediates, features):
        value = guide_loss(maps, {name: intermediates[name]["__call__"][0] for name in GUIDED}, features)
        return phase.guide_weight * value, {"guide": value}

    def answers(data, images):
        return guide_features(data["guide"], images)

    return Lesson(maps, {"guide": guide}, answers, GUIDED.keys(), loss)


def guide_features(params: Mapping[str, Any], images: jax.Array) -> dict[str, jax.Array]:
    """Features of the classifier for images in [0, 1], each channel with mean 0 and variance 1 over the batch.

    ``[batch, height/stride, width/stride, channels]`` by the guided module's name; height and width of ``images`` are
    multiples of 32.
    """
    blocks = {name: f"block{number}" for name, number in GUIDED.items()}
    _, collected = EfficientNetLite0().apply(
        {"params": params}, images, capture_intermediates=outputs_of(blocks.values()), mutable=["intermediates"]
    )
    return {name: standardized(collected["intermediates"][block]["__call__"][0]) for name, block in blocks.items()}


def guide_loss(
    maps: Mapping[str, Any], outputs: Mapping[str, jax.Array], features: Mapping[str, jax.Array]
) -> jax.Array:
    """Mean squared error of the linear predictions, mean over the guided modules: 1 is what predicting 0 gives.

    ``outputs`` of the guided modules, ``[batch, h, w, width]``, and ``features`` must have the same h and w
    (ValueError).
    """
    losses = []
    for name, target in features.items():
        output = outputs[name]
        if output.shape[:3] != target.shape[:3]:
            raise ValueError(f"outputs of {name} {output.shape} and features {target.shape} differ in size")
        flat = output.reshape(-1, output.shape[-1]) @ maps[name]["kernel"] + maps[name]["bias"][None]
        losses.append(jnp.mean(jnp.square(flat.reshape(target.shape) - target)))
    return sum(losses) / len(losses)
