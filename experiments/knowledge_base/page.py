"""The page about the knowledge base: tables and figure drawn from ``results.json``, and its rows as stored points."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from experiments.knowledge_base.object_psnr import ANNOTATED, CONVENTION
from lvm_mtc.report.figures import save_png
from lvm_mtc.report.pages import channel_name, table, with_interval
from lvm_mtc.results.points import Measured, Point
from lvm_mtc.results.store import ResultStore

METRICS = ("psnr_inside_db", "minus_annotated_db")
RECALL_BOUND, LOC_BOUND, PSNR_BOUND_DB = 0.75, 0.75, -0.7


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Markdown tables by the name of their place."""
    scores = ("ap50", "recall_at_10", "top_box")
    return {
        "facts": _facts(results),
        "bounds": _bounds(results),
        "detectors": table(
            ("detector", "input, pixels", "AP50", "recall@10", "best box"),
            [(row["detector"], row["input_size"] or "-", *(_share(row[key]) for key in scores))
             for row in results["detectors"]],
        ),
        "loc": table(("`loc`", "IoU >= 0.5 with an object"), [(r["loc"], _share(r["share"])) for r in results["loc"]]),
        "filters": _filters(results["filters"]),
        "powers": table(
            ("candidates", "power", "IoU", "overlap"),
            [(row["candidates"], f"{row['power']:g}", _share(row["iou"]), _share(row["overlap"]))
             for row in results["powers"]],
        ),
        "size_powers": table(
            ("power of the size", "on an object", "on the largest object"),
            [(f"{row['size_power']:g}", _share(row["any"]), _share(row["largest"])) for row in results["size_powers"]],
        ),
        "margins": _margins(results["margins"]),
        "chain": _chain(results["chain"]),
        "chain_any": _chain(results["chain_any"]),
    }  # fmt: skip


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Draws what the filters choose, and what masks lose inside the object against those of the annotated box."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    rows = [row for row in results["filters"] if "several" in row]
    sources = list(dict.fromkeys(row["candidates"] for row in rows))
    for y, row in enumerate(rows):
        value, low, high = row["several"]["iou"]
        left.errorbar(value, y, xerr=[[value - low], [high - value]], fmt="o", markersize=4,
                      color=f"C{sources.index(row['candidates'])}")  # fmt: skip
    left.set_yticks(range(len(rows)), [f"{row['candidates']}: {row['filter']}" for row in rows], fontsize=8)
    left.invert_yaxis()
    left.set_xlim(-0.02, 1.02)
    left.set_xlabel('"a <class>": share of boxes with IoU >= 0.5 with an object of the class', fontsize=8)
    left.set_title("Goal filters, pictures with several classes", fontsize=9)
    points = list(dict.fromkeys(_channel(row) for row in results["chain"]))
    masks = [name for name in dict.fromkeys(row["masks"] for row in results["chain"]) if name != ANNOTATED]
    for i, name in enumerate(masks):
        of = [row for row in results["chain"] if row["masks"] == name]
        x = [points.index(_channel(row)) + 0.12 * (i - (len(masks) - 1) / 2) for row in of]
        means, halves = zip(*(row["all"]["minus_annotated_db"] for row in of), strict=True)
        right.errorbar(x, means, yerr=halves, fmt="o", markersize=4, color=f"C{i}", label=name)
    right.axhline(0, color="k", linewidth=0.8)
    right.axhline(PSNR_BOUND_DB, color="k", linewidth=0.8, linestyle=":")
    right.set_xticks(range(len(points)), [point.replace(", ", "\n") for point in points], fontsize=8)
    right.set_ylabel("PSNR inside the object, less annotated box (dB)", fontsize=8)
    right.set_title("The masks follow ... (dotted: the bound)", fontsize=9)
    figure.legend(loc="outside lower right", ncols=len(masks), fontsize=7)
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.tick_params(labelsize=8)
    figure.suptitle("95 % intervals: left over resampled pictures, right Student's over pictures", fontsize=9)
    save_png(figure, path)


def store_results(results: Mapping[str, Any], path: Path) -> int:
    """Puts the rows of the chain into a store, from which ``lvm-mtc figures`` draws them; how many were new."""
    config = {"study": "knowledge_base", "object": "largest"}
    config |= {name: results[name] for name in ("detector", "input_size", "pictures", "seed")}
    with ResultStore(path) as store:
        return store.add(_points(results, store.register(config)))


def _points(results: Mapping[str, Any], key: str) -> Iterator[Point]:
    for row in results["chain"]:
        of_all, guided = row["all"], row["masks"] != "uniform"
        at = {"channel": row["fading"], "num_uavs": 1, "csi_error_var": 0.0, "snr_db": row["snr_db"],
              "scheme": "object first" if guided else "uniform masking",
              "knowledge_base": row["masks"] if guided else "none"}  # fmt: skip
        yield Point(
            config_hash=key, coordinates=at, seed=results["seed"], snr_convention=CONVENTION, snr_db=row["snr_db"],
            metrics={name: Measured(*of_all[name], of_all["pictures"]) for name in METRICS},
            ledger={"channel_uses": row["channel_uses"]},
        )  # fmt: skip


def _facts(results: Mapping[str, Any]) -> str:
    queries = results["filters"][0]
    several = queries.get("several", {"queries": 0})
    return (
        f"{results['detector']} at {results['input_size']} pixels; {results['pictures']} pictures with "
        f"{results['objects']} objects; {queries['all']['queries']} queries, {several['queries']} of them in pictures "
        f"with several classes; {results['chain'][0]['channel_uses']:g} channel uses a picture, whatever the masks."
    )


def _bounds(results: Mapping[str, Any]) -> str:
    name = results["detector"]
    recall = next(row["recall_at_10"] for row in results["detectors"] if row["detector"] == name)
    loc = next(row["share"] for row in results["loc"] if row["loc"].startswith(name))
    rows = [
        (f"recall@10 of {name}", f"{RECALL_BOUND:g} or more", _share(recall), _met(recall[0] >= RECALL_BOUND)),
        ("`loc` of the score filter on an object", f"{LOC_BOUND:g} or more", _share(loc), _met(loc[0] >= LOC_BOUND)),
    ]
    # Without a text every object is a right answer; with one, it is the object that the text names.
    for key, which in (("chain_any", "score filter"), ("chain", "classifier-words")):
        for row in results[key]:
            if row["masks"].startswith(f"{name}, {which}"):
                less = row["all"]["minus_annotated_db"]
                what = f"PSNR inside the object less that with its annotated box, dB: {row['masks']}, {_channel(row)}"
                rows.append((what, f"{PSNR_BOUND_DB:g} or more", with_interval(less), _met(less[0] >= PSNR_BOUND_DB)))
    return table(("what", "bound", "measured", "met"), rows)


def _filters(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for row in rows:
        cells = [_share(row[group][part]) if group in row else "-" for group in ("all", "several")
                 for part in ("iou", "overlap")]  # fmt: skip
        lines.append((row["candidates"], row["filter"], *cells))
    if not any(row["filter"] == "clip" for row in rows):
        lines.append(("any", "clip", "not measured: needs weights", "", "", ""))
    columns = [f"{queries}: {what}" for queries in ("all queries", "several classes") for what in ("IoU", "overlap")]
    return table(("candidates", "filter", *columns), lines)


def _margins(rows: Sequence[Mapping[str, Any]]) -> str:
    channels = list(dict.fromkeys(_channel(row) for row in rows))
    losses = {(row["margin"], _channel(row)): with_interval(row["all"]["minus_annotated_db"]) for row in rows}
    margins = dict.fromkeys(row["margin"] for row in rows)
    return table(("margin", *channels), [(f"{m:g}", *(losses[m, channel] for channel in channels)) for m in margins])


def _chain(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for row in rows:
        on = _share(row["on_object"]) if "on_object" in row else "-"
        less = [with_interval(row[of]["minus_annotated_db"]) if of in row else "-" for of in ("all", "alone", "on")]
        if row["masks"] == "uniform":
            less[-1] = "-"
        lines.append((_channel(row), row["masks"], on, with_interval(row["all"]["psnr_inside_db"]), *less))
    columns = ("all pictures", "one object", "on the object")
    return table(("channel", "masks follow", "on the object", "PSNR inside, dB",
                   *(f"less annotated, dB: {name}" for name in columns)), lines)  # fmt: skip


def _share(estimate: Sequence[float]) -> str:
    value, low, high = estimate
    return f"{value:.3f} ({low:.2f} to {high:.2f})"


def _channel(row: Mapping[str, Any]) -> str:
    return f"{channel_name(row['fading'])}, {row['snr_db']:g} dB"


def _met(value: bool) -> str:
    return "yes" if value else "**no**"
