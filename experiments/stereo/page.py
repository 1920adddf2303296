r"""Figures and tables of docs/stereo.md, from the store of ``experiments.stereo.measure`` and the files beside it.

python -m experiments.stereo.page --store docs/stereo/results.sqlite --out docs/stereo
"""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.script import fill_page, script
from experiments.stereo.digital import AVIF
from experiments.stereo.measure import DECOUPLED, FULL, FUSION, OTHER, REAL, STORE, SYNTHETIC
from experiments.stereo.places import CLEAN, NEAREST, SNR_DB
from experiments.stores import curve_of, read_points
from lvm_mtc.report.figures import Curve, Panel, curves_figure, save_png
from lvm_mtc.report.pages import number, table, with_interval
from lvm_mtc.results.points import Point
from lvm_mtc.results.store import ResultStore
from lvm_mtc.results.table import read_csv
from lvm_mtc.sweep.paired import PREFIX, differences_name, find_sweep

TITLE = "Fifty scenes that were not trained on, over AWGN"
SPEED = Path("benchmarks/results/stereo_cpu.json")
_FILES = ("bounds", "learning", "digital", "places", "thirds", "thirds_geometry")
_FUSION = "disparity fusion over none"
_COLORS = {FULL: "C0", DECOUPLED: "C2", CLEAN: "C1", NEAREST: "C7"}


class Found(NamedTuple):
    """What was measured.

    Attributes:
        synthetic: Points of the synthetic scenes; ``gaps`` their paired differences.
        real: As ``synthetic``, of Middlebury; ``real_gaps`` as ``gaps``.
        known: Rows of ``bounds.csv``.
        learning: Rows of ``learning.csv``.
        digital: Rows of ``digital.csv``.
        places: Rows of ``places.csv``.
        thirds: Rows of ``thirds.csv``.
        geometry: Rows of ``thirds_geometry.csv``.
        fusion: The codec with fusion and without, and ``fusion_gaps``; empty where it was not measured.
    """

    synthetic: Sequence[Point]
    gaps: Sequence[Point]
    real: Sequence[Point]
    real_gaps: Sequence[Point]
    known: Sequence[Mapping]
    learning: Sequence[Mapping]
    digital: Sequence[Mapping]
    places: Sequence[Mapping]
    thirds: Sequence[Mapping]
    geometry: Sequence[Mapping]
    fusion: Sequence[Point] = ()
    fusion_gaps: Sequence[Point] = ()


@script(
    store="of experiments.stereo.measure (default: %(default)s)", out="folder for the figure; the page is out.md",
    speed="of benchmarks/stereo.py (default: %(default)s)",
)  # fmt: skip
def main(store: Path = STORE, out: Path = Path("docs/stereo"), speed: Path = SPEED) -> None:
    """Draw the figures and fill the page of the stereo codec."""
    found = read(store, out)
    save_png(curves_figure([[places_panel(found.places)]], title=TITLE), out / "places.png")
    save_png(curves_figure([panels(found.synthetic, found.known)], title=TITLE), out / "curves.png")
    fill_page(out, tables(found, speed))


def read(store: Path, out: Path) -> Found:
    """What the page is made of: the sweeps of the store, and the files beside it."""
    with ResultStore(store, create=False) as results:
        of = lambda name: [read_points(results, n, "stereo") for n in (name, differences_name(name))]  # noqa: E731
        points = [*of(SYNTHETIC), *of(REAL)]
        fusion = of(FUSION) if find_sweep(results, FUSION) else []
    files = (list(read_csv(out / f"{name}.csv")) for name in _FILES)
    return Found(*points, *files, *fusion)


def tables(found: Found, speed: Path) -> dict[str, str]:
    """The page's tables by the name of their place."""
    synthetic, gaps, real, real_gaps, known, learning, *files, fusion, fusion_gaps = found
    digital, places, thirds, geometry = files
    made = {
        "middle": side_by_side(synthetic, "psnr_middle_db"),
        "differences": side_by_side(gaps, f"{PREFIX}psnr_middle_db"),
        "views": side_by_side(synthetic, "psnr_db"),
        "epe": side_by_side(synthetic, "epe"),
        "real": side_by_side(real, "psnr_db"),
        "real_differences": side_by_side(real_gaps, f"{PREFIX}psnr_db"),
        "real_epe": side_by_side(real, "epe"),
        "bounds": of_bounds([*known, clean_bound(places)]),
        "digital": of_digital(synthetic, digital),
        "places": of_places(places),
        "thirds": of_thirds(thirds),
        "geometry": of_geometry(geometry),
        "targets": targets(synthetic, [*gaps, *fusion_gaps], known),
        "costs": costs([*synthetic, *real]),
        "learning": of_learning(learning),
        "speed": of_speed(json.loads(speed.read_text())),
    }
    return made | ({"fusion": of_fusion(fusion, fusion_gaps)} if fusion else {})


def of_speed(measured: Mapping[str, Any]) -> str:
    """Pairs a second of ``benchmarks/stereo.py``, and milliseconds of a step: median and quartiles."""
    parts = {"encode": "encode", "decode": "decode, to Gaussians", "view": "a view of them"}
    rows = [
        (f"{label}, pairs a second", *(number(v, 0) for v in (of["pairs_per_second"], *of["quartiles"])))
        for label, of in ((label, measured[part]) for part, label in parts.items())
    ]
    step = measured["step_ms"]
    rows.append(("a step of training, ms", *(number(v, 0) for v in (step["median"], *step["quartiles"]))))
    return table(("64 x 64 pixels, one core", "median", "lower quartile", "upper quartile"), rows)


def of_fusion(points: Sequence[Point], gaps: Sequence[Point]) -> str:
    """The codec with fusion and without: the middle view, and by how much it and the disparity are better."""
    name, lines = f"{FULL} minus {OTHER}", []
    for snr_db in dict.fromkeys(point.snr_db for point in points):
        levels = [with_interval(value(points, one, snr_db, "psnr_middle_db")[:2], 2) for one in (FULL, OTHER)]
        differences = [with_interval(value(gaps, name, snr_db, PREFIX + m)[:2], 3) for m in ("psnr_middle_db", "epe")]
        lines.append((f"{snr_db:g}", *levels, *differences))
    return table(
        ("SNR, dB", "disparity fusion, dB", "none, dB", "fusion adds, dB", "to disparity's error, pixels"), lines
    )


def of_learning(rows: Sequence[Mapping]) -> str:
    """What fusion adds while both networks learn, a line for a hundred steps."""
    lines = [
        (f"{row['step']:g}", number(row["psnr_db_fused"]), number(row["psnr_db_alone"]),
         number(row["psnr_db_fused"] - row["psnr_db_alone"]), number(row["epe_fused"]), number(row["epe_alone"]))
        for row in rows if row["step"] % 100 == 0
    ]  # fmt: skip
    head = ("step", "disparity fusion, dB", "none, dB", "fusion adds, dB", "disparity's error, pixels", "without")
    return table(head, lines)


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
    return curve_of([point for point in points if point.coordinates["scheme"] == name], metric, _COLORS[name])


def of_bounds(known: Sequence[Mapping]) -> str:
    """Middle views that no channel was between."""
    lines = [
        (row["view"], with_interval((row["psnr_middle_db"], row["half_width"]), 2), f"{row['overflow']:g}")
        for row in known
    ]
    return table(("middle view", "PSNR, dB", "overflow"), lines)


def clean_bound(rows: Sequence[Mapping]) -> dict[str, Any]:
    """The predictor of clean pictures, half way between, as a row of ``of_bounds``."""
    (row,) = (row for row in rows if (row["scheme"], row["place"]) == (CLEAN, 0.5))
    psnr = {"psnr_middle_db": row["psnr_db"], "half_width": row["half_width"]}
    return {"view": "clean pictures, matched and lifted as decoupled does", **psnr, "overflow": row["overflow"]}


def of_digital(points: Sequence[Point], rows: Sequence[Mapping]) -> str:
    """AVIF with LDPC codes before the predictor beside the codec, a line an SNR."""
    lines = []
    for row in rows:
        own = with_interval(value(points, FULL, row["snr_db"], "psnr_middle_db")[:2])
        other = [with_interval((row[f"psnr_db_{name}"], row[f"half_width_{name}"])) for name in ("middle", "pictures")]
        bits = f"{row['bits_per_symbol']:g}", f"{row['payload_bits']:g}", f"{100 * row['without']:.0f}"
        lines.append((f"{row['snr_db']:g}", own, *other, *bits))
    head = ("SNR, dB", FULL, AVIF, "AVIF's pictures, dB", "bits a symbol", "payload, bits", "does not fit, %")
    return table(head, lines)


def of_places(rows: Sequence[Mapping]) -> str:
    """PSNR of views from places on the line of the cameras, a line a place."""
    at = {(row["scheme"], row["place"]): with_interval((row["psnr_db"], row["half_width"])) for row in rows}
    names = list(dict.fromkeys(row["scheme"] for row in rows))
    lines = [
        (f"{s:g}", *(at.get((name, s), "") for name in names)) for s in dict.fromkeys(row["place"] for row in rows)
    ]
    return table(("place", *names), lines)


def places_panel(rows: Sequence[Mapping]) -> Panel:
    """PSNR over the place of the view."""
    curves = []
    for name in dict.fromkeys(row["scheme"] for row in rows):
        own = [row for row in rows if row["scheme"] == name]
        numbers = ([row[key] for row in own] for key in ("place", "psnr_db", "half_width"))
        axes = dict(zip(("snr_db", "mean", "half_width"), numbers, strict=True))
        style = dict(color=_COLORS[name], linestyle="none" if name == NEAREST else "-")
        curves.append(Curve(label=name, convention="rx_per_antenna", **axes, **style))
    return Panel(
        title=f"{SNR_DB:g} dB", y_label="PSNR (dB)", curves=curves, x_label="place, 0 the left camera, 1 the right one"
    )


def of_thirds(rows: Sequence[Mapping]) -> str:
    """PSNR of third views of a real scene, a column a triple, and the mean of both sent views as rendered."""
    triples = list(dict.fromkeys(row["triple"] for row in rows))
    lines = []
    for name, snr_db in dict.fromkeys((row["scheme"], row["snr_db"]) for row in rows):
        own = {row["triple"]: row for row in rows if (row["scheme"], row["snr_db"]) == (name, snr_db)}
        middle, outer = ([own[triple][key] for triple in triples] for key in ("psnr_middle_db", "psnr_db"))
        label = name if snr_db is None else f"{name}, {snr_db:g} dB"
        shown = "" if None in outer else number(sum(outer) / len(outer))
        lines.append((label, *map(number, middle), number(sum(middle) / len(middle)), shown))
    return table(("middle view, dB", *triples, "mean", "left and right, mean"), lines)


def of_geometry(rows: Sequence[Mapping]) -> str:
    """What rectification leaves, a line a triple."""
    lines = [
        (row["triple"], number(row["place"]), number(row["turned_deg"], 1), number(row["largest_disparity"], 1),
         f"{row['rows_before']:g} / {row['rows_after']:g}", number(row["rows_off"]), number(row["edge_off"]),
         f"{100 * row['valid_outer']:.0f} / {100 * row['valid']:.0f}")
        for row in rows
    ]  # fmt: skip
    head = ("photographs", "place", "turned by, degrees", "largest disparity", "rows differ by, before / after",
            "middle off in rows", "at the edge", "valid, outer / middle, %")  # fmt: skip
    return table(head, lines)


def targets(points: Sequence[Point], gaps: Sequence[Point], known: Sequence[Mapping]) -> str:
    """What was to be reached, what was, and whether it is enough."""
    at_10 = value(points, FULL, 10.0, "psnr_middle_db").mean
    lines = [
        ("middle view at 10 dB, dB", "20", number(at_10), at_10 >= 20),
        ("over the left view as it is, dB", "5", number(at_10 - known[0]["psnr_middle_db"]), at_10 - known[0][
            "psnr_middle_db"] >= 5),
    ]  # fmt: skip
    for name, label, low in ((OTHER, _FUSION, (5.0, 10.0)), (DECOUPLED, "over decoupled", (0.0, 5.0, 10.0))):
        for snr_db in low if any(gap.coordinates["scheme"] == f"{FULL} minus {name}" for gap in gaps) else ():
            gap = value(gaps, f"{FULL} minus {name}", snr_db, f"{PREFIX}psnr_middle_db")
            shown = with_interval(gap[:2], 2)
            lines.append(
                (f"{label} at {snr_db:g} dB, dB", "above 0", shown, gap.mean - (gap.half_width or math.inf) > 0)
            )
    if not any(label.startswith(_FUSION) for label, *_ in lines):
        lines.append((f"{_FUSION}, dB", "above 0", "not measured", False))
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
