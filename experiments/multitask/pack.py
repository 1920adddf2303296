r"""Packs what the multi-task transceiver learns from into one folder: pictures with classes, captions, questions.

CIFAR-10 is the copy as JPEG files; captions and questions are those of the other studies, which pack them first:

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
TEST = "test"
"""Folder beside the training files: ``test/classes.npz`` and ``test/answers.npz``."""


@script(
    data="folder with cifar10", questions="folder with the packed questions", out="folder for the packed files",
    limit="pictures of each class at most (default: all)",
)  # fmt: skip
def main(data: Path = DATA, questions: Path = Path("build/vqa"), out: Path = PACKED, limit: int | None = None) -> None:
    """Pack pictures with classes, and put packed questions beside them."""
    for split, folder, asked in (("train", out, "carla_base"), ("test", out / TEST, "carla_test_base")):
        folder.mkdir(parents=True, exist_ok=True)
        found = load_class_folders(data / "cifar10" / f"cifar10_jpeg_{split}.tar.xz", split, limit_per_class=limit)
        np.savez(folder / "classes.npz", pictures=found.pictures, labels=found.labels)
        # The same pictures serve the task of sending the picture itself.
        (folder / "pictures.npz").unlink(missing_ok=True)
        os.link(folder / "classes.npz", folder / "pictures.npz")
        shutil.copyfile(questions / f"{asked}.npz", folder / "answers.npz")
        print(f"{folder}: {len(found.labels)} pictures of {len(found.classes)} classes", flush=True)


if __name__ == "__main__":
    sys.exit(main())
