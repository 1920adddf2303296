"""Every figure that a result store has the points for, from the store alone."""

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib import rc_context

from lvm_mtc.report.choices import STYLES, USUAL, Choices
from lvm_mtc.report.curves import best_mask_prob, quality, saving
from lvm_mtc.report.figures import save_figure
from lvm_mtc.report.parts import StoreFigure
from lvm_mtc.report.planes import analytic_mse, contours, knowledge_bases
from lvm_mtc.report.select import Missing, Sample, read_samples
from lvm_mtc.results.store import ResultStore
from lvm_mtc.results.table import write_csv


def _over_snr(name: str, title: str, *metrics: str) -> Callable[[Sequence[Sample]], StoreFigure]:
    return functools.partial(quality, name=name, title=title, metrics=metrics)


FIGURES: dict[str, Callable[[Sequence[Sample]], StoreFigure]] = {
    "quality": _over_snr("quality", "PSNR over SNR", "psnr_db", "psnr_inside_db"),
    "ssim": _over_snr("ssim", "SSIM over SNR", "ssim", "ssim_inside"),
    "perceptual": _over_snr("perceptual", "Learned distance over SNR", "perceptual", "perceptual_inside"),
    "best_mask_prob": best_mask_prob,
    "saving": saving,
    "accuracy": _over_snr("accuracy", "Classification accuracy over SNR", "accuracy"),
    "text": _over_snr("text", "Text over SNR", "bleu1", "bleu4", "word_error_rate"),
    "clouds": _over_snr("clouds", "Point clouds over SNR", "d1_psnr_db", "chamfer"),
    "knowledge_bases": knowledge_bases,
    "csi_contours": contours,
    "analytic_mse": analytic_mse,
}
"""Name of a figure's files to what draws it."""


class Figures(NamedTuple):
    """Figures, and a line for each one that the store lacks the points for: its name and what is missing."""

    drawn: list[StoreFigure]
    skipped: list[str]


def make_figures(store: ResultStore, config_hash: str | None = None, choices: Choices = USUAL) -> Figures:
    """Draws what a store, or this sweep of it, has the points for, or what is chosen."""
    samples = choices.choose(read_samples(store, config_hash))
    if not samples:
        raise ValueError(f"{store.path}: holds no points to draw")
    figures, drawn, skipped, found = FIGURES, [], [], set()
    if choices.metrics or choices.over:
        metrics, over = choices.metrics or ("psnr_db", "psnr_inside_db"), choices.over or "snr_db"
        title = f"{metrics[0]} over {over}"
        options = dict(name="curves", title=title, metrics=metrics, over=over, also=choices.several())
        figures = {"curves": functools.partial(quality, **options)}
    with rc_context(STYLES[choices.style]):
        for name, draw in figures.items():
            try:
                drawn.append(draw(samples))
                found |= choices.apply(drawn[-1].figure)
            except Missing as missing:
                skipped.append(f"{name}: {missing}")
    if drawn and (lost := [label for label in choices.labels if label not in found]):
        raise ValueError(f"label {lost[0]!r}: no figure has these words")
    return Figures(drawn, skipped)


def draw_figures(
    store: ResultStore, folder: str | os.PathLike, config_hash: str | None = None, choices: Choices = USUAL
) -> Figures:
    """As :func:`make_figures`, into a folder, each figure as PNG, SVG and the data drawn as CSV."""
    figures = make_figures(store, config_hash, choices)
    if not figures.drawn:
        raise ValueError(f"{store.path}: no figure can be drawn: {'; '.join(figures.skipped)}")
    with rc_context(STYLES[choices.style]):
        for drawing in figures.drawn:
            save_figure(drawing.figure, Path(folder) / drawing.name)
            write_csv(Path(folder) / f"{drawing.name}.csv", drawing.rows)
    return figures
