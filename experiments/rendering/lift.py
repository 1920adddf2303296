"""Pixels of a pair lifted to Gaussians by the true disparity: the pictures that they give without any learning."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.data.stereo import StereoPairs
from lvm_mtc.rendering import Gaussians, render, stereo_camera

VARIANTS = (
    {"views": 2, "dilation": 0.05},
    {"views": 2, "dilation": 0.3},
    {"views": 1, "dilation": 0.05},
)
"""Gaussians of so many views, the left one's first, through a pixel filter of so many pixels squared."""
CAPACITY = {1: 512, 2: 160}
_SIGMA, _FLATNESS, _OPACITY = 0.42, 0.2, 0.98


def filled(disparity: np.ndarray) -> np.ndarray:
    """Unknown disparity, 0, replaced by the smaller of the next known ones in the row, ``[rows, columns]``."""
    left = np.maximum.accumulate(np.where(disparity > 0, np.arange(disparity.shape[1])[None], -1), axis=1)
    flipped = disparity[:, ::-1]
    right = np.maximum.accumulate(np.where(flipped > 0, np.arange(disparity.shape[1])[None], -1), axis=1)
    beside = [np.where(at >= 0, np.take_along_axis(d, np.maximum(at, 0), axis=1), np.inf)
              for d, at in ((disparity, left), (flipped, right))]  # fmt: skip
    nearest = np.minimum(beside[0], beside[1][:, ::-1])
    return np.where(np.isfinite(nearest), nearest, 1.0).astype(np.float32)


def lifted(pictures: np.ndarray, disparity: np.ndarray, density: int) -> Gaussians:
    """A Gaussian for each square of ``density`` pixels of both views; f = W, baseline 1.

    Args:
        pictures: ``[2, H, W, 3]``, in [0, 1].
        disparity: Pixels, ``[2, H, W]``; 0 is unknown.
        density: Side of a square; divides H and W.
    """
    _, height, width, _ = pictures.shape
    rows, columns = height // density, width // density
    colour = pictures.reshape(2, rows, density, columns, density, 3).mean((2, 4))
    known = np.stack([filled(view) for view in disparity]).reshape(2, rows, density, columns, density)
    depth = width / np.median(known.swapaxes(2, 3).reshape(2, rows, columns, -1), axis=-1)
    y, x = (np.mgrid[:rows, :columns] + 0.5) * density - np.reshape([height / 2, width / 2], (2, 1, 1))
    mean = np.stack([x * depth / width + np.reshape([0, 1], (2, 1, 1)), y * depth / width, depth], axis=-1)
    scale = (_SIGMA * density / width * depth)[..., None] * np.array([1, 1, _FLATNESS])
    total = depth.size
    quaternion = np.tile([1.0, 0, 0, 0], (total, 1))
    parts = mean.reshape(total, 3), quaternion, scale.reshape(total, 3), np.full(total, _OPACITY), colour.reshape(-1, 3)
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), Gaussians(*parts))


def psnr_db(picture: np.ndarray, true: np.ndarray) -> float:
    """Of one picture clipped to [0, 1]."""
    return float(10 * np.log10(1 / np.mean((np.clip(picture, 0, 1) - true) ** 2)))


def rows_of(name: str, pairs: StereoPairs, density: int) -> list[dict[str, Any]]:
    """A row for each variant: mean PSNR of the left, the middle and the right view over all pairs, and the overflow."""
    places = (0.0, 1.0) if pairs.middle is None else (0.0, 0.5, 1.0)
    size, capacity = pairs.size, CAPACITY[density]

    @jax.jit
    def view(gaussians: Gaussians, place: float, dilation: float) -> tuple[jax.Array, jax.Array]:
        at = stereo_camera(place, size, float(size[1]))
        seen = render(gaussians, at, size, background=0.5, capacity=capacity, dilation=dilation)
        return seen.picture, seen.overflow

    scenes = [lifted(p / 255.0, d, density) for p, d in zip(pairs.pictures, pairs.disparity, strict=True)]
    rows = []
    for variant in VARIANTS:
        found, overflow = {place: [] for place in places}, 0
        for number, scene in enumerate(scenes):
            half = jnp.where(jnp.arange(len(scene.opacity)) * 2 < len(scene.opacity) * variant["views"], 1.0, 0.0)
            shown = scene._replace(opacity=scene.opacity * half)
            for place in places:
                picture, lost = view(shown, place, variant["dilation"])
                true = pairs.middle[number] if place == 0.5 else pairs.pictures[number, int(place)]
                found[place].append(psnr_db(np.asarray(picture), true / 255.0))
                overflow += int(lost)
        means = {f"psnr_{place:g}_db": float(np.mean(values)) for place, values in found.items()}
        rows.append({"source": name, "pairs": len(pairs), "gaussians": len(scenes[0].opacity), "density": density,
                     "overflow": overflow} | variant | means)  # fmt: skip
    return rows


def copies(name: str, pairs: StereoPairs) -> dict[str, Any]:
    """What showing the left view at every place gives."""
    left = pairs.pictures[:, 0] / 255.0
    places = {1.0: pairs.pictures[:, 1]} | ({} if pairs.middle is None else {0.5: pairs.middle})
    means = {f"psnr_{place:g}_db": float(np.mean([psnr_db(a, b / 255.0) for a, b in zip(left, true, strict=True)]))
             for place, true in places.items()}  # fmt: skip
    return {"source": name, "pairs": len(pairs)} | means
