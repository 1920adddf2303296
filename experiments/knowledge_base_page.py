"""The page about the knowledge base: tables and figure drawn from ``results.json``, and the tables' places filled.

A place on the page begins with ``<!-- table: NAME -->`` and ends with ``<!-- end -->``; what stands between is
replaced, so that page and numbers cannot drift apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from object_psnr import ANNOTATED

from lvm_mtc.evaluation.files import atomic_file

RECALL_BOUND, LOC_BOUND, PSNR_BOUND_DB = 0.75, 0.75, -0.7


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Markdown tables by the name of their place.

    Args:
        results: Content of ``results.json``.
    """
    scores = ("ap50", "recall_at_10", "top_box")
    return {
        "facts": _facts(results),
        "bounds": _bounds(results),
        "detectors": _table(
            ("detector", "input, pixels", "AP50", "recall@10", "best box"),
            [(row["detector"], row["input_size"] or "-", *(_share(row[key]) for key in scores))
             for row in results["detectors"]],
        ),
        "loc": _table(("`loc`", "IoU >= 0.5 with an object"), [(r["loc"], _share(r["share"])) for r in results["loc"]]),
        "filters": _filters(results["filters"]),
        "powers": _powers(results["powers"]),
        "size_powers": _table(
            ("power of the size", "on an object", "on the largest object"),
            [(f"{row['size_power']:g}", _share(row["any"]), _share(row["largest"])) for row in results["size_powers"]],
        ),
        "margins": _margins(results["margins"]),
        "chain": _chain(results["chain"]),
        "chain_any": _chain(results["chain_any"]),
    }  # fmt: skip


def fill_page(page: str, found: Mapping[str, str]) -> str:
    """Puts tables into their places.

    Args:
        page: The page's text.
        found: Tables by name.

    Returns:
        The page.

    Raises:
        ValueError: if the places are not exactly those of the tables, once each.
    """
    names = re.findall(r"<!-- table: (\w+) -->", page)
    if sorted(names) != sorted(found) or page.count("<!-- end -->") != len(names):
        raise ValueError(f"the page has places for {', '.join(sorted(names)) or 'nothing'}; the tables are "
                         f"{', '.join(sorted(found))}")
    pattern = r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)"
    return re.sub(pattern, lambda m: f"{m[1]}{found[m[2]]}\n{m[3]}", page, flags=re.DOTALL)


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Draws what the filters choose, and what masks lose inside the object against those of the annotated box.

    Args:
        results: Content of ``results.json``.
        path: The PNG.
    """
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
    with atomic_file(path) as temporary:
        FigureCanvasAgg(figure).print_png(str(temporary), metadata={"Software": None})


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
                rows.append((what, f"{PSNR_BOUND_DB:g} or more", _decibel(less), _met(less[0] >= PSNR_BOUND_DB)))
    return _table(("what", "bound", "measured", "met"), rows)


def _filters(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for row in rows:
        cells = [_share(row[group][part]) if group in row else "-" for group in ("all", "several")
                 for part in ("iou", "overlap")]  # fmt: skip
        lines.append((row["candidates"], row["filter"], *cells))
    if not any(row["filter"] == "clip" for row in rows):
        lines.append(("any", "clip", "not measured: needs weights", "", "", ""))
    columns = [f"{queries}: {what}" for queries in ("all queries", "several classes") for what in ("IoU", "overlap")]
    return _table(("candidates", "filter", *columns), lines)


def _powers(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [(row["candidates"], f"{row['power']:g}", _share(row["iou"]), _share(row["overlap"])) for row in rows]
    return _table(("candidates", "power", "IoU", "overlap"), lines)


def _margins(rows: Sequence[Mapping[str, Any]]) -> str:
    channels = list(dict.fromkeys(_channel(row) for row in rows))
    found = {(row["margin"], _channel(row)): _decibel(row["all"]["minus_annotated_db"]) for row in rows}
    margins = dict.fromkeys(row["margin"] for row in rows)
    return _table(("margin", *channels), [(f"{m:g}", *(found[m, channel] for channel in channels)) for m in margins])


def _chain(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for row in rows:
        on = _share(row["on_object"]) if "on_object" in row else "-"
        less = [_decibel(row[of]["minus_annotated_db"]) if of in row else "-" for of in ("all", "alone", "on")]
        if row["masks"] == "uniform":
            less[-1] = "-"
        lines.append((_channel(row), row["masks"], on, _decibel(row["all"]["psnr_inside_db"]), *less))
    columns = ("all pictures", "one object", "on the object")
    return _table(("channel", "masks follow", "on the object", "PSNR inside, dB",
                   *(f"less annotated, dB: {name}" for name in columns)), lines)  # fmt: skip


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _share(estimate: Sequence[float]) -> str:
    value, low, high = estimate
    return f"{value:.3f} ({low:.2f} to {high:.2f})"


def _decibel(pair: Sequence[float]) -> str:
    return f"{pair[0]:.2f} ± {pair[1]:.2f}"


def _channel(row: Mapping[str, Any]) -> str:
    return f"{'AWGN' if row['fading'] == 'awgn' else row['fading'].capitalize()}, {row['snr_db']:g} dB"


def _met(value: bool) -> str:
    return "yes" if value else "**no**"
