"""WITT: window attention and masks in plain NumPy, orders of merging and dividing, ModNet, sizes in closed form."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from lvm_mtc.schemes.witt.blocks import (
    ModNet,
    PatchDividing,
    PatchMerging,
    SwinBlock,
    WindowAttention,
    shift_mask,
)
from lvm_mtc.schemes.witt.network import CIFAR_SIZES, HIGH_RESOLUTION_SIZES, Witt, WittSizes

pytestmark = pytest.mark.usefixtures("fast_compile")

RNG = np.random.default_rng(0)


def random_params(module, *arrays, seed=0, **options):
    """Random float32 ones of the shapes that ``init`` gives."""
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *arrays, **options))["params"]
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda a: np.float32(rng.normal(size=a.shape) * a.shape[0] ** -0.5), shapes)


def apply(module, params, *arrays):
    return jax.jit(lambda params, *arrays: module.apply({"params": params}, *arrays))(params, *arrays)


def normal(*shape):
    return np.float32(RNG.normal(size=shape))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def dense(x, p):
    return np.asarray(x) @ np.float64(p["kernel"]) + (np.float64(p["bias"]) if "bias" in p else 0)


def layer_norm(x, p):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * p["scale"] + p["bias"]


def attention(tokens, places, p, num_heads, window, sees=lambda a, b: True):
    """Self-attention of one set of tokens at ``places`` (row, column) in a window, pair by pair, in float64."""
    width = tokens.shape[-1]
    head = width // num_heads
    query, key, value = np.split(dense(np.float64(tokens), p["qkv"]), 3, axis=-1)
    out = np.zeros((len(tokens), width))
    for h in range(num_heads):
        part = slice(h * head, (h + 1) * head)
        for i, (row, column) in enumerate(places):
            logits = np.full(len(tokens), -np.inf)
            for j, (key_row, key_column) in enumerate(places):
                if sees(i, j):
                    line = (row - key_row + window - 1) * (2 * window - 1) + column - key_column + window - 1
                    logits[j] = query[i, part] @ key[j, part] / np.sqrt(head) + p["position_bias"][line, h]
            out[i, part] = softmax(logits) @ value[:, part]
    return dense(out, p["proj"])


@pytest.mark.parametrize("window", [2, 3])
def test_attention_in_one_window(window):
    module, x = WindowAttention(2), normal(1, 1, window**2, 8)
    params = random_params(module, x)
    assert params["position_bias"].shape == ((2 * window - 1) ** 2, 2)
    places = [divmod(i, window) for i in range(window**2)]
    got = apply(module, params, x)
    np.testing.assert_allclose(got[0, 0], attention(x[0, 0], places, params, 2, window), rtol=0, atol=2e-5)
    # Rows and columns are not the same to it.
    turned = attention(x[0, 0], [p[::-1] for p in places], params, 2, window)
    assert np.abs(got[0, 0] - turned).max() > 1e-2


@pytest.mark.parametrize(("grid", "window", "shift"), [((4, 6), 2, 1), ((8, 8), 4, 2), ((9, 6), 3, 1)])
def test_shift_mask_lets_those_see_each_other_that_were_neighbours(grid, window, shift):
    mask = shift_mask(grid, window, shift)
    rows, columns = grid
    for number in range(mask.shape[0]):
        top, left = (window * n for n in divmod(number, columns // window))
        # Where the positions of this window were before the picture was rolled.
        places = [divmod(i, window) for i in range(window**2)]
        before = [((top + r + shift) % rows, (left + c + shift) % columns) for r, c in places]
        for i, a in enumerate(before):
            for j, b in enumerate(before):
                near = abs(a[0] - b[0]) < window and abs(a[1] - b[1]) < window
                assert mask[number, i, j] == near
    assert not mask.all() and mask.any(-1).all()


def block_case(shifted, grid, window=2):
    module, x = SwinBlock(2, window, shifted), normal(1, *grid, 8)
    params = random_params(module, x, seed=3)
    return params, x, apply(module, params, x)


@pytest.mark.parametrize(("shifted", "grid", "window"), [(False, (4, 6), 2), (True, (4, 6), 2), (True, (2, 4), 2)])
def test_block_against_every_position_by_itself(shifted, grid, window):
    params, x, got = block_case(shifted, grid, window)
    shift = window // 2 if shifted and min(grid) > window else 0
    # Position (r, c) lies in window ((r - shift) // window, (c - shift) // window), which the border cuts.
    owner = {(r, c): ((r - shift) // window, (c - shift) // window) for r in range(grid[0]) for c in range(grid[1])}
    y = layer_norm(np.float64(x[0]), params["norm1"])
    attended = np.zeros_like(y)
    for name in set(owner.values()):
        places = [place for place, of in owner.items() if of == name]
        tokens = np.stack([y[place] for place in places])
        for place, value in zip(places, attention(tokens, places, params["attention"], 2, window), strict=True):
            attended[place] = value
    z = np.float64(x[0]) + attended
    hidden = dense(layer_norm(z, params["norm2"]), params["fc1"])
    assert hidden.shape[-1] == 4 * 8
    want = z + dense(hidden * (1 + erf(hidden / np.sqrt(2))) / 2, params["fc2"])
    np.testing.assert_allclose(got[0], want, rtol=0, atol=1e-4)


def test_shifted_and_unshifted_blocks_differ():
    params, x, plain = block_case(False, (4, 6))
    assert np.abs(apply(SwinBlock(2, 2, True), params, x) - plain).max() > 1e-2


def test_merging_takes_neighbours_column_by_column():
    module, x = PatchMerging(5), normal(2, 4, 6, 3)
    params = random_params(module, x)
    got = apply(module, params, x)
    assert got.shape == (2, 2, 3, 5) and set(params["reduction"]) == {"kernel"}
    four = np.concatenate([x[1, 2, 4], x[1, 3, 4], x[1, 2, 5], x[1, 3, 5]])
    want = dense(layer_norm(np.float64(four), params["norm"]), params["reduction"])
    np.testing.assert_allclose(got[1, 1, 2], want, rtol=0, atol=1e-5)
    rows_first = np.concatenate([x[1, 2, 4], x[1, 2, 5], x[1, 3, 4], x[1, 3, 5]])
    assert np.abs(dense(layer_norm(rows_first, params["norm"]), params["reduction"]) - want).max() > 1e-2


def test_dividing_spreads_a_position_row_by_row():
    module, x = PatchDividing(5), normal(2, 3, 4, 8)
    params = random_params(module, x)
    got = apply(module, params, x)
    assert got.shape == (2, 6, 8, 5) and set(params["expansion"]) == {"kernel"}
    wide = dense(layer_norm(np.float64(x[1, 2, 1]), params["norm"]), params["expansion"])
    for i in range(2):
        for j in range(2):
            np.testing.assert_allclose(got[1, 4 + i, 2 + j], [wide[4 * c + 2 * i + j] for c in range(5)], atol=1e-5)


def test_modnet_in_numpy():
    module, x, snr_db = ModNet(), normal(2, 3, 2, 8), np.float32([1.0, 13.0])
    params = random_params(module, x, snr_db)
    got = apply(module, params, x, snr_db)

    def sigmoid(v):
        return 1 / (1 + np.exp(-v))

    y = np.float64(x)
    for i in range(7):
        scale = np.float64(snr_db)[:, None]
        for layer in (f"snr{i}_fc1", f"snr{i}_fc2"):
            scale = np.maximum(dense(scale, params[layer]), 0)
        y = dense(y, params[f"fc{i}"]) * sigmoid(dense(scale, params[f"snr{i}_fc3"]))[:, None, None]
        assert y.shape[-1] == 12
    np.testing.assert_allclose(got, x * sigmoid(dense(y, params["fc7"])), rtol=0, atol=1e-5)
    assert np.abs(apply(module, params, x, snr_db[::-1]) - got).max() > 1e-3


def test_modnet_takes_features_as_constants():
    module, x, snr_db = ModNet(), normal(1, 1, 1, 8), np.float32([7.0])
    params = random_params(module, x, snr_db)
    gradient = jax.jit(jax.grad(lambda x: module.apply({"params": params}, x, snr_db).sum()))(x)
    np.testing.assert_allclose(gradient, apply(module, params, x, snr_db) / x, rtol=1e-4)


# Sizes of the published code: widths, depths and heads of the encoder, window, and the pictures' side.
PUBLISHED = {
    "cifar": (CIFAR_SIZES, (128, 256), (2, 4), (4, 8), 2, 32),
    "high_resolution": (HIGH_RESOLUTION_SIZES, (128, 192, 256, 320), (2, 2, 6, 2), (4, 6, 8, 10), 8, 256),
}


def shapes_of(codec, side):
    """Parameters of both ends and the shapes of features and pictures, from tracing alone."""

    def run(key):
        snr_db = jnp.zeros(1)
        features, encoder = codec.init_with_output(key, jnp.zeros((1, side, side, 3)), snr_db)
        images, decoder = codec.init_with_output(jax.random.clone(key), features, snr_db, method="decode")
        return encoder["params"], decoder["params"], features, images

    return jax.eval_shape(run, jax.random.key(0))


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_in_closed_form(name):
    sizes, widths, depths, heads, window, side = PUBLISHED[name]
    c, last = 32 if name == "cifar" else 96, widths[-1]
    encoder, decoder, features, images = shapes_of(Witt(c, sizes), side)
    rows = side // 2 ** len(depths)
    assert features.shape == (1, rows, rows, c) and images.shape == (1, side, side, 3)

    # Norms 4 d, queries to values 3 d^2 + 3 d, projection d^2 + d, MLP 8 d^2 + 5 d, biases of positions.
    blocks = sum(
        depth * (12 * d * d + 13 * d + (2 * window - 1) ** 2 * h)
        for d, depth, h in zip(widths, depths, heads, strict=True)
    )
    hidden = last * 3 // 2
    square = hidden * hidden + hidden
    modnet = (last * hidden + hidden) + 6 * square + (hidden * last + last) + 7 * (2 * hidden + 2 * square)
    embedding = 2 * 2 * 3 * widths[0] + widths[0]
    pairs = list(zip(widths, widths[1:], strict=False))
    merging = sum(2 * 4 * a + 4 * a * b for a, b in pairs)
    dividing = sum(2 * b + 4 * a * b for a, b in pairs) + 2 * widths[0] + 4 * 3 * widths[0]
    assert count(encoder) == embedding + blocks + merging + 2 * last + modnet + (last * c + c)
    assert count(decoder) == (c * last + last) + modnet + blocks + dividing
    # What PyTorch counts in the authors' code.
    published = {"cifar": (6_857_864, 6_857_192), "high_resolution": (14_103_192, 14_099_832)}
    assert (count(encoder), count(decoder)) == published[name]
    if name == "cifar":
        assert count(shapes_of(Witt(c, sizes, modnet=False), side)[:2]) == sum(published[name]) - 2 * modnet


@pytest.mark.slow
def test_the_whole_codec_runs_its_parts_in_order():
    codec, images, snr_db = Witt(6, WittSizes((1, 2), (8, 12), (2, 3), 2)), normal(2, 16, 8, 3), np.float32([1.0, 13.0])
    encoder = random_params(codec, images, snr_db)
    decoder = random_params(codec, normal(2, 4, 2, 6), snr_db, method="decode")

    @jax.jit
    def both(encoder, decoder):
        features = codec.apply({"params": encoder}, images, snr_db)
        return features, codec.apply({"params": decoder}, features, snr_db, method="decode")

    @jax.jit
    def piece_by_piece(encoder, decoder):
        def run(module, params, *arrays):
            return module.apply({"params": params}, *arrays)

        x = jnp.einsum("brihjc,ijcd->brhd", images.reshape(2, 8, 2, 4, 2, 3), encoder["embedding"]["kernel"])
        x = x + encoder["embedding"]["bias"].reshape(1, 1, 1, -1)
        x = run(SwinBlock(2, 2, False), encoder["encoder_stage0_block0"], x)
        x = run(PatchMerging(12), encoder["merging0"], x)
        x = run(SwinBlock(3, 2, False), encoder["encoder_stage1_block0"], x)
        x = run(SwinBlock(3, 2, True), encoder["encoder_stage1_block1"], x)
        x = run(nn.LayerNorm(epsilon=1e-5), encoder["norm"], x)
        features = run(nn.Dense(6), encoder["head"], run(ModNet(), encoder["encoder_modnet"], x, snr_db))
        x = run(ModNet(), decoder["decoder_modnet"], run(nn.Dense(12), decoder["decoder_head"], features), snr_db)
        x = run(SwinBlock(3, 2, False), decoder["decoder_stage1_block0"], x)
        x = run(SwinBlock(3, 2, True), decoder["decoder_stage1_block1"], x)
        x = run(PatchDividing(8), decoder["dividing1"], x)
        x = run(SwinBlock(2, 2, False), decoder["decoder_stage0_block0"], x)
        return features, run(PatchDividing(3), decoder["dividing0"], x)

    for got, want in zip(both(encoder, decoder), piece_by_piece(encoder, decoder), strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())


def test_wrong_input_is_named():
    images = jnp.zeros((1, 32, 32, 3))
    with pytest.raises(ValueError, match="Witt.num_features must be even and at least 2, got 7"):
        jax.eval_shape(lambda: Witt(7).init(jax.random.key(0), images, jnp.zeros(1)))
    with pytest.raises(ValueError, match="Witt.sizes needs as many depths as widths and heads that divide them"):
        jax.eval_shape(lambda: Witt(6, WittSizes((1,), (8,), (3,), 2)).init(jax.random.key(0), images, jnp.zeros(1)))
    with pytest.raises(ValueError, match=r"sides in multiples of 128, got \(1, 32, 32, 3\)"):
        jax.eval_shape(lambda: Witt(6, HIGH_RESOLUTION_SIZES).init(jax.random.key(0), images, jnp.zeros(1)))
