"""Channels of several paths: moments of the samplers, and the frequency response."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.phy import paths as phy_paths
from lvm_mtc.phy.paths import Paths, bessel_j0, exponential, frequency_response, rayleigh_path, rician_path

pytestmark = pytest.mark.usefixtures("fast_compile")

COUNT = 20_000
DOPPLER = 200.0
TIMES = np.array([0.0, 1e-3, 3e-3])


def _series_j0(x):
    """Power series in Python integers: no cancellation, whatever the argument."""
    from fractions import Fraction

    square = Fraction(x) ** 2 / 4
    term = total = Fraction(1)
    for k in range(1, 200):
        term = -term * square / k**2
        total += term
        if k > abs(x) and abs(term) < Fraction(1, 10**20):
            break
    return float(total)


def _within(samples, expected, errors=5):
    """Whether the mean of independent samples lies within 5 standard errors of what it should be."""
    return abs(samples.mean() - expected) < errors * samples.std() / np.sqrt(samples.size) + 1e-6


SAMPLERS = {
    "rayleigh": rayleigh_path,
    "rician": functools.partial(rician_path, k_factor_db=3.0),
    "exponential": functools.partial(exponential, num_taps=3, sample_duration=1e-6, delay_spread=0.6e-6),
}


@functools.cache
def _gains(name):
    sampler = jax.jit(
        lambda key: SAMPLERS[name](key, (COUNT,), times=TIMES, num_rx_ant=2, num_tx_ant=1, max_doppler=DOPPLER).gains
    )
    return np.asarray(sampler(jax.random.key(3)))


def test_bessel_function_against_its_power_series():
    x = np.array([0.0, 0.1, 1.0, 2.404825557695773, 7.5, 31.25, 80.0])
    expected = [_series_j0(value) for value in x]
    assert expected[2] == pytest.approx(0.7651976865579666, abs=1e-15)
    np.testing.assert_allclose(bessel_j0(jnp.asarray(x, jnp.float32)), expected, atol=3e-6)
    with jax.enable_x64(True):
        np.testing.assert_allclose(bessel_j0(jnp.asarray(x)), expected, atol=5e-15)
        # Beyond the documented range the quadrature is too coarse, and the comparison sees it.
        assert abs(float(bessel_j0(150.0)) - _series_j0(150.0)) > 0.01
    assert bessel_j0(0.0) == 1.0
    assert jax.grad(bessel_j0)(0.0) == 0.0


def test_frequency_response_against_the_sum_over_paths():
    rng = np.random.default_rng(0)
    gains = rng.normal(size=(2, 3, 4, 2, 1)) + 1j * rng.normal(size=(2, 3, 4, 2, 1))
    delays = rng.uniform(0, 1e-6, (2, 3))
    frequencies = np.array([-3e5, 0.0, 1.5e5, 3e6])
    expected = np.zeros((2, 4, 4, 2, 1), complex)
    for p in range(3):
        for c, frequency in enumerate(frequencies):
            turn = np.exp(-2j * np.pi * frequency * delays[:, p])
            expected[:, :, c] += gains[:, p] * turn[:, None, None, None]
    with jax.enable_x64(True):
        result = frequency_response(Paths(jnp.asarray(gains), jnp.asarray(delays)), frequencies)
        np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-12)
    assert np.abs(expected - np.conj(expected)).max() > 0.1
    flat = Paths(jnp.asarray(gains[:, :1], jnp.complex64), jnp.zeros((2, 1)))
    same = np.broadcast_to(np.asarray(flat.gains)[:, 0, :, None], (2, 4, 4, 2, 1))
    np.testing.assert_array_equal(frequency_response(flat, frequencies), same)


def _spread(powers):
    """RMS delay spread of taps a sample apart, in samples, in float64."""
    powers = np.asarray(powers, np.float64)
    places = np.arange(powers.shape[-1])
    return np.sqrt(powers @ places**2 - (powers @ places) ** 2)


@pytest.mark.parametrize("num_taps", [2, 4, 17, 65])
def test_exponential_profile_has_the_spread_asked_for_and_falls_evenly(num_taps):
    spreads = np.sqrt((num_taps**2 - 1) / 12) * np.array([1e-3, 0.03, 0.3, 0.7, 0.99, 1 - 1e-7])
    delays, powers = phy_paths.exponential_profile(num_taps, 1e-6, 1e-6 * spreads)
    np.testing.assert_allclose(delays, np.arange(num_taps) * 1e-6, rtol=1e-6)
    np.testing.assert_allclose(np.sum(powers, axis=-1), 1, rtol=1e-6)
    np.testing.assert_allclose(_spread(powers), spreads, rtol=2e-6)
    for row in np.asarray(powers, np.float64):
        falls = row[1:][row[1:] > 1e-30] / row[:-1][row[1:] > 1e-30]
        np.testing.assert_allclose(falls, falls[0], rtol=1e-4)
        assert falls[0] <= 1
    # What is asked for is not the decay of the powers: on this grid exp(-l / spread) spreads less, or far less.
    decay = np.exp(-np.arange(num_taps) / spreads[3])
    assert _spread(decay / decay.sum()) < 0.97 * spreads[3]


def test_gradient_of_the_exponential_profile():
    with jax.enable_x64(True):
        last = jax.jit(lambda spread: phy_paths.exponential_profile(9, 1.0, spread)[1][..., -1])
        slope, step = jax.grad(last), 1e-5
        for spread in (0.2, 1.0, 2.4):
            difference = (last(spread + step) - last(spread - step)) / (2 * step)
            np.testing.assert_allclose(slope(spread), difference, rtol=1e-5)


def test_a_spread_that_the_taps_cannot_have():
    # 17 taps, 521 ns apart: 2.552 us. LinkConfig's default grid, which once gave 2101 ns for 3000.
    for call in (
        lambda spread: phy_paths.exponential_profile(17, 521e-9, spread),
        lambda spread: exponential(
            jax.random.key(0), (1,), num_taps=17, sample_duration=521e-9, delay_spread=spread, **OPTIONS
        ),
    ):
        call(2.55e-6)
        with pytest.raises(ValueError, match=r"delay_spread must be at most 2.552e-06 s, .* 17 taps .* got 3e-06"):
            call(3e-6)
    traced = jax.jit(lambda spread: phy_paths.exponential_profile(17, 521e-9, spread)[1])
    powers = traced(jnp.array([2.55e-6, 3e-6], jnp.float32))
    assert np.all(np.isfinite(powers[0])) and np.all(np.isnan(powers[1]))


@pytest.mark.parametrize("name", SAMPLERS)
def test_power_and_autocorrelation(name):
    gains = _gains(name)
    powers = np.asarray(phy_paths.exponential_profile(3, 1.0, 0.6)[1]) if name == "exponential" else [1.0]
    assert np.sum(powers) == pytest.approx(1)
    for p, power in enumerate(powers):
        path = gains[:, p, :, 0, 0]
        for t in range(3):
            assert _within(path[:, t].real, 0.0)
            assert _within(np.abs(path[:, t]) ** 2, power)
        for early, late in ((0, 1), (1, 2), (0, 2)):
            product = path[:, late] * np.conj(path[:, early])
            expected = _series_j0(2 * np.pi * DOPPLER * (TIMES[late] - TIMES[early]))
            assert _within(product.real, power * expected)
            assert _within(product.imag, 0.0)
            assert not _within(product.real, power * (expected + 0.1))


def test_taps_and_antennas_are_uncorrelated():
    gains = _gains("exponential")
    for a, b in ((gains[:, 0, 0, 0, 0], gains[:, 1, 0, 0, 0]), (gains[:, 0, 0, 0, 0], gains[:, 0, 0, 1, 0])):
        assert _within((a * np.conj(b)).real, 0.0) and _within((a * np.conj(b)).imag, 0.0)
    # A line of sight correlates the antennas of one side, as its docstring says.
    a, b = _gains("rician")[:, 0, 0, :, 0].T
    k = 10**0.3
    assert _within((a * np.conj(b)).real, _series_j0(np.pi) * k / (k + 1))


@pytest.mark.slow
def test_distribution_of_the_power():
    # E|h|^4 = 2 - (K/(K+1))^2. Waves of constant magnitude would give 2 - 1/16 for K = 0.
    sampler = functools.partial(rayleigh_path, times=[2e-3], num_rx_ant=1, num_tx_ant=1, max_doppler=50.0)
    many = jax.jit(lambda key: sampler(key, (400_000,)).gains)(jax.random.key(0))
    fourth = np.abs(np.asarray(many).reshape(-1)) ** 4
    assert _within(fourth, 2.0) and not _within(fourth, 2 - 1 / 16)
    k = 10**0.3
    assert _within(np.abs(_gains("rician")[:, 0, 1, 0, 0]) ** 4, 2 - (k / (k + 1)) ** 2)


@pytest.mark.parametrize("name", ["rician", "exponential"])
def test_numbers_per_link_and_without_doppler_nothing_moves(name):
    @jax.jit
    def draw(max_doppler):
        sampler = functools.partial(SAMPLERS[name], max_doppler=max_doppler)
        return sampler(jax.random.key(1), (2, 2), times=np.arange(11) * 1e-4, num_rx_ant=2, num_tx_ant=2)

    mixed = draw(jnp.array([[0.0], [300.0]]))
    still = np.asarray(mixed.gains[0])
    np.testing.assert_array_equal(still, np.broadcast_to(still[..., :1, :, :], still.shape))
    assert np.abs(np.diff(np.asarray(mixed.gains[1]), axis=-3)).max() > 0.05
    alone = draw(jnp.full((2, 1), 300.0))
    np.testing.assert_array_equal(mixed.gains[1], alone.gains[1])
    assert mixed.delays.shape == mixed.gains.shape[:3]


def test_rician_limits_and_gradients():
    def draw(k_factor_db, max_doppler, delay_spread):
        options = dict(times=np.array([0.0, 1e-3]), num_rx_ant=2, num_tx_ant=2, max_doppler=max_doppler)
        rician = rician_path(jax.random.key(0), (3,), k_factor_db=k_factor_db, **options)
        tapped = exponential(
            jax.random.key(1), (3,), num_taps=3, sample_duration=1e-6, delay_spread=0.6e-6 * delay_spread, **options
        )
        return rician.gains, tapped.gains

    draw = jax.jit(draw)
    np.testing.assert_allclose(np.abs(draw(jnp.inf, 50.0, 1.0)[0]), 1.0, atol=1e-5)
    scattered = draw(-jnp.inf, 50.0, 1.0)[0]
    assert np.abs(np.abs(scattered) - 1).max() > 0.3

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1, 2))
    def slope(*numbers):
        return sum(jnp.sum(jnp.real(gains) * 0.3 + jnp.imag(gains)) for gains in draw(*numbers))

    for numbers in ((3.0, 0.0, 1.0), (-jnp.inf, 100.0, 0.2)):
        assert np.all(np.isfinite(slope(*numbers)))


OPTIONS = dict(times=TIMES, num_rx_ant=1, num_tx_ant=1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda k: rayleigh_path(k, (2,), **OPTIONS, max_doppler=-1.0), "max_doppler must be >= 0, got -1.0"),
        (lambda k: rayleigh_path(k, (2,), **OPTIONS, max_doppler=jnp.ones(3)), r"max_doppler of shape \(3,\).*\(2,\)"),
        (lambda k: rayleigh_path(k, (), **(OPTIONS | {"times": 1.0})), r"times must be \[num_times\], got shape \(\)"),
        (lambda k: rayleigh_path(k, (), **(OPTIONS | {"num_rx_ant": 0})), "num_rx_ant must be an integer >= 1, got 0"),
        (lambda k: rayleigh_path(k, (), **OPTIONS, dtype=jnp.float32), "dtype of a channel must be complex"),
        (lambda k: rician_path(k, (2,), **OPTIONS, k_factor_db=jnp.ones(3)), r"k_factor_db of shape \(3,\)"),
        (
            lambda k: exponential(k, (2,), **OPTIONS, num_taps=0, sample_duration=1.0, delay_spread=1.0),
            "num_taps must be an integer >= 1, got 0",
        ),
        (
            lambda k: exponential(k, (2,), **OPTIONS, num_taps=2, sample_duration=1.0, delay_spread=0.0),
            "delay_spread must be > 0, got 0.0",
        ),
        (
            lambda k: frequency_response(Paths(jnp.ones((1, 1, 1, 1), jnp.complex64), jnp.ones(2)), [0.0]),
            r"gains \(1, 1, 1, 1\) must be .* delays \(2,\)",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(call, jax.random.key(0))
