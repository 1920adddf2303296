"""Affine maps whose backward passes a CPU runs fast; reverse mode only.

Left to itself, XLA sums the gradient of a bias over all rows in a loop that computes the activation's gradient anew,
and takes longer for that than for the matrix products. Here it is a product with ones, behind a barrier.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp


@jax.custom_vjp
def affine(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """``x @ kernel + bias`` for ``x [..., channels]``, ``kernel [channels, features]`` and ``bias [features]``."""
    return x @ kernel + _along_last(bias, x.ndim)


def _affine_forward(x, kernel, bias):
    return affine(x, kernel, bias), (x, kernel)


def _affine_backward(saved, cotangent):
    x, kernel = saved
    cotangent = jax.lax.optimization_barrier(cotangent)
    rows = cotangent.reshape(-1, cotangent.shape[-1])
    return (rows @ kernel.T).reshape(x.shape), x.reshape(-1, x.shape[-1]).T @ rows, _column_sums(rows)


affine.defvjp(_affine_forward, _affine_backward)


@jax.custom_vjp
def convolve3(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """3 x 3 convolution with zeros around.

    Args:
        x: ``[batch, rows, columns, channels]``.
        kernel: ``[9 channels, features]``, offsets in raster order first: a matrix for Muon.
        bias: ``[features]``.

    Returns:
        ``[batch, rows, columns, features]``.
    """
    return _convolve(x, kernel) + _along_last(bias, x.ndim)


def _convolve(x, kernel):
    window = kernel.reshape(3, 3, x.shape[-1], -1)
    return jax.lax.conv_general_dilated(x, window, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _convolve3_forward(x, kernel, bias):
    return convolve3(x, kernel, bias), (x, kernel)


def _convolve3_backward(saved, cotangent):
    cotangent = jax.lax.optimization_barrier(cotangent)
    return *jax.vjp(_convolve, *saved)[1](cotangent), _column_sums(cotangent.reshape(-1, cotangent.shape[-1]))


convolve3.defvjp(_convolve3_forward, _convolve3_backward)


def _along_last(bias: jax.Array, ndim: int) -> jax.Array:
    return bias.reshape((1,) * (ndim - 1) + (-1,))


def _column_sums(rows: jax.Array) -> jax.Array:
    return (jnp.ones((1, rows.shape[0]), rows.dtype) @ rows)[0]


class Dense(nn.Module):
    """As Flax's layer of that name, by :func:`affine`.

    Attributes:
        features: Of the output.
        kernel_init: Draws the kernel.
        bias_init: Draws the bias.
    """

    features: int
    kernel_init: nn.initializers.Initializer
    bias_init: nn.initializers.Initializer = nn.initializers.zeros

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[..., channels]`` to ``[..., features]``."""
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features))
        return affine(x, kernel, self.param("bias", self.bias_init, (self.features,)))
