import numpy as np
import pytest
from scipy import stats

from lvm_mtc.results.intervals import paired_difference, stopping_factor, student_interval, t_quantile


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 9, 19, 30, 99, 1000, 100_000])
@pytest.mark.parametrize("probability", [0.6, 0.9, 0.95, 0.975, 0.995, 0.9999, 0.025])
def test_quantile_is_scipys(degrees, probability):
    np.testing.assert_allclose(t_quantile(probability, degrees), stats.t.ppf(probability, degrees), rtol=1e-9)


def test_median_is_zero():
    assert t_quantile(0.5, 3) == 0.0


def test_interval_is_scipys():
    samples = np.random.default_rng(0).normal(size=(9, 2, 3))
    found = student_interval(samples)
    low, high = stats.t.interval(0.95, 8, loc=samples.mean(0), scale=stats.sem(samples, axis=0))
    np.testing.assert_allclose(found.mean - found.half_width, low, rtol=1e-9)
    np.testing.assert_allclose(found.mean + found.half_width, high, rtol=1e-9)
    assert found.num_units == 9


def test_interval_covers_95_percent_and_a_normal_one_would_not():
    num = 4000
    samples = np.random.default_rng(1).normal(size=(4, num))
    found = student_interval(samples)
    bound = 5 * np.sqrt(0.95 * 0.05 / num)
    assert abs(np.mean(np.abs(found.mean) <= found.half_width) - 0.95) < bound
    too_narrow = found.half_width * 1.96 / t_quantile(0.975, 3)
    assert abs(np.mean(np.abs(found.mean) <= too_narrow) - 0.95) > bound


def test_pairing_cancels_what_is_common():
    rng = np.random.default_rng(2)
    common = rng.normal(size=20) * 10
    a, b = common + 1 + 0.1 * rng.normal(size=20), common + 0.1 * rng.normal(size=20)
    paired = paired_difference(a, b)
    assert abs(paired.mean - 1.0) < 5 * 0.1 * np.sqrt(2 / 20)
    assert paired.half_width < 0.1 * student_interval(a).half_width


def test_the_stopping_factor_is_its_formula_and_widens_what_was_stopped():
    samples = np.random.default_rng(3).exponential(size=(20, 3))
    samples[:, 2] = 7.0  # no spread, no skewness
    want = 1 + (1 + 3 * np.array([*stats.skew(samples[:, :2]), 0.0]) ** 2) / 20
    np.testing.assert_allclose(stopping_factor(samples), want, rtol=1e-12)
    plain, wider = student_interval(samples), student_interval(samples, sequential=True)
    np.testing.assert_allclose(wider.half_width, want * plain.half_width, rtol=1e-12)
    np.testing.assert_array_equal(wider.mean, plain.mean)
    assert np.all(wider.half_width[:2] > plain.half_width[:2]) and wider.half_width[2] == 0
    other = samples[::-1] ** 2
    paired = paired_difference(samples, other, level=0.9, sequential=True)
    want = student_interval(samples - other, level=0.9, sequential=True)
    np.testing.assert_array_equal(paired.half_width, want.half_width)
    np.testing.assert_array_equal(paired.mean, want.mean)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: student_interval([1.0]), r"two or more.*\(1,\)"),
        (lambda: student_interval(3.0), r"two or more.*\(\)"),
        (lambda: student_interval([1.0, 2.0], level=95), "level.*95"),
        (lambda: paired_difference([1.0, 2.0], [1.0, 2.0, 3.0]), r"\(2,\).*\(3,\)"),
        (lambda: t_quantile(1.0, 3), "1.0 and 3"),
        (lambda: t_quantile(0.9, 0), "0.9 and 0"),
    ],
)
def test_messages(call, words):
    with pytest.raises(ValueError, match=words):
        call()
