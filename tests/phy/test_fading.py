"""Distributions of the channel: moments within 5 standard errors of closed forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import phy

COUNT = 40_000


def _within(samples, expected, axis=0):
    """Whether the mean of independent samples is within 5 standard errors of its expectation."""
    samples = np.asarray(samples)
    error = samples.std(axis=axis) / np.sqrt(samples.shape[axis])
    return np.all(np.abs(samples.mean(axis=axis) - expected) <= 5 * error + 1e-6)


# E|h|^4 of unit-power fading. Fisher-Snedecor: (m_f + 1)(m_s - 1) / (m_f (m_s - 2)).
SAMPLERS = {
    "rayleigh": (phy.rayleigh, 2.0),
    "rician": (functools.partial(phy.rician, k_factor_db=3.0), 2 - (10**0.3 / (1 + 10**0.3)) ** 2),
    "nakagami": (functools.partial(phy.nakagami, m=0.7), 1 + 1 / 0.7),
    "fisher_snedecor": (functools.partial(phy.fisher_snedecor, m_f=2.0, m_s=9.0), 3 * 8 / (2 * 7)),
    "rayleigh_magnitude": (phy.rayleigh_magnitude, 2.0),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_power_is_one_and_fourth_moment_is_the_distributions(name):
    sampler, fourth = SAMPLERS[name]
    h = sampler(jax.random.key(1), (COUNT, 1), num_rx_ant=1, num_tx_ant=2)
    power = np.abs(np.asarray(h)[:, 0, 0, 0]) ** 2
    assert h.shape == (COUNT, 1, 1, 2) and h.dtype == jnp.complex64
    assert _within(power, 1.0)
    assert _within(power**2, fourth)
    assert not _within(power, 1.1)
    assert _within(np.asarray(h)[:, 0, 0, 1].imag, 0.0)


@pytest.mark.slow
def test_complex128_under_x64():
    with jax.enable_x64(True):
        for sampler, _ in SAMPLERS.values():
            h = sampler(jax.random.key(1), (3,), num_rx_ant=2, num_tx_ant=2, dtype=jnp.complex128)
            assert h.dtype == jnp.complex128 and np.all(np.isfinite(h))


def test_rayleigh_magnitude_is_the_magnitude_of_what_rayleigh_draws():
    setting = {"batch_shape": (COUNT, 1), "num_rx_ant": 1, "num_tx_ant": 2}
    h, whole = phy.rayleigh_magnitude(jax.random.key(1), **setting), phy.rayleigh(jax.random.key(1), **setting)
    np.testing.assert_allclose(h, np.abs(np.asarray(whole)), rtol=1e-6)
    assert _within(np.asarray(h)[:, 0, 0].real, np.sqrt(np.pi) / 2)
    assert not _within(np.asarray(h)[:, 0, 0].real, 0.9)


def test_kronecker_moments():
    rx, tx = phy.exp_corr_mat(0.6 + 0.3j, 3), phy.exp_corr_mat(-0.5j, 2)
    h = np.asarray(phy.rayleigh(jax.random.key(2), (COUNT,), num_rx_ant=3, num_tx_ant=2, rx_corr=rx, tx_corr=tx))
    products = h[:, :, :, None, None] * h.conj()[:, None, None, :, :]
    # E[h_ij h_kl*] = R_rx[i, k] R_tx[l, j]
    expected = np.einsum("ik,lj->ijkl", np.asarray(rx), np.asarray(tx))
    assert _within(products.real, expected.real) and _within(products.imag, expected.imag)
    assert not _within(products.imag, -expected.imag)


def test_exponential_correlation():
    a = 0.4 + 0.5j
    expected = np.array([[1, a.conjugate(), a.conjugate() ** 2], [a, 1, a.conjugate()], [a**2, a, 1]])
    np.testing.assert_allclose(phy.exp_corr_mat(a, 3), expected, rtol=1e-6)
    np.testing.assert_array_equal(phy.exp_corr_mat(0.0, 3), np.eye(3))


@pytest.mark.parametrize("n", [2, 4, 16, 64])
def test_every_correlation_that_is_accepted_gives_a_channel(n):
    largest = phy.largest_correlation(n) - 2 * np.finfo(np.float32).eps  # a magnitude is rounded
    for a in (largest, -largest, largest * np.exp(1j)):
        corr = phy.exp_corr_mat(a, n)
        h = phy.correlate(jnp.ones((2, n, n), jnp.complex64), rx_corr=corr, tx_corr=corr)
        assert np.all(np.isfinite(h))


def test_rician_mean_is_its_line_of_sight_and_kronecker_spares_it():
    los = phy.line_of_sight(jax.random.key(5), (), num_rx_ant=2, num_tx_ant=3)
    np.testing.assert_allclose(np.abs(los), 1.0, rtol=1e-5)
    assert np.linalg.matrix_rank(np.asarray(los), tol=1e-4) == 1
    rx = phy.exp_corr_mat(0.9, 2)
    h = np.asarray(
        phy.rician(jax.random.key(6), (COUNT,), num_rx_ant=2, num_tx_ant=3, k_factor_db=0.0, los=los, rx_corr=rx)
    )
    mean = np.asarray(los) * np.sqrt(0.5)
    assert _within(h.real, mean.real) and _within(h.imag, mean.imag)
    scattered = h - mean
    cross = scattered[:, 0, 0] * scattered[:, 1, 0].conj()
    assert _within(cross.real, 0.45)


def test_rician_limits():
    setting = {"num_rx_ant": 2, "num_tx_ant": 2, "los": jnp.ones((2, 2), jnp.complex64)}
    only_los = phy.rician(jax.random.key(0), (3,), k_factor_db=jnp.inf, **setting)
    np.testing.assert_array_equal(only_los, np.ones((3, 2, 2)))
    h = phy.rician(jax.random.key(0), (3,), k_factor_db=-jnp.inf, **setting)
    assert np.all(np.isfinite(h)) and np.std(np.asarray(h)) > 0.3


def test_rician_factor_per_uav_and_per_picture():
    # [pictures, UAVs, blocks]: one K factor per UAV, all blocks alike, then one per picture; never one per antenna.
    los = jnp.ones((2, 2), jnp.complex64)
    setting = {"num_rx_ant": 2, "num_tx_ant": 2, "los": los}
    for k_factor_db in (jnp.array([[jnp.inf], [-jnp.inf]]), jnp.array([[[jnp.inf]], [[-jnp.inf]]])):
        h = np.asarray(phy.rician(jax.random.key(0), (2, 2, 5), k_factor_db=k_factor_db, **setting))
        direct, scattered = (h[:, 0], h[:, 1]) if k_factor_db.ndim == 2 else (h[0], h[1])
        np.testing.assert_array_equal(direct, 1)
        assert np.all(np.abs(scattered - 1) > 1e-3)
    numbers = jnp.array([3.0, -2.0])[:, None]
    h = phy.rician(jax.random.key(1), (COUNT, 2, 1), k_factor_db=numbers, num_rx_ant=1, num_tx_ant=1, los=los[:1, :1])
    power = np.abs(np.asarray(h)[:, :, 0, 0, 0]) ** 2
    k = 10 ** (np.asarray(numbers)[:, 0] / 10)
    assert _within(power, 1.0) and _within(power**2, 2 - (k / (1 + k)) ** 2)
    assert not _within(power**2, (2 - (k / (1 + k)) ** 2)[::-1])
    # The gradient at K = 0 is 0, as that of a square root at 0 is defined to be.
    mean = jax.grad(lambda k: jnp.sum(jnp.real(phy.rician(jax.random.key(2), (2, 1), k_factor_db=k, **setting))))
    assert np.all(np.isfinite(mean(jnp.array([[-jnp.inf], [3.0]]))))


def test_rician_angles_are_those_of_the_link_in_all_blocks():
    h = phy.rician(jax.random.key(3), (2, 5), num_rx_ant=3, num_tx_ant=3, k_factor_db=200.0)
    np.testing.assert_allclose(h, np.broadcast_to(h[:, :1], h.shape), atol=1e-6)
    assert not np.allclose(h[0, 0], h[1, 0], atol=1e-2)


def test_shadowing_is_common_to_the_antennas_of_a_block():
    # Without multipath fading (m_f large), all antennas of a block have one power, and blocks differ.
    h = phy.fisher_snedecor(jax.random.key(4), (2, 50), num_rx_ant=2, num_tx_ant=2, m_f=1e6, m_s=3.0)
    power = np.abs(np.asarray(h)) ** 2
    np.testing.assert_allclose(power, np.broadcast_to(power[..., :1, :1], power.shape), rtol=0.02)
    assert power[..., 0, 0].std() > 0.2


@pytest.mark.slow
def test_numbers_of_samplers_are_traced_and_differentiable():
    @jax.jit
    def mean_power(k_factor_db, m, m_f, m_s):
        keys = jax.random.split(jax.random.key(0), 3)
        setting = {"num_rx_ant": 2, "num_tx_ant": 2}
        a = phy.rician(keys[0], (20,), k_factor_db=k_factor_db, **setting)
        b = phy.nakagami(keys[1], (20,), m=m, **setting)
        c = phy.fisher_snedecor(keys[2], (20,), m_f=m_f, m_s=m_s, **setting)
        return sum(jnp.mean(jnp.real(h) ** 2 + jnp.imag(h) ** 2) for h in (a, b, c))

    grads = jax.grad(mean_power, argnums=(0, 1, 2, 3))(3.0, 0.5, 2.0, 3.0)
    assert np.all(np.isfinite(grads)) and np.all(np.asarray(grads) != 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda key: phy.rayleigh(key, (2,), num_rx_ant=0, num_tx_ant=2), "num_rx_ant must be an integer >= 1, got 0"),
        (lambda key: phy.rayleigh(key, (2,), num_rx_ant=2, num_tx_ant=2, dtype=jnp.float32), "complex, got float32"),
        (
            lambda key: phy.rayleigh(key, (2,), num_rx_ant=2, num_tx_ant=2, rx_corr=jnp.eye(3)),
            r"rx_corr must have shape \(2, 2\) .* got \(3, 3\)",
        ),
        (
            lambda key: phy.rayleigh_magnitude(key, (2,), num_rx_ant=2, num_tx_ant=2, dtype=jnp.float32),
            "complex, got float32",
        ),
        (
            lambda key: phy.nakagami(key, (2,), num_rx_ant=1, num_tx_ant=1, m=0.4),
            "m must be >= 0.5 in float32, got 0.4",
        ),
        (
            lambda key: phy.fisher_snedecor(key, (2,), num_rx_ant=1, num_tx_ant=1, m_f=1.0, m_s=1.0),
            "m_s must be > 1 in float32, got 1.0",
        ),
        (
            lambda key: phy.rician(
                key, (2,), num_rx_ant=2, num_tx_ant=2, k_factor_db=0.0, los=jnp.ones((3, 2), jnp.complex64)
            ),
            r"los of shape \(3, 2\)",
        ),
        (
            lambda key: phy.rician(key, (3, 2), num_rx_ant=2, num_tx_ant=2, k_factor_db=jnp.zeros(3)),
            r"k_factor_db of shape \(3,\) does not broadcast against the leading axes \(3, 2\)",
        ),
        (lambda key: phy.exp_corr_mat(1.0, 3), "for 3 antennas in complex64, got 1.0"),
        (lambda key: phy.exp_corr_mat(float("nan"), 3), "for 3 antennas in complex64, got nan"),
        (lambda key: phy.exp_corr_mat(0.99999999, 4), "for 4 antennas in complex64, got 0.99999999"),
        (lambda key: phy.exp_corr_mat(0.9999999j, 4), "for 4 antennas in complex64, got 0.9999999j"),
        (
            lambda key: phy.rician(key, (2,), num_rx_ant=1, num_tx_ant=1, k_factor_db=float("nan")),
            "k_factor_db must be >= -inf, got nan",
        ),
        (lambda key: phy.rician_weights([3.0, float("nan")]), "k_factor_db must be >= -inf"),
        (
            lambda key: phy.rician_path(
                key, (2,), times=[0.0], num_rx_ant=1, num_tx_ant=1, k_factor_db=np.array([np.nan, 1])
            ),
            "k_factor_db must be >= -inf",
        ),
        (
            lambda key: phy.nakagami(key, (2,), num_rx_ant=1, num_tx_ant=1, m=float("inf")),
            "m must be finite in float32, got inf",
        ),
        (lambda key: phy.nakagami(key, (2,), num_rx_ant=1, num_tx_ant=1, m=1e39), "m must be finite in float32"),
        (
            lambda key: phy.fisher_snedecor(key, (2,), num_rx_ant=1, num_tx_ant=1, m_f=1e-50, m_s=2.0),
            "m_f must be > 0 in float32, got 1e-50",
        ),
        (
            lambda key: phy.fisher_snedecor(key, (2,), num_rx_ant=1, num_tx_ant=1, m_f=1.0, m_s=1 + 1e-9),
            "m_s must be > 1 in float32, got 1.0",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call(jax.random.key(0))
