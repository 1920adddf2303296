"""Training step of the token codec on this machine's device by batch: time, memory, and share of the peak (MFU).

One end-to-end step at 224 pixels, a quarter of the patches kept, 4x4 Rayleigh, AdamW, one UAV a picture, donated state.
``--mode`` says how matrix products are taken: ``bfloat16`` (networks in bfloat16, parameters in float32),
``tensorfloat32`` and ``float32`` (exact). The model's operations are two a multiply-accumulate of every product and
convolution of the step, counted from shapes; ``mfu`` is their rate over the data sheet's peak of the mode without
sparsity, where the device is known, and ``of_largest_product`` that over one large matrix product timed here. Batches
grow until memory is out. Writes JSON after each batch:

    python benchmarks/device.py --mode bfloat16 [--variant base] [--batches 8 16 32] [--out FILE]
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
from paper_scale import GIB, analysis, build

from lvm_mtc.models.flops import count_flops
from lvm_mtc.schemes.lvm_mtc.config import Execution, LvmMtcConfig

MODES = {"bfloat16": "default", "tensorfloat32": "tensorfloat32", "float32": "highest"}
"""Mode to ``jax_default_matmul_precision``."""
PEAK_TERAFLOPS = {
    "A100": (312.0, 156.0, 19.5),
    "H100": (989.4, 494.7, 66.9),
    "H200": (989.4, 494.7, 66.9),
    "L40S": (362.0, 183.0, 91.6),
    "L4": (121.0, 60.0, 30.3),
    "A10": (125.0, 62.5, 31.2),
}
"""Part of a device's name to the peaks of ``MODES``, dense, 10^12 operations a second (NVIDIA's data sheets, SXM)."""


def peak_of(device_kind: str, mode: str) -> float | None:
    """Operations a second of the data sheet; None for a device that is not in the table."""
    names = sorted((name for name in PEAK_TERAFLOPS if name in device_kind.replace("-", " ").split()), key=len)
    return 1e12 * PEAK_TERAFLOPS[names[-1]][list(MODES).index(mode)] if names else None


def seconds_of(call, repeats: int) -> list[float]:
    """Times of a call that gives arrays, after one to warm up."""
    jax.block_until_ready(call())
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return times


def largest_product(mode: str, size: int, repeats: int) -> float:
    """Operations a second of one square matrix product."""
    dtype = jnp.bfloat16 if mode == "bfloat16" else jnp.float32
    a, b = jax.random.normal(jax.random.key(0), (2, size, size), dtype)
    product = jax.jit(jnp.matmul)
    return 2 * size**3 / min(seconds_of(lambda: product(a, b), repeats))


def measure_batch(mode: str, variant: str, batch: int, repeats: int) -> dict:
    """One compiled step of so many pictures."""
    execution = Execution(scan=True, remat=False, dtype="bfloat16" if mode == "bfloat16" else None)
    step, initial, data = build(variant, 1, per_uav=False, execution=execution, num_groups=batch)
    held = [jax.jit(initial)(jax.random.key(0)), jax.tree.map(jnp.asarray, data)]
    operations = count_flops(step, *held)
    start = time.perf_counter()
    compiled = step.lower(*held).compile()
    compile_s = time.perf_counter() - start
    losses = []

    def take():
        held[0], metrics = compiled(*held)
        losses.append(metrics["loss"])
        return metrics

    times = seconds_of(take, repeats)
    config = LvmMtcConfig.paper(variant=variant, num_kept=49)
    median = statistics.median(times)
    memory = jax.devices()[0].memory_stats() or {}
    return {
        "batch": batch,
        "compile_s": compile_s,
        "median_s": median,
        "quartiles_s": statistics.quantiles(times, n=4),
        "pictures_per_s": batch / median,
        "channel_uses_per_s": batch * config.capacity * config.num_symbols / median,
        "operations": operations,
        "operations_per_s": operations / median,
        "memory_analysis": analysis(compiled),
        "peak_device_gib": memory.get("peak_bytes_in_use", 0) / GIB or None,
        "first_and_last_loss": [float(losses[0][0]), float(losses[-1][0])],
    }


def measure(mode: str, variant: str, batches: list[int], repeats: int, size: int, out: Path) -> dict:
    """All batches, the smallest first, until memory is out."""
    device = jax.devices()[0]
    result = {
        "operating_point": "one end-to-end training step, 224 pixels, 49 kept tokens, 64 symbols a token",
        "mode": mode,
        "variant": variant,
        "device_kind": device.device_kind,
        "platform": device.platform,
        "jax": jax.__version__,
        "peak": peak_of(device.device_kind, mode),
        "largest_product": {"size": size, "operations_per_s": largest_product(mode, size, repeats)},
        "repeats": repeats,
        "load_average_1_min": os.getloadavg()[0],
        "batches": [],
    }
    for batch in sorted(batches):
        try:
            row = measure_batch(mode, variant, batch, repeats)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            row = {"batch": batch, "out_of_memory": str(error).splitlines()[0]}
        else:
            row["mfu"] = row["operations_per_s"] / result["peak"] if result["peak"] else None
            row["of_largest_product"] = row["operations_per_s"] / result["largest_product"]["operations_per_s"]
        result["batches"].append(row)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=1) + "\n")
        print(_line(mode, row), flush=True)
        if "out_of_memory" in row:
            break
    return result


def _line(mode: str, row: dict) -> str:
    if "out_of_memory" in row:
        return f"{mode}, {row['batch']} pictures: out of memory"
    mfu = "" if row["mfu"] is None else f", MFU {row['mfu']:.3f}"
    return (
        f"{mode}, {row['batch']} pictures: {row['pictures_per_s']:.1f} pictures/s, "
        f"{row['of_largest_product']:.3f} of the largest product{mfu}, {row['memory_analysis']['peak_gib']:.2f} GiB"
    )


def main(argv: list[str] | None = None) -> int:
    """Runs the benchmark and writes its result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mode", choices=MODES, required=True, help="how matrix products are taken")
    parser.add_argument("--variant", default="base", help="size of the network (default: base)")
    parser.add_argument("--batches", nargs="+", type=int, default=[8, 32, 128, 512], help="pictures a step")
    parser.add_argument("--repeats", type=int, default=10, help="timed steps, >= 2 (default: 10)")
    parser.add_argument("--product", type=int, default=8192, help="size of the largest product (default: 8192)")
    parser.add_argument(
        "--out", type=Path, help="result file (default: benchmarks/results/step_<mode>_<platform>.json)"
    )
    options = parser.parse_args(argv)
    if options.repeats < 2 or min(options.batches) < 1 or options.product < 1:
        parser.error(
            f"--repeats must be >= 2, --batches and --product >= 1, got {options.repeats}, {options.batches} and "
            f"{options.product}"
        )
    jax.config.update("jax_default_matmul_precision", MODES[options.mode])
    name = f"step_{options.mode}_{jax.default_backend()}.json"
    out = options.out or Path(__file__).parent / "results" / name
    measure(options.mode, options.variant, options.batches, options.repeats, options.product, out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
