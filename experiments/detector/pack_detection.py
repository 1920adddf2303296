r"""Packs what FlashSAM is trained and judged on into one file.

``voc2012_320``: list ``train`` with its annotated boxes, and list ``val`` held out. With ``--teacher``, also those
pictures of ``imagenet1000_160`` and ``aid150`` in which YOLOX-nano finds an object with a score of ``--min-score`` or
more; all its boxes from that score on count as objects, class-agnostic.

    python -m experiments.detector.pack_detection --data ../shared/data --size 256 --teacher \
        --out build/detection_256.npz
"""

import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from experiments.script import DATA, script
from lvm_mtc.data.detection_packing import LabelledSource, pack_labelled, save_detection_sets
from lvm_mtc.data.images import load_image
from lvm_mtc.data.packing import PICTURE_FOLDERS, VOC_FOLDER, training_sources
from lvm_mtc.data.voc import load_voc, voc_boxes
from lvm_mtc.training.detector.yolox import YoloxNano


def voc_sources(data: Path, split: str) -> list[LabelledSource]:
    """Pictures of one VOC list with all their boxes, class-agnostic."""
    return [
        LabelledSource(f"{VOC_FOLDER}/{example.name}", example.image_path, voc_boxes(example.annotation))
        for example in load_voc(data / VOC_FOLDER, split)
    ]


def teacher_sources(data: Path, min_score: float) -> list[LabelledSource]:
    """Pictures without annotations, with the teacher's boxes; those in which it finds nothing are left out."""
    teacher = YoloxNano(data / "weights" / "yolox_nano.onnx")
    sources = []
    unlabelled = [s for s in training_sources(data) if s.name.split("/")[0] in PICTURE_FOLDERS and not s.holdout]
    for source in tqdm(unlabelled, desc="teacher", unit="picture", mininterval=5.0):
        image = load_image(source.path)
        boxes = teacher(image, iou_threshold=0.6, score_threshold=min_score)[0]
        extent = image.shape[1], image.shape[0]
        low, high = (np.clip(boxes[:, :2] + side * boxes[:, 2:] / 2, 0, extent) for side in (-1, 1))
        boxes = np.concatenate([(low + high) / 2, high - low], axis=1)
        boxes = boxes[boxes[:, 2:].min(axis=1, initial=np.inf) > 1]
        if len(boxes):
            sources.append(LabelledSource(source.name, source.path, boxes))
    return sources


@script(
    data="picture folders", out="the .npz file", size="side of the packed pictures, pixels",
    max_objects="places for boxes per picture", teacher="add the pictures that the teacher labels",
    min_score="the teacher's smallest score",
)  # fmt: skip
def main(
    data: Path = DATA, out: Path = Path("build/detection_256.npz"), size: int = 256, max_objects: int = 20,
    teacher: bool = False, min_score: float = 0.4,
) -> None:  # fmt: skip
    """Pack pictures with boxes for the detector."""
    train = voc_sources(data, "train") + (teacher_sources(data, min_score) if teacher else [])
    sources = {"train": train, "val": voc_sources(data, "val")}
    packed = {name: pack_labelled(of, size, max_objects) for name, of in sources.items()}
    save_detection_sets(out, packed)
    for name, pictures in packed.items():
        print(f"{out}: {name}: {len(pictures.pictures)} pictures, {int(pictures.valid.sum())} boxes")


if __name__ == "__main__":
    sys.exit(main())
