"""Bjontegaard's deltas against the package of that name, and against curves whose deltas are known."""

import numpy as np
import pytest

from lvm_mtc.results.rate_distortion import bd_psnr, bd_rate


def _curve(rng, num_points, shift=0.0):
    """Points that rise from one place on, by uneven steps: some need the rule that keeps the ends monotone."""
    rates, psnr = rng.uniform(1, 3, num_points), rng.uniform(0.05, 4, num_points)
    return (1 + shift) * np.cumsum(rates) / rates[0], 22 + np.cumsum(psnr) / psnr[0]


@pytest.mark.parametrize("num_points", [3, 4, 8])
def test_deltas_are_those_of_the_reference(num_points):
    reference = pytest.importorskip("bjontegaard", reason="needs bjontegaard (extra test)")
    rng = np.random.default_rng(num_points)
    for _ in range(40):
        anchor, test = _curve(rng, num_points), _curve(rng, num_points, shift=0.3)
        options = dict(method="pchip", require_matching_points=False, min_overlap=0)
        assert bd_psnr(anchor, test) == pytest.approx(reference.bd_psnr(*anchor, *test, **options), rel=1e-9, abs=1e-9)
        wanted = reference.bd_rate(*anchor, *test, **options) / 100
        assert bd_rate(anchor, test) == pytest.approx(wanted, rel=1e-9, abs=1e-9)


def test_curves_that_are_shifted():
    rate, psnr = np.array([0.1, 0.2, 0.5, 1.0]), np.array([26.0, 29.0, 33.5, 36.0])
    assert bd_psnr((rate, psnr), (rate, psnr + 0.7)) == pytest.approx(0.7)
    assert bd_rate((rate, psnr), (0.8 * rate, psnr)) == pytest.approx(-0.2)
    assert bd_rate((rate, psnr), (rate[::-1], psnr[::-1])) == pytest.approx(0, abs=1e-12)
    # A straight line in the logarithm of the rate stays one: 6.02 dB a doubling against 3.01, equal at the middle.
    line = np.log2(rate)
    steep, flat = 30 + 6.02 * line, 30 + 3.01 * line
    middle = (line[0] + line[-1]) / 2
    assert bd_psnr((rate, flat), (rate, steep)) == pytest.approx(3.01 * middle)


@pytest.mark.parametrize(
    ("curve", "message"),
    [
        (([1, 2], [3, 4]), "three points or more, got shapes"),
        (([1, 2, 3], [3, 5, 4]), "curve must rise, from a rate above 0, got rates"),
        (([0, 2, 3], [3, 4, 5]), "curve must rise, from a rate above 0"),
        (([10, 20, 30], [33, 34, 35]), "curves must overlap, got 3 ... 5 and 33 ... 35"),
    ],
)
def test_errors(curve, message):
    with pytest.raises(ValueError, match=message):
        bd_rate(([1, 2, 3], [3, 4, 5]), curve)
