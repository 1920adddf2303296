"""How fast this machine encodes, sends and decodes: a few compiled programs, timed one after another."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lvm_mtc import phy
from lvm_mtc.evaluation.schemes import require_tokens
from lvm_mtc.system import LinkConfig, OperatingPoint, System, uav_keys

_NUM_ANT = 4


class Timing(NamedTuple):
    """A program, timed.

    Attributes:
        program: Its name.
        batch: Groups of pictures, or of slots.
        items: What a call handles.
        unit: What ``items`` counts: "pictures" or "symbols".
        compile_s: Tracing and compiling, seconds.
        median_s: Of a call, seconds.
        quartiles_s: Lower and upper quartile, seconds.
        items_per_s: Items over the median.
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
    """Compiles a function, warms it up and times it.

    Args:
        name: Of the program.
        batch: Groups of a call.
        items: What a call handles.
        unit: Of ``items``.
        function: Pure, of arrays.
        *args: Its arguments.
        repeats: Timed calls, >= 2.
    """
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


def time_system(
    system: System, params: Any, batches: Sequence[int], *, num_uavs: int, repeats: int
) -> Iterator[Timing]:
    """Times encoder, transmission and decoder, over Rayleigh fading at 10 dB with a CSI error of 0.05.

    ``send`` is comparator, channel encoder, channel, equaliser and channel decoder.

    Args:
        system: The system.
        params: Its parameters.
        batches: Groups of ``num_uavs`` pictures that go together.
        num_uavs: K.
        repeats: Timed calls of each program.

    Raises:
        ValueError: if the system is a codec for whole pictures, which has no such parts.
    """
    require_tokens(system, "timing encoder, transmission and decoder")
    link, point = LinkConfig(), OperatingPoint(snr_db=10.0, csi_error_var=0.05)
    side = system.config.image_size
    keys = uav_keys(jax.random.key(0), num_uavs)

    def encode(params, images, loc):
        return system.encode(params, images, loc, jax.random.clone(keys), point)

    def send(params, encoded):
        sent = system.send(params, encoded, system.share(encoded, point), point)
        return system.receive(params, sent, jax.random.clone(keys), link, point)

    for batch in batches:
        pictures = batch * num_uavs
        images = jax.random.uniform(jax.random.key(1), (batch, num_uavs, side, side, 3))
        loc = jnp.broadcast_to(jnp.float32([side / 2, side / 2, side / 2, side / 2]), (batch, num_uavs, 4))
        yield time_program("encode", batch, pictures, "pictures", encode, params, images, loc, repeats=repeats)
        encoded = jax.jit(encode)(params, images, loc)
        yield time_program("send", batch, pictures, "pictures", send, params, encoded, repeats=repeats)
        tokens, reliability, _ = jax.jit(send)(params, encoded)
        yield time_program("decode", batch, pictures, "pictures", system.decode, params, tokens, encoded.kept,
                           reliability, repeats=repeats)


def time_channel(batches: Sequence[int], *, num_slots: int = 1024, repeats: int) -> Iterator[Timing]:
    """Times the channel layer alone: 4x4 Rayleigh fading and CSI error, drawn for every slot, and robust L-MMSE.

    Args:
        batches: Blocks of ``num_slots`` that go together.
        num_slots: Slots of a block.
        repeats: Timed calls.
    """

    def send(x, key):
        numbers = dict(no=jnp.float32(0.1), csi_error_var=jnp.float32(0.05))
        return phy.broadcast(jax.random.clone(key), x, block_length=1, **numbers).x_hat

    for batch in batches:
        x = jnp.ones((batch, 1, num_slots, _NUM_ANT), jnp.complex64)
        yield time_program("channel", batch, x.size, "symbols", send, x, jax.random.key(2), repeats=repeats)
