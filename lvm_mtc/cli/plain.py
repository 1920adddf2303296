"""``lvm-mtc transmit`` of what are no pictures: one scheme, as its weights have it, over links."""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from lvm_mtc.cli.command import changed
from lvm_mtc.cli.errors import UsageError
from lvm_mtc.cli.pictures import printable
from lvm_mtc.cli.sending import transmit_links
from lvm_mtc.cli.study import measure_study
from lvm_mtc.report import moving
from lvm_mtc.report.figures import save_curves
from lvm_mtc.report.html import write_viewer
from lvm_mtc.report.html_viewer import viewer_set
from lvm_mtc.report.shown import arrived
from lvm_mtc.report.study import curve_panels, describe, plain_rows
from lvm_mtc.results.files import RECORD, atomic_directory, check_output_directory
from lvm_mtc.results.points import Point
from lvm_mtc.results.table import write_csv
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.paired import NamedSweep
from lvm_mtc.sweep.rows import versions
from lvm_mtc.sweep.stopping import StoppingRule

_SERVES = (
    "run", "parser", "out", "uavs", "limit", "snr_db", "csi_error", "channel", "convention", "link", "positions",
    "carrier",
    "weights", "realisations", "seed", "overwrite", "captioner", "generator",
)  # fmt: skip
"""What is read of the flags; the others are for pictures."""


class Kind(NamedTuple):
    """A kind of source.

    Attributes:
        flag: That names it on the command line.
        items: What it is called, in the plural.
        metrics: What is measured.
        drawn: What the curves show.
        told: What a line a point says: metric to label and decimals.
        per_step: So many go through the networks together.
    """

    flag: str
    items: str
    metrics: tuple[str, ...]
    drawn: tuple[str, ...]
    told: Mapping[str, tuple[str, int]]
    per_step: int

    @property
    def note(self) -> str:
        """What the intervals are."""
        return f"95 % Student intervals over independent channel realisations; the {self.items} are fixed."


def check_plain(options: argparse.Namespace, kind: Kind) -> None:
    """Raises ``ValueError`` for flags that are for pictures, or a folder that is there."""
    for name in changed(options, f"--{kind.flag}", ".", "--out", "."):
        if name not in (*_SERVES, kind.flag):
            raise UsageError(f"--{name.replace('_', '-')} is for pictures, and --{kind.flag} sends {kind.items}")
    check_output_directory(options.out, overwrite=options.overwrite)


def transmit_plain(
    options: argparse.Namespace,
    kind: Kind,
    contender: Contender,
    source: Source,
    described: str,
    write: Callable[[Path, NamedSweep, Sequence[Point]], Sequence[str]],
) -> None:
    """Measures ``source`` through a scheme into the folder of the flags, with table, curves and record.

    ``described`` says how many there are; ``write`` adds files that show them, and gives their names.
    """
    start, links = time.monotonic(), transmit_links(options)
    spec = NamedSweep(
        name="transmit",
        schemes=(contender,),
        links=tuple(links),
        sources={options.uavs: source},
        snr_db=tuple(options.snr_db),
        csi_error_var=tuple(options.csi_error),
        seeds=(options.seed,),
        stopping=StoppingRule(target_half_width=None, max_units=options.realisations),
        metrics=kind.metrics,
        pictures_per_step=kind.per_step,
    )
    title = f"lvm-mtc transmit {getattr(options, kind.flag)}; {described}, {options.realisations} realisations"
    with atomic_directory(options.out, overwrite=options.overwrite) as folder:
        points, _ = measure_study([spec])
        write_csv(folder / "table.csv", plain_rows(points, links, kind.metrics, f"num_{kind.items}"))
        save_curves(folder / "curves.png", curve_panels(points, links, kind.drawn), title=title, footnote=kind.note)
        shown = write(folder, spec, points)
        record = {
            "command": {name: value for name, value in vars(options).items() if name not in ("run", "parser")},
            "versions": versions(),
            "device": jax.devices()[0].device_kind,
            **describe([contender], links),
            "intervals": kind.note,
        }
        (folder / RECORD).write_text(json.dumps(record, indent=2, default=str) + "\n", encoding="utf-8")
    print("\n".join(summary(points, kind)))
    print(f"{title} in {time.monotonic() - start:.0f} s")
    for name in ("table.csv", "curves.png", *shown):
        print(f"  {options.out / name}")


def say_groups(labels: Sequence[Sequence[str]]) -> None:
    """Prints what makes each group, where a group is more than one; ``[B][K]``."""
    for group in labels:
        if len(group) > 1:
            print(printable(f"group {group[0]}: {', '.join(group)}"))


def what_arrived(spec: NamedSweep) -> tuple[list[Mapping[str, Any]], list[Any]]:
    """Points of a sweep of one scheme and K, and what arrived at each in the first realisation, ``[B, K, ...]``."""
    points = list(spec.coordinates())
    _, samples = arrived(spec, points)
    return points, [jax.tree.map(lambda a: a[0], one.pictures) for one in samples]


def write_moving(
    path: Path, spec: NamedSweep, points: Sequence[Point], received: Sequence[Any], labels: Sequence[str]
) -> None:
    """Writes a player of clips or a turntable of clouds as an HTML file.

    Args:
        spec: The sweep, of one K.
        points: Of it, measured.
        received: What ``what_arrived`` gives.
        labels: Of the rows: the UAVs of the first group, then those of the second and so on.
    """
    (source,) = spec.sources.values()
    at = [point.coordinates for point in points]
    pictures = list(moving.stored("", {}, at, source.data, received))
    title = f"{at[0]['scheme']}: what was sent and what arrived"
    write_viewer(path, viewer_set(spec.name, pictures, points, labels), title=title)


def summary(points: list[Any], kind: Kind) -> list[str]:
    """What ``kind.told`` names over SNR, a line a point."""
    lines = []
    for point in points:
        at = point.coordinates
        where = f"{at['scheme']}, {at['channel']}, {at['snr_db']:g} dB ({point.snr_convention})"
        values = ", ".join(
            f"{label} {point.metrics[name].mean:.{digits}f} +- {point.metrics[name].half_width:.{digits}f}"
            for name, (label, digits) in kind.told.items()
        )
        lines.append(f"{where}, CSI error {at['csi_error_var']:g}: {values}")
    return lines
