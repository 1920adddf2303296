r"""Packs what the multi-task transceiver learns from into one folder: pictures with classes, captions, questions.

CIFAR-10 is the copy as JPEG files, of whose training pictures every 25th is held out to choose by; captions and
questions are those of the other studies, which pack them first:

    python -m experiments.text.pack_captions --data ../shared/data --out build/tasks/text.npz
    python -m experiments.fa_semcom.pack --data ../shared/data --out build/vqa --sets carla carla_test
    python -m experiments.multitask.pack --data ../shared/data --questions build/vqa --out build/tasks

Each split of CIFAR-10 is read in a minute. None of this is part of the project.
"""

import os
import shutil
import sys
from pathlib import Path

import numpy as np

from experiments.script import DATA, script
from lvm_mtc.data.cifar10 import load_class_folders

PACKED = Path("build/tasks")
TEST, HOLDOUT = "test", "holdout"
"""Folders beside the training files: ``test/classes.npz`` and ``test/answers.npz``, ``holdout/classes.npz``."""
_HELD_OUT = 25


@script(
    data="folder with cifar10", questions="folder with the packed questions", out="folder for the packed files",
    limit="pictures of each class at most (default: all)",
)  # fmt: skip
def main(data: Path = DATA, questions: Path = Path("build/vqa"), out: Path = PACKED, limit: int | None = None) -> None:
    """Pack pictures with classes, and put packed questions beside them."""
    for split, folder in (("train", out), ("test", out / TEST)):
        found = load_class_folders(data / "cifar10" / f"cifar10_jpeg_{split}.tar.xz", split, limit_per_class=limit)
        held_out = np.arange(len(found.labels)) % _HELD_OUT == 0
        if split == "train":
            _save(out / HOLDOUT, found.pictures[held_out], found.labels[held_out])
        kept = ~held_out if split == "train" else slice(None)
        _save(folder, found.pictures[kept], found.labels[kept])
        # The same pictures serve the task of sending the picture itself.
        (folder / "pictures.npz").unlink(missing_ok=True)
        os.link(folder / "classes.npz", folder / "pictures.npz")
    for folder, asked in ((out, "carla_base"), (out / TEST, "carla_test_base")):
        shutil.copyfile(questions / f"{asked}.npz", folder / "answers.npz")


def _save(folder: Path, pictures: np.ndarray, labels: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "classes.npz", pictures=pictures, labels=labels)
    print(f"{folder}: {len(labels)} pictures", flush=True)


if __name__ == "__main__":
    sys.exit(main())
