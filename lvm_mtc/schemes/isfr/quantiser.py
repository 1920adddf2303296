"""A uniform quantiser with a folded binary code, and what a wrong bit costs."""

import jax
import jax.numpy as jnp
import numpy as np

RANGE = 3.0
"""Largest magnitude, in standard deviations."""


def _step(num_bits: int) -> float:
    return RANGE / 2 ** (num_bits - 1)


def quantise(x: jax.Array, num_bits: int) -> jax.Array:
    """Bits of features of variance 1, sign first, then the magnitude, most significant bit first.

    Args:
        x: ``[...]``.
        num_bits: Of a feature, at least 2.

    Returns:
        Zeros and ones, ``[..., num_bits]`` int32.
    """
    most = 2 ** (num_bits - 1) - 1
    magnitude = jnp.clip(jnp.floor(jnp.abs(x) / _step(num_bits)), 0, most).astype(jnp.int32)
    shifts = jnp.arange(num_bits - 2, -1, -1).reshape((1,) * x.ndim + (-1,))
    return jnp.concatenate([(x < 0).astype(jnp.int32)[..., None], magnitude[..., None] >> shifts & 1], -1)


def dequantise(bits: jax.Array) -> jax.Array:
    """The middles of the intervals, ``[..., num_bits]`` to ``[...]`` float32."""
    num_bits = bits.shape[-1]
    weights = (2.0 ** jnp.arange(num_bits - 2, -1, -1)).reshape((1,) * (bits.ndim - 1) + (-1,))
    magnitude = ((bits[..., 1:] * weights).sum(-1) + 0.5) * _step(num_bits)
    return jnp.where(bits[..., 0] == 1, -magnitude, magnitude)


def damage(x: np.ndarray, num_bits: int) -> tuple[float, float]:
    """What quantised features of variance 1 lose, in units of that variance.

    Args:
        x: Samples of them.
        num_bits: Of a feature.

    Returns:
        The mean squared error without wrong bits, and its rise per bit error rate, all bits alike, to first order: a
        wrong sign costs (2 |x_hat|)^2, bit j of the magnitude (2^j step)^2.
    """
    x = np.asarray(x, np.float64)
    step, most = _step(num_bits), 2 ** (num_bits - 1) - 1
    size = (np.clip(np.floor(np.abs(x) / step), 0, most) + 0.5) * step
    jumps = step**2 * (4.0 ** np.arange(num_bits - 1)).sum()
    return float(np.mean((np.abs(x) - size) ** 2)), float(4 * np.mean(size**2) + jumps)
