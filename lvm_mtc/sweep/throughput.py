"""How fast this machine encodes, sends and decodes: a few compiled programs, timed one after another."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lvm_mtc import link as links_room
from lvm_mtc import phy
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.schemes import simulate
from lvm_mtc.schemes.scheme import Params, Scheme, Source

_NUM_ANT = 4


class Timing(NamedTuple):
    """A program, timed.

    Attributes:
        batch: Groups of pictures, or of slots.
        items: What a call handles, in ``unit``: "pictures" or "symbols".
        compile_s: Tracing and compiling, seconds; the median and the quartiles are those of a call.
    """

    program: str
    batch: int
    items: int
    unit: str
    compile_s: float
    median_s: float
    quartiles_s: tuple[float, float]
    items_per_s: float


def time_program(name: str, batch: int, items: int, unit: str, function: Callable, *args: Any, repeats: int) -> Timing:
    """Compiles a pure function of arrays, warms it up and times two calls or more."""
    start = time.perf_counter()
    compiled = jax.jit(function).lower(*args).compile()
    compile_s = time.perf_counter() - start
    jax.block_until_ready(compiled(*args))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(compiled(*args))
        times.append(time.perf_counter() - start)
    lower, median, upper = statistics.quantiles(times, n=4, method="inclusive")
    return Timing(name, batch, items, unit, compile_s, median, (lower, upper), items / median)


def time_scheme(
    scheme: Scheme, params: Params, batches: Sequence[int], *, num_uavs: int, repeats: int
) -> Iterator[Timing]:
    """Times encoder, link and decoder of a scheme of pictures, over Rayleigh fading at 10 dB with a CSI error of 0.05.

    ``send`` is what lies between the encoder and the decoder: modulation, draws, channel, equaliser. ``batches`` are
    groups of ``num_uavs`` pictures that go together.
    """
    link, side = LinkConfig(), scheme.config.image_size
    point = OperatingPoint(snr_db=10.0, csi_error_var=0.05, knobs=simulate.all_knobs(scheme, {}))
    keys = links_room.uav_keys(jax.random.key(0), num_uavs)

    def encode(params, source):
        return simulate.encode(scheme, params, source, jax.random.clone(keys), {})

    def send(params, encoded):
        sent = scheme.modulate(params, encoded, point)
        draws = links_room.draw(link, jax.random.clone(keys), batch, *scheme.frames(), point)
        return links_room.send(link, sent.signal, draws, point)[0], sent.side

    def decode(params, received, side):
        return scheme.decode(params, received, side, point).data

    for batch in batches:
        pictures = batch * num_uavs
        images = jax.random.uniform(jax.random.key(1), (batch, num_uavs, side, side, 3))
        loc = jnp.broadcast_to(jnp.float32([side / 2] * 4), (batch, num_uavs, 4))
        arguments = params, Source(images, {"loc": loc})
        for name, function in (("encode", encode), ("send", send), ("decode", decode)):
            yield time_program(name, batch, pictures, "pictures", function, *arguments, repeats=repeats)
            out = jax.jit(function)(*arguments)
            arguments = (params, *out) if name == "send" else (params, out)


def time_channel(batches: Sequence[int], *, num_slots: int = 1024, repeats: int) -> Iterator[Timing]:
    """Times the channel layer alone: 4x4 Rayleigh fading and CSI error, drawn for every slot, and robust L-MMSE.

    ``batches`` are blocks of ``num_slots`` that go together.
    """

    def send(x, key):
        numbers = dict(no=jnp.float32(0.1), csi_error_var=jnp.float32(0.05))
        return phy.broadcast(jax.random.clone(key), x, block_length=1, **numbers).x_hat

    for batch in batches:
        x = jnp.ones((batch, 1, num_slots, _NUM_ANT), jnp.complex64)
        yield time_program("channel", batch, x.size, "symbols", send, x, jax.random.key(2), repeats=repeats)
