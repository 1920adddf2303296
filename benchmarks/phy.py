"""Time of a whole SNR x CSI-error sweep of the channel layer as one compiled program.

Operating point (a): 11 SNRs x 5 CSI-error variances, 4x4 Rayleigh fading with a channel of its own for every slot,
robust L-MMSE, 20,000 slots a point, draws shared by all points. Writes JSON:

    python benchmarks/phy.py [--out FILE] [--repeats 20] [--slots 20000] [--equalizer robust] [--devices 2]

The slots are spread over all devices. On a CPU, XLA runs one host device on little more than one core, so that the
number of host devices (``--devices``, by default that of the cores, at most 8) is the number of cores that work.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import sys
import time
from pathlib import Path


def _devices_asked_for(argv: list[str]) -> int:
    """Number of host devices, read before JAX is imported: XLA takes it from the environment, once."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--devices", type=int, default=min(8, len(os.sched_getaffinity(0))))
    return parser.parse_known_args(argv)[0].devices


if __name__ == "__main__":
    _COUNT = f"--xla_force_host_platform_device_count={_devices_asked_for(sys.argv[1:])}"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_COUNT}".strip()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from jax.sharding import AxisType, NamedSharding, PartitionSpec  # noqa: E402

from lvm_mtc import phy  # noqa: E402

NUM_ANT = 4
SNR_DB = np.linspace(0.0, 30.0, 11, dtype=np.float32)
CSI_ERROR_VAR = np.array([0.0, 0.003, 0.01, 0.03, 0.1], np.float32)


def qpsk(key: jax.Array, num_slots: int) -> jax.Array:
    """Random QPSK symbols of power 1, ``[num_slots, NUM_ANT]``: one word of random bits holds those of a slot."""
    word = jax.random.bits(key, (num_slots, 1), jnp.uint8)
    bits = (word >> jnp.arange(2 * NUM_ANT, dtype=jnp.uint8)[None]) & 1
    signs = (1 - 2 * bits.astype(jnp.float32)) * jnp.float32(0.5**0.5)
    return jax.lax.complex(signs[:, :NUM_ANT], signs[:, NUM_ANT:])


def sweep(key: jax.Array, snr_db: jax.Array, csi_error_var: jax.Array, *, num_slots: int, equalizer: str):
    """Mean squared error and mean ``no_eff`` of every point, ``[num_snr, num_csi]`` each; the draws are made inside."""
    draw_key, bit_key = jax.random.split(key)
    x = qpsk(bit_key, num_slots)
    draws = phy.draw_link(draw_key, (), num_slots, num_tx_ant=NUM_ANT, block_length=1)
    mesh = jax.make_mesh((jax.device_count(),), ("slots",), axis_types=(AxisType.Auto,))
    x, draws = jax.lax.with_sharding_constraint((x, draws), NamedSharding(mesh, PartitionSpec("slots")))

    def means(x_hat, no_eff):
        error = x_hat - x
        # By device: a mean over all slots would make the devices wait for each other at every point.
        by_device = (jax.device_count(), -1)
        return tuple(
            jnp.mean(a.reshape(by_device), axis=-1) for a in (jnp.real(error) ** 2 + jnp.imag(error) ** 2, no_eff)
        )

    mse, no_eff = phy.sweep_lmmse(x, draws, phy.noise_variance(snr_db), csi_error_var, means, variant=equalizer)
    return mse.mean(-1).T, no_eff.mean(-1).T


def cpu_model() -> str:
    """Name of the processor, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def measure(num_slots: int, equalizer: str, repeats: int) -> dict:
    """Compile once, warm up, time ``repeats`` runs; a dictionary of results."""
    program = jax.jit(sweep, static_argnames=("num_slots", "equalizer"))
    keys = list(jax.random.split(jax.random.key(0), repeats + 2))
    start = time.perf_counter()
    compiled = program.lower(keys[0], SNR_DB, CSI_ERROR_VAR, num_slots=num_slots, equalizer=equalizer).compile()
    compile_s = time.perf_counter() - start
    mse, no_eff = jax.block_until_ready(compiled(keys[0], SNR_DB, CSI_ERROR_VAR))
    jax.block_until_ready(compiled(keys[1], SNR_DB, CSI_ERROR_VAR))
    times = []
    for key in keys[2:]:
        start = time.perf_counter()
        jax.block_until_ready(compiled(key, SNR_DB, CSI_ERROR_VAR))
        times.append(time.perf_counter() - start)
    quartiles = statistics.quantiles(times, n=4)
    points = len(SNR_DB) * len(CSI_ERROR_VAR)
    median = statistics.median(times)
    device = jax.devices()[0]
    return {
        "operating_point": "a: SNR x CSI-error grid, one program, draws shared and made inside",
        "num_snr": len(SNR_DB),
        "num_csi": len(CSI_ERROR_VAR),
        "num_ant": NUM_ANT,
        "num_slots_per_point": num_slots,
        "equalizer": equalizer,
        "repeats": repeats,
        "compile_s": compile_s,
        "median_s": median,
        "quartiles_s": quartiles,
        "min_s": min(times),
        "max_s": max(times),
        "solves_per_s": points * num_slots / median,
        "channel_uses_per_s": points * num_slots * NUM_ANT / median,
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "peak_memory_is": "maximum resident set of the process, interpreter and compiler included",
        "device_kind": device.device_kind,
        "platform": device.platform,
        "num_devices": jax.device_count(),
        "cpu_model": cpu_model(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "numpy": np.__version__,
        "snr_db": SNR_DB.tolist(),
        "csi_error_var": [round(float(v), 6) for v in CSI_ERROR_VAR],
        "mse": np.asarray(mse).tolist(),
        "mean_no_eff": np.asarray(no_eff).tolist(),
    }


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark and write its result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="result file (default: benchmarks/results/phy_<device>.json)")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--slots", type=int, default=20_000)
    parser.add_argument("--devices", type=int, help="host devices on a CPU (default: the cores, at most 8)")
    parser.add_argument("--equalizer", choices=phy.LMMSE_VARIANTS, default="robust")
    args = parser.parse_args(argv)
    if args.repeats < 10 or args.slots < 1:
        parser.error(f"--repeats must be >= 10 and --slots >= 1, got {args.repeats} and {args.slots}")
    result = measure(args.slots, args.equalizer, args.repeats)
    result["load_average_1_min"] = os.getloadavg()[0]
    out = args.out or Path(__file__).parent / "results" / f"phy_{result['platform']}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{result['median_s'] * 1e3:.1f} ms a grid (compiled in {result['compile_s']:.1f} s), written to {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
