"""The trained detector on many pictures, batch by batch."""

from collections.abc import Callable, Iterable, Mapping
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
        variables: ``params`` and ``batch_stats``.
        pictures: ``[M, S, S, 3]`` uint8.
        size: Side of the network's input, pixels, a multiple of 32.
        variant: Size of the network.
        num_classes: Its classes.
        max_boxes: Boxes per picture.
        iou_threshold: Of the non-maximum suppression.
        score_threshold: Likewise.

    Returns:
        Detections of numpy arrays ``[M, max_boxes, ...]``, boxes in pixels of ``pictures``.
    """
    thresholds = max_boxes, iou_threshold, score_threshold
    forward = _forward(variant, num_classes, size, *thresholds)
    parts = []
    for images, count in picture_batches(pictures, size):
        parts.append(jax.tree.map(lambda leaf: np.asarray(leaf)[:count], forward(variables, images)))  # noqa: B023
    found = Detections(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    return found._replace(boxes=found.boxes * (pictures.shape[1] / size))


_compiled: dict[tuple, Callable] = {}


def _forward(variant, num_classes, size, max_boxes, iou_threshold, score_threshold) -> Callable:
    """The compiled forward pass; one per configuration, however often a run validates."""
    name = variant, num_classes, size, max_boxes, iou_threshold, score_threshold
    if name not in _compiled:
        model, (points, strides) = FlashSAM(variant, num_classes), anchor_points(size, size)

        def forward(variables, images):
            raw = model.apply(variables, images, train=False)
            return detect(raw, points, strides, max_boxes, iou_threshold, score_threshold)

        _compiled[name] = jax.jit(forward)
    return _compiled[name]


def picture_batches(pictures: np.ndarray, size: int) -> Iterable[tuple[jax.Array, int]]:
    """Batches of one shape ``[20, size, size, 3]`` in [0, 1], the last one padded, and how many of each are real."""
    for start in range(0, len(pictures), _EVALUATION_BATCH):
        part = pictures[start : start + _EVALUATION_BATCH]
        count = len(part)
        if count < _EVALUATION_BATCH:
            part = np.concatenate([part, np.repeat(part[-1:], _EVALUATION_BATCH - count, axis=0)])
        yield _resize(part, size), count


def _resize(pictures: np.ndarray, size: int) -> jax.Array:
    images = jnp.asarray(pictures, jnp.float32) / 255
    if pictures.shape[1] == size:
        return images
    return jax.image.resize(images, (len(pictures), size, size, 3), method="linear")
