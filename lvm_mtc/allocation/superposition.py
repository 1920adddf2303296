"""Pairs of superposed users: ratio, power, bandwidth and pairs for the largest sum rate.

Users i and j of a pair share a band of B_m Hz. Of the partner's power the share ``leak`` is left in i's features
behind the receiver, a logistic function of what decides it:

``leak_ij = sigma(t0 + t1 similarity_ij + t2 ln p_j + t3 ratio_i)``,
``R_i = B_m log2(1 + p_i g_i / (N0 B_m + g_i p_j leak_ij))`` bit/s.

User i sends ``samples ratio_i use_bits`` bits; that takes ``t_i`` seconds and ``p_i t_i`` joules, and leaves the
distortion ``d(ratio_i, R_i / B_m)``; all three are limited, and so are the sums of powers and bandwidths.

The ratios of given powers and bandwidths are found exactly on a grid (they do not touch each other), powers and
bandwidths by successive linear programs, the pairs by exact matching at the present powers, and the split of a pair's
power together with its ratios on grids, as the one after the other may be stuck. Every step is taken only if
the sum rate rises and all limits hold, so the history never falls and converges; its end is stationary in
(power, bandwidth), not a global optimum, hence several starts.

Source: the problem is that of SC-SFMA (arXiv 2604.09255); the solver and the leak's logarithm of the power are ours.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from lvm_mtc.allocation.checks import array, positive
from lvm_mtc.allocation.pairing import NoFeasiblePairing, Pairs, best_pairing, check_users, pairings
from lvm_mtc.allocation.successive import SLACK, climb

RATIOS = np.linspace(0.05, 1.0, 96)
"""Grid of the ratio block."""
_EDGE_RATIOS, _EDGE_SHARES = RATIOS[::5], np.linspace(0.1, 0.9, 17)
_ALL_STARTS_UP_TO = 6  # users
_RANDOM_STARTS = 8
_MOST_SWEEPS = 12
_COARSE, _FINE = 1e-6, 1e-8  # relative gain of a step of powers and bandwidths that is the last, of all starts and one
_SWEEPS_GAIN = 10  # times that: what a sweep over the blocks must gain to go on


class Plan(NamedTuple):
    """Pairs, and what each user gets.

    Attributes:
        pairs: Users of each pair.
        power: W, ``[users]``.
        bandwidth: Of each pair, Hz, ``[pairs]``.
        ratio: Complex symbols per source sample over the largest, in (0, 1], ``[users]``.
    """

    pairs: Pairs
    power: np.ndarray
    bandwidth: np.ndarray
    ratio: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Superposition:
    """Users, the measured models, and the limits.

    Attributes:
        gain: Mean channel power gain, ``[users]``, linear, > 0.
        similarity: Of two users' features, ``[users, users]`` in [0, 1], symmetric.
        leak: (t0, t1, t2, t3), of the share of the partner's power that is left.
        distortion: Of (ratio, bit/s/Hz), arrays of one shape; rises with neither.
        samples: Source samples of an item times complex symbols per sample at ratio 1.
        use_bits: Bits of a symbol.
        power: Sum, W.
        bandwidth: Sum over pairs, Hz.
        noise_density: N0, W/Hz.
        max_latency: Of each user, seconds.
        max_energy: Of each user, J.
        max_distortion: Of each user, in the units of ``distortion``.
    """

    gain: ArrayLike
    similarity: ArrayLike
    leak: tuple[float, float, float, float]
    distortion: Callable[[np.ndarray, np.ndarray], np.ndarray]
    samples: float
    power: float
    bandwidth: float
    noise_density: float
    max_latency: float
    max_energy: float
    max_distortion: float
    use_bits: float = 1.0

    def __post_init__(self):
        gain = array("Superposition.gain", np.atleast_1d(self.gain))
        users = check_users(len(gain))
        if gain.min() <= 0:
            raise ValueError(f"Superposition.gain must be > 0, got {gain.tolist()}")
        similarity = array("Superposition.similarity", self.similarity, (users, users), "[users, users]")
        if similarity.min() < 0 or similarity.max() > 1 or not np.allclose(similarity, similarity.T):
            raise ValueError(f"Superposition.similarity must be symmetric in [0, 1], got {similarity.tolist()}")
        array("Superposition.leak", self.leak, (4,), "[t0, t1, t2, t3]")
        for name in ("samples", "use_bits", "power", "bandwidth", "noise_density", "max_latency", "max_energy",
                     "max_distortion"):  # fmt: skip
            positive(f"Superposition.{name}", getattr(self, name))
        object.__setattr__(self, "gain", gain)
        object.__setattr__(self, "similarity", similarity)

    def rate(
        self, user: ArrayLike, partner: ArrayLike, own: ArrayLike, others: ArrayLike, band: ArrayLike, ratio: ArrayLike
    ) -> np.ndarray:
        """R_i, bit/s, of indices of users, powers in W, bandwidth in Hz and ratio, which broadcast."""
        t0, t1, t2, t3 = self.leak
        left = 1 / (1 + np.exp(-(t0 + t1 * self.similarity[user, partner] + t2 * np.log(others) + t3 * ratio)))
        gain = self.gain[user]
        return band * np.log2(1 + own * gain / (self.noise_density * band + gain * others * left))

    def limits(self, rate: np.ndarray, own: ArrayLike, band: ArrayLike, ratio: ArrayLike) -> np.ndarray:
        """Room under each user's latency, energy and distortion, relative, ``[..., 3]``; >= 0 where they hold."""
        latency = ratio * self.samples * self.use_bits / rate
        used = latency / self.max_latency, own * latency / self.max_energy
        distortion = self.distortion(np.broadcast_to(ratio, rate.shape), rate / band) / self.max_distortion
        return 1 - np.stack(np.broadcast_arrays(*used, distortion), -1)

    def rates(self, plan: Plan) -> np.ndarray:
        """R of all users, bit/s, ``[..., users]``; powers, bandwidths and ratios may have leading axes."""
        partner, pair = _places(plan.pairs)
        users = np.arange(len(partner))
        return self.rate(users, partner, plan.power, plan.power[..., partner], plan.bandwidth[..., pair], plan.ratio)

    def slack(self, plan: Plan) -> np.ndarray:
        """Relative room under all limits, first the users', then the two sums, ``[..., 3 users + 2]``."""
        _, pair = _places(plan.pairs)
        rates = self.rates(plan)
        own = self.limits(rates, plan.power, plan.bandwidth[..., pair], plan.ratio)
        sums = 1 - np.stack([plan.power.sum(-1) / self.power, plan.bandwidth.sum(-1) / self.bandwidth], -1)
        return np.concatenate([own.reshape(*own.shape[:-2], -1), sums], -1)

    def sum_rate(self, plan: Plan) -> float:
        """What is maximised, bit/s."""
        return float(self.rates(plan).sum(-1))

    def feasible(self, plan: Plan) -> bool:
        """Whether all limits hold, up to 1e-9 of each."""
        return bool(self.slack(plan).min() >= -SLACK)

    def equal(self, pairs: Pairs) -> Plan:
        """Equal powers and bandwidths, and the best ratios with them; where none is feasible, the middle one."""
        users = len(self.gain)
        power, band = np.full(users, self.power / users), np.full(len(pairs), self.bandwidth / len(pairs))
        return best_ratios(self, Plan(pairs, power, band, np.full(users, RATIOS[len(RATIOS) // 2])))


class Progress(NamedTuple):
    """How a plan came about.

    Attributes:
        plan: The last.
        sum_rate: Its sum rate, bit/s.
        history: Every plan that was taken, feasible and each better than the one before.
    """

    plan: Plan
    sum_rate: float
    history: tuple[Plan, ...]


def _places(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Partner and pair of each user."""
    flat = np.array(pairs)
    partner, pair = np.empty(flat.size, int), np.empty(flat.size, int)
    partner[flat], pair[flat] = flat[:, ::-1], np.arange(len(flat))[:, None]
    return partner, pair


def best_ratios(network: Superposition, plan: Plan) -> Plan:
    """Each user's ratio of the largest rate within the user's limits, on the grid; the old one where none is better."""
    partner, pair = _places(plan.pairs)
    users = np.arange(len(partner))[:, None]
    own, band = plan.power[:, None], plan.bandwidth[pair][:, None]
    grid = np.concatenate([plan.ratio[:, None], np.broadcast_to(RATIOS, (len(users), len(RATIOS)))], 1)
    rates = network.rate(users, partner[:, None], own, plan.power[partner][:, None], band, grid)
    allowed = network.limits(rates, own, band, grid).min(-1) >= -SLACK
    choice = np.where(allowed, rates, -np.inf).argmax(1)
    return plan._replace(ratio=grid[users[:, 0], choice])


def best_shares(network: Superposition, plan: Plan, gain: float = _FINE) -> list[Plan]:
    """Plans with better powers and bandwidths, one after the other, until one gains less; the ratios stay."""
    return [_with(plan, x) for x in climb(
        lambda x: network.rates(_with(plan, x)).sum(-1)[..., None],
        lambda x: network.slack(_with(plan, x)),
        np.concatenate([plan.power, plan.bandwidth]), gain,
    )]  # fmt: skip


def made_feasible(network: Superposition, plan: Plan) -> Plan | None:
    """A plan of the same pairs within all limits, or None where the largest least room that is found is below 0."""
    users = len(network.gain)

    def sums(x):
        return np.concatenate([network.slack(_with(plan, x))[..., 3 * users :], 1 - x[..., -users:]], -1)

    x = np.concatenate([plan.power, plan.bandwidth, plan.ratio])
    points = climb(lambda x: network.slack(_with(plan, x))[..., : 3 * users], sums, x)
    return next((found for x in points if network.feasible(found := _with(plan, x))), None)


def _with(plan: Plan, x: np.ndarray) -> Plan:
    power, band, ratio = np.split(x, np.cumsum([len(plan.power), len(plan.bandwidth)]), axis=-1)
    return plan._replace(power=power, bandwidth=band, ratio=ratio if ratio.shape[-1] else plan.ratio)


def best_splits(network: Superposition, plan: Plan) -> Plan:
    """Each pair's total power split anew between its users, with their ratios, both on grids; the pairs stay.

    Powers and ratios together: one after the other they can be stuck where neither alone gains.
    """
    power, ratio = plan.power.copy(), plan.ratio.copy()
    for pair, band in zip(plan.pairs, plan.bandwidth, strict=True):
        total, *found = _split(network, pair, power[list(pair)].sum(), band)
        if total > -np.inf:
            power[list(pair)], ratio[list(pair)] = found
    return plan._replace(power=power, ratio=ratio)


def best_pairs(network: Superposition, plan: Plan) -> Plan:
    """The pairs of the largest sum rate, each pair at its users' present total power, split as in ``best_splits``.

    All pairs have one bandwidth. The plan itself where no perfect matching is feasible.
    """
    users, band = len(network.gain), network.bandwidth / len(plan.pairs)
    weight, chosen = np.full((users, users), -np.inf), {}
    for i, j in itertools.combinations(range(users), 2):
        total, *chosen[i, j] = _split(network, (i, j), plan.power[i] + plan.power[j], band)
        weight[i, j] = weight[j, i] = total
    try:
        pairs, _ = best_pairing(weight)
    except NoFeasiblePairing:
        return plan
    power, ratio = plan.power.copy(), plan.ratio.copy()
    for pair in pairs:
        power[list(pair)], ratio[list(pair)] = chosen[pair]
    return Plan(pairs, power, np.full(len(pairs), band), ratio)


def _split(
    network: Superposition, pair: tuple[int, int], power: float, band: float
) -> tuple[float, np.ndarray, np.ndarray]:
    """The largest sum rate of a pair on the grids, -inf where its limits cannot be kept, and its powers and ratios."""
    own = power * np.stack([_EDGE_SHARES, 1 - _EDGE_SHARES])[:, :, None]
    index, other = np.array(pair)[:, None, None], np.array(pair[::-1])[:, None, None]
    rates = network.rate(index, other, own, own[::-1], band, _EDGE_RATIOS)
    allowed = network.limits(rates, own, band, _EDGE_RATIOS).min(-1) >= 0
    rates = np.where(allowed, rates, -np.inf)  # the ratios of the two do not touch each other
    total = rates.max(-1).sum(0)
    share = int(total.argmax())
    return float(total[share]), own[:, share, 0], _EDGE_RATIOS[rates[:, share].argmax(-1)]


def improve(network: Superposition, start: Plan, *, pairing: bool = True, gain: float = _FINE) -> Progress:
    """Goes through the blocks from a feasible plan until a whole sweep gains nothing; ``pairing``: the pairs too.

    ``gain`` is as in ``best_shares``.
    """
    history = [start]

    def take(plan: Plan) -> None:
        if network.sum_rate(plan) > network.sum_rate(history[-1]) and network.feasible(plan):
            history.append(plan)

    for _ in range(_MOST_SWEEPS):
        before = network.sum_rate(history[-1])
        take(best_ratios(network, history[-1]))
        for plan in best_shares(network, history[-1], gain):
            take(plan)
        take(best_splits(network, history[-1]))
        if pairing:
            take(best_pairs(network, history[-1]))
        if network.sum_rate(history[-1]) < before * (1 + _SWEEPS_GAIN * gain):
            break
    return Progress(history[-1], network.sum_rate(history[-1]), tuple(history))


def improve_both(network: Superposition, start: Plan, *, pairing: bool = True) -> Progress:
    """The better end of :func:`improve` from a feasible plan, and from the same with its pairs' powers split anew."""
    split = best_splits(network, start)
    both = [start] if network.sum_rate(split) <= network.sum_rate(start) else [start, split]
    ends = (improve(network, plan, pairing=pairing, gain=_COARSE) for plan in both if network.feasible(plan))
    return max(ends, key=lambda end: end.sum_rate)


def starts(network: Superposition, seed: int = 0) -> Iterable[Pairs]:
    """All pairings of up to six users, of more users eight random ones."""
    users = len(network.gain)
    if users <= _ALL_STARTS_UP_TO:
        return pairings(range(users))
    rng = np.random.default_rng(seed)
    drawn = (rng.permutation(users).reshape(-1, 2) for _ in range(_RANDOM_STARTS))
    return [tuple(map(tuple, np.sort(pairs, 1).tolist())) for pairs in drawn]


def maximise_sum_rate(network: Superposition, seed: int = 0) -> Progress:
    """The best end over several starts of equal shares, each made feasible first, as it is and with powers split anew.

    Where not all pairings are starts, each start may change its pairs; the best end may in any case.

    Args:
        network: The problem.
        seed: Of the random pairings, for more than six users.

    Raises:
        NoFeasiblePairing: if no start could be made feasible.
    """
    ends, some = [], len(network.gain) > _ALL_STARTS_UP_TO
    for pairs in starts(network, seed):
        start = network.equal(pairs)
        if not network.feasible(start):
            start = made_feasible(network, start)
        if start is not None:
            ends.append(improve_both(network, start, pairing=some))
    if not ends:
        raise NoFeasiblePairing(f"no pairs were found that keep all limits, from any start{_who_cannot(network)}")
    best = max(ends, key=lambda end: end.sum_rate)
    last = improve(network, best.plan)
    return last._replace(history=best.history + last.history[1:])


def _who_cannot(network: Superposition) -> str:
    """The first user who meets a limit, or all of them, with no partner and no ratio at equal shares, for a message."""
    users = len(network.gain)
    power, band = network.power / users, 2 * network.bandwidth / users
    user, partner = np.arange(users)[:, None, None], np.arange(users)[None, :, None]
    room = network.limits(network.rate(user, partner, power, power, band, RATIOS), power, band, RATIOS)
    room[np.arange(users), np.arange(users)] = -np.inf
    for name, met in (
        *((f"max_{limit}", room[..., i]) for i, limit in enumerate(("latency", "energy", "distortion"))),
        ("all limits", room.min(-1)),
    ):
        alone = np.flatnonzero((met < -SLACK).all((1, 2)))
        if len(alone):
            return f": at equal shares user {alone[0]} meets {name} with nobody"
    return ""
