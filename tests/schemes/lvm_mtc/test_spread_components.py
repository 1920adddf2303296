"""Principal components spread over antennas: orthogonal, the same codec over a clean wire, robust to a lost stream."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from observed import observe

from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.models.pca import PatchPca, spreading_matrix
from lvm_mtc.schemes.lvm_mtc.config import LvmMtcConfig
from lvm_mtc.schemes.lvm_mtc.pca import init_from_pca
from lvm_mtc.schemes.lvm_mtc.scheme import LvmMtc

pytestmark = pytest.mark.usefixtures("fast_compile")

SCHEME = LvmMtc(
    LvmMtcConfig(variant="linear", image_size=16, patch_size=4, num_kept=16, num_symbols=16, power_allocation=False)
)
VARIANCES = 0.2 * 0.7 ** np.arange(48)


def pca():
    basis, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(48, 48)))
    return PatchPca(np.full(48, 0.5), basis, VARIANCES)


def parameters(spread):
    return init_from_pca(jax.jit(SCHEME.init)(jax.random.key(0)), pca(), spread)


def pictures(count):
    """Of the components' own law; few pixels leave [0, 1], and nothing clips them here."""
    components = np.random.default_rng(1).normal(size=(count * 16, 48)) * np.sqrt(VARIANCES)
    patches = components @ pca().basis.T + 0.5
    return np.float32(patches.reshape(count, 4, 4, 4, 4, 3).swapaxes(2, 3).reshape(count, 1, 16, 16, 3))


@pytest.mark.parametrize(("num_features", "spread"), [(32, 1), (32, 4), (32, 2), (128, 8)])
def test_the_matrix_is_orthogonal_and_spreads_each_component_over_as_many_symbols(num_features, spread):
    matrix = spreading_matrix(num_features, spread)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(num_features), atol=1e-12)
    symbols = [set(np.flatnonzero(row) // 2) for row in matrix]
    assert all(len(of) == spread and max(of) - min(of) == spread - 1 for of in symbols)
    np.testing.assert_allclose(np.abs(matrix[matrix != 0]), spread**-0.5)
    if spread == 1:
        np.testing.assert_array_equal(matrix, np.eye(num_features))


@functools.cache
def _forward(link):
    return jax.jit(lambda *given: observe(SCHEME, *given[:4], link, given[4]))


def send(spread, link, snr_db, images, key=0):
    loc = jnp.broadcast_to(jnp.array([8.0, 8.0, 16.0, 16.0]), (len(images), 1, 4))
    point = OperatingPoint(snr_db=jnp.float32(snr_db))
    return _forward(link)(parameters(spread), images, loc, jax.random.key(key), point)


def test_a_clean_wire_gives_the_same_pictures():
    images, wire = pictures(3), LinkConfig(fading="awgn")
    plain, spread = (send(by, wire, 80.0, images) for by in (1, 4))
    np.testing.assert_allclose(spread.images_hat, plain.images_hat, atol=2e-3)
    np.testing.assert_allclose((np.abs(spread.sent.own) ** 2).mean((2, 3)), 1.0, rtol=1e-5)
    assert np.abs(spread.sent.own - plain.sent.own).max() > 0.5


def test_a_stream_in_a_fade_takes_no_component_whole():
    # In float64: each symbol's noise variance n, one stream of four without any signal (n infinite).
    reliable = np.tile(np.repeat([0.0, 1.0, 1.0, 1.0], 2), 4)  # 32 features, two a symbol
    power = np.sqrt(VARIANCES[:32])

    def error(spread):
        """MSE of the components with the receiver's rule, p / (p + n) = 0 or 1, averaged over the faded stream."""
        matrix = spreading_matrix(32, spread)
        amplitude = VARIANCES[:32] ** -0.25
        total = 0.0
        for shift in range(4):
            decode = np.diag(1 / amplitude) @ matrix @ np.diag(np.roll(reliable, 2 * shift)) @ matrix.T
            residual = (decode @ np.diag(amplitude) - np.eye(32)) * np.sqrt(VARIANCES[:32])
            total += (residual**2).sum() / 4
        return total

    np.testing.assert_allclose(power, VARIANCES[:32] ** -0.5 * VARIANCES[:32])  # of amplitude^2 times variance
    np.testing.assert_allclose(error(1), VARIANCES[:32].sum() / 4)
    # Spread, a quarter of each set's amplitudes is wrong by one sixteenth of the set's power on average.
    assert error(4) < 0.6 * error(1)


@pytest.mark.slow
def test_fading_costs_less_when_components_are_spread():
    images, link = pictures(100), LinkConfig(convention="rx_per_antenna")
    errors = [
        np.mean((np.float64(send(by, link, 4.0, images, key).images_hat) - images) ** 2, axis=(1, 2, 3, 4))
        for key in range(3) for by in (1, 4)
    ]  # fmt: skip
    plain, spread = np.concatenate(errors[::2]), np.concatenate(errors[1::2])
    gain = 10 * np.log10(plain / spread)  # of each picture, over the same channel
    assert gain.mean() > 5 * gain.std(ddof=1) / np.sqrt(len(gain)) and gain.mean() > 0.3


def test_wrong_spreads_are_named():
    for spread in (0, 3, 32):
        with pytest.raises(ValueError, match=f"spread must be a power of two .* half of the 32 features, got {spread}"):
            spreading_matrix(32, spread)
