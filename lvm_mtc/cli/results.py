"""``lvm-mtc results``: what a result store holds, on the screen or as a file."""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvm_mtc.cli import values

if TYPE_CHECKING:
    from lvm_mtc.evaluation.points import Point, Sweep
    from lvm_mtc.evaluation.store import ResultStore

FORMATS = ("csv", "json", "parquet")
_SHORT = 12


def add_results_parser(commands, make_command: Callable[..., argparse.ArgumentParser]) -> None:
    """Declares the command and its three actions.

    Args:
        commands: Sub-parsers of the main parser.
        make_command: Of (sub-parsers, name, summary, example), as the other commands are made.
    """
    parser = make_command(commands, "results", "List, show or export what a result store of sweeps holds.",
                          "lvm-mtc results list --store sweeps.sqlite")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")

    listing = make_command(actions, "list", "The sweeps of a store, and the settings in which they differ.",
                           "lvm-mtc results list --store sweeps.sqlite")
    listing.set_defaults(run=run_list)

    show = make_command(actions, "show", "Settings and points of a sweep.",
                        "lvm-mtc results show --store sweeps.sqlite --sweep 3f9a --at snr_db=10 --metrics psnr_db,ssim")
    show.set_defaults(run=run_show)
    show.add_argument("--at", type=values.assignment, action="append", default=[], metavar="AXIS=VALUE",
                      help="only points with this coordinate; may be repeated")
    show.add_argument("--metrics", metavar="LIST", help="only these metrics, commas between (default: all)")

    export = make_command(actions, "export", "Write a store's points as CSV, JSON or Parquet.",
                          "lvm-mtc results export --store sweeps.sqlite --out points.csv")
    export.set_defaults(run=run_export)
    export.add_argument("--out", type=Path, required=True, metavar="FILE", help="the file")
    export.add_argument("--format", type=values.choice(*FORMATS), dest="file_format",
                        help=f"one of {', '.join(FORMATS)}; parquet needs pyarrow (default: by the name of --out)")
    export.add_argument("--overwrite", action="store_true", help="replace the file")

    for action in (listing, show, export):
        action.add_argument("--store", type=Path, required=True, metavar="FILE", help="the result store")
    for action in (show, export):
        action.add_argument("--sweep", metavar="HASH", help="the sweep, by the first digits of its hash; may be left "
                            + ("out where the store holds only one" if action is show else "out for all"))


def run_list(options: argparse.Namespace) -> None:
    """Prints a line a sweep.

    Args:
        options: Of the parser.

    Raises:
        ValueError: if the store cannot be read.
    """
    with _open(options.store) as store:
        sweeps = store.sweeps()
    if not sweeps:
        print(f"{options.store}: no sweeps")
        return
    rows = [["sweep", "points", "first", "last", "differs in"]]
    for sweep, differences in zip(sweeps, _differences(sweeps), strict=True):
        rows.append([sweep.config_hash[:_SHORT], str(sweep.num_points), sweep.first or "-", sweep.last or "-",
                     " ".join(differences) or "-"])
    print(_aligned(rows))


def run_show(options: argparse.Namespace) -> None:
    """Prints the settings of a sweep and a line a point.

    Args:
        options: Of the parser.

    Raises:
        ValueError: if the store cannot be read, the sweep is not one of it, or it has no such point or metric.
    """
    from lvm_mtc.evaluation.points import flatten

    with _open(options.store) as store:
        sweep = _sweep(store, options.sweep)
        points = store.read(sweep.config_hash, dict(options.at))
    if not points:
        wanted = " ".join(f"{name}={json.dumps(value)}" for name, value in options.at)
        raise ValueError(f"--store {options.store}: sweep {sweep.config_hash[:_SHORT]} has no point"
                         + (f" with --at {wanted}" if wanted else ""))
    known = list(dict.fromkeys(name for point in points for name in point.metrics))
    names = known if options.metrics is None else list(_metrics(options.metrics, known))
    print(f"sweep {sweep.config_hash}")
    for name, value in flatten(sweep.config).items():
        print(f"  {name} = {_text(value)}")
    print(_aligned(_point_rows(points, names)))


def run_export(options: argparse.Namespace) -> None:
    """Writes the points to a file.

    Args:
        options: Of the parser.

    Raises:
        ValueError: if the store cannot be read, the sweep is not one of it, or the file is there already or cannot be
            written.
    """
    from lvm_mtc.evaluation.store_export import export_store

    file_format = options.file_format or options.out.suffix.removeprefix(".")
    if file_format not in FORMATS:
        raise ValueError(f"--out {options.out}: its name does not end in {', '.join(FORMATS)}: give --format")
    if options.out.exists() and not options.overwrite:
        raise ValueError(f"--out {options.out}: is there already; name a new file or give --overwrite")
    with _open(options.store) as store:
        if options.out.exists() and options.out.samefile(options.store):
            raise ValueError(f"--out {options.out}: is the store itself; name another file")
        key = _sweep(store, options.sweep).config_hash if options.sweep else None
        count = export_store(store, options.out, file_format, config_hash=key)
    print(f"{options.out}: {count} points")


def _open(path: Path) -> "ResultStore":
    from lvm_mtc.evaluation.store import ResultStore

    return ResultStore(path, create=False)


def _sweep(store: "ResultStore", prefix: str | None) -> "Sweep":
    """The one sweep whose hash begins like this."""
    sweeps = store.sweeps()
    known = ", ".join(sweep.config_hash[:_SHORT] for sweep in sweeps[:8]) + (", ..." if len(sweeps) > 8 else "")
    if not sweeps:
        raise ValueError(f"--store {store.path}: holds no sweeps")
    if prefix is None and len(sweeps) > 1:
        raise ValueError(f"--sweep: {store.path} holds {len(sweeps)} sweeps, name one: {known}")
    found = [sweep for sweep in sweeps if sweep.config_hash.startswith((prefix or "").lower())]
    if len(found) != 1:
        raise ValueError(f"--sweep {prefix}: {len(found)} sweeps of {store.path} begin like this; it holds {known}")
    return found[0]


def _metrics(text: str, known: Sequence[str]) -> tuple[str, ...]:
    try:
        return values.choices(*known)(text)
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"--metrics: {error}") from None


def _differences(sweeps: Sequence["Sweep"]) -> list[list[str]]:
    """For each sweep, the settings that not all of them share."""
    from lvm_mtc.evaluation.points import flatten

    configs = [flatten(sweep.config) for sweep in sweeps]
    names = dict.fromkeys(name for config in configs for name in config)
    differ = [name for name in names if len({_text(config.get(name)) for config in configs}) > 1]
    return [[f"{name}={_text(config[name])}" for name in differ if name in config] for config in configs]


def _point_rows(points: Sequence["Point"], names: Sequence[str]) -> list[list[str]]:
    axes = list(dict.fromkeys(axis for point in points for axis in point.coordinates))
    rows = [[*axes, *names]]
    for point in points:
        cells = [_text(point.coordinates[axis]) if axis in point.coordinates else "-" for axis in axes]
        for name in names:
            found = point.metrics.get(name)
            cells.append("-" if found is None else f"{found.mean:.6g} (n={found.count})" if found.half_width is None
                         else f"{found.mean:.6g} +- {found.half_width:.2g} (n={found.count})")
        rows.append(cells)
    return rows


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)
