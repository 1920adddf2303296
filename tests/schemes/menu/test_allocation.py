"""Who gets how many symbols and how much power: water-filling in closed form, budgets, an exhaustive search."""

import itertools

import numpy as np
import pytest

from lvm_mtc.schemes.menu.allocation import allocate

POWER = 10 ** (np.arange(-20, 50, 0.1) / 10)


def test_linear_codes_alone_get_the_power_of_the_closed_form():
    variance = np.array([4.0, 1.0, 0.25, 0.001])
    distortion = np.tile(1 / (1 + POWER), (4, 1, 1))
    found = allocate(variance, POWER, distortion, num_symbols=4, total_power=20.0)
    # min sum v / (1 + p): p = sqrt(v / mu) - 1 where positive; the last component gets nothing.
    root = (20 + 3) / np.sqrt(variance[:3]).sum()
    np.testing.assert_array_equal(found.symbols, [1, 1, 1, 0])
    np.testing.assert_allclose(POWER[found.power[:3]], np.sqrt(variance[:3]) * root - 1, rtol=0.06)


def total_error(variance, distortion, count, power):
    return sum(
        v * (distortion[i, n - 1, p] if n else 1.0)
        for i, (v, n, p) in enumerate(zip(variance, count, power, strict=True))
    )


@pytest.mark.parametrize("num_symbols", [2, 3, 5])
def test_no_other_choice_within_the_same_budgets_is_better(num_symbols):
    variance, power = np.array([3.0, 1.0, 0.3]), np.array([0.5, 1.0, 2.0, 4.0, 8.0])
    d1, d2 = 1 / (1 + power), np.minimum(1 / (1 + power), 1.2 / (1 + power / 2) ** 2)
    distortion = np.tile(np.stack([d1, d2]), (3, 1, 1))
    found = allocate(variance, power, distortion, num_symbols, total_power=9.0)
    used = np.where(found.symbols > 0, power[found.power], 0).sum()
    assert used <= 9.0 and found.symbols.sum() <= num_symbols
    best = min(
        total_error(variance, distortion, count, place)
        for count in itertools.product(range(3), repeat=3)
        if sum(count) <= found.symbols.sum()
        for place in itertools.product(range(5), repeat=3)
        if sum(power[p] for n, p in zip(count, place, strict=True) if n) <= used + 1e-9
    )
    assert total_error(variance, distortion, found.symbols, found.power) == pytest.approx(best, rel=1e-9)


def test_more_power_and_more_symbols_never_hurt():
    rng = np.random.default_rng(0)
    variance = np.sort(rng.exponential(size=30))[::-1]
    power = 10 ** (np.arange(-10, 40, 1.0) / 10)
    distortion = np.tile(np.stack([1 / (1 + power), 1 / (1 + power / 2) ** 1.6]), (30, 1, 1))

    def error(num_symbols, total):
        found = allocate(variance, power, distortion, num_symbols, total)
        return total_error(variance, distortion, found.symbols, found.power)

    by_power = [error(20, total) for total in (10.0, 40.0, 160.0, 640.0)]
    assert np.all(np.diff(by_power) < 0) and error(40, 160.0) < by_power[2] < error(8, 160.0)


def test_table_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"distortion must be \[2, N, 3\], got \(3, 1, 2\)"):
        allocate(np.ones(2), np.ones(3), np.ones((3, 1, 2)), 2, 1.0)
