"""``lvm-mtc train --stage detector``: step 1, the detector of the knowledge base."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lvm_mtc.config import from_dict
from lvm_mtc.data.detection_packing import load_detection_set
from lvm_mtc.interop.classifier_weights import load_classifier
from lvm_mtc.interop.onnx_file import read_onnx
from lvm_mtc.metrics.detection import average_precision, match_detections, recall_at, top_box_share
from lvm_mtc.training.detector.recipe import DetectorRecipe
from lvm_mtc.training.detector.teacher import YoloxTeacher
from lvm_mtc.training.detector.training import run_detector_training


def prepare_detector(options: argparse.Namespace, config: Mapping[str, Any]) -> Callable[[], Path]:
    """Reads what the training of the detector needs; calling what it returns trains through all phases, or goes on.

    The run folder holds a folder per phase: checkpoints, ``log.jsonl``, and at the end ``weights.npz``. Every few
    hundred steps the log has the scores on the held-out pictures: recall@10, the share of best boxes on an object,
    AP50.

    Args:
        config: Fields of ``DetectorRecipe``, and ``about``: where the pictures and boxes come from, for the weights.
    """
    recipe = from_dict(DetectorRecipe, {name: value for name, value in config.items() if name != "about"})
    packs = [load_detection_set(path, "train") for path in options.data]
    held_out = max((load_detection_set(path, "val") for path in options.data), key=lambda v: v.pictures.shape[1])
    guide = load_classifier(options.guide) if options.guide else None
    if guide is None and any(phase.guide_weight for phase in recipe.phases):
        raise ValueError("--guide: a phase of the recipe has a guide_weight; name EfficientNet-Lite0's weights")
    teacher = YoloxTeacher(read_onnx(options.teacher)) if options.teacher else None
    if teacher is None and any(phase.teacher_weight for phase in recipe.phases):
        raise ValueError("--teacher: a phase of the recipe has a teacher_weight; name YOLOX's ONNX file")

    def judge(found, size: int) -> dict[str, float]:
        """Scores detections on the held-out pictures, for the log."""
        matches = match_detections(found.boxes, found.scores, found.valid, held_out.boxes, held_out.valid)
        numbers = {"recall_at_10": recall_at(matches), "top_box": top_box_share(matches)}
        return numbers | {"ap50": average_precision(matches), "size": size}

    given = dict(guide=guide, teacher=teacher, start=options.start, about=config.get("about"))
    return lambda: run_detector_training(recipe, packs, options.run_dir, held_out=held_out, judge=judge, **given)
