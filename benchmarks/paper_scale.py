"""Memory and time of one end-to-end training step at the paper's scale, on the CPU of this host.

ViT-L/16 at 224 pixels, 49 kept tokens, 64 symbols a token, 4x4 Rayleigh with L-MMSE, AdamW, one picture a UAV, layers
scanned, donated state. Every configuration runs in a process of its own, so that its peak is its own. Writes JSON:

    python benchmarks/paper_scale.py [--variant large] [--scaling-variant base] [--repeats 3] [--out FILE]

* ``memory``: K = 4 UAVs with shared parameters, with and without rematerialisation: XLA's own analysis of the compiled
  step and the peak resident set of a process that compiles it, makes a state and runs it. With parameters per UAV:
  the analysis only, and the step itself at ``--scaling-variant``.
* ``scaling``: K = 1, 2, 5 and 10 UAVs at ``--scaling-variant``, one compiled program each, time per UAV.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.schemes.lvm_mtc.config import Execution, LvmMtcConfig
from lvm_mtc.schemes.lvm_mtc.scheme import LvmMtc
from lvm_mtc.training import OptimizerConfig, init_state, make_optimizer, make_train_step
from lvm_mtc.training.examples import Ranges, Scenario, make_batch_fn, make_loss_fn

GIB = 1024**3
NUM_UAVS = 4
SCALING = (1, 2, 5, 10)


def build(variant: str, num_uavs: int, *, per_uav: bool, execution: Execution, num_groups: int = 1):
    """The training step, a function that makes its state, and its data."""
    config = LvmMtcConfig.paper(variant=variant, num_kept=49, per_uav_params=per_uav)
    scenarios = (Scenario(num_groups=num_groups, num_uavs=num_uavs),)
    scheme = LvmMtc(config, execution)
    ranges = Ranges(knobs={"mask_prob": (0.1, 0.5), "epsilon": (0.0, 0.2)})
    optimizer, schedule = make_optimizer(OptimizerConfig(learning_rate=1e-4, weight_decay=0.05), 100)
    step = make_train_step(
        make_loss_fn(scheme.stages()[-1], scheme, scenarios),
        make_batch_fn(scheme, scenarios, ranges),
        optimizer,
        schedule=schedule,
    )

    def initial(key):
        init_key, run_key = jax.random.split(key)
        params = scheme.init(init_key, num_uavs if per_uav else None)
        return init_state(params, optimizer, run_key)

    pictures = np.random.default_rng(0).integers(0, 256, (num_groups * num_uavs, 256, 256, 3), np.uint8)
    return step, initial, {"pictures": pictures}


def analysis(compiled) -> dict[str, float]:
    """XLA's account of a compiled program's memory, GiB; what is donated is counted once."""
    stats = compiled.memory_analysis()
    sizes = {
        "arguments_gib": stats.argument_size_in_bytes,
        "outputs_gib": stats.output_size_in_bytes,
        "donated_gib": stats.alias_size_in_bytes,
        "temporaries_gib": stats.temp_size_in_bytes,
    }
    sizes["peak_gib"] = sizes["arguments_gib"] + sizes["outputs_gib"] - sizes["donated_gib"] + sizes["temporaries_gib"]
    return {name: size / GIB for name, size in sizes.items()}


def measure(options: argparse.Namespace) -> dict:
    """One configuration: compile, and unless ``options.repeats`` is 0 run; a dictionary of results."""
    execution = Execution(scan=True, remat=options.remat)
    step, initial, data = build(options.variant, options.num_uavs, per_uav=options.per_uav, execution=execution)
    state = jax.eval_shape(initial, jax.random.key(0))
    num_params = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    start = time.perf_counter()
    compiled = step.lower(state, data).compile()
    result = {
        "variant": options.variant,
        "num_uavs": options.num_uavs,
        "per_uav_params": options.per_uav,
        "remat": options.remat,
        "num_params": num_params,
        "compile_s": time.perf_counter() - start,
        "memory_analysis": analysis(compiled),
    }
    if not options.repeats:
        return result
    state, data = jax.jit(initial)(jax.random.key(0)), jax.tree.map(jnp.asarray, data)
    state, metrics = jax.block_until_ready(compiled(state, data))
    losses, times = [float(metrics["loss"][0])], []
    for _ in range(options.repeats):
        start = time.perf_counter()
        state, metrics = jax.block_until_ready(compiled(state, data))
        times.append(time.perf_counter() - start)
        losses.append(float(metrics["loss"][0]))
    return result | {
        "peak_rss_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2,
        "step_s": times,
        "median_step_s": statistics.median(times),
        "min_s_per_uav": min(times) / options.num_uavs,
        "losses": losses,
        "load_average_1_min": os.getloadavg()[0],
    }


def measure_apart(**options) -> dict:
    """:func:`measure` in a new process."""
    command = [sys.executable, __file__, "--worker", json.dumps(options)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{options} ended with exit code {done.returncode}")
    result = json.loads(done.stdout.splitlines()[-1])
    said = {name: result[name] for name in ("peak_rss_gib", "min_s_per_uav") if name in result}
    print(options, {k: round(v, 2) for k, v in (result["memory_analysis"] | said).items()}, flush=True)
    return result


def main(argv: list[str] | None = None) -> int:
    """Runs the benchmark and writes its result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variant", default="large", help="of the memory part (default: large, the paper's)")
    parser.add_argument(
        "--scaling-variant",
        default="base",
        help="of the scaling over K and of the step with parameters per UAV (default: base)",
    )
    parser.add_argument("--repeats", type=int, default=3, help="timed steps of each configuration (default: 3)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "paper_scale_cpu.json")
    parser.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.worker:
        print(json.dumps(measure(argparse.Namespace(**options.worker))))
        return 0
    result = {
        "operating_point": "one end-to-end step of the paper's system, 224 pixels, 49 kept tokens, one picture a UAV",
        "peak_rss_is": "maximum resident set of the process, interpreter and compiler included",
        "num_cpus": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "memory": [],
        "scaling": [],
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for part, configuration in configurations(options):
        result[part].append(measure_apart(**configuration))
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    per_uav = {entry["num_uavs"]: min(entry["step_s"]) / entry["num_uavs"] for entry in result["scaling"]}
    result["s_per_uav_at_10_over_2"] = per_uav[10] / per_uav[2]
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"fastest step: K = 10 takes {per_uav[10] / per_uav[2]:.2f} times the time per UAV of K = 2; {options.out}")
    return 0


def configurations(options: argparse.Namespace):
    """Part of the result and arguments of :func:`measure`, one after the other."""
    for per_uav, repeats in ((False, options.repeats), (True, 0)):
        for remat in (True, False):
            yield (
                "memory",
                dict(variant=options.variant, num_uavs=NUM_UAVS, per_uav=per_uav, remat=remat, repeats=repeats),
            )
    yield (
        "memory",
        dict(variant=options.scaling_variant, num_uavs=NUM_UAVS, per_uav=True, remat=False, repeats=options.repeats),
    )
    for num_uavs in SCALING:
        yield (
            "scaling",
            dict(
                variant=options.scaling_variant,
                num_uavs=num_uavs,
                per_uav=False,
                remat=False,
                repeats=2 * options.repeats,
            ),
        )


if __name__ == "__main__":
    sys.exit(main())
