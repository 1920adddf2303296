r"""Packs CIFAR-10's JPEG copies with what captions say of them: to train by, to choose by, to report.

Every 25th training picture is held out; of these the guidance and the rest is chosen. A minute on one core.

    python -m experiments.vlm_csc.pack --data ../shared/data --out build/cifar10_described.npz
"""

import sys
from pathlib import Path

import numpy as np

from experiments.script import DATA, script
from lvm_mtc.data import load_class_folders
from lvm_mtc.data.colours import COLOURS
from lvm_mtc.data.grammar import Facts, facts_of
from lvm_mtc.data.packing import save_arrays
from lvm_mtc.training.described import Described

PACKED = Path("build/cifar10_described.npz")
_HELD_OUT_EVERY = 25


@script(data="folder that holds cifar10/ (default: %(default)s)", out="the .npz to write")
def main(data: Path = DATA, out: Path = PACKED) -> None:
    """Pack CIFAR-10 with the facts of its captions."""
    arrays = {}
    for split in ("train", "test"):
        read = load_class_folders(data / "cifar10" / f"cifar10_jpeg_{split}.tar.xz", split)
        facts = np.stack(facts_of(read.pictures, read.labels), axis=-1).astype(np.int8)
        arrays |= {f"{split}_pictures": read.pictures, f"{split}_facts": facts}
        for name, column in (("fore", 1), ("back", 2)):
            shares = np.bincount(facts[:, column], minlength=len(COLOURS)) / len(facts)
            print(split, name, ", ".join(f"{c} {s:.3f}" for c, s in zip(COLOURS, shares, strict=True)))
    held = np.arange(len(arrays["train_pictures"])) % _HELD_OUT_EVERY == 0
    for name in ("pictures", "facts"):
        every = arrays.pop(f"train_{name}")
        arrays |= {f"holdout_{name}": every[held], name: every[~held]}
    if shared := {*map(bytes, arrays["pictures"])} & {*map(bytes, arrays["test_pictures"])}:
        raise ValueError(f"{len(shared)} pictures are in the training set and in the test set")
    save_arrays(out, arrays)
    counts = len(arrays["facts"]), held.sum(), len(arrays["test_facts"])
    print("{}: {} to train by, {} to choose by, {} to report".format(out, *counts))


def load_described(path: Path, split: str) -> Described:
    """A split of the packed file, ``"train"``, ``"holdout"`` or ``"test"``."""
    prefix = "" if split == "train" else f"{split}_"
    with np.load(path, allow_pickle=False) as archive:
        return Described(archive[f"{prefix}pictures"], Facts(*archive[f"{prefix}facts"].astype(np.int64).T))


if __name__ == "__main__":
    sys.exit(main())
