"""CLIP's towers: a float64 reference, published sizes, the end token, activations, gradients, errors."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.special import erf

from lvm_mtc.models.clip import CLIP_VARIANTS, PIXEL_MEAN, PIXEL_STD, ClipVariant, clip, cosine, normalize_pixels

pytestmark = pytest.mark.usefixtures("fast_compile")

SMALL = ClipVariant(
    image_size=16, patch_size=8, image_width=12, image_depth=2, image_heads=3, text_width=8, text_depth=2, text_heads=2,
    embed_dim=6, context_length=7, vocab_size=20,
)  # fmt: skip
END = SMALL.vocab_size - 1
NUMPY_ACTIVATIONS = {
    "quick_gelu": lambda x: x / (1 + np.exp(-1.702 * x)),
    "gelu": lambda x: 0.5 * x * (1 + erf(x / np.sqrt(2))),
}


@pytest.fixture(scope="module")
def params():
    """Random numbers everywhere, norms and biases included."""
    shapes = jax.eval_shape(
        lambda: clip(SMALL, "gelu").init(
            jax.random.key(0), jnp.zeros((1, 16, 16, 3)), jnp.zeros((1, SMALL.context_length), jnp.int32)
        )
    )
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda s: jnp.asarray(rng.normal(scale=0.4, size=s.shape), jnp.float32), shapes)["params"]


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(1)
    tokens = rng.integers(0, END, (3, SMALL.context_length))
    tokens[0, 2] = tokens[1, 6] = tokens[2, 1] = tokens[2, 4] = END
    return jnp.asarray(rng.normal(size=(2, 16, 16, 3)), jnp.float32), jnp.asarray(tokens)


def apply(model, params, *args, method=None):
    """One compiled program."""
    return jax.jit(lambda p, *a: model.apply({"params": p}, *a, method=method))(params, *args)


def layer_norm(x, p):
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(var + 1e-5) * p["scale"] + p["bias"]


def numpy_block(x, p, heads, activation, causal):
    n, width = x.shape
    y = layer_norm(x, p["norm1"]) @ p["qkv"]["kernel"] + p["qkv"]["bias"]
    out = np.zeros((n, width))
    for head in range(heads):
        q, k, v = (y[:, i * width :][:, head * width // heads : (head + 1) * width // heads] for i in range(3))
        for token in range(n):
            seen = token + 1 if causal else n
            logits = q[token] @ k[:seen].T / np.sqrt(width // heads)
            weights = np.exp(logits - logits.max())
            out[token, head * width // heads : (head + 1) * width // heads] = weights / weights.sum() @ v[:seen]
    x = x + out @ p["proj"]["kernel"] + p["proj"]["bias"]
    y = NUMPY_ACTIVATIONS[activation](layer_norm(x, p["norm2"]) @ p["fc1"]["kernel"] + p["fc1"]["bias"])
    return x + y @ p["fc2"]["kernel"] + p["fc2"]["bias"]


def numpy_image(image, p, activation):
    patches = [image[r : r + 8, c : c + 8].reshape(-1) for r in (0, 8) for c in (0, 8)]
    x = np.stack([p["cls_token"], *(patch @ p["patch_embed"]["kernel"] for patch in patches)]) + p["pos_embed"]
    x = layer_norm(x, p["norm_pre"])
    for i in range(2):
        x = numpy_block(x, p[f"block{i}"], 3, activation, causal=False)
    return layer_norm(x[0], p["norm"]) @ p["head"]["kernel"]


def numpy_text(tokens, p, activation):
    x = p["token_embed"]["embedding"][tokens] + p["pos_embed"]
    for i in range(2):
        x = numpy_block(x, p[f"block{i}"], 2, activation, causal=True)
    return layer_norm(x[list(tokens).index(END)], p["norm"]) @ p["head"]["kernel"]


@pytest.mark.parametrize("activation", NUMPY_ACTIVATIONS)
def test_towers_are_the_float64_reference(params, inputs, activation):
    images, tokens = inputs
    model = clip(SMALL, activation)
    p64 = jax.tree.map(lambda a: np.asarray(a, np.float64), params)
    want_image = np.stack([numpy_image(np.asarray(i, np.float64), p64["image"], activation) for i in images])
    want_text = np.stack([numpy_text(t, p64["text"], activation) for t in np.asarray(tokens)])
    got_image = apply(model, params, images, method="image_features")
    got_text = apply(model, params, tokens, method="text_features")
    np.testing.assert_allclose(got_image, want_image, rtol=0, atol=2e-5 * np.abs(want_image).max())
    np.testing.assert_allclose(got_text, want_text, rtol=0, atol=2e-5 * np.abs(want_text).max())
    scale = np.exp(p64["logit_scale"])
    unit = [a / np.linalg.norm(a, axis=-1, keepdims=True) for a in (want_image, want_text)]
    logits = apply(model, params, images, tokens)
    np.testing.assert_allclose(logits, scale * unit[0] @ unit[1].T, rtol=0, atol=2e-5 * scale)
    # The comparison sees the other activation, whose scores look just as plausible.
    other = clip(SMALL, "gelu" if activation == "quick_gelu" else "quick_gelu")
    wrong = apply(other, params, images, tokens)
    assert np.abs(wrong - logits).max() > 100 * 2e-5 * scale


@pytest.mark.parametrize(
    ("variant", "count"),
    # Numbers of parameters of OpenAI's models (as counted by OpenCLIP's model profile, in millions 151.28, 149.62,
    # 427.62 and 427.94).
    [("vit-b/32", 151_277_313), ("vit-b/16", 149_620_737), ("vit-l/14", 427_616_513), ("vit-l/14@336", 427_944_193)],
)
def test_published_sizes(variant, count):
    size = CLIP_VARIANTS[variant].image_size
    shapes = jax.eval_shape(
        lambda: clip(variant, "gelu").init(
            jax.random.key(0), jnp.zeros((1, size, size, 3)), jnp.zeros((1, 77), jnp.int32)
        )
    )
    assert sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(shapes)) == count


def test_nothing_behind_the_first_end_token_matters(params, inputs):
    tokens = np.array(inputs[1])
    model = clip(SMALL, "quick_gelu")
    changed = tokens.copy()
    changed[0, 3:], changed[2, 2:] = END, 0
    features = apply(model, params, jnp.asarray(np.concatenate([tokens, changed])), method="text_features")
    np.testing.assert_array_equal(features[:3], features[3:])
    changed[0, 1] += 1
    moved = apply(model, params, jnp.asarray(np.concatenate([tokens, changed])), method="text_features")
    assert np.abs(moved[3] - moved[0]).max() > 0.01


def test_cosine_and_pixels_in_closed_form():
    a = jnp.array([[3.0, 4.0], [0.0, 2.0], [0.0, 0.0]])
    np.testing.assert_allclose(cosine(a, a[:2]), [[1, 0.8], [0.8, 1], [0, 0]], atol=1e-6)
    pixels = normalize_pixels(jnp.broadcast_to(jnp.asarray(PIXEL_MEAN), (2, 2, 3)) + jnp.asarray(PIXEL_STD)[None, None])
    np.testing.assert_allclose(pixels, 1, rtol=1e-5)


def test_gradients(params, inputs):
    images, tokens = inputs
    model = clip(SMALL, "gelu")
    score = jax.jit(lambda x: model.apply({"params": params}, x, tokens).sum())
    check_grads(score, (images,), 1, modes=["rev"], rtol=0.02)
    gradient = jax.grad(lambda a: cosine(a, jnp.ones((1, 3))).sum())(jnp.zeros((1, 3)))
    assert np.isfinite(gradient).all()


def test_wrong_input(params, inputs):
    images, tokens = inputs
    with pytest.raises(ValueError, match=r"variant must be one of vit-b/32.*got 'vit-h'"):
        clip("vit-h", "gelu")
    with pytest.raises(ValueError, match=r"activation must be one of quick_gelu, gelu, got 'relu'"):
        clip("vit-b/32", "relu")
    with pytest.raises(ValueError, match=r"image_width 12 is no multiple of image_heads 5"):
        clip(dataclasses.replace(SMALL, image_heads=5), "gelu")
    model = clip(SMALL, "gelu")
    with pytest.raises(ValueError, match=r"images \(2, 16, 8, 3\) do not fit"):
        apply(model, params, images[:, :, :8], method="image_features")
    with pytest.raises(ValueError, match=r"tokens \(3, 4\) do not fit"):
        apply(model, params, tokens[:, :4], method="text_features")
