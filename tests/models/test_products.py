"""Affine maps and 3 x 3 convolution against NumPy in float64, forwards and backwards."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from lvm_mtc.models.products import Dense, affine, convolve3


def convolution_of_sums(x, kernel, bias):
    """One product at each place and offset."""
    batch, rows, columns, channels = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    out = np.zeros((batch, rows, columns, kernel.shape[1])) + bias
    for offset in range(9):
        down, right = divmod(offset, 3)
        weight = kernel[channels * offset : channels * (offset + 1)]
        out += np.einsum("brci,if->brcf", padded[:, down : down + rows, right : right + columns], weight)
    return out


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.fixture
def convolution():
    return normal(2, 4, 5, 3), normal(27, 2, seed=1), normal(2, seed=2)


def test_convolution_is_the_sum_over_its_offsets(convolution):
    with jax.enable_x64(True):
        np.testing.assert_allclose(convolve3(*convolution), convolution_of_sums(*convolution), rtol=1e-12)


def test_a_transposed_kernel_would_be_seen(convolution):
    x, kernel, bias = convolution
    turned = kernel.reshape(3, 3, 3, 2).swapaxes(0, 1).reshape(27, 2)
    assert np.abs(convolution_of_sums(x, kernel, bias) - convolution_of_sums(x, turned, bias)).max() > 0.1


@pytest.mark.parametrize("shape", [(4, 3), (2, 5, 3), (2, 3, 4, 3)])
def test_affine_map_is_the_product_and_its_bias(shape):
    x, kernel, bias = normal(*shape), normal(3, 2, seed=1), normal(2, seed=2)
    with jax.enable_x64(True):
        np.testing.assert_allclose(affine(x, kernel, bias), x @ kernel + bias, rtol=1e-12)
        check_grads(affine, (x, kernel, bias), order=1, modes=["rev"])


def test_gradients_of_the_convolution_are_those_of_finite_differences(convolution):
    with jax.enable_x64(True):
        check_grads(convolve3, convolution, order=1, modes=["rev"])


def test_layer_has_flax_names_and_shapes():
    layer = Dense(5, kernel_init=jax.nn.initializers.normal())
    params = layer.init(jax.random.key(0), jnp.zeros((2, 3)))["params"]
    assert {name: value.shape for name, value in params.items()} == {"kernel": (3, 5), "bias": (5,)}
