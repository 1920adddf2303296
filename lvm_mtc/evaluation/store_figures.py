"""Every figure that a result store has the points for, from the store alone."""

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from lvm_mtc.evaluation.figures import save_figure
from lvm_mtc.evaluation.store import ResultStore
from lvm_mtc.evaluation.store_figures_curves import best_mask_prob, quality, saving
from lvm_mtc.evaluation.store_figures_parts import StoreFigure
from lvm_mtc.evaluation.store_figures_planes import analytic_mse, contours, knowledge_bases
from lvm_mtc.evaluation.store_figures_select import Missing, Sample, read_samples
from lvm_mtc.evaluation.table import write_csv


def _over_snr(name: str, title: str, *metrics: str) -> Callable[[Sequence[Sample]], StoreFigure]:
    return functools.partial(quality, name=name, title=title, metrics=metrics)


FIGURES: dict[str, Callable[[Sequence[Sample]], StoreFigure]] = {
    "quality": _over_snr("quality", "PSNR over SNR", "psnr_db", "psnr_inside_db"),
    "ssim": _over_snr("ssim", "SSIM over SNR", "ssim", "ssim_inside"),
    "perceptual": _over_snr("perceptual", "Learned distance over SNR", "perceptual", "perceptual_inside"),
    "best_mask_prob": best_mask_prob,
    "saving": saving,
    "accuracy": _over_snr("accuracy", "Classification accuracy over SNR", "accuracy"),
    "knowledge_bases": knowledge_bases,
    "csi_contours": contours,
    "analytic_mse": analytic_mse,
}
"""Name of a figure's files to what draws it."""


class Figures(NamedTuple):
    """What could be drawn.

    Attributes:
        drawn: Figures, in the order of ``FIGURES``.
        skipped: One line a figure that the store lacks the points for: its name and what is missing.
    """

    drawn: list[StoreFigure]
    skipped: list[str]


def make_figures(store: ResultStore) -> Figures:
    """Draws what a store has the points for.

    Args:
        store: The store.

    Returns:
        Figures and what is missing for the others.

    Raises:
        ValueError: if there are no points.
        StoreError: if the store cannot be read.
    """
    samples = read_samples(store)
    if not samples:
        raise ValueError(f"{store.path}: holds no points to draw")
    drawn, skipped = [], []
    for name, draw in FIGURES.items():
        try:
            drawn.append(draw(samples))
        except Missing as missing:
            skipped.append(f"{name}: {missing}")
    return Figures(drawn, skipped)


def draw_figures(store: ResultStore, folder: str | os.PathLike) -> Figures:
    """Draws what a store has the points for, each figure as PNG, SVG and the data drawn as CSV.

    Args:
        store: The store.
        folder: An existing folder; older files of the same names are replaced.

    Returns:
        As ``make_figures``.

    Raises:
        ValueError: if there are no points, or none of the figures can be drawn; the message says what is missing.
        StoreError: if the store cannot be read.
        OutputError: if the folder cannot be written to.
    """
    figures = make_figures(store)
    if not figures.drawn:
        raise ValueError(f"{store.path}: no figure can be drawn: {'; '.join(figures.skipped)}")
    for one in figures.drawn:
        save_figure(one.figure, Path(folder) / one.name)
        write_csv(Path(folder) / f"{one.name}.csv", one.rows)
    return figures
