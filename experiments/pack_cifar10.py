r"""Packs CIFAR-10 for the comparison of codecs: training pictures without the hold-out's twins, hold-out, test copies.

The last 500 of the 3,000 lossless pictures are held out. Every one of them is among the 50,000 JPEG copies once more:
its nearest neighbour in MSE, which is left out of the training pictures. Those are the other copies once and the other
2,500 lossless pictures so often that about half of the pictures drawn are lossless. Fifteen seconds on one core.

    python experiments/pack_cifar10.py --data ../shared/data --out build/cifar10.npz
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from lvm_mtc.data import load_cifar10_sheets, load_class_folders
from lvm_mtc.data.twins import nearest_neighbours

REPOSITORY = Path(__file__).resolve().parent.parent
HELD_OUT = 500
LOSSLESS_COPIES = 20
LARGEST_TWIN_MSE = 400.0
"""Grey levels of 255, squared (22 dB). The copies of the real hold-out lie at 14 to 270."""


def split(lossless: np.ndarray, copies: np.ndarray, num_held_out: int = HELD_OUT) -> tuple[np.ndarray, np.ndarray]:
    """Takes the hold-out and the indices of its twins among the copies.

    Args:
        lossless: ``[M, height, width, 3]`` uint8.
        copies: ``[N, height, width, 3]`` uint8.
        num_held_out: The last so many of ``lossless`` are held out.

    Returns:
        twins: Index into ``copies`` of each held-out picture's copy, ``[num_held_out]``.
        mse: Of each twin and of the next best, ``[num_held_out, 2]``, grey levels squared.

    Raises:
        ValueError: if a held-out picture has no copy, or two of them the same.
    """
    neighbours, mse = nearest_neighbours(lossless[-num_held_out:], copies)
    twins = neighbours[:, 0]
    if mse[:, 0].max() > LARGEST_TWIN_MSE:
        number = int(mse[:, 0].argmax())
        raise ValueError(f"held-out picture {number} has no twin: its nearest copy is {mse[number, 0]:.0f} away")
    if len(set(twins.tolist())) < len(twins):
        raise ValueError("two held-out pictures have the same twin")
    return twins, mse


def main(arguments: list[str] | None = None) -> int:
    """Packs the pictures; returns 0, or 2 after one line on stderr."""
    data = os.environ.get("LVM_MTC_DATA", str(REPOSITORY.parent / "shared" / "data"))
    parser = argparse.ArgumentParser(description="Pack CIFAR-10 for the comparison of codecs.")
    parser.add_argument("--data", type=Path, default=data, help="folder that holds cifar10/ (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "build" / "cifar10.npz", help="the .npz to write")
    options = parser.parse_args(arguments)
    folder = Path(options.data) / "cifar10"
    try:
        lossless = load_cifar10_sheets(folder)
        copies = load_class_folders(folder / "cifar10_jpeg_train.tar.xz", "train")
        test = load_class_folders(folder / "cifar10_jpeg_test.tar.xz", "test")
        twins, mse = split(lossless.pictures, copies.pictures)
        training = [np.delete(copies.pictures, twins, axis=0)]
        training += [lossless.pictures[:-HELD_OUT]] * LOSSLESS_COPIES
        write(options.out, pictures=np.concatenate(training), twins=twins, twin_mse=mse[:, 0],
              holdout_pictures=lossless.pictures[-HELD_OUT:], holdout_labels=lossless.labels[-HELD_OUT:],
              test_pictures=test.pictures, test_labels=test.labels)
    except (ValueError, OSError) as error:
        print(f"pack_cifar10: {error}", file=sys.stderr)
        return 2
    print(f"{options.out}: {sum(map(len, training))} training pictures; {HELD_OUT} held out, twins at most "
          f"{mse[:, 0].max():.0f} away, the next best {mse[:, 1].min():.0f} or more; {len(test.pictures)} test copies")
    return 0


def write(path: Path, **arrays: np.ndarray) -> None:
    """Writes an uncompressed archive under its name when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
        try:
            np.savez(file, **arrays)
        except BaseException:
            os.unlink(file.name)
            raise
    os.replace(file.name, path)


if __name__ == "__main__":
    sys.exit(main())
