"""Token codec, channel codec and the linear codec: published sizes, independent references, edges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.models.patches import patchify, unpatchify
from lvm_mtc.models.pca import fit_pca
from lvm_mtc.models.variants import VARIANTS
from lvm_mtc.schemes.lvm_mtc.channel_codec import ChannelDecoder, PowerAllocation
from lvm_mtc.schemes.lvm_mtc.config import LvmMtcConfig
from lvm_mtc.schemes.lvm_mtc.masking import keep_bernoulli, keep_budget
from lvm_mtc.schemes.lvm_mtc.pca import init_from_pca
from lvm_mtc.schemes.lvm_mtc.scheme import LvmMtc
from lvm_mtc.schemes.lvm_mtc.token_codec import TokenDecoder, TokenEncoder
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import forward

pytestmark = pytest.mark.usefixtures("fast_compile")


def count(tree):
    return sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def test_large_has_the_papers_parameter_counts():
    shapes = jax.eval_shape(LvmMtc(LvmMtcConfig.paper()).init, jax.random.key(0))
    assert count(shapes["encoder"]) == 303_301_632  # MAE ViT-L encoder, positions included
    # MAE's ViT-L decoder, and the class token that the decoder learns because none is sent.
    assert count(shapes["decoder"]) == 26_240_256 + 512
    assert count(shapes["channel_encoder"]) == 131_200
    assert count(shapes["channel_decoder"]) == 132_096
    assert count(shapes["public_encoder"]) == 131_200
    assert "allocation" not in shapes


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_has_consistent_shapes(variant):
    config = LvmMtcConfig(variant=variant, image_size=32, patch_size=8)
    scheme = LvmMtc(config)
    params = jax.eval_shape(scheme.init, jax.random.key(0))
    source = Source(jnp.zeros((2, 1, 32, 32, 3)), {"loc": jnp.ones((2, 1, 4))})
    out = jax.eval_shape(lambda p: forward(scheme, p, source, jax.random.key(0)), params)
    assert out.estimate.data.shape == (2, 1, 32, 32, 3)


def test_patchify_is_mae_order_and_invertible():
    images = jax.random.uniform(jax.random.key(0), (2, 16, 24, 3))
    patches = patchify(images, 8)
    np.testing.assert_array_equal(patches[1, 4].reshape(8, 8, 3), images[1, 8:16, 8:16])
    np.testing.assert_array_equal(unpatchify(patches, 8, (16, 24)), images)
    with pytest.raises(ValueError, match="patch_size 5 does not divide the picture's 16 x 24"):
        patchify(images, 5)
    with pytest.raises(ValueError, match="6 patches do not tile"):
        unpatchify(patches, 8, (16, 16))


def layer_norm(x, p):
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(var + 1e-6) * p["scale"] + p["bias"]


def numpy_block(x, p, heads):
    """One pre-norm block in float64."""
    from scipy.special import erf

    n, width = x.shape
    q, k, v = np.moveaxis(
        (layer_norm(x, p["norm1"]) @ p["qkv"]["kernel"] + p["qkv"]["bias"]).reshape(n, 3, heads, width // heads), 1, 0
    )
    logits = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(width // heads)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    x = x + np.einsum("hqk,khd->qhd", weights, v).reshape(n, width) @ p["proj"]["kernel"] + p["proj"]["bias"]
    y = layer_norm(x, p["norm2"]) @ p["fc1"]["kernel"] + p["fc1"]["bias"]
    return x + (0.5 * y * (1 + erf(y / np.sqrt(2)))) @ p["fc2"]["kernel"] + p["fc2"]["bias"]


@pytest.mark.slow
def test_encoder_and_decoder_equal_float64_numpy():
    encoder, decoder = TokenEncoder(3, 3, 16, 2, 2), TokenDecoder(3, 3, 8, 1, 2, patch_dim=12)
    patches = jax.random.uniform(jax.random.key(0), (1, 9, 12))
    kept = keep_budget(jax.random.normal(jax.random.key(1), (1, 9)), 4)
    params = jax.jit(encoder.init)(jax.random.key(2), patches, kept)["params"]
    tokens, features = jax.jit(encoder.apply)({"params": params}, patches, kept)
    ids, p = np.asarray(kept.ids_keep[0]), jax.tree.map(np.float64, params)
    x = np.float64(patches[0])[ids] @ p["patch_embed"]["kernel"] + p["patch_embed"]["bias"] + p["pos_embed"][1:][ids]
    x = np.concatenate([(p["cls_token"] + p["pos_embed"][0])[None], x])
    for i in range(2):
        x = numpy_block(x, p[f"block{i}"], 2)
    np.testing.assert_allclose(features[0], x[1:], atol=1e-5)
    np.testing.assert_allclose(tokens[0], layer_norm(x, p["norm"])[1:], atol=1e-5)
    assert not np.allclose(tokens[0], layer_norm(x, p["norm"])[:-1], atol=1e-2)

    params = jax.jit(decoder.init)(jax.random.key(3), tokens, kept)["params"]
    out, p = jax.jit(decoder.apply)({"params": params}, tokens, kept), jax.tree.map(np.float64, params)
    full = np.broadcast_to(p["mask_token"], (9, 8)).copy()
    full[ids] = np.float64(tokens[0]) @ p["decoder_embed"]["kernel"] + p["decoder_embed"]["bias"]
    x = np.concatenate([(p["cls_token"] + p["pos_embed"][0])[None], full + p["pos_embed"][1:]])
    x = layer_norm(numpy_block(x, p["block0"], 2), p["norm"])[1:]
    np.testing.assert_allclose(out[0], x @ p["pred"]["kernel"] + p["pred"]["bias"], atol=1e-5)


@pytest.mark.slow
def test_padding_changes_no_valid_token():
    encoder = TokenEncoder(3, 3, 16, 2, 2)
    patches = jax.random.uniform(jax.random.key(0), (1, 9, 12))
    scores = jnp.array([[1.0, -1, 2, -1, -1, 3, -1, -1, 0.5]])
    padded, exact = keep_bernoulli(scores, 9), keep_budget(scores, 4)
    params = jax.jit(encoder.init)(jax.random.key(2), patches, exact)
    apply = jax.jit(encoder.apply)
    np.testing.assert_allclose(apply(params, patches, padded)[0][:, :4], apply(params, patches, exact)[0], atol=1e-5)


def test_wiener_receiver_is_the_scalar_lmmse_estimator_and_shrunk_its_unit_power_case():
    features, noise = jax.random.normal(jax.random.key(0), (5, 8)), jnp.full((5, 8), 0.3)
    wiener, shrunk = ChannelDecoder(6, "wiener"), ChannelDecoder(6, "shrunk")
    params = wiener.init(jax.random.key(1), features, noise)["params"]
    p = np.linspace(0.1, 2, 8)
    tokens, reliability = wiener.apply({"params": params | {"log_power": jnp.log(p)}}, features, noise)
    np.testing.assert_allclose(reliability, np.broadcast_to(p / (p + 0.3), (5, 8)), rtol=1e-5)
    want = np.float64(features) * p / (p + 0.3) @ np.float64(params["linear"]["kernel"])
    np.testing.assert_allclose(tokens, want, atol=1e-5)
    half = {"params": params | {"log_power": jnp.full(8, jnp.log(0.5))}}  # power 1 per complex symbol
    np.testing.assert_allclose(
        shrunk.apply({"params": {"linear": params["linear"]}}, features, noise)[0],
        wiener.apply(half, features, noise)[0],
        atol=1e-5,
    )


def test_allocation_is_one_at_the_start_and_at_zero_db():
    module = PowerAllocation(4)
    params = module.init(jax.random.key(0), jnp.zeros(2))
    np.testing.assert_array_equal(module.apply(params, jnp.array([0.0, 17.0])), np.ones((2, 8)))
    params = jax.tree.map(lambda a: a + 0.3, params)
    gains = module.apply(params, jnp.array([0.0, 20.0]))
    np.testing.assert_allclose(gains, [[1.0] * 8, [np.exp(0.6)] * 8], rtol=1e-6)


@pytest.mark.slow
def test_pca_needs_samples_and_the_right_patches():
    with pytest.raises(ValueError, match="more than 12 patches"):
        fit_pca(np.zeros((12, 12)))
    pca = fit_pca(np.random.default_rng(0).uniform(size=(500, 48)))
    np.testing.assert_allclose(pca.basis.T @ pca.basis, np.eye(48), atol=1e-10)
    assert np.all(np.diff(pca.variances) <= 0)
    config = LvmMtcConfig(variant="tiny", image_size=32, patch_size=8)
    with pytest.raises(ValueError, match="patches of 192 numbers, the PCA for 48"):
        init_from_pca(LvmMtc(config).init(jax.random.key(0)), pca)
    plain = LvmMtc(LvmMtcConfig(variant="tiny", image_size=16, patch_size=4, linear_path=False, receiver="shrunk"))
    with pytest.raises(ValueError, match="linear_path True"):
        init_from_pca(plain.init(jax.random.key(0)), pca)
