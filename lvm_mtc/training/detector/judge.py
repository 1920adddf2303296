"""How good are a detector's boxes on packed pictures? One protocol, class-agnostic.

Every detector sees the whole picture, letterboxed to its own input size; at most 100 boxes a picture after non-maximum
suppression at IoU 0.6, scores from 0.001 on. AP50 and recall@10 are pycocotools' (extra ``detection``), the 95 %
intervals are over pictures. YOLOX-nano needs onnxruntime and its weights.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from lvm_mtc.data.boxes import center_prior
from lvm_mtc.data.detection_packing import DetectionSet
from lvm_mtc.metrics.detection import DetectionScores, coco_scores, detection_scores, match_detections
from lvm_mtc.models.detection import Detections
from lvm_mtc.models.weights import load_weights
from lvm_mtc.training.detector.inference import run_detector
from lvm_mtc.training.detector.yolox import YoloxNano

PROTOCOL = dict(max_boxes=100, iou_threshold=0.6, score_threshold=0.001)
LARGE_PRIOR = 0.5
"""Area of the fixed centre box over the picture's: the share with the most hits on the training pictures."""


def score(detections: Detections, held_out: DetectionSet) -> DetectionScores:
    """Scores and intervals; the values are pycocotools', and the plain computation must agree with them."""
    both = detections.boxes, detections.scores, detections.valid, held_out.boxes, held_out.valid
    scores = detection_scores(match_detections(*both))
    ap50, recall = coco_scores(*both)
    if abs(ap50 - scores.ap50.value) > 1e-6 or abs(recall - scores.recall_at_10.value) > 1e-6:
        raise ValueError(f"pycocotools has AP50 {ap50} and recall {recall}, the plain computation {scores}")
    return scores


def judge_flashsam(weights: Path, held_out: DetectionSet, size: int) -> DetectionScores:
    """Scores of a weights file with pictures of ``size`` pixels."""
    variables, metadata = load_weights(weights)
    model = {name: metadata["model"][name] for name in ("variant", "num_classes")}
    return score(run_detector(variables, held_out.pictures, size, **model, **PROTOCOL), held_out)


def detect_yolox(path: Path, held_out: DetectionSet, label: str = "YOLOX-nano") -> Detections:
    """YOLOX-nano's boxes and COCO labels of every picture without its grey border, pixels of the packed pictures.

    ``label`` stands before a progress bar.
    """
    detector, places = YoloxNano(path), no_detections(len(held_out.pictures), PROTOCOL["max_boxes"])
    for i, (height, width) in enumerate(tqdm(held_out.extents.tolist(), desc=label, unit="picture", mininterval=2.0)):
        parts = detector(held_out.pictures[i, :height, :width], **PROTOCOL)
        for array, part in zip(places, (*parts, True), strict=True):
            array[i, : len(parts[0])] = part
    return places


def no_detections(num_pictures: int, count: int) -> Detections:
    """Places for ``count`` detections a picture, NumPy arrays of zeros."""
    shape = num_pictures, count
    kinds = ((4,), np.float32), ((), np.float32), ((), np.int32), ((), bool)
    return Detections(*(np.zeros((*shape, *last), kind) for last, kind in kinds))


def center_boxes(held_out: DetectionSet, area: float) -> Detections:
    """One centred box a picture, of this share of its area."""
    places = no_detections(len(held_out.pictures), 1)
    boxes = np.stack([center_prior(height, width, area) for height, width in held_out.extents])
    return places._replace(boxes=np.float32(boxes)[:, None], scores=places.scores + 1, valid=~places.valid)


def as_json(scores: DetectionScores) -> dict:
    """Scores as a weights file keeps them: every number with its interval, and the protocol."""
    numbers = {name: [round(v, 4) for v in part] for name, part in zip(scores._fields[:3], scores[:3], strict=True)}
    return numbers | {"pictures": scores.num_pictures, "objects": scores.num_objects, "protocol": PROTOCOL}
