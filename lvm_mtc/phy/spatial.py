"""Random numbers that are functions of a place: near places have near values, however many are asked for, and when.

A field is a sum of plane waves whose wave vectors are drawn from the spectrum of the autocorrelation
``exp(-d / correlation_distance)``, d the distance in the horizontal plane (TR 38.901, 7.4.4 and 7.6.3.1), with Gaussian
weights. At every place it is N(0, 1); over keys its autocorrelation is the exponential, exactly. A key is a scene: the
same key gives the same field for one place, a trajectory or all UAVs at once.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lvm_mtc.phy.keys import require_key
from lvm_mtc.phy.numerics import floating, require_at_least, safe_sqrt

NUM_WAVES = 256  # within one scene the autocorrelation deviates from the exponential by about NUM_WAVES^-1/2


def gaussian_field(key: jax.Array, positions: ArrayLike, correlation_distance: ArrayLike) -> jax.Array:
    """Gaussian random field over the horizontal plane, E[g(x) g(y)] = exp(-|x - y| / correlation_distance).

    Args:
        key: Typed key, scalar: the scene.
        positions: Metres, ``[..., 2]`` or ``[..., 3]``; heights are not looked at.
        correlation_distance: Metres, > 0, scalar, traced.

    Returns:
        g, mean 0 and variance 1, ``[...]``.

    Raises:
        ValueError: if the last axis of ``positions`` is not 2 or 3, a Python number ``correlation_distance`` is not
            > 0, or the key is not typed.

    Source: TR 38.901, equation 7.4-5; sums of waves with the spectrum of a kernel, Rahimi and Recht (2007).
    """
    if np.ndim(positions) < 1 or np.shape(positions)[-1] not in (2, 3):
        raise ValueError(f"positions must be [..., 2] or [..., 3], got shape {np.shape(positions)}")
    require_at_least("correlation_distance", correlation_distance, 0.0, strict=True)
    places = floating(positions)[..., :2]
    key_radius, key_angle, key_weights = jax.random.split(require_key(key), 3)
    dtype = places.dtype
    # Spectrum of the exponential in the plane: a length r of the wave vector has P(r <= R) = 1 - (1 + R^2)^-1/2.
    steps = (jnp.arange(NUM_WAVES, dtype=dtype) + jax.random.uniform(key_radius, (NUM_WAVES,), dtype)) / NUM_WAVES
    tail = jnp.maximum(1 - steps, jnp.finfo(dtype).eps)
    radius = safe_sqrt(1 / tail**2 - 1) / correlation_distance
    angle = jax.random.uniform(key_angle, (NUM_WAVES,), dtype, 0, 2 * jnp.pi)
    waves = jnp.stack([radius * jnp.cos(angle), radius * jnp.sin(angle)])
    phases = jnp.einsum("...d,dn->...n", places, waves, precision="highest")
    weights = jax.random.normal(key_weights, (2, NUM_WAVES), dtype) * NUM_WAVES**-0.5
    return jnp.cos(phases) @ weights[0] + jnp.sin(phases) @ weights[1]


def uniform_field(key: jax.Array, positions: ArrayLike, correlation_distance: ArrayLike) -> jax.Array:
    """Field uniform in [0, 1]: the normal distribution function of :func:`gaussian_field`.

    Args:
        key: Typed key, scalar: the scene.
        positions: Metres, ``[..., 2]`` or ``[..., 3]``.
        correlation_distance: Of the Gaussian field behind it, metres, > 0.

    Returns:
        ``[...]``.

    Raises:
        ValueError: as :func:`gaussian_field`.
    """
    return jax.scipy.special.ndtr(gaussian_field(key, positions, correlation_distance))
