"""Pictures of a grid result: rows of a sheet, and picture files."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from lvm_mtc.evaluation.figures import Picture
from lvm_mtc.evaluation.grid import GridResult
from lvm_mtc.system import SystemConfig


def sheet_rows(
    results: Sequence[GridResult], images: np.ndarray, loc: np.ndarray, labels: Sequence[str], *, max_rows: int = 8
) -> tuple[list[list[Picture]], list[str]]:
    """Original, kept patches and received pictures at every SNR, at the smallest CSI error, a row a view and channel.

    Args:
        results: Of one scheme over the channels.
        images: ``[B, K, height, width, 3]`` float in [0, 1].
        loc: ``[B, K, 4]``.
        labels: Name of each group, ``[B]``.
        max_rows: Rows at most; the first view of each group comes first.

    Returns:
        Rows of pictures and their labels.
    """
    views = [(group, uav) for uav in range(images.shape[1]) for group in range(images.shape[0])]
    views = sorted(views[: max(1, max_rows // len(results))])
    rows, names = [], []
    for group, uav in views:
        for result in results:
            at = np.flatnonzero(np.isclose(result.csi_error_var, result.csi_error_var.min()))
            at = at[np.argsort(result.snr_db[at])]
            row = [
                Picture(image=images[group, uav], caption="original", box=loc[group, uav]),
                Picture(image=kept_picture(result, images, group, uav), caption="kept patches"),
            ]
            for point in at:
                psnr = result.metrics["psnr_db"][0, point, group, uav]
                row.append(Picture(image=result.pictures[point, group, uav] / 255.0,
                                   caption=f"{result.snr_db[point]:g} dB: PSNR {psnr:.1f}"))
            rows.append(row)
            names.append(f"{labels[group]}, UAV {uav}\n{result.link.fading}")
    return rows, names


def kept_picture(result: GridResult, images: np.ndarray, group: int, uav: int) -> np.ndarray:
    """The picture with its removed patches in grey.

    Args:
        result: Of the grid.
        images: ``[B, K, height, width, 3]`` float in [0, 1].
        group: Index on B.
        uav: Index on K.

    Returns:
        ``[height, width, 3]``.
    """
    return grey_out(images[group, uav], result.mask[group, uav], result.scheme.system.config)


def grey_out(image: np.ndarray, mask: np.ndarray, config: SystemConfig) -> np.ndarray:
    """A picture with its removed patches in grey.

    Args:
        image: ``[height, width, 3]`` float in [0, 1].
        mask: ``[num_patches]``, 1 = removed.
        config: Of the system that removed them.

    Returns:
        ``[height, width, 3]``.
    """
    removed = np.kron(np.asarray(mask, bool).reshape(config.grid), np.ones((config.patch_size,) * 2, bool))
    return np.where(removed[..., None], 0.5, image)


def write_pictures(
    folder: str | os.PathLike, results: Sequence[GridResult], images: np.ndarray, labels: Sequence[str]
) -> None:
    """Writes original and received pictures of the first realisation as PNG files.

    Args:
        folder: A new folder.
        results: Of one scheme over the channels.
        images: ``[B, K, height, width, 3]`` float in [0, 1].
        labels: Name of each group, ``[B]``.
    """
    folder = Path(folder)
    folder.mkdir()
    for group, label in enumerate(labels):
        for uav in range(images.shape[1]):
            stem = f"{label}-uav{uav}"
            original = np.round(np.clip(images[group, uav], 0, 1) * 255).astype(np.uint8)
            Image.fromarray(original).save(folder / f"{stem}-original.png")
            for result in results:
                for point, (snr_db, error) in enumerate(zip(result.snr_db, result.csi_error_var, strict=True)):
                    name = f"{stem}-{result.link.fading}-{snr_db:g}dB-csi{error:g}.png"
                    Image.fromarray(result.pictures[point, group, uav]).save(folder / name)
