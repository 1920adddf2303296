"""Pairs a second of the shipped stereo codec by its parts, and the milliseconds of a step of its training.

Synthetic scenes of 64 x 64 pixels, four a call. Encoding is ``encode`` and ``modulate``; decoding ends with the
Gaussians; a view is one of a scene's three. A step is the gradient of the stage ``joint``. Writes JSON:

    python benchmarks/stereo.py [--out FILE] [--repeats 10]

Times are of the processor, not of the clock, so that other programs on the machine count less; XLA has one thread.
"""

import argparse
import dataclasses
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import jax
import jax.numpy as jnp

from lvm_mtc.cli.stereo import source_of
from lvm_mtc.data.synthetic_stereo import synthetic_stereo
from lvm_mtc.link import LinkConfig, OperatingPoint, Received
from lvm_mtc.schemes.loading import STEREO_WEIGHTS, load_scheme
from lvm_mtc.schemes.simulate import encode

PAIRS, NO = 4, 0.1
CAPACITY = 160
"""Of the renderer's tiles in the recipe."""
LINK, POINT = LinkConfig(fading="awgn", convention="rx_per_antenna"), OperatingPoint(snr_db=10.0)


def programs() -> dict[str, tuple[Callable, tuple]]:
    """Name to a program that works on ``PAIRS`` pairs, and its arguments."""
    scheme, params = load_scheme(STEREO_WEIGHTS)
    source = source_of(synthetic_stereo(PAIRS, scheme.config.size, seed=0))
    (joint,) = (stage for stage in scheme.stages() if stage.name == "joint")
    weights = joint.weights | {"image_loss": "log_mse"}

    @jax.jit
    def transmit(params, source):
        return scheme.modulate(params, encode(scheme, params, source, jax.random.key(0), {}), POINT)

    trained = dataclasses.replace(scheme, config=dataclasses.replace(scheme.config, capacity=CAPACITY))

    @jax.jit
    def step(params, source):
        loss = lambda params: joint.loss(trained, params, source, jax.random.key(0), LINK, POINT, weights)[0]  # noqa: E731
        return jax.value_and_grad(loss)(params)

    sent = transmit(params, source)
    received = Received(sent.signal.private.symbols, jnp.full(sent.signal.private.symbols.shape, NO))
    receive = jax.jit(scheme.gaussians)
    view = jax.jit(lambda scene, places, side: scheme.render(scene, places, side)[0])
    scene, _ = receive(params, received, sent.side)
    return {
        "encode": (transmit, (params, source)),
        "decode": (receive, (params, received, sent.side)),
        "view": (view, (scene, jnp.full((PAIRS, 1), 0.5), sent.side)),
        "step": (step, (params, source)),
    }


def seconds(program: Callable, arguments: tuple, repeats: int) -> list[float]:
    """Quartiles over repeats, after a warm-up."""
    jax.block_until_ready(program(*arguments))
    times = []
    for _ in range(repeats):
        start = time.process_time()
        jax.block_until_ready(program(*arguments))
        times.append(time.process_time() - start)
    return statistics.quantiles(times, n=4)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "stereo_cpu.json")
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args()
    report: dict[str, Any] = {}
    for name, (program, arguments) in programs().items():
        low, middle, high = seconds(program, arguments, options.repeats)
        if name == "step":
            report["step_ms"] = {"median": 1e3 * middle, "quartiles": [1e3 * low, 1e3 * high]}
        else:
            rates = [PAIRS / high, PAIRS / low]
            report[name] = {"pairs_per_second": PAIRS / middle, "quartiles": rates}
    report |= {"pairs_a_call": PAIRS, "repeats": options.repeats}
    report |= {"device": jax.devices()[0].device_kind, "cores": os.cpu_count(), "machine": platform.machine()}
    report |= {"versions": {"jax": jax.__version__, "python": platform.python_version()}}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
