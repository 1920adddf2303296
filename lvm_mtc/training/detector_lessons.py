"""What the detector learns beside the boxes of a batch: to predict a classifier's features, or a detector's answers."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lvm_mtc.models.detection import RawDetections, anchor_points
from lvm_mtc.models.flashsam import FlashSAM
from lvm_mtc.training.detector_guide import captured, guide_loss, guided_batch_fn, init_projections, is_guided
from lvm_mtc.training.detector_loss import DetectorLossConfig
from lvm_mtc.training.detector_teacher import (
    YoloxTeacher,
    init_projection,
    is_taught,
    taught,
    taught_batch_fn,
    teacher_loss,
)


class Lesson(NamedTuple):
    """One lesson.

    Attributes:
        params: Parameters of its own, thrown away after the training.
        data: What its batches need, beside the pictures.
        batch_fn: From a function ``(data, key) -> batch`` to one ``(data, key) -> (batch, answers)``.
        is_captured: Filter for ``capture_intermediates``.
        loss: ``(params, raw outputs, intermediates, answers) -> (loss, metrics)``, weighted.
    """

    params: Any
    data: dict[str, Any]
    batch_fn: Callable
    is_captured: Callable[[Any, str], bool]
    loss: Callable[[Any, RawDetections, Mapping[str, Any], Any], tuple[jax.Array, dict[str, jax.Array]]]


def guide_lesson(
    key: jax.Array, model: FlashSAM, variables: Mapping[str, Any], guide: Mapping[str, Any], size: int, weight: float
) -> Lesson:
    """A classifier's features, as in detector_guide.py.

    Args:
        key: Typed key, for the projections.
        model: The network.
        variables: Of the network.
        guide: Parameters of ``EfficientNetLite0``.
        size: Side of the network's input, pixels.
        weight: Of the loss.
    """

    def loss(params, raw, intermediates, features):
        value = guide_loss(params, captured(intermediates), features)
        return weight * value, {"guide": value}

    outputs = captured(_intermediates(model, variables, size, is_guided))
    projections = init_projections(key, {name: output.shape[-1] for name, output in outputs.items()})
    return Lesson(projections, {"guide": guide}, guided_batch_fn, is_guided, loss)


def teacher_lesson(
    key: jax.Array,
    model: FlashSAM,
    variables: Mapping[str, Any],
    teacher: YoloxTeacher,
    size: int,
    weight: float,
    config: DetectorLossConfig,
) -> Lesson:
    """A detector's answers, as in detector_teacher.py.

    Args:
        key: Typed key, for the projection.
        model: The network.
        variables: Of the network.
        teacher: The detector.
        size: Side of the network's input, pixels.
        weight: Of the loss.
        config: Gains of its terms.
    """
    points, strides = anchor_points(size, size)

    def loss(params, raw, intermediates, answers):
        value, terms = teacher_loss(raw, taught(intermediates), params, answers, points, strides, config)
        return weight * value, terms

    width = jax.eval_shape(taught, _intermediates(model, variables, size, is_taught)).shape[-1]
    return Lesson(
        init_projection(key, width, teacher.channels),
        {"teacher": teacher.graph.arrays},
        lambda batch_fn: taught_batch_fn(batch_fn, teacher),
        is_taught,
        loss,
    )


def _intermediates(model: FlashSAM, variables: Mapping[str, Any], size: int, chosen: Callable) -> Any:
    """Shapes of what the network's captured modules make of one picture."""
    images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    _, state = jax.eval_shape(
        lambda v, x: model.apply(v, x, capture_intermediates=chosen, mutable=["intermediates"]), variables, images
    )
    return state["intermediates"]
