"""Bjontegaard's deltas: how far one rate-distortion curve lies from another, as one number.

Bjontegaard, Calculation of average PSNR differences between RD-curves (ITU-T VCEG-M33, 2001), with monotone piecewise
cubic interpolation (Fritsch and Butland, 1984), as the joint video teams took it up, in place of one cubic. Curves are
compared where they overlap, and nothing is extrapolated.
"""

from collections.abc import Sequence

import numpy as np

Curve = tuple[Sequence[float], Sequence[float]]
"""Rates, > 0 and linear (bits, channel uses), and PSNR in dB or another metric that rises; three points or more."""


def bd_psnr(anchor: Curve, test: Curve) -> float:
    """Mean PSNR that ``test`` gains over ``anchor`` at equal rate, over the logarithm of the rate, dB.

    Raises:
        ValueError: on curves that do not rise or do not overlap.
    """
    (rate, psnr), (test_rate, test_psnr) = map(_checked, (anchor, test))
    return _mean_difference(np.log(rate), psnr, np.log(test_rate), test_psnr)


def bd_rate(anchor: Curve, test: Curve) -> float:
    """Share of the rate that ``test`` needs more than ``anchor`` at equal PSNR, over the PSNR: -0.2 is 20 % less.

    Raises:
        ValueError: on curves that do not rise or do not overlap.
    """
    (rate, psnr), (test_rate, test_psnr) = map(_checked, (anchor, test))
    return float(np.expm1(_mean_difference(psnr, np.log(rate), test_psnr, np.log(test_rate))))


def _checked(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    rate, psnr = (np.asarray(values, float) for values in curve)
    if rate.ndim != 1 or rate.shape != psnr.shape or rate.size < 3:
        raise ValueError(f"curve needs rates and PSNR of three points or more, got shapes {rate.shape}, {psnr.shape}")
    order = np.argsort(rate)
    rate, psnr = rate[order], psnr[order]
    if not (rate[0] > 0 and np.all(np.diff(rate) > 0) and np.all(np.diff(psnr) > 0)):
        raise ValueError(f"curve must rise, from a rate above 0, got rates {rate.tolist()} with PSNR {psnr.tolist()}")
    return rate, psnr


def _mean_difference(x: np.ndarray, y: np.ndarray, test_x: np.ndarray, test_y: np.ndarray) -> float:
    low, high = max(x[0], test_x[0]), min(x[-1], test_x[-1])
    if not low < high:
        raise ValueError(f"curves must overlap, got {x[0]:g} ... {x[-1]:g} and {test_x[0]:g} ... {test_x[-1]:g}")
    return _mean(test_x, test_y, low, high) - _mean(x, y, low, high)


def _mean(x: np.ndarray, y: np.ndarray, low: float, high: float) -> float:
    """Mean of the curve through the points, by Simpson's rule, which is exact for each of its cubics."""
    ends = np.concatenate([[low], x[(x > low) & (x < high)], [high]])
    value = _interpolate(x, y, ends)
    middle = _interpolate(x, y, (ends[1:] + ends[:-1]) / 2)
    return float(np.diff(ends) @ (value[1:] + 4 * middle + value[:-1]) / 6 / (high - low))


def _interpolate(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Cubic Hermite interpolation of points that rise."""
    step = np.diff(x)
    rise, slope = np.diff(y) / step, _slopes(step, np.diff(y) / step)
    i = np.clip(np.searchsorted(x, at, side="right") - 1, 0, step.size - 1)
    t = at - x[i]
    square = (3 * rise[i] - 2 * slope[i] - slope[i + 1]) / step[i]
    cube = (slope[i] + slope[i + 1] - 2 * rise[i]) / step[i] ** 2
    return y[i] + t * (slope[i] + t * (square + t * cube))


def _slopes(step: np.ndarray, rise: np.ndarray) -> np.ndarray:
    """Slopes at the points: weighted harmonic means of the rises beside them; at the ends a parabola's, not below 0."""
    near, far = step[:-1] + 2 * step[1:], 2 * step[:-1] + step[1:]
    inner = (near + far) / (near / rise[:-1] + far / rise[1:])

    def end(h0, h1, d0, d1):
        return max(0.0, ((2 * h0 + h1) * d0 - h0 * d1) / (h0 + h1))

    first, last = end(step[0], step[1], rise[0], rise[1]), end(step[-1], step[-2], rise[-1], rise[-2])
    return np.concatenate([[first], inner, [last]])
