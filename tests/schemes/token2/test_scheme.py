"""The second token codec over links: power, what it costs, what the receiver uses, SNR per picture, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.schemes import make_scheme, name_of
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import encode, forward
from lvm_mtc.schemes.token2.scheme import Token2, Token2Config, from_frames, to_frames

pytestmark = pytest.mark.usefixtures("fast_compile")

SCHEME = Token2(Token2Config(variant="tiny", num_symbols=4))
LINKS = [LinkConfig(fading=fading, convention="rx_per_antenna") for fading in ("awgn", "rayleigh")]
IMAGES = np.float32(np.random.default_rng(0).uniform(size=(2, 3, 32, 32, 3)))


run, modulate = jax.jit(forward, static_argnums=(0, 4)), jax.jit(SCHEME.modulate)


@pytest.fixture(scope="module")
def params():
    """Drawn, and moved off the zeros at which conditions start."""
    drawn = jax.jit(SCHEME.init)(jax.random.key(0))
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda a: a + np.float32(rng.normal(size=a.shape) * 0.05), drawn)


def test_a_frame_holds_one_symbol_of_each_token_of_a_region():
    symbols = np.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3)
    frames = to_frames(symbols)
    assert frames.shape == (2, 2 * 3 * 3, 4)
    np.testing.assert_array_equal(frames[1, 3 * 4 + 2], symbols[1, 2:4, 2:4, 2].reshape(4))  # region (1, 1), symbol 2
    np.testing.assert_array_equal(from_frames(frames, (4, 6)), symbols)


@pytest.mark.slow
@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.fading)
def test_pictures_come_back_at_the_price_of_their_symbols(params, link):
    out = run(SCHEME, params, Source(IMAGES), jax.random.key(1), link, OperatingPoint(snr_db=7.0))
    assert out.estimate.data.shape == IMAGES.shape and np.isfinite(out.estimate.data).all()
    np.testing.assert_array_equal(out.ledger.channel_uses(), [3 * 64 * 4] * 2)
    np.testing.assert_array_equal(out.ledger.side_information_bits, [3 * 16] * 2)
    power = np.mean(np.abs(out.sent.signal.private.symbols) ** 2, axis=(-2, -1))
    np.testing.assert_allclose(power, 1, rtol=1e-5)


def test_sending_depends_on_the_nominal_snr_of_each_uav(params):
    snr_db = jnp.array([[0.0, 7.0, 14.0], [3.0, 3.0, 3.0]])
    encoded = encode(SCHEME, params, Source(IMAGES), jax.random.key(1), {})
    together = modulate(params, encoded, OperatingPoint(snr_db=snr_db)).signal.private.symbols
    for uav, value in enumerate(snr_db[0]):
        alone = modulate(params, encoded, OperatingPoint(snr_db=value)).signal.private.symbols
        np.testing.assert_allclose(alone[0, uav], together[0, uav], atol=1e-5)
        assert uav == 0 or np.abs(alone[0, 0] - together[0, 0]).max() > 1e-3


def test_gain_is_known_to_16_bits_and_used(params):
    point = OperatingPoint(snr_db=7.0)
    sent = modulate(params, jnp.asarray(IMAGES), point)
    np.testing.assert_array_equal(sent.side, np.float16(sent.side).astype(np.float32))
    out = run(SCHEME, params, Source(IMAGES), jax.random.key(1), LINKS[0], point)
    other = jax.jit(SCHEME.decode)(params, out.received, 2 * sent.side, point).data
    assert np.abs(other - out.estimate.data).max() > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.fading)
def test_gradients_through_the_link_are_finite_and_reach_every_parameter(params, link):
    (stage,) = SCHEME.stages()
    point, weights = OperatingPoint(snr_db=jnp.array([0.0, 14.0])), {"image_loss": "log_mse"}

    @jax.jit
    def gradient(params, key):
        return jax.grad(lambda p: stage.loss(SCHEME, p, Source(IMAGES), key, link, point, weights)[0])(params)

    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient(params, jax.random.key(1))):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0, path


def test_register_knows_it():
    scheme = make_scheme("token2", {"variant": "tiny", "num_symbols": 4})
    assert scheme == SCHEME and name_of(scheme) == "token2" and scheme.frames() == (16 * 4, 4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(variant="smal"), "Token2Config.variant .*'smal'.*small"),
        (dict(num_symbols=0), "Token2Config.num_symbols .*0"),
        (dict(image_size=48), "Token2Config.image_size 48 is no multiple of the 32 pixels .* 'small'"),
    ],
)
def test_wrong_shapes_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Token2Config(**fields)


def test_pictures_of_another_size_are_refused(params):
    with pytest.raises(ValueError, match=r"images must be \[batch, num_uavs, 32, 32, 3\], got \(1, 1, 16, 16, 3\)"):
        encode(SCHEME, params, Source(jnp.zeros((1, 1, 16, 16, 3))), jax.random.key(0), {})
