r"""Figure and tables of docs/stereo.md, from the store of ``experiments.stereo.measure`` and the file beside it alone.

python -m experiments.stereo.page --store docs/stereo/results.sqlite --out docs/stereo
"""

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.script import fill_page, script
from experiments.stereo.measure import DECOUPLED, FULL, OTHER, REAL, STORE, SYNTHETIC
from experiments.stores import read_points
from lvm_mtc.report.figures import Curve, Panel, curves_figure, save_png
from lvm_mtc.report.pages import number, table, with_interval
from lvm_mtc.results.points import Point
from lvm_mtc.results.store import ResultStore
from lvm_mtc.results.table import read_csv
from lvm_mtc.sweep.paired import PREFIX, differences_name

TITLE = "Fifty scenes that were not trained on, over AWGN"
_COLORS = {FULL: "C0", OTHER: "C1", DECOUPLED: "C2"}


class Found(NamedTuple):
    """Points and paired differences of both kinds of scenes, and the rows of ``bounds.csv``."""

    synthetic: Sequence[Point]
    gaps: Sequence[Point]
    real: Sequence[Point]
    real_gaps: Sequence[Point]
    known: Sequence[Mapping]


@script(
    store="of experiments.stereo.measure (default: %(default)s)", out="folder for the figure; the page is out.md"
)  # fmt: skip
def main(store: Path = STORE, out: Path = Path("docs/stereo")) -> None:
    """Draw the figure and fill the page of the stereo codec."""
    found = read(store, out)
    save_png(curves_figure([panels(found.synthetic, found.known)], title=TITLE), out / "curves.png")
    fill_page(out, tables(found))


def read(store: Path, out: Path) -> Found:
    """What the page is made of: the sweeps of the store, and the file of bounds beside it."""
    with ResultStore(store, create=False) as results:
        names = (name for scenes in (SYNTHETIC, REAL) for name in (scenes, differences_name(scenes)))
        points = [read_points(results, name, "stereo") for name in names]
    return Found(*points, list(read_csv(out / "bounds.csv")))


def tables(found: Found) -> dict[str, str]:
    """The page's tables by the name of their place."""
    synthetic, gaps, real, real_gaps, known = found
    return {
        "middle": side_by_side(synthetic, "psnr_middle_db"),
        "differences": side_by_side(gaps, f"{PREFIX}psnr_middle_db"),
        "views": side_by_side(synthetic, "psnr_db"),
        "epe": side_by_side(synthetic, "epe"),
        "real": side_by_side(real, "psnr_db"),
        "real_differences": side_by_side(real_gaps, f"{PREFIX}psnr_db"),
        "real_epe": side_by_side(real, "epe"),
        "bounds": of_bounds(known),
        "targets": targets(synthetic, gaps, known),
        "costs": costs([*synthetic, *real]),
    }


def names_of(points: Sequence[Point]) -> list[str]:
    """Schemes, the codec first."""
    return sorted({point.coordinates["scheme"] for point in points}, key=lambda name: (name != FULL, name))


def value(points: Sequence[Point], scheme: str, snr_db: float, metric: str) -> Any:
    """A metric of the one point there."""
    (point,) = (p for p in points if (p.coordinates["scheme"], p.snr_db) == (scheme, snr_db))
    return point.metrics[metric]


def side_by_side(points: Sequence[Point], metric: str) -> str:
    """A metric of all schemes, a line an SNR."""
    names = names_of(points)
    lines = [
        (f"{snr_db:g}", *(with_interval(value(points, name, snr_db, metric)[:2], 2) for name in names))
        for snr_db in dict.fromkeys(point.snr_db for point in points)
    ]
    return table(("SNR, dB", *names), lines)


def panels(points: Sequence[Point], known: Sequence[Mapping]) -> list[Panel]:
    """PSNR of the middle view and of both others over SNR; copies do not change."""

    def of(metric: str, label: str, copies: bool) -> Panel:
        curves = [_curve(points, name, metric) for name in names_of(points)]
        snrs = curves[0].snr_db
        for row, linestyle in zip(known[:2] if copies else (), (":", "-."), strict=False):
            flat = [row["psnr_middle_db"]] * len(snrs)
            style = dict(color="C7", linestyle=linestyle, marker="")
            curves.append(Curve(label=row["view"], convention=curves[0].convention, snr_db=snrs, mean=flat, **style))
        return Panel(title=label, y_label="PSNR (dB)", curves=curves)

    return [of("psnr_middle_db", "middle view, never sent", True), of("psnr_db", "left and right view", False)]


def _curve(points: Sequence[Point], name: str, metric: str) -> Curve:
    own = [point for point in points if point.coordinates["scheme"] == name]
    values = [point.metrics[metric] for point in own]
    return Curve(
        label=name,
        convention=own[0].snr_convention,
        snr_db=[point.snr_db for point in own],
        mean=[v.mean for v in values],
        half_width=[v.half_width for v in values],
        color=_COLORS[name],
    )


def of_bounds(known: Sequence[Mapping]) -> str:
    """Middle views that no channel was between."""
    lines = [
        (row["view"], with_interval((row["psnr_middle_db"], row["half_width"]), 2), f"{row['overflow']:g}")
        for row in known
    ]
    return table(("middle view", "PSNR, dB", "overflow"), lines)


def targets(points: Sequence[Point], gaps: Sequence[Point], known: Sequence[Mapping]) -> str:
    """What was to be reached, what was, and whether it is enough."""
    at_10 = value(points, FULL, 10.0, "psnr_middle_db").mean
    lines = [
        ("middle view at 10 dB, dB", "20", number(at_10), at_10 >= 20),
        ("over the left view as it is, dB", "5", number(at_10 - known[0]["psnr_middle_db"]), at_10 - known[0][
            "psnr_middle_db"] >= 5),
    ]  # fmt: skip
    for name, low in ((OTHER, (5.0, 10.0)), (DECOUPLED, (0.0, 5.0, 10.0))):
        for snr_db in low if name in names_of(points) else ():
            gap = value(gaps, f"{FULL} minus {name}", snr_db, f"{PREFIX}psnr_middle_db")
            shown = with_interval(gap[:2], 2)
            lines.append(
                (f"over {name} at {snr_db:g} dB, dB", "above 0", shown, gap.mean - (gap.half_width or math.inf) > 0)
            )
    if OTHER not in names_of(points):
        lines.append(("disparity fusion over none, dB", "above 0", "not measured", False))
    lost = max(point.metrics["overflow"].mean for point in points)
    lines.append(("overflow, largest of all points", "0", f"{lost:g}", lost == 0))
    return table(("target", "wanted", "measured", ""), [(*line, "reached" if ok else "missed") for *line, ok in lines])


def costs(points: Sequence[Point]) -> str:
    """What a pair takes."""
    lines = []
    for name in names_of(points):
        own = [point.ledger for point in points if point.coordinates["scheme"] == name]
        uses, side = (sorted({f"{led[n]:g}" for led in own}) for n in ("channel_uses", "side_information_bits"))
        lines.append((name, " or ".join(uses), " or ".join(side)))
    return table(("scheme", "channel uses of a pair", "side information, bits"), lines)


if __name__ == "__main__":
    sys.exit(main())
