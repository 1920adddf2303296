"""What the sections of the results page are put together from: rows of a store by name, cells, panels, figures."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from lvm_mtc.report.figures import Curve, Panel, draw_curves, save_png
from lvm_mtc.report.pages import with_interval
from lvm_mtc.report.select import Missing
from lvm_mtc.results.points import Measured, Point
from lvm_mtc.results.store import ResultStore
from lvm_mtc.results.table import write_csv
from lvm_mtc.sweep.paired import differences_name, find_sweep

CHANNELS = {"awgn": "AWGN", "rayleigh": "Rayleigh"}
PSNR, SSIM = "psnr_inside_db", "ssim_inside"
LABELS = {
    PSNR: "PSNR inside the box (dB)", SSIM: "SSIM inside the box", "psnr_db": "PSNR, whole picture (dB)",
    "ssim": "SSIM, whole picture", "psnr_background_db": "PSNR outside the box (dB)",
}  # fmt: skip


class Drawing(NamedTuple):
    """A figure of the page, the name of its files without a suffix, its caption, and the data that are drawn."""

    name: str
    title: str
    figure: Figure
    rows: Sequence[Mapping[str, Any]]

    @property
    def link(self) -> str:
        """Markdown that shows it on the page, with its data."""
        return f"![{self.title}](results/{self.name}.png)\n\nThe figure's data: [CSV](results/{self.name}.csv)."

    def save(self, folder: Path) -> None:
        """Writes PNG and CSV into an existing folder; older files of the same names are replaced."""
        save_png(self.figure, folder / f"{self.name}.png")
        write_csv(folder / f"{self.name}.csv", self.rows)


class Section(NamedTuple):
    """A part of the page: Markdown, and the drawings that it shows."""

    text: str
    drawings: tuple[Drawing, ...] = ()


def read(store: ResultStore, name: str, **at: Any) -> list[Point]:
    """Points of a named sweep that have the coordinates ``at``.

    Raises:
        Missing: if there is none.
        StoreError: if the store cannot be read.
    """
    sweep = find_sweep(store, name)
    points = store.read(sweep.config_hash, at) if sweep else []
    if not points:
        raise Missing(f"the store has no rows of `{name}`" + "".join(f", {key} {value}" for key, value in at.items()))
    return points


def read_both(store: ResultStore, name: str, **at: Any) -> tuple[list[Point], list[Point]]:
    """Points of a named sweep, and those of its differences that have the coordinates ``at``; raises as ``read``."""
    return read(store, name), read(store, differences_name(name), **at)


def series(points: Iterable[Point], axis: str, **at: Any) -> dict[Any, Point]:
    """Points along one axis, ascending: value on it to the point; ``at`` are coordinates that they must have."""
    of = [point for point in points if all(point.coordinates[name] == value for name, value in at.items())]
    return dict(sorted((point.coordinates[axis], point) for point in of))


def schemes_of(points: Iterable[Point]) -> list[str]:
    """Names of schemes in the order of their points."""
    return list(dict.fromkeys(point.coordinates["scheme"] for point in points))


def cell(point: Point, metric: str, digits: int | None = None) -> str:
    """A metric with its interval, with three digits for SSIM and two for dB."""
    return with_interval(point.metrics[metric], digits or (3 if "ssim" in metric else 2))


def cells(points: Mapping[Any, Point], metric: str, digits: int | None = None) -> list[str]:
    """A metric of each point, as :func:`cell`."""
    return [cell(point, metric, digits) for point in points.values()]


def snr_head(points: Iterable[Point]) -> list[str]:
    """Heads of columns, one an SNR."""
    return [f"{snr:g} dB" for snr in sorted({point.snr_db for point in points})]


def excludes_zero(value: Measured) -> bool:
    """Whether an interval lies on one side of 0."""
    return value.half_width is not None and abs(value.mean) > value.half_width


def better_and_worse(values: Iterable[Measured]) -> tuple[int, int]:
    """How many differences are above, and below, zero by their intervals."""
    sure = [value.mean for value in values if excludes_zero(value)]
    return sum(mean > 0 for mean in sure), sum(mean < 0 for mean in sure)


def grid(metrics: Iterable[str], panel: Callable[[str, str], Panel]) -> list[list[Panel]]:
    """A row of panels a metric, a column a channel."""
    return [[panel(metric, channel) for channel in CHANNELS] for metric in metrics]


def draw(
    panels: Sequence[Sequence[Panel]], title: str, *, differences: Sequence[Panel] = (), best: bool = False
) -> Figure:
    """Rows of panels, each with an axis of its own, and one legend.

    In panels that are ``differences`` 0 is marked; ``best`` marks each curve's largest mean.
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
    """What a figure draws, for its CSV file: a row a point and metric that it has, with the coordinates ``axes``."""
    return [{axis: point.coordinates[axis] for axis in axes} | {"metric": name} | point.metrics[name]._asdict()
            for point in points for name in metrics if name in point.metrics]  # fmt: skip


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
