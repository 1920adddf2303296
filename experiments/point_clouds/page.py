r"""Figures, data and tables of docs/point_clouds.md, from the store and the JSON that the study's other scripts wrote.

python -m experiments.point_clouds.page --store docs/point_clouds/results.sqlite --out docs/point_clouds
"""

import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.point_clouds.measure import LOGITS, STORE, VARIANTS, pairs_name
from experiments.point_clouds.names import (
    CLEAN,
    CODED,
    CSI_ERROR,
    EQUAL,
    LEARNED,
    MODULATORS,
    MOMENTS,
    NAME,
    OFDM,
    OTHERS,
    SYMBOLS,
    TURNED,
    VARIED,
)
from experiments.point_clouds.rounding import ANALOGUE, FOR_QAM, ROUNDED, ROUNDING
from experiments.script import fill_page, script
from experiments.stores import curve_of, read_points
from lvm_mtc.report.figures import Curve, Panel, curves_figure, save_png
from lvm_mtc.report.pages import channel_name, number, table, with_interval
from lvm_mtc.report.parts import LABELS
from lvm_mtc.results.points import Point
from lvm_mtc.results.store import ResultStore
from lvm_mtc.results.table import write_csv
from lvm_mtc.sweep.paired import PREFIX, differences_name

METRIC = "d1_psnr_db"
TITLE = "500 clouds of ModelNet10 in 320 complex symbols; 95 % Student over clouds"
SHOWN = (LEARNED, *OTHERS)


@script(
    store="of experiments.point_clouds.measure (default: %(default)s)",
    out="folder for figures and data; the page is out.md",
)
def main(store: Path = STORE, out: Path = Path("docs/point_clouds")) -> None:
    """Draw the figures and fill the page of point clouds."""
    with ResultStore(store, create=False) as results:
        points, differences = measured(results, NAME)
        error, error_differences = measured(results, CSI_ERROR)
        ofdm, ofdm_differences = measured(results, OFDM)
        clean, equal, turned = (read_points(results, name, "point_clouds") for name in (CLEAN, EQUAL, TURNED))
        varied = read_points(results, VARIED, "point_clouds")
        modulators = read_points(results, differences_name(MODULATORS), "point_clouds")
    out.mkdir(parents=True, exist_ok=True)
    save_png(curves_figure(panels(points, differences, clean[0]), title=TITLE), out / "clouds.png")
    every = (*points, *differences, *error, *error_differences, *ofdm, *ofdm_differences, *varied)
    write_csv(out / "clouds.csv", [row for point in every for row in rows(point)])
    tables = {"quality": quality(points), "differences": gaps(differences)}
    tables |= {"csi_error": quality(error), "csi_error_differences": gaps(error_differences)}
    tables |= {"ofdm": quality(ofdm), "ofdm_differences": gaps(ofdm_differences)}
    tables |= {"accuracy": accuracies(points, clean[0]), "equal": equals(equal)}
    tables |= {"accuracy_differences": gaps(differences, "accuracy"), "costs": costs((*points, *varied))}
    tables |= {"variants": variants(varied), "modulators": gaps(modulators, of=("values alone", LOGITS))}
    tables["rounding"] = rounding(json.loads((out / ROUNDING.name).read_text()))
    tables["turned"] = _side_by_side(turned, (LEARNED, MOMENTS), METRIC, 2)
    fill_page(out, tables)


def measured(store: ResultStore, name: str) -> tuple[list[Point], list[Point]]:
    """All schemes' points of a sweep with its codes', and the learned one's differences to the others."""
    names = (name, *(f"{name}, {code}" for code in CODED)), [pairs_name(name, code) for code in CODED]
    points, differences = ([p for one in of for p in read_points(store, one, "point_clouds")] for of in names)
    return points, differences


def of_scheme(points: Sequence[Point], name: str) -> list[Point]:
    """Its points in their order."""
    return [point for point in points if point.coordinates["scheme"] == name]


def panels(points: Sequence[Point], differences: Sequence[Point], clean: Point) -> list[list[Panel]]:
    """D1 PSNR, Chamfer distance, the differences of D1 PSNR in pairs, and accuracy, a column a channel."""
    channels = list(dict.fromkeys(point.coordinates["channel"] for point in points))

    def row(label: str, metric: str, among: Sequence[Point], names: Sequence[str]) -> list[Panel]:
        return [
            Panel(
                title=channel_name(channel),
                y_label=label,
                curves=[_curve(of_scheme(among, name), channel, metric, color_of(name)) for name in names],
            )
            for channel in channels
        ]

    pairs = [f"{LEARNED} minus {name}" for name in OTHERS]
    accuracy = row(LABELS["accuracy"], "accuracy", points, SHOWN)
    snr_db, value = accuracy[0].curves[0].snr_db, clean.metrics["accuracy"]
    flat = Curve(
        label="not sent", convention=clean.snr_convention, snr_db=snr_db, mean=[value.mean] * len(snr_db),
        color="0.4", linestyle="--", marker="",
    )  # fmt: skip
    return [
        row(LABELS[METRIC], METRIC, points, SHOWN),
        row(LABELS["chamfer"], "chamfer", points, SHOWN),
        row("D1 PSNR, difference (dB)", f"{PREFIX}{METRIC}", differences, pairs),
        [dataclasses.replace(panel, curves=[*panel.curves, flat]) for panel in accuracy],
    ]


def color_of(name: str) -> str:
    """A scheme's color, also of what the learned one gains over it."""
    return f"C{SHOWN.index(name.removeprefix(f'{LEARNED} minus '))}"


def _curve(points: Sequence[Point], channel: str, metric: str, color: str) -> Curve:
    return curve_of([point for point in points if point.coordinates["channel"] == channel], metric, color)


def rows(point: Point) -> list[dict]:
    """The data that are drawn, and the other metrics."""
    at = {name: point.coordinates[name] for name in ("scheme", "channel", "csi_error_var", "snr_db")}
    return [
        at | {"snr_convention": point.snr_convention, "metric": name, **point.metrics[name]._asdict()}
        for name in sorted(point.metrics)
        if name.removeprefix(PREFIX) in (METRIC, "chamfer", "hausdorff", "accuracy")
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


def gaps(differences: Sequence[Point], metric: str = METRIC, of: Iterable[str] = OTHERS) -> str:
    """Differences of a metric to other schemes, cloud by cloud over the same channels."""
    return _side_by_side(differences, [f"{LEARNED} minus {name}" for name in of], f"{PREFIX}{metric}", 2)


def accuracies(judged: Sequence[Point], clean: Point) -> str:
    """Accuracy of the judge on what arrives, and on what was not sent."""
    lines = _side_by_side(judged, SHOWN, "accuracy", 2)
    every = with_interval(clean.metrics["accuracy"][:2], 2)
    return "\n".join([lines, f"| not sent | | {' | '.join([every] * len(SHOWN))} |"])


def equals(equal: Sequence[Point]) -> str:
    """Symbols at the learned scheme's D1 PSNR, how many times its 320 they are, and in which mode."""
    lines = []
    for pair in zip(*(of_scheme(equal, name) for name in CODED), strict=True):
        cells = [f"{pair[0].snr_db:g}", number(pair[0].metrics[METRIC].mean, 2), SYMBOLS]
        for at in ({name: value.mean for name, value in point.metrics.items()} for point in pair):
            cells.append(f"{at['symbols']:g} ({number(at['symbols'] / SYMBOLS, 1)} times)")
            cells.append(f"{at['bits_per_symbol']:g} bits, rate {number(at['rate'], 2)}")
            cells.append(number(100 * at["lost"], 1))
        lines.append(cells)
    of_codes = (head for code in CODED for head in (code, "mode", "lost, %"))
    return table(("SNR, dB", "D1 PSNR, dB", LEARNED, *of_codes), lines)


def variants(points: Sequence[Point]) -> str:
    """D1 PSNR of the codec with parts of it changed after training."""
    return _side_by_side(points, (LEARNED, *VARIANTS), METRIC, 2)


def rounding(results: Mapping[str, Any]) -> str:
    """What ``experiments.point_clouds.rounding`` wrote, a line an SNR."""
    names = (ANALOGUE, ROUNDED, FOR_QAM)
    pairs = [name for name in results["rows"][0] if " minus " in name]
    lines = []
    for row in results["rows"]:
        cells, gaps_of = ([with_interval(row[name], 2) for name in of] for of in (names, pairs))
        lines.append((f"{row['snr_db']:g}", *cells, f"{row['scale']:g}", *gaps_of))
    return table(("SNR, dB", *names, "scale", *pairs), lines)


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
