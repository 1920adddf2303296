"""Which components of which patches are sent, and with what power: weighted reverse water-filling.

Component k of patch n has variance v_k, and its errors count w_n times. With noise s on each real symbol and power p
the L-MMSE error is w v s / (p + s); of all that can be sent with so many symbols the largest w v are best, and the
powers that minimise the sum are max(0, level sqrt(w v) - s). As v_k falls with k, each patch sends a prefix of its
components, whose length its weight decides.
"""

import jax
import jax.numpy as jnp


def most_important(variances: jax.Array, weights: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """The components of the largest weighted variances, of all patches together.

    Args:
        variances: ``[K]``, falling, linear.
        weights: Of the patches' errors, ``[..., N]``, linear, > 0.
        count: How many, at most K N.

    Returns:
        Places k N + n, ``[..., count]`` int32, by falling weighted variance (equal ones by their places), and these
        weighted variances.
    """
    weighted = variances.reshape((1,) * (weights.ndim - 1) + (-1, 1)) * weights[..., None, :]
    values, places = jax.lax.top_k(weighted.reshape(*weights.shape[:-1], -1), count)
    return places, values


def fill_with_water(values: jax.Array, noise: jax.Array, total: float) -> jax.Array:
    """Powers that minimise the weighted errors' sum.

    Args:
        values: Weighted variances, falling, ``[..., count]``, linear, > 0.
        noise: Variance of a real symbol's noise, ``[...]``, linear, > 0.
        total: Sum of the powers.

    Returns:
        ``[..., count]``, linear, falling; 0 for what is not worth its power.

    Source: Lee and Petersen, Optimal linear coding for vector channels (1976).
    """
    root, noise = jnp.sqrt(values), noise[..., None]
    number = jnp.arange(1, values.shape[-1] + 1).reshape((1,) * (values.ndim - 1) + (-1,))
    levels = (total + number * noise) / jnp.cumsum(root, axis=-1)
    used = jnp.sum(levels * root > noise, axis=-1, keepdims=True)
    level = jnp.take_along_axis(levels, jnp.maximum(used - 1, 0), axis=-1)
    return jnp.maximum(level * root - noise, 0)
