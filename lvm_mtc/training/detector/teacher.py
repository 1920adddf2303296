"""A whole detector as a teacher: YOLOX-nano says at every cell what is there.

Boxes say where a few objects are. A trained detector says more, on any view of any picture, annotated or not: a score
at every cell, a box wherever there may be an object, and features from which it tells classes apart. It has the
strides and the cells of FlashSAM, so that each anchor point learns from the teacher's answer at the same place. The
linear maps that predict its features are thrown away after the training.

Source: Ge et al., YOLOX: Exceeding YOLO Series in 2021 (2021), for the outputs; Romero et al., FitNets (2015), for the
features.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from lvm_mtc.models.box_geometry import complete_iou
from lvm_mtc.models.detection import STRIDES, RawDetections, anchor_points, decode_boxes
from lvm_mtc.models.flashsam import FlashSAM
from lvm_mtc.models.onnx_graph import OnnxGraph
from lvm_mtc.models.yolox import Yolox
from lvm_mtc.training.detector.lessons import Lesson, intermediate_shapes, linear_map, standardized
from lvm_mtc.training.detector.loss import DetectorLossConfig, distribution_focal_loss, edge_distances
from lvm_mtc.training.detector.recipe import DetectorPhase

# Module of each FlashSAM head whose output predicts the teacher's features.
TAUGHT = "class2_pointwise"
_MIN_SCORE = 0.05  # Below it, the teacher's box is of nothing.
_FEATURE_GAIN = 2.0  # Beside about 3 of the boxes; 1 is the error of predicting nothing.
_BACKGROUND = 0.1  # Weight of a cell without object for the features, next to 1 for one of score 1.


class TeacherOutputs(NamedTuple):
    """What the teacher says.

    Attributes:
        scores: ``[batch, num_anchors]``, objectness times the largest class score, in [0, 1].
        boxes: ``[batch, num_anchors, 4]``, ``(x, y, w, h)``, centre, pixels of the input.
        features: ``[batch, num_anchors, channels]``, of the class branch, mean 0 and variance 1 per scale and channel.
    """

    scores: jax.Array
    boxes: jax.Array
    features: jax.Array


@dataclasses.dataclass(frozen=True)
class YoloxTeacher:
    """YOLOX as a teacher."""

    graph: OnnxGraph

    def __post_init__(self):
        Yolox(self.graph)

    @property
    def channels(self) -> int:
        """Of its features."""
        return Yolox(self.graph).channels

    def __call__(self, arrays: Mapping[str, jax.Array], images: jax.Array) -> TeacherOutputs:
        """What it says; arguments as ``models.yolox.Yolox`` has them."""
        outputs = Yolox(self.graph)(arrays, images)
        features = jnp.concatenate([standardized(_flat(maps)) for maps in outputs.class_maps], axis=1)
        return TeacherOutputs(outputs.scores.max(axis=-1), outputs.boxes, features)


def _flat(maps: jax.Array) -> jax.Array:
    """``[batch, height, width, channels]`` as ``[batch, anchors, channels]``."""
    return maps.reshape(maps.shape[0], -1, maps.shape[-1])


def _taught(intermediates: Mapping[str, Any]) -> jax.Array:
    """Outputs that predict the features, at all anchors, ``[batch, num_anchors, channels]``."""
    return jnp.concatenate([_flat(intermediates[f"head{s}"][TAUGHT]["__call__"][0]) for s in STRIDES], axis=1)


def teacher_lesson(
    key: jax.Array,
    model: FlashSAM,
    variables: Mapping[str, Any],
    phase: DetectorPhase,
    teacher: YoloxTeacher,
    config: DetectorLossConfig,
) -> Lesson:
    """To answer as the teacher does; ``config`` has the gains."""
    points, strides = anchor_points(phase.size, phase.size)
    width = jax.eval_shape(_taught, intermediate_shapes(model, variables, phase.size, [TAUGHT])).shape[-1]

    def answers(data, images):
        return teacher(data["teacher"], images)

    def loss(projection, raw, intermediates, answers):
        value, terms = teacher_loss(raw, _taught(intermediates), projection, answers, points, strides, config)
        return phase.teacher_weight * value, terms

    data = {"teacher": teacher.graph.arrays}
    return Lesson(linear_map(key, width, teacher.channels), data, answers, [TAUGHT], loss)


def teacher_loss(
    raw: RawDetections,
    features: jax.Array,
    projection: Mapping[str, jax.Array],
    teacher: TeacherOutputs,
    points: jax.Array,
    strides: jax.Array,
    config: DetectorLossConfig,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """How far a class-agnostic network is from the teacher.

    With the teacher's scores q (and those above 0.05, w = q, else 0) over the batch's anchors: class = sum BCE(score,
    q) / sum q; box = sum w (1 - CIoU) / sum w and distance = sum w DFL / sum w to its boxes; feature = sum v MSE / sum
    v of its features with v = 0.1 + q. The first three have the gains of ``detector_loss``, the features 2. The terms
    come back without gains.

    ``raw`` is of one class, ``features [batch, num_anchors, width]`` predict the teacher's through the linear map
    ``projection``, and ``points``, ``strides`` and ``config`` are those of :func:`detector_loss`.
    """
    points, strides = jnp.asarray(points), jnp.asarray(strides)
    scores = teacher.scores
    weights = jnp.where(scores > _MIN_SCORE, scores, 0)
    entropy = optax.sigmoid_binary_cross_entropy(raw.class_logits[..., 0].astype(jnp.float32), scores)
    boxes = decode_boxes(raw.box_logits, points, strides)
    fit = complete_iou(boxes, teacher.boxes)
    distance = distribution_focal_loss(raw.box_logits, edge_distances(teacher.boxes, points, strides))
    predicted = features @ projection["kernel"] + projection["bias"].reshape(1, 1, -1)
    errors = jnp.mean(jnp.square(predicted - teacher.features), axis=-1)
    importance = _BACKGROUND + scores

    def mean(values, weights):
        return jnp.sum(values * weights) / jnp.maximum(jnp.sum(weights), 1.0)

    terms = {
        "taught_class": jnp.sum(entropy) / jnp.maximum(jnp.sum(scores), 1.0),
        "taught_box": mean(1 - fit, weights),
        "taught_distance": mean(distance, weights),
        "taught_feature": mean(errors, importance),
    }
    gains = config.class_gain, config.box_gain, config.distance_gain, _FEATURE_GAIN
    return sum(gain * term for gain, term in zip(gains, terms.values(), strict=True)), terms
