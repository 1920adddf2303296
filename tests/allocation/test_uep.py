import dataclasses
import itertools
import math

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment, minimize

from lvm_mtc.allocation.uep import Groups, allocate_groups, bit_error_rate, brute_force, ordered_search, share_power
from lvm_mtc.phy import qam_points


def drawn_groups(seed, count=None, bits=12):
    rng = np.random.default_rng(seed)
    count = count or (3 if seed % 2 else 4)
    return Groups(
        importance=rng.dirichlet(np.full(count, 0.7)),
        gain=10 ** rng.uniform(-0.5, 1.2, count),
        bits=bits,
        power=10 ** rng.uniform(0.8, 2.0),
        uses=int(rng.integers(6, 10 * count)),
    )


def plain_objective(groups, modulation, channel, power):
    """In plain Python, group by group."""
    total = spent = uses = 0.0
    for i, b in enumerate(modulation):
        if not b:
            total += groups.importance[i]
            continue
        factor, slope = {1: (1, 2), 2: (1, 1), 4: (3 / 4, 1 / 5), 6: (7 / 12, 1 / 21)}[int(b)]
        x = slope * power[i] * groups.gain[channel[i]]
        error = factor * 0.5 * math.erfc(math.sqrt(x / 2))
        total += groups.importance[i] * (groups.residual + groups.damage * error)
        spent += math.ceil(groups.bits / b) * power[i]
        uses += math.ceil(groups.bits / b)
    return total, spent, uses


@pytest.mark.slow
def test_is_the_brute_force_optimum_of_a_hundred():
    gaps, prior = [], []
    for seed in range(100):
        groups = drawn_groups(seed)
        best, found = brute_force(groups).objective, allocate_groups(groups)
        gaps.append(found.objective / best - 1)
        prior.append(ordered_search(groups).objective / best - 1)
        total, spent, uses = plain_objective(groups, *found[:3])
        assert total == pytest.approx(found.objective, rel=1e-9)
        assert uses <= groups.uses and (not uses or spent == pytest.approx(groups.power, rel=1e-12))
    assert np.mean(np.array(gaps) < 1e-7) >= 0.95 and max(gaps) < 0.05 and min(gaps) > -1e-9
    # The order priors alone are not enough.
    assert np.mean(np.array(prior) < 1e-7) < 0.95 and max(prior) > 0.05


def test_is_never_above_simpler_allocations():
    for seed in range(30):
        groups = drawn_groups(seed, count=6)
        found, rng = allocate_groups(groups).objective, np.random.default_rng(seed)
        count = len(groups.importance)
        channel = rng.permutation(count)
        for modulation in itertools.product((0, 2), repeat=count):
            symbols = groups.symbols(np.array(modulation))
            if not 0 < symbols.sum() <= groups.uses:
                continue
            power = np.full(count, groups.power / symbols.sum())
            assert found <= plain_objective(groups, modulation, channel, power)[0] * (1 + 1e-9)
            assert found <= share_power(groups, np.array(modulation), channel)[0] * (1 + 1e-9)


def test_powers_are_those_of_a_general_solver():
    rng = np.random.default_rng(0)
    modulation, channel = np.array([1, 2, 0, 4, 6]), np.array([3, 1, 0, 4, 2])
    groups = Groups(importance=rng.random(5), gain=10 ** rng.uniform(0, 1.5, 5), bits=12, power=60.0, uses=100)
    objective, power = share_power(groups, modulation, channel)
    symbols = groups.symbols(modulation)
    found = minimize(
        lambda p: plain_objective(groups, modulation, channel, np.maximum(p, 0))[0],
        np.full(5, 60.0 / symbols.sum()),
        bounds=[(1e-9, None)] * 5,
        constraints={"type": "eq", "fun": lambda p: symbols @ p - 60.0},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    assert objective == pytest.approx(found.fun, rel=1e-7) and objective <= found.fun * (1 + 1e-9)
    assert symbols @ power == pytest.approx(60.0, rel=1e-14)


def test_multipliers_agree_over_forty_decades():
    for scale in (1e-8, 1.0, 1e4):
        groups = Groups(importance=[0.5, 0.3, 0.2], gain=np.array([1.0, 4.0, 0.3]) * scale, bits=6, power=50.0, uses=30)
        modulation, channel = np.array([2, 4, 1]), np.arange(3)
        _, power = share_power(groups, modulation, channel)
        slope = np.array([1, 1 / 5, 2]) * groups.gain
        factor = np.array([1, 3 / 4, 1])
        x = slope * power
        log_multiplier = np.log(groups.importance * factor * slope / groups.symbols(modulation)) - x / 2 - np.log(x) / 2
        assert np.ptp(log_multiplier) < 1e-7 * max(1, np.abs(log_multiplier).max())


def test_equal_groups_have_equal_powers_and_much_power_ends_all_errors():
    groups = Groups(importance=np.ones(4), gain=np.full(4, 5.0), bits=8, power=40.0, uses=100)
    _, power = share_power(groups, np.full(4, 2), np.arange(4))
    np.testing.assert_allclose(power, 40.0 / 16, rtol=1e-12)
    assert allocate_groups(dataclasses.replace(groups, power=1e5)).objective < 1e-12


def test_gain_and_power_trade_one_for_one():
    groups = drawn_groups(2)
    traded = dataclasses.replace(groups, gain=groups.gain * 7, power=groups.power / 7)
    assert allocate_groups(traded).objective == pytest.approx(allocate_groups(groups).objective, rel=1e-9)


def test_sorted_matching_is_exact_for_equal_power_and_modulation():
    rng = np.random.default_rng(1)
    for _ in range(50):
        weight, gain = np.sort(rng.random(6))[::-1], np.sort(10 ** rng.uniform(-1, 2, 6))[::-1]
        cost = weight[:, None] * bit_error_rate(np.full((1, 6), 2), gain[None])
        rows, columns = linear_sum_assignment(cost)
        assert cost.trace() <= cost[rows, columns].sum() * (1 + 1e-12)


@pytest.mark.parametrize("bits", [2, 4, 6])
def test_error_rates_are_those_of_the_nearest_point(bits):
    rng = np.random.default_rng(bits)
    points, snr = qam_points(bits), {2: 8.0, 4: 40.0, 6: 150.0}[bits]
    labels = rng.integers(0, len(points), 100_000)
    noise = rng.normal(size=(2, len(labels))) * np.sqrt(0.5 / snr)
    nearest = np.abs((points[labels] + noise[0] + 1j * noise[1])[:, None] - points).argmin(1)
    wrong = np.array([bin(n).count("1") for n in labels ^ nearest])
    expected = float(bit_error_rate(bits, snr))
    assert 1e-3 < expected < 1e-2
    assert wrong.mean() / bits == pytest.approx(expected, rel=0.05, abs=5 * wrong.std() / len(wrong) ** 0.5 / bits)


def test_nothing_fits_and_what_does_not_count():
    nothing = allocate_groups(dataclasses.replace(drawn_groups(0), uses=1))
    assert nothing.objective == pytest.approx(1.0) and not nothing.modulation.any() and not nothing.power.any()
    one = allocate_groups(Groups(importance=[0.0, 1.0], gain=[1.0, 2.0, 5.0], bits=4, power=30.0, uses=40))
    assert one.modulation[0] == 0 or one.power[0] == 0
    assert one.channel[1] == 2
    noisy = allocate_groups(dataclasses.replace(drawn_groups(1), residual=0.9, gain=np.full(3, 1e-6)))
    assert not noisy.modulation.any()  # random bits are worse than no group


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modulations": (1, 3)}, "modulations must be from 1, 2, 4, 6 bits, got 3"),
        ({"importance": [0.0, 0.0]}, r"importance must be >= 0 and not all zero, got \[0.0, 0.0\]"),
        ({"gain": [1.0]}, "gain must be > 0 and of at least 4 sub-channels"),
        ({"power": 0.0}, "power must be > 0, got 0.0"),
        ({"uses": -1}, "uses must be >= 0, got -1"),
        ({"residual": 1.0}, r"residual must lie in \[0, 1\), got 1.0"),
    ],
)
def test_wrong_input(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(drawn_groups(0), **change)


def test_brute_force_has_a_limit():
    with pytest.raises(ValueError, match="up to 4 groups, got 6"):
        brute_force(drawn_groups(0, count=6))
