"""What a store's figures are put together from: panels of series, titles, the data as rows."""

import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from lvm_mtc.report.figures import CONVENTION_LABELS, Curve, Panel, curves_figure
from lvm_mtc.report.select import Missing, Sample, Series, axes_of

LABELS = {
    "psnr_db": "PSNR, whole picture (dB)",
    "psnr_inside_db": "PSNR, inside the box (dB)",
    "psnr_db_lost": "PSNR lost, whole picture (dB)",
    "psnr_inside_db_lost": "PSNR lost, inside the box (dB)",
    "ssim": "SSIM, whole picture",
    "ssim_inside": "SSIM, inside the box",
    "perceptual": "learned distance, whole picture",
    "perceptual_inside": "learned distance, inside the box",
    "accuracy": "classification accuracy",
    "bleu1": "BLEU-1, mean over sentences",
    "bleu4": "BLEU-4, mean over sentences",
    "word_error_rate": "word error rate, mean over sentences",
    "d1_psnr_db": "D1 PSNR, peak 2 (dB)",
    "chamfer": "Chamfer distance, squared",
    "hausdorff": "Hausdorff distance",
    "public_share": "share of tokens that are public",
    "symbols_saved": "share of token symbols saved",
    "keep_rate_inside": "share of patches kept, inside the box",
    "keep_rate_outside": "share of patches kept, outside the box",
}
"""Metrics that figures draw, and their units."""
AXIS_LABELS = {
    "csi_error_var": "variance of the CSI error, linear",
    "num_uavs": "K, number of UAVs",
    "mask_prob": "P_r, probability of masking a patch of the object",
    "epsilon": "threshold of sharing, linear",
}
"""Axes that figures draw over, besides the SNR."""

LINESTYLES = ("-", "--", ":", "-.")
_CHARACTERS_PER_INCH = 13


class StoreFigure(NamedTuple):
    """A figure of a store.

    Attributes:
        name: Of its files, without a suffix.
        caption: What was held at which value, and what the intervals are.
        rows: The data that were drawn: coordinates, ``metric``, ``mean``, ``half_width``, ``count``.
    """

    name: str
    title: str
    caption: str
    figure: Figure
    rows: list[dict[str, Any]]


def finish(
    name: str, title: str, panels: Sequence[Sequence[Panel | None]], notes: Sequence[str], rows: list[dict[str, Any]]
) -> StoreFigure:
    """Rows of panels, None for an empty place, as a figure with its title and notes above them."""
    return titled(name, title, curves_figure(panels), len(panels[0]), notes, rows)


def titled(
    name: str, title: str, figure: Figure, columns: int, notes: Sequence[str], rows: list[dict[str, Any]]
) -> StoreFigure:
    """A figure of so many columns of axes, with its title and notes above; notes are sentences, empty ones left out."""
    caption = " ".join(note for note in notes if note)
    lines = textwrap.fill(caption, int(5.2 * columns * _CHARACTERS_PER_INCH))
    figure.suptitle("\n".join(part for part in (title, lines) if part), fontsize=9)
    return StoreFigure(name, title, caption, figure, rows)


def curve_of(series: Series, axis: str, metric: str, **style: str) -> Curve | None:
    """A series, of one channel and convention, as a curve of this style; None where no point has the metric."""
    shown = Series(series.label, [sample for sample in series.samples if metric in sample.metrics])
    if not shown.samples:
        return None
    values = dict(snr_db=shown.x(axis), mean=shown.mean(metric), half_width=shown.half_width(metric))
    return Curve(label=shown.label, convention=shown.samples[0].convention, **values, **style)


def panel_of(
    series: Sequence[Series], key: tuple[str, str], axis: str, metric: str, *, title: str = "", x_label: str = ""
) -> Panel | None:
    """The series of one channel and convention, each label with the same style in all panels.

    The title is the channel unless there is another, the x axis the SNR. None where no point has the metric.
    """
    own = [line for line in series if line.samples[0].panel == key]
    curves = [curve_of(line, axis, metric, **_style(series, line.label)) for line in own]
    curves = [curve for curve in curves if curve is not None]
    if not curves:
        return None
    return Panel(title=title or channel_title(key), y_label=LABELS.get(metric, metric), curves=curves, x_label=x_label)


def _style(series: Sequence[Series], label: str) -> dict[str, str]:
    """Ten colours, then the next line style."""
    number = list(dict.fromkeys(line.label for line in series)).index(label)
    return {"color": f"C{number % 10}", "linestyle": LINESTYLES[number // 10 % len(LINESTYLES)]}


def channel_title(key: tuple[str, str], samples: Sequence[Sample] = ()) -> str:
    """The channel of a panel and, of a figure's samples where x is not the SNR, their SNRs and what these mean."""
    name = key[1] or "channel not named"
    values = sorted({sample.at["snr_db"] for sample in samples if sample.panel == key and "snr_db" in sample.at})
    if not values:
        return name
    return f"{name}, {' or '.join(f'{value:g}' for value in values)} dB {CONVENTION_LABELS[key[0]]} ({key[0]})"


def samples_of(series: Sequence[Series]) -> list[Sample]:
    """The samples of all series."""
    return [sample for line in series for sample in line.samples]


def require(present: Sequence[Any], wanted: str) -> None:
    """Raises ``Missing`` where there is nothing to draw, naming what is wanted."""
    if not present:
        raise Missing(f"needs {wanted}")


def data_rows(samples: Sequence[Sample], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """What a figure draws of some points, for its CSV file."""
    axes = axes_of(samples)
    return [
        {axis: sample.at.get(axis) for axis in axes}
        | {"snr_convention": sample.convention, "metric": name}
        | sample.metrics[name]._asdict()
        for sample in samples
        for name in metrics
        if name in sample.metrics
    ]
