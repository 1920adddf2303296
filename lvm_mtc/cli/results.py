"""``lvm-mtc results``: what a result store holds, on the screen or as a file."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lvm_mtc.cli import values
from lvm_mtc.cli.command import add_command, add_flags
from lvm_mtc.cli.outputs import check_new_file
from lvm_mtc.cli.stores import SHORT, SWEEP_FLAG, find_sweep
from lvm_mtc.results.export import EACH_FORMATS, FORMATS, export_each, export_store
from lvm_mtc.results.points import Point, Sweep, flatten
from lvm_mtc.results.store import ResultStore


def add_results_parser(commands) -> None:
    """Declares the command and its three actions."""
    summary = "List, show, delete, compute again or export what a result store of sweeps holds."
    parser = add_command(commands, "results", summary, "lvm-mtc results list --store sweeps.sqlite")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    store = {"--store FILE: the result store": Path}
    at = "--at AXIS=VALUE: only points with this coordinate; may be repeated"
    summary = "The sweeps of a store, and the settings in which they differ."
    listing = add_command(actions, "list", summary, "lvm-mtc results list --store sweeps.sqlite", run_list)
    add_flags(listing, store, required=True)

    example = "lvm-mtc results show --store sweeps.sqlite --sweep 3f9a --at snr_db=10 --metrics psnr_db,ssim"
    show = add_command(actions, "show", "Settings and points of a sweep.", example, run_show)
    add_flags(show, store, required=True)
    flags = {
        SWEEP_FLAG + "where the store holds only one": str,
        at: values.assignment,
        "--metrics LIST: only these metrics, commas between (default: all)": str,
    }
    add_flags(show, flags)

    example = "lvm-mtc results delete --store sweeps.sqlite --at snr_db=10"
    delete = add_command(actions, "delete", "Delete points of a sweep.", example, run_delete)
    add_flags(delete, store, required=True)
    add_flags(delete, {SWEEP_FLAG + "where the store holds only one": str, at + "; one or more": values.assignment})

    example = "lvm-mtc results redo --store sweeps.sqlite --sweep flight --at snr_db=10"
    summary = "Compute points of a sweep again, as the command says that computed it."
    redo = add_command(actions, "redo", summary, example, run_redo)
    add_flags(redo, store, required=True)
    add_flags(redo, {SWEEP_FLAG + "where the store holds only one": str, at + "; one or more": values.assignment})

    example = "lvm-mtc results export --store sweeps.sqlite --out points.csv"
    export = add_command(
        actions,
        "export",
        "Write a store's points as CSV, JSON or Parquet, single values also as NetCDF.",
        example,
        run_export,
    )
    add_flags(export, store | {"--out FILE: the file": Path}, required=True)
    formats = (
        f"--format: one of {', '.join(EACH_FORMATS)}; parquet needs pyarrow, netcdf (.nc, with --each) xarray and "
    )
    formats += "scipy (default: by the name of --out)"
    flags = {SWEEP_FLAG + "for all": str, formats: values.choice(*EACH_FORMATS), "--overwrite: replace the file": bool}
    flags["--each: a row for every channel realisation, group of pictures and UAV instead of a row a point"] = bool
    add_flags(export, flags)


def run_list(options: argparse.Namespace) -> None:
    """Prints a line a sweep."""
    with ResultStore(options.store, create=False) as store:
        sweeps = store.sweeps()
    if not sweeps:
        print(f"{options.store}: no sweeps")
        return
    rows = [["sweep", "points", "first", "last", "differs in"]]
    for sweep, differences in zip(sweeps, _differences(sweeps), strict=True):
        times = sweep.first or "-", sweep.last or "-"
        rows.append([sweep.config_hash[:SHORT], str(sweep.num_points), *times, " ".join(differences) or "-"])
    print(_aligned(rows))


def run_show(options: argparse.Namespace) -> None:
    """Prints the settings of a sweep and a line a point."""
    with ResultStore(options.store, create=False) as store:
        sweep = find_sweep(store, options.sweep)
        points = _points_at(options, store, sweep)
    known = list(dict.fromkeys(name for point in points for name in point.metrics))
    names = known if options.metrics is None else list(_metrics(options.metrics, known))
    print(f"sweep {sweep.config_hash}")
    for name, value in flatten(sweep.config).items():
        print(f"  {name} = {_text(value)}")
    print(_aligned(_point_rows(points, names)))


def run_delete(options: argparse.Namespace) -> None:
    """Deletes points."""
    _require_at(options)
    with ResultStore(options.store, create=False) as store:
        sweep = find_sweep(store, options.sweep)
        _points_at(options, store, sweep)
        count = store.delete(sweep.config_hash, dict(options.at))
    print(f"{options.store}: {count} points deleted; the command that computed them computes what is missing")


def run_redo(options: argparse.Namespace) -> None:
    """Computes points again."""
    _require_at(options)
    with ResultStore(options.store, create=False) as store:
        sweep = find_sweep(store, options.sweep)
        command, points = store.command(sweep.config_hash), _points_at(options, store, sweep)
        if command is None:
            missing = "was not computed by 'lvm-mtc sweep': delete the points and run again what computed them"
            raise ValueError(f"--store {options.store}: sweep {sweep.config_hash[:SHORT]} {missing}")

        from lvm_mtc.cli.sweep_config import SweepConfig, make_spec
        from lvm_mtc.config import from_dict
        from lvm_mtc.sweep.run import run_sweep

        said: list[str] = []
        spec = make_spec(from_dict(SweepConfig, command), said.append)
        if spec.key() != sweep.config_hash:
            differs = "pictures, weights or code are not what they were: run 'lvm-mtc sweep' anew"
            raise ValueError(f"--store {options.store}: sweep {sweep.config_hash[:SHORT]}: its {differs}")
        for line in said:
            print(line, flush=True)
        run_sweep(spec, store, command=command, again=dict(options.at))
    print(f"{options.store}: {len(points)} points computed again")


def _require_at(options: argparse.Namespace) -> None:
    if not options.at:
        raise ValueError("--at is missing: say which points, such as --at snr_db=10")


def _points_at(options: argparse.Namespace, store: ResultStore, sweep: Sweep) -> list[Point]:
    """The points that ``--at`` names; ``ValueError`` says what there is where there are none."""
    if points := store.read(sweep.config_hash, dict(options.at)):
        return points
    there: dict[str, dict[str, None]] = {}
    for point in store.read(sweep.config_hash):
        for axis, value in point.coordinates.items():
            there.setdefault(axis, {})[_text(value)] = None
    wanted = " ".join(f"{name}={json.dumps(value)}" for name, value in options.at)
    asked = [f"{axis} {', '.join(there[axis])}" for axis in dict(options.at) if axis in there]
    unknown = len(asked) < len(options.at)
    known = f"{', '.join(there) or 'nothing'} to choose by" if unknown else "; ".join(asked)
    at = f" with --at {wanted}; there is {known}" if wanted else ""
    raise ValueError(f"--store {options.store}: sweep {sweep.config_hash[:SHORT]} has no point{at}")


def run_export(options: argparse.Namespace) -> None:
    """Writes the points to a file."""
    suffix = options.out.suffix.removeprefix(".")
    file_format = options.format or {"nc": "netcdf"}.get(suffix, suffix)
    if file_format not in EACH_FORMATS:
        raise ValueError(f"--out {options.out}: its name does not end in {', '.join(FORMATS)}, nc: give --format")
    if file_format == "netcdf" and not options.each:
        raise ValueError(f"--out {options.out}: netcdf holds the values of single units: give --each")
    check_new_file(options.out, overwrite=options.overwrite, store=options.store)
    with ResultStore(options.store, create=False) as store:
        key = find_sweep(store, options.sweep).config_hash if options.sweep else None
        write, rows = (export_each, "values") if options.each else (export_store, "points")
        count = write(store, options.out, file_format, config_hash=key)
    print(f"{options.out}: {count} {rows}")


def _metrics(text: str, known: Sequence[str]) -> tuple[str, ...]:
    try:
        return values.choices(*known)(text)
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"--metrics: {error}") from None


def _differences(sweeps: Sequence[Sweep]) -> list[list[str]]:
    """For each sweep, the settings that not all of them share."""
    configs = [flatten(sweep.config) for sweep in sweeps]
    names = dict.fromkeys(name for config in configs for name in config)
    differ = [name for name in names if name == "name" or len({_text(config.get(name)) for config in configs}) > 1]
    return [[f"{name}={_text(config[name])}" for name in differ if name in config] for config in configs]


def _point_rows(points: Sequence[Point], names: Sequence[str]) -> list[list[str]]:
    axes = list(dict.fromkeys(axis for point in points for axis in point.coordinates))
    rows = [[*axes, *names]]
    for point in points:
        cells = [_text(point.coordinates[axis]) if axis in point.coordinates else "-" for axis in axes]
        for name in names:
            found = point.metrics.get(name)
            cells.append("-" if found is None else f"{found.text('.6g', '.2g', '+-')} (n={found.count})")
        rows.append(cells)
    return rows


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)
