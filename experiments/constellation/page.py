"""Tables and figures of the page about constellations, from ``results.json``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lvm_mtc.report.figures import Curve, Panel, save_curves, save_png
from lvm_mtc.report.pages import channel_name, number, table, with_interval

STYLES = {"analog": ("k", "-"), "qam": ("C7", "--"), "learned": ("C0", "-"), "clustered": ("C1", "-.")}
MARKERS = {"": "o", "16": "v", "64": "s", "256": "^"}


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Markdown tables by the name of their place."""
    places = {"laws": _laws(results)}
    for name, codec in results["codecs"].items():
        place = name.replace(" ", "_")
        places[f"{place}_levels"] = _rows(results, codec, "levels")
        places[f"{place}_gains"] = _rows(results, codec, "gains")
        rows = [
            (f"`{label}`", number(book["entropy_bits"]), number(book["peak_db"]))
            for label, book in codec["books"].items()
        ]
        places[f"{place}_books"] = table(
            ("constellation", "entropy of use, bits", "largest point over mean power, dB"), rows
        )
    return places


def _rows(results: Mapping[str, Any], codec: Mapping[str, Any], what: str) -> str:
    rows = [(f"`{label}`", channel_name(channel), *map(with_interval, of[channel]))
            for label, of in codec[what].items() for channel in results["channels"]]  # fmt: skip
    return table(("constellation", "channel", *(f"{snr_db:g} dB" for snr_db in codec["snr_db"])), rows)


def _laws(results: Mapping[str, Any]) -> str:
    rows = [
        (row["law"], row["points"], f"{row['snr_db']:g}", number(row["qam"]), number(row["learned"]),
         f"{row['learned'] - row['qam']:+.2f}", number(10 * np.log10(1 + 10 ** (row["snr_db"] / 10))),
         number(row["qam_bits"]), number(row["learned_bits"]))
        for row in results["laws"]
    ]  # fmt: skip
    head = (
        "law",
        "K",
        "SNR, dB",
        "scaled QAM, dB",
        "learned, dB",
        "gain, dB",
        "analog, dB",
        "QAM, bits",
        "learned, bits",
    )
    return table(head, rows)


def draw(results: Mapping[str, Any], out: Path) -> None:
    """Writes ``psnr.png`` and ``points.png``."""
    rows = [[_panel(results, name, channel) for channel in results["channels"]] for name in results["codecs"]]
    save_curves(
        out / "psnr.png", rows, title="The same codec over constellations", footnote="bands: 95 %, over pictures"
    )
    save_png(_points(results), out / "points.png")


def _panel(results: Mapping[str, Any], name: str, channel: str) -> Panel:
    curves, codec = [], results["codecs"][name]
    for label, levels in codec["levels"].items():
        kind, _, count = label.partition(" ")
        color, line = STYLES[kind]
        curves.append(Curve(
            label=label, convention=results["convention"], snr_db=codec["snr_db"], color=color, linestyle=line,
            marker=MARKERS[count], mean=[mean for mean, _ in levels[channel]],
            half_width=[half for _, half in levels[channel]],
        ))  # fmt: skip
    return Panel(title=f"{name}, {channel_name(channel)}", y_label="PSNR (dB)", curves=curves)


def _points(results: Mapping[str, Any]) -> Figure:
    """Points; the area of each is how often it is used."""
    labels = ("learned 16", "qam 64", "learned 64")
    figure = Figure(figsize=(9, 6.4), layout="constrained")
    for row, (name, codec) in enumerate(results["codecs"].items()):
        for column, label in enumerate(labels):
            book = codec["books"][label]
            axes = figure.add_subplot(len(results["codecs"]), len(labels), row * len(labels) + column + 1)
            axes.scatter(*np.array(book["points"]).T, s=np.array(book["use"]) * 400 + 1, color="C0", alpha=0.7)
            axes.set_aspect("equal")
            axes.grid(alpha=0.3)
            axes.set_title(f"{name}, {label}", fontsize=9)
    figure.suptitle("Points at average power 1; area: how often a point is used", fontsize=10)
    return figure
