r"""Packs CIFAR-10 for trainings: training pictures without the hold-out's twins, and the hold-out.

The last 500 of the 3,000 lossless pictures are held out. Every one of them is among the 50,000 JPEG copies once more:
its nearest neighbour in MSE, which is left out of the training pictures. Those are the other copies once and the other
2,500 lossless pictures so often that about half of the pictures drawn are lossless.

    python -m experiments.pack_cifar10 --data ../shared/data --out build/cifar10.npz
"""

import sys
from pathlib import Path

import numpy as np

from experiments.script import DATA, script
from lvm_mtc.data import load_cifar10_sheets, load_class_folders
from lvm_mtc.data.packing import save_arrays
from lvm_mtc.data.twins import HELD_OUT, find_twins

LOSSLESS_COPIES = 20


@script(data="folder that holds cifar10/ (default: %(default)s)", out="the .npz to write")
def main(data: Path = DATA, out: Path = Path("build/cifar10.npz")) -> None:
    """Pack CIFAR-10 for trainings."""
    folder = data / "cifar10"
    lossless = load_cifar10_sheets(folder)
    copies = load_class_folders(folder / "cifar10_jpeg_train.tar.xz", "train")
    twins, mse = find_twins(lossless.pictures[-HELD_OUT:], copies.pictures)
    training, labels = (
        np.concatenate([np.delete(copy, twins, axis=0), *[original[:-HELD_OUT]] * LOSSLESS_COPIES])
        for copy, original in ((copies.pictures, lossless.pictures), (copies.labels, lossless.labels))
    )
    save_arrays(out, {
        "pictures": training, "labels": labels.astype(np.uint8), "twins": twins, "twin_mse": mse[:, 0],
        "holdout_pictures": lossless.pictures[-HELD_OUT:], "holdout_labels": lossless.labels[-HELD_OUT:],
    })  # fmt: skip
    print(
        f"{out}: {len(training)} training pictures; {HELD_OUT} held out, twins at most "
        f"{mse[:, 0].max():.0f} away, the next best {mse[:, 1].min():.0f} or more"
    )


if __name__ == "__main__":
    sys.exit(main())
