r"""Figure, data, sheet and tables of docs/vlm_csc.md, from the store of ``experiments.vlm_csc.measure``.

The sheet is painted anew by the shipped generator.

    python -m experiments.vlm_csc.page --store docs/vlm_csc/results.sqlite --out docs/vlm_csc
"""

import itertools
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.script import fill_page, script
from experiments.stores import read_points
from experiments.vlm_csc.continual import METRICS_SHOWN
from experiments.vlm_csc.continual import OUT as CONTINUAL
from experiments.vlm_csc.measure import (
    BITS,
    BITS_GRAMMAR,
    CLASS,
    CLEAN,
    LARGE,
    SAME,
    SNR_DB,
    STORE,
    captions_name,
)
from experiments.vlm_csc.paint import HELD_OUT, TEST
from lvm_mtc.data.colours import COLOURS
from lvm_mtc.data.grammar import CLASS_WORDS, Facts, describe
from lvm_mtc.knowledge.generators import load_generator
from lvm_mtc.metrics.painted import semantic_service_quality
from lvm_mtc.report.figures import Curve, Panel, Picture, curves_figure, save_png, save_sheet
from lvm_mtc.report.pages import channel_name, number, table, with_interval
from lvm_mtc.results.bootstrap import two_way_interval
from lvm_mtc.results.intervals import paired_difference, student_interval
from lvm_mtc.results.points import Point
from lvm_mtc.results.store import ResultStore
from lvm_mtc.results.table import write_csv
from lvm_mtc.sweep.crossing import find_crossing
from lvm_mtc.sweep.rows import unpacked
from lvm_mtc.training.memory import RULES

ORACLE, LEARNED = captions_name("oracle"), captions_name("learned")
CURVES = {
    "oracle, painted": (ORACLE, "accuracy_flow"),
    "learned captions, painted": (LEARNED, "accuracy_flow"),
    "learned captions, retrieved": (LEARNED, "accuracy_retrieval"),
    "learned captions, class named": (LEARNED, "accuracy_named"),
    "as bits, painted": (f"{LEARNED}, {BITS}", "accuracy_flow"),
    "as bits, retrieved": (f"{LEARNED}, {BITS}", "accuracy_retrieval"),
    "as bits, grammar known, retrieved": (f"{LEARNED}, {BITS_GRAMMAR}", "accuracy_retrieval"),
    "class alone, named": (f"{LEARNED}, {CLASS}", "accuracy_named"),
    SAME: (SAME, "accuracy"),
    LARGE: (LARGE, "accuracy"),
}
"""What is shown: the name of its sweep, and the metric."""
GENERATORS = {"accuracy_flow": "painted", "accuracy_retrieval": "retrieved"}
NOT_SENT = (CLEAN, HELD_OUT, TEST)
CHANCE = 1 / len(CLASS_WORDS)
TITLE = "CIFAR-10 as captions over AWGN, ResNet-56 judges"
SHEET_COLOURS = (
    ("white", "blue"),
    ("black", "white"),
    ("brown", "green"),
    ("gray", "gray"),
    ("red", "gray"),
    ("tan", "black"),
    ("blue", "blue"),
    ("green", "brown"),
    ("yellow", "black"),
    ("orange", "white"),
    ("gray", "green"),
    ("white", "tan"),
)


@script(store="of experiments.vlm_csc.measure (default: %(default)s)",
        out="folder for figures and data; the page is out.md")  # fmt: skip
def main(store: Path = STORE, out: Path = Path("docs/vlm_csc")) -> None:
    """Draw the figures and fill the page of pictures sent as captions."""
    with ResultStore(store, create=False) as results:
        found = {
            name: read_points(results, name, "vlm_csc")
            for name in (*NOT_SENT, *dict.fromkeys(sweep for sweep, _ in CURVES.values()))
        }
        compared = [(LEARNED, metric) for metric in GENERATORS] + [(codec, "accuracy") for codec in (SAME, LARGE)]
        units = {of: units_of(results, found[of[0]], of[1]) for of in compared}
    clean = found[CLEAN][0].metrics["accuracy"].mean
    curves = {label: (found[sweep], metric) for label, (sweep, metric) in CURVES.items()}
    out.mkdir(parents=True, exist_ok=True)
    save_png(curves_figure([[panel(curves, clean)]], title=TITLE), out / "ssq.png")
    write_csv(out / "ssq.csv", rows(curves))
    paint_sheet(out / "sheet.png")
    learned = json.loads((out / CONTINUAL.name).read_text())
    tables = {
        "continual": continual(learned),
        "continual_differences": continual_differences(learned),
        "ssq": quality(curves, clean),
        "costs": costs(found),
        "crossings": crossed(units),
        "clean": ceiling(found),
        "painted": painted(found),
    }
    fill_page(out, tables)


def panel(curves: Mapping[str, tuple[Sequence[Point], str]], clean: float) -> Panel:
    """SSQ over SNR, with the floor of chance and what accuracy 1 of the pictures themselves would be, 1."""
    drawn = []
    for place, (label, (points, metric)) in enumerate(curves.items()):
        values = [point.metrics[metric] for point in points]
        drawn.append(Curve(
            label=label, convention=points[0].snr_convention, snr_db=[point.snr_db for point in points],
            mean=semantic_service_quality([v.mean for v in values], clean).tolist(),
            half_width=[(v.half_width or 0.0) / clean for v in values], color=f"C{place}",
            linestyle="--" if metric == "accuracy" else "-",
        ))  # fmt: skip
    ends = [SNR_DB[0], SNR_DB[-1]]
    floor = Curve(label="chance", convention=drawn[0].convention, snr_db=ends, mean=[CHANCE / clean] * 2, color="gray",
                  linestyle=":", marker="")  # fmt: skip
    return Panel(title="95 % bootstrap over channels and pictures", y_label="SSQ", curves=[*drawn, floor])


def rows(curves: Mapping[str, tuple[Sequence[Point], str]]) -> list[dict]:
    """The data that are drawn."""
    return [
        {"curve": label, "snr_db": point.snr_db, "snr_convention": point.snr_convention, "metric": metric,
         **point.metrics[metric]._asdict()}
        for label, (points, metric) in curves.items() for point in points
    ]  # fmt: skip


def quality(curves: Mapping[str, tuple[Sequence[Point], str]], clean: float) -> str:
    """SSQ, a line a curve, a column an SNR."""
    lines = []
    for label, (points, metric) in curves.items():
        values = [point.metrics[metric] for point in points]
        lines.append((label, *(with_interval((v.mean / clean, v.half_width and v.half_width / clean)) for v in values)))
    lines.append(("chance", *[number(CHANCE / clean)] * len(SNR_DB)))
    return table(("SSQ at", *(f"{snr_db:g} dB" for snr_db in SNR_DB)), lines)


def costs(found: Mapping[str, Sequence[Point]]) -> str:
    """What a picture costs, and the share of words that arrive at the ends of the sweep."""
    lines = [
        (name, number(points[0].ledger["channel_uses"], 1), f"{points[0].ledger['side_information_bits']:g}")
        for name, points in found.items() if name not in NOT_SENT
    ]  # fmt: skip
    return table(("", "channel uses a picture", "side information, bits"), lines)


def units_of(store: ResultStore, points: Sequence[Point], metric: str) -> np.ndarray:
    """What the points' means are of, ``[points, realisations, pictures]``."""
    samples = [
        unpacked(one.data).metrics[metric][..., 0]
        for point in points
        for key in store.keys_of(point.config_hash)
        for one in store.measurements(key, point.coordinates)
    ]
    return np.array(samples, np.float64)


def crossed(units: Mapping[tuple[str, str], np.ndarray]) -> str:
    """Up to which SNR captions are ahead of DeepJSCC, between the sweep's points, and the crossing's interval."""
    lines = []
    for codec, metric in itertools.product((SAME, LARGE), GENERATORS):
        difference = units[LEARNED, metric] - units[codec, "accuracy"]
        where = ahead(difference.mean((1, 2)), SNR_DB)
        ends = crossing_ends(difference) if where.startswith(("from", "up to")) else ""
        lines.append((GENERATORS[metric], codec, where, ends))
    return table(("learned captions", "against", "ahead", "95 % interval of the crossing"), lines)


def crossing_ends(difference: np.ndarray) -> str:
    """Between which SNRs a difference of 0 is not excluded, in words; straight lines between points of each unit."""

    def at(snr_db: float) -> np.ndarray:
        after = int(np.clip(np.searchsorted(SNR_DB, snr_db), 1, len(SNR_DB) - 1))
        share = (snr_db - SNR_DB[after - 1]) / (SNR_DB[after] - SNR_DB[after - 1])
        return (1 - share) * difference[after - 1] + share * difference[after]

    found = find_crossing(at, SNR_DB[0], SNR_DB[-1], interval=two_way_interval, tolerance=0.05)
    low = f"below {SNR_DB[0]:g}" if np.isinf(found.low) else number(found.low, 1)
    return f"{low} to {f'above {SNR_DB[-1]:g}' if np.isinf(found.high) else number(found.high, 1)} dB"


def ahead(difference: np.ndarray, snr_db: Sequence[float]) -> str:
    """Where a difference over SNR is positive, in words; a straight line between points."""
    if (difference > 0).all() or (difference <= 0).all():
        return "everywhere" if difference[0] > 0 else "nowhere"
    turns = np.flatnonzero(np.diff(difference > 0))
    if len(turns) > 1:
        return f"at {', '.join(f'{of:g}' for of, gain in zip(snr_db, difference, strict=True) if gain > 0)} dB"
    before = int(turns[0])
    step = difference[before] / (difference[before] - difference[before + 1])
    place = f"about {number(snr_db[before] + step * (snr_db[before + 1] - snr_db[before]), 1)} dB"
    return f"up to {place}" if difference[0] > 0 else f"from {place} on"


def ceiling(found: Mapping[str, Sequence[Point]]) -> str:
    """Accuracy on the pictures themselves, and captions before the link."""
    return table(("", "accuracy of ResNet-56"), [
        ("test pictures, JPEG copies", with_interval(found[CLEAN][0].metrics["accuracy"][:2], 3)),
        *((f"{name}, {of} at {SNR_DB[-1]:g} dB", with_interval(found[name][-1].metrics[metric][:2], 3))
          for name in (ORACLE, LEARNED) for metric, of in GENERATORS.items()),
    ])  # fmt: skip


def painted(found: Mapping[str, Sequence[Point]]) -> str:
    """What the generator paints of captions that were not sent, by its settings."""
    return table(("captions of", "number", "painted with", "accuracy of ResNet-56"), [
        (pictures, point.metrics["accuracy"].count, point.coordinates["scheme"],
         with_interval(point.metrics["accuracy"][:2], 3))
        for name, pictures in ((HELD_OUT, "held-out pictures"), (TEST, "test pictures"))
        for point in sorted(found[name], key=lambda point: point.coordinates["scheme"])
    ])  # fmt: skip


def by_rule(results: Mapping[str, Any], metric: str) -> dict[tuple[str, str], np.ndarray]:
    """Scores of a channel and rule, ``[seeds, learned so far, kind]``."""
    found: dict[tuple[str, str], list] = {}
    for row in sorted(results["rows"], key=lambda row: (row["channel"], RULES.index(row["rule"]), row["seed"])):
        found.setdefault((row["channel"], row["rule"]), []).append(row[metric])
    return {of: np.array(scores) for of, scores in found.items()}


def continual(results: Mapping[str, Any]) -> str:
    """BLEU-1 of each kind of captions right after it was learned, and at the end; means over the seeds."""
    scores, lines = {metric: by_rule(results, metric) for metric in METRICS_SHOWN}, []
    kept = {(row["channel"], row["rule"]): row["kept"] for row in results["rows"]}
    for of, bleu in scores["bleu1"].items():
        mean = bleu.mean(0)
        cells = [f"{number(mean[i, i], 3)}, {number(mean[-1, i], 3)}" for i in range(len(mean))]
        ends = (with_interval(student_interval(scores[metric][of][:, -1].mean(-1))[:2], 3) for metric in METRICS_SHOWN)
        lines.append((channel_name(of[0]), of[1], kept[of], *cells, *ends))
    kinds = (f"{kind}: after it, at the end" for kind in results["kinds"])
    return table(("channel", "rule", "kept", *kinds, "BLEU-1 at the end", "BLEU-2 at the end"), lines)


def continual_differences(results: Mapping[str, Any]) -> str:
    """What each rule adds to ``coverage`` at the end, by seed; and what the first kind loses."""
    lines = []
    for (channel, rule), bleu in by_rule(results, "bleu1").items():
        lost = student_interval(bleu[:, 0, 0] - bleu[:, -1, 0])
        added = []
        for metric in METRICS_SHOWN:
            scores = by_rule(results, metric)
            ends = [scores[channel, name][:, -1].mean(-1) for name in (rule, RULES[0])]
            added.append("" if rule == RULES[0] else with_interval(paired_difference(*ends)[:2], 3))
        lines.append((channel_name(channel), rule, with_interval(lost[:2], 3), *added))
    heads = f"{results['kinds'][0]} lose, BLEU-1", f"BLEU-1 less that of {RULES[0]}", f"BLEU-2 less that of {RULES[0]}"
    return table(("channel", "rule", *heads), lines)


def paint_sheet(path: Path) -> None:
    """What the shipped generator paints: a row a class, a column two colours."""
    generator = load_generator()
    pairs = [[COLOURS.index(colour) for colour in pair] for pair in SHEET_COLOURS]
    facts = [(label, *pair) for label in range(len(CLASS_WORDS)) for pair in pairs]
    painted = generator(describe(Facts(*np.array(facts).T)), 0).reshape(len(CLASS_WORDS), len(pairs), 32, 32, 3)
    heads = [f"{fore} on {back}" for fore, back in SHEET_COLOURS]
    cells = [[Picture(image=image, caption=head) for image, head in zip(row, heads, strict=True)] for row in painted]
    title = f"Painted of captions, guidance {generator.guidance:g}"
    save_sheet(path, cells, row_labels=CLASS_WORDS, title=title, few_colours=True)


if __name__ == "__main__":
    sys.exit(main())
