"""What the sections of the results page are put together from: rows of a store by name, tables, figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lvm_mtc.evaluation.figures import Curve, Panel, draw_curves
from lvm_mtc.evaluation.files import atomic_file
from lvm_mtc.evaluation.paired_sweep import find_sweep
from lvm_mtc.evaluation.points import Measured, Point
from lvm_mtc.evaluation.store import ResultStore
from lvm_mtc.evaluation.store_figures_select import Missing
from lvm_mtc.evaluation.table import write_csv

CHANNELS = {"awgn": "AWGN", "rayleigh": "Rayleigh"}
PSNR, SSIM = "psnr_inside_db", "ssim_inside"
LABELS = {
    PSNR: "PSNR inside the box (dB)", SSIM: "SSIM inside the box", "psnr_db": "PSNR, whole picture (dB)",
    "ssim": "SSIM, whole picture", "psnr_background_db": "PSNR outside the box (dB)",
}  # fmt: skip


class Drawing(NamedTuple):
    """A figure of the page.

    Attributes:
        name: Of its files, without a suffix.
        title: What it shows.
        figure: The picture.
        rows: The data that are drawn.
    """

    name: str
    title: str
    figure: Figure
    rows: Sequence[Mapping[str, Any]]

    @property
    def link(self) -> str:
        """Markdown that shows it on the page, with its data."""
        return f"![{self.title}](results/{self.name}.png)\n\nThe figure's data: [CSV](results/{self.name}.csv)."

    def save(self, folder: Path) -> None:
        """Writes PNG and CSV.

        Args:
            folder: An existing folder; older files of the same names are replaced.
        """
        with atomic_file(folder / f"{self.name}.png") as temporary:
            FigureCanvasAgg(self.figure).print_png(str(temporary), metadata={"Software": None})
        write_csv(folder / f"{self.name}.csv", self.rows)


class Section(NamedTuple):
    """A part of the page.

    Attributes:
        text: Markdown.
        drawings: What it shows.
    """

    text: str
    drawings: tuple[Drawing, ...] = ()


def read(store: ResultStore, name: str, **at: Any) -> list[Point]:
    """Points of a named sweep.

    Args:
        store: The store.
        name: Of the sweep.
        at: Coordinates that they must have.

    Raises:
        Missing: if there is none.
        StoreError: if the store cannot be read.
    """
    sweep = find_sweep(store, name)
    found = store.read(sweep.config_hash, at) if sweep else []
    if not found:
        raise Missing(f"the store has no rows of `{name}`" + "".join(f", {key} {value}" for key, value in at.items()))
    return found


def series(points: Iterable[Point], axis: str, **at: Any) -> dict[Any, Point]:
    """Points along one axis, ascending: value on it to the point.

    Args:
        points: Some points.
        axis: Name of a coordinate.
        at: Coordinates that they must have.
    """
    of = [point for point in points if all(point.coordinates[name] == value for name, value in at.items())]
    return dict(sorted((point.coordinates[axis], point) for point in of))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *rows))


def text_of(value: Measured, digits: int = 2) -> str:
    """A number with its interval, where it has one."""
    mean = f"{round(value.mean, digits) + 0.0:.{digits}f}"  # no -0.00
    return mean if value.half_width is None else f"{mean} ± {value.half_width:.{digits}f}"


def excludes_zero(value: Measured) -> bool:
    """Whether an interval lies on one side of 0."""
    return value.half_width is not None and abs(value.mean) > value.half_width


def draw(
    panels: Sequence[Sequence[Panel]], title: str, *, differences: Sequence[Panel] = (), best: bool = False
) -> Figure:
    """Rows of panels, each with an axis of its own, and one legend.

    Args:
        panels: Rows of one length.
        title: Above everything.
        differences: Those of the panels in which 0 is marked.
        best: Mark each curve's largest mean.
    """
    figure = Figure(figsize=(4.6 * len(panels[0]), 3.0 * len(panels) + 1.0), layout="constrained")
    entries = {}
    for axes_row, row in zip(figure.subplots(len(panels), len(panels[0]), squeeze=False), panels, strict=True):
        for axes, panel in zip(axes_row, row, strict=True):
            draw_curves(axes, panel)
            if panel in differences:
                axes.axhline(0.0, color="black", linewidth=0.8)
            for curve in panel.curves if best else ():
                mean, x = max(zip(curve.mean, curve.snr_db, strict=True))
                axes.plot([x], [mean], marker="*", markersize=12, color=curve.color, markeredgecolor="black")
            entries |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(entries.values(), entries, loc="outside lower center", ncols=3, fontsize=8)
    figure.suptitle(title, fontsize=9)
    return figure


def data_rows(points: Iterable[Point], metrics: Sequence[str], axes: Sequence[str]) -> list[dict[str, Any]]:
    """What a figure draws, for its CSV file: a row a point and metric.

    Args:
        points: Points that are drawn.
        metrics: Of which those that a point has are written.
        axes: Coordinates to be written.
    """
    return [{axis: point.coordinates[axis] for axis in axes} | {"metric": name} | point.metrics[name]._asdict()
            for point in points for name in metrics if name in point.metrics]  # fmt: skip


def digits_of(metric: str) -> int:
    """Digits that a metric is shown with."""
    return 3 if "ssim" in metric else 2


def curve_of(points: Mapping[float, Point], metric: str, label: str, colour: str, line: str = "-") -> Curve:
    """Points along an axis as a curve of a metric."""
    values = [point.metrics[metric] for point in points.values()]
    convention = next(iter(points.values())).snr_convention
    return Curve(label=label, convention=convention, snr_db=list(points), mean=[value.mean for value in values],
                 half_width=[value.half_width or 0.0 for value in values], color=colour, linestyle=line)  # fmt: skip


def kept_shares(point: Point) -> str:
    """Shares of the patches kept inside and outside the box."""
    return "/".join(f"{point.metrics[f'keep_rate_{where}'].mean:.2f}" for where in ("inside", "outside"))


def same(values: Iterable[float]) -> str:
    """A number that is the same for all, or all that there are."""
    return " or ".join(f"{value:.4g}" for value in sorted(set(values)))
