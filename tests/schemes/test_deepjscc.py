"""DeepJSCC: a float64 reference of the whole codec, sizes in closed form, symbols per source sample."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.schemes.deepjscc.network import DeepJscc

pytestmark = pytest.mark.usefixtures("fast_compile")

SNR = jnp.zeros(2)


def random_params(num_features, seed=0):
    codec, key = DeepJscc(num_features), jax.random.key(0)
    sent = jax.eval_shape(lambda: codec.init(key, jnp.zeros((1, 8, 8, 3)), SNR))["params"]
    received = jax.eval_shape(lambda: codec.init(key, jnp.zeros((1, 2, 2, num_features)), SNR, method="decode"))
    rng = np.random.default_rng(seed)

    def fill(leaf):
        fan = np.prod(leaf.shape[:-1]) if leaf.ndim > 1 else 4
        return np.float32(rng.normal(size=leaf.shape) * 1.5 * fan**-0.5)

    return jax.tree.map(fill, sent | received["params"])


def prelu(x, slope):
    return np.where(x > 0, x, slope * x)


def convolve(x, kernel, bias, stride):
    """TensorFlow's SAME with even sides: two pixels before and after at stride 1, one before and two after at 2."""
    before, after = (2, 2) if stride == 1 else (1, 2)
    padded = np.pad(x, ((before, after), (before, after), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(0, 1))[::stride, ::stride]
    return np.einsum("xycij,ijco->xyo", windows, kernel) + bias


def spread(y, kernel, bias, stride):
    """The adjoint of ``convolve`` with the kernel turned by 180 degrees, one pixel after the other."""
    rows, columns = y.shape[:2]
    before = 2 if stride == 1 else 1
    out = np.zeros((stride * rows + 8, stride * columns + 8, kernel.shape[-1]))
    for i in range(rows):
        for j in range(columns):
            patch = np.einsum("c,ijco->ijo", y[i, j], kernel[::-1, ::-1])
            out[4 - before + stride * i :][:5, 4 - before + stride * j :][:, :5] += patch
    return out[4 : 4 + stride * rows, 4 : 4 + stride * columns] + bias


def reference_encoder(image, p):
    x = image
    for i, stride in enumerate((2, 2, 1, 1, 1)):
        x = prelu(convolve(x, p[f"down{i}"]["kernel"], p[f"down{i}"]["bias"], stride), p[f"down_slope{i}"]["slope"])
    return x


def reference_decoder(x, p):
    for i, stride in enumerate((1, 1, 1, 2, 2)):
        x = spread(x, p[f"up{i}"]["kernel"], p[f"up{i}"]["bias"], stride)
        if i < 4:
            x = prelu(x, p[f"up_slope{i}"]["slope"])
    return 1 / (1 + np.exp(-x))


def test_both_ends_are_the_float64_reference():
    params, codec = random_params(8), DeepJscc(8)
    images = np.random.default_rng(1).uniform(size=(2, 16, 24, 3)).astype(np.float32)
    exact = jax.tree.map(np.float64, params)
    encode = jax.jit(lambda p, x: codec.apply({"params": p}, x, method="encode"))
    features = encode(params, images)
    want = np.stack([reference_encoder(image, exact) for image in np.float64(images)])
    assert features.shape == (2, 4, 6, 8)
    np.testing.assert_allclose(features, want, rtol=0, atol=1e-5 * np.abs(want).max())
    assert np.abs(encode(params, np.roll(images, 1, axis=2)) - want).max() > 1e-2 * np.abs(want).max()

    decode = jax.jit(lambda p, x: codec.apply({"params": p}, x, SNR, method="decode"))
    painted = np.stack([reference_decoder(x, exact) for x in want])
    got = decode(params, np.float32(want))
    assert got.shape == images.shape and painted.std() > 0.05
    np.testing.assert_allclose(got, painted, rtol=0, atol=1e-5)
    assert np.abs(decode(params, np.float32(want[:, ::-1])) - painted).max() > 1e-2


@pytest.mark.parametrize("c", [8, 16, 32])
def test_size_in_closed_form(c):
    sizes = {name: sum(leaf.size for leaf in jax.tree.leaves(part)) for name, part in random_params(c).items()}
    # Kernels, biases, slopes.
    encoder = 25 * (3 * 16 + 16 * 32 + 2 * 32 * 32 + 32 * c) + 2 * (16 + 3 * 32 + c)
    decoder = 25 * (c * 32 + 2 * 32 * 32 + 32 * 16 + 16 * 3) + 2 * (3 * 32 + 16) + 3
    assert sum(size for name, size in sizes.items() if name.startswith("down")) == encoder
    assert sum(size for name, size in sizes.items() if name.startswith("up")) == decoder


@pytest.mark.parametrize(
    ("c", "symbols", "cbr"),
    [(8, 256, Fraction(1, 12)), (16, 512, Fraction(1, 6)), (24, 768, Fraction(1, 4)), (32, 1024, Fraction(1, 3))],
)
@pytest.mark.parametrize("side", [32, 96])
def test_symbols_per_source_sample(c, symbols, cbr, side):
    images = jnp.zeros((1, side, side, 3))
    shape = jax.eval_shape(lambda p: DeepJscc(c).apply({"params": p}, images, SNR), random_params(c))
    found = shape.size // 2
    assert found == symbols * (side // 32) ** 2
    assert Fraction(found, side * side * 3) == cbr


@pytest.mark.parametrize("wrong", [0, 7])
def test_a_width_that_has_no_symbols_is_named(wrong):
    with pytest.raises(ValueError, match=f"DeepJscc.num_features must be even and at least 2, got {wrong}"):
        DeepJscc(wrong).init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)), SNR)


def test_pictures_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"sides in multiples of 4, got \(1, 30, 32, 3\)"):
        DeepJscc(8).init(jax.random.key(0), jnp.zeros((1, 30, 32, 3)), SNR)
