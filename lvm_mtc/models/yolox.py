"""YOLOX, a detector of 80 kinds of objects that comes as an ONNX graph: boxes, scores, and the features behind them.

Weights files are YOLOX's own exports, ``yolox_nano.onnx`` (Apache-2.0) say; ``interop.onnx_file`` reads them.
Source: Ge et al., YOLOX: Exceeding YOLO Series in 2021 (2021).
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lvm_mtc.models.detection import STRIDES, Detections, anchor_points, non_max_suppression
from lvm_mtc.models.onnx_graph import OnnxGraph, evaluate, reads

COCO_CLASSES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee",
    "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone",
    "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear",
    "hair drier", "toothbrush",
)  # fmt: skip
"""Names of its labels."""


class YoloxOutputs(NamedTuple):
    """What the network says at the anchors of ``detection.anchor_points(height, width)``.

    Attributes:
        class_maps: Features of the class branch, a map ``[batch, height / stride, width / stride, channels]`` a stride.
        box_maps: Those of the branch of boxes and objectness, likewise.
        scores: ``[batch, num_anchors, 80]``, objectness times class score, in [0, 1].
        boxes: ``[batch, num_anchors, 4]``, ``(x, y, w, h)``, centre, pixels of the input.
    """

    class_maps: tuple[jax.Array, ...]
    box_maps: tuple[jax.Array, ...]
    scores: jax.Array
    boxes: jax.Array


@dataclasses.dataclass(frozen=True)
class Yolox:
    """The network; the weights of the graph's heads have the names that YOLOX's own export gives them."""

    graph: OnnxGraph

    def __post_init__(self):
        self._heads()

    @property
    def channels(self) -> int:
        """Of the features of one branch."""
        return self.graph.arrays["head.cls_preds.0.weight"].shape[2]

    def _heads(self) -> list[tuple[str, ...]]:
        """Per scale, the values that hold features of classes and of boxes, classes, boxes and objectness."""
        names = []
        for scale in range(len(STRIDES)):
            heads = [reads(self.graph, f"head.{part}_preds.{scale}.weight") for part in ("cls", "reg", "obj")]
            names.append((heads[0].inputs[0], heads[1].inputs[0], *(head.output for head in heads)))
        return names

    def __call__(self, arrays: Mapping[str, jax.Array], images: jax.Array) -> YoloxOutputs:
        """Evaluates it with the graph's ``arrays``.

        ``images`` are ``[batch, height, width, 3]`` RGB in [0, 1]; height and width are multiples of 32.
        """
        heads = self._heads()
        # It was trained on BGR of 0 to 255.
        values = evaluate(self.graph, 255 * images[..., ::-1], [name for head in heads for name in head], arrays)
        class_maps, box_maps, *parts = [tuple(values[name] for name in part) for part in zip(*heads, strict=True)]
        classes, raw, objects = (jnp.concatenate([_flat(values) for values in part], axis=1) for part in parts)
        points, strides = anchor_points(*images.shape[1:3])
        centre = points[None] + (raw[..., :2] - 0.5) * strides[None, :, None]
        boxes = jnp.concatenate([centre, jnp.exp(raw[..., 2:]) * strides[None, :, None]], axis=-1)
        return YoloxOutputs(class_maps, box_maps, jax.nn.sigmoid(objects) * jax.nn.sigmoid(classes), boxes)


def found_objects(
    outputs: YoloxOutputs, *, max_boxes: int = 32, iou_threshold: float = 0.45, score_threshold: float = 0.2
) -> Detections:
    """Boxes in pixels of the input, the best of those of one class that overlap by more than ``iou_threshold``."""

    def of_picture(scores: jax.Array, boxes: jax.Array) -> Detections:
        labels, best = jnp.argmax(scores, axis=-1).astype(jnp.int32), jnp.max(scores, axis=-1)
        thresholds = {"iou_threshold": iou_threshold, "score_threshold": score_threshold}
        ids, valid = non_max_suppression(boxes, best, labels, max_boxes=max_boxes, **thresholds)
        kept = jnp.where(valid[:, None], boxes[ids], 0), jnp.where(valid, best[ids], 0)
        return Detections(*kept, jnp.where(valid, labels[ids], -1), valid)

    return jax.vmap(of_picture)(outputs.scores, outputs.boxes)


def _flat(maps: jax.Array) -> jax.Array:
    """``[batch, height, width, channels]`` as ``[batch, anchors, channels]``."""
    return maps.reshape(maps.shape[0], -1, maps.shape[-1])
