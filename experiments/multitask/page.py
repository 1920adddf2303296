"""The page about one backbone for many tasks: tables and figures, from ``results.json``."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from experiments.multitask.results import FOLDER, read
from experiments.script import script
from lvm_mtc.report.figures import save_png
from lvm_mtc.report.pages import fill_file, number, table

UNITS = {
    "class": (100, "%", 1), "picture": (1, "dB", 2), "text": (1, "BLEU-1", 3), "answers": (100, "%", 1),
}  # fmt: skip
"""Task to factor, unit and digits."""
NETWORKS = {
    "token codec": ("compression", 1, "PSNR, dB", 2), "class": ("compression_class", 100, "accuracy, %", 1),
    "text": ("compression_text", 1, "BLEU-1", 3),
}  # fmt: skip
"""Compressed network to the place of its table, and factor, unit and digits of its measure."""
COLOURS = {"shared": "C0", "separate": "C1", "heads only": "C2"}
DEVICES = ("vehicle", "handset", "sensor")
LEARNED = ("class", "picture", "text")
"""Tasks of which examples are held out."""


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Markdown tables by the name of their place."""
    found = {"tasks": _tasks(results)} if "tasks" in results else {}
    if "curves" in results:
        found["curves"] = _curves(results["curves"])
    for network, of in results["compression"].items():
        place, *shown = NETWORKS[network]
        found[place] = _compression(of, *shown)
    return found | {
        "federated": _rounds(results["federated"]),
        "traffic": _traffic(results["federated"]),
        "retrieval": _retrieval(results["retrieval"]["captions"]["rows"]),
        "lessons": _lessons(results["retrieval"]["captions"]["memory"]),
    }


def as_bits(results: Mapping[str, Any], task: str, row: Mapping[str, Any]) -> float | None:
    """What bits get at the place of a row; None where nothing was sent so."""
    for told in results.get("task bits", {}).get(task, ()):
        if told["link"] == row["link"] and told.get("snr_db", row["snr_db"]) == row["snr_db"]:
            return told["value"]
    return None


def _tasks(results: Mapping[str, Any]) -> str:
    rows = []
    measured = {task: of["rows"] for task, of in results["tasks"].items()}
    for task, row in ((name, row) for name in UNITS for row in measured.get(name, ())):
        factor, unit, digits = UNITS[task]
        bits, floor = as_bits(results, task, row), results["tasks"][task]["floor"]
        gaps = [row["differences"].get(name) for name in ("separate", "heads only")]
        shown = ("" if gap is None else f"{factor * gap[0]:+.{digits}f} ± {factor * gap[1]:.{digits}f}" for gap in gaps)
        rows.append((
            f"{task}, {unit}", row["link"], f"{row['snr_db']:g}", number(row["symbols"], 0),
            number(factor * row["means"]["shared"], digits), *shown,
            "" if bits is None else number(factor * bits, digits), number(factor * floor, digits),
        ))  # fmt: skip
    head = ("task", "link", "SNR, dB", "symbols", "shared", "shared - separate", "shared - heads only", "bits", "floor")
    return table(head, rows)


def best_single(of: Mapping[str, Any], device: str) -> Mapping[str, Any] | None:
    """The single method that fits a device and loses least where plans are chosen; None: none fits."""
    fits = [row for row in of["rows"] if row["name"] not in DEVICES and device in row["fits"]]
    return min(fits, key=lambda row: row["loss"], default=None)


def _compression(of: Mapping[str, Any], factor: float, unit: str, digits: int) -> str:
    whole = of["rows"][0]
    rows = []
    for row in of["rows"]:
        name = row["name"]
        if name in DEVICES:
            single = best_single(of, name)
            beside = "none fits" if single is None else f"{single['name']}: {number(factor * single['metric'], digits)}"
            name = f"**{name}**: {row['method']}"
        else:
            beside = ""
        change, half = (factor * value for value in row["change"])
        rows.append((
            name, number(row["size"] / 1e6, 3), number(whole["size"] / row["size"], 2), number(row["flops"] / 1e6, 1),
            number(row["ms"], 1) if "ms" in row else "", number(factor * row["metric"], digits),
            f"{change:+.{digits}f} ± {half:.{digits}f}", beside,
        ))  # fmt: skip
    head = ("method", "MB", "ratio", "MFLOP", "ms", unit, "change", "best single method that fits")
    return table(head, rows)


def _rounds(runs: Mapping[str, Any]) -> str:
    shown = (1, 2, 5, 10, 20)
    rows = []
    for of in runs.values():
        for way, told in of["ways"].items():
            values = (number(100 * told["accuracy"][n - 1], 1) for n in shown)
            lacking = lacked(of)
            lost = number(100 * sum(told["by_class"][c] for c in lacking) / len(lacking), 1) if lacking else ""
            rows.append((of["classes"], of["link"], way, *values, lost))
    return table(("classes", "uplink", "way", *(f"round {n}" for n in shown), "of classes that it lacks"), rows)


def lacked(of: Mapping[str, Any]) -> list[int]:
    """Classes of which the client that learns alone, the first, has less than a fifth of an equal share."""
    clients = of["examples"]
    shares = [sum(client[c] for client in clients) / len(clients) for c in range(len(clients[0]))]
    return [c for c, share in enumerate(shares) if clients[0][c] < share / 5]


def _traffic(runs: Mapping[str, Any]) -> str:
    ways = next(iter(runs.values()))["ways"]
    rows = [
        (way, f"{t['symbols']:,.0f}", f"{t['side_bits']:,.0f}", f"{32 * t['gradient_numbers'] / 1e6:.2f}",
         f"{t['adapter_bits'] / 1e6:.2f}")
        for way, t in ((way, told["traffic"]) for way, told in ways.items())
    ]  # fmt: skip
    head = ("way", "symbols of activations, up", "side information, bit", "gradients, down, Mbit", "adapters, Mbit")
    return table(head, rows)


GAINS = {"gain": "words", "index_gain": "index", "memory_gain": "memory", "layers_gain": "layers alone"}
"""Gain of the retrieval study to its column."""


def _retrieval(of: list[Mapping[str, Any]]) -> str:
    rows = []
    for row in of:
        gains = (f"{row[name][0]:+.3f} ± {row[name][1]:.3f}" for name in (*GAINS, "memory_over_layers"))
        weights = (f"{row[name]:g}" for name in ("weight", "memory_weight", "layers_weight"))
        rows.append((
            f"{row['snr_db']:g}", f"{row['store']} ({row['entries']:,})", number(100 * row["wrong"], 1),
            number(row["plain"], 3), "" if row["recall"] is None else number(row["recall"], 2), *gains,
            " / ".join(weights), str(row["index_bits"]),
        ))  # fmt: skip
    head = ("SNR, dB", "store (entries)", "wrong words, %", "BLEU-1 without", "recall@5", *GAINS.values(),
            "memory - layers alone", "weights", "bits of the index")  # fmt: skip
    return table(head, rows)


def _lessons(of: Mapping[str, Any]) -> str:
    curves = of["held_out"]
    rows = [(f"{of['every'] * i:,}", *(number(loss, 3) for loss in losses))
            for i, losses in enumerate(zip(*curves.values(), strict=True))]  # fmt: skip
    return table(("step", "with neighbours", "alone"), rows)


def _curves(curves: Mapping[str, list[Mapping[str, float]]]) -> str:
    rows = []
    for name, curve in curves.items():
        told = [row for row in curve if not row.keys().isdisjoint(LEARNED)]
        for place, row in enumerate(told):
            values = ("" if task not in row else number(UNITS[task][0] * row[task], UNITS[task][2]) for task in LEARNED)
            rows.append((name if place == 0 else "", f"{row['step']:,}", *values))
    return table(("run", "step", *(f"{task}, {UNITS[task][1]}" for task in LEARNED)), rows)


def draw_tasks(results: Mapping[str, Any], out: Path) -> None:
    """Draws ``tasks.png``: each task over SNR, AWGN, with bits and floor."""
    figure = Figure(figsize=(11, 3), layout="constrained")
    measured = results["tasks"]
    for axes, task in zip(figure.subplots(1, len(measured), squeeze=False)[0], measured, strict=True):
        factor, unit, _ = UNITS[task]
        rows = [row for row in measured[task]["rows"] if row["link"] == "awgn"]
        for name in rows[0]["means"]:
            half = [factor * r["differences"][name][1] if name in r["differences"] else 0.0 for r in rows]
            mean = [factor * r["means"][name] for r in rows]
            snr_db = [r["snr_db"] for r in rows]
            axes.errorbar(snr_db, mean, half, fmt="o-", ms=3, capsize=2, color=COLOURS[name], label=name)
        bits = [(r["snr_db"], factor * value) for r in rows if (value := as_bits(results, task, r)) is not None]
        if bits:
            axes.plot(*zip(*bits, strict=True), "k--", label="bits")
        axes.axhline(factor * measured[task]["floor"], color="grey", lw=0.8, label="floor")
        axes.set(xlabel="SNR per receive antenna, dB", ylabel=unit, title=task)
        axes.legend(fontsize=7)
    figure.suptitle("Bars: 95 % intervals of the paired difference from shared", fontsize=9)
    save_png(figure, out / "tasks.png")


def draw_rounds(runs: Mapping[str, Any], out: Path) -> None:
    """Draws ``rounds.png``: accuracy over federated rounds, of each deal of classes and uplink."""
    figure = Figure(figsize=(11, 3.1), layout="constrained")
    for axes, of in zip(figure.subplots(1, len(runs), sharey=True), runs.values(), strict=True):
        for way, told in of["ways"].items():
            accuracy = [100 * value for value in told["accuracy"]]
            axes.plot(range(1, len(accuracy) + 1), accuracy, lw=1, label=way)
        axes.axhline(10, color="grey", lw=0.8)
        axes.set(xlabel="round", title=f"{of['classes']}, {of['link']}")
        axes.set_xticks((1, 5, 10, 15, 20))
    figure.axes[0].set_ylabel("accuracy, %")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=8)
    save_png(figure, out / "rounds.png")


def draw(results: Mapping[str, Any], out: Path) -> None:
    """Draws ``figure.png``, compression and what retrieval gains over SNR; ``tasks.png``; and ``rounds.png``."""
    draw_rounds(results["federated"], out)
    if "tasks" in results:
        draw_tasks(results, out)
    figure = Figure(figsize=(13, 3.4), layout="constrained")
    *of_networks, gains = figure.subplots(1, len(results["compression"]) + 1)
    for axes, (network, of) in zip(of_networks, results["compression"].items(), strict=True):
        _, factor, unit, _ = NETWORKS[network]
        rows = of["rows"]
        ratios = {row["name"]: (rows[0]["size"] / row["size"], factor * row["metric"]) for row in rows}
        for method in ("share", "bits", "rank"):
            of_method = [at for name, at in ratios.items() if name.startswith(method)]
            axes.plot(*zip(*of_method, strict=True), "o-", ms=4, label=method)
        axes.plot(*zip(*(ratios[device] for device in DEVICES), strict=True), "k*", ms=9, label="devices")
        axes.axhline(factor * rows[0]["metric"], color="grey", lw=0.8)
        axes.set(xlabel="compression ratio", ylabel=unit, title=network, xscale="log")
        axes.set_xticks((1, 2, 4, 8), ("1", "2", "4", "8"))
        axes.minorticks_off()
        axes.legend(fontsize=7)
    told = results["retrieval"]["captions"]["rows"]
    for store in dict.fromkeys(row["store"] for row in told):
        own = [row for row in told if row["store"] == store]
        snrs_db, colour = [r["snr_db"] for r in own], None
        for name, style in {"gain": "o-", "index_gain": "--", "memory_gain": "^:"}.items():
            label = store if colour is None else None
            (line,) = gains.plot(snrs_db, [r[name][0] for r in own], style, ms=3, color=colour, label=label)
            colour = line.get_color()
    gains.plot(snrs_db, [r["layers_gain"][0] for r in own], "k-.", lw=0.8, label="layers alone")
    gains.set(xlabel="SNR, dB", ylabel="gain in BLEU-1", title="words, index (--), memory (:)")
    gains.legend(fontsize=7)
    save_png(figure, out / "figure.png")


@script(out="folder of the study; the page is beside it")
def main(out: Path = FOLDER) -> None:
    """Fill the page and draw its figure from what was measured."""
    results = read(out)
    draw(results, out)
    fill_file(out.with_suffix(".md"), tables(results))


if __name__ == "__main__":
    sys.exit(main())
