"""Codecs of files as the pages show them: their names, and the PSNR of pictures within budgets of bits."""

from collections.abc import Sequence

import numpy as np

from experiments.psnr import psnr_db
from lvm_mtc.data.picture_codecs import best_fit, largest_fits
from lvm_mtc.report.pages import number

NAMES = {"jpeg": "JPEG", "webp": "WebP", "avif": "AVIF", "heic": "HEIC"}
"""In tables and legends."""


def file_psnr(
    pictures: np.ndarray, codec: str, budgets_bits: Sequence[int], *, all_settings: bool
) -> list[tuple[float | None, float]]:
    """Of each budget the mean PSNR of the pictures if all fit, dB, and the share that does.

    Args:
        pictures: ``[num, H, W, 3]`` uint8.
        all_settings: The best of all settings, or of those that bisection meets.
    """
    found = []
    for picture in pictures:
        if all_settings:
            fitting = [best_fit(picture, codec, bits) for bits in budgets_bits]
        else:
            fitting = largest_fits(picture, codec, budgets_bits)
        found.append(
            [np.nan if one is None else psnr_db(one.picture / 255, np.float32(picture) / 255) for one in fitting]
        )
    return [(None if np.isnan(of_budget).any() else float(of_budget.mean()), float(np.isfinite(of_budget).mean()))
            for of_budget in np.array(found).T]  # fmt: skip


def cell(mean: float | None, share: float) -> str:
    """The PSNR, or how many fit."""
    return f"{share:.0%} fit" if mean is None else number(mean)
