import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.models.fast_gradients import convolve, fast_gradients, normalize_batch
from lvm_mtc.models.flashsam_blocks import BATCH_NORM_MOMENTUM, C3k2, Conv, ConvBlock

pytestmark = pytest.mark.usefixtures("fast_compile")


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def float64_norm(x, scale, shift, epsilon, cotangent):
    """Value and gradients of batch norm, in float64, from the definition."""
    x, g = (a.astype(np.float64).reshape(-1, a.shape[-1]) for a in (x, cotangent))
    inverse = 1 / np.sqrt(x.var(0) + epsilon)
    hat = (x - x.mean(0)) * inverse
    grad_hat = g * scale
    grad_x = inverse * (grad_hat - grad_hat.mean(0) - hat * (grad_hat * hat).mean(0))
    return hat * scale + shift, grad_x, (g * hat).sum(0), g.sum(0)


def test_batch_norm_equals_its_definition():
    x, cotangent = 2 * normal(0, 3, 4, 5, 6) + 1, normal(1, 3, 4, 5, 6)
    scale, shift = 1 + 0.3 * normal(2, 6), normal(3, 6)
    y, backward = jax.vjp(lambda *a: normalize_batch(*a, 1e-3), x, scale, shift)
    found = [y, *backward(jnp.asarray(cotangent))]
    wanted = float64_norm(x, scale, shift, 1e-3, cotangent)
    for name, a, b in zip("y x scale shift".split(), found, wanted, strict=True):
        np.testing.assert_allclose(np.asarray(a).reshape(b.shape), b, atol=3e-5, err_msg=name)
    wrong = float64_norm(x, scale, shift, 1e-1, cotangent)[1]
    assert np.abs(np.asarray(found[1]).reshape(wrong.shape) - wrong).max() > 1e-3


@pytest.mark.parametrize("size, stride, side", [(1, 1, 6), (3, 2, 8), (3, 2, 7), (3, 1, 6)])
def test_convolution_and_its_gradients_equal_lax(size, stride, side):
    x, kernel = normal(0, 2, side, side + 2, 5), normal(1, size, size, 5, 4)
    pad = size // 2

    def plain(x, kernel):
        return jax.lax.conv_general_dilated(
            x, kernel, (stride,) * 2, ((pad, pad),) * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    y, backward = jax.vjp(lambda x, k: convolve(x, k, stride), x, kernel)
    wanted, wanted_backward = jax.vjp(plain, x, kernel)
    cotangent = jnp.asarray(normal(2, *wanted.shape))
    np.testing.assert_allclose(y, wanted, atol=1e-5)
    for a, b in zip(backward(cotangent), wanted_backward(cotangent), strict=True):
        np.testing.assert_allclose(a, b, atol=5e-5)


class Stem(nn.Module):
    """All that is swapped, and what is not: strides, 1x1, 3x3, depthwise, biases, norms."""

    @nn.compact
    def __call__(self, x, train=False):
        x = ConvBlock(8, 3, 2, name="down")(x, train)
        x = C3k2(8, 1, True, name="stage")(x, train)
        x = ConvBlock(8, 3, depthwise=True, name="depthwise")(x, train)
        return Conv(3, bias_value=0.5, name="last")(x)


@pytest.fixture(scope="module")
def stem(fast_compile):
    model, x = Stem(), normal(0, 2, 8, 8, 3)
    return model, jax.jit(model.init)(jax.random.key(0), x), x


@pytest.mark.slow
def test_a_network_keeps_its_outputs_statistics_and_gradients(stem):
    model, variables, x = stem
    target = normal(1, 2, 4, 4, 3)

    def loss(params):
        out, after = model.apply({**variables, "params": params}, x, train=True, mutable=["batch_stats"])
        return jnp.mean((out - target) ** 2), after

    def step(params):
        return jax.value_and_grad(loss, has_aux=True)(params)

    (value, after), grads = jax.jit(step)(variables["params"])
    with fast_gradients():
        (fast_value, fast_after), fast_grads = jax.jit(lambda params: step(params))(variables["params"])
    np.testing.assert_allclose(fast_value, value, rtol=1e-5)
    largest = max(float(jnp.abs(g).max()) for g in jax.tree.leaves(grads))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4 * largest), fast_grads, grads)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), fast_after, after)
    moved = 1 - float(jax.tree.leaves(after)[1].max())
    assert 0 < abs(moved) < 1 and BATCH_NORM_MOMENTUM < 1


def test_it_is_really_swapped_inside_and_only_there(stem):
    model, variables, x = stem

    def program():
        def forward(v):
            return model.apply(v, x, train=True, mutable=["batch_stats"])[0]

        return str(jax.make_jaxpr(forward)(variables))

    before = program()
    with fast_gradients():
        inside = program()
    assert inside.count("custom_vjp_call") > before.count("custom_vjp_call")
    assert program() == before


def test_running_statistics_are_left_alone(stem):
    model, variables, x = stem
    wanted = jax.jit(model.apply)(variables, x)
    with fast_gradients():
        np.testing.assert_allclose(jax.jit(lambda v, x: model.apply(v, x))(variables, x), wanted, atol=1e-5)
