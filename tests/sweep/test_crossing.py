"""Crossings in closed form, and how often their intervals hold the true one."""

import functools
import math

import numpy as np
import pytest
from scipy import stats

from lvm_mtc.results.bootstrap import two_way_interval
from lvm_mtc.results.intervals import student_interval
from lvm_mtc.sweep.crossing import find_crossing, required_pilot_snr

CENTRED = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])  # mean 0, half width 1.963 of Student at 95 %
HALF_WIDTH = stats.t.ppf(0.975, 4) * CENTRED.std(ddof=1) / math.sqrt(5)


def noisy(curve, noise=CENTRED):
    return lambda x: curve(x) + noise


@pytest.mark.parametrize("slope", [2.0, -0.5])
def test_parallel_lines_have_the_half_width_over_the_slope(slope):
    found = find_crossing(noisy(lambda x: slope * (x - 3.7)), -20, 30, tolerance=1e-9)
    reach = HALF_WIDTH / abs(slope)
    np.testing.assert_allclose([found.x, found.low, found.high], [3.7, 3.7 - reach, 3.7 + reach], atol=1e-8)
    assert found.first_leads_above == (slope > 0) and found.num_units == 5


@pytest.mark.parametrize("sign", [1, -1])
def test_two_saturating_curves_cross_where_they_are_equal(sign):
    """30 - 24 exp(-x / 6) less 27 - 20 exp(-x / 3) is, in u = exp(-x / 6), 20 u^2 - 24 u + 3."""

    def curve(x):
        return sign * (3 - 24 * math.exp(-x / 6) + 20 * math.exp(-x / 3))

    def where(level):
        return -6 * math.log((24 - math.sqrt(24**2 - 80 * (3 - level))) / 40)

    found = find_crossing(noisy(curve, 0.2 * CENTRED), 0, 40, tolerance=1e-9)
    want = [where(level) for level in (0, -0.2 * HALF_WIDTH, 0.2 * HALF_WIDTH)]
    np.testing.assert_allclose([found.x, found.low, found.high], want, atol=1e-8)
    assert found.first_leads_above == (sign > 0)
    assert found.high - found.x > 1.05 * (found.x - found.low)  # no straight line: it flattens


def test_noise_that_grows_with_x_is_taken_where_it_is():
    """(1 + x / 10) times noise: ends x with x - 5 = +-h (1 + x / 10)."""
    found = find_crossing(lambda x: x - 5 + (1 + x / 10) * CENTRED, -4, 40, tolerance=1e-9)
    h = HALF_WIDTH
    np.testing.assert_allclose([found.low, found.high], [(5 - h) / (1 + h / 10), (5 + h) / (1 - h / 10)], atol=1e-8)


def test_common_draws_make_slopes_of_their_own_and_the_mean_line_decides():
    rng = np.random.default_rng(0)
    slopes, offsets = rng.uniform(1, 3, 40), rng.normal(size=40)
    found = find_crossing(lambda x: slopes * x + offsets, -3, 3, tolerance=1e-10)
    assert found.x == pytest.approx(-offsets.mean() / slopes.mean(), abs=1e-9)
    # Fieller: (mean of slopes x + offsets)^2 = t^2 var / n, a quadratic in x.
    scale = stats.t.ppf(0.975, 39) ** 2 / 40
    cov = np.cov(slopes, offsets)
    ends = np.roots(
        [
            slopes.mean() ** 2 - scale * cov[0, 0],
            2 * (slopes.mean() * offsets.mean() - scale * cov[0, 1]),
            offsets.mean() ** 2 - scale * cov[1, 1],
        ]
    )
    np.testing.assert_allclose([found.low, found.high], np.sort(ends), atol=1e-8)


def test_few_evaluations_reach_the_tolerance():
    for tolerance, most in ((None, 25), (1e-6, 40)):
        calls = []

        def difference(x, calls=calls):
            calls.append(x)
            return math.atan(3 * (x - 1.234)) + 0.01 * CENTRED

        found = find_crossing(difference, -20, 20, tolerance=tolerance)
        # The noise's own reach comes on top of the tolerance's: none here, its mean is 0.
        assert abs(found.x - 1.234) < (0.04 if tolerance is None else tolerance)
        assert len(calls) == len(set(calls)) == found.num_evaluations <= most


def test_the_true_crossing_is_covered_as_often_as_the_level_says():
    """Skewed noise, curved difference; the truth is where its mean is 0. 600 runs, 5 standard errors are 4.4 %."""
    rng, runs = np.random.default_rng(7), 600
    truth, inside = 2.0, 0
    for _ in range(runs):
        gain, other = rng.exponential(size=(2, 48))
        found = find_crossing(lambda x, g=gain, o=other: 2 * np.tanh((x - truth) / 3) * g + (o - 1), -6, 12,
                              tolerance=0.01)  # fmt: skip
        inside += found.low <= truth <= found.high
    assert abs(inside / runs - 0.95) < 5 * math.sqrt(0.95 * 0.05 / runs)
    assert abs(inside / runs - 0.85) > 0.05  # half the width would hold it in 67 %


def test_pictures_that_were_drawn_widen_the_interval():
    rng, runs = np.random.default_rng(8), 200
    two_way = functools.partial(two_way_interval, num_replicates=400)
    inside = {"two way": 0, "channels only": 0}
    for _ in range(runs):
        cells = rng.normal(size=(24, 1)) + 2 * rng.normal(size=(1, 12)) + rng.normal(size=(24, 12))
        for name, interval in (("two way", two_way), ("channels only", lambda a: student_interval(a.mean(axis=1)))):
            found = find_crossing(lambda x, c=cells: 1 - x + c, -9, 11, interval=interval, tolerance=0.02)
            inside[name] += found.low <= 1 <= found.high
    assert abs(inside["two way"] / runs - 0.95) < 5 * math.sqrt(0.95 * 0.05 / runs)
    assert inside["channels only"] / runs < 0.8


def test_an_interval_that_reaches_beyond_the_bracket_is_one_sided():
    curve = noisy(lambda x: x)
    assert find_crossing(curve, -1, 10)[1:3] == pytest.approx((-math.inf, HALF_WIDTH), abs=0.02)
    assert find_crossing(curve, -10, 1)[1:3] == pytest.approx((-HALF_WIDTH, math.inf), abs=0.02)
    assert find_crossing(curve, -1, 1)[1:3] == (-math.inf, math.inf)
    assert find_crossing(noisy(lambda x: -x), -1, 10)[1:3] == pytest.approx((-math.inf, HALF_WIDTH), abs=0.02)


def test_without_noise_the_interval_is_the_crossing_and_ends_may_be_zeros():
    found = find_crossing(lambda x: np.full(4, x - 1.0), 0, 3, tolerance=1e-6)
    assert found.low == found.x == found.high == pytest.approx(1.0, abs=1e-6)
    assert find_crossing(lambda x: np.full(4, x), 0, 3).x == 0
    assert find_crossing(lambda x: np.full(4, x - 3.0), 0, 3).x == 3


def test_a_steep_step_is_found_to_the_tolerance():
    found = find_crossing(lambda x: np.full(4, math.tanh(1e4 * (x - 0.3))), -1, 1, tolerance=1e-5)
    assert abs(found.x - 0.3) < 1e-5


@pytest.mark.parametrize("allowed", [0.5, 1.0])
def test_pilots_for_a_loss_in_closed_form(allowed):
    """The SNR in dB behind an error of variance s and noise of variance 0.01: the loss is 10 log10(1 + s / 0.01)."""

    def metric(csi_error_var):
        return -10 * np.log10(0.01 + csi_error_var) + CENTRED

    found = required_pilot_snr(metric, allowed, 0, 40, tolerance_db=1e-8)
    want = -10 * math.log10(0.01 * (10 ** (allowed / 10) - 1))
    assert found.x == found.low == found.high == pytest.approx(want, abs=1e-7)  # common draws cancel
    assert found.first_leads_above
    weights = np.linspace(0.5, 1.5, 7)  # units that lose differently, 1 on average
    found = required_pilot_snr(lambda s: -weights * 10 * np.log10(0.01 + s), allowed, 0, 40, tolerance_db=1e-8)
    assert found.x == pytest.approx(want, abs=1e-7) and found.low < want - 0.1 and found.high > want + 0.1


def line(x):
    return x + CENTRED


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: find_crossing(line, 1, 1), "low < high, got 1 and 1"),
        (lambda: find_crossing(line, -math.inf, 1), "low < high, got -inf and 1"),
        (lambda: find_crossing(line, math.nan, 1), "low < high, got nan and 1"),
        (lambda: find_crossing(line, -1, 1, tolerance=0), "tolerance must be > 0, got 0"),
        (lambda: find_crossing(line, 2, 4), r"no crossing between 2 and 4: .* \+2 at the lower and \+4 at the upper"),
        (lambda: find_crossing(line, -4, -2), r"is -4 at the lower and -2 at the upper"),
        (lambda: find_crossing(lambda x: 0 * line(x) * x, 2, 4), r"no crossing .* \+0 at the lower and \+0"),
        (lambda: find_crossing(lambda x: 1e-200 * line(x), 2, 4), r"\+2e-200 at the lower"),
        (lambda: find_crossing(lambda x: line(x) * math.nan, -1, 1), "difference at -1 must be one finite number"),
        (lambda: find_crossing(lambda x: np.ones((5, 2)) * x, -1, 1), "difference at -1 must be one finite number"),
        (lambda: required_pilot_snr(line, 0, 0, 30), "allowed_loss_db must be > 0, got 0"),
        (lambda: required_pilot_snr(lambda s: -s + CENTRED, 1, 10, 30), "loss of 1 dB: no crossing between 10 and 30"),
    ],
)
def test_messages(call, words):
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
