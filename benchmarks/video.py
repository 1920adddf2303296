"""Frames a second of the shipped video codec: transmitter, receiver without its network, and receiver.

Clips of 144 x 144 pixels, the middle of QCIF, and of all of its 176 x 144, one at a time, at the shipped symbols for a
pixel that is sent. The codec takes multiples of 48 pixels: 176 columns go as 192, those at the edges repeated, and are
cut out again. Encoding is ``encode`` and ``modulate``, decoding ``decode``; the link is not timed. Writes JSON:

    python benchmarks/video.py [--out FILE] [--repeats 10]
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

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.link import OperatingPoint, Received
from lvm_mtc.schemes import simulate
from lvm_mtc.schemes.loading import CLIP_WEIGHTS, load_scheme
from lvm_mtc.schemes.scheme import Source

WIDTHS, HEIGHT, TILE, FRAMES, NO = (144, 176), 144, 48, 16, 0.1


def clip(width: int) -> np.ndarray:
    """Smooth moving pictures, ``[1, 1, FRAMES, HEIGHT, width, 3]``; how long it takes does not depend on them."""
    scene = np.random.default_rng(0).normal(size=(HEIGHT + FRAMES, width + FRAMES, 3)).cumsum(0).cumsum(1)
    scene = 0.5 + 0.4 * scene / np.abs(scene).max()
    return np.float32([[[scene[t : t + HEIGHT, t : t + width] for t in range(FRAMES)]]])


def frames_per_second(program: Callable, arguments: tuple, repeats: int) -> tuple[dict[str, Any], Any]:
    """Median and quartiles over repeats, after a warm-up; and what the program gives."""
    start = time.perf_counter()
    result = jax.block_until_ready(program(*arguments))
    first, times = time.perf_counter() - start, []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(program(*arguments))
        times.append(time.perf_counter() - start)
    low, middle, high = statistics.quantiles(times, n=4)
    rates = {"frames_per_second": FRAMES / middle, "quartiles": [FRAMES / high, FRAMES / low]}
    return rates | {"first_call_s": first}, result


def measured(scheme: Any, params: Any, width: int, repeats: int) -> dict[str, Any]:
    """Frames a second of clips of a width: transmitter, receiver without its network, receiver."""
    size = HEIGHT, -(-width // TILE) * TILE
    left = (size[1] - width) // 2
    uses = round(scheme.config.num_uses * np.prod(size) / np.prod(scheme.config.size))
    config = dataclasses.replace(scheme.config, size=size, num_frames=FRAMES, num_uses=int(uses))
    scheme, point = dataclasses.replace(scheme, config=config), OperatingPoint(snr_db=10.0)
    linear = dataclasses.replace(scheme, config=scheme.linear_config)
    edges = [(0, 0)] * 4 + [(left, size[1] - width - left), (0, 0)]

    @jax.jit
    def transmit(params, data):
        source = Source(jnp.pad(data, edges, mode="edge"))
        encoded = simulate.encode(scheme, params, source, jax.random.key(0), {})
        sent = scheme.modulate(params, encoded, point)
        return sent.signal.private.symbols, sent.side

    encoding, (symbols, side) = frames_per_second(transmit, (params, clip(width)), repeats)
    received = Received(symbols, jnp.full(symbols.shape, NO))
    report = {"size": size, "symbols_a_frame": uses, "encode": encoding}
    for name, of in (("decode, linear", linear), ("decode", scheme)):

        @jax.jit
        def receive(params, received, side, of=of):
            return of.decode(params, received, side, point).data[..., left : left + width, :]

        report[name], _ = frames_per_second(receive, (params, received, side), repeats)
    return report


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "video_cpu.json")
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args()
    of_weights = load_scheme(CLIP_WEIGHTS)
    sizes = {f"{width} x {HEIGHT}": measured(*of_weights, width, options.repeats) for width in WIDTHS}
    report = {"pixels": sizes, "frames": FRAMES, "repeats": options.repeats}
    report |= {"device": jax.devices()[0].device_kind, "cores": os.cpu_count(), "machine": platform.machine()}
    report |= {"versions": {"jax": jax.__version__, "python": platform.python_version()}}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1, default=float) + "\n")
    print(json.dumps(report, indent=1, default=float))


if __name__ == "__main__":
    main()
