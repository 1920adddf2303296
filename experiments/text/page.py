r"""Figure, data and table of docs/text.md, from the store of ``experiments.text.measure`` alone.

python -m experiments.text.page --store docs/text/results.sqlite --out docs/text
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.script import fill_page, script
from experiments.stores import curve_of, read_points
from experiments.text.measure import BITS, NAME, STORE, VALIDATION
from lvm_mtc.report.figures import Curve, Panel, curves_figure, save_png
from lvm_mtc.report.pages import channel_name, table, with_interval
from lvm_mtc.report.parts import LABELS
from lvm_mtc.results.points import Point
from lvm_mtc.results.store import ResultStore
from lvm_mtc.results.table import write_csv
from lvm_mtc.sweep.paired import PREFIX, differences_name

DRAWN = ("bleu1", "bleu4", "word_error_rate")
TITLE = (
    "Captions of Multi30k: learned transceiver against the same captions as bits, 8 complex symbols a word; "
    "95 % bootstrap over channels and captions"
)


@script(
    store="of experiments.text.measure (default: %(default)s)", out="folder for figure and data; the page is out.md"
)
def main(store: Path = STORE, out: Path = Path("docs/text")) -> None:
    """Draw the figure and fill the page of the text transceiver."""
    with ResultStore(store, create=False) as results:
        learned, bits, differences = (
            read_points(results, name, "text") for name in (NAME, f"{NAME}, {BITS}", differences_name(NAME))
        )
        held_out = read_points(results, VALIDATION, "text")
    out.mkdir(parents=True, exist_ok=True)
    save_png(curves_figure(panels(learned, bits, differences), title=TITLE), out / "captions.png")
    write_csv(out / "captions.csv", [row for points in (learned, bits, differences) for row in rows(points)])
    tables = {
        "captions": comparison(learned, bits, differences),
        "costs": costs(learned, bits),
        "validation": validation(held_out),
    }
    fill_page(out, tables)


def panels(learned: Sequence[Point], bits: Sequence[Point], differences: Sequence[Point]) -> list[list[Panel]]:
    """A row a metric, and one for the paired difference of BLEU-1; a column a channel."""
    channels = list(dict.fromkeys(point.coordinates["channel"] for point in learned))

    def row(label: str, metric: str, drawn: dict[str, Sequence[Point]]) -> list[Panel]:
        curves = [[_curve(points, channel, metric, color) for color, points in drawn.items()] for channel in channels]
        return [
            Panel(title=channel_name(channel), y_label=label, curves=of_channel)
            for channel, of_channel in zip(channels, curves, strict=True)
        ]

    both = {"C0": learned, "C1": bits}
    paired = row("BLEU-1, paired difference", f"{PREFIX}bleu1", {"C2": differences})
    return [*(row(LABELS[metric], metric, both) for metric in DRAWN), paired]


def _curve(points: Sequence[Point], channel: str, metric: str, color: str) -> Curve:
    return curve_of([point for point in points if point.coordinates["channel"] == channel], metric, color)


def rows(points: Sequence[Point]) -> list[dict]:
    """The data that are drawn."""
    return [
        {name: point.coordinates[name] for name in ("scheme", "channel", "snr_db")}
        | {"snr_convention": point.snr_convention, "metric": name, **point.metrics[name]._asdict()}
        for point in points
        for name in sorted(point.metrics)
        if name.removeprefix(PREFIX) in (*DRAWN, "bleu2")
    ]


def comparison(learned: Sequence[Point], bits: Sequence[Point], differences: Sequence[Point]) -> str:
    """Both schemes side by side, a line a channel and SNR."""
    lines = []
    for one, other, paired in zip(learned, bits, differences, strict=True):
        cells = [with_interval(point.metrics[metric][:2], 3) for metric in DRAWN for point in (one, other)]
        lines.append((channel_name(one.coordinates["channel"]), f"{one.snr_db:g}", *cells,
                      with_interval(paired.metrics[f"{PREFIX}bleu1"][:2], 3)))  # fmt: skip
    pairs = [f"{name}, {of}" for name in ("BLEU-1", "BLEU-4", "WER") for of in ("learned", "bits")]
    return table(("channel", "SNR, dB", *pairs, "BLEU-1, difference"), lines)


def validation(points: Sequence[Point]) -> str:
    """The learned transceiver alone, a line a channel and SNR."""
    lines = [
        (channel_name(point.coordinates["channel"]), f"{point.snr_db:g}", f"{point.ledger['num_pictures']}",
         *(with_interval(point.metrics[metric][:2], 3) for metric in ("bleu1", "bleu2", "bleu4", "word_error_rate")))
        for point in points
    ]  # fmt: skip
    return table(("channel", "SNR, dB", "captions", "BLEU-1", "BLEU-2", "BLEU-4", "WER"), lines)


def costs(learned: Sequence[Point], bits: Sequence[Point]) -> str:
    """What a sentence costs, mean over the sentences."""
    lines = [
        (points[0].coordinates["scheme"], f"{points[0].ledger['channel_uses']:.1f}",
         f"{points[0].ledger['side_information_bits']:g}", f"{points[0].ledger['num_pictures']}")
        for points in (learned, bits)
    ]  # fmt: skip
    return table(("scheme", "channel uses a caption", "side information, bits", "captions"), lines)


if __name__ == "__main__":
    sys.exit(main())
