"""The trained detector on many pictures, batch by batch."""

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.models.detection import Detections, anchor_points, detect
from lvm_mtc.models.flashsam import FlashSAM

_EVALUATION_BATCH = 20


def run_detector(
    variables: Mapping[str, Any],
    pictures: np.ndarray,
    size: int,
    *,
    variant: str = "n",
    num_classes: int = 1,
    max_boxes: int = 100,
    iou_threshold: float = 0.7,
    score_threshold: float = 0.001,
) -> Detections:
    """Detects on many pictures, batch by batch.

    Args:
        variables: ``params`` and ``batch_stats`` of FlashSAM with this ``variant`` and ``num_classes``.
        pictures: ``[M, S, S, 3]`` uint8.
        size: Side of the network's input, pixels, a multiple of 32.
        max_boxes: A picture, after non-maximum suppression with the two thresholds.

    Returns:
        Detections of numpy arrays ``[M, max_boxes, ...]``, boxes in pixels of ``pictures``.
    """
    model, limits, parts = FlashSAM(variant, num_classes), (max_boxes, iou_threshold, score_threshold), []
    for images, count in picture_batches(pictures, size):
        found = _forward(model, limits, variables, images)
        parts.append([np.asarray(leaf)[:count] for leaf in found])
    found = Detections(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    return found._replace(boxes=found.boxes * (pictures.shape[1] / size))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _forward(model, limits, variables, images):
    points, strides = anchor_points(*images.shape[1:3])
    return detect(model.apply(variables, images, train=False), points, strides, *limits)


def picture_batches(pictures: np.ndarray, size: int) -> Iterable[tuple[jax.Array, int]]:
    """Batches of one shape ``[20, size, size, 3]`` in [0, 1], the last one padded, and how many of each are real."""
    for start in range(0, len(pictures), _EVALUATION_BATCH):
        part = pictures[start : start + _EVALUATION_BATCH]
        count = len(part)
        part = np.pad(part, ((0, _EVALUATION_BATCH - count), (0, 0), (0, 0), (0, 0)), mode="edge")
        images = jnp.asarray(part, jnp.float32) / 255
        if part.shape[1] != size:
            images = jax.image.resize(images, (_EVALUATION_BATCH, size, size, 3), method="linear")
        yield images, count
