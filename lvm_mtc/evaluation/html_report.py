"""One HTML file from a result store alone: figures, a viewer of pictures, points, and where they come from."""

import base64
import hashlib
import html
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lvm_mtc
from lvm_mtc.evaluation.figures import CONVENTION_LABELS, svg_of
from lvm_mtc.evaluation.files import OutputError, atomic_file
from lvm_mtc.evaluation.html_report_page import POLICY, SCRIPT, STYLE, VIEWER
from lvm_mtc.evaluation.html_report_viewer import viewer_sets
from lvm_mtc.evaluation.points import Point, Sweep, flatten
from lvm_mtc.evaluation.store import ResultStore
from lvm_mtc.evaluation.store_figures import Figures, make_figures
from lvm_mtc.evaluation.viewer_pictures import ERROR_GAIN


def write_html_report(store: ResultStore, path: str | os.PathLike, *, title: str = "") -> Figures:
    """Writes all that a store tells as one HTML file that needs no network; it appears only when it is complete.

    Args:
        store: The store.
        path: The file; an older one is replaced.
        title: Of the page; empty: the store's name.

    Returns:
        The figures that are in it, and what is missing for the others.

    Raises:
        ValueError: if there are no points.
        StoreError: if the store cannot be read.
        OutputError: if the file cannot be written.
    """
    if Path(path).is_dir():
        raise OutputError(f"{path}: is a folder; name a file")
    figures = make_figures(store)
    sweeps, points = store.sweeps(), store.read()
    title = title or f"Results of {store.path.name}"
    sets = viewer_sets(store)
    parts = [
        f"<h1>{_text(title)}</h1>",
        f"<p>{len(points)} points of {len(sweeps)} sweeps. SNR means "
        f"{_text(' or '.join(sorted({_convention(point) for point in points})))}.</p>",
        *_viewer(sets),
        *_figures(figures),
        "<h2>Points</h2>",
        *(_points(sweep, [point for point in points if point.config_hash == sweep.config_hash]) for sweep in sweeps),
        "<h2>Provenance</h2>",
        _rows({"store": store.path.name, "SHA-256 of the store": hashlib.sha256(store.path.read_bytes()).hexdigest(),
               "report by": f"lvm-mtc {lvm_mtc.__version__}"}),
        *(_provenance(sweep, [point for point in points if point.config_hash == sweep.config_hash])
          for sweep in sweeps),
    ]
    head = (f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
            f'<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
            f"<title>{_text(title)}</title><style>{STYLE}</style>")
    body = "\n".join(parts)
    with atomic_file(path) as temporary:
        temporary.write_text(f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n',
                             encoding="utf-8")
    return figures


def _viewer(sets: Sequence[Mapping[str, Any]]) -> list[str]:
    if not sets:
        return ["<h2>Pictures</h2>", "<p>The store holds no pictures.</p>"]
    # "</" would end the script element wherever it stands.
    data = json.dumps(sets, allow_nan=False).replace("</", "<\\/")
    return [
        "<h2>Pictures</h2>",
        f"<p>Of the first group and the first channel realisation. Error: |received - original| times {ERROR_GAIN:g}. "
        "Compressed for looking at; numbers are those of the points below.</p>",
        VIEWER, f'<script type="application/json" id="viewer-data">{data}</script>', f"<script>{SCRIPT}</script>",
    ]


def _figures(figures: Figures) -> list[str]:
    parts = ["<h2>Figures</h2>"]
    for one in figures.drawn:
        source = base64.b64encode(svg_of(one.figure, one.name)).decode()
        parts.append(f'<figure id="{one.name}"><img alt="{_text(one.title)}. {_text(one.caption)}" '
                     f'src="data:image/svg+xml;base64,{source}"></figure>')
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
        for name in names:
            found = point.metrics.get(name)
            cells.append(_cell(None) if found is None else _cell(
                f"{found.mean:.5g}" + ("" if found.half_width is None else f" ± {found.half_width:.2g}")
                + f" ({found.count})", number=True))
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return (f"<details><summary>Sweep {sweep.config_hash[:12]}: {len(points)} points; mean ± half width of the "
            f'interval (independent units)</summary><div class="scroll"><table><thead><tr>{head}</tr></thead>'
            f"<tbody>{''.join(rows)}</tbody></table></div></details>")


def _provenance(sweep: Sweep, points: Sequence[Point]) -> str:
    facts = {
        "sweep": sweep.config_hash,
        "points": f"{sweep.num_points}, {sweep.first or '-'} to {sweep.last or '-'}",
        "SNR convention": ", ".join(sorted({_convention(point) for point in points})),
        "devices": ", ".join(sorted({point.device for point in points})),
    }
    versions: dict[str, set[str]] = {}
    for point in points:
        for name, version in point.versions.items():
            versions.setdefault(name, set()).add(version)
    facts |= {f"version of {name}": ", ".join(sorted(found)) for name, found in sorted(versions.items())}
    return (f"<details open><summary>Sweep {sweep.config_hash[:12]}</summary>{_rows(facts)}"
            f"<details><summary>Configuration, what the hash is of</summary>{_rows(flatten(sweep.config))}</details>"
            "</details>")


def _rows(facts: Mapping[str, Any]) -> str:
    rows = (f"<tr><th>{_text(name)}</th><td><code>{_text(value if isinstance(value, str) else json.dumps(value))}"
            "</code></td></tr>" for name, value in facts.items())
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
