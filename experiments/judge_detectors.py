"""How good are a detector's boxes on packed pictures? One protocol, class-agnostic; used by the scripts beside it.

Every detector sees the whole picture, letterboxed to its own input size; at most 100 boxes a picture after non-maximum
suppression at IoU 0.6, scores from 0.001 on. AP50 and recall@10 are pycocotools' (extra ``detection``), the 95 %
intervals are over pictures. YOLOX-nano needs onnxruntime and its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from lvm_mtc.data.boxes import center_prior
from lvm_mtc.data.detection_packing import DetectionSet
from lvm_mtc.evaluation.detection import DetectionScores, coco_scores, detection_scores, match_detections
from lvm_mtc.models.detection import Detections
from lvm_mtc.models.weights import load_weights
from lvm_mtc.training.detector_inference import run_detector

PROTOCOL = dict(max_boxes=100, iou_threshold=0.6, score_threshold=0.001)
LARGE_PRIOR = 0.5
"""Area of the fixed centre box over the picture's: the share with the most hits on the training pictures."""


def score(found: Detections, held_out: DetectionSet) -> DetectionScores:
    """Scores and intervals; the values are pycocotools', and the plain computation must agree with them."""
    both = found.boxes, found.scores, found.valid, held_out.boxes, held_out.valid
    scores = detection_scores(match_detections(*both))
    ap50, recall = coco_scores(*both)
    if abs(ap50 - scores.ap50.value) > 1e-6 or abs(recall - scores.recall_at_10.value) > 1e-6:
        raise ValueError(f"pycocotools has AP50 {ap50} and recall {recall}, the plain computation {scores}")
    return scores


def judge_flashsam(weights: Path, held_out: DetectionSet, size: int | None = None) -> tuple[DetectionScores, int]:
    """Scores of a weights file at ``size``, by default the one it ships with, else its last phase's."""
    variables, metadata = load_weights(weights)
    model, size = metadata["model"], size or metadata["model"].get("input_size", metadata["size"])
    found = run_detector(
        variables, held_out.pictures, size, variant=model["variant"], num_classes=model["num_classes"], **PROTOCOL
    )
    return score(found, held_out), size


def detect_yolox(
    path: Path, held_out: DetectionSet, progress: Callable[[Iterable], Iterable] = iter
) -> Detections:
    """YOLOX-nano's boxes and COCO labels of every picture without its grey border, pixels of the packed pictures."""
    from yolox import YoloxNano

    detector, shape = YoloxNano(path), (len(held_out.pictures), PROTOCOL["max_boxes"])
    found = Detections(
        np.zeros((*shape, 4), np.float32), np.zeros(shape, np.float32), np.zeros(shape, np.int32), np.zeros(shape, bool)
    )
    for i, (height, width) in enumerate(progress(held_out.extents.tolist())):
        parts = detector.labelled(held_out.pictures[i, :height, :width], **PROTOCOL)
        for array, part in zip(found, (*parts, True), strict=True):
            array[i, : len(parts[0])] = part
    return found


def center_boxes(held_out: DetectionSet, area: float) -> Detections:
    """One centred box a picture, of this share of its area."""
    boxes = np.stack([center_prior(height, width, area) for height, width in held_out.extents])[:, None]
    shape = boxes.shape[:2]
    return Detections(np.float32(boxes), np.ones(shape, np.float32), np.zeros(shape, np.int32), np.ones(shape, bool))


def as_json(scores: DetectionScores) -> dict:
    """Scores as a weights file keeps them: every number with its interval, and the protocol."""
    numbers = {name: [round(v, 4) for v in part] for name, part in zip(scores._fields[:3], scores[:3], strict=True)}
    return numbers | {"pictures": scores.num_pictures, "objects": scores.num_objects, "protocol": PROTOCOL}
