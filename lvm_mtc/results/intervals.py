"""Confidence intervals over independent units, such as channel realisations, pictures or training seeds."""

import functools
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Interval(NamedTuple):
    """A mean over independent units, and half the width of its confidence interval, in its unit."""

    mean: np.ndarray
    half_width: np.ndarray
    num_units: int


def student_interval(samples: ArrayLike, *, level: float = 0.95, sequential: bool = False) -> Interval:
    """Student's interval mean +- t s / sqrt(n) of the mean over independent units.

    The units must be independent: the pictures of one channel realisation share its fading, so average over them first.
    The interval says nothing about what was held fixed.

    Args:
        samples: ``[num_units, ...]``, one value a unit; at least two units.
        sequential: The samples themselves decide how many units there are (``StoppingRule``): wider by
            ``stopping_factor``.
    """
    samples = np.asarray(samples, dtype=np.float64)
    if samples.ndim == 0 or samples.shape[0] < 2:
        raise ValueError(f"student_interval needs two or more independent units on axis 0, got shape {samples.shape}")
    if not 0.0 < level < 1.0:
        raise ValueError(f"student_interval: level must lie in (0, 1), got {level!r}")
    num_units = samples.shape[0]
    half_width = t_quantile(0.5 + level / 2, num_units - 1) / math.sqrt(num_units) * samples.std(axis=0, ddof=1)
    if sequential:
        half_width = half_width * stopping_factor(samples)
    return Interval(samples.mean(axis=0), half_width, num_units)


def stopping_factor(samples: ArrayLike) -> np.ndarray:
    """How much wider an interval must be at the moment when a stopping rule likes it: ``1 + (1 + 3 g^2) / n``.

    n is the number of units and g their sample skewness. Two things go wrong at that moment. The spread is likely to be
    underestimated, which costs a normal metric about half a percent of coverage; and under a skewed metric mean and
    spread are wrong together. For a fixed n the skewness costs what a factor of ``1 + 1.08 g^2 / n`` at 95 % gives
    back (Hall, The Bootstrap and Edgeworth Expansion, 1992, section 2.6); the rest of the 3 is measured: over seven
    laws of skewness up to 2 (normal, uniform, Gumbel, exponential, log-normal, the MSE and the SNR in dB of a Rayleigh
    link), budgets that end after 32 to 200 units and 10,000 runs each, coverage at 95 % was 90.4 to 95.1 % without the
    factor and 93.7 to 96.6 % with it (32 units before the first test, then a test every 16). More skewness needs more
    units: with it, log-normals of skewness 2.9 and 6.2 were at 93 to 95 % and at 90 to 93 %.

    Args:
        samples: ``[num_units, ...]``, at least two independent units.

    Returns:
        ``[...]``, above 1; without spread the skewness counts as 0.
    """
    samples = np.asarray(samples, dtype=np.float64)
    num_units = samples.shape[0]
    centred = samples - samples.mean(axis=0)
    variance = np.mean(centred**2, axis=0)
    flat = variance <= 0
    skewness = np.where(flat, 0.0, np.mean(centred**3, axis=0) / np.where(flat, 1.0, variance) ** 1.5)
    return 1.0 + (1.0 + 3.0 * skewness**2) / num_units


def paired_difference(a: ArrayLike, b: ArrayLike, *, level: float = 0.95, sequential: bool = False) -> Interval:
    """Student's interval of the mean of ``a - b``, unit by unit.

    Two schemes that saw the same draws are compared by their differences: what the draws have in common cancels, and
    the interval is often several times narrower than those of the schemes. ``a`` and ``b`` are ``[num_units, ...]``,
    the same units in the same order.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"paired_difference: a {a.shape} and b {b.shape} must hold the same units")
    return student_interval(a - b, level=level, sequential=sequential)


@functools.cache
def t_quantile(probability: float, degrees: int) -> float:
    """The t with P(T <= t) = ``probability``, of Student's distribution with 1 degree of freedom or more, to 1e-10."""
    if not 0.0 < probability < 1.0 or degrees < 1:
        raise ValueError(f"t_quantile: need 0 < probability < 1 and degrees >= 1, got {probability!r} and {degrees!r}")
    if probability <= 0.5:
        return -t_quantile(1.0 - probability, degrees) if probability < 0.5 else 0.0
    upper_tail = 1.0 - probability
    low, high = 0.0, 1.0
    while _upper_tail(high, degrees) > upper_tail:
        low, high = high, 2.0 * high
    for _ in range(200):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        low, high = (middle, high) if _upper_tail(middle, degrees) > upper_tail else (low, middle)
    return 0.5 * (low + high)


def _upper_tail(t: float, degrees: int) -> float:
    """P(T > t) for t >= 0: half the regularised incomplete beta function I_z(degrees/2, 1/2), z = n / (n + t^2)."""
    a, b = degrees / 2.0, 0.5
    z = degrees / (degrees + t * t)
    if z == 1.0:
        return 0.5
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(z) + b * math.log1p(-z))
    # The continued fraction converges fast on one side of the mean of the beta distribution only.
    if z < (a + 1.0) / (a + b + 2.0):
        return 0.5 * front * _beta_fraction(a, b, z) / a
    return 0.5 * (1.0 - front * _beta_fraction(b, a, 1.0 - z) / b)


def _beta_fraction(a: float, b: float, z: float) -> float:
    """Continued fraction of the incomplete beta function (Abramowitz and Stegun 26.5.8), by Lentz's method."""
    tiny = 1e-300
    c, d = 1.0, 1.0 - (a + b) * z / (a + 1.0)
    d = 1.0 / (d if abs(d) > tiny else tiny)
    value = d
    for m in range(1, 1000):
        even = m * (b - m) * z / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * z / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 + term * d
            d = 1.0 / (d if abs(d) > tiny else tiny)
            c = 1.0 + term / c
            c = c if abs(c) > tiny else tiny
            value *= c * d
        if abs(c * d - 1.0) < 1e-15:
            break
    return value
