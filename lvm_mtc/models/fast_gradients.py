"""Backward passes for FlashSAM's training that compile to faster programs on a CPU. The numbers stay the same.

XLA differentiates three of the network's operations into programs that are 3 to 8 times slower than their mathematics
needs on CPU: the reductions of batch norm (which recompute the activation's gradient each), and the kernel's
gradient of 1x1 convolutions and of convolutions with stride 2. Here they are matrix products. The network itself does
not change: :func:`fast_gradients` swaps the operations while it is active.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lvm_mtc.models.flashsam_blocks import Conv
from lvm_mtc.models.maps import convolution


@contextlib.contextmanager
def fast_gradients():
    """Inside, ``apply`` of FlashSAM in training mode is traced with these operations; reverse mode only."""
    with nn.intercept_methods(_swap):
        yield


def _swap(next_fun: Callable, args: tuple, kwargs: dict, context: Any) -> Any:
    module = context.module
    out = next_fun(*args, **kwargs)
    if context.method_name != "__call__":
        return out
    if isinstance(module, nn.BatchNorm) and not module.use_running_average:
        scale, shift = (module.get_variable("params", name) for name in ("scale", "bias"))
        # What the norm itself made of its input is unused, and compiled away but for its statistics.
        return normalize_batch(args[0].astype(out.dtype), scale, shift, module.epsilon)
    if isinstance(module, Conv) and (module.kernel_size == 1 or module.stride == 2):
        kernel = module.get_variable("params", "kernel").astype(out.dtype)
        y = convolve(args[0].astype(out.dtype), kernel, module.stride)
        if module.use_bias:
            y = y + module.get_variable("params", "bias").astype(out.dtype).reshape(1, 1, 1, -1)
        return y
    return out


def normalize_batch(x: jax.Array, scale: jax.Array, shift: jax.Array, epsilon: float) -> jax.Array:
    """Batch norm over all axes but the last: (x - m) / sqrt(v + epsilon) scale + shift with x's own moments m, v.

    The moments are taken in float32 at least; ``scale`` and ``shift`` are ``[channels]``.

    Source: Ioffe and Szegedy, Batch Normalization (2015), Algorithm 1 and Sec. 3 (the gradient).
    """
    flat = x.reshape(-1, x.shape[-1])
    return _normalize(flat, scale, shift, epsilon).reshape(x.shape)


def _column_sums(x: jax.Array) -> jax.Array:
    """``[channels]``: sums over the rows, by a matrix product, which a CPU does faster than a reduction."""
    return jnp.matmul(jnp.ones((1, x.shape[0]), x.dtype), x, precision=jax.lax.Precision.HIGHEST)[0]


def _normalize_forward(x, scale, shift, epsilon):
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean = _column_sums(wide) / x.shape[0]
    inverse = jax.lax.rsqrt(jnp.maximum(_column_sums(wide * wide) / x.shape[0] - mean * mean, 0) + epsilon)
    factor = inverse * scale
    y = wide * factor[None] + (shift - mean * factor)[None]
    return y.astype(x.dtype), (x, scale, mean, inverse)


def _normalize_backward(epsilon, saved, cotangent):
    x, scale, mean, inverse = saved
    rows = x.shape[0]
    # Without the barrier each of the sums below would compute the activation's gradient anew.
    cotangent = jax.lax.optimization_barrier(cotangent)
    wide, grad = x.astype(mean.dtype), cotangent.astype(mean.dtype)
    grad_shift = _column_sums(grad)
    grad_scale = (_column_sums(grad * wide) - mean * grad_shift) * inverse
    factor, slope = inverse * scale, inverse * grad_scale / rows
    # dx = factor (grad - grad_shift / rows - (x - mean) slope)
    grad_x = (grad + (mean * slope - grad_shift / rows)[None] - wide * slope[None]) * factor[None]
    return grad_x.astype(x.dtype), grad_scale.astype(scale.dtype), grad_shift.astype(scale.dtype)


_normalize = jax.custom_vjp(lambda x, scale, shift, epsilon: _normalize_forward(x, scale, shift, epsilon)[0], (3,))
_normalize.defvjp(_normalize_forward, _normalize_backward)


def convolve(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """``maps.convolution`` with a square kernel of odd side and padding ``side // 2``."""
    if kernel.shape[0] == 1 and stride == 1:
        return (x.reshape(-1, x.shape[-1]) @ kernel[0, 0]).reshape(*x.shape[:3], -1)
    return _convolve(x, kernel, stride)


def _plain(x, kernel, stride):
    return convolution(x, kernel, stride, kernel.shape[0] // 2)


def _convolve_forward(x, kernel, stride):
    return _plain(x, kernel, stride), (x, kernel)


def _convolve_backward(stride, saved, cotangent):
    x, kernel = saved
    size, (height, width) = kernel.shape[0], cotangent.shape[1:3]
    pad = size // 2
    padded = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    rows, columns = (height - 1) * stride + 1, (width - 1) * stride + 1
    shifted = [padded[:, i : i + rows : stride, j : j + columns : stride] for i in range(size) for j in range(size)]
    patches = jnp.concatenate(shifted, axis=-1).reshape(-1, size * size * x.shape[-1])
    grad_kernel = (patches.T @ cotangent.reshape(-1, kernel.shape[-1])).reshape(kernel.shape)
    (grad_x,) = jax.vjp(lambda x: _plain(x, kernel, stride), x)[1](cotangent)
    return grad_x, grad_kernel


_convolve = jax.custom_vjp(_plain, (2,))
_convolve.defvjp(_convolve_forward, _convolve_backward)
