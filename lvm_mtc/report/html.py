"""One HTML file from a result store alone: figures, a viewer of pictures, points, and where they come from."""

import base64
import hashlib
import html
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import lvm_mtc
from lvm_mtc.report.figures import CONVENTION_LABELS, svg_of
from lvm_mtc.report.html_page import POLICY, SCRIPT, STYLE, VIEWER
from lvm_mtc.report.html_viewer import viewer_sets
from lvm_mtc.report.store_figures import Figures, make_figures
from lvm_mtc.report.viewer_pictures import ERROR_GAIN
from lvm_mtc.results.files import atomic_file
from lvm_mtc.results.points import Measured, Point, Sweep, flatten
from lvm_mtc.results.store import ResultStore


def write_html_report(store: ResultStore, path: str | os.PathLike, *, title: str = "") -> Figures:
    """Writes all that a store tells as one HTML file that needs no network; it appears only when it is complete.

    Args:
        path: The file; an older one is replaced.
        title: Of the page; empty: the store's name.

    Returns:
        The figures that are in it, and what is missing for the others.
    """
    figures, digest = make_figures(store), hashlib.sha256(store.path.read_bytes()).hexdigest()
    points = store.read()
    sweeps = [(sweep, store.read(sweep.config_hash)) for sweep in store.sweeps()]
    title, program = title or f"Results of {store.path.name}", f"lvm-mtc {lvm_mtc.__version__}"
    parts = [
        f"<h1>{_text(title)}</h1>",
        f"<p>{len(points)} points of {len(sweeps)} sweeps. SNR means "
        f"{_text(' or '.join(sorted({_convention(point) for point in points})))}.</p>",
        *_viewer(viewer_sets(store)),
        *_figures(figures),
        "<h2>Points</h2>",
        *(_points(*of_sweep) for of_sweep in sweeps),
        "<h2>Provenance</h2>",
        _rows({"store": store.path.name, "SHA-256 of the store": digest, "report by": program}),
        *(_provenance(*of_sweep) for of_sweep in sweeps),
    ]
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        f"<title>{_text(title)}</title><style>{STYLE}</style>"
    )
    lines = ("<!doctype html>", f'<html lang="en"><head>{head}</head>', "<body>", *parts, "</body></html>\n")
    with atomic_file(path) as temporary:
        temporary.write_text("\n".join(lines), encoding="utf-8")
    return figures


def _viewer(sets: Sequence[Mapping[str, Any]]) -> list[str]:
    if not sets:
        return ["<h2>Pictures</h2>", "<p>The store holds no pictures.</p>"]
    # "</" would end the script element wherever it stands.
    data = json.dumps(sets, allow_nan=False).replace("</", "<\\/")
    return [
        "<h2>Pictures</h2>",
        f"<p>Of the first group and the first channel realisation, or as the sweep's name says. Error: |received - "
        f"original| times {ERROR_GAIN:g}. Compressed for looking at; numbers are those of the points below.</p>",
        VIEWER,
        f'<script type="application/json" id="viewer-data">{data}</script>',
        f"<script>{SCRIPT}</script>",
    ]


def _figures(figures: Figures) -> list[str]:
    parts = ["<h2>Figures</h2>"]
    for drawing in figures.drawn:
        source = base64.b64encode(svg_of(drawing.figure, drawing.name)).decode()
        parts.append(
            f'<figure id="{drawing.name}"><img alt="{_text(drawing.title)}. {_text(drawing.caption)}" '
            f'src="data:image/svg+xml;base64,{source}"></figure>'
        )
    if figures.skipped:
        parts.append(f"<p>Not drawn:</p><ul>{''.join(f'<li>{_text(line)}</li>' for line in figures.skipped)}</ul>")
    return parts


def _points(sweep: Sweep, points: Sequence[Point]) -> str:
    axes = list(dict.fromkeys(axis for point in points for axis in point.coordinates))
    names = list(dict.fromkeys(name for point in points for name in point.metrics))
    head = "".join(f"<th>{_text(name)}</th>" for name in (*axes, "realised SNR, dB", *names))
    rows = []
    for point in points:
        cells = [_cell(point.coordinates.get(axis)) for axis in axes]
        cells.append(_cell(None if point.realised_snr_db is None else round(point.realised_snr_db, 3)))
        cells += [_measured(point.metrics.get(name)) for name in names]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f"<details><summary>Sweep {_name(sweep)}: {len(points)} points; mean ± half width of the "
        f'interval (independent units)</summary><div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></details>"
    )


def _measured(measured: Measured | None) -> str:
    if measured is None:
        return _cell(None)
    return _cell(f"{measured.text('.5g', '.2g')} ({measured.count})", number=True)


def _provenance(sweep: Sweep, points: Sequence[Point]) -> str:
    facts = {
        "sweep": sweep.config_hash,
        "points": f"{sweep.num_points}, {sweep.first or '-'} to {sweep.last or '-'}",
        "SNR convention": ", ".join(sorted({_convention(point) for point in points})),
        "devices": ", ".join(sorted({point.device for point in points})),
    }
    for name in sorted({name for point in points for name in point.versions}):
        known = {point.versions[name] for point in points if name in point.versions}
        facts[f"version of {name}"] = ", ".join(sorted(known))
    return (
        f"<details open><summary>Sweep {_name(sweep)}</summary>{_rows(facts)}"
        f"<details><summary>Configuration, what the hash is of</summary>{_rows(flatten(sweep.config))}</details>"
        "</details>"
    )


def _name(sweep: Sweep) -> str:
    return _text(sweep.config.get("name") or sweep.config_hash[:12])


def _rows(facts: Mapping[str, Any]) -> str:
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in facts.items()}
    rows = (f"<tr><th>{_text(name)}</th><td><code>{_text(text)}</code></td></tr>" for name, text in texts.items())
    return f"<table>{''.join(rows)}</table>"


def _cell(value: Any, *, number: bool = False) -> str:
    number = number or (isinstance(value, (int, float)) and not isinstance(value, bool))
    text = "-" if value is None else str(value)
    return f"<td{' class=number' if number else ''}>{_text(text)}</td>"


def _convention(point: Point) -> str:
    label = CONVENTION_LABELS.get(point.snr_convention)
    return point.snr_convention if label is None else f"{label} ({point.snr_convention})"


def _text(text: Any) -> str:
    return html.escape(str(text))
