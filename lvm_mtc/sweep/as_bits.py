"""Sources as bits beside a sweep of a learned scheme: the same sources, symbols, channels and noise."""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import jax
import numpy as np

from lvm_mtc import link as links_room
from lvm_mtc.link import Frames, LinkConfig, OperatingPoint, Signal
from lvm_mtc.metrics.tables import METRICS
from lvm_mtc.phy.modulation import qam_llr, qam_map
from lvm_mtc.schemes.scheme import Estimate, Source
from lvm_mtc.schemes.separation.digital import require_digital
from lvm_mtc.schemes.simulate import Outcome
from lvm_mtc.sweep.group import Group, Resources, judged_on_host
from lvm_mtc.sweep.plan import SweepSpec
from lvm_mtc.sweep.programs import Arrived

_ONE_DEVICE = Resources(num_devices=1)


class BitSender(Protocol):
    """Both ends of a system that sends sources as bits.

    Attributes:
        modality: Kind of source.
        metrics: Names of what can be measured: those that look at nothing but the source and what is made of it.
        num_symbols: Complex symbols of a frame.
        bits_per_symbol: Of the modulation.
    """

    modality: str
    metrics: tuple[str, ...]
    num_symbols: int
    bits_per_symbol: int

    def sent(self, data: Any) -> Any:
        """Which frames of sources ``[n, ...]`` are sent, ``[n, num_frames]`` bool."""

    def encode(self, data: np.ndarray) -> Any:
        """Sources ``[n, ...]`` as a named tuple with what receivers are told, and the bits on air.

        ``bits`` are ``[n, num_frames, num_symbols bits_per_symbol]`` uint8.
        """

    def decode(self, llr: np.ndarray, coded: Any) -> np.ndarray:
        """What is made of LLRs of the shape of ``coded.bits``, ``[n, ...]``; of ``coded`` the bits are not read."""

    def estimate(self, decoded: jax.Array) -> jax.Array:
        """What was decoded as ``Estimate.data`` has it."""

    def side_bits(self, num_frames: int) -> int:
        """What the receivers are told, bits a source."""


def measure_bits(
    spec: SweepSpec,
    sender: BitSender,
    points: Sequence[Mapping[str, Any]],
    *,
    resources: Resources = _ONE_DEVICE,
    progress: Callable[[], Any] = lambda: None,
) -> list[Arrived]:
    """What arrives of a sweep's sources as bits, as ``sample_points`` gives what arrives of them through its scheme.

    Args:
        spec: A sweep; ``metrics`` are the sender's, and all ``stopping.max_units`` channel realisations are used. Of
            its judges those on the host judge what is decoded.
        sender: With the symbols of the sweep's scheme.
        points: Of the sweep, of one K, seed and scheme.
        progress: Called after each point on each step of sources.

    Raises:
        ValueError: if a metric is not the sender's, the symbols differ, or a link is none for bits.
    """
    for name in spec.metrics:
        if name not in sender.metrics:
            raise ValueError(f"metric {name!r} is not known of bits; known here: {', '.join(sender.metrics)}")
    scheme = spec.contender(points[0]["scheme"]).scheme
    if (wanted := scheme.frames()[1]) != sender.num_symbols:
        kind = type(sender).__name__
        raise ValueError(f"{kind}.num_symbols {sender.num_symbols}: the scheme has {wanted} in a frame")
    for link in spec.links:
        require_digital(link)
    group = Group(spec, points[0], resources)
    numbers = {link.label: number for number, link in enumerate(spec.links)}
    parts = []
    for step in group.steps:
        data = np.asarray(step.source.data)
        lead, flat = data.shape[:2], data.reshape(-1, *data.shape[2:])
        coded, on_air = sender.encode(flat), sender.sent(flat)
        bits, on_air = (array.reshape(*lead, *array.shape[1:]) for array in (coded.bits, on_air))
        heard: list[list[tuple]] = [[] for _ in points]
        for first in range(0, spec.stopping.max_units, group.units_per_draw):
            units = range(first, min(first + group.units_per_draw, spec.stopping.max_units))
            draws = group.draws(step, units)
            for place, (of_point, at) in itertools.product(range(len(units)), zip(heard, points, strict=True)):
                number = numbers[at["channel"]]
                of_unit = jax.tree.map(lambda a, i=place: a[i], draws[number])
                operating = np.float32(at["snr_db"]), np.float32(at["csi_error_var"])
                sent = _send(spec.links[number], sender.bits_per_symbol, bits, on_air, of_unit, *operating)
                of_point.append(jax.device_get(sent))
        part = []
        for of_point in heard:
            part.append(_understood(spec, sender, step.source, coded, of_point, step.count))
            progress()
        parts.append(part)
    side_bits = sender.side_bits(scheme.frames()[0]) * lead[1]
    return [_joined([part[number] for part in parts], side_bits) for number in range(len(points))]


@functools.partial(jax.jit, static_argnums=(0, 1))
def _send(link: LinkConfig, bits_per_symbol: int, bits: jax.Array, sent: jax.Array, draws: Any, snr_db, csi_error_var):
    """LLRs of ``bits [batch, num_uavs, num_frames, ...]``, the measured SNR, and the costs."""
    signal = Signal(Frames(qam_map(bits, bits_per_symbol), sent))
    point = OperatingPoint(snr_db=snr_db, csi_error_var=csi_error_var)
    received, output = links_room.send(link, signal, draws, point)
    llr = qam_llr(received.symbols, received.no_eff, bits_per_symbol)
    return llr, links_room.measure(link, signal, output).snr, links_room.book(link, signal)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _measured(sender: BitSender, metrics: tuple[str, ...], data: jax.Array, decoded: jax.Array) -> dict[str, jax.Array]:
    outcome = Outcome(Estimate(sender.estimate(decoded)), *[None] * 4)
    return {name: METRICS[sender.modality][name](Source(data), outcome) for name in metrics}


def _understood(spec: SweepSpec, sender: BitSender, source: Source, coded: Any, heard: Sequence[tuple], count: int):
    """Metrics of a step's first ``count`` groups, ``[U, count, num_uavs]``, measured SNRs ``[U]``, costs ``[count]``.

    ``heard`` are LLRs, SNR and costs of each unit; all units are decoded together.
    """
    data = np.asarray(source.data)
    real = count * data.shape[1]
    told = type(coded)(*(np.concatenate([array[:real]] * len(heard)) for array in coded))
    llr = np.concatenate([unit.reshape(coded.bits.shape)[:real] for unit, _, _ in heard])
    found = sender.decode(llr, told)
    decoded = np.zeros((len(heard), len(coded.bits), *found.shape[1:]), found.dtype)
    decoded[:, :real] = found.reshape(len(heard), real, *found.shape[1:])
    shape = *data.shape[:2], *found.shape[1:]
    values = [jax.device_get(_measured(sender, spec.metrics, data, unit.reshape(shape))) for unit in decoded]
    metrics = jax.tree.map(lambda *of_units: np.stack(of_units)[:, :count], *values)
    shown = decoded.reshape(-1, *shape)[:, :count]
    arrived = Arrived(metrics, None, None, None, {}, pictures=shown)
    metrics = judged_on_host(spec, jax.tree.map(lambda a: a[:count], source), arrived).metrics
    return metrics, np.array([snr for _, snr, _ in heard]), jax.tree.map(lambda a: a[:count], heard[0][2])


def _joined(steps: Sequence[tuple], side_bits: int) -> Arrived:
    """Steps of groups as one point's."""
    every, snr, ledgers = zip(*steps, strict=True)
    metrics = jax.tree.map(lambda *of_steps: np.concatenate(of_steps, axis=1), *every)
    ledger = jax.tree.map(lambda *of_steps: np.concatenate(of_steps), *ledgers)
    side = np.full_like(ledger.slots, side_bits)
    return Arrived(metrics, np.mean(snr, axis=0), ledger._replace(side_information_bits=side), np.zeros_like(side), {})
