"""The page about multimodal tokens: tables and figure, from ``results.json``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lvm_mtc.report.figures import save_png
from lvm_mtc.report.pages import channel_name, number, table, with_interval

CALLED = {"two_stage": "alignment, then task", "one_stage": "task alone", "picture": "picture alone",
          "question": "question alone"}  # fmt: skip
CONTROLS, CONTROLS_AT = ("picture", "question"), ("awgn", 20, 0)


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Markdown tables by the name of their place."""
    return {"facts": _facts(results), "controls": _controls(results), "links": _links(results["links"]),
            "losses": _losses(results["losses"]), "allocations": _allocations(results["allocations"]),
            "budgets": _budgets(results["budgets"]), "realised": _realised(results["realised"])}  # fmt: skip


def _find(rows: list[Mapping[str, Any]], run: str, *at: Any) -> Mapping[str, Any]:
    return next(row for row in rows if (row["run"], row["fading"], row["snr_db"], row["log2_window"]) == (run, *at))


def _facts(results: Mapping[str, Any]) -> str:
    gains = [row["over_one_stage"] for row in results["links"] if row["run"] == "two_stage"]
    better, worse = (sum(sign * mean > half for mean, half in gains) for sign in (1, -1))
    return (
        f'{results["questions"]} questions about {results["pictures"]} held-out pictures, half of them "yes". Of '
        f"{len(gains)} points over both channels, SNRs and lengths, alignment before the task is better at {better}, "
        f"worse at {worse}, undecided at {len(gains) - better - worse}; mean difference "
        f"{number(100 * float(np.mean([mean for mean, _ in gains])), 1)} percent points."
    )


def _controls(results: Mapping[str, Any]) -> str:
    rows = [(CALLED[run], with_interval(_find(results["links"], run, *CONTROLS_AT)["accuracy"], 3)) for run in CALLED]
    rows.append(("features by least squares, no link", with_interval(results["least_squares"], 3)))
    return table(("what is read", "accuracy, AWGN, 20 dB, every token"), rows)


def _links(rows: list[Mapping[str, Any]]) -> str:
    points = [(row["fading"], row["snr_db"], row["log2_window"]) for row in rows if row["run"] == "two_stage"]
    lines = []
    for fading, snr_db, log2_window in points:
        two, one = (_find(rows, run, fading, snr_db, log2_window) for run in ("two_stage", "one_stage"))
        lines.append((channel_name(fading), f"{snr_db}", f"{2**log2_window}", with_interval(two["accuracy"], 3),
                      with_interval(one["accuracy"], 3), with_interval(two["over_one_stage"], 3)))  # fmt: skip
    return table(("channel", "SNR, dB", "window", CALLED["two_stage"], CALLED["one_stage"], "difference"), lines)


def _losses(rows: list[Mapping[str, Any]]) -> str:
    tasks, lengths = dict.fromkeys(row["task"] for row in rows), sorted({row["length"] for row in rows})
    counts = {row["task"]: row["questions"] for row in rows}
    at = {(row["task"], row["length"]): row for row in rows}
    return table(("tokens", *(f"{task} ({counts[task]} questions)" for task in tasks)),
                 [(f"{length}", *(f"{with_interval(at[task, length]['loss'], 3)}; {at[task, length]['accuracy']:.3f}"
                                  for task in tasks)) for length in lengths])  # fmt: skip


def _allocations(rows: list[Mapping[str, Any]]) -> str:
    lines = []
    for weight in dict.fromkeys(row["weight"] for row in rows):
        own = [row for row in rows if row["weight"] == weight]
        ratios = np.array([row["allocated"]["objective"] / row["equal"]["objective"] for row in own])
        cells = (number(1e3 * float(np.mean([row[name]["latency"] for row in own])), 1) if part == "latency" else
                 number(float(np.mean([row[name]["loss"] for row in own])), 3)
                 for part in ("latency", "loss") for name in ("equal", "allocated"))  # fmt: skip
        lines.append((f"{weight:g}", f"{sum(row['monotone'] for row in own)} of {len(own)}",
                      f"{int((ratios <= 1 + 1e-12).sum())} of {len(own)}", f"{100 * (ratios.mean() - 1):.1f} %",
                      *cells))  # fmt: skip
    head = ("eta", "history never rises", "never above equal shares", "mean change of the objective",
            "latencies equal, ms", "allocated, ms", "losses equal", "allocated")  # fmt: skip
    return table(head, lines)


def _above(row: Mapping[str, Any]) -> dict[str, float]:
    """How far each other rule's mean objective is above the optimiser's, percent."""
    least, *_ = row["objective"].values()
    return {name: 100 * (value / least - 1) for name, value in row["objective"].items() if name != "optimised"}


def _budgets(rows: list[Mapping[str, Any]]) -> str:
    names = {"bandwidth": "bandwidth, times 1 MHz", "power": "power, times 0.5 W", "weight": "eta"}
    return table(("over", "value", "objective, optimised", *(f"{name}, % above" for name in _above(rows[0]))),
                 [(names[row["axis"]], f"{row['value']:g}", number(row["objective"]["optimised"], 3),
                   *(number(value, 1) for value in _above(row).values())) for row in rows])  # fmt: skip


def _realised(rows: list[Mapping[str, Any]]) -> str:
    head = ("task", "tokens", "bandwidth, kHz", "power, mW", "SNR, dB", "QAM", "code rate", "questions", "delivered",
            "transmissions", "latency by Shannon, ms", "by LDPC, ms", "ratio", "accuracy",
            "against error-free bits")  # fmt: skip
    return table(head, [
        (row["task"], f"{row['tokens']}", number(row["bandwidth_hz"] / 1e3, 0), number(1e3 * row["power_w"], 0),
         number(row["snr_db"], 1), f"{2 ** row['bits_per_symbol']}", number(row["rate"]), f"{row['questions']}",
         number(row["delivered"]), number(row["transmissions"]),
         *(number(1e3 * row[uses] / row["bandwidth_hz"], 1) for uses in ("uses_by_shannon", "uses")),
         number(row["uses"] / row["uses_by_shannon"]), with_interval(row["accuracy"], 3),
         with_interval(row["under_error_free"], 3)) for row in rows
    ])  # fmt: skip


def _draw_budgets(rows: list[Mapping[str, Any]], out: Path) -> None:
    """``budgets.png``: objectives of simpler rules above the optimiser's, over budgets and the weight of latency."""
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    names = {"bandwidth": "bandwidth, MHz", "power": "power, times 0.5 W", "weight": "weight of latency, eta"}
    for axes, (axis, label) in zip(figure.subplots(1, 3, sharey=True), names.items(), strict=True):
        own = [row for row in rows if row["axis"] == axis]
        for i, name in enumerate(_above(own[0])):
            axes.plot([row["value"] for row in own], [_above(row)[name] for row in own], marker="osv^D<>"[i],
                      markersize=3, linewidth=1, label=name)  # fmt: skip
        axes.set_xscale("log")
        axes.set_xticks([row["value"] for row in own], [f"{row['value']:g}" for row in own])
        axes.minorticks_off()
        axes.set_yscale("symlog", linthresh=0.1)
        axes.set_yticks([0, 0.1, 1, 10, 100], ["0", "0.1", "1", "10", "100"])
        axes.set_xlabel(label, fontsize=8)
        axes.grid(alpha=0.3)
        axes.tick_params(labelsize=8)
        axes.set_ylim(0, 100)
    figure.axes[0].set_ylabel("objective above the optimiser's, %", fontsize=8)
    figure.axes[0].legend(fontsize=6)
    save_png(figure, out / "budgets.png")


def draw(results: Mapping[str, Any], out: Path) -> None:
    """Draws ``figure.png``, accuracy over SNR and over length and the losses over length, and ``budgets.png``."""
    _draw_budgets(results["budgets"], out)
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    over_snr, over_window, loss = figure.subplots(1, 3)
    for i, fading in enumerate(("awgn", "rayleigh")):
        for run, line in (("two_stage", "-"), ("one_stage", "--")):
            own = [row for row in results["links"] if (row["run"], row["fading"]) == (run, fading)]
            for axes, x, fixed, value in ((over_snr, "snr_db", "log2_window", 2),
                                          (over_window, "log2_window", "snr_db", 5)):  # fmt: skip
                rows = [row for row in own if row[fixed] == value]
                means, halves = zip(*(row["accuracy"] for row in rows), strict=True)
                at = [2 ** row[x] if x == "log2_window" else row[x] for row in rows]
                axes.errorbar(at, means, yerr=halves, linestyle=line, marker="os"[i], markersize=3, linewidth=1,
                              color=f"C{i}", label=f"{channel_name(fading)}, {CALLED[run]}")  # fmt: skip
    for task in dict.fromkeys(row["task"] for row in results["losses"]):
        rows = [row for row in results["losses"] if row["task"] == task]
        means, halves = zip(*(row["loss"] for row in rows), strict=True)
        loss.errorbar([row["length"] for row in rows], means, yerr=halves, marker="o", markersize=3, linewidth=1,
                      label=task)  # fmt: skip
    for axes, x, y in ((over_snr, "SNR (dB), windows of 4", "accuracy"), (over_window, "window, 5 dB", "accuracy"),
                       (loss, "tokens", "cross-entropy, error-free bits")):  # fmt: skip
        axes.set_xlabel(x, fontsize=8)
        axes.set_ylabel(y, fontsize=8)
        axes.legend(fontsize=6)
        axes.grid(alpha=0.3)
        axes.tick_params(labelsize=8)
    for axes in (over_window, loss):
        axes.set_xscale("log", base=2)
    figure.suptitle("Bars: 95 % Student's intervals over fours of questions (right: over questions)", fontsize=9)
    save_png(figure, out / "figure.png")
