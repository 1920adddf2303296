"""Frames a second of the shipped video codec: transmitter, receiver without its network, and receiver.

Clips of 144 x 144 pixels (the middle of QCIF), one at a time, at the shipped symbols for a pixel. Encoding is
``encode`` and ``modulate``, decoding ``decode``; the link is not timed. Writes JSON:

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

SIZE, FRAMES, NO = (144, 144), 16, 0.1


def clip() -> np.ndarray:
    """Smooth moving pictures, ``[1, 1, FRAMES, *SIZE, 3]``: how long it takes does not depend on what they show."""
    scene = np.random.default_rng(0).normal(size=(SIZE[0] + FRAMES, SIZE[1] + FRAMES, 3)).cumsum(0).cumsum(1)
    scene = 0.5 + 0.4 * scene / np.abs(scene).max()
    return np.float32([[[scene[t : t + SIZE[0], t : t + SIZE[1]] for t in range(FRAMES)]]])


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


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "video_cpu.json")
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args()
    scheme, params = load_scheme(CLIP_WEIGHTS)
    uses = round(scheme.config.num_uses * np.prod(SIZE) / np.prod(scheme.config.size))
    config = dataclasses.replace(scheme.config, size=SIZE, num_frames=FRAMES, num_uses=int(uses))
    scheme, point = dataclasses.replace(scheme, config=config), OperatingPoint(snr_db=10.0)
    linear = dataclasses.replace(scheme, config=scheme.linear_config)

    @jax.jit
    def transmit(params, data):
        encoded = simulate.encode(scheme, params, Source(data), jax.random.key(0), {})
        sent = scheme.modulate(params, encoded, point)
        return sent.signal.private.symbols, sent.side

    encoding, (symbols, side) = frames_per_second(transmit, (params, clip()), options.repeats)
    received = Received(symbols, jnp.full(symbols.shape, NO))
    report = {"encode": encoding}
    for name, of in (("decode, linear", linear), ("decode", scheme)):
        receive = jax.jit(lambda params, received, side, of=of: of.decode(params, received, side, point).data)
        report[name], _ = frames_per_second(receive, (params, received, side), options.repeats)
    report |= {"size": SIZE, "frames": FRAMES, "symbols_a_frame": uses, "repeats": options.repeats}
    report |= {"device": jax.devices()[0].device_kind, "cores": os.cpu_count(), "machine": platform.machine()}
    report |= {"versions": {"jax": jax.__version__, "python": platform.python_version()}}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1, default=float) + "\n")
    print(json.dumps(report, indent=1, default=float))


if __name__ == "__main__":
    main()
