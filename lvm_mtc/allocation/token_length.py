"""Bandwidth, power and number of tokens of users on an uplink, over latency and measured validation loss.

User k sends L_k tokens of q_k bits at ``R_k = B_k log2(1 + p_k g_k / (gap N0 B_k))`` bit/s, in ``t_k = L_k q_k / R_k``.
Minimised is ``sum_k eta t_k / t0 + (1 - eta) loss_k(L_k)`` with ``sum B_k <= B``, ``sum p_k <= P``, L_k out of a set.

For given lengths the problem is jointly convex in bandwidth and power (1/R is a convex decreasing function of a jointly
concave one), and its optimum is found at once: both KKT conditions of a user divided by each other give its SNR
``s_k = p_k g_k / (gap N0 B_k)`` from ``(1 + s) ln(1 + s) - s = nu g_k`` alone, then ``B_k`` is proportional to
``sqrt(L_k q_k g_k / (1 + s_k)) / log2(1 + s_k)``, and ``nu`` is the root at which the powers sum to P. The lengths
alternate with that, and changes of one or two users at once end it.

Source: the problem is that of task-oriented multimodal token transmission (arXiv 2505.07841), which alternates over
three blocks; solving two of them jointly is ours. Boyd and Vandenberghe, Convex Optimization (2004), section 3.2.6.
"""

import dataclasses
import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from lvm_mtc.allocation.checks import array, positive
from lvm_mtc.allocation.optional import scipy

_NEWTON_STEPS = 14
_PAIRS_UP_TO = 8  # users
_SMALLER = 1e-12  # relative; what counts as an improvement


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenUplink:
    """Users, what they may send, and the budgets.

    Attributes:
        gain: Channel power gain of each user, ``[users]``, linear, > 0.
        token_bits: Bits of a token of each user, ``[users]`` or a number.
        lengths: Numbers of tokens to choose from, rising, ``[windows]`` or ``[users, windows]``.
        validation_loss: Measured for each choice, ``[users, windows]``.
        bandwidth: B, Hz.
        power: P, W.
        noise_density: N0, W/Hz.
        snr_gap_db: Between Shannon's rate and the coding in use, dB.
        latency_weight: eta, in [0, 1].
        latency_scale: t0, seconds.
    """

    gain: ArrayLike
    token_bits: ArrayLike
    lengths: ArrayLike
    validation_loss: ArrayLike
    bandwidth: float
    power: float
    noise_density: float
    snr_gap_db: float = 0.0
    latency_weight: float = 0.5
    latency_scale: float = 1.0

    def __post_init__(self):
        for name, unit in (("bandwidth", "Hz"), ("power", "W"), ("noise_density", "W/Hz"), ("latency_scale", "s")):
            positive(f"TokenUplink.{name}", getattr(self, name), unit)
        array("TokenUplink.snr_gap_db", self.snr_gap_db, (), "a number")
        if not 0 <= self.latency_weight <= 1:
            raise ValueError(f"TokenUplink.latency_weight must lie in [0, 1], got {self.latency_weight!r}")
        gain = array("TokenUplink.gain", np.atleast_1d(self.gain))
        for user, value in enumerate(gain):
            if not value > 0:
                raise ValueError(f"TokenUplink.gain of user {user} is {value:g}: it cannot send")
        windows = np.shape(self.lengths)[-1]
        shape = len(gain), windows
        loss = array("TokenUplink.validation_loss", self.validation_loss, shape, "[users, windows]")
        lengths = array("TokenUplink.lengths", np.broadcast_to(self.lengths, shape))
        if not (lengths[:, 0] > 0).all() or not (np.diff(lengths) > 0).all():
            raise ValueError(f"TokenUplink.lengths must be > 0 and rise, got {np.asarray(self.lengths).tolist()}")
        bits = array("TokenUplink.token_bits", np.broadcast_to(self.token_bits, gain.shape))
        if not (bits > 0).all():
            raise ValueError(f"TokenUplink.token_bits must be > 0, got {bits.tolist()}")
        values = {"gain": gain, "token_bits": bits, "lengths": lengths, "validation_loss": loss}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def snr_per_density(self) -> np.ndarray:
        """SNR for 1 W in 1 Hz, Hz/W, ``[users]``."""
        return self.gain / (self.noise_density * 10 ** (self.snr_gap_db / 10))

    def latencies(self, bandwidth: np.ndarray, power: np.ndarray, choice: np.ndarray) -> np.ndarray:
        """t_k, seconds, ``[users]``."""
        return self._bits(choice) / rate(bandwidth, power, self.snr_per_density)

    def objective(self, bandwidth: np.ndarray, power: np.ndarray, choice: np.ndarray) -> float:
        """What is minimised; ``choice [users]`` are indices into ``lengths``."""
        latency = self.latencies(bandwidth, power, choice).sum() / self.latency_scale
        loss = self.validation_loss[np.arange(len(choice)), choice].sum()
        return float(self.latency_weight * latency + (1 - self.latency_weight) * loss)

    def share(self, choice: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bandwidths and powers for given lengths, the global optimum."""
        return share(self._bits(choice), self.snr_per_density, self.bandwidth, self.power)

    def lengths_for(self, bandwidth: np.ndarray, power: np.ndarray) -> np.ndarray:
        """The best choices for given bandwidths and powers, ``[users]``; of equally good ones the shortest."""
        per_bit = self.latency_weight / self.latency_scale / rate(bandwidth, power, self.snr_per_density)
        cost = (per_bit * self.token_bits)[:, None] * self.lengths + (1 - self.latency_weight) * self.validation_loss
        return cost.argmin(1)

    def _bits(self, choice):
        return self.token_bits * self.lengths[np.arange(len(choice)), choice]


class TokenAllocation(NamedTuple):
    """Who gets what.

    Attributes:
        bandwidth: Hz, ``[users]``.
        power: W, ``[users]``.
        choice: Index of each user's length, ``[users]``.
        objective: What was minimised.
        history: Of the objective, never rising, from equal shares to the end, of the start that was best.
    """

    bandwidth: np.ndarray
    power: np.ndarray
    choice: np.ndarray
    objective: float
    history: tuple[float, ...]


def rate(bandwidth: np.ndarray, power: np.ndarray, snr_per_density: np.ndarray) -> np.ndarray:
    """Shannon's rate, bit/s; ``bandwidth`` in Hz, ``power`` in W, ``snr_per_density`` in Hz/W."""
    return bandwidth * np.log1p(power * snr_per_density / bandwidth) / np.log(2)


def share(
    bits: np.ndarray, snr_per_density: np.ndarray, bandwidth: float, power: float
) -> tuple[np.ndarray, np.ndarray]:
    """Bandwidths and powers that minimise the sum of all users' latencies.

    Args:
        bits: To be sent, > 0, ``[users]``.
        snr_per_density: As of :func:`rate`, > 0, ``[users]``.
        bandwidth: Sum of the bandwidths, Hz.
        power: Sum of the powers, W.

    Returns:
        Bandwidths, Hz, and powers, W, ``[users]``.
    """
    gain = snr_per_density * power / bandwidth

    def shares(log_nu):
        snr = np.expm1(_log_one_plus_snr(np.exp(log_nu) * gain))
        part = np.sqrt(bits * gain / (1 + snr)) / np.log1p(snr)
        part /= part.sum()
        return part, snr * part / gain

    def excess(log_nu):
        return np.log(shares(log_nu)[1].sum())

    low = high = -np.log(gain.mean())
    while excess(low) > 0:
        low -= 4
    while excess(high) < 0:
        high += 4
    root = low if low == high else scipy("optimize").brentq(excess, low, high, xtol=1e-14, rtol=1e-14)
    part, watts = shares(root)
    return bandwidth * part, power * watts / watts.sum()


def _log_one_plus_snr(z: np.ndarray) -> np.ndarray:
    """Y >= 0 with ``y e^y - (e^y - 1) = z``: Newton's method from above, where the convex function never overshoots."""
    y = np.minimum(np.sqrt(2 * z), np.maximum(np.log(np.maximum(z, 1)), 2))
    for _ in range(_NEWTON_STEPS):
        y = y - (y * np.exp(y) - np.expm1(y) - z) / (y * np.exp(y))
    return y


def equal_allocation(uplink: TokenUplink) -> TokenAllocation:
    """Equal bandwidths and powers, and each user's best length with them."""
    users = len(uplink.gain)
    bandwidth, power = np.full(users, uplink.bandwidth / users), np.full(users, uplink.power / users)
    choice = uplink.lengths_for(bandwidth, power)
    value = uplink.objective(bandwidth, power, choice)
    return TokenAllocation(bandwidth, power, choice, value, (value,))


def allocate_tokens(uplink: TokenUplink) -> TokenAllocation:
    """Alternates between (bandwidth, power) and lengths, from equal shares and every common length.

    The best end is then improved by changing the length of one user, or of two at once for up to eight users, each time
    with bandwidths and powers anew. Never worse than :func:`equal_allocation`, nor than equal shares with a common
    length; the global optimum for its own lengths, a local one over the lengths.
    """
    equal = equal_allocation(uplink)
    users, windows = uplink.lengths.shape
    starts = [equal.choice, *(np.full(users, window) for window in range(windows))]
    ends = [_alternate(uplink, equal._replace(choice=choice)) for choice in starts]
    return _exchange(uplink, min(ends, key=lambda end: end.objective))


def _alternate(uplink: TokenUplink, start: TokenAllocation) -> TokenAllocation:
    bandwidth, power, choice, *_ = start
    history = [uplink.objective(bandwidth, power, choice)]
    while True:
        bandwidth, power = uplink.share(choice)
        history.append(uplink.objective(bandwidth, power, choice))
        longer = uplink.lengths_for(bandwidth, power)
        value = uplink.objective(bandwidth, power, longer)
        if not value < history[-1] * (1 - _SMALLER):
            return TokenAllocation(bandwidth, power, choice, history[-1], tuple(history))
        choice = longer
        history.append(value)


def _exchange(uplink: TokenUplink, start: TokenAllocation) -> TokenAllocation:
    best = start
    while True:
        trials = [(choice, *uplink.share(choice)) for choice in _changed(best.choice, uplink.lengths.shape[1])]
        values = [uplink.objective(bandwidth, power, choice) for choice, bandwidth, power in trials]
        if not values or not min(values) < best.objective * (1 - _SMALLER):
            return best
        choice, bandwidth, power = trials[int(np.argmin(values))]
        best = TokenAllocation(bandwidth, power, choice, min(values), (*best.history, min(values)))


def _changed(choice: np.ndarray, windows: int) -> list[np.ndarray]:
    users = range(len(choice))
    groups = [(user,) for user in users]
    if len(choice) <= _PAIRS_UP_TO:
        groups += itertools.combinations(users, 2)
    found = []
    for group in groups:
        others = [[w for w in range(windows) if w != choice[user]] for user in group]
        for values in itertools.product(*others):
            changed = choice.copy()
            changed[list(group)] = values
            found.append(changed)
    return found
