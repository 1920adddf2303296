"""What a store's figures are put together from: panels of series, titles, the data as rows."""

import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from lvm_mtc.evaluation.figures import CONVENTION_LABELS, Curve, Panel, curves_figure
from lvm_mtc.evaluation.store_figures_select import Missing, Sample, Series, axes_of

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
    "public_share": "share of tokens that are public",
    "symbols_saved": "share of token symbols saved",
    "keep_rate_inside": "share of patches kept, inside the box",
    "keep_rate_outside": "share of patches kept, outside the box",
}
"""Metrics that figures draw, and their units."""

LINESTYLES = ("-", "--", ":", "-.")
_CHARACTERS_PER_INCH = 13


class StoreFigure(NamedTuple):
    """A figure of a store.

    Attributes:
        name: Of its files, without a suffix.
        title: What it shows.
        caption: What was held at which value, and what the intervals are.
        figure: The picture.
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
    """Panels as a figure, its title and notes above them.

    Args:
        name: Of the files.
        title: Of the figure.
        panels: Rows of panels, None for an empty place.
        notes: Sentences; empty ones are left out.
        rows: The data.
    """
    caption = " ".join(note for note in notes if note)
    figure = curves_figure(panels, title=title, footnote=wrapped(caption, len(panels[0])))
    return StoreFigure(name, title, caption, figure, rows)


def wrapped(text: str, columns: int) -> str:
    """Breaks a text into lines for which a figure with so many columns of panels has room."""
    return textwrap.fill(text, int(5.2 * columns * _CHARACTERS_PER_INCH))


def panel_of(
    series: Sequence[Series], key: tuple[str, str], axis: str, metric: str, *, title: str = "", x_label: str = ""
) -> Panel | None:
    """The series of one channel and convention, each label with the same style in all panels.

    Args:
        series: Of the whole figure.
        key: ``Sample.panel``.
        axis: Coordinate on the x axis.
        metric: On the y axis; points without it are left out.
        title: Above the axes; empty: the channel.
        x_label: Empty: the SNR.

    Returns:
        The panel; None where no point has the metric.
    """
    curves = []
    for one in series:
        own = [sample for sample in one.samples if sample.panel == key and metric in sample.metrics]
        shown = Series(one.label, own)
        if own:
            curves.append(Curve(label=one.label, convention=key[0], snr_db=shown.x(axis), mean=shown.mean(metric),
                                half_width=shown.half_width(metric), **_style(series, one.label)))
    if not curves:
        return None
    return Panel(title=title or channel_title(key), y_label=LABELS[metric], curves=curves, x_label=x_label)


def _style(series: Sequence[Series], label: str) -> dict[str, str]:
    """Ten colours, then the next line style."""
    number = list(dict.fromkeys(one.label for one in series)).index(label)
    return {"color": f"C{number % 10}", "linestyle": LINESTYLES[number // 10 % len(LINESTYLES)]}


def channel_title(key: tuple[str, str], samples: Sequence[Sample] = ()) -> str:
    """The channel of a panel and, where the x axis is not the SNR, the SNRs of its points and what they mean.

    Args:
        key: ``Sample.panel``.
        samples: Of the figure; empty where the x axis is the SNR.
    """
    name = key[1] or "channel not named"
    values = sorted({sample.at["snr_db"] for sample in samples if sample.panel == key and "snr_db" in sample.at})
    if not values:
        return name
    return f"{name}, {' or '.join(f'{value:g}' for value in values)} dB {CONVENTION_LABELS[key[0]]} ({key[0]})"


def samples_of(series: Sequence[Series]) -> list[Sample]:
    """The samples of all series.

    Args:
        series: Of a figure.
    """
    return [sample for one in series for sample in one.samples]


def require(found: Sequence[Any], wanted: str) -> None:
    """Refuses to draw what is not there.

    Args:
        found: What there is.
        wanted: What should be there, for the message.

    Raises:
        Missing: if it is empty.
    """
    if not found:
        raise Missing(f"needs {wanted}")


def data_rows(samples: Sequence[Sample], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """What a figure draws, for its CSV file.

    Args:
        samples: Points that are drawn.
        metrics: Which of their metrics.

    Returns:
        A row a point and metric that it has.
    """
    axes = axes_of(samples)
    return [{axis: sample.at.get(axis) for axis in axes} | {"snr_convention": sample.convention, "metric": name}
            | sample.metrics[name]._asdict() for sample in samples for name in metrics if name in sample.metrics]
