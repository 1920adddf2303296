import numpy as np
import pytest

from lvm_mtc.allocation.leak import fit_leak, leaked_share


def test_planted_coefficients_come_back():
    rng = np.random.default_rng(0)
    planted = np.array([-1.0, -2.5, 1.2, -2.0])
    similarity, power, ratio = rng.random(400), 10 ** rng.uniform(-1, 1, 400), rng.uniform(0.2, 1, 400)
    columns = np.stack([np.ones(400), similarity, np.log(power), ratio], -1)
    exact = 1 / (1 + np.exp(-columns @ planted))
    found, explained = fit_leak(exact, similarity, power, ratio)
    np.testing.assert_allclose(found, planted, atol=1e-9)
    assert explained == pytest.approx(1)
    noisy = 1 / (1 + np.exp(-columns @ planted - 0.3 * rng.normal(size=400)))
    found, explained = fit_leak(noisy, similarity, power, ratio)
    spread = 0.3 * np.sqrt(np.diag(np.linalg.inv(columns.T @ columns)))
    assert (np.abs(found - planted) < 5 * spread).all() and 0.8 < explained < 1


def test_share_of_a_known_mixture():
    rng = np.random.default_rng(1)
    own, other = rng.normal(size=(2, 3, 50_000))
    partner = 0.5 * own + other
    share = leaked_share(0.8 * own + 0.3 * partner + 0.1 * rng.normal(size=own.shape), own, partner)
    expected = 0.09 * 1.25 / (0.64 + 0.09 * 1.25)
    np.testing.assert_allclose(share, expected, rtol=0.05)
    assert np.isnan(leaked_share(own, own, 2 * own)).all()


def test_what_cannot_be_fitted():
    with pytest.raises(ValueError, match=r"share must lie in \(0, 1\), got 0 ... 0.5"):
        fit_leak([0.0, 0.5], [0, 1], [1, 1], [1, 1])
    with pytest.raises(ValueError, match="must vary apart"):
        fit_leak(np.full(9, 0.5), np.arange(9), np.ones(9), np.ones(9))
