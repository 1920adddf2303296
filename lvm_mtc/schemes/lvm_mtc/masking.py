"""Adaptive masking (Eq. 15): which patches are kept, drawn at random with odds that favour the object."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


class KeptPatches(NamedTuple):
    """The patches that are encoded and sent, per picture.

    Attributes:
        ids_keep: ``[..., num_kept]`` int32 patch numbers in raster order; padding stands at the end.
        valid: ``[..., num_kept]`` bool, False for padding.
        mask: ``[..., num_patches]`` float32, 1 = removed.
        overflow: ``[...]`` int32, patches that were drawn but did not fit the capacity.
    """

    ids_keep: jax.Array
    valid: jax.Array
    mask: jax.Array
    overflow: jax.Array


def scale_aware_mask_prob(
    loc: jax.Array, image_size: tuple[int, int], low: float = 0.2, high: float = 0.4
) -> jax.Array:
    """P_r from the object's size, linear in its share of the area: ``low`` at 0, ``high`` at 1; ``[...]``.

    Box and picture are given as in :func:`models.patches.patches_in_box`.
    """
    ratio = jnp.clip(loc[..., 2] * loc[..., 3] / (image_size[0] * image_size[1]), 0.0, 1.0)
    return low + (high - low) * ratio


def keep_scores(key: jax.Array, inside: jax.Array, mask_prob: ArrayLike) -> jax.Array:
    """Random scores whose sign is Eq. 15's draw and whose order is the budget's.

    Args:
        key: Of the draws.
        inside: ``[..., num_patches]`` bool, patches of the object.
        mask_prob: P_r in (0, 1), scalar or ``[...]``: the probability that a patch of the object is masked; others are
            masked with 1 - P_r. At 0.5 masking is uniform (MAE's).

    Returns:
        ``[..., num_patches]``: logit(keep probability) + logistic noise, positive with the keep probability.
    """
    mask_prob = jnp.broadcast_to(jnp.asarray(mask_prob, jnp.float32), inside.shape[:-1])[..., None]
    logit = jnp.where(inside, 1.0, -1.0) * (jnp.log1p(-mask_prob) - jnp.log(mask_prob))
    return logit + jax.random.logistic(key, inside.shape)


def keep_budget(scores: jax.Array, num_kept: int) -> KeptPatches:
    """Keeps the ``num_kept``, 1 to ``num_patches``, patches of the largest scores: static shapes, no padding."""
    _check_capacity(num_kept, scores.shape[-1])
    _, ids = jax.lax.top_k(scores, num_kept)
    return _collect(jnp.sort(ids, axis=-1), jnp.ones(ids.shape, bool), scores)


def keep_bernoulli(scores: jax.Array, capacity: int) -> KeptPatches:
    """Keeps every patch with a positive score (Eq. 15 literally), padded to ``capacity``, 1 to ``num_patches``.

    Where more patches are drawn, the largest scores stay and the rest is counted as overflow; an empty draw keeps the
    patch of the largest score.
    """
    num_patches = scores.shape[-1]
    _check_capacity(capacity, num_patches)
    top, ids = jax.lax.top_k(scores, capacity)
    valid = (top > 0).at[..., 0].set(True)
    order = jnp.argsort(jnp.where(valid, ids, num_patches + ids), axis=-1)
    kept = _collect(jnp.take_along_axis(ids, order, -1), jnp.take_along_axis(valid, order, -1), scores)
    drawn = (scores > 0).sum(-1)
    return kept._replace(overflow=jnp.maximum(drawn - capacity, 0).astype(jnp.int32))


def restore(tokens: jax.Array, kept: KeptPatches, fill: jax.Array) -> jax.Array:
    """Puts kept tokens back at their patches and the mask token, ``fill [width]``, everywhere else (Eq. 19).

    ``[..., num_kept, width]`` to ``[..., num_patches, width]``.
    """
    present = kept.mask == 0
    slot = jnp.maximum(jnp.cumsum(present, axis=-1) - 1, 0)
    gathered = jnp.take_along_axis(tokens, slot[..., None], axis=-2)
    return jnp.where(present[..., None], gathered, fill.reshape((1,) * (tokens.ndim - 1) + (-1,)))


def keep_rates(inside: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Realised share of kept patches inside and outside the box, ``[...]``: what P_r became under a budget.

    The second is NaN where the box covers every patch.
    """
    kept = 1.0 - mask
    outside = ~inside
    return ((kept * inside).sum(-1) / inside.sum(-1), (kept * outside).sum(-1) / outside.sum(-1))


def _check_capacity(num_kept: int, num_patches: int) -> None:
    if not 1 <= num_kept <= num_patches:
        raise ValueError(
            f"number of kept patches must lie in 1 ... {num_patches} (the patches of a picture), got {num_kept}"
        )


def _collect(ids_keep: jax.Array, valid: jax.Array, scores: jax.Array) -> KeptPatches:
    num_patches = scores.shape[-1]
    chosen = jax.nn.one_hot(ids_keep, num_patches, dtype=jnp.float32) * valid[..., None]
    return KeptPatches(
        ids_keep.astype(jnp.int32), valid, 1.0 - chosen.sum(axis=-2), jnp.zeros(scores.shape[:-1], jnp.int32)
    )
