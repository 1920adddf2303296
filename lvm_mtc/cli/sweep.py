"""``lvm-mtc sweep``: a grid of operating points, from a file and flags, into a result store."""

import argparse
import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lvm_mtc.cli import names, values
from lvm_mtc.cli.command import add_command, add_flags, changed, refuse_idle
from lvm_mtc.cli.errors import UsageError
from lvm_mtc.cli.stores import SHORT

if TYPE_CHECKING:
    from lvm_mtc.cli.sweep_config import SweepConfig
    from lvm_mtc.sweep.cluster import DaskWorkers
    from lvm_mtc.sweep.run import Progress

_SECONDS_BETWEEN_LINES = 10.0
_ITEMS = {
    "pictures": ("pictures", "pixels"),
    "text": ("sentences", "words"),
    "points": ("clouds", "points"),
    "clips": ("clips", "frames"),
    "stereo": ("pairs", "views"),
    "answers": ("questions", "patches"),
}


def add_sweep_parser(commands) -> None:
    """Declares the command."""
    parser = add_command(
        commands,
        "sweep",
        "Measure SNR x CSI error x channel x K x P_r x epsilon x scheme x seed into a result store.",
        "lvm-mtc sweep --config experiments/configs/sweep.py --store sweep.sqlite --snr-db 0:20:2 "
        "--csi-error 0,0.01,0.1\n  lvm-mtc sweep --store sweep.sqlite --images photos --uavs 2,4 --target 0.1 "
        "--units 400 --dry-run",
        run_sweep_command,
    )
    add_flags(parser, {"--store FILE: result store; what it holds already is not computed again": Path}, required=True)
    axes = {
        "--snr-db LIST: SNRs in dB": values.numbers("snr_db"),
        "--csi-error LIST: variances of the CSI error, linear, in [0, 1e6]": values.numbers("csi_error_var"),
        f"--channel LIST: of {', '.join(names.CHANNELS)}": values.choices(*names.CHANNELS),
        "--uavs LIST: values of K": values.wholes(1, 64),
        "--mask-prob LIST: values of P_r in (0, 1)": values.numbers("mask_prob"),
        "--epsilon LIST: thresholds of the scheme 'sharing', linear, >= 0": values.numbers("epsilon"),
        f"--schemes LIST: of {', '.join(names.CONTENDERS)}": values.choices(*names.CONTENDERS),
        "--seeds LIST: of masks and channels": values.wholes(0, 2**32 - 1),
    }
    add_flags(parser.add_argument_group("axes", "Lists with commas between; 0:20:2 is a range."), axes)
    flags = {
        "--config FILE: the sweep: JSON, or a Python file with get_config() (which is run), FILE.py:NAME for "
        "get_config('NAME'); flags change it": Path,
        "--name NAME: of the sweep in the store; a later one of this name takes its place, rows stay": str,
        f"--convention: what the SNR means: {', '.join(names.CONVENTIONS)}": values.choice(*names.CONVENTIONS),
        "--images DIR: folder of pictures, or one picture": str,
        "--size SIZE: codec, native, N or HxW: as of transmit, of the --images": values.picture_size,
        "--text FILE: sentences to send instead of pictures, one a line": str,
        "--clouds PATH: point cloud, or a folder of them, to send instead of pictures": str,
        "--video PATH: a folder of frames, or a video file, to send instead of pictures": str,
        "--stereo DIR: a stereo pair (left and right picture), or a folder of pairs, to send instead of pictures": str,
        "--questions FILE: questions packed by experiments.fa_semcom.pack, to ask instead of sending pictures": str,
        "--units N: channel realisations of a point, at most where there is a target": values.whole(2, 1_000_000),
        "--target WIDTH: go on until half of the confidence interval of stop_metric is at most this "
        "wide": values.number("above_zero"),
        "--positions FILE: JSON of the UAVs' places around the base station, [[x, y, z], ...] in metres, or a mapping "
        "of them and other fields of link.Scene (scenario, carrier_frequency, velocity, bs_position, line_of_sight); "
        "each UAV has the SNR of its place, and snr_db is their mean": Path,
        "--carrier HZ: carrier frequency of the link to the --positions, Hz (default: 3.5e9)": values.number("carrier"),
        "--set FIELD=VALUE: another field, such as keep=0.3, link.num_rx_ant=8 or stopping.level=0.99; may be "
        "repeated": values.assignment,
        "--memory GIB = 1: for the channels that are drawn together": values.number("above_zero"),
        "--devices N: devices to use (default: all)": values.whole(1),
        "--no-units: keep no values of single channel realisations; more --units are then measured from the first one "
        "on": bool,
        "--no-pictures: leave out the pictures through which the report's sliders move": bool,
        "--shown-groups N = 1: groups of pictures among which the report's viewer chooses": values.whole(1, 64),
        "--shown-realisations N = 1: channel realisations, likewise": values.whole(1, 64),
        "--workers N: compute in so many processes of this machine": values.whole(1, 1024),
        "--scheduler ADDRESS: compute on the workers of the Dask scheduler there, such as tcp://10.0.0.1:8786": str,
        "--task-points N = 8: points that a worker gets together": values.whole(1, 100_000),
        "--task-units N = 1024: channel realisations of them; a point with more is split, unless there is a "
        "target": values.whole(1, 1_000_000),
        "--patience MINUTES = 30: what a worker has not answered for so long another one gets, too": values.number(
            "above_zero"
        ),
        "--dry-run: compile and time the programs; print grid, memory and expected time; store nothing": bool,
    }
    add_flags(parser, flags)


def run_sweep_command(options: argparse.Namespace) -> None:
    """Runs ``lvm-mtc sweep``."""
    _check_idle(options)
    if options.workers or options.scheduler:
        from lvm_mtc.sweep.clients import require_dask

        require_dask()
    config = sweep_config(options)

    from lvm_mtc.cli.sweep_config import command_of, make_spec
    from lvm_mtc.report.viewer_pictures import viewer_pictures
    from lvm_mtc.results.store import ResultStore
    from lvm_mtc.sweep.group import check_memory
    from lvm_mtc.sweep.run import Resources, run_sweep

    resources = Resources(memory_budget=max(int(options.memory * 2**30), 1), num_devices=options.devices)
    # Workers start while the sweep is made ready.
    with contextlib.nullcontext() if options.dry_run else _workers(options) as workers:
        said: list[str] = []
        spec = make_spec(config, said.append)
        check_memory(spec, resources)
        for line in said:
            print(line, flush=True)
        if options.dry_run:
            _dry_run(options, spec, resources)
            return
        with ResultStore(options.store) as store, _bar() as tell:
            kept = dict(command=command_of(config), keep=not options.no_units)
            key = run_sweep(spec, store, resources=resources, progress=tell, workers=workers, **kept)
    with ResultStore(options.store) as store:
        if not options.no_pictures:
            viewer_pictures(spec, store, groups=options.shown_groups, realisations=options.shown_realisations)
        called = f"{config.name!r} ({key[:SHORT]})" if config.name else key[:SHORT]
        print(f"{options.store}: sweep {called}, {len(store.read(key))} points")


def _check_idle(options: argparse.Namespace) -> None:
    """Refuses flags that change nothing beside the others."""
    if options.workers is not None and options.scheduler is not None:
        raise UsageError("--workers and --scheduler: give one of them")
    idle = {}
    if options.workers is None and options.scheduler is None:
        idle |= dict.fromkeys(("task_points", "task_units", "patience"), "without --workers or --scheduler")
    if options.no_pictures:
        idle |= dict.fromkeys(("shown_groups", "shown_realisations"), "with --no-pictures")
    refuse_idle(changed(options, "--store", "."), idle)


@contextlib.contextmanager
def _workers(options: argparse.Namespace) -> "Iterator[DaskWorkers | None]":
    """Who computes; None: this process."""
    if options.workers is None and options.scheduler is None:
        yield None
        return
    from lvm_mtc.sweep.clients import local_client, remote_client
    from lvm_mtc.sweep.cluster import DaskWorkers

    with local_client(options.workers) if options.scheduler is None else remote_client(options.scheduler) as client:
        how = dict(patience_s=60 * options.patience, share_programs=options.scheduler is None)
        yield DaskWorkers(client, points_per_task=options.task_points, units_per_task=options.task_units, **how)


def sweep_config(options: argparse.Namespace) -> "SweepConfig":
    """The sweep that file and flags describe."""
    from lvm_mtc.cli.sending import read_scene
    from lvm_mtc.cli.sweep_config import SweepConfig
    from lvm_mtc.cli.train import read_config
    from lvm_mtc.config import from_dict, replace_dotted

    config = read_config(options.config, []) if options.config else {}
    flags = {"csi_error_var": "csi_error", "num_uavs": "uavs"}
    for field in dataclasses.fields(SweepConfig):
        value = getattr(options, flags.get(field.name, field.name), None)
        if value is not None:
            config[field.name] = list(value) if isinstance(value, tuple) else value
    for name, value in (("max_units", options.units), ("target_half_width", options.target)):
        if value is not None:
            config = replace_dotted(config, f"stopping.{name}", value)
    if (scene := read_scene(options)) is not None:
        config = replace_dotted(config, "link.scene", scene)
    for name, value in options.set:
        config = replace_dotted(config, name, value)
    if isinstance(config.get("stopping"), dict):
        config["stopping"] = {"target_half_width": None, "max_units": 32} | config["stopping"]
    return from_dict(SweepConfig, config)


def _dry_run(options: argparse.Namespace, spec, resources) -> None:
    from lvm_mtc.results.store import ResultStore
    from lvm_mtc.sweep.estimate import estimate_sweep
    from lvm_mtc.sweep.shelf import Shelf

    wanted = missing = list(spec.coordinates())
    if options.store.exists():
        with ResultStore(options.store, create=False) as store:
            missing = [at for at, _ in Shelf(spec, store).lacking(wanted)]
    estimate = estimate_sweep(spec, missing, resources)
    print(f"grid: {len(wanted)} points, {len(wanted) - len(missing)} of them in {options.store}")
    for axis in dict.fromkeys(axis for at in wanted for axis in at):
        on_axis = dict.fromkeys(at[axis] for at in wanted if axis in at)
        print(f"  {axis}: {', '.join(value if isinstance(value, str) else f'{value:g}' for value in on_axis)}")
    for num_uavs, source in spec.sources.items():
        what, side = _ITEMS[spec.schemes[0].scheme.modality]
        data = source.data["patches"] if isinstance(source.data, dict) else source.data
        size = data.shape[2]
        if data.ndim == 5 and size != data.shape[3]:
            size = f"{size} x {data.shape[3]}"
        print(f"{what}: {len(data)} groups of {num_uavs}, {size} {side}")
    rule = spec.stopping
    until = "all"
    if rule.target_half_width is not None:
        until = f"at least {rule.min_units}, until {spec.stop_metric} is known to +- {rule.target_half_width:g}"
    print(f"channel realisations: {rule.max_units} a point, {until}")
    print(f"programs: {estimate.programs}, compiled in {estimate.compile_seconds:.0f} s")
    print(f"memory: {estimate.memory_bytes / 2**20:.0f} MiB for the largest of them with all that it is given")
    bounds = estimate.least_seconds, estimate.most_seconds
    least, most = (_duration(seconds + estimate.compile_seconds) for seconds in bounds)
    print(f"time: {least}" + (f" to {most}" if most != least else "") + ", timed on this machine as busy as it is now")


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 100 else f"{minutes} min" if minutes < 100 else f"{seconds / 3600:.1f} h"


@contextlib.contextmanager
def _bar() -> Iterator[Callable[["Progress"], None]]:
    """Shows progress on stderr: a bar with the time left on a terminal, else a line now and then."""
    from tqdm import tqdm

    shape = "{desc} {percentage:3.0f}%|{bar}| {postfix}"
    last = time.monotonic()
    with tqdm(desc="sweep", disable=not sys.stderr.isatty(), leave=False, bar_format=shape) as bar:

        def tell(progress: "Progress") -> None:
            nonlocal last
            left = "" if progress.seconds_left is None else f", {_duration(progress.seconds_left)} left"
            text = f"{progress.points_done} of {progress.points} points{left}"
            bar.total, bar.n = progress.items, progress.items_done
            bar.set_postfix_str(text)
            if bar.disable and time.monotonic() - last >= _SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                print(f"sweep: {text}", file=sys.stderr, flush=True)

        yield tell
