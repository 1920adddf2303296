"""One-sided slopes at a variance of 0, against differences of a float64 NumPy link on the same draws."""

import jax
import numpy as np
import pytest

from lvm_mtc import phy

pytestmark = pytest.mark.usefixtures("fast_compile")

NO, NUM_TX, NUM_RX = 0.1, 2, 4
X = np.exp(0.5j * np.pi * np.random.default_rng(0).integers(0, 4, (60, 5, NUM_TX))).astype(np.complex64)


@pytest.fixture(scope="module")
def draws():
    return phy.draw_link(jax.random.key(1), (60,), 5, num_tx_ant=NUM_TX, num_rx_ant=NUM_RX)


def loss(equalizer, draws, no, s):
    out = phy.broadcast(None, X, no=no, csi_error_var=s, num_rx_ant=NUM_RX, draws=draws, equalizer=equalizer)
    return (abs(out.x_hat - X) ** 2).mean()


def loss_in_numpy(equalizer, draws, no, root):
    """The same in float64, written from the receivers' equations; ``root`` scales the draw of the CSI error."""
    h, csi, noise = (np.asarray(a, complex) for a in (draws.h, draws.csi, draws.noise))
    s, h_hat = root**2, h + root * csi
    shrink, left = (1 + s, NUM_TX * s / (1 + s)) if equalizer == "robust" else (1, 0)
    h_hat = h_hat / shrink
    y = np.einsum("kbrt,kst->ksr", h, X) + np.sqrt(no) * noise
    adjoint = h_hat[:, 0].conj().swapaxes(-1, -2)
    gram = adjoint @ h_hat[:, 0] + (no + left) * np.eye(NUM_TX)
    g = np.linalg.solve(gram, adjoint)
    if equalizer != "paper":
        g = g / np.einsum("kir,kri->ki", g, h_hat[:, 0])[..., None]
    return np.mean(np.abs(np.einsum("ktr,ksr->kst", g, y) - X) ** 2)


def test_the_slope_of_the_csi_error_is_that_of_differences(draws):
    def slopes(draws):
        return {
            name: phy.slope_at_zero(lambda d, s, name=name: loss(name, d, NO, s), draws)
            for name in phy.LMMSE_VARIANTS
        }  # fmt: skip

    root = 1e-3
    for name, found in jax.jit(slopes)(draws).items():
        both = [loss_in_numpy(name, draws, NO, sign * root) for sign in (1, -1)]
        expected = (np.mean(both) - loss_in_numpy(name, draws, NO, 0.0)) / root**2
        np.testing.assert_allclose(found, expected, rtol=2e-3)
        assert abs(expected) > 0.05  # 0, as a square root with a slope of 0 would give, is not near
    assert np.isnan(jax.grad(lambda s: loss("paper", draws, NO, s))(0.0))


def test_the_slope_of_the_noise_is_the_error_of_zero_forcing(draws):
    """Over the draws it is ``|(H^H H)^-1 H^H n|^2``, whose mean is 1 / (num_rx_ant - num_tx_ant)."""
    found = jax.jit(lambda d: phy.slope_at_zero(lambda d, no: loss("paper", d, no, 0.0), d, ("noise",)))(draws)
    inverse = np.linalg.pinv(np.asarray(draws.h, complex)[:, 0])
    errors = np.abs(np.einsum("ktr,ksr->kst", inverse, np.asarray(draws.noise, complex))) ** 2
    np.testing.assert_allclose(found, errors.mean(), rtol=5e-3)
    assert abs(errors.mean() - 1 / (NUM_RX - NUM_TX)) < 5 * errors.mean((1, 2)).std() / np.sqrt(len(errors))


def test_what_is_no_draw_is_named(draws):
    with pytest.raises(ValueError, match="no 'pilots'; known: h, csi, noise, demodulation"):
        phy.slope_at_zero(lambda d, s: s, draws, ("pilots",))
    with pytest.raises(ValueError, match="step must be > 0, got 0.0"):
        phy.slope_at_zero(lambda d, s: s, draws, step=0.0)
