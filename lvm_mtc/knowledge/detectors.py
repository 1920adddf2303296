"""FlashSAM as the knowledge base wants it: pictures of any size in, boxes in their own pixels out."""

import functools

import jax
import jax.numpy as jnp

from lvm_mtc.knowledge.base import Detect
from lvm_mtc.models.detection import STRIDES, Detections, anchor_points, detect
from lvm_mtc.models.flashsam import FlashSAM

PAD_VALUE = 114 / 255
"""Grey around a picture that does not fill the network's input."""


@functools.cache
def flashsam_detector(
    variant: str,
    num_classes: int = 1,
    *,
    input_size: int = 320,
    max_boxes: int = 100,
    iou_threshold: float = 0.7,
    score_threshold: float = 0.05,
) -> Detect:
    """A detector for ``KnowledgeBase``; equal arguments give the same function.

    Its parameters are those of the folded network, ``fold_batch_norm(params, batch_stats)`` of ``models.flashsam``.

    Args:
        num_classes: Classes; 1 is class-agnostic.
        input_size: Longer side to which pictures are scaled, pixels, a multiple of 32; the shorter one follows and is
            padded to a multiple of 32.
        iou_threshold: Overlap above which the worse of two boxes is dropped, in [0, 1].
        score_threshold: Score below which there is no box, in [0, 1].
    """
    if input_size < STRIDES[-1] or input_size % STRIDES[-1]:
        raise ValueError(f"input_size must be a positive multiple of {STRIDES[-1]}, got {input_size}")
    network = FlashSAM(variant, num_classes, folded=True)

    def locate_objects(params, images: jax.Array) -> Detections:
        scaled, factor = letterbox(images, input_size)
        raw = network.apply({"params": params}, scaled)
        points, strides = anchor_points(*scaled.shape[1:3])
        objects = detect(raw, points, strides, max_boxes, iou_threshold, score_threshold)
        return objects._replace(boxes=objects.boxes / jnp.asarray(factor * 2, objects.boxes.dtype).reshape(1, 1, 4))

    return locate_objects


def letterbox(images: jax.Array, input_size: int) -> tuple[jax.Array, tuple[float, float]]:
    """Scales pictures so that the longer side is ``input_size`` and pads right and bottom to multiples of 32.

    Takes ``[batch, height, width, 3]``.

    Returns:
        images: ``[batch, padded height, padded width, 3]``.
        factor: Along x and y, pixels of the result over pixels of the picture.
    """
    batch, height, width, _ = images.shape
    scale = input_size / max(height, width)
    sides = [max(round(side * scale), 1) for side in (height, width)]
    if sides != [height, width]:
        images = jax.image.resize(images, (batch, *sides, 3), "linear", antialias=True)
    pads = [-side % STRIDES[-1] for side in sides]
    images = jnp.pad(images, ((0, 0), (0, pads[0]), (0, pads[1]), (0, 0)), constant_values=PAD_VALUE)
    return images, (sides[1] / width, sides[0] / height)
