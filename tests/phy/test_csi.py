"""Estimates of the channel: error models, posteriors and pilots."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import phy

COUNT = 20_000


def _complex(seed, *shape):
    parts = np.random.default_rng(seed).normal(scale=0.5**0.5, size=(2, *shape))
    return jnp.asarray(parts[0] + 1j * parts[1], jnp.complex64)


def _mean_and_error(samples):
    return samples.mean(), samples.std() / np.sqrt(samples.size)


def test_additive_error_is_independent_of_the_channel():
    h, w = _complex(0, COUNT, 1, 1), _complex(1, COUNT, 1, 1)
    error = np.asarray(phy.estimate_csi(h, w, 0.3) - h)
    for samples, expected in ((np.abs(error) ** 2, 0.3), ((error * np.conj(h)).real, 0.0)):
        mean, spread = _mean_and_error(samples)
        assert abs(mean - expected) < 5 * spread


def test_mmse_error_is_independent_of_the_estimate():
    h, w = _complex(0, COUNT, 1, 1), _complex(1, COUNT, 1, 1)
    h_hat = np.asarray(phy.estimate_csi(h, w, 0.3, model="mmse"))
    error = np.asarray(h) - h_hat
    for samples, expected in (
        (np.abs(error) ** 2, 0.3),
        (np.abs(h_hat) ** 2, 0.7),
        ((error * np.conj(h_hat)).real, 0.0),
        ((error * np.conj(h_hat)).imag, 0.0),
    ):
        mean, spread = _mean_and_error(samples)
        assert abs(mean - expected) < 5 * spread
    # It is correlated with the channel, unlike the additive one.
    mean, spread = _mean_and_error((error * np.conj(h)).real)
    assert abs(mean) > 5 * spread


def test_posterior_of_additive_error():
    h, w = _complex(2, COUNT, 1, 1), _complex(3, COUNT, 1, 1)
    h_hat = phy.estimate_csi(h, w, 0.5)
    mean, variance = phy.csi_posterior(h_hat, 0.5)
    np.testing.assert_allclose(mean, h_hat / 1.5, rtol=1e-6)
    np.testing.assert_allclose(variance, 0.5 / 1.5, rtol=1e-6)
    left = np.asarray(h - mean)
    for samples, expected in ((np.abs(left) ** 2, 1 / 3), ((left * np.conj(h_hat)).real, 0.0)):
        value, spread = _mean_and_error(samples)
        assert abs(value - expected) < 5 * spread


def test_the_mmse_model_of_a_rician_channel_shrinks_its_scattered_part_alone():
    h, w, mean, s, q = _complex(10, 6, 3, 2), _complex(11, 6, 3, 2), _complex(12, 3, 2), 0.1, 0.4
    found = phy.estimate_csi(h, w, s, model="mmse", prior=phy.ChannelPrior(mean=mean, scattered_power=q))
    wide_h, wide_w, wide_mean = (np.complex128(a) for a in (h, w, mean))
    shrink = 1 - s / q
    expected = wide_mean + shrink * (wide_h - wide_mean) + np.sqrt(s * shrink) * wide_w
    np.testing.assert_allclose(found, expected, atol=1e-6)
    # A power that is traced is not looked at.
    traced = jax.jit(
        lambda q: phy.estimate_csi(h, w, s, model="mmse", prior=phy.ChannelPrior(mean=mean, scattered_power=q))
    )
    np.testing.assert_allclose(traced(q), expected, atol=1e-6)


def test_posterior_of_several_error_variances():
    h_hat, s = _complex(13, 4, 3, 2), np.array([0.1, 0.2, 0.5, 2.0])
    mean, variance = phy.csi_posterior(h_hat, s)
    np.testing.assert_allclose(variance, s / (1 + s), rtol=1e-6)
    np.testing.assert_allclose(mean, np.complex128(h_hat) / (1 + s)[:, None, None], rtol=1e-6)


def test_correlation_is_a_constant_and_eigenvalues_below_zero_count_as_zero():
    h_hat, flat = _complex(14, 3, 3), jnp.diag(jnp.array([1.0, 1.0, -1e-6]))

    def total(corr):
        mean, cov = phy.csi_posterior_correlated(h_hat, 0.3, prior=phy.ChannelPrior(rx_corr=corr, tx_corr=corr))
        return jnp.sum(jnp.real(mean)) + jnp.sum(jnp.real(cov))

    np.testing.assert_array_equal(jax.grad(total)(jnp.eye(3)), 0.0)
    for s in (0.0, 2e-6):
        by_rows, _ = phy.csi_posterior_correlated(h_hat, s, prior=phy.ChannelPrior(rx_corr=flat))
        by_columns, _ = phy.csi_posterior_correlated(h_hat, s, prior=phy.ChannelPrior(tx_corr=flat))
        np.testing.assert_array_equal(by_rows[2], 0.0)
        np.testing.assert_array_equal(by_columns[:, 2], 0.0)
    slope = jax.grad(
        lambda s: jnp.sum(jnp.real(phy.csi_posterior_correlated(h_hat, s, prior=phy.ChannelPrior(rx_corr=flat))[0]))
    )
    assert np.isfinite(slope(0.0))


def test_names_of_the_models():
    assert phy.CSI_MODELS == ("additive", "mmse", "pilots_ls", "pilots_lmmse")


def _dense_posterior(h_hat, s, prior):
    """``mu + R (R + s I)^-1 (h_hat - mu)`` with the full covariance of vec(H), in float64 NumPy."""
    num_rx, num_tx = h_hat.shape
    mean = np.zeros((num_rx, num_tx)) if prior.mean is None else np.asarray(prior.mean, np.complex128)
    rx = np.eye(num_rx) if prior.rx_corr is None else np.asarray(prior.rx_corr, np.complex128)
    tx = np.eye(num_tx) if prior.tx_corr is None else np.asarray(prior.tx_corr, np.complex128)
    size = num_rx * num_tx
    cov = prior.scattered_power * np.einsum("ik,lj->ijkl", rx, tx).reshape(size, size)
    weight = cov @ np.linalg.inv(cov + s * np.eye(size))
    posterior = mean + (weight @ (np.asarray(h_hat, np.complex128) - mean).reshape(-1)).reshape(num_rx, num_tx)
    left = (cov - weight @ cov).reshape(num_rx, num_tx, num_rx, num_tx)
    return posterior, np.einsum("ijkj->ik", left)


@pytest.mark.parametrize("s", [0.0, 0.2])
def test_posterior_with_a_general_prior(s):
    h_hat = _complex(4, 3, 2)
    prior = phy.ChannelPrior(
        mean=_complex(5, 3, 2),
        scattered_power=0.4,
        rx_corr=phy.exp_corr_mat(0.5 + 0.4j, 3),
        tx_corr=phy.exp_corr_mat(0.4 - 0.6j, 2),
    )
    mean, cov = phy.csi_posterior_correlated(h_hat, s, prior=prior)
    expected_mean, expected_cov = _dense_posterior(h_hat, s, prior)
    np.testing.assert_allclose(mean, expected_mean, atol=2e-6)
    np.testing.assert_allclose(cov, expected_cov, atol=2e-6)
    batched, batched_cov = phy.csi_posterior_correlated(
        jnp.stack([h_hat, h_hat]), jnp.array([s, 1.0], jnp.float32), prior=prior
    )
    np.testing.assert_allclose(batched[0], mean, atol=1e-6)
    np.testing.assert_allclose(batched_cov[0], cov, atol=1e-6)
    several, one_cov = phy.csi_posterior_correlated(jnp.stack([h_hat, 2 * h_hat]), s, prior=prior)
    np.testing.assert_allclose(several[1], _dense_posterior(2 * h_hat, s, prior)[0], atol=4e-6)
    np.testing.assert_allclose(one_cov, expected_cov, atol=2e-6)
    white = prior._replace(rx_corr=None, tx_corr=None)
    white_mean, variance = phy.csi_posterior(h_hat, s, prior=white)
    same_mean, same_cov = phy.csi_posterior_correlated(h_hat, s, prior=white)
    np.testing.assert_allclose(white_mean, same_mean, atol=1e-6)
    np.testing.assert_allclose(2 * variance * np.eye(3), same_cov, atol=1e-6)


def test_pilots_are_orthogonal_and_of_unit_power():
    pilots = np.asarray(phy.pilot_matrix(3, 5))
    np.testing.assert_allclose(np.abs(pilots), 1.0, rtol=1e-6)
    np.testing.assert_allclose(pilots @ pilots.conj().T, 5 * np.eye(3), atol=1e-5)
    assert phy.pilot_uses(5, 3, num_blocks=2) == 30 and phy.pilot_uses(5, 3) == 15


def test_as_many_pilots_as_antennas_are_enough():
    h, pilots = _complex(16, 3, 4), phy.pilot_matrix(4, 4)
    np.testing.assert_allclose(phy.estimate_from_pilots(h @ pilots, pilots, 0.0), h, atol=1e-6)
    np.testing.assert_allclose(pilots @ pilots.conj().T, 4 * np.eye(4), atol=1e-5)


def test_estimates_from_pilots_are_the_two_error_models():
    num_pilots, no = 6, 0.8
    pilots = phy.pilot_matrix(4, num_pilots)
    h, noise = _complex(6, 50, 3, 4), _complex(7, 50, 3, num_pilots)
    y = jnp.einsum("bmn,nt->bmt", h, pilots) + jnp.sqrt(no) * noise
    # The same noise, projected on the pilots, is the unit-variance draw of the models.
    w = jnp.einsum("bmt,nt->bmn", noise, jnp.conj(pilots)) / jnp.sqrt(num_pilots)
    ls = phy.estimate_from_pilots(y, pilots, no, estimator="ls")
    lmmse = phy.estimate_from_pilots(y, pilots, no, estimator="lmmse")
    s_ls = phy.pilot_error_var(no, num_pilots, estimator="ls")
    s_lmmse = phy.pilot_error_var(no, num_pilots, estimator="lmmse")
    np.testing.assert_allclose([s_ls, s_lmmse], [no / 6, no / (no + 6)], rtol=1e-6)
    assert phy.pilot_error_var(no, num_pilots) == s_ls, "by default"
    np.testing.assert_array_equal(phy.estimate_from_pilots(y, pilots, no), ls)
    np.testing.assert_allclose(ls, phy.estimate_csi(h, w, s_ls), atol=1e-5)
    np.testing.assert_allclose(lmmse, phy.estimate_csi(h, w, s_lmmse, model="mmse"), atol=1e-5)
    assert np.abs(np.asarray(ls - lmmse)).max() > 0.01
    for corr in ({}, {"tx_corr": phy.exp_corr_mat(0.5j, 4)}, {"rx_corr": phy.exp_corr_mat(0.4, 3)}):
        prior = phy.ChannelPrior(mean=_complex(15, 3, 4), scattered_power=0.7, **corr)
        found = phy.estimate_from_pilots(y, pilots, no, estimator="lmmse", prior=prior)
        np.testing.assert_allclose(found[3], _dense_posterior(ls[3], no / num_pilots, prior)[0], atol=1e-5)
    power, spread = _mean_and_error(np.abs(np.asarray(w)) ** 2)
    assert abs(power - 1) < 5 * spread


@pytest.mark.parametrize("model", ["additive", "mmse"])
def test_no_error_is_exact_and_its_gradient_is_not_a_number(model):
    h, w = _complex(8, 3, 2, 2), _complex(9, 3, 2, 2)

    def loss(h, s):
        return jnp.sum(jnp.real(phy.estimate_csi(h, w, s, model=model)))

    np.testing.assert_array_equal(phy.estimate_csi(h, w, 0.0, model=model), h)
    slopes = jax.grad(loss, argnums=(0, 1))
    assert np.all(np.isfinite(slopes(h, 0.0)[0])) and np.isnan(slopes(h, 0.0)[1])
    root = 0.2 if model == "additive" else np.sqrt(0.04 * 0.96)
    expected = np.sum(np.asarray(w).real) / (2 * root)
    if model == "mmse":
        expected = expected * (1 - 0.08) - np.sum(np.asarray(h).real)
    np.testing.assert_allclose(slopes(h, 0.04)[1], expected, rtol=1e-4)


def test_nmse_in_db():
    np.testing.assert_allclose(phy.nmse_db_to_error_var(-20.0), 0.01, rtol=1e-6)
    np.testing.assert_allclose(phy.error_var_to_nmse_db(0.01), -20.0, rtol=1e-6)


H = jnp.ones((2, 2), jnp.complex64)
TWO = jnp.stack([H, H])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: phy.estimate_csi(H, H, 0.1, model="ls"), "unknown CSI error model 'ls'; known: additive, mmse"),
        (lambda: phy.estimate_csi(H, H[:1], 0.1), r"w \(1, 2\) must have the shape of h \(2, 2\)"),
        (lambda: phy.estimate_csi(H, H, -0.1), "csi_error_var must be >= 0, got -0.1"),
        (lambda: phy.estimate_csi(H, H, 1.0, model="mmse"), "must be < 1.0 for model 'mmse', got 1.0"),
        (lambda: phy.estimate_csi(H, H, jnp.ones(3)), r"csi_error_var of shape \(3,\).*leading axes \(\)"),
        (lambda: phy.estimate_csi(H.real, H, 0.1), "the channel must be complex, got float32"),
        (lambda: phy.estimate_csi(H[0], H[0], 0.1), r"\[..., num_rx_ant, num_tx_ant\], got shape \(2,\)"),
        (lambda: phy.estimate_csi(TWO, TWO, np.array([0.1, 1.5]), model="mmse"), "must be < 1.0"),
        (lambda: phy.estimate_csi(H, H, 0.1, model="mmse", prior=phy.ChannelPrior(rx_corr=H)), "uncorrelated fading"),
        (lambda: phy.estimate_csi(H, H, 0.1, model="mmse", prior=phy.ChannelPrior(tx_corr=H)), "uncorrelated fading"),
        (lambda: phy.csi_posterior(H, 0.1, prior=phy.ChannelPrior(rx_corr=H)), "use csi_posterior_correlated"),
        (lambda: phy.csi_posterior(H, 0.1, prior=phy.ChannelPrior(tx_corr=H)), "use csi_posterior_correlated"),
        (
            lambda: phy.csi_posterior_correlated(H, 0.1, prior=phy.ChannelPrior(tx_corr=jnp.eye(3))),
            r"prior.tx_corr must have shape \(2, 2\)",
        ),
        (
            lambda: phy.csi_posterior_correlated(H, 0.1, prior=phy.ChannelPrior(rx_corr=jnp.eye(3))),
            r"prior.rx_corr must have shape \(2, 2\)",
        ),
        (lambda: phy.csi_posterior(H, 0.1, prior=phy.ChannelPrior(mean=jnp.ones(3))), r"prior.mean \(3,\)"),
        (lambda: phy.pilot_matrix(4, 3), "num_pilots must be >= num_tx_ant for orthogonal pilots, got 3 < 4"),
        (lambda: phy.estimate_from_pilots(jnp.ones((2, 3)), jnp.ones((4, 3)), 0.1), r"\(4, 3\).*\(2, 3\)"),
        (lambda: phy.estimate_from_pilots(jnp.ones((2, 6)), jnp.ones((2, 6, 6)), 0.1), r"\(2, 6, 6\) do not fit"),
        (lambda: phy.pilot_uses(None, 2), "num_pilots is needed for pilot-based CSI, got None"),
        (lambda: phy.pilot_uses(2.5, 2), "num_pilots must be an integer >= 1, got 2.5"),
        (lambda: phy.estimate_from_pilots(jnp.ones((2, 5)), jnp.ones((4, 6)), 0.1), r"\(4, 6\).*\(2, 5\)"),
        (
            lambda: phy.estimate_from_pilots(jnp.ones((2, 6)), jnp.ones((4, 6)), 0.1, estimator="mmse"),
            "known: ls, lmmse",
        ),
        (lambda: phy.pilot_error_var(0.1, 4, estimator="map"), "unknown pilot estimator 'map'; known: ls, lmmse"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
