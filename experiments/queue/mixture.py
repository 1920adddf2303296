r"""What the queue trains on: lossless CIFAR-10, crops of photographs made small, JPEG copies of CIFAR-10.

The hold-out is that of ``pack_cifar10.py``: the last 500 lossless pictures, whose twins among the JPEG copies are left
out. Photographs are those of ``training_sources`` that are not held out, made so small that their artefacts vanish.

    python -m experiments.queue.mixture --data ../shared/data --out mixture.npz
"""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from experiments.script import DATA, parser_of, run
from lvm_mtc.data import load_cifar10_sheets, load_class_folders, load_image, training_sources
from lvm_mtc.data.packing import save_arrays
from lvm_mtc.data.twins import HELD_OUT, find_twins

FILE = "mixture.npz"
SIDE = 32
CROPS_PER_PHOTOGRAPH = 40
SMALLEST_REDUCTION = 1.7
SHARES = {"lossless": 0.4, "crops": 0.4, "copies": 0.2}
"""Kind of picture to its share of those drawn."""


def small_crops(photograph: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Cuts 32-pixel crops out of a photograph at random reductions.

    Args:
        photograph: ``[height, width, 3]`` uint8, sides of at least 55 pixels.
        count: Crops.
        rng: Draws reductions (log-uniform, 1.7 to what leaves 32 pixels of the shorter side) and places.

    Returns:
        ``[count, 32, 32, 3]`` uint8. Every other one is averaged over areas, the rest bicubic.
    """
    image, crops = Image.fromarray(photograph), []
    for number in range(count):
        shorter = min(image.size)
        side = np.exp(rng.uniform(np.log(SIDE), np.log(max(SIDE, shorter / SMALLEST_REDUCTION))))
        width, height = (max(SIDE, round(length * side / shorter)) for length in image.size)
        small = np.asarray(
            image.resize((width, height), Image.Resampling.BICUBIC if number % 2 else Image.Resampling.BOX)
        )
        top, left = rng.integers(height - SIDE + 1), rng.integers(width - SIDE + 1)
        crops.append(small[top : top + SIDE, left : left + SIDE])
    return np.stack(crops)


def pack_mixture(data: Path, out: Path, seed: int = 0) -> None:
    """Writes ``lossless``, ``crops``, ``copies`` and ``holdout``, each ``[M, 32, 32, 3]`` uint8.

    Args:
        data: Folder that holds ``cifar10/`` and the photographs.
        out: The ``.npz`` to write.
        seed: Of the crops.

    Raises:
        ValueError: if a folder is missing, or a picture of the hold-out has no twin among the copies.
    """
    lossless = load_cifar10_sheets(data / "cifar10").pictures
    copies = load_class_folders(data / "cifar10" / "cifar10_jpeg_train.tar.xz", "train").pictures
    twins, _ = find_twins(lossless[-HELD_OUT:], copies)
    rng = np.random.default_rng(seed)
    photographs = [source.path for source in training_sources(data) if not source.holdout]
    crops = [small_crops(load_image(path), CROPS_PER_PHOTOGRAPH, rng) for path in photographs]
    arrays = dict(
        lossless=lossless[:-HELD_OUT],
        crops=np.concatenate(crops),
        copies=np.delete(copies, twins, axis=0),
        holdout=lossless[-HELD_OUT:],
    )
    save_arrays(out, arrays)


def load_mixture(path: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Training pictures by kind, and the hold-out, uint8."""
    with np.load(path) as packed:
        return {name: packed[name] for name in SHARES}, packed["holdout"]


def draw_pictures(data: dict[str, jax.Array], key: jax.Array, count: int) -> jax.Array:
    """Draws training pictures, mirrored at random.

    The shares hold in every batch as far as whole pictures go.

    Args:
        data: Kind to ``[M, 32, 32, 3]`` uint8, as in ``SHARES``.
        key: Random key.
        count: Pictures.

    Returns:
        ``[count, 32, 32, 3]`` float32 in [0, 1], in random order.
    """
    edges = np.round(np.cumsum([0.0, *SHARES.values()]) * count).astype(int)
    keys, parts = jax.random.split(key, len(SHARES) + 2), []
    for number, name in enumerate(SHARES):
        drawn = jax.random.randint(keys[number], (edges[number + 1] - edges[number],), 0, data[name].shape[0])
        parts.append(data[name][drawn])
    pictures = jax.random.permutation(keys[-1], jnp.concatenate(parts))
    mirrored = jax.random.bernoulli(keys[-2], shape=(count, 1, 1, 1))
    return jnp.where(mirrored, pictures[:, :, ::-1], pictures).astype(jnp.float32) / 255


def main(arguments: list[str] | None = None) -> int:
    """Packs the mixture; returns the exit status."""
    parser = parser_of("queue.mixture", "Pack what the queue trains on.")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of pictures (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="the .npz to write")
    return run(parser, lambda options: pack_mixture(options.data, options.out), arguments)


if __name__ == "__main__":
    sys.exit(main())
