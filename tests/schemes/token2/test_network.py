"""The codec's networks: sizes in closed form, blocks in plain NumPy, what the decoder may know, gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.models.conditioned import (
    AttentionBlock,
    ConvolutionBlock,
    Modulated,
    Sizes,
    snr_features,
)
from lvm_mtc.schemes.token2.network import VARIANTS, Decoder, Encoder

pytestmark = pytest.mark.usefixtures("fast_compile")

TINY = VARIANTS["tiny"]
SNR_DB, GAIN = jnp.array([1.0, 13.0]), jnp.array([0.5, 2.0])


def normal(*shape, seed=0):
    return np.float32(np.random.default_rng(seed).normal(size=shape))


def shapes_of(module, *arrays):
    return jax.eval_shape(module.init, jax.random.key(0), *arrays)["params"]


def random_params(module, *arrays):
    """Random ones of the shapes that ``init`` gives, none of them zero."""
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda a: np.float32(rng.normal(size=a.shape) * 0.3), shapes_of(module, *arrays))


def count(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def layer_norm(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def modulated(p, x, condition):
    scale, shift = np.split((condition @ p["change"]["kernel"] + p["change"]["bias"])[:, None, None], 2, axis=-1)
    return layer_norm(x) * (1 + scale) + shift


def dense(p, x):
    return x @ p["kernel"] + p["bias"]


def attention_by_loops(p, x, condition, *, heads, window):
    """Every query looks at the keys of its window."""
    batch, rows, columns, width = x.shape
    head = width // heads
    qkv = dense(p["qkv"], modulated(p["before"], x, condition)).reshape(batch, rows, columns, 3, heads, head)
    seen = np.zeros((batch, rows, columns, heads, head))
    for b, r, c, h in np.ndindex(batch, rows, columns, heads):
        keys = [
            (i, j)
            for i in range(rows)
            for j in range(columns)
            if i // window == r // window and j // window == c // window
        ]
        bias = [p["position_bias"][(r - i + window - 1) * (2 * window - 1) + c - j + window - 1, h] for i, j in keys]
        logits = np.array([qkv[b, r, c, 0, h] @ qkv[b, i, j, 1, h] for i, j in keys]) / np.sqrt(head) + bias
        weights = np.exp(logits - logits.max())
        weights /= weights.sum()
        seen[b, r, c, h] = sum(w * qkv[b, i, j, 2, h] for w, (i, j) in zip(weights, keys, strict=True))
    x = x + dense(p["out"], seen.reshape(x.shape))
    return x + dense(p["down"], gelu(dense(p["up"], modulated(p["between"], x, condition))))


def test_attention_block_is_its_loops():
    block, x, condition = AttentionBlock(2, 2, 2), normal(2, 4, 2, 4), normal(2, 3, seed=1)
    params = random_params(block, x, condition)
    expected = attention_by_loops(
        jax.tree.map(np.float64, params), np.float64(x), np.float64(condition), heads=2, window=2
    )
    np.testing.assert_allclose(block.apply({"params": params}, x, condition), expected, rtol=2e-5, atol=2e-5)


def test_attention_stays_within_its_window():
    block, x, condition = AttentionBlock(2, 2, 2), normal(1, 4, 4, 4), normal(1, 3, seed=1)
    params = random_params(block, x, condition)
    change = np.abs(
        block.apply({"params": params}, x.copy(), condition) - _with_first_pixel_moved(block, params, x, condition)
    )
    assert np.all(change[:, :2, :2].max(-1) > 0) and change.max(-1)[0, 2:].max() == change.max(-1)[0, :, 2:].max() == 0


def _with_first_pixel_moved(block, params, x, condition):
    moved = x.copy()
    moved[:, 0, 0, 0] += 1
    return block.apply({"params": params}, moved, condition)


def test_convolution_block_mixes_neighbours_only():
    block, x, condition = ConvolutionBlock(), normal(1, 4, 4, 4), normal(1, 3, seed=1)
    params = random_params(block, x, condition)
    change = np.abs(
        block.apply({"params": params}, x.copy(), condition) - _with_first_pixel_moved(block, params, x, condition)
    )
    near = np.zeros((4, 4), bool)
    near[:2, :2] = True
    np.testing.assert_array_equal(change[0].max(-1) > 0, near)


def test_condition_starts_without_an_effect():
    layer, x = Modulated(), normal(2, 2, 2, 6)
    params = layer.init(jax.random.key(0), x, normal(2, 3))["params"]
    np.testing.assert_allclose(
        layer.apply({"params": params}, x, normal(2, 3, seed=5)), layer_norm(x), rtol=1e-5, atol=1e-6
    )


def parameters_in_closed_form(sizes: Sizes, num_symbols: int) -> int:
    width, condition = sizes.width, sizes.condition

    def layer(inputs, outputs):
        return inputs * outputs + outputs

    modulation = layer(condition, 2 * width)
    block = {
        "convolution": modulation + layer(9 * width, width) + layer(width, width),
        "attention": 2 * modulation
        + layer(width, 3 * width)
        + layer(width, width)
        + layer(width, sizes.mlp_ratio * width)
        + layer(sizes.mlp_ratio * width, width)
        + (2 * sizes.window - 1) ** 2 * sizes.num_heads,
    }
    blocks = 2 * sum(block[kind] for kind in sizes.blocks)
    encoder = layer(4, condition) + layer(48, width) + layer(width, 2 * num_symbols)
    decoder = layer(8, condition) + layer(2 * num_symbols, width) + layer(num_symbols, width) + layer(width, 48)
    return blocks + encoder + decoder + 2 * layer(condition, 2 * num_symbols)


@pytest.mark.parametrize("num_symbols", [4, 8, 16])
@pytest.mark.parametrize("variant", VARIANTS)
def test_parameters_are_those_of_the_closed_form(variant, num_symbols):
    sizes = VARIANTS[variant]
    images, one = jnp.zeros((1, 32, 32, 3)), jnp.zeros(1)
    encoder = shapes_of(Encoder(num_symbols, sizes), images, one)
    features, no_eff = jnp.zeros((1, 8, 8, 2 * num_symbols)), jnp.ones((1, 8, 8, num_symbols))
    decoder = shapes_of(Decoder(sizes), features, no_eff, one, one)
    assert count(encoder) + count(decoder) == parameters_in_closed_form(sizes, num_symbols)


def test_unknown_block_is_refused():
    with pytest.raises(ValueError, match="Sizes.blocks must be 'convolution' or 'attention' each, got 'pooling'"):
        shapes_of(Encoder(4, Sizes(32, ("pooling",))), jnp.zeros((1, 32, 32, 3)), jnp.zeros(1))


def test_snr_enters_as_powers():
    np.testing.assert_allclose(snr_features(jnp.array([0.0, 7.0, 14.0])), [[1, -1, 1, -1], [1, 0, 0, 0], [1, 1, 1, 1]])


@pytest.fixture(scope="module")
def decoder():
    arrays = normal(2, 4, 4, 8), np.exp(normal(2, 4, 4, 4, seed=1)), SNR_DB, GAIN
    network = Decoder(TINY)
    params = random_params(network, *arrays)
    return arrays, jax.jit(lambda *arrays: network.apply({"params": params}, *arrays))


def test_symbols_that_were_not_sent_say_nothing(decoder):
    (x_hat, no_eff, *known), decode = decoder
    no_eff[..., 2:] = np.inf
    first, second = (
        decode(np.concatenate([x_hat[..., :4], rest], -1), no_eff, *known)
        for rest in (normal(2, 4, 4, 4), normal(2, 4, 4, 4, seed=7))
    )
    np.testing.assert_array_equal(first, second)
    assert np.isfinite(first).all()
    heard = decode(x_hat + 1, no_eff, *known)
    assert np.abs(heard - first).max() > 1e-3


def test_decoder_looks_at_all_that_it_is_told(decoder):
    (x_hat, no_eff, snr_db, gain), decode = decoder
    no_eff = np.where(np.isinf(no_eff), 1.0, no_eff).astype(np.float32)
    before = decode(x_hat, no_eff, snr_db, gain)
    for others in (
        (x_hat, 2 * no_eff, snr_db, gain),
        (x_hat, no_eff, snr_db + 1, gain),
        (x_hat, no_eff, snr_db, 2 * gain),
    ):
        assert np.abs(decode(*others) - before).max() > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("no", [1e-4, 1.0, 1e4, np.inf])
def test_gradients_are_finite(no):
    network, encoder = Decoder(TINY), Encoder(4, TINY)
    images = np.float32(np.random.default_rng(0).uniform(size=(2, 16, 16, 3)))
    no_eff = jnp.full((2, 4, 4, 4), no, jnp.float32)
    params = (
        encoder.init(jax.random.key(0), images, SNR_DB),
        network.init(jax.random.key(1), jnp.zeros((2, 4, 4, 8)), no_eff, SNR_DB, GAIN),
    )

    @jax.jit
    def loss(params, images, gain):
        features = encoder.apply(params[0], images, SNR_DB)
        return jnp.square(network.apply(params[1], features, no_eff, SNR_DB, gain) - images).mean()

    for leaf in jax.tree.leaves(jax.jit(jax.grad(loss, (0, 1, 2)))(params, images, GAIN)):
        assert np.isfinite(leaf).all()


def test_pictures_of_any_tiled_size():
    images = jnp.zeros((1, 16, 48, 3))
    network = Encoder(4, TINY)
    features = jax.eval_shape(lambda: network.init_with_output(jax.random.key(0), images, jnp.zeros(1))[0])
    assert features.shape == (1, 4, 12, 8)
    with pytest.raises(ValueError, match="window 4 does not divide the grid of 4 x 6 tokens"):
        shapes_of(network, jnp.zeros((1, 16, 24, 3)), jnp.zeros(1))
