"""Which anchor point learns which object: the task-aligned assignment, with static shapes."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lvm_mtc.models.box_geometry import pairwise_iou

TOP_CANDIDATES = 10
SCORE_POWER = 0.5
IOU_POWER = 6


class Assignment(NamedTuple):
    """What the anchor points of one picture learn.

    Attributes:
        positive: ``[num_anchors]`` bool: the point learns an object; the others learn that there is none.
        object_ids: ``[num_anchors]`` int32: index of that object; 0 where not positive.
        weights: ``[num_anchors]``, in [0, 1]: the score that the point should give, and its weight in the losses of
            the box; 0 where not positive.
    """

    positive: jax.Array
    object_ids: jax.Array
    weights: jax.Array


def assign(
    scores: jax.Array,
    boxes: jax.Array,
    points: jax.Array,
    object_boxes: jax.Array,
    object_labels: jax.Array,
    object_valid: jax.Array,
    *,
    top_candidates: int = TOP_CANDIDATES,
) -> Assignment:
    """Task-aligned assignment for one picture.

    The alignment of an anchor point with an object is t = s^0.5 u^6 with s its score for the object's class and u the
    IoU of its box with the object's. Every object takes the ``top_candidates`` points of largest t among those that
    lie inside its box; a point that several objects take goes to the one with which its IoU is largest, of equals to
    the first. Its weight is t scaled such that the object's largest t becomes the object's largest IoU, both
    over the points that it keeps. ``jax.vmap`` gives it a batch; nothing is differentiated through it.

    An object without a point inside (smaller than the finest stride, and between the points), or whose candidates'
    boxes all miss it, is learned by none.

    Args:
        scores: ``[num_anchors, num_classes]``, in [0, 1].
        boxes: ``[num_anchors, 4]``, what the points propose, ``(x, y, w, h)``, centre, pixels.
        points: ``[num_anchors, 2]``, ``(x, y)``, pixels.
        object_boxes: ``[max_objects, 4]``, as ``boxes``.
        object_labels: ``[max_objects]`` integers in [0, num_classes).
        object_valid: ``[max_objects]`` bool: false for padding.
        top_candidates: Points that an object may take, in [1, num_anchors]; 13 in the source, 10 in the detectors of
            this family.

    Source: Feng et al., TOOD: Task-aligned One-stage Object Detection (2021), Sec. 3.2, with s^0.5 for its s^1.
    """
    num_anchors, num_objects = boxes.shape[0], object_boxes.shape[0]
    if scores.ndim != 2 or scores.shape[0] != num_anchors or boxes.shape[1:] != (4,):
        raise ValueError(f"scores {scores.shape} and boxes {boxes.shape} do not fit: expected [A, C] and [A, 4]")
    if points.shape != (num_anchors, 2):
        raise ValueError(f"points {points.shape} do not fit boxes {boxes.shape}: expected [A, 2]")
    if object_boxes.shape != (num_objects, 4) or not (object_labels.shape == object_valid.shape == (num_objects,)):
        raise ValueError(
            f"object_boxes {object_boxes.shape}, object_labels {object_labels.shape} and object_valid "
            f"{object_valid.shape} do not fit: expected [T, 4], [T] and [T]"
        )
    if not 1 <= top_candidates <= num_anchors:
        raise ValueError(f"top_candidates must lie in [1, {num_anchors}], got {top_candidates}")

    offset = jnp.abs(points[None] - object_boxes[:, None, :2])
    inside = jnp.all(offset < object_boxes[:, None, 2:] / 2, axis=-1) & object_valid[:, None]  # edges excluded
    # Of padding nothing may become NaN: its labels are arbitrary.
    labels = jnp.where(object_valid, object_labels, 0)
    iou = jnp.where(inside, pairwise_iou(object_boxes, boxes), 0)
    alignment = jnp.where(inside, scores[:, labels].T ** SCORE_POWER * iou**IOU_POWER, 0)

    best, ids = jax.lax.top_k(alignment, top_candidates)
    rows = jnp.broadcast_to(jnp.arange(num_objects)[:, None], ids.shape)
    taken = jnp.zeros((num_objects, num_anchors), bool).at[rows, ids].set(best > 0)

    owner = jnp.argmax(jnp.where(taken, iou, -1), axis=0).astype(jnp.int32)
    positive = jnp.any(taken, axis=0)
    kept = taken & (jnp.arange(num_objects)[:, None] == owner[None])
    alignment, iou = jnp.where(kept, alignment, 0), jnp.where(kept, iou, 0)
    largest = jnp.max(alignment, axis=1, keepdims=True)
    weights = alignment / jnp.where(largest > 0, largest, 1) * jnp.max(iou, axis=1, keepdims=True)
    return jax.lax.stop_gradient(Assignment(positive, jnp.where(positive, owner, 0), jnp.sum(weights, axis=0)))
