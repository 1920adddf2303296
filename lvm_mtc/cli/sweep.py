"""``lvm-mtc sweep``: a grid of operating points, from a file and flags, into a result store."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvm_mtc.cli import values

if TYPE_CHECKING:
    from lvm_mtc.cli.sweep_config import SweepConfig
    from lvm_mtc.evaluation.sweep import Progress

_FLAGS = ("snr_db", "csi_error_var", "channel", "num_uavs", "schemes", "mask_prob", "epsilon", "seeds", "images",
          "convention")


def add_sweep_parser(commands, make_command: Callable[..., argparse.ArgumentParser], names: dict[str, Any]) -> None:
    """Declares the command.

    Args:
        commands: Sub-parsers of the main parser.
        make_command: Of (sub-parsers, name, summary, example), as the other commands are made.
        names: Known names of ``channels``, ``schemes`` and ``conventions``.
    """
    parser = make_command(
        commands, "sweep", "Measure SNR x CSI error x channel x K x P_r x epsilon x scheme x seed into a result store.",
        "lvm-mtc sweep --config experiments/configs/sweep.py --store sweep.sqlite --snr-db 0:20:2 "
        "--csi-error 0,0.01,0.1\n  lvm-mtc sweep --store sweep.sqlite --images photos --uavs 2,4 --target 0.1 "
        "--units 400 --dry-run",
    )
    parser.set_defaults(run=run_sweep_command)
    parser.add_argument("--store", type=Path, required=True, metavar="FILE",
                        help="result store; what it holds already is not computed again")
    parser.add_argument("--config", type=Path, metavar="FILE",
                        help="the sweep: JSON, or a Python file with get_config() (which is run); flags change it")
    axes = parser.add_argument_group("axes", "Lists with commas between; 0:20:2 is a range.")
    axes.add_argument("--snr-db", type=values.numbers(-50, 100), metavar="LIST", help="SNRs in dB")
    axes.add_argument("--csi-error", type=values.numbers(0), dest="csi_error_var", metavar="LIST",
                      help="variances of the CSI error, linear, >= 0")
    axes.add_argument("--channel", type=values.choices(*names["channels"]), metavar="LIST",
                      help=f"of {', '.join(names['channels'])}")
    axes.add_argument("--uavs", type=values.wholes(1, 64), dest="num_uavs", metavar="LIST", help="values of K")
    axes.add_argument("--mask-prob", type=values.numbers(0, 1), metavar="LIST", help="values of P_r in (0, 1)")
    axes.add_argument("--epsilon", type=values.numbers(0), metavar="LIST",
                      help="thresholds of the scheme 'sharing', linear, >= 0")
    axes.add_argument("--schemes", type=values.choices(*names["schemes"]), metavar="LIST",
                      help=f"of {', '.join(names['schemes'])}")
    axes.add_argument("--seeds", type=values.wholes(0, 2**32 - 1), metavar="LIST", help="of masks and channels")
    parser.add_argument("--convention", type=values.choice(*names["conventions"]),
                        help=f"what the SNR means: {', '.join(names['conventions'])}")
    parser.add_argument("--images", metavar="DIR", help="folder of pictures, or one picture")
    parser.add_argument("--units", type=values.whole(2, 1_000_000), metavar="N",
                        help="channel realisations of a point, at most where there is a target")
    parser.add_argument("--target", type=values.number(0, low_open=True), metavar="WIDTH",
                        help="go on until half of the confidence interval of stop_metric is at most this wide")
    parser.add_argument("--set", type=values.assignment, action="append", default=[], metavar="FIELD=VALUE",
                        dest="overrides", help="another field, such as keep=0.3, link.num_rx_ant=8 or "
                        "stopping.level=0.99; may be repeated")
    parser.add_argument("--memory", type=values.number(0, low_open=True), default=1.0, metavar="GIB",
                        help="for the channels that are drawn together (default: %(default)g)")
    parser.add_argument("--devices", type=values.whole(1), metavar="N", help="devices to use (default: all)")
    parser.add_argument("--no-pictures", action="store_true",
                        help="leave out the pictures through which the report's sliders move")
    parser.add_argument("--dry-run", action="store_true",
                        help="compile and time the programs; print grid, memory and expected time; store nothing")


def run_sweep_command(options: argparse.Namespace) -> None:
    """Runs ``lvm-mtc sweep``.

    Args:
        options: Of the parser.

    Raises:
        ValueError: for wrong input, or if the store cannot be used.
    """
    config = sweep_config(options)

    from lvm_mtc.cli.sweep_config import make_spec
    from lvm_mtc.evaluation.store import ResultStore
    from lvm_mtc.evaluation.sweep import Resources, run_sweep
    from lvm_mtc.evaluation.viewer_pictures import viewer_pictures

    resources = Resources(memory_budget=max(int(options.memory * 2**30), 1), num_devices=options.devices)
    spec = make_spec(config)
    if options.dry_run:
        _dry_run(options, spec, resources)
        return
    with ResultStore(options.store) as store:
        with _Bar() as bar:
            key = run_sweep(spec, store, resources=resources, progress=bar)
        if not options.no_pictures:
            viewer_pictures(spec, store)
        print(f"{options.store}: sweep {key[:12]}, {len(store.read(key))} points")


def sweep_config(options: argparse.Namespace) -> "SweepConfig":
    """The sweep that file and flags describe.

    Args:
        options: Of the parser.

    Returns:
        The configuration.

    Raises:
        ValueError: naming the field, for what does not fit.
    """
    from lvm_mtc.cli.sweep_config import SweepConfig
    from lvm_mtc.cli.train import read_config
    from lvm_mtc.config import from_dict, replace_dotted

    config = read_config(options.config, []) if options.config else {}
    given = {name: getattr(options, name) for name in _FLAGS if getattr(options, name) is not None}
    config |= {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
    for name, value in (("max_units", options.units), ("target_half_width", options.target)):
        if value is not None:
            config = replace_dotted(config, f"stopping.{name}", value)
    for name, value in options.overrides:
        config = replace_dotted(config, name, value)
    if "stopping" in config and isinstance(config["stopping"], dict):
        config["stopping"] = {"target_half_width": None, "max_units": 32} | config["stopping"]
    return from_dict(SweepConfig, config)


def _dry_run(options: argparse.Namespace, spec, resources) -> None:
    from lvm_mtc.evaluation.store import ResultStore
    from lvm_mtc.evaluation.sweep_estimate import estimate_sweep

    wanted = missing = list(spec.coordinates())
    if options.store.exists():
        with ResultStore(options.store, create=False) as store:
            missing = store.missing(spec.key(), wanted)
    found = estimate_sweep(spec, missing, resources)
    values_of = {axis: dict.fromkeys(at[axis] for at in wanted) for axis in wanted[0]}
    print(f"grid: {len(wanted)} points, {len(wanted) - len(missing)} of them in {options.store}")
    for axis, some in values_of.items():
        print(f"  {axis}: {', '.join(value if isinstance(value, str) else f'{value:g}' for value in some)}")
    for num_uavs, pictures in spec.pictures.items():
        print(f"pictures: {len(pictures.images)} groups of {num_uavs}, {pictures.images.shape[2]} pixels")
    rule = spec.stopping
    until = ("all" if rule.target_half_width is None else
             f"at least {rule.min_units}, until {spec.stop_metric} is known to +- {rule.target_half_width:g}")
    print(f"channel realisations: {rule.max_units} a point, {until}")
    print(f"programs: {found.programs}, compiled in {found.compile_seconds:.0f} s")
    print(f"memory: {found.memory_bytes / 2**20:.0f} MiB for the largest of them with all that it is given")
    least, most = (_duration(seconds + found.compile_seconds) for seconds in (found.least_seconds, found.most_seconds))
    print(f"time: {least}" + (f" to {most}" if most != least else "") + ", timed on this machine as busy as it is now")


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 100 else f"{minutes} min" if minutes < 100 else f"{seconds / 3600:.1f} h"


class _Bar:
    """A progress bar with the time left."""

    def __enter__(self):
        from tqdm import tqdm

        self._bar = tqdm(desc="sweep", unit="point", disable=not sys.stderr.isatty(), leave=False,
                         bar_format="{desc} {percentage:3.0f}%|{bar}| {postfix}")
        return self

    def __exit__(self, *_):
        self._bar.close()

    def __call__(self, progress: "Progress") -> None:
        self._bar.total, self._bar.n = progress.items, progress.items_done
        left = "" if progress.seconds_left is None else f", {_duration(progress.seconds_left)} left"
        self._bar.set_postfix_str(f"{progress.points_done} of {progress.points} points{left}")
