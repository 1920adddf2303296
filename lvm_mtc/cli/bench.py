"""``lvm-mtc bench``: pictures and symbols a second on this machine, a training step, compile times and memory."""

import argparse
import dataclasses
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvm_mtc.cli import names, values
from lvm_mtc.cli.command import add_command, add_flags
from lvm_mtc.cli.outputs import check_new_file

if TYPE_CHECKING:
    from lvm_mtc.link import LinkConfig
    from lvm_mtc.schemes.scheme import Params, Scheme
    from lvm_mtc.sweep.throughput import Case, Timing

_DTYPES = ("float32", "bfloat16", "float16")
_PROGRAMS = ("encode", "send", "decode", "chain", "train", "channel")


def add_bench_parser(commands) -> None:
    """Declares the command."""
    summary = (
        "Time encoding, sending, decoding, the whole chain, a training step and the channel layer on the devices that "
        "JAX finds, a CPU, GPUs or TPUs; with compile times and memory."
    )
    parser = add_command(
        commands, "bench", summary, "lvm-mtc bench --batch 1,8 --devices 1,2 --out bench.json", run_bench
    )
    flags = {
        "--batch LIST = 1,4: groups of K pictures, and blocks of slots, that go together on each device": values.wholes(
            1, 4096
        ),
        "--devices LIST = 1: numbers of devices that the groups are split over": values.wholes(1),
        "--antennas LIST = 4: antennas, as many at both ends": values.wholes(1, 64),
        "--channel LIST = rayleigh: that pictures are sent over": values.choices(*names.CHANNELS),
        f"--equalizer LIST = robust: of {', '.join(names.EQUALIZERS)}": values.choices(*names.EQUALIZERS),
        f"--dtype LIST = float32: of {', '.join(_DTYPES)}: what the networks compute in": values.choices(*_DTYPES),
        f"--only LIST: of the programs {', '.join(_PROGRAMS)} (default: all)": values.choices(*_PROGRAMS),
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

    from lvm_mtc.cli.sending import load_picture_scheme, make_links
    from lvm_mtc.schemes.loading import DEMO_WEIGHTS
    from lvm_mtc.sweep.throughput import Case, time_channel

    if max(options.devices) > jax.device_count():
        raise ValueError(f"--devices {max(options.devices)}: JAX finds {jax.device_count()} ({jax.default_backend()})")
    weights = options.weights or DEMO_WEIGHTS
    scheme, params = load_picture_scheme(weights)
    schemes = {dtype: _computing_in(scheme, dtype) for dtype in options.dtype}
    links = [
        link
        for antennas, equalizer in itertools.product(options.antennas, options.equalizer)
        for link in make_links(options.channel, "esno", _fields(antennas, equalizer))
    ]
    sizes = list(itertools.product(options.devices, options.batch))
    only = options.only or tuple(name for name in _PROGRAMS if name != "train" or scheme.stages())
    if "train" in only and not scheme.stages():
        raise ValueError(f"--only train: {type(scheme).__name__} has no stages of training")
    machine, repeats = _machine(scheme, weights, options.repeats), options.repeats
    print(
        "{device} ({platform}), the first of {num_devices}; {cores} cores; jax {versions[jax]}; matrix products in "
        "{matmul_precision} precision\n{weights}: pictures of {image_size} pixels, {frames[0]} frames of {frames[1]} "
        "symbols each; {uavs} UAVs\n".format(**machine, uavs=options.uavs)
    )

    def timings() -> "Iterator[Timing]":
        for (dtype, one), (count, batch) in itertools.product(schemes.items(), sizes):
            case = Case(batch, count, options.uavs, dtype=dtype)
            yield from _of_networks(one, params, links, case, repeats=repeats, only=only)
        if "channel" in only:
            cases = [Case(batch, count) for count, batch in sizes]
            how = dict(num_ants=options.antennas, equalizers=options.equalizer)
            yield from time_channel(cases, **how, repeats=repeats)

    records = []
    print(_HEAD)
    for timing in timings():
        records.append(timing.record())
        print(_line(timing), flush=True)
    if options.out is not None:
        _write(options.out, machine | {"timings": records})
        print(f"\n{options.out}: {len(records)} timings")


def _machine(scheme: "Scheme", weights: Path, repeats: int) -> dict[str, Any]:
    """What all records have in common."""
    import jax

    from lvm_mtc.sweep.rows import versions

    device = jax.devices()[0]
    return {
        "device": device.device_kind,
        "platform": device.platform,
        "num_devices": jax.device_count(),
        "cores": os.cpu_count(),
        "matmul_precision": jax.config.jax_default_matmul_precision or "default",
        "versions": versions(),
        "weights": weights.name,
        "image_size": scheme.config.image_size,
        "frames": scheme.frames(),
        "repeats": repeats,
    }


def _fields(antennas: int, equalizer: str) -> list[tuple[str, Any]]:
    return [("num_rx_ant", antennas), ("num_tx_ant", antennas), ("equalizer", equalizer)]


def _computing_in(scheme: "Scheme", dtype: str) -> "Scheme":
    if dtype == "float32":
        return scheme
    if not hasattr(scheme, "execution"):
        raise ValueError(f"--dtype {dtype}: {type(scheme).__name__} computes in float32 alone")
    return dataclasses.replace(scheme, execution=dataclasses.replace(scheme.execution, dtype=dtype))


def _of_networks(
    scheme: "Scheme", params: "Params", links: "list[LinkConfig]", case: "Case", *, repeats: int, only: tuple[str, ...]
) -> "Iterator[Timing]":
    from lvm_mtc.sweep.throughput import time_program, time_scheme

    yield from time_scheme(scheme, params, links, case, repeats=repeats, only=only)
    if "train" not in only:
        return
    pictures = case.batch * case.num_devices * case.num_uavs
    for link in links:
        step, state, data = training_step(scheme, params, link, case)
        how = dict(repeats=repeats, carry=True)
        yield time_program("train", case.over(link), pictures, "pictures", step, state, data, **how)


def training_step(scheme: "Scheme", params: "Params", link: "LinkConfig", case: "Case") -> tuple[Any, Any, Any]:
    """A scheme's last stage of training as a jitted step with AdamW, its state, and pictures to learn from."""
    import jax
    import numpy as np

    from lvm_mtc.training import OptimizerConfig, init_state, make_mesh, make_optimizer, make_train_step
    from lvm_mtc.training.examples import Scenario, make_batch_fn, make_loss_fn
    from lvm_mtc.training.mesh import replicated

    groups, mesh = case.batch * case.num_devices, make_mesh(case.num_devices)
    scenarios = (Scenario(num_groups=groups, num_uavs=case.num_uavs, link=link),)
    optimizer, schedule = make_optimizer(OptimizerConfig(), 1000)
    loss, batch = make_loss_fn(scheme.stages()[-1], scheme, scenarios), make_batch_fn(scheme, scenarios)
    step = make_train_step(loss, batch, optimizer, schedule=schedule, mesh=mesh)
    side = scheme.config.image_size + 16
    pictures = np.random.default_rng(0).integers(0, 256, (groups, side, side, 3), np.uint8)
    state = init_state(params, optimizer, jax.random.key(3))
    return step, *jax.device_put((state, {"pictures": pictures}), replicated(mesh))


_HEAD = (
    f"{'program':8} {'batch':>5} {'devices':>7} {'link':24} {'dtype':9} {'compile':>9} {'median':>10} "
    f"{'quartiles, ms':>19} {'program':>9} {'host peak':>9}   a second"
)


def _line(timing: "Timing") -> str:
    case = timing.case
    link = f"{case.channel} {case.num_rx_ant}x{case.num_tx_ant} {case.equalizer}" if case.channel else "-"
    quartiles = " ... ".join(f"{1e3 * value:.2f}" for value in timing.quartiles_s)
    program, host = (
        "-" if size is None else f"{size / 2**20:,.0f} MiB" for size in (timing.program_bytes, timing.host_peak_bytes)
    )
    return (
        f"{timing.program:8} {case.batch:5} {case.num_devices:7} {link:24} {case.dtype:9} {timing.compile_s:7.2f} s "
        f"{1e3 * timing.median_s:7.2f} ms {quartiles:>19} {program:>9} {host:>9}   {timing.items_per_s:,.0f} "
        f"{timing.unit}"
    )


def _write(path: Path, record: dict[str, Any]) -> None:
    from lvm_mtc.results.files import atomic_file

    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
