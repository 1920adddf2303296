"""The page about token sharing: figures and tables drawn from ``results.json``."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lvm_mtc.report.figures import save_png
from lvm_mtc.report.pages import number, table
from lvm_mtc.results.files import atomic_file

COLOURS = {"intensity": "C3", "cosine": "C0", "learned": "C2", "fewer tokens": "k"}
LINES = {"index": "-", "sorted": "--", "position": ":"}
_RULE, _MERGE = ("groups", "comparator", "alignment"), ("wrong merges", "RMS distance", "token cosine")


def draw(results: Mapping[str, Any], folder: Path) -> None:
    """Draws saving against K, PSNR against channel uses, and the wrong merges at equal savings; writes the curves."""
    _draw_savings(results, folder / "saving.png")
    _draw_curves(results, folder / "rate_distortion.png")
    _draw_wrong(results, folder / "wrong_merges.png")
    lists = ("epsilon", "channel_uses", "side_bits", "psnr_db")
    with atomic_file(folder / "rate_distortion.csv") as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_RULE + lists)
        for curve in results["curves"]:
            points = zip(*(curve[name] for name in lists), strict=True)
            writer.writerows([*_rule(curve), *point] for point in points)


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Markdown tables by the name of their place."""
    tuned = results.get("tuned")
    steps = f"; fine-tuning: {tuned['steps']} steps, rate weight {tuned['rate_weight']:g}" if tuned else ""
    facts = (
        f"{results['groups']} groups of each kind; {results['num_kept']} of 144 patches kept, "
        f"{results['num_symbols']} symbols a token; shipped weights, seed {results['seed']}{steps}."
    )
    losses = {_rule(row): row["psnr_db"][0] - row["psnr_db"][1] for row in results["curves"] if len(row["psnr_db"]) > 1}
    paper, equal = [], []
    for row in results["merges"]:
        if row["comparator"] != "learned":
            merged = row["at_0.1"]  # as is the second point of a curve
            paper.append((*_rule(row), f"{100 * row['saving_at_0.1']:.1f} %", merged["slots"] if merged else 0,
                          *_merge(merged), number(losses[_rule(row)]) if merged else "-"))  # fmt: skip
    of_tuned = [row | {"comparator": f"{row['comparator']}, tuned"} for row in (tuned or {}).get("merges", ())]
    for row in (*results["merges"], *of_tuned):
        at = row["at_saving"]["0.1"]
        equal.append((*_rule(row), f"{at['epsilon']:.3g}" if at else "-", *_merge(at)))
    return {
        "facts": facts,
        "paper": table((*_RULE, "saving", "slots", *_MERGE, "PSNR lost, dB"), paper),
        "equal": table((*_RULE, "epsilon", *_MERGE), equal),
        "cost": _cost(results),
        "tuned": _tuned(results),
    }


def _kinds(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["groups"] for row in rows))


def _of_kind(rows: Sequence[Mapping[str, Any]], kind: str) -> list[Mapping[str, Any]]:
    return [row for row in rows if row["groups"] == kind]


def _label(axes: Axes, *, title: str = "", x_label: str = "", y_label: str = "") -> None:
    axes.set_title(title, fontsize=9)
    axes.set_xlabel(x_label, fontsize=9)
    axes.set_ylabel(y_label, fontsize=9)
    axes.grid(alpha=0.3)


def _finish(figure: Figure, axes: Axes, title: str, path: Path, columns: int = 5) -> None:
    entries = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(entries.values(), entries, loc="outside lower center", ncols=columns, fontsize=8)
    figure.suptitle(title, fontsize=10)
    save_png(figure, path)


def _draw_savings(results: Mapping[str, Any], path: Path) -> None:
    rows = [row for row in results["savings"] if row["alignment"] == "index"]
    kinds, comparators = _kinds(rows), list(dict.fromkeys(row["comparator"] for row in rows))
    figure = Figure(figsize=(11, 3 * len(comparators)), layout="constrained")
    grid = figure.subplots(len(comparators), len(kinds), sharex=True, sharey=True, squeeze=False)
    for i, comparator in enumerate(comparators):
        for j, kind in enumerate(kinds):
            of = [row for row in _of_kind(rows, kind) if row["comparator"] == comparator]
            for e, epsilon in enumerate(results["epsilons"]):
                grid[i, j].plot([row["num_uavs"] for row in of], [100 * row["saving"][e] for row in of], "o-",
                                markersize=3, color=f"C{e}", label=f"epsilon {epsilon:g}")  # fmt: skip
            _label(grid[i, j], title=kind if i == 0 else "", x_label="UAVs, K" if i == len(grid) - 1 else "",
                   y_label=f"{comparator}: saving (%)" if j == 0 else "")  # fmt: skip
    title = "Channel uses saved by sharing, alignment index"
    _finish(figure, grid[0, 0], title, path, len(results["epsilons"]))


def _draw_curves(results: Mapping[str, Any], path: Path) -> None:
    kinds = _kinds(results["curves"])
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    panels = figure.subplots(1, len(kinds), squeeze=False)[0]

    def plot(axes: Axes, row: Mapping[str, Any], style: str, label: str, order=slice(None), **options: Any) -> None:
        options = {"markersize": 3} | options
        axes.plot(total_uses(row)[order], np.array(row["psnr_db"])[order], style, label=label, **options)

    for axes, kind in zip(panels, kinds, strict=True):
        of = _of_kind(results["curves"], kind)
        for row in of:
            if row["comparator"] != "fewer tokens":
                plot(axes, row, LINES[row["alignment"]], f"{row['comparator']}, {row['alignment']}",
                     np.argsort(row["channel_uses"]), marker="o", markersize=2.5,
                     color=COLOURS[row["comparator"]])  # fmt: skip
        if "tuned" in results:
            tuned = _of_kind(results["tuned"]["curves"], kind)
            plot(axes, tuned[0], "-^", "learned, index, tuned", color="C1")
            plot(axes, fewer_tokens(tuned, kind), "-s", "fewer tokens, tuned", color="0.6")
        plot(axes, fewer_tokens(of, kind), "k-s", "no sharing, fewer tokens kept")
        _label(axes, title=kind, x_label="channel uses a picture, with side information",
               y_label="PSNR (dB)" if axes is panels[0] else "")  # fmt: skip
    title = (
        f"{results['num_uavs']} UAVs, Rayleigh 4x4, {results['snr_db']:g} dB; shipped weights, but for the "
        "curves 'tuned'; at its right end a rule shares nothing"
    )
    _finish(figure, panels[0], title, path)


def _draw_wrong(results: Mapping[str, Any], path: Path) -> None:
    rows = results["merges"]
    kinds, names = _kinds(rows), list(rows[0]["at_saving"])
    figure = Figure(figsize=(12, 7), layout="constrained")
    grid = figure.subplots(2, len(kinds), sharex=True, sharey="row", squeeze=False)
    measures = {"wrong": (100, "wrong merges (%)"), "rms": (1, "RMS distance of patches to their mean")}
    for column, kind in zip(grid.T, kinds, strict=True):
        for axes, (name, (factor, y_label)) in zip(column, measures.items(), strict=True):
            for row in _of_kind(rows, kind):
                at = {100 * float(saving): row["at_saving"][saving] for saving in names if row["at_saving"][saving]}
                axes.plot(list(at), [factor * merged[name] for merged in at.values()], LINES[row["alignment"]],
                          marker="o", markersize=3, color=COLOURS[row["comparator"]],
                          label=f"{row['comparator']}, {row['alignment']}")  # fmt: skip
            _label(axes, title=kind if name == "wrong" else "", y_label=y_label if kind == kinds[0] else "",
                   x_label="saved token transmissions (%)" if name == "rms" else "")  # fmt: skip
    title = f"Merged patches, at equal savings; wrong: further from their mean than an MSE of {results['wrong_mse']:g}"
    _finish(figure, grid[0, 0], title, path)


def _rule(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["groups"], row["comparator"], row["alignment"]


def _merge(merged: Mapping[str, Any] | None) -> tuple[str, str, str]:
    if not merged:
        return "-", "-", "-"
    return f"{100 * merged['wrong']:.0f} %", f"{merged['rms']:.3f}", f"{merged['cosine']:.2f}"


def _cost(results: Mapping[str, Any]) -> str:
    kinds = _kinds(results["curves"])
    lines: dict[tuple[str, str], list[str]] = {}
    for row in results["curves"]:
        if row["comparator"] != "fewer tokens":
            lines.setdefault((row["comparator"], row["alignment"]), []).append(loss_at(row, 0.1))

    def fewer(curves):
        return [loss_at(fewer_tokens(curves, kind), 0.1) for kind in kinds]

    rows = [(*rule, *cells) for rule, cells in lines.items()] + [("fewer tokens kept", "-", *fewer(results["curves"]))]
    if "tuned" in results:
        tuned = results["tuned"]["curves"]
        rows.append(("learned, tuned", "index", *(loss_at(_of_kind(tuned, kind)[0], 0.1) for kind in kinds)))
        rows.append(("fewer tokens, tuned", "-", *fewer(tuned)))
    return table(("comparator", "alignment", *kinds), rows)


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
    return table(("groups", *(f"epsilon {epsilon:g}" for epsilon in results["epsilons"])), rows)


def total_uses(curve: Mapping[str, Sequence[float]]) -> np.ndarray:
    """Channel uses a picture with those of the side information, at one bit each."""
    return np.array(curve["channel_uses"]) + np.array(curve["side_bits"])


def fewer_tokens(curves: Sequence[Mapping[str, Any]], kind: str) -> dict[str, list[float]]:
    """What sharing competes with: nothing is shared, and fewer tokens are kept."""
    of = _of_kind(curves, kind)
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
