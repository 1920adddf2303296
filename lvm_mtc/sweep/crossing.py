"""Where one curve overtakes another, with a confidence interval, by root finding on common random numbers."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from lvm_mtc.results.intervals import Interval, student_interval

_MAX_STEPS = 200


class Crossing(NamedTuple):
    """Where the mean difference of two curves changes its sign.

    Attributes:
        x: The place; ``low`` and ``high`` are the ends of its confidence interval, infinite beyond the bracket.
        first_leads_above: Whether the difference is positive above ``x`` (and negative below), or the other way round.
        num_units: Independent units behind every mean.
        num_evaluations: How often the difference was computed.
    """

    x: float
    low: float
    high: float
    first_leads_above: bool
    num_units: int
    num_evaluations: int


def find_crossing(
    difference: Callable[[float], ArrayLike],
    low: float,
    high: float,
    *,
    interval: Callable[[np.ndarray], Interval] = student_interval,
    tolerance: float | None = None,
) -> Crossing:
    """Finds where scheme A overtakes scheme B.

    The confidence interval holds all x (next to the crossing) at which a difference of 0 cannot be excluded: those for
    which ``interval(difference(x))`` contains 0. It therefore holds the true crossing exactly as often as ``interval``
    holds the true difference there; no curve is taken for a straight line, and the two sides may differ in length. For
    straight parallel curves it is the delta method's, half-width over slope. Where a 0 that was excluded cannot be
    excluded any more further out, the end may be found there: too far, never too near.

    Args:
        difference: From x to ``[num_units, ...]``, what A is better by in each unit, in the metric's unit. It must use
            the same draws at every x (common random numbers), so that its mean is continuous in x. Extra axes are what
            ``interval`` makes of them; its mean must be a scalar.
        high: Upper end; the mean difference must have different signs at the two ends. If it changes its sign several
            times, one of the crossings is found.
        interval: Confidence interval of the mean over units, ``student_interval`` or ``two_way_interval`` with their
            options bound.
        tolerance: Of all three places, in the unit of x, > 0; None: a thousandth of the bracket.
    """
    low, high = float(low), float(high)
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"find_crossing needs low < high, got {low:g} and {high:g}")
    tolerance = (high - low) / 1000 if tolerance is None else tolerance
    if not tolerance > 0:
        raise ValueError(f"find_crossing: tolerance must be > 0, got {tolerance!r}")
    known: dict[float, Interval] = {}

    def at(x: float) -> Interval:
        if x not in known:
            found = interval(np.asarray(difference(x), dtype=np.float64))
            if np.ndim(found.mean) or not np.isfinite([found.mean, found.half_width]).all():
                needed = "must be one finite number with a finite half-width"
                got = f"got {found.mean} and {found.half_width}"
                raise ValueError(f"find_crossing: the mean difference at {x:g} {needed}, {got}")
            known[x] = found
        return known[x]

    first, last = (float(at(x).mean) for x in (low, high))
    if np.sign(first) == np.sign(last):
        ends = f"{first:+.4g} at the lower and {last:+.4g} at the upper end"
        raise ValueError(f"no crossing between {low:g} and {high:g}: the mean difference is {ends}")
    sign = 1.0 if last > first else -1.0  # times the difference: rises through the crossing

    def shifted(side: float) -> Callable[[float], float]:
        return lambda x: sign * float(at(x).mean) + side * float(at(x).half_width)

    x = _root(shifted(0.0), low, high, tolerance)

    def reach(side: float) -> float:
        """Where, from the crossing outwards, the confidence interval leaves 0; on from what is known already."""
        # Below the crossing (side 1) the upper limit reaches 0 first, above it the lower one.
        limit, inside = shifted(side), x
        if side * limit(x) < 0:
            return x
        for place in sorted((place for place in known if side * (x - place) > 0), key=lambda place: abs(place - x)):
            if side * limit(place) < 0:
                return _root(limit, *sorted((inside, place)), tolerance)
            inside = place
        return -side * math.inf

    return Crossing(x, reach(1.0), reach(-1.0), sign > 0, at(x).num_units, len(known))


def required_pilot_snr(
    metric: Callable[[float], ArrayLike],
    allowed_loss_db: float,
    low_db: float,
    high_db: float,
    *,
    interval: Callable[[np.ndarray], Interval] = student_interval,
    tolerance_db: float | None = None,
) -> Crossing:
    """Finds the pilot SNR from which on imperfect CSI costs no more than a given loss.

    The pilot SNR is that of the estimate: least-squares pilots have an error of variance ``1 / pilot SNR``, where the
    pilot SNR is the pilots' energy per antenna over the noise variance, ``num_pilots / no`` for pilots of power 1.

    Args:
        metric: From ``csi_error_var`` (linear, 0 for perfect CSI) to ``[num_units, ...]``, in dB, larger is better, the
            same draws at every value.
        allowed_loss_db: Mean loss against perfect CSI, dB, > 0.
        low_db: Lower end of the bracket, pilot SNR in dB: here the loss must exceed the allowed one, at the upper end
            it must be below.
        interval: As in ``find_crossing``; of the loss, unit by unit.

    Returns:
        The crossing, in pilot SNR, dB.
    """
    if not allowed_loss_db > 0:
        raise ValueError(f"required_pilot_snr: allowed_loss_db must be > 0, got {allowed_loss_db!r}")
    perfect = np.asarray(metric(0.0), dtype=np.float64)

    def margin(pilot_snr_db: float) -> np.ndarray:
        loss = perfect - np.asarray(metric(10.0 ** (-pilot_snr_db / 10)), dtype=np.float64)
        return allowed_loss_db - loss

    try:
        return find_crossing(margin, low_db, high_db, interval=interval, tolerance=tolerance_db)
    except ValueError as error:
        raise ValueError(f"required_pilot_snr for a loss of {allowed_loss_db:g} dB: {error}") from error


def _root(function: Callable[[float], float], low: float, high: float, tolerance: float) -> float:
    """Root of a function with different signs at ``low`` and ``high``, by the Illinois variant of regula falsi."""
    at_low, at_high = function(low), function(high)
    if at_low == 0 or at_high == 0:
        return low if at_low == 0 else high
    weights, last = [at_low, at_high], None
    for _ in range(_MAX_STEPS):
        if high - low <= tolerance:
            break
        x = (low * weights[1] - high * weights[0]) / (weights[1] - weights[0])
        # At least half the tolerance inside: the next value then closes the bracket from the other side.
        x = min(max(x, low + tolerance / 2), high - tolerance / 2)
        value = function(x)
        if value == 0:
            return x
        side = int((value > 0) == (at_high > 0))  # 1: x replaces the upper end
        if side:
            high, at_high = x, value
        else:
            low, at_low = x, value
        weights[side] = value
        if side == last:
            weights[1 - side] /= 2
        last = side
    return (low * at_high - high * at_low) / (at_high - at_low)
