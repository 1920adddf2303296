r"""Packs what FlashSAM is trained and judged on into one file.

``voc2012_320``: list ``train`` with its annotated boxes, and list ``val`` held out. With ``--teacher``, also those
pictures of ``imagenet1000_160`` and ``aid150`` in which YOLOX-nano finds an object with a score of ``--min-score`` or
more; all its boxes from that score on count as objects, class-agnostic.

    python experiments/pack_detection.py --data ../shared/data --out build/detection_256.npz --size 256 --teacher
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lvm_mtc.data.detection_packing import LabelledSource, pack_labelled, save_detection_sets
from lvm_mtc.data.images import load_image
from lvm_mtc.data.packing import PICTURE_FOLDERS, VOC_FOLDER, training_sources
from lvm_mtc.data.voc import load_voc, voc_boxes

REPOSITORY = Path(__file__).resolve().parent.parent


def voc_sources(data: Path, split: str) -> list[LabelledSource]:
    """Pictures of one VOC list with all their boxes, class-agnostic."""
    return [
        LabelledSource(f"{VOC_FOLDER}/{example.name}", example.image_path, voc_boxes(example.annotation))
        for example in load_voc(data / VOC_FOLDER, split)
    ]


def teacher_sources(data: Path, min_score: float) -> list[LabelledSource]:
    """Pictures without annotations, with the teacher's boxes; those in which it finds nothing are left out."""
    from yolox import YoloxNano

    teacher = YoloxNano(data / "weights" / "yolox_nano.onnx")
    sources = []
    unlabelled = [s for s in training_sources(data) if s.name.split("/")[0] in PICTURE_FOLDERS and not s.holdout]
    for source in tqdm(unlabelled, desc="teacher", unit="picture", mininterval=5.0):
        image = load_image(source.path)
        boxes, _ = teacher(image, iou_threshold=0.6, score_threshold=min_score)
        low = np.clip(boxes[:, :2] - boxes[:, 2:] / 2, 0, [image.shape[1], image.shape[0]])
        high = np.clip(boxes[:, :2] + boxes[:, 2:] / 2, 0, [image.shape[1], image.shape[0]])
        boxes = np.concatenate([(low + high) / 2, high - low], axis=1)
        boxes = boxes[boxes[:, 2:].min(axis=1, initial=np.inf) > 1]
        if len(boxes):
            sources.append(LabelledSource(source.name, source.path, boxes))
    return sources


def main(arguments: list[str] | None = None) -> int:
    """Packs; returns the exit status: 0, or 2 after one line on stderr."""
    parser = argparse.ArgumentParser(description="Pack pictures with boxes for the detector.")
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared" / "data", help="picture folders")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "build" / "detection_256.npz", help="the .npz file")
    parser.add_argument("--size", type=int, default=256, help="side of the packed pictures, pixels")
    parser.add_argument("--max-objects", type=int, default=20, help="places for boxes per picture")
    parser.add_argument("--teacher", action="store_true", help="add the pictures that the teacher labels")
    parser.add_argument("--min-score", type=float, default=0.4, help="the teacher's smallest score")
    options = parser.parse_args(arguments)
    try:
        train = voc_sources(options.data, "train")
        if options.teacher:
            train += teacher_sources(options.data, options.min_score)
        sets = {"train": train, "val": voc_sources(options.data, "val")}
        packed = {name: pack_labelled(some, options.size, options.max_objects) for name, some in sets.items()}
        save_detection_sets(options.out, packed)
    except (ValueError, OSError) as error:
        print(f"pack_detection: {error}", file=sys.stderr)
        return 2
    for name, one in packed.items():
        print(f"{options.out}: {name}: {len(one.pictures)} pictures, {int(one.valid.sum())} boxes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
