"""``lvm-mtc bench``: pictures and symbols a second on this machine."""

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path

from lvm_mtc.cli import values
from lvm_mtc.cli.outputs import check_new_file


def add_bench_parser(commands, make_command: Callable[..., argparse.ArgumentParser]) -> None:
    """Declares the command.

    Args:
        commands: Sub-parsers of the main parser.
        make_command: Of (sub-parsers, name, summary, example), as the other commands are made.
    """
    parser = make_command(commands, "bench", "Time encoding, sending, decoding and the channel layer on this machine.",
                          "lvm-mtc bench --batch 1,8 --out bench.json")
    parser.set_defaults(run=run_bench)
    parser.add_argument("--batch", type=values.wholes(1, 4096), default=(1, 4), metavar="LIST",
                        help="groups of K pictures, and blocks of slots, that go together (default: 1,4)")
    parser.add_argument("--uavs", type=values.whole(1, 64), default=4, metavar="K", help="UAVs (default: 4)")
    parser.add_argument("--repeats", type=values.whole(2, 10_000), default=10, metavar="N",
                        help="timed calls of each program (default: 10)")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="weights file (default: the shipped one)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the numbers as JSON")
    parser.add_argument("--overwrite", action="store_true", help="replace the file")


def run_bench(options: argparse.Namespace) -> None:
    """Runs ``lvm-mtc bench``.

    Args:
        options: Of the parser.

    Raises:
        ValueError: if the weights cannot be read, or the file is there already or cannot be written.
    """
    if options.out is not None:
        check_new_file(options.out, overwrite=options.overwrite)

    import jax

    from lvm_mtc.evaluation.files import atomic_file
    from lvm_mtc.evaluation.schemes import DEMO_WEIGHTS, load_system, require_tokens
    from lvm_mtc.evaluation.sweep_rows import versions
    from lvm_mtc.evaluation.throughput import time_channel, time_system

    weights = options.weights or DEMO_WEIGHTS
    system, params = load_system(weights)
    require_tokens(system, "lvm-mtc bench")
    device = jax.devices()[0]
    config = system.config
    print(f"{device.device_kind} ({device.platform}), the first of {jax.device_count()}; {os.cpu_count()} cores; jax "
          f"{jax.__version__}\n{weights.name}: pictures of {config.image_size} pixels, {config.capacity} of "
          f"{config.num_patches} patches kept, {config.num_symbols} symbols a token; {options.uavs} UAVs\n")
    print(f"{'program':8} {'batch':>5} {'compile':>9} {'median':>10} {'quartiles':>19}   a second")
    timings = []
    for part in (time_system(system, params, options.batch, num_uavs=options.uavs, repeats=options.repeats),
                 time_channel(options.batch, repeats=options.repeats)):
        for one in part:
            timings.append(one)
            lower, upper = (f"{1e3 * value:.2f}" for value in one.quartiles_s)
            print(f"{one.program:8} {one.batch:5} {one.compile_s:7.2f} s {1e3 * one.median_s:7.2f} ms "
                  f"{lower + ' ... ' + upper:>16} ms   {one.items_per_s:,.0f} {one.unit}", flush=True)
    if options.out is None:
        return
    record = {
        "device": device.device_kind, "platform": device.platform, "num_devices": jax.device_count(),
        "cores": os.cpu_count(), "versions": versions(), "weights": weights.name, "image_size": config.image_size,
        "num_uavs": options.uavs, "repeats": options.repeats, "timings": [one._asdict() for one in timings],
    }
    with atomic_file(options.out) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"\n{options.out}: {len(timings)} timings")
