"""Kendall's tau against SciPy's, and the smooth one against it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kendalltau

from lvm_mtc.models.kendall import kendall_tau, soft_kendall_tau


def test_tau_is_scipys_with_and_without_ties():
    rng = np.random.default_rng(0)
    for i in range(200):
        n = int(rng.integers(2, 12))
        a, b = (rng.integers(0, 4, n) if i % 2 else rng.normal(size=n) for _ in range(2))
        expected = kendalltau(a, b, variant="b").statistic
        np.testing.assert_allclose(kendall_tau(a, b), expected, atol=1e-12)  # NaN where one is all ties


def test_tau_of_what_is_sorted_is_one_and_changes_sign_with_either():
    rng = np.random.default_rng(2)
    for i in range(20):
        a, b = (rng.integers(0, 4, 8) if i % 2 else rng.normal(size=8) for _ in range(2))
        assert kendall_tau(np.sort(rng.normal(size=8)), np.arange(8)) == 1
        assert kendall_tau(-a, b) == kendall_tau(a, -b) == -kendall_tau(a, b)


def test_soft_tau_goes_to_tau_and_points_uphill():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 50, 5))
    hard = [kendall_tau(*pair) for pair in zip(a, b, strict=True)]
    run = jax.jit(soft_kendall_tau, static_argnums=2)
    np.testing.assert_allclose(run(a, b, (1e-7, 1e-7)), hard, atol=1e-5)
    soft = run(a, b, (0.5, 0.5))
    assert np.all(np.abs(soft) < 1) and np.mean(np.abs(soft - np.asarray(hard))) > 0.02
    np.testing.assert_allclose(run(-a, b, (0.5, 0.5)), -soft, atol=1e-6)
    slope = jax.jit(jax.grad(lambda a: soft_kendall_tau(a, b, (0.5, 0.5)).sum()))(a)
    up = run(jnp.float32(a + 1e-2 * slope), b, (0.5, 0.5))
    assert np.mean(up > soft) > 0.95
    # Ties count as pairs here: tau-a.
    np.testing.assert_allclose(
        run(jnp.array([0.0, 0.0, 1.0]), jnp.array([0.0, 1.0, 2.0]), (1e-7, 1e-7)), 2 / 3, atol=1e-5
    )
    flat = jax.grad(lambda a: soft_kendall_tau(a, jnp.arange(3.0)))(jnp.zeros(3))
    assert np.isfinite(flat).all()


def test_what_tau_refuses():
    with pytest.raises(ValueError, match=r"one length, got \(3,\) and \(2,\)"):
        kendall_tau([1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match=r"must be > 0, got \(1.0, 0.0\)"):
        soft_kendall_tau(jnp.zeros(3), jnp.zeros(3), (1.0, 0.0))
    with pytest.raises(ValueError, match=r"n >= 2, got \(1,\)"):
        soft_kendall_tau(jnp.zeros(1), jnp.zeros(1))
