"""Groups: tokens that only some of the UAVs have in common, an extension of the comparator (Eq. 23).

In every slot at most one set of two or more UAVs, its members, shares one public token; the others send theirs
privately. All sets are tried, so that the choice is exact.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lvm_mtc.models.comparator import (
    AGGREGATIONS,
    Sharing,
    align_tokens,
    cosine_pairs,
    decide,
    distance_pairs,
    intensity,
    intensity_discrepancy,
    nothing_shared,
    require_known,
)
from lvm_mtc.models.masking import KeptPatches

MOST_UAVS = 12


def num_groups(num_uavs: int) -> int:
    """Sets of two or more UAVs, 2^K - K - 1."""
    return 2**num_uavs - num_uavs - 1


def of_members(slots: jax.Array, members: jax.Array | None) -> jax.Array:
    """What holds for a slot's members, for each UAV.

    Args:
        slots: ``[..., num_tokens]`` bool or float.
        members: ``[..., num_uavs, num_tokens]`` bool; None: all.

    Returns:
        ``[..., num_uavs, num_tokens]``, 0 for the others; ``[..., 1, num_tokens]`` where all are members.
    """
    slots = slots[..., None, :]
    return slots if members is None else slots * members


def mean_of_members(tokens: jax.Array, members: jax.Array | None) -> jax.Array:
    """``[..., num_uavs, num_tokens, width]`` to ``[..., 1, num_tokens, width]``, over each slot's members."""
    if members is None:
        return tokens.mean(axis=-3, keepdims=True)
    total = jnp.where(members[..., None], tokens, 0).sum(axis=-3, keepdims=True)
    return total / members.sum(axis=-2, keepdims=True)[..., None]


def group_turns(order: jax.Array, public: jax.Array, members: jax.Array) -> jax.Array:
    """The order in which each UAV's slots are sent, as ``comparator.sending_turns`` has it for members all.

    Public token r is in place r for its members, wherever the other UAVs' tokens are; a UAV's private tokens fill its
    other places in raster order. A UAV that knows its own mask then has to be told of the public tokens only.

    Args:
        order: ``[num_uavs, num_tokens]``, as in ``Sharing``.
        public: ``[num_tokens]`` bool.
        members: ``[num_uavs, num_tokens]`` bool.

    Returns:
        ``[num_uavs, num_tokens]`` int32, slot numbers.
    """
    turn = jnp.cumsum(public) - public
    return jax.vmap(_arrange)(jnp.where(of_members(public, members), turn[None], public.shape[0]), order)


def compare_groups(
    tokens: jax.Array,
    features: jax.Array,
    kept: KeptPatches,
    epsilon: ArrayLike,
    *,
    comparator: str = "intensity",
    alignment: str = "index",
    aggregation: str = "mean",
    temperature: float = 0.02,
) -> Sharing:
    """Decides which slots are public and for whom: hard forward, soft backward.

    A set of UAVs has the discrepancy that ``compare_tokens`` finds between them alone. A slot's members are the largest
    set whose discrepancy is below ``epsilon`` and who all have a valid token there; of several, the set of the smallest
    discrepancy. Where there is none, the slot is private, and ``members`` and ``score`` are those of the set of the
    smallest discrepancy (of valid tokens, if any are). Backward, the decision is sigmoid((epsilon - score) /
    temperature) of this one set: it may learn to be public or not, but no gradient asks a further UAV in. Two UAVs are
    decided as by ``compare_tokens``, number for number.

    Args:
        tokens: ``[num_uavs, num_tokens, embed_dim]`` as they would be sent.
        features: ``[num_uavs, num_tokens, width]`` as in ``compare_tokens``.
        kept: The kept patches, leading axis ``num_uavs``.
        epsilon: Threshold, linear, traced; 0 shares nothing.
        comparator: As in ``compare_tokens``.
        alignment: ``"index"`` or ``"sorted"``, as in ``compare_tokens``; ``"position"``: a slot is a patch that two or
            more UAVs keep, those of the most UAVs if there are more than ``num_tokens``, in raster order; only they
            share it, the others' remaining tokens stand there in raster order.
        aggregation: How the pairs of a set are combined: ``"mean"``, ``"sum"``, ``"max"``.
        temperature: Of the backward pass, linear.

    Raises:
        ValueError: for an unknown name, with the known ones; for more than ``MOST_UAVS`` UAVs.
    """
    require_known(comparator, alignment, aggregation)
    num_uavs, num_tokens = kept.valid.shape
    if num_uavs > MOST_UAVS:
        raise ValueError(f"groups needs num_uavs <= {MOST_UAVS}, for all sets of UAVs are tried; got {num_uavs}")
    if alignment == "position":
        place = _shared_patches(kept)
        tokens_in_order = jnp.broadcast_to(jnp.arange(num_tokens, dtype=jnp.int32), place.shape)
        order, comparable = jax.vmap(_arrange)(place, tokens_in_order), place < num_tokens
    else:
        order, comparable = align_tokens(features, kept.valid, alignment), kept.valid
    if num_uavs == 1:
        return nothing_shared(order)
    comparable = jnp.take_along_axis(comparable, order, axis=-1)
    sets = [_sets(num_uavs, size) for size in range(num_uavs, 1, -1)]
    scores = jnp.concatenate(_scores(tokens, features, order, sets, comparator, aggregation))
    valid = jnp.concatenate([comparable[uavs].all(axis=1) for uavs, _ in sets])
    size = np.concatenate([np.full((len(uavs), 1), uavs.shape[1]) for uavs, _ in sets])
    worth = jnp.where(valid & (scores < epsilon), size, jnp.where(valid, 1, 0))
    best = jnp.argmin(jnp.where(worth == worth.max(axis=0, keepdims=True), scores, jnp.inf), axis=0)
    score, valid = (jnp.take_along_axis(a, best[None], axis=0)[0] for a in (scores, valid))
    member = np.concatenate([(uavs[..., None] == np.arange(num_uavs)).any(axis=1) for uavs, _ in sets])
    return decide(order, score, valid, epsilon, temperature)._replace(members=jnp.asarray(member)[best].T)


def _sets(num_uavs, size):
    """All sets of ``size`` UAVs, ``[num_sets, size]``, and the numbers of their pairs, ``[num_sets, num_pairs]``."""
    number = np.zeros((num_uavs, num_uavs), int)
    number[np.triu_indices(num_uavs, 1)] = np.arange(num_uavs * (num_uavs - 1) // 2)
    uavs = np.array(list(itertools.combinations(range(num_uavs), size)))
    first, second = np.triu_indices(size, 1)
    return uavs, number[uavs[:, first], uavs[:, second]]


def _scores(tokens, features, order, sets, comparator, aggregation):
    """Discrepancies of all sets, ``[num_sets, num_tokens]`` for each size; a pair of long tokens is compared once."""
    if comparator == "intensity":
        statistic = jnp.take_along_axis(intensity(features), order, axis=-1)
        of_set = jax.vmap(functools.partial(intensity_discrepancy, aggregation=aggregation))
        return [of_set(statistic[uavs]) for uavs, _ in sets]
    find, compared = (cosine_pairs, tokens) if comparator == "cosine" else (distance_pairs, features)
    pairs = find(jnp.take_along_axis(compared, order[..., None], axis=1))
    return [AGGREGATIONS[aggregation](pairs[numbers], axis=1) for _, numbers in sets]


def _shared_patches(kept):
    """The slot of each token whose patch has one, ``[num_uavs, num_tokens]``; ``num_tokens`` for the others."""
    num_tokens = kept.valid.shape[1]
    keeping = (kept.mask == 0).sum(axis=0)
    most = jnp.argsort(-keeping, stable=True)[:num_tokens]
    chosen = jnp.zeros(keeping.shape, bool).at[most].set(True) & (keeping > 1)
    slot = jnp.where(chosen, jnp.cumsum(chosen) - chosen, num_tokens)
    return jnp.where(kept.valid, slot[kept.ids_keep], num_tokens)


def _arrange(place, rank):
    """Which item is in each place: those with a place below their number are there, the others fill up by rank."""
    size = place.shape[0]
    items = jnp.argsort(jnp.where(place < size, size + place, rank))
    taken = jnp.zeros(size, bool).at[place].set(True, mode="drop")
    # Free places come first and so do the items without a place; behind them both go up by place.
    return jnp.zeros(size, jnp.int32).at[jnp.argsort(taken, stable=True)].set(items.astype(jnp.int32))
