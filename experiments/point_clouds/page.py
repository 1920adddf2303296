r"""Figures, data and tables of docs/point_clouds.md, from the store of ``experiments.point_clouds.measure`` alone.

python -m experiments.point_clouds.page --store docs/point_clouds/results.sqlite --out docs/point_clouds
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.point_clouds.measure import BITS, LEARNED, MOMENTS, NAME, OTHERS, POINTS, STORE, TURNED, VARIANTS
from experiments.script import fill_page, script
from experiments.stores import curve_of, read_points
from lvm_mtc.report.figures import Curve, Panel, curves_figure, save_png
from lvm_mtc.report.pages import channel_name, table, with_interval
from lvm_mtc.report.parts import LABELS
from lvm_mtc.results.points import Point
from lvm_mtc.results.store import ResultStore
from lvm_mtc.results.table import write_csv
from lvm_mtc.sweep.paired import PREFIX, differences_name

METRIC = "d1_psnr_db"
TITLE = "Clouds of ModelNet10 in 320 complex symbols; 95 % bootstrap over channels and clouds"
SHOWN = (LEARNED, MOMENTS, POINTS, BITS)


@script(
    store="of experiments.point_clouds.measure (default: %(default)s)",
    out="folder for figures and data; the page is out.md",
)
def main(store: Path = STORE, out: Path = Path("docs/point_clouds")) -> None:
    """Draw the figures and fill the page of point clouds."""
    with ResultStore(store, create=False) as results:
        names = (NAME, f"{NAME}, {BITS}", differences_name(NAME), TURNED)
        learned, bits, differences, turned = (read_points(results, name, "point_clouds") for name in names)
    points = [*learned, *bits]
    out.mkdir(parents=True, exist_ok=True)
    save_png(curves_figure(panels(points, differences), title=TITLE), out / "clouds.png")
    write_csv(out / "clouds.csv", [row for point in (*points, *differences) for row in rows(point)])
    tables = {"quality": quality(points), "differences": gaps(differences)}
    tables |= {"variants": variants(points), "costs": costs(points)}
    tables["turned"] = _side_by_side(turned, (LEARNED, MOMENTS), METRIC, 2)
    fill_page(out, tables)


def of_scheme(points: Sequence[Point], name: str) -> list[Point]:
    """Its points in their order."""
    return [point for point in points if point.coordinates["scheme"] == name]


def panels(points: Sequence[Point], differences: Sequence[Point]) -> list[list[Panel]]:
    """D1 PSNR, Chamfer distance and the differences of D1 PSNR in pairs; a column a channel."""
    channels = list(dict.fromkeys(point.coordinates["channel"] for point in points))

    def row(label: str, metric: str, among: Sequence[Point], names: Sequence[str]) -> list[Panel]:
        return [
            Panel(
                title=channel_name(channel),
                y_label=label,
                curves=[
                    _curve(of_scheme(among, name), channel, metric, f"C{number}") for number, name in enumerate(names)
                ],
            )
            for channel in channels
        ]

    pairs = [f"{LEARNED} minus {name}" for name in OTHERS]
    return [
        row(LABELS[METRIC], METRIC, points, SHOWN),
        row(LABELS["chamfer"], "chamfer", points, SHOWN),
        row("D1 PSNR, difference (dB)", f"{PREFIX}{METRIC}", differences, pairs),
    ]


def _curve(points: Sequence[Point], channel: str, metric: str, color: str) -> Curve:
    return curve_of([point for point in points if point.coordinates["channel"] == channel], metric, color)


def rows(point: Point) -> list[dict]:
    """The data that are drawn, and the other metrics."""
    at = {name: point.coordinates[name] for name in ("scheme", "channel", "snr_db")}
    return [
        at | {"snr_convention": point.snr_convention, "metric": name, **point.metrics[name]._asdict()}
        for name in sorted(point.metrics)
        if name.removeprefix(PREFIX) in (METRIC, "chamfer", "hausdorff")
    ]


def _side_by_side(points: Sequence[Point], names: Sequence[str], metric: str, digits: int) -> str:
    lines = []
    for of_place in zip(*(of_scheme(points, name) for name in names), strict=True):
        cells = [with_interval(point.metrics[metric][:2], digits) for point in of_place]
        lines.append((channel_name(of_place[0].coordinates["channel"]), f"{of_place[0].snr_db:g}", *cells))
    return table(("channel", "SNR, dB", *names), lines)


def quality(points: Sequence[Point]) -> str:
    """D1 PSNR of the schemes, a line a channel and SNR."""
    return _side_by_side(points, SHOWN, METRIC, 2)


def gaps(differences: Sequence[Point]) -> str:
    """Differences of D1 PSNR, cloud by cloud over the same channels."""
    return _side_by_side(differences, [f"{LEARNED} minus {name}" for name in OTHERS], f"{PREFIX}{METRIC}", 2)


def variants(points: Sequence[Point]) -> str:
    """D1 PSNR of the codec with parts of it changed after training."""
    return _side_by_side(points, (LEARNED, *VARIANTS), METRIC, 2)


def costs(points: Sequence[Point]) -> str:
    """What a cloud costs."""
    lines = [
        (name, f"{first.ledger['channel_uses']:g}", f"{first.ledger['side_information_bits']:g}")
        for name in (*SHOWN, *VARIANTS)
        for first in of_scheme(points, name)[:1]
    ]
    return table(("scheme", "channel uses a cloud", "side information, bits"), lines)


if __name__ == "__main__":
    sys.exit(main())
