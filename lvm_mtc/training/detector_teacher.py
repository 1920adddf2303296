"""A whole detector as a teacher: YOLOX-nano says at every cell what is there.

Boxes say where a few objects are. A trained detector says more, on any view of any picture, annotated or not: a score
at every cell, a box wherever there may be an object, and features from which it tells classes apart. It has the
strides and the cells of FlashSAM, so that each anchor point learns from the teacher's answer at the same place. The
linear maps that predict its features are thrown away after the training.

Source: Ge et al., YOLOX: Exceeding YOLO Series in 2021 (2021), for the outputs; Romero et al., FitNets (2015), for the
features.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from lvm_mtc.models.box_geometry import complete_iou
from lvm_mtc.models.detection import STRIDES, RawDetections, anchor_points, decode_boxes
from lvm_mtc.models.onnx_graph import OnnxGraph, evaluate, reads
from lvm_mtc.training.detector_guide import standardized
from lvm_mtc.training.detector_loss import DetectorLossConfig, distribution_focal_loss, edge_distances

TAUGHT = "class2_pointwise"
"""Module of each FlashSAM head whose output predicts the teacher's features."""

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
    """YOLOX as a teacher.

    Attributes:
        graph: The network; weights of the heads have the names that YOLOX's own export gives them.
    """

    graph: OnnxGraph

    def __post_init__(self):
        self._names()

    @property
    def channels(self) -> int:
        """Of its features."""
        return self.graph.arrays["head.cls_preds.0.weight"].shape[2]

    def _names(self) -> list[tuple[str, str, str, str]]:
        """Per scale, the values that hold class features, class scores, boxes and objectness, before a sigmoid."""
        names = []
        for scale in range(len(STRIDES)):
            classes, boxes, objects = (reads(self.graph, f"head.{p}_preds.{scale}.weight") for p in _PARTS)
            names.append((classes.inputs[0], classes.output, boxes.output, objects.output))
        return names

    def __call__(self, arrays: Mapping[str, jax.Array], images: jax.Array) -> TeacherOutputs:
        """Asks the teacher.

        Args:
            arrays: The graph's.
            images: ``[batch, height, width, 3]`` RGB in [0, 1]; height and width are multiples of 32.

        Returns:
            What it says, at the anchors of ``detection.anchor_points(height, width)``.
        """
        names = self._names()
        # It was trained on BGR of 0 to 255.
        values = evaluate(self.graph, 255 * images[..., ::-1], [name for four in names for name in four], arrays)
        flat = {name: value.reshape(value.shape[0], -1, value.shape[-1]) for name, value in values.items()}
        features, classes, raw, objects = (
            jnp.concatenate([standardized(flat[four[i]]) if i == 0 else flat[four[i]] for four in names], axis=1)
            for i in range(4)
        )
        scores = jax.nn.sigmoid(objects[..., 0]) * jax.nn.sigmoid(classes.max(axis=-1))
        points, strides = anchor_points(*images.shape[1:3])
        centre = points[None] + (raw[..., :2] - 0.5) * strides[None, :, None]
        return TeacherOutputs(
            scores, jnp.concatenate([centre, jnp.exp(raw[..., 2:]) * strides[None, :, None]], axis=-1), features
        )


_PARTS = ("cls", "reg", "obj")


def is_taught(module: Any, method: str) -> bool:
    """Filter for ``capture_intermediates``: outputs that predict the teacher's features."""
    return method == "__call__" and module.name == TAUGHT


def taught(intermediates: Mapping[str, Any]) -> jax.Array:
    """Those outputs at all anchors, ``[batch, num_anchors, channels]``, from what ``capture_intermediates`` found."""
    maps = [intermediates[f"head{stride}"][TAUGHT]["__call__"][0] for stride in STRIDES]
    return jnp.concatenate([x.reshape(x.shape[0], -1, x.shape[-1]) for x in maps], axis=1)


def init_projection(key: jax.Array, width: int, channels: int) -> dict[str, jax.Array]:
    """Linear map from FlashSAM's channels to the teacher's: ``kernel [width, channels]``, ``bias [channels]``."""
    return {"kernel": jax.random.normal(key, (width, channels)) / jnp.sqrt(width), "bias": jnp.zeros(channels)}


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
    v of its features with v = 0.1 + q. The first three have the gains of :func:`detector_loss.detector_loss`, the
    features 2.

    Args:
        raw: Outputs of the network; one class.
        features: Of :func:`taught`.
        projection: Of :func:`init_projection`.
        teacher: What it says about the same pictures.
        points: ``[num_anchors, 2]``, pixels.
        strides: ``[num_anchors]``, pixels.
        config: Gains.

    Returns:
        loss: Scalar, float32.
        metrics: Scalars ``taught_class``, ``taught_box``, ``taught_distance``, ``taught_feature``, without gains.
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


def taught_batch_fn(batch_fn: Callable, teacher: YoloxTeacher) -> Callable:
    """Adds to a batch what the teacher says; ``data["teacher"]`` holds its arrays."""

    def with_answers(data, key):
        batch = batch_fn(data, key)
        return batch, teacher(data["teacher"], batch.images)

    return with_answers
