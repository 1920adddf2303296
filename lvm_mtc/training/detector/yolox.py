"""YOLOX-nano through onnxruntime: the yardstick on the same pictures, and a teacher for pictures without boxes.

Weights ``yolox_nano.onnx`` (Apache-2.0): input ``[1, 3, 416, 416]``, BGR, 0 to 255, letterboxed into the upper left
corner; output ``[1, 3549, 85]``: per anchor x, y, log w, log h in strides, objectness, 80 COCO class scores.
Source: Ge et al., YOLOX: Exceeding YOLO Series in 2021 (2021).
"""

from pathlib import Path

import numpy as np

from lvm_mtc.data.detection_packing import letterbox
from lvm_mtc.metrics.detection import iou_matrix
from lvm_mtc.models.detection import anchor_points

SIZE = 416


class YoloxNano:
    """The detector, one picture at a time."""

    def __init__(self, path: str | Path):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        points, strides = anchor_points(SIZE, SIZE)
        self._cells, self._strides = points / strides[:, None] - 0.5, strides[:, None]

    def __call__(
        self, image: np.ndarray, *, max_boxes: int = 100, iou_threshold: float = 0.7, score_threshold: float = 0.001
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes of a picture ``[H, W, 3]`` uint8 RGB, best first; of those that overlap by more, the worse is dropped.

        Returns:
            boxes: ``[n, 4]``, ``(x, y, w, h)``, centre, pixels of ``image``.
            scores: ``[n]``: objectness times the largest class score.
            labels: ``[n]``, number of that class in ``models.yolox.COCO_CLASSES``.
        """
        picture, _, scale = letterbox(image, SIZE)
        tensor = np.ascontiguousarray(picture[None, :, :, ::-1].transpose(0, 3, 1, 2), np.float32)
        out = self._session.run(None, {"images": tensor})[0][0]
        centre = (out[:, :2] + self._cells) * self._strides
        boxes = np.concatenate([centre, np.exp(out[:, 2:4]) * self._strides], axis=1) / np.array([*scale, *scale])
        scores = out[:, 4] * out[:, 5:].max(axis=1)
        kept = suppress(boxes, scores, max_boxes, iou_threshold, score_threshold)
        return boxes[kept], scores[kept], out[kept, 5:].argmax(axis=1)


def suppress(
    boxes: np.ndarray, scores: np.ndarray, max_boxes: int, iou_threshold: float, score_threshold: float
) -> np.ndarray:
    """Greedy non-maximum suppression; indices of what is kept, best first."""
    order = np.flatnonzero(scores >= score_threshold)
    order = order[np.argsort(-scores[order], kind="stable")]
    kept = []
    while len(order) and len(kept) < max_boxes:
        kept.append(order[0])
        overlap = iou_matrix(boxes[order[:1]], boxes[order[1:]])[0]
        order = order[1:][overlap <= iou_threshold]
    return np.array(kept, int)
