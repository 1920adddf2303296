"""The two-way interval against the analysis of variance and a bootstrap that resamples unit by unit."""

import numpy as np
import pytest
from scipy import stats

from lvm_mtc.results.bootstrap import two_way_effects, two_way_interval


def drawn(num_channels, num_pictures, *shape, of_channel=1.0, of_picture=1.0, of_rest=1.0, seed=0):
    """Values of the model, ``[num_channels, num_pictures, *shape]``, from standard deviations."""
    rng = np.random.default_rng(seed)
    parts = (of_channel, (num_channels, 1)), (of_picture, (1, num_pictures)), (of_rest, (num_channels, num_pictures))
    return sum(deviation * rng.normal(size=(*lead, *shape)) for deviation, lead in parts)


def mean_squares(samples):
    """Of channels, pictures and rest, cell by cell, as a table of the analysis of variance has them."""
    rows, columns = samples.shape
    mean = samples.sum() / samples.size
    of_rows = [samples[i].sum() / columns for i in range(rows)]
    of_columns = [samples[:, j].sum() / rows for j in range(columns)]
    rest = sum((samples[i, j] - of_rows[i] - of_columns[j] + mean) ** 2 for i in range(rows) for j in range(columns))
    return (
        columns * sum((value - mean) ** 2 for value in of_rows) / (rows - 1),
        rows * sum((value - mean) ** 2 for value in of_columns) / (columns - 1),
        rest / ((rows - 1) * (columns - 1)),
    )


@pytest.mark.parametrize("of_picture", [2.0, 0.0])
def test_effects_are_the_parts_of_the_analysis_of_variance(of_picture):
    samples = drawn(7, 5, of_picture=of_picture, seed=3)
    of_channels, of_pictures, of_rest = mean_squares(samples)
    channels, pictures = two_way_effects(samples)
    np.testing.assert_allclose(np.mean(channels**2) / 7, of_channels / samples.size, rtol=1e-12)
    np.testing.assert_allclose(np.mean(pictures**2) / 5, max(of_pictures - of_rest, 0) / samples.size, atol=1e-15)
    assert (of_pictures > of_rest) == (of_picture > 0)  # both branches are met
    np.testing.assert_allclose([channels.sum(), pictures.sum()], 0, atol=1e-12)


def test_variance_of_the_mean_is_unbiased_and_whole_rows_and_columns_would_not_be():
    num, (rows, columns) = 20_000, (12, 6)
    deviations = dict(of_channel=0.7, of_picture=1.5, of_rest=2.0)
    samples = drawn(rows, columns, num, **deviations)
    channels, pictures = two_way_effects(samples)
    estimates = np.mean(channels**2, axis=0) / rows + np.mean(pictures**2, axis=0) / columns
    s_c, s_p, s_r = (value**2 for value in deviations.values())
    true = s_c / rows + s_p / columns + s_r / (rows * columns)
    bound = 5 * estimates.std() / np.sqrt(num)
    assert abs(estimates.mean() - true) < bound
    spread = 5 * true * np.sqrt(2 / num)  # the mean is normal, and its square twice that variance
    assert abs(np.mean(samples.mean(axis=(0, 1)) ** 2) - true) < spread
    # Means of rows and of columns as they are count the rest twice, resampled cells once more.
    naive = samples.mean(axis=1).var(axis=0, ddof=1) / rows + samples.mean(axis=0).var(axis=0, ddof=1) / columns
    assert naive.mean() - true > bound


def test_half_width_is_that_of_a_bootstrap_unit_by_unit():
    samples = drawn(6, 9, seed=4)
    effects = two_way_effects(samples)
    studentised = []
    draws = []
    for stream, of in enumerate(effects):
        rng = np.random.default_rng([3, stream, len(of)])
        draws.append(rng.multinomial(len(of), np.full(len(of), 1 / len(of)), size=200))
    for counts in zip(*draws, strict=True):
        resampled = [np.repeat(of, count) for of, count in zip(effects, counts, strict=True)]
        variance = sum(of.var(ddof=1) / len(of) for of in resampled)
        studentised.append(abs(sum(of.mean() for of in resampled)) / np.sqrt(variance))
    error = np.sqrt(sum(np.mean(of**2) / len(of) for of in effects))
    want = np.sort(studentised)[int(np.ceil(0.9 * 199))] * error
    found = two_way_interval(samples, level=0.9, num_replicates=200, seed=3)
    np.testing.assert_allclose(found.half_width, want, rtol=1e-12)
    assert found.mean == pytest.approx(samples.mean(), rel=1e-12) and found.num_units == 6


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_many_units_have_the_normal_quantile(level):
    samples, num = drawn(300, 400, seed=5), 20_000
    found = two_way_interval(samples, level=level, num_replicates=num)
    of_channels, of_pictures, of_rest = mean_squares(samples)
    quantile = float(found.half_width) / np.sqrt((of_channels + of_pictures - of_rest) / samples.size)
    z = stats.norm.ppf(0.5 + level / 2)
    bound = 5 * np.sqrt(level * (1 - level) / num) / (2 * stats.norm.pdf(z))
    assert abs(quantile - z) < bound + 0.02  # 0.02: Student's quantile at 299 degrees, thrice
    assert abs(quantile - stats.norm.ppf(level)) > 0.1


def test_extra_axes_stand_for_themselves_and_seeds_repeat():
    samples = drawn(8, 6, 3, 2)
    found = two_way_interval(samples, num_replicates=300)
    assert found.mean.shape == found.half_width.shape == (3, 2)
    for place in np.ndindex(3, 2):
        alone = two_way_interval(samples[:, :, *place], num_replicates=300)
        np.testing.assert_allclose([found.mean[place], found.half_width[place]], alone[:2], rtol=1e-12)
    np.testing.assert_array_equal(found.half_width, two_way_interval(samples, num_replicates=300).half_width)
    other = two_way_interval(samples, num_replicates=300, seed=1).half_width
    assert np.all(other != found.half_width)
    np.testing.assert_allclose(other, found.half_width, rtol=0.5)


def test_units_of_measurement_and_order_do_not_matter():
    samples = drawn(8, 6)
    found, scaled = two_way_interval(samples), two_way_interval(5 - 3 * samples)
    np.testing.assert_allclose([scaled.mean, scaled.half_width], [5 - 3 * found.mean, 3 * found.half_width], rtol=1e-9)


def test_nothing_random_has_no_width_and_a_factor_alone_has_its_own():
    assert two_way_interval(np.full((5, 4), 0.1)).half_width < 1e-15
    channels = drawn(40, 5, of_picture=0, of_rest=0, seed=7)
    student = stats.t.ppf(0.975, 39) * channels[:, 0].std(ddof=1) / np.sqrt(40)
    np.testing.assert_allclose(two_way_interval(channels, num_replicates=20_000).half_width, student, rtol=0.1)
    pictures = drawn(5, 40, of_channel=0, of_rest=0, seed=7)
    student = stats.t.ppf(0.975, 39) * pictures[0].std(ddof=1) / np.sqrt(40)
    np.testing.assert_allclose(two_way_interval(pictures, num_replicates=20_000).half_width, student, rtol=0.1)


def test_sequential_is_wider_by_the_factor_of_the_channels_means():
    samples = np.exp(drawn(10, 6))
    plain, wider = two_way_interval(samples), two_way_interval(samples, sequential=True)
    factor = 1 + (1 + 3 * stats.skew(samples.mean(axis=1)) ** 2) / 10
    np.testing.assert_allclose(wider.half_width / plain.half_width, factor, rtol=1e-12)
    assert wider.mean == plain.mean and factor > 1.1


@pytest.mark.parametrize(
    ("shape", "options", "words"),
    [
        ((3, 9), {}, r"4 or more of each, got shape \(3, 9\)"),
        ((9, 3), {}, r"4 or more of each, got shape \(9, 3\)"),
        ((9,), {}, r"got shape \(9,\)"),
        ((5, 5), {"level": 95}, r"level must lie in \(0, 1\), got 95"),
        ((5, 5), {"num_replicates": 99}, "num_replicates must be >= 100, got 99"),
    ],
)
def test_messages(shape, options, words):
    with pytest.raises(ValueError, match=words):
        two_way_interval(np.zeros(shape), **options)
