"""Sources as bits beside a sweep of a learned scheme: the same sources, symbols, channels and noise."""

import functools
import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
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
        parts.append(_understood(spec, sender, step.source, coded, heard, step.count))
        for _ in points:
            progress()
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


def _understood(
    spec: SweepSpec, sender: BitSender, source: Source, coded: Any, heard: Sequence[Sequence[tuple]], count: int
) -> list[tuple]:
    """Of each point a step's metrics, ``[U, count, num_uavs]``, measured SNRs ``[U]``, costs ``[count]``.

    ``heard`` are LLRs, SNR and costs of each unit of each point. All are decoded together, and what is decoded of a
    source more than once is measured once.
    """
    lead, units = source.lead(), [unit for of_point in heard for unit in of_point]
    real = count * lead[1]
    told = type(coded)(*(np.concatenate([array[:real]] * len(units)) for array in coded))
    found = sender.decode(np.concatenate([unit[0].reshape(coded.bits.shape)[:real] for unit in units]), told)
    found = found.reshape(len(units), real, *found.shape[1:])
    keys = [[hashlib.sha256(one.tobytes()).digest() for one in of_unit] for of_unit in found]
    known: list[dict[bytes, dict[str, np.ndarray]]] = [{} for _ in range(real)]
    for taken in _layers(keys):
        some = np.zeros((lead[0] * lead[1], *found.shape[2:]), found.dtype)
        some[:real] = found[taken, range(real)]
        values = _judged(spec, sender, source, some.reshape(*lead, *some.shape[1:]), count)
        for place, unit in enumerate(taken):
            known[place][keys[unit][place]] = {name: of_each.flat[place] for name, of_each in values.items()}
    metrics = {
        name: np.array([[of[key][name] for of, key in zip(known, of_unit, strict=True)] for of_unit in keys])
        for name in values
    }
    of_points = jax.tree.map(lambda a: a.reshape(len(heard), -1, count, lead[1]), metrics)
    return [
        (
            {name: values[number] for name, values in of_points.items()},
            np.array([snr for _, snr, _ in of_point]),
            jax.tree.map(lambda a: a[:count], of_point[0][2]),
        )
        for number, of_point in enumerate(heard)
    ]


def _layers(keys: Sequence[Sequence[bytes]]) -> Iterator[list[int]]:
    """A row for each place ``[n]``, so often that all different keys ``[rows, n]`` of each place were taken."""
    different = [list({key: row for row, key in enumerate(of_place)}.values()) for of_place in zip(*keys, strict=True)]
    for number in range(max(map(len, different))):
        yield [rows[min(number, len(rows) - 1)] for rows in different]


def _judged(
    spec: SweepSpec, sender: BitSender, source: Source, decoded: np.ndarray, count: int
) -> dict[str, np.ndarray]:
    """Metrics of a step, ``[count, num_uavs]``, the judges' on the host among them."""
    values = jax.device_get(_measured(sender, spec.metrics, source.data, decoded))
    values, source, shown = jax.tree.map(lambda a: a[:count], (values, source, decoded))
    return judged_on_host(spec, source, Arrived(values, None, None, None, {}, pictures=shown)).metrics


def _joined(steps: Sequence[tuple], side_bits: int) -> Arrived:
    """Steps of groups as one point's."""
    every, snr, ledgers = zip(*steps, strict=True)
    metrics = jax.tree.map(lambda *of_steps: np.concatenate(of_steps, axis=1), *every)
    ledger = jax.tree.map(lambda *of_steps: np.concatenate(of_steps), *ledgers)
    side = np.full_like(ledger.slots, side_bits)
    return Arrived(metrics, np.mean(snr, axis=0), ledger._replace(side_information_bits=side), np.zeros_like(side), {})
