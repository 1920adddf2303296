"""From a detector's raw outputs to boxes: anchor points, distances as distributions, non-maximum suppression.

Every shape is known before a picture is seen, so all of it runs inside ``jit`` and ``vmap``. Boxes are
``(x, y, w, h)``, centre first, in pixels of the network's input; pixel i covers [i, i + 1).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

STRIDES = (8, 16, 32)
"""Pixels between neighbouring anchor points, one entry per scale, finest first."""

NUM_BINS = 16
"""Bins of the distribution over one distance; a distance is at most ``NUM_BINS - 1`` strides."""


class RawDetections(NamedTuple):
    """What the network says about every anchor point, before any decoding.

    Attributes:
        box_logits: ``[batch, num_anchors, 4, NUM_BINS]``: distributions over the distances from the anchor point to
            the left, top, right and bottom edge, in strides.
        class_logits: ``[batch, num_anchors, num_classes]``; a sigmoid makes each a score.
    """

    box_logits: jax.Array
    class_logits: jax.Array


class Detections(NamedTuple):
    """Boxes after non-maximum suppression, best first; places that no box fills come last.

    Attributes:
        boxes: ``[batch, max_boxes, 4]``, ``(x, y, w, h)``, pixels; 0 where not valid.
        scores: ``[batch, max_boxes]``, in (0, 1); 0 where not valid.
        labels: ``[batch, max_boxes]`` int32; -1 where not valid.
        valid: ``[batch, max_boxes]`` bool.
    """

    boxes: jax.Array
    scores: jax.Array
    labels: jax.Array
    valid: jax.Array


def anchor_points(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres of the cells of every scale, for an input that passes :func:`check_image_size`.

    Returns:
        points: ``[num_anchors, 2]`` float32, ``(x, y)``, pixels; raster order within a scale, finest scale first.
        strides: ``[num_anchors]`` float32, pixels.
    """
    check_image_size(height, width)
    points, strides = [], []
    for stride in STRIDES:
        y, x = np.meshgrid(np.arange(height // stride), np.arange(width // stride), indexing="ij")
        points.append((np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) * stride)
        strides.append(np.full(x.size, stride))
    return np.concatenate(points).astype(np.float32), np.concatenate(strides).astype(np.float32)


def check_image_size(height: int, width: int) -> None:
    """Raises ValueError for sizes, pixels, that are no positive multiples of the coarsest stride."""
    if min(height, width) < 1 or height % STRIDES[-1] or width % STRIDES[-1]:
        raise ValueError(
            f"images of height {height} and width {width}: both must be positive multiples of {STRIDES[-1]}"
        )


def decode_boxes(box_logits: jax.Array, points: ArrayLike, strides: ArrayLike) -> jax.Array:
    """Expected distances of the distributions, as boxes.

    Distance = stride * sum_i i softmax(logits)_i; an edge lies that far from the anchor point.

    Args:
        box_logits: ``[..., num_anchors, 4, NUM_BINS]``; left, top, right, bottom.
        points: Like ``strides`` from :func:`anchor_points`.

    Returns:
        ``[..., num_anchors, 4]`` in float32 at least, ``(x, y, w, h)``, centre, pixels; not clipped to the picture.

    Raises:
        ValueError: if the shapes do not fit.

    Source: Li et al., Generalized Focal Loss (2020), Eq. 5.
    """
    points, strides = jnp.asarray(points), jnp.asarray(strides)
    num_anchors = points.shape[0] if points.ndim else 0
    expected = (num_anchors, 4, NUM_BINS), (num_anchors, 2), (num_anchors,)
    if (box_logits.shape[-3:], points.shape, strides.shape) != expected:
        raise ValueError(
            f"box_logits {box_logits.shape}, points {points.shape} and strides {strides.shape} do not fit: expected "
            f"[..., A, 4, {NUM_BINS}], [A, 2] and [A]"
        )
    dtype = jnp.promote_types(box_logits.dtype, jnp.float32)
    probabilities = jax.nn.softmax(box_logits.astype(dtype), axis=-1)
    # A sum and no matrix product: those may run in a lower precision on an accelerator.
    bins = jnp.arange(NUM_BINS, dtype=dtype).reshape((1,) * (box_logits.ndim - 1) + (NUM_BINS,))
    distances = jnp.sum(probabilities * bins, axis=-1)
    low, high = distances[..., :2], distances[..., 2:]
    lead = (1,) * (distances.ndim - 2)
    points = points.astype(dtype).reshape(*lead, num_anchors, 2)
    strides = strides.astype(dtype).reshape(*lead, num_anchors, 1)
    return jnp.concatenate([points + (high - low) / 2 * strides, (low + high) * strides], axis=-1)


def non_max_suppression(
    boxes: jax.Array,
    scores: jax.Array,
    labels: jax.Array | None = None,
    *,
    max_boxes: int = 100,
    iou_threshold: ArrayLike = 0.7,
    score_threshold: ArrayLike = 0.001,
) -> tuple[jax.Array, jax.Array]:
    """Greedy non-maximum suppression over one picture's candidates.

    Keeps the best candidate, drops all that overlap it by more than ``iou_threshold``, and again, at most ``max_boxes``
    times: exactly the greedy algorithm, without a limit on the candidates. **Ties**: of equal scores the one with the
    lower index goes first; an overlap equal to the threshold, and a score equal to its threshold, do not drop. A score
    that is NaN is never kept.

    Args:
        boxes: ``[num_candidates, 4]``.
        labels: ``[num_candidates]``: only boxes of one label drop each other; None: all do.
        max_boxes: Places in the result, static; may be more than there are candidates.
        iou_threshold: Intersection over union above which the worse box is dropped, in [0, 1].
        score_threshold: Score below which a candidate is not looked at.

    Returns:
        ids: ``[max_boxes]`` int32, indices of the kept candidates, best first; 0 where not valid.
        valid: ``[max_boxes]`` bool.

    Raises:
        ValueError: if the shapes do not fit or ``max_boxes`` is below 1.
    """
    num_candidates = scores.shape[0] if scores.ndim else 0
    if boxes.shape != (num_candidates, 4) or scores.shape != (num_candidates,):
        raise ValueError(f"boxes {boxes.shape} and scores {scores.shape} do not fit: expected [N, 4] and [N]")
    if labels is not None and labels.shape != scores.shape:
        raise ValueError(f"labels {labels.shape} must have the shape of scores {scores.shape}")
    if max_boxes < 1:
        raise ValueError(f"max_boxes must be at least 1, got {max_boxes}")
    if num_candidates == 0:
        return jnp.zeros(max_boxes, jnp.int32), jnp.zeros(max_boxes, bool)

    # Edge by edge, so that a pass over the candidates reads them one after the other.
    x, y, width, height = boxes.T
    left, right, top, bottom = x - width / 2, x + width / 2, y - height / 2, y + height / 2
    area, index = width * height, jnp.arange(num_candidates, dtype=jnp.int32)

    def first_best(remaining):
        best = jnp.max(remaining)
        # Of equal values the first, which is the tie rule; argmax would be slower on a CPU.
        return jnp.min(jnp.where(remaining == best, index, num_candidates - 1)), best

    def go_on(carry):
        count, _, _, score, _ = carry
        return (count < max_boxes) & (score > -jnp.inf)

    def keep_best(carry):
        count, ids, best, _, remaining = carry
        across = jnp.minimum(right, right[best]) - jnp.maximum(left, left[best])
        down = jnp.minimum(bottom, bottom[best]) - jnp.maximum(top, top[best])
        intersection = jnp.maximum(across, 0) * jnp.maximum(down, 0)
        dropped = intersection > iou_threshold * (area[best] + area - intersection)
        if labels is not None:
            dropped &= labels == labels[best]
        remaining = jnp.where(dropped | (index == best), -jnp.inf, remaining)
        return count + 1, ids.at[count].set(best), *first_best(remaining), remaining

    remaining = jnp.where(scores >= score_threshold, scores, -jnp.inf)
    nothing = jnp.zeros((), jnp.int32), jnp.zeros(max_boxes, jnp.int32)
    count, ids, *_ = jax.lax.while_loop(go_on, keep_best, (*nothing, *first_best(remaining), remaining))
    return ids, jnp.arange(max_boxes) < count


def detect(
    raw: RawDetections,
    points: ArrayLike,
    strides: ArrayLike,
    max_boxes: int = 100,
    iou_threshold: ArrayLike = 0.7,
    score_threshold: ArrayLike = 0.001,
) -> Detections:
    """Boxes, scores and labels of pictures, from the network's raw outputs.

    Every anchor point proposes one box with its best class (the first of equal ones); greedy non-maximum suppression
    then runs per picture and among boxes of one class (:func:`non_max_suppression`, which states the tie rule).

    Args:
        raw: Outputs of the network for a batch of pictures.
        points: Like ``strides`` from :func:`anchor_points`; the other arguments are those of non-maximum suppression.

    Raises:
        ValueError: if the shapes do not fit or ``max_boxes`` is below 1.
    """
    if raw.class_logits.ndim != 3 or raw.class_logits.shape[:2] != raw.box_logits.shape[:2]:
        raise ValueError(
            f"class_logits {raw.class_logits.shape} and box_logits {raw.box_logits.shape} do not fit: expected "
            f"[B, A, num_classes] and [B, A, 4, {NUM_BINS}]"
        )
    boxes = decode_boxes(raw.box_logits, points, strides)
    labels = jnp.argmax(raw.class_logits, axis=-1).astype(jnp.int32)
    best = jnp.max(raw.class_logits, axis=-1)
    scores = jax.nn.sigmoid(best.astype(boxes.dtype))

    def one_picture(boxes, scores, labels):
        options = {"max_boxes": max_boxes, "iou_threshold": iou_threshold, "score_threshold": score_threshold}
        ids, valid = non_max_suppression(boxes, scores, labels, **options)
        kept = jnp.where(valid[:, None], boxes[ids], 0), jnp.where(valid, scores[ids], 0)
        return Detections(*kept, jnp.where(valid, labels[ids], -1), valid)

    return jax.vmap(one_picture)(boxes, scores, labels)
