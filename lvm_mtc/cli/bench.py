"""``lvm-mtc bench``: pictures and symbols a second on this machine."""

import argparse
import itertools
import json
import os
from pathlib import Path

from lvm_mtc.cli import values
from lvm_mtc.cli.command import add_command, add_flags
from lvm_mtc.cli.outputs import check_new_file


def add_bench_parser(commands) -> None:
    """Declares the command."""
    summary = "Time encoding, sending, decoding and the channel layer on this machine."
    parser = add_command(commands, "bench", summary, "lvm-mtc bench --batch 1,8 --out bench.json", run_bench)
    flags = {
        "--batch LIST = 1,4: groups of K pictures, and blocks of slots, that go together": values.wholes(1, 4096),
        "--uavs K = 4: UAVs": values.whole(1, 64),
        "--repeats N = 10: timed calls of each program": values.whole(2, 10_000),
        "--weights FILE: weights file (default: the shipped one)": Path,
        "--out FILE: write the numbers as JSON": Path,
        "--overwrite: replace the file": bool,
    }
    add_flags(parser, flags)


def run_bench(options: argparse.Namespace) -> None:
    """Runs ``lvm-mtc bench``."""
    if options.out is not None:
        check_new_file(options.out, overwrite=options.overwrite)

    import jax

    from lvm_mtc.cli.sending import load_picture_scheme
    from lvm_mtc.results.files import atomic_file
    from lvm_mtc.schemes.loading import DEMO_WEIGHTS
    from lvm_mtc.sweep.rows import versions
    from lvm_mtc.sweep.throughput import time_channel, time_scheme

    weights = options.weights or DEMO_WEIGHTS
    scheme, params = load_picture_scheme(weights)
    device = jax.devices()[0]
    (num_frames, num_symbols), image_size = scheme.frames(), scheme.config.image_size
    print(
        f"{device.device_kind} ({device.platform}), the first of {jax.device_count()}; {os.cpu_count()} cores; jax "
        f"{jax.__version__}\n{weights.name}: pictures of {image_size} pixels, {num_frames} frames of {num_symbols} "
        f"symbols each; {options.uavs} UAVs\n"
    )
    print(f"{'program':8} {'batch':>5} {'compile':>9} {'median':>10} {'quartiles':>19}   a second")
    timings = []
    networks = time_scheme(scheme, params, options.batch, num_uavs=options.uavs, repeats=options.repeats)
    for timing in itertools.chain(networks, time_channel(options.batch, repeats=options.repeats)):
        timings.append(timing)
        lower, upper = (f"{1e3 * value:.2f}" for value in timing.quartiles_s)
        print(
            f"{timing.program:8} {timing.batch:5} {timing.compile_s:7.2f} s {1e3 * timing.median_s:7.2f} ms "
            f"{lower + ' ... ' + upper:>16} ms   {timing.items_per_s:,.0f} {timing.unit}",
            flush=True,
        )
    if options.out is None:
        return
    record = {
        "device": device.device_kind,
        "platform": device.platform,
        "num_devices": jax.device_count(),
        "cores": os.cpu_count(),
        "versions": versions(),
        "weights": weights.name,
        "image_size": image_size,
        "num_uavs": options.uavs,
        "repeats": options.repeats,
        "timings": [timing._asdict() for timing in timings],
    }
    with atomic_file(options.out) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"\n{options.out}: {len(timings)} timings")
