"""What comparisons of our channel layer with a peer share: points, our side, the check that both do the same, times.

The peer gives a loop over its points and the capped errors of each (``measure_against``).
"""

import argparse
import functools
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import phy as phy_benchmark

from lvm_mtc import phy

EQUALIZER = "unbiased"
SINGLE_POINT = (15.0, 0.01)
TARGETS = {"grid": 20.0, "single_point": 2.0}
Points = list[tuple[float, float]]
Loop = Callable[[], list[float]]
"""Runs all points and returns their mean squared errors."""
# 55 points and 5 standard errors: one false alarm in 30,000 runs.
STANDARD_ERRORS = 5.0


def grid_points() -> list[tuple[float, float]]:
    """SNR in dB and CSI-error variance of every point."""
    return [(float(snr), float(error)) for snr in phy_benchmark.SNR_DB for error in phy_benchmark.CSI_ERROR_VAR]


def start_jax(devices: int) -> None:
    """Start JAX with that many host devices, and leave nothing in the environment for TensorFlow's XLA to read."""
    before = os.environ.get("XLA_FLAGS")
    os.environ["XLA_FLAGS"] = f"{before or ''} --xla_force_host_platform_device_count={devices}".strip()
    jax.devices()
    if before is None:
        del os.environ["XLA_FLAGS"]
    else:
        os.environ["XLA_FLAGS"] = before


def our_sweep(points, num_slots: int):
    """Our side: one program, compiled for the grid that the points span."""
    snr_db = np.array(sorted({snr for snr, _ in points}), np.float32)
    error_var = np.array(sorted({error for _, error in points}), np.float32)
    keys = iter(range(10**6))
    program = jax.jit(functools.partial(phy_benchmark.sweep, num_slots=num_slots, equalizer=EQUALIZER))
    compiled = program.lower(jax.random.key(0), snr_db, error_var).compile()

    def run():
        mse, _ = compiled(jax.random.key(next(keys)), snr_db, error_var)
        return np.asarray(mse).reshape(-1).tolist()

    return run


def capped_moments(per_slot: np.ndarray) -> tuple[float, float]:
    """Mean of capped errors, and its standard error."""
    return float(per_slot.mean()), float(per_slot.std() / np.sqrt(per_slot.size))


def our_capped_mse(points, num_slots: int):
    """Mean of min(|x_hat - x|^2, 1) and its standard error at every point, with draws of its own at each of them.

    The error of an unbiased receiver has no variance (a deep fade makes it as large as one likes), so that its plain
    mean cannot be compared within standard errors; that of the capped error can.
    """

    @jax.jit
    def point(key, no, csi_error_var):
        key_bits, key_link = jax.random.split(key)
        x = phy_benchmark.qpsk(key_bits, num_slots)
        setting = {"no": no, "csi_error_var": csi_error_var, "block_length": 1, "equalizer": EQUALIZER}
        error = phy.joint(key_link, x, **setting).x_hat - x
        return jnp.mean(jnp.minimum(jnp.real(error) ** 2 + jnp.imag(error) ** 2, 1), axis=-1)

    keys = jax.random.split(jax.random.key(7), len(points))
    return [
        capped_moments(np.asarray(point(key, phy.noise_variance(jnp.float32(snr)), jnp.float32(error))))
        for key, (snr, error) in zip(keys, points, strict=True)
    ]


def compare_errors(points, ours, theirs) -> list[str]:
    """A line for every point at which the two sides do not do the same work."""
    lines = []
    for (snr, error_var), (a, std_a), (b, std_b) in zip(points, ours, theirs, strict=True):
        spread = (std_a**2 + std_b**2) ** 0.5
        if not abs(a - b) <= STANDARD_ERRORS * spread:
            lines.append(f"at {snr:g} dB, csi_error_var {error_var:g}: ours {a:.5f}, Sionna {b:.5f}, +- {spread:.5f}")
    return lines


def _timed(run) -> tuple[float, list[float]]:
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def time_sides(theirs: Mapping[str, Loop], points: Points, num_slots: int, repeats: int) -> dict:
    """Compile everything, warm up, then run all sides in turn, so that what else the machine does meets all of them."""
    start = time.perf_counter()
    sides = {"ours": our_sweep(points, num_slots), **theirs}
    compile_s = {"ours": time.perf_counter() - start}
    first = {name: _timed(run)[0] for name, run in sides.items()}
    times = {name: [] for name in sides}
    mse = {}
    for _ in range(repeats):
        for name, run in sides.items():
            # The run before the timed one wakes this side's threads and puts those of the other to sleep.
            run()
            seconds, mse[name] = _timed(run)
            times[name].append(seconds)
    report = {}
    for name, seconds in times.items():
        median = statistics.median(seconds)
        report[name] = {
            "median_s": median,
            "quartiles_s": statistics.quantiles(seconds, n=4),
            "min_s": min(seconds),
            "max_s": max(seconds),
            # Sionna's side traces and compiles in its first call, which also runs once.
            "compile_s": compile_s.get(name, first[name] - median),
            "channel_uses_per_s": len(points) * num_slots * phy_benchmark.NUM_ANT / median,
            "mse_of_the_last_run": mse[name],
        }
        if name != "ours":
            pairs = [theirs / ours for theirs, ours in zip(seconds, times["ours"], strict=True)]
            report[name]["ratio"] = median / report["ours"]["median_s"]
            report[name]["ratio_quartiles"] = statistics.quantiles(pairs, n=4)
    return report


def measure_against(
    capped_mse: Callable[[Points], list[tuple[float, float]]],
    loops: Callable[[Points], Mapping[str, Loop]],
    num_slots: int,
    repeats: int,
) -> dict:
    """Check that both sides do the same work, then time both operating points.

    Args:
        capped_mse: The other side's :func:`our_capped_mse`.
        loops: The other side's loops, by name.
    """
    points = grid_points()
    ours, theirs = our_capped_mse(points, num_slots), capped_mse(points)
    different = compare_errors(points, ours, theirs)
    if different:
        raise SystemExit("the two sides do not do the same work:\n" + "\n".join(different))
    # The check must be able to fail: the same errors against those of a neighbouring SNR.
    shift = len(phy_benchmark.CSI_ERROR_VAR)
    if not compare_errors(points[shift:], ours[shift:], theirs[:-shift]):
        raise SystemExit("too few slots to tell one SNR from the next")
    device = jax.devices()[0]
    return {
        "operating_point": "a: SNR x CSI-error grid, ours in one program with shared draws, Sionna in a loop",
        "equalizer": EQUALIZER,
        "num_ant": phy_benchmark.NUM_ANT,
        "num_slots_per_point": num_slots,
        "num_points": len(points),
        "repeats": repeats,
        "snr_db": phy_benchmark.SNR_DB.tolist(),
        "csi_error_var": [round(float(v), 6) for v in phy_benchmark.CSI_ERROR_VAR],
        "grid": time_sides(loops(points), points, num_slots, repeats),
        "single_point": time_sides(loops([SINGLE_POINT]), [SINGLE_POINT], num_slots, max(repeats, 30)),
        "single_point_is": {"snr_db": SINGLE_POINT[0], "csi_error_var": SINGLE_POINT[1]},
        "capped_mse": {
            "is": "mean of min(|x_hat - x|^2, 1) and its standard error, point after point, from an untimed run",
            "ours": ours,
            "sionna": theirs,
            "standard_errors_allowed": STANDARD_ERRORS,
        },
        "platform": device.platform,
        "device_kind": device.device_kind,
        "num_devices": jax.device_count(),
        "cores": len(os.sched_getaffinity(0)),
        "cpu_model": phy_benchmark.cpu_model(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "numpy": np.__version__,
        "load_average_1_min": os.getloadavg()[0],
    }


def table(result: dict) -> str:
    """Times and memory of a result in words."""
    lines = [f"{'':14}{'side':20}{'median':>12}{'quartiles':>20}{'compile':>10}{'ratio':>8}{'target':>8}"]
    for place in ("grid", "single_point"):
        for name, side in result[place].items():
            low, _, high = (1e3 * value for value in side["quartiles_s"])
            ratio = f"{side['ratio']:8.1f}{TARGETS[place]:8.0f}" if "ratio" in side else ""
            median = f"{1e3 * side['median_s']:9.1f} ms{low:9.1f} -{high:8.1f}"
            lines.append(f"{place:14}{name:20}{median}{side['compile_s']:9.1f}s{ratio}")
    for name, side in (result.get("memory") or {}).items():
        first, second = side["peak_above_imports_mib"], side["peak_of_a_second_run_above_imports_mib"]
        lines.append(f"{'memory':14}{name:20}{first:9.0f} MiB with the compiler, {second:.0f} MiB in a second run")
    return "\n".join(lines)


def parser_of(description: str, out: str) -> argparse.ArgumentParser:
    """The flags of a comparison; ``out`` names its result file."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, help=f"result file (default: benchmarks/results/{out}_<platform>.json)")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--slots", type=int, default=20_000)
    parser.add_argument(
        "--devices", type=int, default=min(8, len(os.sched_getaffinity(0))), help="host devices of JAX on a CPU"
    )
    return parser


def parse(parser: argparse.ArgumentParser, argv: list[str] | None) -> argparse.Namespace:
    """The flags' values, those in range."""
    args = parser.parse_args(argv)
    if args.repeats < 10 or args.slots < 1 or args.devices < 1:
        parser.error(
            f"--repeats must be >= 10, --slots and --devices >= 1, got {args.repeats}, {args.slots} and {args.devices}"
        )
    return args


def write(result: Mapping, out: Path | None, name: str) -> None:
    """Writes a result and prints its table."""
    out = out or Path(__file__).parent / "results" / f"{name}_{result['platform']}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))
    print(f"written to {out}")
