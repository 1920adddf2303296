"""When a point stops, and that the 95 % interval of whatever stopped there holds the truth.

The cheap metric is the SNR in dB behind a Rayleigh channel, 10 log10(1 + snr g) with exponential g: skewed, and its
mean has a closed form.
"""

import functools

import numpy as np
import pytest
from scipy.special import hyperu

from lvm_mtc.results.bootstrap import two_way_interval
from lvm_mtc.results.intervals import student_interval
from lvm_mtc.sweep.stopping import StoppingRule

NUM_SWEEPS = 2000
WHOLE_BUDGET = StoppingRule(target_half_width=None, max_units=32)


def stopping_rule(**options):
    return StoppingRule(**({"target_half_width": 0.5, "max_units": 100} | options))


def metric_db(snr, gain):
    return 10 * np.log10(1 + snr * gain)


def mean_metric_db(snr):
    """E log(1 + snr g) = exp(1 / snr) E1(1 / snr), which is U(1, 1, 1 / snr)."""
    return 10 / np.log(10) * hyperu(1, 1, 1 / snr)


def run_sweeps(sample, interval, rule):
    """Many sweeps of one point side by side, each going on until the rule has enough.

    Returns for each sweep the interval's mean and half width where it stopped, and its units.
    """
    stopped, running, data = np.zeros((3, NUM_SWEEPS)), np.ones(NUM_SWEEPS, bool), sample(rule.next_units(0))
    while True:
        found = interval(data)
        done = running & [rule.is_done(len(data), half_width) for half_width in found.half_width]
        stopped[:, done] = np.stack([found.mean, found.half_width, np.full(NUM_SWEEPS, len(data))])[:, done]
        running &= ~done
        if not running.any():
            return stopped
        data = np.concatenate([data, sample(rule.next_units(len(data)))])


def coverage(stopped, truth):
    mean, half_width, _ = stopped
    return np.mean(np.abs(mean - truth) <= half_width)


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("snr", [1.0, 10.0, 100.0])
@pytest.mark.parametrize("shared", [True, False])
def test_known_pictures_are_covered(snr, shared, adaptive):
    """The pictures are these four, each with its own SNR; random are the channels, one for all or one for each."""
    rng = np.random.default_rng(1)
    of_pictures = snr * np.array([[0.5], [1], [2], [4]])

    def sample(num_units):
        gain = rng.exponential(size=(num_units, 1 if shared else 4, NUM_SWEEPS))
        return metric_db(of_pictures, gain).mean(axis=1)

    target = 1.96 * sample(100).std() / np.sqrt(60)
    rule = stopping_rule(target_half_width=target, max_units=200) if adaptive else WHOLE_BUDGET
    stopped = run_sweeps(sample, functools.partial(student_interval, sequential=adaptive), rule)
    assert 0.93 <= coverage(stopped, mean_metric_db(of_pictures).mean()) <= 0.97
    if adaptive:
        _, half_width, units = stopped
        assert np.all(half_width[units < 200] <= target) and len(np.unique(units)) > 3 and 55 < units.mean() < 85


def drawn_pictures(rng, law, num_pictures):
    size = num_pictures, NUM_SWEEPS
    return 2 * rng.normal(size=size) if law == "normal" else 2 - 2 * rng.exponential(size=size)


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("channels", ["shared", "own", "scaled"])
@pytest.mark.parametrize(("law", "num_pictures"), [("normal", 24), ("skewed", 48)])
def test_random_pictures_are_covered(law, num_pictures, channels, adaptive):
    """Pictures are drawn too, once a sweep: an offset of the metric, or ("scaled") of the SNR, in dB."""
    snr, rng = 10.0, np.random.default_rng(2)
    offset = drawn_pictures(rng, law, num_pictures)

    def sample(num_units):
        gain = rng.exponential(size=(num_units, num_pictures if channels == "own" else 1, NUM_SWEEPS))
        if channels == "scaled":
            return metric_db(snr * 10 ** (offset / 10), gain)
        return metric_db(snr, gain) + offset

    truth = mean_metric_db(snr)
    if channels == "scaled":  # Gauss rules of 40 nodes for the mean over the law of the offset
        if law == "normal":
            nodes, weights = np.polynomial.hermite_e.hermegauss(40)
            nodes = 2 * nodes
        else:
            nodes, weights = np.polynomial.laguerre.laggauss(40)
            nodes = 2 - 2 * nodes
        truth = np.sum(mean_metric_db(snr * 10 ** (nodes / 10)) * weights) / weights.sum()
    # What half of the sweeps reach with 48 channels; their own pictures decide whether one of them ever does.
    target = np.median(two_way_interval(sample(48)).half_width) if adaptive else None
    rule = stopping_rule(target_half_width=target, max_units=64) if adaptive else WHOLE_BUDGET
    stopped = run_sweeps(sample, functools.partial(two_way_interval, sequential=adaptive), rule)
    assert 0.93 <= coverage(stopped, truth) <= 0.97
    if adaptive:
        assert 0.1 < np.mean(stopped[2] < 64) and len(np.unique(stopped[2])) == 3


def test_the_coverage_test_can_fail():
    """Student's interval over channels, although the pictures were drawn too; and, stopped, without its factor."""
    rng = np.random.default_rng(3)
    offset = drawn_pictures(rng, "normal", 24)

    def both(num_units):
        return metric_db(10.0, rng.exponential(size=(num_units, 1, NUM_SWEEPS))) + offset

    stopped = run_sweeps(lambda num: both(num).mean(axis=1), student_interval, WHOLE_BUDGET)
    assert coverage(stopped, mean_metric_db(10.0)) < 0.92

    def skewed(num_units):
        return rng.exponential(size=(num_units, NUM_SWEEPS)) ** 2

    rule = stopping_rule(target_half_width=1.96 * np.sqrt(20 / 60), max_units=200)
    assert coverage(run_sweeps(skewed, student_interval, rule), 2.0) < 0.92


def test_a_point_is_done_at_its_target_or_at_the_end_of_its_budget():
    rule = stopping_rule(min_units=32)
    assert [rule.is_done(units, 0.5) for units in (31, 32, 99, 100)] == [False, True, True, True]
    assert [rule.is_done(48, half_width) for half_width in (0.5001, np.nan, np.inf, 0.0)] == [False] * 3 + [True]
    assert rule.is_done(100, np.nan)
    whole = StoppingRule(target_half_width=None, max_units=40)
    assert [whole.is_done(units, 0.0) for units in (39, 40, 41)] == [False, True, True]


def test_tests_stand_where_they_stand_wherever_a_run_begins():
    rule = stopping_rule(min_units=32, check_every=16)
    tests, units = [], 0
    while units < rule.max_units:
        units += rule.next_units(units)
        tests.append(units)
    assert tests == [32, 48, 64, 80, 96, 100] and rule.next_units(100) == rule.next_units(105) == 0
    assert all(units + rule.next_units(units) == next(t for t in tests if t > units) for units in range(100))
    assert StoppingRule(target_half_width=None, max_units=40).next_units(33) == 7
    assert StoppingRule(target_half_width=None, max_units=40).next_units(41) == 0
    assert stopping_rule(max_units=32).next_units(0) == 32


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_units": 1}, r"StoppingRule.max_units must be a whole number >= 2, got 1"),
        ({"max_units": 64.0}, r"max_units must be a whole number >= 2, got 64.0"),
        ({"max_units": True}, r"max_units .* got True"),
        ({"min_units": 1}, r"StoppingRule.min_units must be a whole number >= 2, got 1"),
        ({"check_every": 0}, r"StoppingRule.check_every must be a whole number >= 1, got 0"),
        ({"target_half_width": 0.0}, r"StoppingRule.target_half_width must be a number > 0 or None, got 0.0"),
        ({"target_half_width": np.nan}, r"target_half_width .* got nan"),
        ({"target_half_width": np.inf}, r"target_half_width .* got inf"),
        ({"target_half_width": "0.5"}, r"target_half_width .* got '0.5'"),
        ({"max_units": 31}, r"max_units 31 is below StoppingRule.min_units 32"),
        ({"level": 1}, r"StoppingRule.level must lie in \(0, 1\), got 1"),
        ({"level": 95}, r"StoppingRule.level must lie in \(0, 1\), got 95"),
    ],
)
def test_messages(options, words):
    with pytest.raises(ValueError, match=words) as caught:
        stopping_rule(**options)
    assert "\n" not in str(caught.value)
    assert StoppingRule(target_half_width=None, max_units=8).max_units == 8  # without a target no least number
