"""Milliseconds of rendering Gaussians, and of the gradient with respect to them, by renderer and number of Gaussians.

Scenes are as a stereo codec makes them: a Gaussian for each square of both views, at random depth. Writes JSON:

    python benchmarks/rendering.py [--out FILE] [--repeats 10]

Times are of the processor, not of the clock, so that other programs on the machine count less; XLA has one thread.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.rendering import Gaussians, render, stereo_camera

CASES = (
    {"side": 64, "density": 2, "capacity": 160},
    {"side": 64, "density": 1, "capacity": 512},
    {"side": 96, "density": 2, "capacity": 160},
)
"""Pictures of ``side`` pixels, a Gaussian of each view for ``density`` x ``density`` of them."""
VIEWS = 3


def scene(side: int, density: int) -> Gaussians:
    """Of both views of a pair with disparities between 2 and 4 pixels, 2 (side / density)^2 Gaussians."""
    rng, num = np.random.default_rng(0), side // density
    y, x = (np.mgrid[:num, :num] + 0.5) * density - side / 2
    depth = side / rng.uniform(2, 4, (2, num, num))
    mean = np.stack([x * depth / side + np.array([0, 1])[:, None, None], y * depth / side, depth], axis=-1)
    scale = 0.42 * density * depth[..., None] / side * np.array([1, 1, 0.2])
    total = 2 * num * num
    quaternion, colour = np.tile([1.0, 0, 0, 0], (total, 1)), rng.uniform(size=(total, 3))
    parts = mean.reshape(total, 3), quaternion, scale.reshape(total, 3), np.full(total, 0.88), colour
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), Gaussians(*parts))


def milliseconds(program: Callable, argument: Gaussians, repeats: int) -> list[float]:
    """Quartiles over repeats, after a warm-up."""
    jax.block_until_ready(program(argument))
    times = []
    for _ in range(repeats):
        start = time.process_time()
        jax.block_until_ready(program(argument))
        times.append(1e3 * (time.process_time() - start))
    return [round(t, 2) for t in statistics.quantiles(times, n=4)]


def measured(renderer: str, case: dict[str, int], repeats: int) -> dict:
    """Of a picture, its gradient, and the gradient of three from different places by ``vmap`` and by ``map``."""
    side, gaussians = case["side"], scene(case["side"], case["density"])

    def picture(gaussians, place):
        at = stereo_camera(place, (side, side), side)
        return render(gaussians, at, (side, side), renderer=renderer, capacity=case["capacity"])

    def loss(gaussians, place):
        return jnp.mean((picture(gaussians, place).picture - 0.5) ** 2)

    places = jnp.linspace(0, 1, VIEWS)
    programs = {
        "forward_ms": lambda g: picture(g, 0.0),
        "gradient_ms": jax.grad(lambda g: loss(g, 0.0)),
        "gradient_of_3_vmap_ms": jax.grad(lambda g: jax.vmap(lambda p: loss(g, p))(places).sum()),
        "gradient_of_3_map_ms": jax.grad(lambda g: jax.lax.map(lambda p: loss(g, p), places).sum()),
    }
    if renderer == "dense":
        programs = dict(list(programs.items())[:2])
    times = {name: milliseconds(jax.jit(program), gaussians, repeats) for name, program in programs.items()}
    overflow = int(jax.jit(lambda g: picture(g, 0.0).overflow)(gaussians))
    return {"renderer": renderer, "gaussians": len(gaussians.mean), "overflow": overflow} | case | times


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "rendering_cpu.json")
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args()
    rows = []
    for renderer in ("tiles", "dense"):
        for case in CASES if renderer == "tiles" else CASES[:1]:
            rows.append(measured(renderer, case, options.repeats))
            print(json.dumps(rows[-1]), flush=True)
    report = {"quartiles of": rows, "repeats": options.repeats, "views": VIEWS}
    report |= {"device": jax.devices()[0].device_kind, "cores": os.cpu_count(), "machine": platform.machine()}
    report |= {"versions": {"jax": jax.__version__, "python": platform.python_version()}}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
