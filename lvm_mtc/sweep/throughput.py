"""How fast a machine encodes, sends and decodes: compiled programs, timed one after another, with their memory."""

import contextlib
import itertools
import resource
import statistics
import sys
import time
from collections.abc import Callable, Container, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from lvm_mtc import link as links_room
from lvm_mtc import phy
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.schemes import simulate
from lvm_mtc.schemes.scheme import Params, Scheme, Source

SNR_DB, CSI_ERROR_VAR = 10.0, 0.05
"""What pictures are sent at."""
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Case(NamedTuple):
    """What a program is timed at; None where it has no part in it.

    Attributes:
        batch: Groups of pictures, or blocks of slots, on each device.
        num_devices: Devices that the batch is split over.
        num_uavs: K.
        channel: Label of the link.
        num_rx_ant: Receive antennas, and likewise ``num_tx_ant``.
        equalizer: Of the link.
        dtype: What the networks, or the channel layer, compute in.
    """

    batch: int
    num_devices: int = 1
    num_uavs: int | None = None
    channel: str | None = None
    num_rx_ant: int | None = None
    num_tx_ant: int | None = None
    equalizer: str | None = None
    dtype: str = "float32"

    def over(self, link: LinkConfig) -> "Case":
        """The case with a link."""
        fields = dict(channel=link.label, equalizer=link.equalizer)
        return self._replace(num_rx_ant=link.num_rx_ant, num_tx_ant=link.num_tx_ant, **fields)


class Timing(NamedTuple):
    """A program, timed.

    Attributes:
        items: What a call handles on all devices, in ``unit``: "pictures" or "symbols".
        compile_s: Tracing and compiling, seconds; the median and the quartiles are those of a call.
        program_bytes: Arguments, results and temporaries of the program on each device, as the compiler says; None
            where it does not.
        host_peak_bytes: Largest resident memory of the process while the program was compiled and run; where Linux does
            not let it be reset, since the process began.
        device_peak_bytes: Largest memory in use on the first device since the process began; None on a CPU.
    """

    program: str
    case: Case
    items: int
    unit: str
    compile_s: float
    median_s: float
    quartiles_s: tuple[float, float]
    items_per_s: float
    program_bytes: int | None
    host_peak_bytes: int
    device_peak_bytes: int | None

    def record(self) -> dict[str, Any]:
        """All numbers by name at one level."""
        return {"program": self.program, **self.case._asdict()} | {
            name: value for name, value in self._asdict().items() if name not in ("program", "case")
        }


def time_program(
    name: str, case: Case, items: int, unit: str, function: Callable, *args: Any, repeats: int, carry: bool = False
) -> Timing:
    """Compiles a pure function of arrays, warms it up and times two calls or more.

    Args:
        name: Of the program.
        items: That a call handles.
        function: Jitted here unless it is already.
        carry: Its first result is the first argument of the next call, which may take its memory (a training step).
    """
    _reset_host_peak()
    start = time.perf_counter()
    jitted = function if hasattr(function, "lower") else jax.jit(function)
    compiled = jitted.lower(*args).compile()
    compile_s = time.perf_counter() - start
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        out = jax.block_until_ready(compiled(*args))
        times.append(time.perf_counter() - start)
        args = (out[0], *args[1:]) if carry else args
    lower, median, upper = statistics.quantiles(times[1:], n=4, method="inclusive")
    memory = _program_bytes(compiled), _host_peak(), _device_peak()
    return Timing(name, case, items, unit, compile_s, median, (lower, upper), items / median, *memory)


def over_devices(count: int, tree: Any) -> Any:
    """Arrays with their first axis split over ``count`` devices."""
    mesh = jax.make_mesh((count,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:count])
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec("data")))


def time_scheme(
    scheme: Scheme,
    params: Params,
    links: Sequence[LinkConfig],
    case: Case,
    *,
    repeats: int,
    only: Container[str] = ("encode", "send", "decode", "chain"),
) -> Iterator[Timing]:
    """Times encoder, links and decoder of a scheme of pictures, and the whole chain, at 10 dB with a CSI error of 0.05.

    ``send`` is what lies between the encoder and the decoder: modulation, draws, channel, equaliser. ``chain`` is one
    program from pictures to pictures. Of these the programs in ``only`` are timed.
    """
    side, batch, num_uavs = scheme.config.image_size, case.batch * case.num_devices, case.num_uavs
    point = OperatingPoint(snr_db=SNR_DB, csi_error_var=CSI_ERROR_VAR, knobs=simulate.all_knobs(scheme, {}))
    keys = links_room.uav_keys(jax.random.key(0), num_uavs)
    images = jax.random.uniform(jax.random.key(1), (batch, num_uavs, side, side, 3))
    loc = jnp.broadcast_to(jnp.float32([side / 2] * 4), (batch, num_uavs, 4))
    source = over_devices(case.num_devices, Source(images, {"loc": loc}))

    def encode(params, source):
        return simulate.encode(scheme, params, source, jax.random.clone(keys), {})

    def send_over(link):
        def send(params, encoded):
            sent = scheme.modulate(params, encoded, point)
            draws = links_room.draw(link, jax.random.clone(keys), batch, *scheme.frames(), point)
            return links_room.send(link, sent.signal, draws, point)[0], sent.side

        return send

    def decode(params, received, side):
        return scheme.decode(params, received, side, point).data

    def chain_over(link):
        return lambda params, source: decode(params, *send_over(link)(params, encode(params, source)))

    def timed(name, case, function, *arguments):
        if name in only:
            yield time_program(name, case, batch * num_uavs, "pictures", function, *arguments, repeats=repeats)

    yield from timed("encode", case, encode, params, source)
    for link in links:
        yield from timed("chain", case.over(link), chain_over(link), params, source)
    if "send" not in only and "decode" not in only:
        return
    encoded = jax.jit(encode)(params, source)
    for link in links:
        yield from timed("send", case.over(link), send_over(link), params, encoded)
    yield from timed("decode", case, decode, params, *jax.jit(send_over(links[0]))(params, encoded))


def time_channel(
    cases: Sequence[Case], *, num_ants: Sequence[int], equalizers: Sequence[str], num_slots: int = 1024, repeats: int
) -> Iterator[Timing]:
    """Times the channel layer alone: Rayleigh fading with a CSI error, drawn for every slot, and the equaliser.

    ``cases`` say how many blocks of ``num_slots`` go together on each device; there are as many antennas at both ends.
    """
    for case, num_ant, equalizer in itertools.product(cases, num_ants, equalizers):
        blocks = case.batch * case.num_devices
        x = over_devices(case.num_devices, jnp.ones((blocks, 1, num_slots, num_ant), jnp.complex64))
        at = case._replace(num_uavs=1, channel="rayleigh", equalizer=equalizer, dtype="complex64")
        at = at._replace(num_rx_ant=num_ant, num_tx_ant=num_ant)

        def send(x, key, equalizer=equalizer):
            numbers = dict(no=jnp.float32(0.1), csi_error_var=jnp.float32(CSI_ERROR_VAR))
            return phy.broadcast(jax.random.clone(key), x, block_length=1, equalizer=equalizer, **numbers).x_hat

        yield time_program("channel", at, x.size, "symbols", send, x, jax.random.key(2), repeats=repeats)


def _program_bytes(compiled: Any) -> int | None:
    found = compiled.memory_analysis()
    if found is None:
        return None
    sizes = found.argument_size_in_bytes, found.output_size_in_bytes, found.temp_size_in_bytes
    return sum(sizes) - found.alias_size_in_bytes


def _reset_host_peak() -> None:
    with contextlib.suppress(OSError):
        _CLEAR.write_text("5")


def _host_peak() -> int:
    with contextlib.suppress(OSError, StopIteration):
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return 1024 * int(line.split()[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _device_peak() -> int | None:
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
