"""The page about token sharing: figures and tables drawn from ``results.json``."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lvm_mtc.evaluation.files import atomic_file

COLOURS = {"intensity": "C3", "cosine": "C0", "learned": "C2", "fewer tokens": "k"}
LINES = {"index": "-", "sorted": "--", "position": ":"}


def draw(results: Mapping[str, Any], folder: Path) -> None:
    """Draws saving against K, PSNR against channel uses, and the wrong merges at equal savings.

    Args:
        results: Content of ``results.json``.
        folder: Of the PNGs.
    """
    _draw_savings(results, folder / "saving.png")
    _draw_curves(results, folder / "rate_distortion.png")
    _draw_wrong(results, folder / "wrong_merges.png")


def write_csv(curves: list[dict[str, Any]], path: Path) -> None:
    """One row a point of the rate-distortion curves."""
    with atomic_file(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("groups", "comparator", "alignment", "epsilon", "channel_uses", "side_bits", "psnr_db"))
        for curve in curves:
            for i, psnr in enumerate(curve["psnr_db"]):
                writer.writerow((curve["groups"], curve["comparator"], curve["alignment"], curve["epsilon"][i],
                                 curve["channel_uses"][i], curve["side_bits"][i], psnr))  # fmt: skip


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Markdown tables by the name of their place.

    Args:
        results: Content of ``results.json``.
    """
    return {
        "facts": _facts(results),
        "paper": _paper(results),
        "equal": _equal(results),
        "cost": _cost(results),
        "tuned": _tuned(results),
    }


def _kinds(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["groups"] for row in rows))


def _save(figure: Figure, path: Path) -> None:
    with atomic_file(path) as temporary:
        FigureCanvasAgg(figure).print_png(str(temporary), metadata={"Software": None})


def _draw_savings(results: Mapping[str, Any], path: Path) -> None:
    rows = [row for row in results["savings"] if row["alignment"] == "index"]
    kinds, comparators = _kinds(rows), list(dict.fromkeys(row["comparator"] for row in rows))
    figure = Figure(figsize=(11, 3 * len(comparators)), layout="constrained")
    grid = figure.subplots(len(comparators), len(kinds), sharex=True, sharey=True, squeeze=False)
    for i, comparator in enumerate(comparators):
        for j, kind in enumerate(kinds):
            of = [row for row in rows if row["comparator"] == comparator and row["groups"] == kind]
            for e, epsilon in enumerate(results["epsilons"]):
                grid[i, j].plot([row["num_uavs"] for row in of], [100 * row["saving"][e] for row in of], "o-",
                                markersize=3, color=f"C{e}", label=f"epsilon {epsilon:g}")  # fmt: skip
            grid[i, j].grid(alpha=0.3)
            if i == 0:
                grid[i, j].set_title(kind, fontsize=9)
            if j == 0:
                grid[i, j].set_ylabel(f"{comparator}: saving (%)", fontsize=9)
            if i == len(comparators) - 1:
                grid[i, j].set_xlabel("UAVs, K", fontsize=9)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8)
    figure.suptitle("Channel uses saved by sharing, alignment index", fontsize=10)
    _save(figure, path)


def _draw_curves(results: Mapping[str, Any], path: Path) -> None:
    kinds = _kinds(results["curves"])
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    panels = figure.subplots(1, len(kinds), squeeze=False)[0]
    for axes, kind in zip(panels, kinds, strict=True):
        of = [row for row in results["curves"] if row["groups"] == kind]
        for row in of:
            if row["comparator"] != "fewer tokens":
                order = np.argsort(row["channel_uses"])
                x, y = total_uses(row)[order], np.array(row["psnr_db"])[order]
                axes.plot(x, y, LINES[row["alignment"]], marker="o", markersize=2.5, color=COLOURS[row["comparator"]],
                          label=f"{row['comparator']}, {row['alignment']}")  # fmt: skip
        if "tuned" in results:
            (row, *less) = [row for row in results["tuned"]["curves"] if row["groups"] == kind]
            axes.plot(total_uses(row), row["psnr_db"], "-^", markersize=3, color="C1", label="learned, index, tuned")
            less = fewer_tokens([row, *less], kind)
            axes.plot(total_uses(less), less["psnr_db"], "-s", markersize=3, color="0.6", label="fewer tokens, tuned")
        fewer = fewer_tokens(of, kind)
        axes.plot(total_uses(fewer), fewer["psnr_db"], "k-s", markersize=3, label="no sharing, fewer tokens kept")
        axes.set_title(kind, fontsize=9)
        axes.set_xlabel("channel uses a picture, with side information", fontsize=9)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("PSNR (dB)", fontsize=9)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=8)
    figure.suptitle(f"{results['num_uavs']} UAVs, Rayleigh 4x4, {results['snr_db']:g} dB; shipped weights, but for the "
                    "curves 'tuned'; at its right end a rule shares nothing", fontsize=10)  # fmt: skip
    _save(figure, path)


def _draw_wrong(results: Mapping[str, Any], path: Path) -> None:
    rows = results["merges"]
    kinds, names = _kinds(rows), list(rows[0]["at_saving"])
    figure = Figure(figsize=(12, 7), layout="constrained")
    grid = figure.subplots(2, len(kinds), sharex=True, sharey="row", squeeze=False)
    handles = {}
    for (upper, lower), kind in zip(grid.T, kinds, strict=True):
        for row in rows:
            if row["groups"] == kind:
                label, style = f"{row['comparator']}, {row['alignment']}", LINES[row["alignment"]]
                at = {100 * float(name): row["at_saving"][name] for name in names if row["at_saving"][name]}
                for axes, values in ((upper, [100 * one["wrong"] for one in at.values()]),
                                     (lower, [one["rms"] for one in at.values()])):  # fmt: skip
                    (handles[label],) = axes.plot(list(at), values, style, marker="o", markersize=3,
                                                  color=COLOURS[row["comparator"]])  # fmt: skip
        upper.set_title(kind, fontsize=9)
        lower.set_xlabel("saved token transmissions (%)", fontsize=9)
        for axes in (upper, lower):
            axes.grid(alpha=0.3)
    grid[0, 0].set_ylabel("wrong merges (%)", fontsize=9)
    grid[1, 0].set_ylabel("RMS distance of patches to their mean", fontsize=9)
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=5, fontsize=8)
    figure.suptitle("Merged patches, at equal savings; wrong: further from their mean than an MSE of "
                    f"{results['wrong_mse']:g}", fontsize=10)  # fmt: skip
    _save(figure, path)


def _facts(results: Mapping[str, Any]) -> str:
    tuned = results.get("tuned")
    steps = f"; fine-tuning: {tuned['steps']} steps, rate weight {tuned['rate_weight']:g}" if tuned else ""
    return (f"{results['groups']} groups of each kind; {results['num_kept']} of 144 patches kept, "
            f"{results['num_symbols']} symbols a token; shipped weights, seed {results['seed']}{steps}.")


def _paper(results: Mapping[str, Any]) -> str:
    curves = {(row["groups"], row["comparator"], row["alignment"]): row for row in results["curves"]}
    rows = []
    for row in results["merges"]:
        rule = row["groups"], row["comparator"], row["alignment"]
        if row["comparator"] != "learned":
            loss = curves[rule]["psnr_db"][0] - curves[rule]["psnr_db"][1]  # the second point is at epsilon 0.1
            merged = row["at_0.1"]
            rows.append((*rule, f"{100 * row['saving_at_0.1']:.1f} %", str(merged["slots"]) if merged else "0",
                         *_merge(merged), f"{round(loss, 2) + 0.0:.2f}" if merged else "-"))  # fmt: skip
    head = ("groups", "comparator", "alignment", "saving", "slots", "wrong merges", "RMS distance", "token cosine",
            "PSNR lost, dB")  # fmt: skip
    return _table(head, rows)


def _equal(results: Mapping[str, Any]) -> str:
    rows = []
    tuned = [row | {"comparator": f"{row['comparator']}, tuned"} for row in results.get("tuned", {}).get("merges", ())]
    for row in (*results["merges"], *tuned):
        at = row["at_saving"]["0.1"]
        epsilon = f"{at['epsilon']:.3g}" if at else "-"
        rows.append((row["groups"], row["comparator"], row["alignment"], epsilon, *_merge(at)))
    head = ("groups", "comparator", "alignment", "epsilon", "wrong merges", "RMS distance", "token cosine")
    return _table(head, rows)


def _merge(found: Mapping[str, Any] | None) -> tuple[str, str, str]:
    if not found:
        return "-", "-", "-"
    return f"{100 * found['wrong']:.0f} %", f"{found['rms']:.3f}", f"{found['cosine']:.2f}"


def _cost(results: Mapping[str, Any]) -> str:
    kinds = _kinds(results["curves"])
    lines: dict[tuple[str, str], list[str]] = {}
    for row in results["curves"]:
        if row["comparator"] != "fewer tokens":
            lines.setdefault((row["comparator"], row["alignment"]), []).append(loss_at(row, 0.1))
    fewer = [loss_at(fewer_tokens(results["curves"], kind), 0.1) for kind in kinds]
    rows = [(*rule, *cells) for rule, cells in lines.items()] + [("fewer tokens kept", "-", *fewer)]
    if "tuned" in results:
        tuned = results["tuned"]["curves"]
        own = [next(row for row in tuned if row["groups"] == kind) for kind in kinds]
        rows.append(("learned, tuned", "index", *(loss_at(row, 0.1) for row in own)))
        rows.append(("fewer tokens, tuned", "-", *(loss_at(fewer_tokens(tuned, kind), 0.1) for kind in kinds)))
    return _table(("comparator", "alignment", *kinds), rows)


def _tuned(results: Mapping[str, Any]) -> str:
    if "tuned" not in results:
        return "Left out in this run."
    rule = {name: results["tuned"]["merges"][0][name] for name in ("comparator", "alignment")}

    def of(rows):
        return {row["groups"]: row["saving"] for row in rows
                if row["num_uavs"] == results["num_uavs"] and rule.items() <= row.items()}  # fmt: skip

    before, after = of(results["savings"]), of(results["tuned"]["savings"])
    rows = [(kind, *(f"{100 * a:.1f} -> {100 * b:.1f}" for a, b in zip(before[kind], after[kind], strict=True)))
            for kind in before]  # fmt: skip
    return _table(("groups", *(f"epsilon {epsilon:g}" for epsilon in results["epsilons"])), rows)


def total_uses(curve: Mapping[str, Sequence[float]]) -> np.ndarray:
    """Channel uses a picture with those of the side information, at one bit each."""
    return np.array(curve["channel_uses"]) + np.array(curve["side_bits"])


def fewer_tokens(curves: Sequence[Mapping[str, Any]], kind: str) -> dict[str, list[float]]:
    """What sharing competes with: nothing is shared, and fewer tokens are kept."""
    of = [row for row in curves if row["groups"] == kind]
    points = [of[0], *(row for row in of if row["comparator"] == "fewer tokens")]  # the first point shares nothing
    return {name: [row[name][0] for row in points] for name in ("channel_uses", "side_bits", "psnr_db")}


def loss_at(curve: Mapping[str, Sequence[float]], saving: float) -> str:
    """PSNR lost at a saving of channel uses with side information, dB; "-" where the curve doesn't get there.

    The curve's points, the first of which shares nothing, are joined by straight lines.
    """
    uses, psnr = total_uses(curve), np.array(curve["psnr_db"])
    saved, order = 1 - uses / uses[0], np.argsort(-uses)
    if saved.max() < saving:
        return "-"
    return f"{psnr[0] - np.interp(saving, saved[order], psnr[order]):.2f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
