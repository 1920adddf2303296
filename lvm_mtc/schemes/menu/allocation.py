"""Which code and how much power each component gets: a Lagrangian over a table of distortions. Plain NumPy."""

from typing import NamedTuple

import numpy as np

_STEPS = 40


class Allocation(NamedTuple):
    """What each component gets.

    Attributes:
        symbols: Real symbols, ``[M]`` int; 0: it is not sent.
        power: Index into the table's powers, ``[M]`` int; of no meaning where ``symbols`` is 0.
    """

    symbols: np.ndarray
    power: np.ndarray


def allocate(
    variance: np.ndarray, power: np.ndarray, distortion: np.ndarray, num_symbols: int, total_power: float
) -> Allocation:
    """Minimises the sum of the components' distortions under a budget of symbols and of power.

    min sum_i variance_i d_i(n_i, p_i) + mu sum_i p_i + nu sum_i n_i; mu is bisected so that the power fits, nu so that
    the symbols do.

    Args:
        variance: Of each component, ``[M]``.
        power: A component's powers over the noise variance of a real symbol, linear, rising, ``[P]``.
        distortion: Mean squared error of a component of unit variance sent by n = 1 ... N symbols, ``[M, N, P]``.
        num_symbols: Real symbols that there are.
        total_power: Of all of them over the noise variance.

    Raises:
        ValueError: if the shapes do not fit each other.
    """
    if distortion.shape[::2] != (len(variance), len(power)):
        raise ValueError(f"distortion must be [{len(variance)}, N, {len(power)}], got {distortion.shape}")
    error = variance[:, None, None] * distortion

    def choose(mu: float, nu: float) -> Allocation:
        cost = error + mu * power
        best = cost.argmin(-1)
        cost = np.take_along_axis(cost, best[..., None], -1)[..., 0] + nu * np.arange(1, cost.shape[1] + 1)
        count = np.concatenate([variance[:, None], cost], axis=1).argmin(1)
        return Allocation(count, best[np.arange(len(best)), np.maximum(count, 1) - 1])

    def within_power(nu: float) -> Allocation:
        return _bisect(lambda mu: choose(mu, nu), lambda a: power[a.power][a.symbols > 0].sum() <= total_power)

    free = within_power(0.0)
    if free.symbols.sum() <= num_symbols:
        return free
    return _bisect(within_power, lambda a: a.symbols.sum() <= num_symbols)


def _bisect(solve, fits) -> Allocation:
    """``solve`` at the smallest multiplier at which the solution fits."""
    low, high = 1e-14, 1e2
    for _ in range(_STEPS):
        middle = np.sqrt(low * high)
        low, high = (low, middle) if fits(solve(middle)) else (middle, high)
    return solve(high)
