r"""FlashSAM beside YOLOX-nano and a fixed centre box: the held-out VOC pictures, one protocol, class-agnostic.

Every detector sees the whole picture, letterboxed to its own input size; at most 100 boxes a picture after non-maximum
suppression at IoU 0.6, scores from 0.001 on. AP50 and recall@10 are pycocotools' (extra ``detection``), the 95 %
intervals are over pictures. YOLOX-nano needs onnxruntime and its weights.

    python experiments/judge_detectors.py --weights lvm_mtc/weights/flashsam_n.npz --data build/detection_256.npz \
        --yolox ../shared/data/weights/yolox_nano.onnx --out build/detectors.json
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from lvm_mtc.data.boxes import center_prior
from lvm_mtc.data.detection_packing import DetectionSet, load_detection_set
from lvm_mtc.data.images import load_image
from lvm_mtc.data.voc import load_voc, voc_boxes
from lvm_mtc.evaluation.detection import DetectionScores, coco_scores, detection_scores, match_detections
from lvm_mtc.models.weights import load_weights
from lvm_mtc.training.detector import run_detector

PROTOCOL = dict(max_boxes=100, iou_threshold=0.6, score_threshold=0.001)


def score(boxes, scores, valid, held_out: DetectionSet) -> DetectionScores:
    """Scores and intervals; the values are pycocotools', and the plain computation must agree with them."""
    truth = held_out.boxes, held_out.valid
    found = detection_scores(match_detections(boxes, scores, valid, *truth))
    ap50, recall = coco_scores(boxes, scores, valid, *truth)
    if abs(ap50 - found.ap50.value) > 1e-6 or abs(recall - found.recall_at_10.value) > 1e-6:
        raise ValueError(f"pycocotools has AP50 {ap50} and recall {recall}, the plain computation {found}")
    return found


def judge_flashsam(weights: Path, held_out: DetectionSet, size: int | None = None) -> tuple[DetectionScores, int]:
    """Scores of a weights file at ``size``, by default the one of its last training phase."""
    variables, metadata = load_weights(weights)
    model, size = metadata["model"], size or metadata["size"]
    found = run_detector(
        variables, held_out.pictures, size, variant=model["variant"], num_classes=model["num_classes"], **PROTOCOL
    )
    return score(found.boxes, found.scores, found.valid, held_out), size


def judge_yolox(path: Path, data: Path, held_out: DetectionSet) -> DetectionScores:
    """Scores of YOLOX-nano on the same pictures, read from their files."""
    from yolox import YoloxNano

    detector, examples = YoloxNano(path), load_voc(data, "val")
    boxes, scores = (np.zeros((len(examples), PROTOCOL["max_boxes"], *last)) for last in ((4,), ()))
    for i, example in enumerate(examples):
        found, confidence = detector(load_image(example.image_path), **PROTOCOL)
        side = max(example.annotation.height, example.annotation.width)
        boxes[i, : len(found)] = found * (held_out.pictures.shape[1] / side)
        scores[i, : len(found)] = confidence
        if len(voc_boxes(example.annotation)) != held_out.valid[i].sum():
            raise ValueError(f"{example.image_path}: is not picture {i} of the packed set")
    return score(boxes, scores, scores > 0, held_out)


def judge_center(held_out: DetectionSet) -> DetectionScores:
    """Scores of one centred box over half the picture's area, the best share on the training pictures."""
    boxes = np.stack([center_prior(height, width, 0.5) for height, width in held_out.extents])[:, None]
    return score(boxes, np.ones(boxes.shape[:2]), np.ones(boxes.shape[:2], bool), held_out)


def main(arguments: list[str] | None = None) -> int:
    """Prints a table; returns the exit status: 0, or 2 after one line on stderr."""
    parser = argparse.ArgumentParser(description="Judge detectors on the held-out pictures.")
    parser.add_argument("--weights", type=Path, default=Path("lvm_mtc/weights/flashsam_n.npz"), help="FlashSAM's")
    parser.add_argument("--data", type=Path, default=Path("build/detection_256.npz"), help="packed pictures")
    parser.add_argument("--sizes", type=int, nargs="*", default=[], help="input sizes; none: the training's last")
    parser.add_argument("--yolox", type=Path, help="yolox_nano.onnx")
    parser.add_argument("--voc", type=Path, default=Path("../shared/data/voc2012_320"), help="the pictures' own files")
    parser.add_argument("--out", type=Path, help="JSON file for the numbers")
    options = parser.parse_args(arguments)
    try:
        held_out = load_detection_set(options.data, "val")
        rows = {"centre box": judge_center(held_out)}
        if options.yolox:
            rows["YOLOX-nano, 416 px"] = judge_yolox(options.yolox, options.voc, held_out)
        for size in options.sizes or [None]:
            scores, size = judge_flashsam(options.weights, held_out, size)
            rows[f"FlashSAM, {size} px"] = scores
    except (ValueError, OSError, ModuleNotFoundError) as error:
        print(f"judge_detectors: {error}", file=sys.stderr)
        return 2
    for name, scores in rows.items():
        parts = zip(scores._fields[:3], scores[:3], strict=True)
        numbers = "  ".join(f"{part} {e.value:.3f} [{e.low:.3f}, {e.high:.3f}]" for part, e in parts)
        print(f"{name:22s} {numbers}  ({scores.num_pictures} pictures, {scores.num_objects} objects)")
    if options.out:
        options.out.write_text(json.dumps({name: as_json(scores) for name, scores in rows.items()}, indent=1) + "\n")
    return 0


def as_json(scores: DetectionScores) -> dict:
    """Scores as a weights file keeps them: every number with its interval, and the protocol."""
    numbers = {name: [round(v, 4) for v in part] for name, part in zip(scores._fields[:3], scores[:3], strict=True)}
    return numbers | {"pictures": scores.num_pictures, "objects": scores.num_objects, "protocol": PROTOCOL}


if __name__ == "__main__":
    sys.exit(main())
