"""Time of a sweep of the whole chain against its floor, and against every point by itself from the picture.

    python benchmarks/sweep.py [--units 4] [--snrs 11] [--csi-errors 5] [--out FILE]

11 SNRs x 5 CSI errors x 2 channels x 2 schemes with the shipped weights, K = 4, scikit-image's photographs. The floor:
every scheme's pictures encoded once; for every point and channel realisation the channel (comparator, channel codec,
link) and the decoder with the metrics, each as a program of its own, timed alone; and the draws, once a realisation and
scheme. "By itself": knowledge base, draws, encoder, channel, decoder and metrics for every point and realisation anew.
Then, on 64 points, points and images a second against the number of simulated devices (in processes of their own) and
against the memory budget.
"""

import argparse
import dataclasses
import functools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
from lacking import need

from lvm_mtc import link as links_room
from lvm_mtc.cli.pictures import demo_photographs, find_objects
from lvm_mtc.knowledge.loading import load_knowledge_base
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.metrics import known_metrics
from lvm_mtc.results.store import ResultStore
from lvm_mtc.schemes import simulate
from lvm_mtc.schemes.loading import DEMO_WEIGHTS, load_scheme
from lvm_mtc.schemes.scheme import Estimate
from lvm_mtc.sweep import programs
from lvm_mtc.sweep.named import make_contenders
from lvm_mtc.sweep.plan import SweepSpec, picture_source
from lvm_mtc.sweep.run import Group, Resources, run_sweep, sample_points
from lvm_mtc.sweep.stopping import StoppingRule

NUM_UAVS = 4
METRICS = ("psnr_db", "psnr_inside_db", "ssim")
SCHEMES = ("object", "uniform")


def make_spec(options: argparse.Namespace, loc: np.ndarray, images: np.ndarray) -> SweepSpec:
    """The sweep of the benchmark."""
    scheme, params = load_scheme(DEMO_WEIGHTS)
    return SweepSpec(
        schemes=tuple(make_contenders(SCHEMES, scheme, params)),
        links=tuple(LinkConfig(fading=fading, convention="rx_per_antenna") for fading in ("awgn", "rayleigh")),
        sources={NUM_UAVS: picture_source(images, loc)},
        snr_db=tuple(np.linspace(0.0, 20.0, options.snrs).tolist()),
        csi_error_var=tuple(np.linspace(0.0, 0.1, options.csi_errors).tolist()),
        stopping=StoppingRule(target_half_width=None, max_units=options.units),
        metrics=METRICS,
    )


def timed(function, repeats: int) -> float:
    """Median time of a call that was made once before, seconds."""
    jax.block_until_ready(function())
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def whole_sweep(spec: SweepSpec, resources: Resources) -> float:
    """Time of a sweep into a new store, seconds."""
    with tempfile.TemporaryDirectory() as folder, ResultStore(Path(folder) / "sweep.sqlite") as store:
        start = time.perf_counter()
        run_sweep(spec, store, resources=resources)
        return time.perf_counter() - start


def warm_sweep(spec: SweepSpec, resources: Resources) -> float:
    """Time of a sweep whose programs were compiled by one before, seconds."""
    whole_sweep(spec, resources)
    return whole_sweep(spec, resources)


def floor(spec: SweepSpec, repeats: int) -> dict[str, float]:
    """The parts of the floor, seconds for the whole sweep."""
    at = next(iter(spec.coordinates()))
    resources = Resources(num_devices=1)
    encoding = timed(lambda: [step.encoded for step in Group(spec, at, resources).steps], repeats)
    group = Group(spec, at, resources)
    units = range(min(group.units_per_draw, spec.stopping.max_units))
    contender = spec.schemes[0]
    scheme, params = contender.scheme, contender.params
    point = OperatingPoint(np.float32(10.0), np.float32(0.01), contender.knobs)
    measures = {name: known_metrics("pictures")[name] for name in METRICS}

    @functools.partial(jax.jit, static_argnums=2)
    def receive(encoded, link_draws, link):
        sent = scheme.modulate(params, encoded, point)
        return links_room.send(link, sent.signal, link_draws, point)[0], sent.side

    @jax.jit
    def finish(received, side, source):
        estimate = Estimate(scheme.decode(params, received, side, point).data)
        outcome = simulate.Outcome(estimate, None, None, None, None)
        return {name: measure(source, outcome) for name, measure in measures.items()}

    channel = decoding = drawing = 0.0
    for step in group.steps:
        draws = group.draws(step, units)
        drawing += timed(lambda step=step: group.draws(step, units), repeats) / len(units)
        for link, of_link in zip(spec.links, draws, strict=True):
            first = jax.tree.map(lambda a: a[0], of_link)
            channel += timed(lambda s=step, d=first, k=link: receive(s.encoded, d, k), repeats) / len(spec.links)
        arguments = *receive(step.encoded, first, link), step.source
        decoding += timed(lambda a=arguments: finish(*a), repeats)
    items = len(list(spec.coordinates())) * spec.stopping.max_units
    schemes = len(spec.schemes)
    return {
        "encode_s": schemes * encoding,
        "draw_s": schemes * spec.stopping.max_units * drawing,
        "channel_s": items * channel,
        "decode_s": items * decoding,
    }


def by_itself(spec: SweepSpec, views, knowledge_base, repeats: int) -> float:
    """Time of one point on one realisation from the picture on, seconds, mean over channels."""
    contender = spec.schemes[0]
    point = OperatingPoint(np.float32(10.0), np.float32(0.01), contender.knobs)
    measures = {name: known_metrics("pictures")[name] for name in METRICS}

    @functools.partial(jax.jit, static_argnums=3)
    def send(images, loc, key, link):
        source = picture_source(images, loc)
        out = simulate.forward(contender.scheme, contender.params, source, key, link, point)
        return {name: measure(source, out) for name, measure in measures.items()}

    def run(link):
        loc = find_objects(views, knowledge_base, "").loc
        sent = []
        for start, stop, size in spec.steps(NUM_UAVS):
            take = np.minimum(np.arange(start, start + size), stop - 1)
            sent.append(send(views.images[take], loc[take], jax.random.key(0), link))
        return sent

    return statistics.mean(timed(lambda k=link: run(k), repeats) for link in spec.links)


def throughput_on_devices(options: argparse.Namespace, count: int) -> float:
    """Time of the small sweep in a process of its own with so many simulated devices, seconds."""
    variables = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={count}"}
    size = ["--snrs", "8", "--csi-errors", "2", "--units", str(options.units)]
    command = [sys.executable, __file__, "--only-sweep", *size]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def paired_factors(spec: SweepSpec, units: int = 32) -> dict[str, float]:
    """How many times narrower common draws make the interval of a difference than independent ones would."""
    rule = StoppingRule(target_half_width=None, max_units=units)
    near = dataclasses.replace(spec, snr_db=(10.0, 12.0), csi_error_var=(0.0,), links=spec.links[1:], stopping=rule)
    found = sample_points(near, near.coordinates())
    means = {
        (at["scheme"], at["snr_db"]): np.float64(samples.metrics["psnr_inside_db"]).mean(axis=(1, 2))
        for at, samples in zip(near.coordinates(), found, strict=True)
    }

    def factor(a, b):
        return float(np.sqrt(a.var(ddof=1) + b.var(ddof=1)) / (a - b).std(ddof=1))

    first, second = (scheme.name for scheme in spec.schemes)
    return {
        "neighbouring_snrs": factor(means[first, 10.0], means[first, 12.0]),
        "two_schemes": factor(means[first, 10.0], means[second, 10.0]),
        "units": units,
    }


def main(argv: list[str] | None = None) -> int:
    """Runs the benchmark and writes its result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=4, help="channel realisations a point")
    parser.add_argument("--snrs", type=int, default=11)
    parser.add_argument("--csi-errors", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--devices", type=int, nargs="*", default=[1, 2, 4, 8])
    parser.add_argument("--only-sweep", action="store_true", help="print the time of the sweep alone")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "sweep_cpu.json")
    options = parser.parse_args(argv)
    need("demo", "skimage")
    scheme, _ = load_scheme(DEMO_WEIGHTS)
    knowledge_base = load_knowledge_base()
    views = demo_photographs(NUM_UAVS, scheme.config.image_size)
    views_loc = find_objects(views, knowledge_base, "").loc
    spec = make_spec(options, views_loc, views.images)
    resources = Resources()
    before = dict(programs.TRACES)
    first = whole_sweep(spec, resources)
    traces = {name: programs.TRACES[name] - before.get(name, 0) for name in programs.TRACES}
    if options.only_sweep:
        print(whole_sweep(spec, resources))
        return 0
    parts = floor(spec, options.repeats)
    # The two in turn: the machine's mood counts for both.
    sweeps, floors = [], []
    for _ in range(3):
        sweeps.append(whole_sweep(spec, resources))
        floors.append(sum(floor(spec, options.repeats).values()))
    seconds, least = statistics.median(sweeps), statistics.median(floors)
    points = len(list(spec.coordinates()))
    items = points * spec.stopping.max_units
    images = items * len(views.images) * NUM_UAVS
    alone = by_itself(spec, views, knowledge_base, options.repeats)
    small = make_spec(argparse.Namespace(**vars(options) | {"snrs": 8, "csi_errors": 2}), views_loc, views.images)
    few = len(list(small.coordinates()))
    one_draw = programs.draw_bytes(spec.draw_shape(NUM_UAVS, spec.schemes[0].name))
    result = {
        "sweep": {
            "points": points,
            "units": spec.stopping.max_units,
            "pictures": len(views.images) * NUM_UAVS,
            "programs": 1 + sum(traces.values()),
            "traces": traces,
            "with_compilation_s": first,
        },
        "programs_are": "the knowledge base and those that were traced",
        "sweep_s": seconds,
        "all_sweeps_s": sweeps,
        "floor_s": least,
        "all_floors_s": floors,
        "floor_parts": parts,
        "sweep_over_floor": seconds / least,
        "by_itself_s": items * alone,
        "by_itself_over_sweep": items * alone / seconds,
        "points_per_s": points / seconds,
        "images_per_s": images / seconds,
        "devices": [
            {"devices": count, "points_per_s": few / time_taken, "images_per_s": images / points * few / time_taken}
            for count in options.devices
            for time_taken in [throughput_on_devices(options, count)]
        ],
        "memory_budget": [
            {"bytes": budget, "points_per_s": few / warm_sweep(small, Resources(memory_budget=budget))}
            for budget in (one_draw, 4 * one_draw, 16 * one_draw)
        ],
        "paired_interval_narrower_by": paired_factors(spec),
        "device_kind": jax.devices()[0].device_kind,
        "num_devices": jax.device_count(),
        "jax": jax.__version__,
        "python": platform.python_version(),
        "load_average_1_min": os.getloadavg()[0],
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(
        f"{points} points: {seconds:.1f} s, {seconds / least:.2f} x the floor; every point by itself: "
        f"{items * alone / seconds:.1f} x; written to {options.out}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
