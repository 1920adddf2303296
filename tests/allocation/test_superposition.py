import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize, nnls

from lvm_mtc.allocation.pairing import NoFeasiblePairing, pairings
from lvm_mtc.allocation.successive import climb, gradient
from lvm_mtc.allocation.superposition import (
    Plan,
    Superposition,
    best_pairs,
    best_ratios,
    best_shares,
    best_splits,
    improve,
    improve_both,
    made_feasible,
    maximise_sum_rate,
    starts,
)  # fmt: skip


def distortion(ratio, efficiency):
    return np.exp(-3 * ratio) * (1 + 0.5 * np.exp(-efficiency))


def network(seed, users=4, **changed):
    rng = np.random.default_rng(seed)
    similarity = rng.random((users, users))
    fields = dict(
        gain=10 ** rng.uniform(0.5, 2, users),
        similarity=(similarity + similarity.T) / 2,
        leak=(-1.0, -2.5, 1.2, -2.0),
        distortion=distortion,
        samples=1.0,
        power=float(users),
        bandwidth=users / 2,
        noise_density=1.0,
        max_latency=6.0,
        max_energy=8.0,
        max_distortion=0.3,
    )
    return Superposition(**(fields | changed))


@functools.cache
def solved(seed):
    of = network(seed)
    return of, maximise_sum_rate(of)


def plain_rates(of, plan):
    """User by user, in plain Python."""
    rates = [0.0] * len(of.gain)
    t0, t1, t2, t3 = of.leak
    for band, pair in zip(plan.bandwidth, plan.pairs, strict=True):
        for i, j in (pair, pair[::-1]):
            odds = np.exp(t0 + t1 * of.similarity[i, j] + t2 * np.log(plan.power[j]) + t3 * plan.ratio[i])
            interference = of.gain[i] * plan.power[j] * odds / (1 + odds)
            rates[i] = band * np.log2(1 + plan.power[i] * of.gain[i] / (of.noise_density * band + interference))
    return np.array(rates)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), 2])
def test_histories_rise_within_all_limits_to_the_best_of_all_pairings(seed):
    of, found = solved(seed)
    rates = [plain_rates(of, plan).sum() for plan in found.history]
    assert len(rates) > 3 and (np.diff(rates) > 0).all()
    assert rates[-1] == pytest.approx(found.sum_rate)
    for plan in found.history:
        latency = plan.ratio * of.samples / plain_rates(of, plan)
        assert (latency <= of.max_latency * (1 + 1e-8)).all()
        assert (plan.power * latency <= of.max_energy * (1 + 1e-8)).all()
        assert plan.power.sum() <= of.power * (1 + 1e-8) and plan.bandwidth.sum() <= of.bandwidth * (1 + 1e-8)
    assert found.plan.power.sum() == pytest.approx(of.power, rel=1e-9)  # all of it
    assert found.plan.bandwidth.sum() == pytest.approx(of.bandwidth, rel=1e-9)
    equal = [of.equal(pairs) for pairs in pairings(range(4))]
    assert found.sum_rate > max(of.sum_rate(plan) for plan in equal if of.feasible(plan))
    alone = [improve_both(of, start, pairing=False).sum_rate for start in equal if of.feasible(start)]
    assert found.sum_rate >= 0.99 * max(alone)


@pytest.mark.parametrize("seed", range(3))
def test_shares_are_those_of_a_general_solver_and_stationary(seed):
    of, found = solved(seed)
    plan = found.plan

    def with_shares(x):
        return plan._replace(power=x[..., :4], bandwidth=x[..., 4:])

    x = np.concatenate([plan.power, plan.bandwidth])
    reference = max(
        (
            minimize(
                lambda x: -of.sum_rate(with_shares(x)),
                np.concatenate([start.power, start.bandwidth]),
                constraints={"type": "ineq", "fun": lambda x: of.slack(with_shares(x))},
                bounds=[(1e-3, None)] * 6,
                method="SLSQP",
            )
            for start in (of.equal(plan.pairs), plan)
        ),
        key=lambda found: -found.fun,
    )
    assert of.sum_rate(plan) >= -reference.fun * (1 - 1e-4)
    slope = gradient(lambda x: of.rates(with_shares(x)).sum(-1)[..., None], x)[0]
    room = of.slack(with_shares(x))
    active = room < 1e-5
    jacobian = gradient(lambda x: of.slack(with_shares(x)), x)[active]
    _, residual = nnls(-jacobian.T * x[:, None], slope * x)
    assert residual / np.linalg.norm(slope * x) < 1e-3


def test_shares_of_one_pair_against_a_grid():
    of = network(5, users=2)
    start = of.equal(((0, 1),))
    found = best_shares(of, start)[-1]
    powers = np.stack(np.meshgrid(*[np.arange(1, 401) / 400 * of.power] * 2), -1).reshape(-1, 2)
    trials = Plan(start.pairs, powers, np.full((len(powers), 1), of.bandwidth), start.ratio)
    rates = np.where(of.slack(trials).min(-1) >= 0, of.rates(trials).sum(-1), -np.inf)
    assert of.sum_rate(found) >= rates.max() * (1 - 5e-3)


def minorant(of, users, partners, at, x):
    """Rates for a leak without the power, ratio 1: a concave perspective, less the tangent at ``at`` of another.

    ``x`` and ``at``: own power, partner's power and bandwidth, ``[..., 3]``. Sun, Babu and Palomar (2017), section III.
    """
    t0, t1, _, t3 = of.leak
    gain = of.gain[users]
    left = gain / (1 + np.exp(-(t0 + t1 * of.similarity[users, partners] + t3)))

    def noise(x):
        return x[..., 2] * np.log2(of.noise_density + x[..., 1] * left / x[..., 2])

    both = x[..., 2] * np.log2(of.noise_density + (x[..., 0] * gain + x[..., 1] * left) / x[..., 2])
    all_noise = of.noise_density * at[..., 2] + at[..., 1] * left
    over_power = at[..., 2] * left / all_noise / np.log(2)
    over_band = np.log2(all_noise / at[..., 2]) - at[..., 1] * left / all_noise / np.log(2)
    step = x - at
    return both - noise(at) - over_power * step[..., 1] - over_band * step[..., 2]


def test_the_concave_minorant_is_below_everywhere_and_touches():
    """Of the rate for a given leak, at 10,000 points; its slope there is the rate's."""
    of, rng = network(4, leak=(-1.0, -2.5, 0.0, -2.0)), np.random.default_rng(0)
    x, at, other = 10 ** rng.uniform(-2, 2, (3, 10_000, 3))
    users = rng.integers(0, 4, 10_000)
    partners = (users + rng.integers(1, 4, 10_000)) % 4

    def below(x):
        return minorant(of, users, partners, at, x)

    def true(x):
        return of.rate(users, partners, *x.T, 1.0)

    gap, scale = true(x) - below(x), np.maximum(np.abs(below(x)), true(x))
    assert (gap / scale).min() > -1e-9 and np.mean(gap > 1e-3 * scale) > 0.8
    np.testing.assert_allclose(below(at), true(at), rtol=1e-9, atol=1e-9)
    ends = below(x), below(other)
    assert (below((x + other) / 2) - np.mean(ends, 0) > -1e-9 * np.max(np.abs(ends), 0)).all()  # concave
    for step in 1e-5 * np.eye(3):
        slopes = [(of_x(at * (1 + step)) - of_x(at * (1 - step))) / 2e-5 for of_x in (below, true)]
        np.testing.assert_allclose(*slopes, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_shares_are_those_of_successive_minorants(seed):
    """Another method: concave problems one after the other by SLSQP, where the leak does not know the power."""
    of = network(seed, leak=(-1.0, -2.5, 0.0, -2.0))
    start = of.equal(((0, 1), (2, 3)))
    start = start._replace(ratio=np.full(4, start.ratio.max()))
    assert of.feasible(start)
    users, partners, pair = np.arange(4), np.array([1, 0, 3, 2]), np.array([0, 0, 1, 1])
    ratio = start.ratio[0]
    at_ratio = dataclasses.replace(of, leak=(of.leak[0] + of.leak[3] * (ratio - 1), *of.leak[1:]))

    def rows(x):
        return np.stack([x[:4], x[partners], x[4:][pair]], -1)

    def plan(x):
        return start._replace(power=x[..., :4], bandwidth=x[..., 4:])

    x, rates = np.concatenate([start.power, start.bandwidth]), [of.sum_rate(start)]
    while len(rates) < 3 or rates[-1] > rates[-2] * (1 + 1e-7):
        x = minimize(
            lambda new, at=x: -minorant(at_ratio, users, partners, rows(at), rows(new)).sum(), x, method="SLSQP",
            bounds=[(1e-3, None)] * 6, constraints={"type": "ineq", "fun": lambda x: of.slack(plan(x))},
        ).x  # fmt: skip
        rates.append(of.sum_rate(plan(x)))
    assert (np.diff(rates) > -1e-7 * rates[-1]).all() and rates[-1] > 1.01 * rates[0]
    assert of.sum_rate(best_shares(of, start)[-1]) >= rates[-1] * (1 - 1e-3)


def test_gradients_are_those_of_automatic_differentiation():
    of, found = solved(0)
    plan = found.plan
    partner, pair = np.empty(4, int), np.empty(4, int)
    for place, (i, j) in enumerate(plan.pairs):
        partner[[i, j]], pair[[i, j]] = (j, i), place
    t0, t1, t2, t3 = of.leak
    users = np.arange(4)

    def slack(x):
        power, band, ratio = x[:4], x[4:6][pair], x[6:]
        left = jax.nn.sigmoid(t0 + t1 * of.similarity[users, partner] + t2 * jnp.log(power[partner]) + t3 * ratio)
        rates = band * jnp.log2(1 + power * of.gain / (of.noise_density * band + of.gain * power[partner] * left))
        latency = ratio * of.samples / rates
        left_over = jnp.exp(-3 * ratio) * (1 + 0.5 * jnp.exp(-rates / band))
        used = jnp.stack([latency / of.max_latency, power * latency / of.max_energy, left_over / of.max_distortion], -1)
        sums = jnp.stack([power.sum() / of.power, x[4:6].sum() / of.bandwidth])
        return 1 - jnp.concatenate([used.ravel(), sums]), rates

    def ours(x):
        return plan._replace(power=x[..., :4], bandwidth=x[..., 4:6], ratio=x[..., 6:])

    x = np.concatenate([plan.power, plan.bandwidth, plan.ratio])
    with jax.enable_x64(True):
        exact = [np.asarray(a) for a in jax.jit(jax.jacfwd(slack))(jnp.asarray(x))]
    for function, slope in zip((of.slack, of.rates), exact, strict=True):
        found = gradient(lambda x, function=function: function(ours(x)), x)
        np.testing.assert_allclose(found, slope, rtol=1e-6, atol=1e-6 * np.abs(slope).max())


def test_ratios_are_the_best_of_the_grid_and_keep_the_limits():
    of = network(1, max_latency=0.21)
    plan = of.equal(((0, 1), (2, 3)))
    assert of.feasible(plan) and plan.ratio.min() < 1 < plan.ratio.sum()
    assert not of.feasible(plan._replace(ratio=plan.ratio + 0.011))
    assert best_ratios(of, plan).ratio == pytest.approx(plan.ratio)


def test_a_plan_is_made_feasible():
    of = network(2, max_latency=0.3)
    pairs = ((0, 3), (1, 2))
    start = of.equal(pairs)._replace(power=np.array([0.1, 0.2, 0.2, 3.5]))
    assert not of.feasible(start)
    plan = made_feasible(of, start)
    assert plan is not None and of.feasible(plan) and plan.pairs == pairs


@pytest.mark.parametrize(
    ("change", "missed"),
    [
        ({"max_latency": 1e-4}, "from any start: at equal shares user 0 meets max_latency with nobody"),
        ({"max_distortion": 1e-4}, "at equal shares user 0 meets max_distortion with nobody"),
        ({"gain": [30.0, 20.0, 1e-3, 40.0]}, "at equal shares user 2 meets max_latency with nobody"),
        ({"max_latency": 0.1}, "at equal shares user 1 meets all limits with nobody"),
    ],
)
def test_who_is_in_the_way_is_named(change, missed):
    with pytest.raises(NoFeasiblePairing, match=missed):
        maximise_sum_rate(network(2, **change))


def test_pairs_change_where_that_is_better_and_stay_where_none_are_feasible():
    of = network(1)
    worst, best = sorted(pairings(range(4)), key=lambda pairs: of.sum_rate(of.equal(pairs)))[::2]
    changed = best_pairs(of, of.equal(worst))
    assert changed.pairs == best and of.feasible(changed)
    assert changed.power.sum() == pytest.approx(of.power)
    tight = network(1, max_latency=1e-4)
    start = tight.equal(worst)
    assert best_pairs(tight, start) is start


def test_two_users_get_the_best_of_all_powers_and_ratios_together():
    """Where ratios and powers one after the other are stuck: a grid over both users' powers and ratios at once."""
    of = network(3, users=2, leak=(-6.1, 8.34, 2.08, 0.44), gain=[9.0, 60.0], similarity=np.full((2, 2), 0.48))
    start = of.equal(((0, 1),))
    split = best_splits(of, start)
    assert of.feasible(split) and split.power.sum() == pytest.approx(start.power.sum())
    grid = np.stack(np.meshgrid(*[np.arange(1, 41) / 40 * of.power] * 2, *[np.linspace(0.05, 1, 12)] * 2), -1)
    trials = grid.reshape(-1, 4)
    trials = Plan(start.pairs, trials[:, :2], np.full((len(trials), 1), of.bandwidth), trials[:, 2:])
    room = of.slack(trials).min(-1)
    best = of.rates(trials).sum(-1)[room >= 0].max()
    assert maximise_sum_rate(of).sum_rate >= best * (1 - 5e-3)
    assert improve_both(of, start, pairing=False).sum_rate == pytest.approx(maximise_sum_rate(of).sum_rate)


def test_users_may_change_their_names():
    of, found = solved(1)
    order = np.array([2, 0, 3, 1])
    renamed = dataclasses.replace(of, gain=of.gain[order], similarity=of.similarity[np.ix_(order, order)])
    assert maximise_sum_rate(renamed).sum_rate == pytest.approx(found.sum_rate, rel=1e-4)


def test_without_a_leak_the_joint_optimum_is_that_of_one_band():
    # Users that do not disturb each other: a pair's users share its band for nothing, so that bands are water-filled.
    of = network(3, leak=(-60.0, 0.0, 0.0, 0.0), max_energy=1e3)
    plan = improve(of, of.equal(((0, 1), (2, 3))), pairing=False).plan

    def negative(x):
        p, band = x[:4], np.repeat([x[4], of.bandwidth - x[4]], 2)
        return -(band * np.log2(1 + p * of.gain / of.noise_density / band)).sum()

    # fmt: off
    reference = minimize(negative, [1, 1, 1, 1, of.bandwidth / 2], bounds=[(1e-6, None)] * 4 + [(0.01, 1.99)],
                         constraints={"type": "eq", "fun": lambda x: x[:4].sum() - of.power}, method="SLSQP")
    # fmt: on
    assert of.sum_rate(plan) == pytest.approx(-reference.fun, rel=1e-3)


def test_climbs_to_a_closed_form():
    # The largest x y with x + 2 y <= 4, and the largest x + y in a circle.
    found = list(climb(lambda x: x.prod(-1)[..., None], lambda x: 4 - x[..., :1] - 2 * x[..., 1:], np.ones(2)))[-1]
    np.testing.assert_allclose(found, [2, 1], rtol=1e-3)
    found = list(climb(lambda x: x.sum(-1)[..., None], lambda x: 2 - (x**2).sum(-1)[..., None], np.array([0.3, 1.2])))
    np.testing.assert_allclose(found[-1], [1, 1], rtol=2e-3)
    assert all((x**2).sum() <= 2 + 1e-9 for x in found)


def test_starts_are_all_pairings_or_eight_drawn_ones():
    assert len(list(starts(network(0, users=6)))) == 15
    drawn = starts(network(0, users=8))
    assert len(drawn) == 8 and all(sorted(u for pair in pairs for u in pair) == list(range(8)) for pairs in drawn)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gain": np.ones(5)}, "must be even for pairs, got 5"),
        ({"gain": np.ones(20)}, "up to 16 users, got 20"),
        ({"gain": [1.0, 1.0, 0.0, 1.0]}, "Superposition.gain must be > 0"),
        ({"similarity": np.zeros((2, 2))}, r"similarity must be \[users, users\] = \(4, 4\), got \(2, 2\)"),
        ({"similarity": 2 * np.ones((4, 4))}, r"similarity must be symmetric in \[0, 1\]"),
        ({"power": 0.0}, "Superposition.power must be > 0, got 0.0"),
    ],
)
def test_wrong_input(change, message):
    with pytest.raises(ValueError, match=message):
        network(0, **change)
