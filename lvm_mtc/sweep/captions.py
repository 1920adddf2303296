"""Sentences as bits beside a sweep of a learned text scheme: the same sentences, symbols, channels and noise."""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from lvm_mtc import link as links_room
from lvm_mtc.link import Frames, LinkConfig, OperatingPoint, Signal
from lvm_mtc.metrics.tables import METRICS
from lvm_mtc.phy.modulation import qam_llr, qam_map
from lvm_mtc.schemes.scheme import Estimate, Source
from lvm_mtc.schemes.separation.captions import BITS_PER_SYMBOL, CaptionBits, CodedSentences
from lvm_mtc.schemes.separation.digital import require_digital
from lvm_mtc.schemes.simulate import Outcome
from lvm_mtc.sweep.group import Group, Resources
from lvm_mtc.sweep.plan import SweepSpec
from lvm_mtc.sweep.programs import Arrived

_ONE_DEVICE = Resources(num_devices=1)
_OF_WORDS = ("bleu1", "bleu2", "bleu4", "word_error_rate", "word_accuracy")


def measure_captions(
    spec: SweepSpec,
    sender: CaptionBits,
    points: Sequence[Mapping[str, Any]],
    *,
    resources: Resources = _ONE_DEVICE,
    progress: Callable[[], Any] = lambda: None,
) -> list[Arrived]:
    """What arrives of a sweep's sentences as bits, as ``sample_points`` gives what arrives of them through its scheme.

    Args:
        spec: A sweep of text; ``metrics`` are of words, and all ``stopping.max_units`` channel realisations are used.
        sender: With the symbols of the sweep's scheme.
        points: Of the sweep, of one K, seed and scheme.
        progress: Called after each point on each step of sentences.

    Raises:
        ValueError: if a metric is not of words, the symbols differ, or a link is none for bits.
    """
    for name in spec.metrics:
        if name not in _OF_WORDS:
            raise ValueError(f"metric {name!r} is not of words; known here: {', '.join(_OF_WORDS)}")
    scheme = spec.contender(points[0]["scheme"]).scheme
    if scheme.frames()[1] != sender.num_symbols:
        raise ValueError(f"CaptionBits.num_symbols {sender.num_symbols}: the scheme has {scheme.frames()[1]} a word")
    for link in spec.links:
        require_digital(link)
    group = Group(spec, points[0], resources)
    numbers = {link.label: number for number, link in enumerate(spec.links)}
    parts = []
    for step in group.steps:
        words = np.asarray(step.source.data)
        coded = sender.encode(words.reshape(-1, words.shape[-1]))
        heard: list[list[tuple]] = [[] for _ in points]
        for first in range(0, spec.stopping.max_units, group.units_per_draw):
            units = range(first, min(first + group.units_per_draw, spec.stopping.max_units))
            draws = group.draws(step, units)
            for place, (of_point, at) in itertools.product(range(len(units)), zip(heard, points, strict=True)):
                number = numbers[at["channel"]]
                of_unit = jax.tree.map(lambda a, i=place: a[i], draws[number])
                operating = np.float32(at["snr_db"]), np.float32(at["csi_error_var"])
                bits = coded.bits.reshape(*words.shape, -1)
                sent = _send(spec.links[number], bits, step.source.data > 0, of_unit, *operating)
                of_point.append(jax.device_get(sent))
        part = []
        for of_point in heard:
            part.append(_understood(spec, sender, step.source, coded, of_point, step.count))
            progress()
        parts.append(part)
    return [_joined([part[number] for part in parts], sender, words.shape) for number in range(len(points))]


@functools.partial(jax.jit, static_argnums=0)
def _send(link: LinkConfig, bits: jax.Array, sent: jax.Array, draws: Any, snr_db, csi_error_var):
    """LLRs of ``bits [batch, num_uavs, num_words, ...]``, the measured SNR, and the costs."""
    signal = Signal(Frames(qam_map(bits, BITS_PER_SYMBOL), sent))
    point = OperatingPoint(snr_db=snr_db, csi_error_var=csi_error_var)
    received, output = links_room.send(link, signal, draws, point)
    llr = qam_llr(received.symbols, received.no_eff, BITS_PER_SYMBOL)
    return llr, links_room.measure(link, signal, output).snr, links_room.book(link, signal)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _measured(metrics: tuple[str, ...], vocabulary: int, text: jax.Array, words: jax.Array) -> dict[str, jax.Array]:
    scores = jax.nn.one_hot(words, vocabulary)
    outcome = Outcome(Estimate(scores), *[None] * 4)
    return {name: METRICS["text"][name](Source(text), outcome) for name in metrics}


def _understood(spec: SweepSpec, sender: CaptionBits, source: Source, coded: CodedSentences, heard, count: int):
    """Metrics of a step's first ``count`` groups, ``[U, count, num_uavs]``, measured SNRs ``[U]``, costs ``[count]``.

    ``heard`` are LLRs, SNR and costs of each unit; all units are decoded together.
    """
    text = np.asarray(source.data)
    real = count * text.shape[1]
    told = CodedSentences(*(np.concatenate([array[:real]] * len(heard)) for array in coded))
    llr = np.concatenate([unit.reshape(coded.bits.shape)[:real] for unit, _, _ in heard])
    words = np.zeros((len(heard), len(coded.bits), text.shape[-1]), np.int32)
    words[:, :real] = sender.decode(llr, told).reshape(len(heard), real, -1)
    vocabulary = spec.schemes[0].scheme.config.vocabulary
    values = [jax.device_get(_measured(spec.metrics, vocabulary, text, unit.reshape(text.shape))) for unit in words]
    metrics = jax.tree.map(lambda *of_units: np.stack(of_units)[:, :count], *values)
    return metrics, np.array([snr for _, snr, _ in heard]), jax.tree.map(lambda a: a[:count], heard[0][2])


def _joined(steps: Sequence[tuple], sender: CaptionBits, shape: tuple[int, ...]) -> Arrived:
    """Steps of groups as one point's."""
    every, snr, ledgers = zip(*steps, strict=True)
    metrics = jax.tree.map(lambda *of_steps: np.concatenate(of_steps, axis=1), *every)
    ledger = jax.tree.map(lambda *of_steps: np.concatenate(of_steps), *ledgers)
    side = np.full_like(ledger.slots, sender.side_bits(shape[-1]) * shape[1])
    return Arrived(metrics, np.mean(snr, axis=0), ledger._replace(side_information_bits=side), np.zeros_like(side), {})
