import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar

from lvm_mtc.allocation.token_length import TokenUplink, allocate_tokens, equal_allocation, rate, share


def latency(bandwidth, power, bits, gain):
    return (bits / rate(bandwidth, power, gain)).sum()


def drawn_users(rng, users):
    return rng.uniform(0.5, 3, users), 10 ** rng.uniform(-1, 2, users)


def drawn_uplink(seed, users=3, lengths=(4, 12, 36)):
    rng = np.random.default_rng(seed)
    low, high, slope = rng.uniform(0.2, 0.5, users), rng.uniform(0.5, 2, users), rng.uniform(0.4, 1.2, users)
    loss = low[:, None] + high[:, None] * np.array(lengths) ** -slope[:, None]
    return TokenUplink(
        gain=10 ** rng.uniform(0, 2, users),
        token_bits=rng.uniform(0.5, 2, users),
        lengths=lengths,
        validation_loss=loss,
        bandwidth=1.0,
        power=1.0,
        noise_density=1.0,
        latency_weight=10 ** rng.uniform(-2.5, -1),
    )


@pytest.mark.parametrize("seed", range(6))
def test_shares_are_the_joint_optimum_of_a_general_solver(seed):
    rng = np.random.default_rng(seed)
    bits, gain = drawn_users(rng, 4)

    def softmax(z):
        return np.exp(z) / np.exp(z).sum()

    found = minimize(lambda z: latency(softmax(z[:4]) * 2, softmax(z[4:]) * 3, bits, gain), np.zeros(8), tol=1e-10)
    own = latency(*share(bits, gain, 2.0, 3.0), bits, gain)
    assert own == pytest.approx(found.fun, rel=1e-8)
    assert own <= found.fun * (1 + 1e-12)


def test_shares_of_two_users_are_those_of_nested_searches():
    bits, gain = np.array([1.0, 2.5]), np.array([3.0, 40.0])

    def best(x):
        inner = minimize_scalar(lambda y: latency(np.array([x, 1 - x]), np.array([y, 1 - y]), bits, gain),
                                bounds=(1e-6, 1 - 1e-6), method="bounded", options={"xatol": 1e-10})  # fmt: skip
        return inner.fun

    reference = minimize_scalar(best, bounds=(1e-3, 1 - 1e-3), method="bounded", options={"xatol": 1e-8})
    assert latency(*share(bits, gain, 1.0, 1.0), bits, gain) == pytest.approx(reference.fun, rel=1e-10)


@pytest.mark.parametrize("scale", [1.0, 1e9])
def test_multipliers_agree_between_users_and_sums_are_exact(scale):
    bits, gain = drawn_users(np.random.default_rng(3), 7)
    gain = gain * scale
    bandwidth, power = share(bits, gain, 5e6, 2.0)
    assert bandwidth.sum() == pytest.approx(5e6, rel=1e-13) and power.sum() == pytest.approx(2.0, rel=1e-13)
    snr = power * gain / bandwidth
    speed = rate(bandwidth, power, gain)
    per_hertz = bits * (np.log1p(snr) - snr / (1 + snr)) / speed**2
    per_watt = bits * gain / (1 + snr) / speed**2
    assert np.ptp(per_hertz) / per_hertz.mean() < 1e-6
    assert np.ptp(per_watt) / per_watt.mean() < 1e-6


def test_equal_users_share_equally_and_one_with_little_to_send_gets_little():
    bandwidth, power = share(np.ones(4), np.full(4, 7.0), 8.0, 4.0)
    np.testing.assert_allclose(bandwidth, 2.0, rtol=1e-12)
    np.testing.assert_allclose(power, 1.0, rtol=1e-12)
    bandwidth, power = share(np.array([1e-12, 1.0]), np.full(2, 7.0), 1.0, 1.0)
    assert bandwidth[0] < 1e-5 and power[0] < 1e-5


def test_latency_is_jointly_convex_in_bandwidth_and_power():
    rng = np.random.default_rng(0)
    first, second = rng.uniform(0.01, 5, (2, 10_000, 2))
    middle = (first + second) / 2
    f = [1 / rate(x[:, 0], x[:, 1], 10.0) for x in (first, second, middle)]
    assert (f[2] <= (f[0] + f[1]) / 2 * (1 + 1e-12)).all()
    # The rate alone is concave and not convex: the check sees the difference.
    assert (1 / f[2] < (1 / f[0] + 1 / f[1]) / 2).mean() < 0.01


def test_hessians_of_the_latency_are_positive_semidefinite():
    """At 10,000 points, in units of the point and the latency; those of the rate are negative."""

    def speed(x):
        return x[0] * jnp.log1p(x[1] * 10.0 / x[0]) / jnp.log(2.0)

    points = 10 ** np.random.default_rng(1).uniform(-3, 3, (10_000, 2))
    with jax.enable_x64(True):
        found = jax.jit(jax.vmap(lambda x: (
            1 / speed(x), jax.hessian(lambda x: 1 / speed(x))(x), jax.hessian(speed)(x)
        )))(jnp.asarray(points))  # fmt: skip
        value, curved, of_rate = map(np.asarray, found)
    np.testing.assert_allclose(value, 1 / rate(*points.T, 10.0), rtol=1e-9)
    unit = points[:, :, None] * points[:, None]
    scaled = np.linalg.eigvalsh(curved * unit / value[:, None, None])
    assert scaled.min() > -1e-9 and scaled[:, 1].min() > 0.9
    assert np.linalg.eigvalsh(of_rate * unit * value[:, None, None]).max() < 1e-9


def least_latency(bits, gain, bandwidth, power):
    """The smallest sums of latencies, of many users' bits at once ``[..., users]``: bisection on the two multipliers.

    A user's SNR solves ``(1 + s) ln(1 + s) - s = nu g``, and nu is where the powers sum up.
    """
    gain = gain * power / bandwidth

    def bisected(function, low, high):
        for _ in range(42):
            middle = (low + high) / 2
            low, high = np.where(function(middle) < 0, middle, low), np.where(function(middle) < 0, high, middle)
        return low

    def parts(log_nu):
        wanted = log_nu[..., None] + np.log(gain)
        log_snr = bisected(
            lambda t: np.log((1 + np.exp(t)) * np.log1p(np.exp(t)) - np.exp(t)) - wanted,
            np.full(wanted.shape, -12.0), np.full(wanted.shape, 30.0),
        )  # fmt: skip
        band = np.sqrt(bits * gain / (1 + np.exp(log_snr))) / np.log1p(np.exp(log_snr))
        band = band / band.sum(-1, keepdims=True)
        return band, np.exp(log_snr) * band / gain

    shape = bits.shape[:-1]
    band, watts = parts(bisected(lambda v: parts(v)[1].sum(-1) - 1, np.full(shape, -20.0), np.full(shape, 20.0)))
    return (bits / rate(bandwidth * band, power * watts / watts.sum(-1, keepdims=True), gain * bandwidth / power)).sum(
        -1
    )


@pytest.mark.slow
def test_against_all_of_five_lengths_of_three_users_a_hundred_times():
    """Brute force in another way of finding the shares, over all 125 choices."""
    choices, gaps = np.array(list(itertools.product(range(5), repeat=3))), []
    for seed in range(100):
        uplink = drawn_uplink(seed, lengths=(2, 4, 9, 18, 36))
        users = np.arange(3)
        latency = least_latency(uplink.token_bits * uplink.lengths[users, choices], uplink.snr_per_density, 1.0, 1.0)
        loss = uplink.validation_loss[users, choices].sum(-1)
        best = (uplink.latency_weight * latency + (1 - uplink.latency_weight) * loss).min()
        gaps.append(allocate_tokens(uplink).objective / best - 1)
    gaps = np.array(gaps)
    assert np.sum(gaps < 1e-9) >= 98 and gaps.max() < 0.02 and gaps.min() > -1e-9


def test_against_all_lengths_and_never_above_equal_allocation():
    gaps = []
    for seed in range(25):
        uplink = drawn_uplink(seed)
        found = allocate_tokens(uplink)
        choices = map(np.array, itertools.product(range(3), repeat=3))
        best = min(uplink.objective(*uplink.share(choice), choice) for choice in choices)
        gaps.append(found.objective / best - 1)
        equal = equal_allocation(uplink)
        common = [uplink.objective(equal.bandwidth, equal.power, np.full(3, window)) for window in range(3)]
        assert found.objective <= min(equal.objective, *common) * (1 + 1e-12)
        assert (np.diff(found.history) <= 0).all() and found.history[-1] == found.objective
        assert found.objective == pytest.approx(uplink.objective(*found[:3]), rel=1e-12)
        assert found.objective <= uplink.objective(*uplink.share(found.choice), found.choice) * (1 + 1e-12)
    assert np.mean(np.array(gaps) < 1e-9) >= 0.98 and max(gaps) < 0.02 and min(gaps) > -1e-9


def test_weights_of_one_thing_alone():
    uplink = drawn_uplink(0)
    only_loss = allocate_tokens(dataclasses.replace(uplink, latency_weight=0.0))
    only_latency = allocate_tokens(dataclasses.replace(uplink, latency_weight=1.0))
    assert (only_loss.choice == 2).all() and (only_latency.choice == 0).all()


def test_units_agree_and_a_gap_costs_rate():
    uplink = drawn_uplink(1)
    scaled = dataclasses.replace(
        uplink, bandwidth=1e6, noise_density=1e-6, token_bits=np.array(uplink.token_bits) * 1e6
    )
    np.testing.assert_allclose(allocate_tokens(scaled).objective, allocate_tokens(uplink).objective, rtol=1e-12)
    assert allocate_tokens(dataclasses.replace(uplink, snr_gap_db=3.0)).objective > allocate_tokens(uplink).objective


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bandwidth": -1.0}, r"TokenUplink.bandwidth must be > 0 Hz, got -1.0"),
        ({"gain": [1.0, 0.0, 1.0]}, "TokenUplink.gain of user 1 is 0: it cannot send"),
        ({"validation_loss": np.zeros((3, 2))}, r"validation_loss must be \[users, windows\] = \(3, 3\), got \(3, 2\)"),
        ({"lengths": (0, 1, 2)}, r"lengths must be > 0 and rise, got \[0, 1, 2\]"),
        ({"lengths": (4, 2, 8)}, "lengths must be > 0 and rise"),
        ({"latency_weight": 1.5}, r"latency_weight must lie in \[0, 1\], got 1.5"),
        ({"token_bits": 0}, "token_bits must be > 0"),
        ({"validation_loss": np.full((3, 3), np.nan)}, "validation_loss must be finite"),
    ],
)
def test_wrong_input(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(drawn_uplink(0), **change)
