"""Cost of the knowledge base's detector against other image encoders: parameters, operations, latency, memory.

FlashSAM n...x at 640 and 1024 pixels, the image encoders of SAM ViT-H, SAM 2 (Hiera-B+) and ViTDet (ViT-B) at 1024, all
with random weights in float32, and YOLOX-nano through onnxruntime (extra ``detection``), in one process. Writes JSON
and prints a table in which published numbers stand in columns of their own:

    python benchmarks/lkb.py [--out FILE] [--repeats 10] [--seconds 120] [--only NAME ...] [--yolox FILE]

FlashSAM is timed from picture to boxes: network with folded batch norms, decoding and non-maximum suppression with 100
boxes kept; the encoders are timed alone, without the decoder that would follow. Before every run one large convolution
is timed, so that the share of its operations per second that a network reaches is a comparison within seconds, also on
a machine that does other work; so are latencies counted in such convolutions. Memory is what the compiled program
needs: parameters, inputs, temporaries, outputs. All get it in huge pages, as every command of the library does.
"""

import argparse
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import flax
import jax
import jax.numpy as jnp
import numpy as np
from phy import cpu_model
from reference_encoders import Sam2Hiera, SamViTH, ViTDetB

from lvm_mtc.cli.huge_pages import restart_with_huge_pages
from lvm_mtc.models.detection import anchor_points, detect
from lvm_mtc.models.flashsam import FLASHSAM_VARIANTS, FlashSAM
from lvm_mtc.models.flops import count_flops

MIN_RUNS = 3
"""Runs that even the slowest program gets."""

CONVOLUTION = {"side": 80, "features": 512}
"""The large convolution: 3x3 on a map of 80 x 80 cells, 512 to 512 channels, 30.2 GFLOP."""

# Name -> what was published of it; ``encoder_params`` are those that the encoder built here must have. That of SAM is
# published; SAM 2's four sizes less these encoders leave the same 11.7 M each; ViTDet's and Mask R-CNN's heads: 111 M.
PUBLISHED = {
    # YOLO11 (docs.ultralytics.com/models/yolo11), 80 classes, 640 pixels; ONNX on a CPU and TensorRT on a T4.
    "FlashSAM-n": {"params_m": 2.624, "gflops": 6.5, "latency_ms": "56.1 CPU, 1.5 T4"},
    "FlashSAM-s": {"params_m": 9.459, "gflops": 21.5, "latency_ms": "90.0 CPU, 2.5 T4"},
    "FlashSAM-m": {"params_m": 20.115, "gflops": 68.0, "latency_ms": "183.2 CPU, 4.7 T4"},
    "FlashSAM-l": {"params_m": 25.372, "gflops": 86.9, "latency_ms": "238.6 CPU, 6.2 T4"},
    "FlashSAM-x": {"params_m": 56.966, "gflops": 194.9, "latency_ms": "462.8 CPU, 11.3 T4"},
    # Whole models: SAM with prompt encoder and mask decoder (a prompt on an RTX 3090), SAM 2.1 with its memory
    # (64.1 frames a second on an A100), ViTDet as Mask R-CNN (as published with its weights; GPU).
    "SAM ViT-H": {"params_m": 636, "gflops": None, "latency_ms": "446 RTX 3090", "encoder_params": 637_026_048},
    "SAM 2 Hiera-B+": {"params_m": 80.8, "gflops": None, "latency_ms": "15.6 A100", "encoder_params": 69_131_488},
    "ViTDet ViT-B": {"params_m": 111, "gflops": None, "latency_ms": "79 GPU", "encoder_params": 91_449_024},
    # Ge et al., YOLOX (2021), Table 5, 416 pixels.
    "YOLOX-nano": {"params_m": 0.91, "gflops": 1.08, "latency_ms": None},
    # Zhao et al., Fast Segment Anything (2023), Table 1: named for comparison, not built.
    "FastSAM": {"params_m": 68, "gflops": None, "latency_ms": "40 RTX 3090"},
}


def random_params(shapes: dict) -> dict:
    """Parameters at which signals neither vanish nor explode: kernels scaled by fan in, scales 1, all else 0."""
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        if leaf.ndim > 1:
            values = rng.standard_normal(leaf.shape, np.float32)
            values *= np.float32(1 / math.sqrt(math.prod(leaf.shape[:-1])))
            return jnp.asarray(values)
        return jnp.full(leaf.shape, float(path[-1].key == "scale"), leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def large_convolution() -> tuple[Callable[[], None], int]:
    """The yardstick: a function that runs it once, and its operations."""
    side, features = CONVOLUTION["side"], CONVOLUTION["features"]
    x = jnp.ones((1, side, side, features))
    kernel = jnp.ones((3, 3, features, features)) / features

    def convolve(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    compiled = jax.jit(convolve).lower(x, kernel).compile()
    return lambda: jax.block_until_ready(compiled(x, kernel)), count_flops(convolve, x, kernel)


def timed(run: Callable[[], object]) -> float:
    """Seconds of one run."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure_runs(run: Callable[[], object], yardstick: Callable[[], object], repeats: int, seconds: float) -> dict:
    """Times the program and, before every run of it, the yardstick; one run of each comes first and is dropped."""
    yardstick()
    run()
    times, yardstick_times = [], []
    start = time.perf_counter()
    while len(times) < repeats and (len(times) < MIN_RUNS or time.perf_counter() - start < seconds):
        yardstick_times.append(timed(yardstick))
        times.append(timed(run))
    return {
        "runs": len(times),
        "median_s": statistics.median(times),
        "quartiles_s": statistics.quantiles(times, n=4),
        "min_s": min(times),
        "max_s": max(times),
        "yardstick_median_s": statistics.median(yardstick_times),
        "yardstick_min_s": min(yardstick_times),
    }


def jax_entries() -> dict[str, tuple]:
    """Name -> pixels, shapes of the parameters, and the program ``(params, image) -> outputs`` with what to count."""
    entries = {}
    for variant in FLASHSAM_VARIANTS:
        for size in (640, 1024):
            model = FlashSAM(variant, folded=True)
            points, strides = anchor_points(size, size)

            def program(params, image, model=model, points=points, strides=strides):
                return detect(model.apply(params, image), points, strides, max_boxes=100)

            entries[f"FlashSAM-{variant} {size}"] = (size, model, program)
    for name, model in (("ViTDet ViT-B", ViTDetB()), ("SAM 2 Hiera-B+", Sam2Hiera()), ("SAM ViT-H", SamViTH())):
        entries[f"{name} 1024"] = (1024, model, model.apply)
    return entries


def measure_jax(name: str, entry: tuple, yardstick: tuple, repeats: int, seconds: float) -> dict:
    """Compiles one program apart from running it; a dictionary of results.

    Raises:
        ValueError: if the model has not the number of parameters that the published one has.
    """
    size, model, program = entry
    image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), image)
    num_params = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    expected = PUBLISHED[name.rsplit(" ", 1)[0]].get("encoder_params")
    if expected is not None and num_params != expected:
        raise ValueError(f"{name} has {num_params} parameters, the published one {expected}")
    flops = count_flops(model.apply, shapes, image)

    params = random_params(shapes)
    picture = jnp.asarray(np.random.default_rng(1).uniform(size=image.shape), jnp.float32)
    start = time.perf_counter()
    compiled = jax.jit(program).lower(params, picture).compile()
    compile_s = time.perf_counter() - start
    memory = compiled.memory_analysis()
    run_yardstick, yardstick_flops = yardstick
    result = {
        "pixels": size,
        "params": num_params,
        "gflops": flops / 1e9,
        "compile_s": compile_s,
        "memory_mib": (
            memory.argument_size_in_bytes + memory.temp_size_in_bytes + memory.output_size_in_bytes
        ) / 2**20,
        **measure_runs(lambda: jax.block_until_ready(compiled(params, picture)), run_yardstick, repeats, seconds),
    }  # fmt: skip
    result["gflops_per_s"] = flops / result["median_s"] / 1e9
    result["yardstick_gflops_per_s"] = yardstick_flops / result["yardstick_median_s"] / 1e9
    result["share_of_yardstick"] = result["gflops_per_s"] / result["yardstick_gflops_per_s"]
    return result


def resident_mib() -> float:
    """Memory that this process has in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure_yolox(path: Path, yardstick: tuple, repeats: int, seconds: float) -> dict | None:
    """YOLOX-nano through onnxruntime with as many threads as cores, network only; None without onnxruntime or file."""
    try:
        import onnxruntime
    except ImportError:
        print("YOLOX-nano is left out: onnxruntime is not installed (extra: detection)", file=sys.stderr)
        return None
    if not path.is_file():
        print(f"YOLOX-nano is left out: there is no file {path}", file=sys.stderr)
        return None
    before = resident_mib()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (network_input,) = session.get_inputs()
    picture = np.random.default_rng(1).uniform(0, 255, network_input.shape).astype(np.float32)

    def run():
        return session.run(None, {network_input.name: picture})

    result = {"pixels": network_input.shape[-1], **measure_runs(run, yardstick[0], repeats, seconds)}
    return {**result, "memory_mib": resident_mib() - before}


HEAD = (
    "model", "pixels", "parameters M", "GFLOP", "latency ms (quartiles; runs)", "memory MiB", "of a convolution",
    "parameters: SAM / this", "latency: SAM / this", "in convolutions: SAM / this", "published M", "published GFLOP",
    "published ms",
)  # fmt: skip


def table_row(name: str, result: dict, reference: dict | None) -> tuple:
    """One line of the table; ``reference`` is what ratios are to, if it was measured."""

    def cell(key, form, scale=1.0):
        return format(result[key] * scale, form) if key in result else "-"

    def ratio(key):
        return f"{reference[key] / result[key]:.1f}" if reference and key in result else "-"

    def convolutions(of):
        return of["median_s"] / of["yardstick_median_s"]

    title = name.rsplit(" ", 1)[0]
    published = PUBLISHED[title]
    if title.startswith("FlashSAM") and result["pixels"] != 640:
        published = {**published, "gflops": None, "latency_ms": None}
    low, _, high = (1e3 * quartile for quartile in result["quartiles_s"])
    return (
        title,
        result["pixels"],
        cell("params", ".2f", 1e-6),
        cell("gflops", ".1f"),
        f"{result['median_s'] * 1e3:.1f} ({low:.1f}-{high:.1f}; {result['runs']})",
        cell("memory_mib", ".0f"),
        cell("share_of_yardstick", ".0%"),
        ratio("params"),
        ratio("median_s"),
        f"{convolutions(reference) / convolutions(result):.1f}" if reference else "-",
        *("-" if published[key] is None else published[key] for key in ("params_m", "gflops", "latency_ms")),
    )


def table(results: dict[str, dict]) -> str:
    """The results in Markdown, with ratios to the SAM ViT-H encoder where that was measured."""
    reference = results.get("SAM ViT-H 1024")
    lines = [HEAD, ["---"] * len(HEAD), *(table_row(name, result, reference) for name, result in results.items())]
    fast = PUBLISHED["FastSAM"]
    lines.append(("FastSAM (not built)", *["-"] * 9, fast["params_m"], "-", fast["latency_ms"]))
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def environment() -> dict:
    """Where the numbers come from."""
    device = jax.devices()[0]
    return {
        "device_kind": device.device_kind,
        "platform": device.platform,
        "cpu_model": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average_1_min": os.getloadavg()[0],
        "python": platform.python_version(),
        "jax": jax.__version__,
        "flax": flax.__version__,
    }


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark, print the table and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="result file (default: benchmarks/results/lkb_<device>.json)")
    parser.add_argument("--repeats", type=int, default=10, help="runs per program")
    parser.add_argument("--seconds", type=float, default=120.0, help=f"per program, after {MIN_RUNS} runs at least")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="names or their beginnings, such as 'SAM ViT-H'")
    parser.add_argument(
        "--yolox", type=Path, default=Path(__file__).parents[2] / "shared" / "data" / "weights" / "yolox_nano.onnx"
    )
    args = parser.parse_args(argv)
    if args.repeats < MIN_RUNS:
        parser.error(f"--repeats must be >= {MIN_RUNS}, got {args.repeats}")

    entries = jax_entries()
    names = [*entries, "YOLOX-nano 416"]
    if args.only:
        names = [name for name in names if name.startswith(tuple(args.only))]
        if not names:
            parser.error(f"--only {' '.join(args.only)} names none of: {', '.join([*entries, 'YOLOX-nano 416'])}")
    yardstick = large_convolution()
    results, before = {}, environment()
    for name in names:
        if name in entries:
            result = measure_jax(name, entries[name], yardstick, args.repeats, args.seconds)
        else:
            result = measure_yolox(args.yolox, yardstick, args.repeats, args.seconds)
        if result is not None:
            results[name] = result
            print(f"{name}: {result['median_s'] * 1e3:.1f} ms", file=sys.stderr, flush=True)
    print(table(results))
    out = args.out or Path(__file__).parent / "results" / f"lkb_{jax.default_backend()}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "repeats": args.repeats,
        "seconds": args.seconds,
        "memory_is": "the compiled program's parameters, inputs, temporaries and outputs; YOLOX-nano: growth of the "
        "process's resident set",
        "yardstick": CONVOLUTION,
        "before": before,
        "load_average_1_min_after": os.getloadavg()[0],
        "results": results,
        "published": PUBLISHED,
    }
    out.write_text(json.dumps(content, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    restart_with_huge_pages()
    sys.exit(main())
