r"""Trains the detector of ``experiments/configs/flashsam.py``, or goes on where the same command stopped.

    python experiments/train_flashsam.py --data build/detection_256.npz build/detection_320.npz \
        --run-dir runs/flashsam --guide ../shared/data/weights/efficientnet_lite0_fp16.npz

The run folder holds a folder per phase: checkpoints, ``log.jsonl``, and at the end ``weights.npz``. Every few hundred
steps the log has the scores on the held-out pictures: recall@10, the share of best boxes on an object, AP50.
"""

from __future__ import annotations

import argparse
import runpy
import sys
from pathlib import Path

from lvm_mtc.cli.values import assignment
from lvm_mtc.config import from_dict, replace_dotted
from lvm_mtc.data.detection_packing import DetectionSet, load_detection_set
from lvm_mtc.evaluation.detection import average_precision, match_detections, recall_at, top_box_share
from lvm_mtc.interop.classifier_weights import load_classifier
from lvm_mtc.training import TrainingStopped
from lvm_mtc.training.detector import DetectorRecipe, run_detector_training

HERE = Path(__file__).resolve().parent
DATA = [Path("build/detection_256.npz"), Path("build/detection_320.npz")]
ABOUT = {
    "pictures_from": "voc2012_320, list train, annotated; imagenet1000_160 and aid150 where the teacher found objects",
    "teacher": "YOLOX-nano (Apache-2.0), its class-agnostic boxes with a score of 0.4 or more on the latter two",
}


def judge_on(held_out: DetectionSet):
    """Builds the function that scores detections on held-out pictures."""

    def judge(found, size):
        matches = match_detections(found.boxes, found.scores, found.valid, held_out.boxes, held_out.valid)
        numbers = {"recall_at_10": recall_at(matches), "top_box": top_box_share(matches)}
        return numbers | {"ap50": average_precision(matches), "size": size}

    return judge


def read_recipe(path: Path, settings: list[tuple[str, object]]) -> DetectorRecipe:
    """Reads a configuration file and applies changes of single fields to it."""
    config = runpy.run_path(str(path))["get_config"]().to_dict()
    for name, value in settings:
        config = replace_dotted(config, name, value)
    return from_dict(DetectorRecipe, config)


def main(arguments: list[str] | None = None) -> int:
    """Trains; returns the exit status: 0, 2 after wrong input, 128 + signal after an orderly stop."""
    parser = argparse.ArgumentParser(description="Train the detector, or go on.")
    parser.add_argument("--config", type=Path, default=HERE / "configs" / "flashsam.py", help="the recipe")
    parser.add_argument("--data", type=Path, nargs="+", default=DATA, help="packed pictures, at each size needed")
    parser.add_argument("--run-dir", type=Path, default=Path("runs/flashsam"), help="folder of the run")
    parser.add_argument("--guide", type=Path, help="efficientnet_lite0_fp16.npz, where the recipe has a guide_weight")
    parser.add_argument("--set", dest="settings", type=assignment, action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args(arguments)
    try:
        recipe = read_recipe(options.config, options.settings)
        packs = [load_detection_set(path, "train") for path in options.data]
        held_out = max((load_detection_set(path, "val") for path in options.data), key=lambda v: v.pictures.shape[1])
        path = run_detector_training(
            recipe,
            packs,
            options.run_dir,
            held_out=held_out,
            judge=judge_on(held_out),
            guide=load_classifier(options.guide) if options.guide else None,
            about=ABOUT,
        )
    except TrainingStopped as stop:
        print(stop)
        return 128 + stop.signum
    except ValueError as error:
        print(f"train_flashsam: {error}", file=sys.stderr)
        return 2
    print(f"weights: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
