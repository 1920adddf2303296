"""Unequal error protection: which groups of features are sent, over which sub-channel, how modulated, with what power.

N groups of equally many bits go over M sub-channels. Group i on sub-channel m takes ``n = ceil(bits / b)`` symbols of
b bits and power p each; its bits are wrong with probability ``BER_b(p g_m)``, and its distortion, in units of its own
variance, is ``residual + damage BER`` where it is sent and 1 where it is not. Minimised is the sum of the importances
times the distortions, over ``sum n p <= power`` and ``sum n <= uses``.

Steps: groups by falling importance on sub-channels by falling gain; every prefix of the groups; modulations that do not
fall along the order; powers exactly. Then a polish: any one or two groups changed (left out, sent, modulated anew,
their sub-channels exchanged), the exact assignment of sub-channels, powers again, until nothing helps. The order priors
alone are not enough: the sub-channel that is best often wants the denser modulation.

Source: the problem is that of arXiv 2604.00595; the polish is ours. BER: Cho and Yoon, On the general BER expression
of one- and two-dimensional amplitude modulations (2002), nearest neighbours only, good to a few per cent below 1e-2.
Power: stationarity reads ``x e^x = kappa^2`` with ``x = slope g p``, so x is Lambert's W.
"""

import dataclasses
import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from lvm_mtc.allocation.checks import array, positive
from lvm_mtc.allocation.optional import scipy

MODULATIONS = (1, 2, 4, 6)
"""Bits per symbol: BPSK, QPSK, 16-QAM, 64-QAM."""
_FACTOR = np.array([0, 1, 1, 0, 3 / 4, 0, 7 / 12])
_SLOPE = np.array([1, 2, 1, 1, 1 / 5, 1, 1 / 21])
# BER = factor Q(sqrt(slope SNR)), by the bits per symbol; 0 bits stand for a group that is not sent.
_NEWTON_STEPS = 40
_SMALLER = 1e-12  # relative; what counts as an improvement


@dataclasses.dataclass(frozen=True, kw_only=True)
class Groups:
    """Groups, sub-channels and budgets.

    Attributes:
        importance: Rise of the loss where a group is missing, ``[groups]``, >= 0.
        gain: Of the sub-channels, SNR of a symbol of power 1, ``[channels]``, linear, > 0; at least as many as groups.
        bits: Of a group.
        power: Sum over all symbols.
        uses: Symbols of all groups together at most.
        damage: Distortion of a group per bit error rate; 2 makes random bits as bad as no group.
        residual: Distortion of a group without a wrong bit, from its quantiser.
        modulations: Bits per symbol to choose from.
    """

    importance: ArrayLike
    gain: ArrayLike
    bits: int
    power: float
    uses: int
    damage: float = 2.0
    residual: float = 0.0
    modulations: tuple[int, ...] = MODULATIONS

    def __post_init__(self):
        importance = array("Groups.importance", np.atleast_1d(self.importance))
        if importance.min() < 0 or not importance.any():
            raise ValueError(f"Groups.importance must be >= 0 and not all zero, got {importance.tolist()}")
        gain = array("Groups.gain", np.atleast_1d(self.gain))
        if gain.min() <= 0 or len(gain) < len(importance):
            wanted = f"> 0 and of at least {len(importance)} sub-channels, one a group"
            raise ValueError(f"Groups.gain must be {wanted}, got {gain.tolist()}")
        for name in ("bits", "power", "damage"):
            positive(f"Groups.{name}", getattr(self, name))
        if self.uses < 0:
            raise ValueError(f"Groups.uses must be >= 0, got {self.uses!r}")
        if not 0 <= self.residual < 1:
            raise ValueError(f"Groups.residual must lie in [0, 1), got {self.residual!r}")
        for bits in self.modulations:
            if bits not in MODULATIONS:
                raise ValueError(f"Groups.modulations must be from 1, 2, 4, 6 bits, got {bits!r}")
        object.__setattr__(self, "importance", importance)
        object.__setattr__(self, "gain", gain)

    def symbols(self, modulation: np.ndarray) -> np.ndarray:
        """Symbols of a group by its bits per symbol; 0 where it is not sent."""
        return np.where(modulation > 0, -(-self.bits // np.maximum(modulation, 1)), 0)

    def distortion(self, modulation: np.ndarray, snr: np.ndarray) -> np.ndarray:
        """Of groups by their bits per symbol and the SNR of their symbols, in units of their variance."""
        sent = self.residual + self.damage * bit_error_rate(modulation, snr)
        return np.where(modulation > 0, sent, 1.0)


class Protection(NamedTuple):
    """What becomes of each group.

    Attributes:
        modulation: Bits per symbol, ``[groups]`` int; 0: not sent.
        channel: Sub-channel, ``[groups]`` int; of a group that is not sent it means nothing.
        power: Of each symbol, ``[groups]``; 0 where nothing is sent.
        objective: What was minimised; the sum of the importances where nothing is sent.
    """

    modulation: np.ndarray
    channel: np.ndarray
    power: np.ndarray
    objective: float


def bit_error_rate(bits_per_symbol: ArrayLike, snr: ArrayLike) -> np.ndarray:
    """Of Gray-labelled BPSK, QPSK, 16-QAM and 64-QAM over AWGN at the SNR of a complex symbol, linear."""
    kind = np.asarray(bits_per_symbol)
    return _FACTOR[kind] * scipy("special").ndtr(-np.sqrt(_SLOPE[kind] * snr))


def share_power(groups: Groups, modulation: np.ndarray, channel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The powers that minimise the objective, for any number of candidates at once.

    Args:
        groups: The problem.
        modulation: Bits per symbol, ``[..., groups]`` int, 0 for what is not sent.
        channel: Sub-channels, same shape.

    Returns:
        The objectives, ``[...]``, and the powers of the symbols, ``[..., groups]``, whose sum is exact.
    """
    gain, count, sent = groups.gain[channel], groups.symbols(modulation), modulation > 0
    slope = _SLOPE[modulation] * gain
    weight = groups.importance * groups.damage * _FACTOR[modulation] * slope
    sent &= weight > 0
    with np.errstate(divide="ignore"):
        log_k = np.where(sent, np.log(weight / (2 * np.sqrt(2 * np.pi) * np.maximum(count, 1))), -np.inf)
    equal = groups.power / np.maximum((count * sent).sum(-1, keepdims=True), 1)
    x = slope * equal
    at_equal = log_k - x / 2 - np.log(x) / 2  # log of each group's multiplier at equal powers
    low = np.where(sent, at_equal, np.inf).min(-1, keepdims=True)
    high = at_equal.max(-1, keepdims=True)
    some = sent.any(-1, keepdims=True)
    low, high = np.where(some, low, 0.0), np.where(some, high, 0.0)
    power = _powers_between(low, high, log_k, slope, count * sent, groups.power)
    total = (count * power).sum(-1, keepdims=True)
    power = np.where(sent, power * groups.power / np.where(total > 0, total, 1), 0.0)
    return (groups.importance * groups.distortion(modulation, power * gain)).sum(-1), power


def _powers_between(low, high, log_k, slope, count, total):
    """Newton's method on the logarithm of the multiplier, between bounds; where it leaves them, their middle."""
    omega = scipy("special").wrightomega
    log_multiplier = (low + high) / 2
    for _ in range(_NEWTON_STEPS):
        x = omega(2 * (log_k - log_multiplier))  # W(e^z)
        power = x / slope
        spent = (count * power).sum(-1, keepdims=True)
        miss = np.log(np.maximum(spent, 1e-300) / total)
        low, high = np.where(miss > 0, log_multiplier, low), np.where(miss > 0, high, log_multiplier)
        falls = 2 * (count * power / (1 + x)).sum(-1, keepdims=True) / np.maximum(spent, 1e-300)
        step = log_multiplier + miss / np.maximum(falls, 1e-300)
        inside = (step >= low) & (step <= high)
        done = np.abs(miss) < 1e-13
        log_multiplier = np.where(done, log_multiplier, np.where(inside, step, (low + high) / 2))
        if (done | (high - low < 1e-14 * np.maximum(np.abs(high), 1))).all():
            break
    return power


def ordered_search(groups: Groups) -> Protection:
    """The best that the order priors allow: a prefix by importance, sorted matching, modulations that do not fall."""
    rank = np.argsort(-groups.importance, kind="stable")
    modulation = np.zeros((1, len(rank)), int)
    for sent in range(1, len(rank) + 1):
        rising = itertools.combinations_with_replacement(sorted(groups.modulations), sent)
        some = np.array(list(rising), int)
        modulation = np.concatenate([modulation, np.pad(some, ((0, 0), (0, len(rank) - sent)))])
    modulation = modulation[groups.symbols(modulation).sum(-1) <= groups.uses]
    by_group = np.empty_like(modulation)
    by_group[:, rank] = modulation
    channel = np.empty(len(rank), int)
    channel[rank] = np.argsort(-groups.gain, kind="stable")[: len(rank)]
    return _best_of(groups, by_group, channel)


def allocate_groups(groups: Groups) -> Protection:
    """Groups, sub-channels, modulations and powers: :func:`ordered_search`, then the polish.

    Not proven optimal: :func:`brute_force` tells for a few groups.
    """
    best = ordered_search(groups)
    while True:
        better = _best_of(groups, *_neighbours(groups, best))
        if not better.objective < best.objective * (1 - _SMALLER):
            better = _assigned(groups, best)
        if not better.objective < best.objective * (1 - _SMALLER):
            return best
        best = better


def brute_force(groups: Groups) -> Protection:
    """The optimum by trying all choices of groups, modulations and sub-channels; for four groups at most.

    Raises:
        ValueError: for more groups.
    """
    count = len(groups.importance)
    if count > 4:
        raise ValueError(f"brute_force tries all of up to 4 groups, got {count}")
    modulation = np.array(list(itertools.product((0, *groups.modulations), repeat=count)), int)
    modulation = modulation[groups.symbols(modulation).sum(-1) <= groups.uses]
    channels = [np.array(order) for order in itertools.permutations(range(len(groups.gain)), count)]
    return min((_best_of(groups, modulation, channel) for channel in channels), key=lambda found: found.objective)


def _best_of(groups: Groups, modulation: np.ndarray, channel: np.ndarray) -> Protection:
    channel = np.broadcast_to(channel, modulation.shape)
    objective, power = share_power(groups, modulation, channel)
    best = int(objective.argmin())
    return Protection(modulation[best], channel[best], power[best], float(objective[best]))


def _neighbours(groups: Groups, best: Protection) -> tuple[np.ndarray, np.ndarray]:
    """Modulations and sub-channels that differ at one group or two, and fit."""
    modulations, channels = [best.modulation], [best.channel]
    for first, second in itertools.combinations_with_replacement(range(len(best.modulation)), 2):
        swapped = best.channel.copy()
        swapped[[first, second]] = swapped[[second, first]]
        for a, b in itertools.product((0, *groups.modulations), repeat=2):
            changed = best.modulation.copy()
            changed[first], changed[second] = a, b
            modulations += [changed, changed]
            channels += [best.channel, swapped]
    modulation = np.array(modulations)
    fits = groups.symbols(modulation).sum(-1) <= groups.uses
    return modulation[fits], np.array(channels)[fits]


def _assigned(groups: Groups, best: Protection) -> Protection:
    """The same modulations with sub-channels by exact assignment at the present powers, and powers anew."""
    snr = best.power[:, None] * groups.gain
    cost = groups.importance[:, None] * groups.distortion(best.modulation[:, None], snr)
    return _best_of(groups, best.modulation[None], scipy("optimize").linear_sum_assignment(cost)[1])
