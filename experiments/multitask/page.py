"""The page about one backbone for many tasks: tables and figure, from ``results.json``."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from experiments.multitask.results import FOLDER, read
from experiments.script import script
from lvm_mtc.report.figures import save_png
from lvm_mtc.report.pages import fill_file, number, table

DEVICES = ("vehicle", "handset", "sensor")
UNITS = {"psnr": ("PSNR, dB", 1.0), "word_accuracy": ("right words, %", 100.0)}


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Markdown tables by the name of their place."""
    compressed, rounds = results.get("compression", {}), results.get("federated", {})
    filled = {f"compression_{name.split()[0]}": _compression(of) for name, of in compressed.items()}
    if rounds:
        filled |= {"federated": _rounds(rounds), "traffic": _traffic(rounds)}
    if "retrieval" in results:
        filled["retrieval"] = _retrieval(results["retrieval"]["captions"]["rows"])
    return filled


def best_single(of: Mapping[str, Any], device: str) -> Mapping[str, Any] | None:
    """The single method that fits a device and loses least where plans are chosen; None: none fits."""
    fits = [row for row in of["rows"] if row["name"] not in DEVICES and device in row["fits"]]
    return min(fits, key=lambda row: row["loss"], default=None)


def _compression(of: Mapping[str, Any]) -> str:
    whole, (what, scale) = of["rows"][0], UNITS[of["metric"]]
    rows = []
    for row in of["rows"]:
        name = row["name"]
        if name in DEVICES:
            single = best_single(of, name)
            beside = "none fits" if single is None else f"{single['name']}: {number(scale * single['metric'], 2)}"
            name = f"**{name}**: {row['method']}"
        else:
            beside = ""
        rows.append((
            name, number(row["size"] / 1e6, 3), number(whole["size"] / row["size"], 2), number(row["flops"] / 1e6, 1),
            number(row["ms"], 1) if "ms" in row else "", number(scale * row["metric"], 2),
            number(scale * (row["metric"] - whole["metric"]), 2), beside,
        ))  # fmt: skip
    head = ("method", "MB", "ratio", "MFLOP", "ms", what, "change", "best single method that fits")
    return table(head, rows)


def _rounds(skews: Mapping[str, Any]) -> str:
    shown = (1, 2, 5, 10)
    rows = []
    for skew, of in skews.items():
        for way, told in of["ways"].items():
            values = [told["accuracy"][n - 1] if n <= len(told["accuracy"]) else None for n in shown]
            rows.append((skew, way, *("" if v is None else number(100 * v, 1) for v in values)))
    return table(("classes", "way", *(f"round {n}" for n in shown)), rows)


def _traffic(skews: Mapping[str, Any]) -> str:
    ways = next(iter(skews.values()))["ways"]
    rows = [
        (way, f"{t['symbols']:,.0f}", f"{t['side_bits']:,.0f}", f"{32 * t['gradient_numbers'] / 1e6:.2f}",
         f"{t['adapter_bits'] / 1e6:.2f}")
        for way, t in ((way, told["traffic"]) for way, told in ways.items())
    ]  # fmt: skip
    head = ("way", "symbols of activations, up", "side information, bit", "gradients, down, Mbit", "adapters, Mbit")
    return table(head, rows)


def _retrieval(of: list[Mapping[str, Any]]) -> str:
    rows = []
    for row in of:
        gain, index = (f"{value[0]:+.3f} ± {value[1]:.3f}" for value in (row["gain"], row["index_gain"]))
        recall = "" if row["recall"] is None else number(row["recall"], 2)
        rows.append((
            f"{row['snr_db']:g}", row["store"], f"{row['entries']:,}", number(100 * row["wrong"], 1),
            number(row["plain"], 3), f"{row['weight']:g}", gain, recall, index, str(row["index_bits"]),
        ))  # fmt: skip
    head = ("SNR, dB", "store", "entries", "wrong words, %", "BLEU-1 alone", "weight", "gain", "recall@5",
            "gain with the index sent", "its bits")  # fmt: skip
    return table(head, rows)


def draw(results: Mapping[str, Any], out: Path) -> None:
    """Draws ``figure.png``: what is lost over the compression ratio, and accuracy over rounds."""
    compressed, rounds = results["compression"], results["federated"]
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    panels = figure.subplots(1, len(compressed) + len(rounds), squeeze=False)[0]
    for axes, (name, of) in zip(panels, compressed.items(), strict=False):
        what, scale = UNITS[of["metric"]]
        whole = of["rows"][0]
        for method in ("share", "bits", "rank"):
            points = [
                (whole["size"] / r["size"], scale * r["metric"]) for r in of["rows"] if r["name"].startswith(method)
            ]
            axes.plot(*zip(*points, strict=True), "o-", ms=3, label=method)
        points = [(whole["size"] / row["size"], scale * row["metric"]) for row in of["rows"] if row["name"] in DEVICES]
        axes.plot(*zip(*points, strict=True), "k*", ms=9, label="devices")
        axes.axhline(scale * whole["metric"], color="grey", lw=0.8)
        axes.set(xlabel="compression ratio", ylabel=what, title=name, xscale="log")
        axes.legend(fontsize=7)
    for axes, (skew, of) in zip(panels[len(compressed) :], rounds.items(), strict=True):
        for way, told in of["ways"].items():
            axes.plot(range(1, len(told["accuracy"]) + 1), [100 * a for a in told["accuracy"]], label=way)
        axes.set(xlabel="round", ylabel="accuracy, %", title=f"federated, {skew} classes")
        axes.legend(fontsize=7)
    save_png(figure, out / "figure.png")


@script(out="folder of the study; the page is beside it")
def main(out: Path = FOLDER) -> None:
    """Fill the page and draw its figure from what was measured."""
    results = read(out)
    draw(results, out)
    fill_file(out.with_suffix(".md"), tables(results))


if __name__ == "__main__":
    sys.exit(main())
