"""From attention to power: fused maps, five levels, power proportional to a power of the level (Eq. 12-15)."""

import jax
import jax.numpy as jnp

NUM_LEVELS = 5
NORMS = ("max", "minmax")


def fuse(objective: jax.Array, subjective: jax.Array, alpha: jax.Array) -> jax.Array:
    """Alpha times the objective weights and 1 - alpha times the subjective ones (Eq. 12).

    Weights are ``[..., tokens]``; ``alpha`` is ``[...]``, in [0, 1].
    """
    alpha = alpha[..., None]
    return alpha * objective + (1 - alpha) * subjective


def attention_levels(weights: jax.Array, valid: jax.Array, norm: str = "max") -> jax.Array:
    """Levels 1 ... 5 (Eq. 14): 1 where the weight is 0, else ceil(4 Norm(w)) + 1.

    Args:
        weights: ``[..., tokens]``, >= 0.
        valid: Tokens that are sent, ``[..., tokens]`` bool; the others have level 1.
        norm: ``"max"``: w over the largest, so that level 1 means weight 0; ``"minmax"``: (w - smallest) over
            (largest - smallest) of the positive weights, so that the smallest has level 1, too.

    Returns:
        ``[..., tokens]`` float.
    """
    weights = jnp.where(valid, weights, 0.0)
    largest = weights.max(axis=-1, keepdims=True)
    scaled = weights / jnp.where(largest > 0, largest, 1.0)
    if norm == "minmax":
        smallest = jnp.where(weights > 0, scaled, 1.0).min(axis=-1, keepdims=True)
        spread = 1.0 - smallest
        # Of equal weights none is above another.
        scaled = jnp.where(spread > 0, (scaled - smallest) / jnp.where(spread > 0, spread, 1.0), 1.0)
    return jnp.where(weights > 0, jnp.ceil((NUM_LEVELS - 1) * scaled) + 1, 1.0)


def allocate_power(levels: jax.Array, beta: jax.Array, valid: jax.Array) -> jax.Array:
    """Power of each token, level^beta over its mean over the tokens that are sent (Eq. 15): total power is theirs.

    Args:
        levels: ``[..., tokens]``.
        beta: ``[...]``, >= 0; at 0 every power is exactly 1.
        valid: ``[..., tokens]`` bool.

    Returns:
        ``[..., tokens]``, linear; 1 where nothing is sent.
    """
    weights = jnp.where(valid, levels ** beta[..., None], 0.0)
    count = valid.sum(axis=-1, keepdims=True)
    mean = weights.sum(axis=-1, keepdims=True) / jnp.maximum(count, 1)
    return jnp.where(valid, weights / jnp.where(mean > 0, mean, 1.0), 1.0)
