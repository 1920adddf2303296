r"""Figure and tables of docs/fa_semcom.md, from what ``measure``, ``errors`` and ``slices`` beside it wrote.

python -m experiments.fa_semcom.page --store docs/fa_semcom/results.sqlite --out docs/fa_semcom
"""

import csv
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.fa_semcom.errors import FILE as ERRORS
from experiments.fa_semcom.measure import ALLOCATIONS, ANSWERERS, AWGN, FADING, FAST, LEVELS, QUIET_DB, STORE
from experiments.fa_semcom.slices import ABOUT, ENERGIES
from experiments.fa_semcom.slices import FILE as SLICED
from experiments.script import fill_page, script
from experiments.stores import read_points
from lvm_mtc.data.vqa import KINDS
from lvm_mtc.models.llava_cost import llava_cost
from lvm_mtc.report.figures import Curve, Panel, curves_figure, save_png
from lvm_mtc.report.pages import table, with_interval
from lvm_mtc.results.points import Measured, Point
from lvm_mtc.results.store import ResultStore
from lvm_mtc.results.table import read_csv
from lvm_mtc.sweep.paired import PREFIX, differences_name, find_sweep

TITLE = "Questions about CARLA's test pictures, uncoded QPSK; 95 % bootstrap over channels and questions"
LINKS = {AWGN.label: "AWGN", FADING.label: "F fading, one fade a picture", FAST.label: "F fading, one fade a symbol"}
PRINTED = {"base": (576, 8.02), "grid": (2880, 43.58), "matched": (1152, 17.43)}
"""Tokens and FLOPs (1e12) of the paper's Table 3."""
TRAINED = ("noisy", "clean")
_DETAILED_DB = 12.0


@script(store="of experiments.fa_semcom.measure (default: %(default)s)", out="folder for the figure; page: out.md")
def main(store: Path = STORE, out: Path = Path("docs/fa_semcom")) -> None:
    """Draw the figure and fill the page of FA-SemCom."""
    with ResultStore(store, create=False) as results:
        groups = [("carla_test", kind) for kind in ("all", *KINDS)] + [("trapedesveh", "all")]
        quiet = {group: _read(results, "quiet, {}, {}".format(*group)) for group in groups}
        names = [f"allocations, {label}" for label in LINKS] + [f"float16, {link.label}" for link in (AWGN, FADING)]
        swept = {name: _read(results, name) for name in names}
        levels = _read(results, LEVELS)[0]
        paired = {name: _read(results, differences_name(name))[0] for name in swept}
    out.mkdir(parents=True, exist_ok=True)
    points = {name: of for name, (of, _) in swept.items()}
    panels = [
        [_panel(points[f"{sent}, {link.label}"], levels, answerer, LINKS[link.label] + more) for answerer in TRAINED]
        for sent, more in (("allocations", ""), ("float16", ", float16 bits"))
        for link in (AWGN, FADING)
    ]
    save_png(curves_figure(panels, title=TITLE), out / "accuracy.png")
    sliced = read_csv(out / SLICED)
    tables = {
        "quiet": quiet_table(quiet),
        "costs": cost_table(sliced),
        "levels": levels_table(points),
        "errors": errors_table(list(csv.DictReader((out / ERRORS).open()))),
        "slices": slices_table(sliced),
    }
    places = ("awgn", "fading", "fast", "float16", "float16_fading")
    tables |= {place: allocation_table(points[name], paired[name]) for place, name in zip(places, names, strict=True)}
    fill_page(out, tables)


def _read(store: ResultStore, name: str) -> tuple[list[Point], dict[str, str]]:
    points = read_points(store, name, "fa_semcom")
    return points, find_sweep(store, name).config.get("about", {})


def _in_order(schemes: Iterable[str]) -> list[str]:
    """Answerers and their allocations as the study names them."""
    every = [f"{label}: {name}" for label in ANSWERERS.values() for name in ALLOCATIONS]
    return sorted(set(schemes), key=every.index)


def _of(points: Sequence[Point], scheme: str) -> list[Point]:
    return [point for point in points if point.coordinates["scheme"] == scheme]


def _panel(points: Sequence[Point], levels: Sequence[Point], answerer: str, title: str) -> Panel:
    """Accuracy over SNR by allocation; dotted, what the levels alone tell, in the colour of their allocation."""
    curves, ends = [], [min(point.snr_db for point in points), max(point.snr_db for point in points)]
    for number, name in enumerate(ALLOCATIONS):
        own = _of(points, f"{ANSWERERS[answerer]}: {name}")
        values = [point.metrics["accuracy"] for point in own]
        curves.append(Curve(
            label=name, convention=own[0].snr_convention, snr_db=[point.snr_db for point in own],
            mean=[value.mean for value in values], color=f"C{number}",
            half_width=[value.half_width for value in values] if name == "average" else None,
        ))  # fmt: skip
        for point in _of(levels, f"{ANSWERERS['levels']}: {name}"):
            curves.append(Curve(
                label=f"levels alone: {name}", convention=own[0].snr_convention, snr_db=ends, linestyle=":", marker="",
                mean=[point.metrics["accuracy"].mean] * 2, color=f"C{number}",
            ))  # fmt: skip
    return Panel(title=f"{title}, answerer {ANSWERERS[answerer]}", y_label="accuracy", curves=curves)


def quiet_table(quiet: dict[tuple[str, str], tuple[list[Point], dict[str, str]]]) -> str:
    """Accuracy without noise by set, kind of question and answerer, with the floors."""
    names = _in_order(point.coordinates["scheme"] for point in quiet["carla_test", "all"][0])
    lines = []
    for (name, kind), (points, about) in quiet.items():
        cells = (with_interval(_of(points, scheme)[0].metrics["accuracy"], 3) for scheme in names)
        lines.append((name, kind, about["questions"], f"{float(about['floor']):.3f}", *cells))
    heads = (name.removesuffix(": average").replace(", beta 1", "") for name in names)
    return table(("set", "questions", "number", "floor", *heads), lines)


def allocation_table(points: Sequence[Point], differences: Sequence[Point]) -> str:
    """Accuracy with average power, and how much each allocation adds to it, at each SNR."""
    schemes = _in_order(point.coordinates["scheme"] for point in points)
    answerers = dict.fromkeys(scheme.partition(": ")[0] for scheme in schemes)
    names = [name for name in dict.fromkeys(scheme.partition(": ")[2] for scheme in schemes) if name != "average"]
    lines = []
    for answerer in answerers:
        for point in _of(points, f"{answerer}: average"):
            others = [
                next(d for d in _of(differences, f"{answerer}: {name}") if d.snr_db == point.snr_db) for name in names
            ]
            cells = (_signed(other.metrics[f"{PREFIX}accuracy"]) for other in others)
            lines.append((answerer, f"{point.snr_db:g}", with_interval(point.metrics["accuracy"], 3), *cells))
    return table(("answerer", "SNR, dB", "average power", *names), lines)


def _signed(value: Sequence[float | None]) -> str:
    """A difference; in bold where its interval leaves 0 out, without one that is wider than all differences."""
    mean, half_width = value[:2]
    half_width = None if half_width is None or half_width > 1 else half_width
    text = f"{mean + 0.0:+.3f}" + ("" if half_width is None else f" ± {half_width:.3f}")
    return f"**{text}**" if half_width is not None and abs(mean) > half_width else text


def levels_table(points: dict[str, Sequence[Point]]) -> str:
    """Bit error rates at one SNR, counted: mean over all patches, and those of the highest level."""
    lines = []
    for label in (AWGN.label, FADING.label):
        for name in ALLOCATIONS:
            own = _of(points[f"allocations, {label}"], f"{ANSWERERS['noisy']}: {name}")
            (point,) = (p for p in own if p.snr_db == _DETAILED_DB)
            rates = (f"{point.metrics[metric].mean:.1e}" for metric in ("bit_error_rate", "bit_error_rate_top"))
            lines.append((LINKS[label], name, *rates, with_interval(point.metrics["accuracy"], 3)))
    return table(("channel", "power", "bit error rate, all patches", "highest level's", "accuracy"), lines)


def errors_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Bit error rates of each level, counted and by closed form; a line a channel, attention and beta."""
    lines: dict[tuple[str, ...], dict[str, Mapping[str, str]]] = {}
    for row in rows:
        lines.setdefault((row["channel"], row["attention"], row["beta"]), {})[row["level"]] = row
    levels = sorted({row["level"] for row in rows})

    def cell(row: Mapping[str, str] | None) -> str:
        return f"{float(row['counted']):.1e}, {float(row['closed_form']):.1e}" if row else ""

    cells = [
        (
            *head,
            *(cell(of.get(level)) for level in levels),
            f"{max(abs(float(r['deviations'])) for r in of.values()):.1f}",
        )
        for head, of in lines.items()
    ]
    return table(("channel", "attention", "beta", *(f"level {of}" for of in levels), "largest deviation"), cells)


def slices_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Accuracy by slices, and what slices add to the picture alone, a line an SNR and what is asked about."""
    found = {(row["slices"], row["energy"], row["snr_db"], row["about"]): row for row in rows}
    lines = []
    for snr_db in dict.fromkeys(row["snr_db"] for row in rows):
        for about in ABOUT:
            own = found["base", "symbol", snr_db, about]
            others = [found[name, energy, snr_db, about] for name in ("matched", "grid") for energy in ENERGIES]
            gains = (_signed((row["difference"], row["difference_half_width"])) for row in others)
            accuracy = with_interval(Measured(own["accuracy"], own["half_width"], 0), 3)
            where = "none" if snr_db == QUIET_DB else f"{snr_db:g}"
            lines.append((where, about, f"{own['questions']:.0f}", accuracy, *gains))
    heads = (f"{name}, energy of a {energy}" for name in ("matched", "grid") for energy in ENERGIES)
    return table(("noise, SNR in dB", "about", "questions", "picture alone", *heads), lines)


def cost_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The paper's Table 3 by formula, and what this form sends for a question, on average."""
    lines = []
    for slices, (tokens, flops) in PRINTED.items():
        cost, own = llava_cost(slices), next(row for row in rows if row["slices"] == slices)
        here = (f"{own[name]:.0f}" for name in ("tokens", "channel_uses", "side_information_bits"))
        lines.append((slices, tokens, cost.tokens, flops, f"{cost.flops / 1e12:.2f}", *here))
    heads = ("slices", "LLaVA's tokens, printed", "by formula", "FLOPs, 1e12, printed", "by formula")
    return table((*heads, "tokens here", "channel uses here", "side information here, bits"), lines)


if __name__ == "__main__":
    sys.exit(main())
