r"""Writes ``docs/results.md`` with its figures from the result store alone.

    python -m experiments.results.page --store docs/results/results.sqlite --out docs

``results.md`` and the folder ``results`` of figures and their data appear in ``--out``. What stands in the store was
measured by ``measure.py``; a section for which it lacks rows says so.
"""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from experiments.results.measure import MEASUREMENTS
from experiments.results.page_codecs import accuracy_section, csi_section
from experiments.results.page_masking import mask_prob_section, snr_section
from experiments.results.page_sharing import sharing_section
from experiments.results.parts import Drawing, Section
from experiments.script import STORE, script
from lvm_mtc.report.figures import CONVENTION_LABELS
from lvm_mtc.report.pages import table
from lvm_mtc.report.select import Missing
from lvm_mtc.results.files import atomic_file
from lvm_mtc.results.points import Sweep
from lvm_mtc.results.store import ResultStore
from lvm_mtc.sweep.paired import find_sweep

SECTIONS: dict[str, Callable[[ResultStore], Section]] = {
    "Object first against uniform masking": snr_section,
    "P_r": mask_prob_section,
    "Token sharing": sharing_section,
    "Classification": accuracy_section,
    "CSI error": csi_section,
}
"""Heading to what writes the section below it; it raises ``Missing`` where the store lacks its rows."""

_TOP = """# Results

Everything on this page, but for its words, is written from one result store,
[`results/results.sqlite`](results/results.sqlite), by the second of these commands; the first measures what the
store lacks, with weights that the package brings and a linear codec that it fits. A test writes the page again and
compares.

    python -m experiments.results.measure --data ../shared/data --store docs/results/results.sqlite
    python -m experiments.results.page --store docs/results/results.sqlite --out docs

`lvm-mtc results` reads the store too. All intervals are at {level} %, "±" is half of one. "Two-way" intervals are a
bootstrap over pictures and channel realisations, both a sample; the others are Student's over channel realisations and
speak of these pictures only ([sweeps](sweeps.md)). Differences are paired: both sides see the same pictures, channels
and noise, and the interval is that of the difference.

{sweeps}

{facts}"""


def write_page(store: ResultStore) -> tuple[str, list[Drawing]]:
    """The page in Markdown, and the figures that are to be saved in the folder beside it.

    Raises:
        StoreError: if the store cannot be read.
        ValueError: if it holds no points.
    """
    texts, drawings = [_top(store)], []
    for heading, write in SECTIONS.items():
        try:
            section = write(store)
        except Missing as missing:
            section = Section(f"Not measured yet: {missing}.")
        texts.append(f"## {heading}\n\n{section.text}")
        drawings += section.drawings
    return "\n\n".join(texts) + "\n", drawings


def _top(store: ResultStore) -> str:
    known = (find_sweep(store, name) for name in MEASUREMENTS)
    sweeps = [sweep for sweep in known if sweep and sweep.num_points and "pictures" in sweep.config]
    points = [point for sweep in sweeps for point in store.read(sweep.config_hash)]
    if not points:
        raise ValueError(f"{store.path}: holds no points to show")
    names = dict.fromkeys(name for point in points for name in point.versions)
    versions = {name: _listed(point.versions[name] for point in points if name in point.versions) for name in names}
    conventions = [f"{CONVENTION_LABELS[name]} (`{name}`)" for name in sorted({p.snr_convention for p in points})]
    facts = (
        f"SNR: {_listed(conventions)}. Device: {_listed(point.device for point in points)}; "
        + ", ".join(f"{name} {version}" for name, version in versions.items()) + ". Seeds of masks and channels: "
        + _listed(str(point.seed) for point in points) + "."
    )  # fmt: skip
    levels = _listed(f"{100 * sweep.config['stopping']['level']:g}" for sweep in sweeps)
    head = ("sweep", "points", "pictures", "box", "channel realisations", "channels", "intervals", "weights (hash)")
    return _TOP.format(level=levels, sweeps=table(head, map(_sweep_row, sweeps)), facts=facts)


def _sweep_row(sweep: Sweep) -> tuple[str, ...]:
    config, about = sweep.config, sweep.config.get("about", {})
    groups = _listed(f"{group['groups']} groups of {k}" if k != "1" else f"{group['groups']}"
                     for k, group in sorted(config["pictures"].items(), key=lambda item: int(item[0])))  # fmt: skip
    links = _listed(f"{link['fading']} {link['num_rx_ant']}x{link['num_tx_ant']}" for link in config["links"].values())
    hashes = _listed(scheme["weights"][:8] for scheme in config["schemes"].values())
    return (f"`{config.get('name', sweep.config_hash[:8])}`", str(sweep.num_points),
            f"{groups}: {about.get('pictures', '-')}", about.get("box", "-"), str(config["stopping"]["max_units"]),
            links, "two-way" if config["random_pictures"] else "Student",
            f"{about.get('weights', '-')} ({hashes})")  # fmt: skip


def _listed(values: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(values))


@script(store="the result store", out="folder of results.md and results/")
def main(store: Path = STORE, out: Path = Path("docs")) -> None:
    """Write docs/results.md from the result store."""
    with ResultStore(store, create=False) as results:
        page, drawings = write_page(results)
    folder = out / "results"
    folder.mkdir(parents=True, exist_ok=True)
    for drawing in drawings:
        drawing.save(folder)
    with atomic_file(out / "results.md") as temporary:
        temporary.write_text(page)


if __name__ == "__main__":
    sys.exit(main())
