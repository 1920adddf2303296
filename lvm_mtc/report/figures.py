"""Curves against SNR with confidence bands, and sheets of pictures. Drawn without a screen and without pyplot."""

import dataclasses
import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from lvm_mtc.report.letters import draw_literally
from lvm_mtc.results.files import atomic_file

CONVENTION_LABELS = {
    "esno": "Es/N0 per stream",
    "rx_per_antenna": "SNR per receive antenna",
    "received_total": "received SNR, all antennas",
    "ebno": "Eb/N0",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """A metric against SNR, or against what the panel's ``x_label`` names.

    Attributes:
        label: Entry of the legend; None for no entry.
        convention: What the SNR means; curves of two conventions do not go on one axis.
        snr_db: SNR in dB, ``[num_points]``; in a panel with an ``x_label``, what that names.
        mean: Metric, ``[num_points]``.
        half_width: Half widths of the confidence intervals, ``[num_points]``, or None; a band, or without a line bars.
    """

    label: str | None
    convention: str
    snr_db: Sequence[float]
    mean: Sequence[float]
    half_width: Sequence[float] | None = None
    color: str = "C0"
    linestyle: str = "-"
    marker: str = "o"

    def __post_init__(self):
        if self.convention not in CONVENTION_LABELS:
            raise ValueError(f"Curve.convention {self.convention!r} is unknown; known: {', '.join(CONVENTION_LABELS)}")
        lengths = [len(values) for values in (self.snr_db, self.mean, self.half_width) if values is not None]
        if len(set(lengths)) != 1:
            raise ValueError(f"Curve {self.label!r}: snr_db, mean and half_width must be of one length, got {lengths}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Panel:
    """One pair of axes; ``x_label`` says what x is where it is not the SNR, whose convention then is in the title."""

    title: str
    y_label: str
    curves: Sequence[Curve]
    x_label: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """One cell of a sheet.

    Attributes:
        image: ``[height, width, 3]`` float in [0, 1]; values outside are clipped.
        box: (x, y, w, h), centre and size in pixels, drawn as a frame, or None.
    """

    image: np.ndarray
    caption: str = ""
    box: Sequence[float] | None = None


def draw_curves(axes: Axes, panel: Panel) -> None:
    """Draws a panel, of curves of one SNR convention; the x axis names it."""
    conventions = sorted({curve.convention for curve in panel.curves})
    if len(conventions) != 1:
        raise ValueError(
            f"panel {panel.title!r}: curves of one SNR convention go on one axis, "
            f"got {', '.join(conventions) or 'no curve'}"
        )
    for curve in panel.curves:
        snr_db, mean = np.asarray(curve.snr_db, float), np.asarray(curve.mean, float)
        style = {name: getattr(curve, name) for name in ("label", "color", "linestyle", "marker")}
        style |= dict(markersize=3, linewidth=1.2)
        half = None if curve.half_width is None else np.asarray(curve.half_width, float)
        if curve.linestyle == "none":
            axes.errorbar(snr_db, mean, half, elinewidth=1, capsize=3, **style)
            continue
        axes.plot(snr_db, mean, **style)
        if half is not None:
            axes.fill_between(snr_db, mean - half, mean + half, color=curve.color, alpha=0.2, linewidth=0)
    axes.set_title(panel.title, fontsize=9)
    axes.set_xlabel(panel.x_label or snr_label(conventions[0]), fontsize=8)
    axes.set_ylabel(panel.y_label, fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)


def snr_label(convention: str) -> str:
    """Label of an axis of SNRs, such as "Es/N0 per stream (esno), dB"."""
    return f"{CONVENTION_LABELS[convention]} ({convention}), dB"


def save_curves(
    path: str | os.PathLike, panels: Sequence[Sequence[Panel]], *, title: str = "", footnote: str = ""
) -> None:
    """Writes :func:`curves_figure` as a PNG, which appears only when it is complete."""
    try:
        figure = curves_figure(panels, title=title, footnote=footnote)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    save_png(figure, path)


def curves_figure(panels: Sequence[Sequence[Panel | None]], *, title: str = "", footnote: str = "") -> Figure:
    """Rows of panels, of one length, with one legend; None for an empty place.

    Args:
        footnote: Below the title: what the bands are, what was held fixed.
    """
    columns = {len(row) for row in panels}
    if len(columns) != 1 or 0 in columns:
        raise ValueError(f"rows of panels must be of one length, got {sorted(columns)}")
    width = max(columns)
    figure = Figure(figsize=(5.2 * width, 3.1 * len(panels) + 1.2), layout="constrained")
    grid = figure.subplots(len(panels), width, squeeze=False, sharey="row")
    for axes_row, row in zip(grid, panels, strict=True):
        for axes, panel in zip(axes_row, row, strict=True):
            if panel is None:
                axes.set_axis_off()
            else:
                draw_curves(axes, panel)
    add_legend(figure)
    heading = "\n".join(part for part in (title, footnote) if part)
    if heading:
        figure.suptitle(heading, fontsize=9)
    return figure


def add_legend(figure: Figure) -> None:
    """One legend below all axes, each label once."""
    entries = {}
    for axes in figure.axes:
        entries |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    if entries:
        figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=2, fontsize=8)


def save_figure(figure: Figure, stem: str | os.PathLike) -> None:
    """Writes ``stem.png`` and ``stem.svg``, each of which appears only when it is complete."""
    save_png(figure, f"{stem}.png")
    with atomic_file(f"{stem}.svg") as temporary:
        temporary.write_bytes(svg_of(figure, Path(stem).name))


def svg_of(figure: Figure, name: str) -> bytes:
    """A figure as SVG; equal figures of one name give equal bytes: no date, no random identifiers."""
    draw_literally(figure)
    stream = io.BytesIO()
    with rc_context({"svg.hashsalt": name}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def save_png(figure: Figure, path: str | os.PathLike, *, few_colours: bool = False) -> None:
    """Writes a PNG, which appears only when it is complete and does not name the program that drew it.

    Without pictures in it 256 colours are enough, and take a third of the bytes; ``few_colours`` takes them too.
    """
    draw_literally(figure)
    with atomic_file(path) as temporary:
        FigureCanvasAgg(figure).print_png(str(temporary), metadata={"Software": None})
        if few_colours or not any(axes.images for axes in figure.axes):
            with Image.open(temporary) as drawn:
                few = drawn.convert("RGB").quantize(256, dither=Image.Dither.NONE)
                few.save(temporary, "PNG", optimize=True, dpi=drawn.info["dpi"])


def save_sheet(
    path: str | os.PathLike,
    rows: Sequence[Sequence[Picture]],
    *,
    row_labels: Sequence[str] = (),
    title: str = "",
    few_colours: bool = False,
) -> None:
    """Draws rows of pictures with captions into a PNG, which appears only when it is complete.

    Args:
        rows: Rows of pictures; a shorter row leaves its last cells empty.
        row_labels: One a row, to the left; empty for none.
        few_colours: 256 of them, for a page: less than half of the bytes.
    """
    width = max((len(row) for row in rows), default=0)
    if width == 0:
        raise ValueError(f"{path}: no picture to draw")
    if row_labels and len(row_labels) != len(rows):
        raise ValueError(f"{path}: {len(row_labels)} row labels for {len(rows)} rows")
    figure = Figure(figsize=(1.5 * width + 0.5, 1.75 * len(rows) + 0.5), layout="constrained")
    grid = figure.subplots(len(rows), width, squeeze=False)
    for i, row in enumerate(rows):
        for j, axes in enumerate(grid[i]):
            axes.set_xticks([])
            axes.set_yticks([])
            if j < len(row):
                _draw_picture(axes, row[j])
            else:
                axes.set_axis_off()
        if row_labels:
            grid[i][0].set_ylabel(row_labels[i], fontsize=7)
    if title:
        figure.suptitle(title, fontsize=9)
    save_png(figure, path, few_colours=few_colours)


def _draw_picture(axes: Axes, picture: Picture) -> None:
    height, width = picture.image.shape[:2]
    axes.imshow(np.clip(picture.image, 0, 1), extent=(0, width, height, 0), interpolation="nearest")
    axes.set_xlabel(picture.caption, fontsize=7)
    if picture.box is not None:
        x, y, w, h = (float(v) for v in picture.box)
        axes.add_patch(Rectangle((x - w / 2, y - h / 2), w, h, fill=False, edgecolor="yellow", linewidth=1))
