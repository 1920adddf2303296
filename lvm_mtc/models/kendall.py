"""Kendall's rank correlation: exactly, with ties, and as a smooth function that training can raise."""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike


def kendall_tau(a: ArrayLike, b: ArrayLike) -> float:
    """Kendall's tau-b of two vectors ``[n]``, in [-1, 1]; NaN where one of them is all ties.

    Concordant pairs less discordant ones, over the geometric mean of the pairs that each vector tells apart. O(n^2).

    Raises:
        ValueError: on vectors of different lengths.

    Source: Kendall, The Treatment of Ties in Ranking Problems (1945).
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"kendall_tau: a and b must be vectors of one length, got {a.shape} and {b.shape}")
    first, second = (np.sign(v[:, None] - v) for v in (a, b))
    told = float(np.sum(first**2)) * float(np.sum(second**2))
    return float(np.sum(first * second)) / told**0.5 if told else float("nan")


def soft_kendall_tau(a: jax.Array, b: jax.Array, temperature: tuple[float, float] = (1.0, 1.0)) -> jax.Array:
    """A smooth Kendall's tau along the last axis: the mean over pairs of the product of two hyperbolic tangents.

    ``tau = 2 / (n (n - 1)) sum_{i<j} tanh((a_i - a_j) / T_a) tanh((b_i - b_j) / T_b)``. Without ties it goes to tau as
    the temperatures go to 0 (with ties to tau-a). They are in the units of a and b: were they shares of a vector's own
    spread, two numbers would always be as far apart and have no slope.

    Args:
        a: ``[..., n]``, n >= 2.
        b: ``[..., n]``.
        temperature: T_a and T_b, > 0.

    Returns:
        ``[...]``.
    """
    if min(temperature) <= 0:
        raise ValueError(f"soft_kendall_tau: temperature must be > 0, got {temperature!r}")
    if a.shape != b.shape or a.shape[-1] < 2:
        raise ValueError(f"soft_kendall_tau: a and b must be [..., n] with n >= 2, got {a.shape} and {b.shape}")
    n = a.shape[-1]
    product = _steps(a / temperature[0]) * _steps(b / temperature[1])
    return jnp.sum(product, axis=(-2, -1)) / (n * (n - 1))


def _steps(v: jax.Array) -> jax.Array:
    return jnp.tanh(v[..., :, None] - v[..., None, :])
