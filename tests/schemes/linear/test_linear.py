"""The linear codec: the token system's linear variant number for number, and its own equations in float64."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.models.patches import patchify
from lvm_mtc.models.pca import fit_patches, fit_pca
from lvm_mtc.schemes.linear.scheme import Linear, LinearConfig
from lvm_mtc.schemes.loading import PCA_WEIGHTS, load_scheme
from lvm_mtc.schemes.lvm_mtc.pca import init_from_pca
from lvm_mtc.schemes.lvm_mtc.scheme import LvmMtc
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import forward

pytestmark = pytest.mark.usefixtures("fast_compile")

B, K = 2, 2
LINKS = {
    "awgn": LinkConfig(fading="awgn"),
    "rayleigh": LinkConfig(convention="rx_per_antenna"),
    "mu_mimo": LinkConfig.of(topology="mu_mimo", num_rx_ant=1),
    "uplink": LinkConfig.of(topology="mac", access="orthogonal", num_tx_ant=1),
}

run = jax.jit(forward, static_argnums=(0, 4))


def smooth(shape, seed=0):
    """Pictures with a spectrum that falls off, uint8."""
    noise = np.random.default_rng(seed).normal(size=(*shape, 3)).cumsum(-2).cumsum(-3)
    low, high = (f(noise, axis=(-3, -2, -1), keepdims=True) for f in (np.min, np.max))
    return np.uint8(255 * (noise - low) / (high - low))


@functools.cache
def token_system():
    """The token system of the shipped linear weights, every patch kept; the same weights as a linear codec's."""
    scheme, params = load_scheme(PCA_WEIGHTS)
    scheme = LvmMtc(dataclasses.replace(scheme.config, num_kept=scheme.config.num_patches))
    kernel = {name: np.float64(params[name]["linear"]["kernel"]) for name in ("channel_encoder", "channel_decoder")}
    paths = {name: np.float64(params[name]["linear_path"]["kernel"]) for name in ("encoder", "decoder")}
    converted = {
        "mean": params["decoder"]["linear_path"]["bias"],
        "encoder": paths["encoder"] @ kernel["channel_encoder"],
        "decoder": kernel["channel_decoder"] @ paths["decoder"],
        "power": np.exp(np.float64(params["channel_decoder"]["log_power"])),
    }
    return scheme, params, {name: jnp.float32(value) for name, value in converted.items()}


def both(theirs, their_params, ours, our_params, link, snr_db, size):
    """Outcomes of both schemes on the same pictures, channel and noise."""
    images = jnp.float32(smooth((B, K, size, size))) / 255
    source = Source(images, {"loc": jnp.broadcast_to(jnp.array([16.0, 16.0, 8.0, 8.0]), (B, K, 4))})
    point = OperatingPoint(snr_db=snr_db, csi_error_var=0.02)
    return [run(s, p, source, jax.random.key(3), link, point) for s, p in ((theirs, their_params), (ours, our_params))]


def same(theirs, ours):
    np.testing.assert_allclose(ours.estimate.data, theirs.estimate.data, rtol=1e-6, atol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, ours.ledger, theirs.ledger)


@pytest.mark.slow
@pytest.mark.parametrize("link", LINKS.values(), ids=LINKS)
def test_with_the_shipped_weights_it_is_the_token_systems_linear_variant(link):
    theirs, params, converted = token_system()
    config = LinearConfig()
    assert all(getattr(config, f) == getattr(theirs.config, f) for f in ("image_size", "patch_size", "num_symbols"))
    for snr_db in (0.0, 12.0):
        of_theirs, of_ours = both(theirs, params, Linear(config), converted, link, jnp.float32(snr_db), 96)
        same(of_theirs, of_ours)
    wrong = converted | {"power": 2 * converted["power"]}
    of_theirs, of_ours = both(theirs, params, Linear(config), wrong, link, jnp.float32(12.0), 96)
    assert np.abs(of_theirs.estimate.data - of_ours.estimate.data).max() > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("spread", [1, 2])
def test_fitted_it_is_the_token_system_started_from_the_same_components(spread):
    ours = Linear(LinearConfig(image_size=32, num_symbols=12, spread=spread))
    pictures = smooth((40, 48, 48), seed=1)
    params = ours.fit(pictures, seed=5)
    fields = dict(image_size=32, num_symbols=12, num_kept=16, power_allocation=False)
    theirs = LvmMtc(dataclasses.replace(token_system()[0].config, **fields))
    their_params = init_from_pca(theirs.init(jax.random.key(0)), fit_patches(pictures, 32, 8, seed=5), spread)
    same(*both(theirs, their_params, ours, params, LINKS["rayleigh"], jnp.float32(8.0), 32))
    jax.tree.map(np.testing.assert_array_equal, ours.start(ours.init(jax.random.key(0)), pictures, 5), params)


def test_a_clean_channel_gives_the_projection_onto_the_first_components():
    scheme = Linear(LinearConfig(image_size=16, patch_size=4, num_symbols=8))
    pictures = smooth((60, 16, 16), seed=2)
    patches = np.asarray(patchify(pictures, 4)).reshape(-1, 48) / 255
    pca = fit_pca(patches)
    images = jnp.float32(pictures[:4].reshape(B, K, 16, 16, 3)) / 255
    point = OperatingPoint(snr_db=jnp.float32(80.0))
    out = run(scheme, scheme.from_pca(pca), Source(images), jax.random.key(0), LINKS["awgn"], point)
    centred, first = np.asarray(patchify(images, 4)) - pca.mean, pca.basis[:, :16]
    want = centred @ first @ first.T + pca.mean
    # Gains travel as 16 bits: 2^-11 relative; the noise is 40 dB below that.
    np.testing.assert_allclose(patchify(out.estimate.data, 4), want, atol=2e-3)
    assert np.abs(want - np.asarray(patchify(images, 4))).max() > 0.02


@pytest.mark.slow
def test_drawn_parameters_have_the_shapes_of_fitted_ones():
    scheme = Linear(LinearConfig(image_size=16, patch_size=4, num_symbols=8))
    drawn, fitted = scheme.init(jax.random.key(0)), scheme.fit(smooth((60, 16, 16)))
    assert jax.tree.map(jnp.shape, drawn) == jax.tree.map(jnp.shape, fitted)
    assert scheme.stages() == () and not scheme.knobs


def test_wrong_shapes_are_named():
    for fields, message in (
        (dict(patch_size=7), "LinearConfig.patch_size 7 does not divide LinearConfig.image_size 96"),
        (dict(num_symbols=0), "LinearConfig.num_symbols must be a whole number >= 1, got 0"),
        (dict(spread=3), "LinearConfig.spread must be a power of two and divide half of the 64 features, got 3"),
    ):
        with pytest.raises(ValueError, match=message):
            LinearConfig(**fields)
    scheme = Linear(LinearConfig(image_size=16, patch_size=4, num_symbols=8))
    with pytest.raises(ValueError, match=r"images must be \[batch, num_uavs, 16, 16, 3\], got \(2, 2, 8, 16, 3\)"):
        scheme.encode(scheme.init(jax.random.key(0)), Source(jnp.zeros((B, K, 8, 16, 3))), jax.random.key(0), {})
