"""Point clouds a second: the learned codec, moments, the octree with its LDPC code, metrics, the training gradient.

Clouds of 1,024 random points on spheres, 320 symbols, 16 clouds a call, shipped weights. Medians of the repeats; the
first call, which compiles, is left out. Writes JSON:

    OPENBLAS_NUM_THREADS=1 python benchmarks/clouds.py [--out FILE] [--repeats 5]
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.data.octree import OctreeCode
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.metrics.points import chamfer_distance
from lvm_mtc.phy.modulation import qam_llr, qam_map
from lvm_mtc.schemes.loading import CLOUD_WEIGHTS, load_scheme
from lvm_mtc.schemes.point_clouds.linear import LinearClouds, LinearCloudsConfig
from lvm_mtc.schemes.point_clouds.losses import cloud_loss
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.separation.clouds import CloudBits
from lvm_mtc.schemes.simulate import encode, forward

CLOUDS, LEARNED_FROM, NO_EFF = 16, 200, 0.1


def spheres(count: int, seed: int) -> np.ndarray:
    """Clouds ``[count, 1024, 3]`` of points on spheres of different sizes."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, 1024, 3))
    return np.float32(points / np.linalg.norm(points, axis=-1, keepdims=True) * rng.uniform(0.5, 1, (count, 1, 1)))


def tasks() -> dict[str, Callable[[], object]]:
    """Name to a function without arguments that works on ``CLOUDS`` clouds."""
    scheme, params = load_scheme(CLOUD_WEIGHTS)
    clouds, link, point = jnp.asarray(spheres(CLOUDS, 0))[:, None], LinkConfig(), OperatingPoint(snr_db=10.0)
    linear = LinearClouds(LinearCloudsConfig())
    of_linear = linear.init(jax.random.key(0))

    def whole(of, its_params, x):
        return forward(of, its_params, Source(x), jax.random.key(0), link, point).estimate.data

    def loss(its_params, x):
        return cloud_loss(scheme, its_params, Source(x), jax.random.key(0), link, point, {})[0]

    learned_encode = jax.jit(lambda p, x: encode(scheme, p, Source(x), jax.random.key(0), {}))
    learned, moments = (jax.jit(lambda p, x, of=of: whole(of, p, x)) for of in (scheme, linear))
    distance, gradient = jax.jit(chamfer_distance), jax.jit(jax.value_and_grad(loss))
    sender = CloudBits(OctreeCode(spheres(LEARNED_FROM, 1)), spheres(1, 2)[0])
    coded = sender.encode(np.asarray(clouds)[:, 0])
    rng = np.random.default_rng(0)
    noise = rng.normal(scale=np.sqrt(NO_EFF / 2), size=(2, *coded.bits.shape[:-1], sender.num_symbols))
    heard = qam_map(coded.bits, sender.bits_per_symbol) + jnp.asarray(noise[0] + 1j * noise[1], jnp.complex64)
    llr = np.asarray(qam_llr(heard, NO_EFF, sender.bits_per_symbol))
    return {
        "learned_encode": lambda: learned_encode(params, clouds),
        "learned_whole_chain": lambda: learned(params, clouds),
        "moments_whole_chain": lambda: moments(of_linear, clouds),
        "octree_and_ldpc_encode": lambda: sender.encode(np.asarray(clouds)[:, 0]),
        "octree_and_ldpc_decode": lambda: sender.decode(llr, coded),
        "chamfer": lambda: distance(clouds, clouds[::-1]),
        "training_gradient": lambda: gradient(params, clouds),
    }


def clouds_per_second(work: Callable[[], object], repeats: int) -> dict[str, float]:
    """Median and worst of ``repeats`` calls behind a first one."""
    jax.block_until_ready(work())
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(work())
        seconds.append(time.perf_counter() - start)
    return {"median": round(CLOUDS / statistics.median(seconds), 1), "worst": round(CLOUDS / max(seconds), 1)}


def main() -> None:
    """Times everything and writes the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="file to write")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    results = {
        "clouds_per_second": {name: clouds_per_second(work, options.repeats) for name, work in tasks().items()},
        "clouds_a_call": CLOUDS,
        "device": jax.devices()[0].device_kind,
        "machine": platform.machine(),
        "versions": {name: version(name) for name in ("jax", "numpy")},
    }
    text = json.dumps(results, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
