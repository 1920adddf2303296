"""Capacities against closed forms, brute force and the conditions of optimality."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import exp1
from scipy.stats import norm

from lvm_mtc import phy
from lvm_mtc.phy import capacity

pytestmark = pytest.mark.usefixtures("fast_compile")
COUNT = 20_000


def _channels(seed, *shape):
    parts = np.random.default_rng(seed).normal(scale=0.5**0.5, size=(2, *shape))
    return parts[0] + 1j * parts[1]


@pytest.mark.parametrize("shape", [(3, 4, 4), (3, 2, 5), (3, 5, 2)])
def test_log_det(shape):
    h, no = _channels(0, *shape), np.array([0.01, 1.0, 30.0])
    expected = [
        np.linalg.slogdet(np.eye(shape[1]) + m @ m.conj().T / n)[1] / np.log(2) for m, n in zip(h, no, strict=True)
    ]
    single = capacity.mimo_capacity(jnp.asarray(h, jnp.complex64), no)
    np.testing.assert_allclose(single, expected, rtol=2e-5)
    with jax.enable_x64(True):
        np.testing.assert_allclose(capacity.mimo_capacity(jnp.asarray(h), no), expected, rtol=1e-12)
    assert single.dtype == jnp.float32


@pytest.mark.parametrize("snr_db", [-150, -80, -40, 0, 40, 80])
@pytest.mark.parametrize("alike", [0.0, 1 - 1e-6])
def test_log_det_at_both_ends_of_the_scale(snr_db, alike):
    # log2(1 + t) of a small t keeps no digit of it; the determinant of nearly dependent rows, none at 80 dB.
    h = np.sqrt(alike) * _channels(5, 20, 4, 1) + np.sqrt(1 - alike) * _channels(6, 20, 4, 4)
    h = h.astype(np.complex64)
    gains = np.linalg.svd(h.astype(complex), compute_uv=False) ** 2 * 10 ** (snr_db / 10)
    expected = np.sum(np.log1p(gains), axis=-1) / np.log(2)
    no = np.float32(10 ** (-snr_db / 10))
    np.testing.assert_allclose(capacity.mimo_capacity(h, no), expected, rtol=2e-6 if alike == 0 else 1e-3)


def test_identity_channel_is_awgn():
    eye = jnp.eye(4, dtype=jnp.complex64)
    np.testing.assert_allclose(capacity.awgn_capacity(1 / 3, num_streams=4), 8.0, rtol=1e-6)
    for value in (capacity.mimo_capacity(eye, 0.2), capacity.waterfilling_capacity(eye, 0.2, 4.0)):
        np.testing.assert_allclose(value, capacity.awgn_capacity(0.2, num_streams=4), rtol=1e-6)


def _brute_force(gains, total_power):
    """The best of all subsets of channels, each with its own level."""
    best = 0.0
    for size in range(1, len(gains) + 1):
        for subset in itertools.combinations(np.sort(gains)[::-1], size):
            powers = (total_power + np.sum(1 / np.array(subset))) / size - 1 / np.array(subset)
            if powers.min() >= 0:
                best = max(best, np.sum(np.log2(1 + np.array(subset) * powers)))
    return best


def test_waterfilling_is_the_best_of_all_subsets():
    h, no = _channels(1, 40, 3, 4), 10.0 ** np.random.default_rng(2).uniform(-2, 2, 40)
    with jax.enable_x64(True):
        known = np.asarray(capacity.waterfilling_capacity(jnp.asarray(h), no, 4.0))
        equal = np.asarray(capacity.mimo_capacity(jnp.asarray(h), no))
    gains = np.linalg.svd(h, compute_uv=False) ** 2 / no[:, None]
    np.testing.assert_allclose(known, [_brute_force(g, 4.0) for g in gains], rtol=1e-12)
    assert np.all(known >= equal) and np.max(known / equal) > 1.5
    np.testing.assert_allclose(
        capacity.waterfilling_capacity(jnp.asarray(h, jnp.complex64), no.astype(np.float32), 4.0), known, rtol=1e-5
    )


def test_waterfilling_meets_the_kkt_conditions():
    gains = 10.0 ** np.random.default_rng(3).uniform(-3, 2, (200, 4))
    gains[:20, 1] = 0
    gains[20:40, 2] = gains[20:40, 3]
    with jax.enable_x64(True):
        powers = np.asarray(capacity.waterfilling_powers(jnp.asarray(gains), 2.0))
    np.testing.assert_allclose(powers.sum(-1), 2.0, rtol=1e-12)
    assert powers.min() == 0 and np.all(powers[:20, 1] == 0)
    # The derivative of the rate is one number on all channels with power, and nowhere larger.
    slope = gains / (1 + gains * powers)
    water = slope.max(-1, keepdims=True)
    np.testing.assert_allclose(np.where(powers > 0, slope, water), np.broadcast_to(water, slope.shape), rtol=1e-10)
    equal = gains[40:] / (1 + gains[40:] * 0.5)
    assert np.max(equal.max(-1) / equal.min(-1)) > 1.1


def test_rayleigh_outage_and_ergodic_capacity():
    no = 0.1
    h = phy.rayleigh(jax.random.key(0), (COUNT,), num_rx_ant=1, num_tx_ant=1)
    capacities = capacity.mimo_capacity(h, no)
    rates = np.array([0.5, 2.0, 4.0], np.float32)
    outage = np.asarray(capacity.outage_probability(capacities, rates))
    expected = 1 - np.exp(-(2.0**rates - 1) * no)
    assert np.all(np.abs(outage - expected) < 5 * np.sqrt(expected * (1 - expected) / COUNT))
    ergodic = np.exp(no) * exp1(no) / np.log(2)
    error = np.asarray(capacities).std() / np.sqrt(COUNT)
    assert abs(np.mean(capacities) - ergodic) < 5 * error
    # A factor of two in the noise would show.
    assert abs(np.mean(capacities) - np.exp(2 * no) * exp1(2 * no) / np.log(2)) > 5 * error
    assert np.all(np.abs(outage - (1 - np.exp(-(2.0**rates - 1) * 2 * no))) > 5 * np.sqrt(0.25 / COUNT))


def test_outage_counts_what_lies_strictly_below():
    capacities = jnp.array([[1.0, 2.0], [2.0, 4.0]])
    np.testing.assert_array_equal(
        capacity.outage_probability(capacities, [[1.0, 2.0], [2.1, 9.0]]), [[0, 0.25], [0.75, 1]]
    )
    assert capacity.outage_probability(capacities, 3.0).shape == ()


def test_map_is_the_batch_and_numbers_are_traced():
    h, no = jnp.asarray(_channels(4, 5, 2, 3), jnp.complex64), jnp.linspace(0.1, 2.0, 5)
    for function in (capacity.mimo_capacity, lambda h, no: capacity.waterfilling_capacity(h, no, 3.0)):
        np.testing.assert_allclose(jax.jit(jax.vmap(function))(h, no), function(h, no), rtol=1e-5)


@pytest.mark.slow
def test_edges():
    zero = jnp.zeros((2, 3, 3), jnp.complex64)
    np.testing.assert_array_equal(capacity.mimo_capacity(zero, 1.0), 0)
    np.testing.assert_array_equal(capacity.waterfilling_capacity(zero, 1.0, 3.0), 0)
    one = jnp.ones((2, 2), jnp.complex64)
    np.testing.assert_allclose(capacity.waterfilling_capacity(one, 1.0, 2.0), np.log2(9.0), rtol=1e-6)
    # At very low SNR all floors are far above the power: what counts is that they are equal.
    np.testing.assert_allclose(capacity.waterfilling_powers(jnp.full(4, 1e-9), 2.0), 0.5, rtol=1e-6)
    gradient = jax.grad(lambda no: capacity.mimo_capacity(one, no))(0.5)
    np.testing.assert_allclose(gradient, (1 / (1 + 4 / 0.5)) * (-4 / 0.25) / np.log(2), rtol=1e-5)


def test_dispersion_is_the_variance_of_the_information():
    # i(x; y) = log2(1 + s) + (|y|^2 / (1 + s) - |y - x|^2) log2 e for |x|^2 = s and y = x + CN(0, 1).
    snr = 10.0 ** np.array([-2.0, 0.0, 1.0])
    noise = _channels(7, 400_000, 1)
    density = (np.abs(np.sqrt(snr) + noise) ** 2 / (1 + snr) - np.abs(noise) ** 2) / np.log(2)
    spread = density.std(0) ** 2 * np.sqrt((((density - density.mean(0)) / density.std(0)) ** 4).mean(0) / len(noise))
    found = np.asarray(capacity.awgn_dispersion(1 / snr))
    assert np.all(np.abs(density.var(0) - found) < 5 * spread)
    # Of real signals it is half: seen.
    assert np.all(np.abs(density.var(0) - found / 2) > 5 * spread)
    h = _channels(8, 5, 2, 3)
    gains = np.linalg.svd(h, compute_uv=False) ** 2 / 0.3
    with jax.enable_x64(True):
        expected = np.sum(1 - (1 + gains) ** -2, axis=-1) / np.log(2) ** 2
        np.testing.assert_allclose(capacity.mimo_dispersion(jnp.asarray(h), 0.3), expected, rtol=1e-12)
    np.testing.assert_allclose(
        capacity.awgn_dispersion(np.float32([0.0, 1e-9, 1e9])), np.array([1, 1, 2e-9]) / np.log(2) ** 2, rtol=1e-6
    )
    np.testing.assert_allclose(
        capacity.mimo_dispersion(jnp.eye(4, dtype=jnp.complex64), 0.2), capacity.awgn_dispersion(0.2, num_streams=4)
    )


def test_normal_approximation_in_float64_and_its_inverse():
    no = 10.0 ** -np.array([0.0, 0.7, 1.5])[:, None]
    length, error = np.array([100.0, 1000.0, 1e5]), 1e-3
    rates = np.log2(1 + 1 / no)
    variance = (1 - (1 + 1 / no) ** -2) / np.log(2) ** 2
    expected = rates - np.sqrt(variance / length) * norm.isf(error) + np.log2(2 * length) / (2 * length)
    with jax.enable_x64(True):
        at = capacity.awgn_capacity(no), capacity.awgn_dispersion(no), length
        found = np.asarray(capacity.finite_rate(*at, error))
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        np.testing.assert_allclose(capacity.finite_error(*at, found), error, rtol=1e-9)
    assert np.all(np.diff(found, axis=1) > 0) and np.all(found < rates)


def test_quasi_static_error_is_the_mean_over_the_fading():
    no, rate, count, length = 0.1, 2.0, 200_000, 50
    h = jnp.asarray(_channels(9, count, 1, 1), jnp.complex64)
    at = capacity.mimo_capacity(h, no), capacity.mimo_dispersion(h, no)
    lost = np.asarray(capacity.finite_error(*at, length, rate, log_term=False))
    gain = -np.log1p(-(np.arange(count) + 0.5) / count) / no  # quantiles of |h|^2
    deviation = np.sqrt((1 - (1 + gain) ** -2) / length) / np.log(2)
    expected = norm.sf((np.log2(1 + gain) - rate) / deviation).mean()
    error = 5 * lost.std() / np.sqrt(count)
    assert abs(lost.mean(dtype=float) - expected) < error
    # Long codes have the outage probability.
    outage = 1 - np.exp(-(2.0**rate - 1) * no)
    assert expected > outage + 0.001
    long = np.asarray(capacity.finite_error(*at, 1e7, rate, log_term=False)).mean(dtype=float)
    assert abs(long - outage) < error


H = jnp.ones((3, 2, 2), jnp.complex64)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: capacity.mimo_capacity(H.real, 1.0), "h must be complex, got float32"),
        (lambda: capacity.mimo_capacity(H[0, 0], 1.0), r"num_rx_ant, num_tx_ant\], got shape \(2,\)"),
        (lambda: capacity.mimo_capacity(H, -1.0), "no must be >= 0, got -1.0"),
        (lambda: capacity.mimo_capacity(H, jnp.ones(2)), r"no of shape \(2,\).*leading axes \(3,\)"),
        (lambda: capacity.waterfilling_capacity(H, 1.0, 0.0), "total_power must be > 0, got 0.0"),
        (lambda: capacity.waterfilling_capacity(H, 1.0, jnp.ones(2)), r"total_power of shape \(2,\)"),
        (lambda: capacity.awgn_capacity(-1.0), "no must be >= 0, got -1.0"),
        (lambda: capacity.awgn_dispersion(-1.0), "no must be >= 0, got -1.0"),
        (lambda: capacity.mimo_dispersion(H.real, 1.0), "h must be complex, got float32"),
        (lambda: capacity.finite_rate(1.0, 1.0, 0, 0.1), "num_slots must be > 0, got 0"),
        (lambda: capacity.finite_error(1.0, 1.0, -3, 0.1), "num_slots must be > 0, got -3"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(call)
