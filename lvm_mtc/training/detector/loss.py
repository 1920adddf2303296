"""What the detector minimises: complete IoU and a distribution loss for boxes, cross-entropy for scores."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from lvm_mtc.config import require_count, require_number
from lvm_mtc.models.box_geometry import complete_iou
from lvm_mtc.models.detection import NUM_BINS, RawDetections, decode_boxes
from lvm_mtc.training.detector.assignment import TOP_CANDIDATES, Assignment, assign

# Largest distance as a target, strides: the upper of its two bins is then still the last one.
_LARGEST_DISTANCE = NUM_BINS - 1 - 0.01


@dataclasses.dataclass(frozen=True, kw_only=True)
class DetectorLossConfig:
    """Weights of the three terms, and the assignment's number. The defaults are those published for this family.

    Attributes:
        box_gain: Weight of 1 - CIoU, >= 0.
        class_gain: Weight of the cross-entropy, >= 0.
        distance_gain: Weight of the distribution focal loss, >= 0.
        top_candidates: Anchor points that an object may take, >= 1.
    """

    box_gain: float = 7.5
    class_gain: float = 0.5
    distance_gain: float = 1.5
    top_candidates: int = TOP_CANDIDATES

    def __post_init__(self):
        for name in ("box_gain", "class_gain", "distance_gain"):
            require_number("DetectorLossConfig", name, getattr(self, name), 0)
        require_count("DetectorLossConfig", "top_candidates", self.top_candidates)


class DetectorTargets(NamedTuple):
    """Objects of a batch of pictures, padded to a fixed number.

    Attributes:
        boxes: ``[batch, max_objects, 4]``, ``(x, y, w, h)``, centre, pixels of the network's input.
        labels: ``[batch, max_objects]`` int32, in [0, num_classes).
        valid: ``[batch, max_objects]`` bool; false for padding.
    """

    boxes: jax.Array
    labels: jax.Array
    valid: jax.Array


def detector_loss(
    raw: RawDetections,
    targets: DetectorTargets,
    points: jax.Array,
    strides: jax.Array,
    config: DetectorLossConfig = DetectorLossConfig(),
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Loss of a batch.

    With the weights w of the assignment (0 where a point learns no object) and W = max(sum w, 1) over the whole batch:
    box = sum w (1 - CIoU) / W; distance = sum w DFL / W; class = sum BCE(score, w one_hot(class)) / W over all points
    and classes. A batch without a single object gives a finite loss: every point learns that there is none.

    ``points [num_anchors, 2]`` and ``strides [num_anchors]`` are in pixels. The metrics are ``box``, ``class`` and
    ``distance`` without gains, and ``positives``: points that learn an object, mean per picture.

    Source: Feng et al. (TOOD, 2021); Zheng et al. (CIoU, 2020); Li et al., Generalized Focal Loss (2020), Eq. 6.
    """
    batch, shape = raw.class_logits.shape[0], targets.labels.shape
    if len(shape) != 2 or shape[0] != batch or targets.boxes.shape != (*shape, 4) or targets.valid.shape != shape:
        raise ValueError(
            f"targets of boxes {targets.boxes.shape}, labels {shape} and valid {targets.valid.shape} do not fit the "
            f"network's class_logits {raw.class_logits.shape}: expected [B, T, 4], [B, T] and [B, T]"
        )
    points, strides = jnp.asarray(points), jnp.asarray(strides)
    class_logits = raw.class_logits.astype(jnp.float32)
    boxes = decode_boxes(raw.box_logits, points, strides)
    assignment = assign_batch(class_logits, boxes, points, targets, config.top_candidates)
    weights = assignment.weights
    total = jnp.maximum(weights.sum(), 1.0)

    target_boxes = jnp.take_along_axis(targets.boxes, assignment.object_ids[..., None], axis=1)
    # A point without an object gets its own box as target, so that no number of its padding reaches a gradient.
    target_boxes = jnp.where(assignment.positive[..., None], target_boxes, jax.lax.stop_gradient(boxes))
    fit = complete_iou(boxes, target_boxes)
    distance = distribution_focal_loss(raw.box_logits, edge_distances(target_boxes, points, strides))

    labels = jnp.take_along_axis(targets.labels, assignment.object_ids, axis=1)
    target_scores = weights[..., None] * jax.nn.one_hot(labels, class_logits.shape[-1])
    entropy = optax.sigmoid_binary_cross_entropy(class_logits, target_scores)

    terms = {
        "box": jnp.sum(weights * (1 - fit)) / total,
        "class": jnp.sum(entropy) / total,
        "distance": jnp.sum(weights * distance) / total,
    }
    gains = config.box_gain, config.class_gain, config.distance_gain
    box, entropy, distance = (gain * term for gain, term in zip(gains, terms.values(), strict=True))
    positives = assignment.positive.sum(axis=1).astype(jnp.float32).mean()
    return box + entropy + distance, terms | {"positives": positives}


def assign_batch(
    class_logits: jax.Array, boxes: jax.Array, points: jax.Array, targets: DetectorTargets, top_candidates: int
) -> Assignment:
    """:func:`assign` for every picture of a batch, whose axis leads everywhere but in ``points``."""

    def one_picture(logits, boxes, targets):
        scores = jax.nn.sigmoid(logits)
        return assign(scores, boxes, points, *targets, top_candidates=min(top_candidates, points.shape[0]))

    return jax.vmap(one_picture)(*jax.lax.stop_gradient((class_logits, boxes, targets)))


def edge_distances(boxes: jax.Array, points: jax.Array, strides: jax.Array) -> jax.Array:
    """Distances from the anchor points to the edges of boxes ``[..., num_anchors, 4]``: what ``decode_boxes`` undoes.

    ``[..., num_anchors, 4]``: to the left, top, right and bottom edge, strides; clipped to what the bins can hold.
    """
    lead = (1,) * (boxes.ndim - 2)
    offset = boxes[..., :2] - points.reshape(*lead, *points.shape)
    half = boxes[..., 2:] / 2
    distances = jnp.concatenate([half - offset, half + offset], axis=-1) / strides.reshape(*lead, -1, 1)
    return jnp.clip(distances, 0, _LARGEST_DISTANCE)


def distribution_focal_loss(box_logits: jax.Array, distances: jax.Array) -> jax.Array:
    """Cross-entropy of the two bins beside the true distance, weighted by how near they are.

    For a distance d between the bins i and i + 1: -(i + 1 - d) log p_i - (d - i) log p_{i+1}; the mean of the four
    sides. Its minimum is the distribution with mean d that is the narrowest.

    Args:
        box_logits: ``[..., 4, NUM_BINS]``.
        distances: ``[..., 4]``, strides, in [0, NUM_BINS - 1).

    Source: Li et al., Generalized Focal Loss (2020), Eq. 6.
    """
    log_p = jax.nn.log_softmax(box_logits.astype(jnp.float32), axis=-1)
    bins = jnp.arange(NUM_BINS, dtype=jnp.float32).reshape((1,) * distances.ndim + (NUM_BINS,))
    # The two weights are a triangle of width 1 about the distance: no gather, whose gradient would be a scatter.
    nearness = jnp.maximum(1 - jnp.abs(bins - distances[..., None]), 0)
    return -jnp.sum(nearness * log_p, axis=-1).mean(axis=-1)
