"""Token comparator (Eq. 23): which tokens all UAVs, or some of them (our extension, groups), have in common.

With groups, in every slot at most one set of two or more UAVs, its members, shares one public token; the others send
theirs privately. All sets are tried, so that the choice is exact.
"""

import itertools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lvm_mtc.config import require_one_of
from lvm_mtc.link.signal import heard_by
from lvm_mtc.schemes.lvm_mtc.masking import KeptPatches

COMPARATORS = ("intensity", "cosine", "learned")
ALIGNMENTS = ("index", "sorted", "position")
AGGREGATIONS = {"mean": jnp.mean, "sum": jnp.sum, "max": jnp.max}
MOST_UAVS = 12
_TINY = 1e-12


class Sharing(NamedTuple):
    """The comparator's decision for a group of K UAVs; slot i aligns one token of each UAV.

    Attributes:
        order: ``[num_uavs, num_tokens]`` int32, the token of each UAV that stands in slot i.
        score: ``[num_tokens]`` discrepancy of slot i, linear.
        public: ``[num_tokens]`` bool, True where the slot is sent once for all, or for its members.
        weight: ``[num_tokens]`` float, ``public`` with the gradient of the soft decision.
        members: ``[num_uavs, num_tokens]`` bool, the UAVs that a slot is public for, or would be if it were public;
            None: all.
    """

    order: jax.Array
    score: jax.Array
    public: jax.Array
    weight: jax.Array
    members: jax.Array | None = None


class ComparatorProjection(nn.Module):
    """Token features to the few numbers that the comparator ``"learned"`` compares.

    At the start the map is a random orthogonal one, which keeps distances on average; trained end to end with a rate
    term, it forgets differences that cost nothing at the UAVs.
    """

    width: int = 16

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        """``[..., embed_dim]`` to ``[..., width]``."""
        start = nn.initializers.orthogonal()
        return nn.Dense(self.width, use_bias=False, kernel_init=start, name="projection")(features)


def intensity(features: jax.Array) -> jax.Array:
    """Variance over each token's elements (the paper's), ``[..., num_tokens, width]`` to ``[..., num_tokens]``."""
    return jnp.var(features, axis=-1)


def compared(comparator: str, tokens: jax.Array, features: jax.Array, order: jax.Array) -> jax.Array:
    """What a comparator looks at in each slot: intensities ``[num_uavs, num_tokens]``, or ``[..., width]``."""
    if comparator == "intensity":
        return jnp.take_along_axis(intensity(features), order, axis=-1)
    return jnp.take_along_axis(tokens if comparator == "cosine" else features, order[..., None], axis=1)


def pair_discrepancies(comparator: str, x: jax.Array) -> jax.Array:
    """Discrepancies of the pairs of UAVs, in the order of ``jnp.triu_indices``, ``[num_pairs, num_tokens]``.

    ``"intensity"``: abs(s_k - s_l) over the mean of all UAVs; ``"cosine"``: 1 - cosine similarity, in [0, 2];
    ``"learned"``: the squared distance over the sum of the squared norms, in [0, 2], which for tokens of equal norm is
    1 - cosine similarity, and more for others. ``x`` is from :func:`compared`.
    """
    first, second = jnp.triu_indices(x.shape[0], 1)
    if comparator == "intensity":
        return jnp.abs(x[first] - x[second]) / jnp.maximum(x.mean(axis=0, keepdims=True), _TINY)
    if comparator == "cosine":
        unit = x * jax.lax.rsqrt(jnp.sum(x**2, axis=-1, keepdims=True) + _TINY)
        return 1.0 - jnp.sum(unit[first] * unit[second], axis=-1)
    power = jnp.sum(x**2, axis=-1)
    distance = jnp.sum((x[first] - x[second]) ** 2, axis=-1)
    return distance / (power[first] + power[second] + _TINY)


def sending_turns(order: jax.Array, public: jax.Array) -> jax.Array:
    """The order in which each UAV's slots are sent: public ones first, then its private tokens in raster order.

    A UAV that knows its own mask then has to be told of the public tokens only.

    Arguments are as in :class:`Sharing`. Gives slot numbers, ``[num_uavs, num_tokens]`` int32.
    """
    slots = jnp.arange(public.shape[0], dtype=jnp.int32)
    return jnp.argsort(jnp.where(public[None], slots[None] - public.shape[0], order), axis=-1).astype(jnp.int32)


def require_known(comparator: str, alignment: str, aggregation: str) -> None:
    """Raises ``ValueError`` for an unknown name, with the known ones."""
    require_one_of("Sharing", "comparator", comparator, COMPARATORS)
    require_one_of("Sharing", "alignment", alignment, ALIGNMENTS)
    require_one_of("Sharing", "aggregation", aggregation, tuple(AGGREGATIONS))


def align_tokens(features: jax.Array, valid: jax.Array, alignment: str) -> jax.Array:
    """``order`` of the alignments ``"index"`` and ``"sorted"``; arguments as in :func:`compare_tokens`."""
    if alignment == "sorted":
        return jnp.argsort(jnp.where(valid, -intensity(features), jnp.inf), axis=-1).astype(jnp.int32)
    return jnp.broadcast_to(jnp.arange(valid.shape[1], dtype=jnp.int32), valid.shape)


def decide(
    order: jax.Array, score: jax.Array, comparable: jax.Array, epsilon: ArrayLike, temperature: float
) -> Sharing:
    """Hard forward, soft backward: public where ``score`` is below ``epsilon`` and the slot is ``comparable``."""
    public = comparable & (score < epsilon)
    soft = comparable * jax.nn.sigmoid((epsilon - score) / temperature)
    return Sharing(order, score, public, public + soft - jax.lax.stop_gradient(soft))


def nothing_shared(order: jax.Array) -> Sharing:
    """The decision for a single UAV."""
    nothing = jnp.zeros(order.shape[1])
    return Sharing(order, nothing, nothing.astype(bool), nothing)


def compare_tokens(
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
    """Decides which slots are public: hard forward, soft backward.

    A slot is public where its discrepancy is below ``epsilon`` and all UAVs have a valid token there; K = 1 shares
    nothing. Backward, the decision is sigmoid((epsilon - score) / temperature).

    Args:
        tokens: ``[num_uavs, num_tokens, embed_dim]`` as they would be sent.
        features: ``[num_uavs, num_tokens, width]`` of which the intensity is taken; for ``"learned"`` the projection.
        kept: The kept patches, leading axis ``num_uavs``.
        epsilon: Threshold, linear, traced; 0 shares nothing.
        comparator: ``"intensity"`` (Eq. 23), ``"cosine"``, or ``"learned"``, see :func:`pair_discrepancies`.
        alignment: ``"index"``: slot i is token i of each UAV. ``"sorted"``: slot i is the token of rank i of each UAV's
            intensity, invalid tokens last. ``"position"``: the patches that all UAVs keep stand first, in raster order,
            so that slot i is one patch; no other slot is public.
        aggregation: How pairs are combined: ``"mean"``, ``"sum"``, ``"max"``.
        temperature: Of the backward pass, linear.
    """
    require_known(comparator, alignment, aggregation)
    order, comparable = align_tokens(features, kept.valid, alignment), kept.valid
    if alignment == "position":
        comparable = (kept.mask == 0).all(axis=0)[kept.ids_keep]
        order = jnp.argsort(~comparable, axis=-1, stable=True).astype(jnp.int32)
    if len(order) == 1:
        return nothing_shared(order)
    pairs = pair_discrepancies(comparator, compared(comparator, tokens, features, order))
    comparable = jnp.take_along_axis(comparable, order, axis=-1).all(axis=0)
    return decide(order, AGGREGATIONS[aggregation](pairs, axis=0), comparable, epsilon, temperature)


def num_groups(num_uavs: int) -> int:
    """Sets of two or more UAVs, 2^K - K - 1."""
    return 2**num_uavs - num_uavs - 1


def mean_of_members(tokens: jax.Array, members: jax.Array | None) -> jax.Array:
    """``[..., num_uavs, num_tokens, width]`` to ``[..., 1, num_tokens, width]``, over each slot's members."""
    if members is None:
        return tokens.mean(axis=-3, keepdims=True)
    total = jnp.where(members[..., None], tokens, 0).sum(axis=-3, keepdims=True)
    return total / members.sum(axis=-2, keepdims=True)[..., None]


def group_turns(order: jax.Array, public: jax.Array, members: jax.Array) -> jax.Array:
    """The order in which each UAV's slots are sent, as :func:`sending_turns` has it for members all.

    Public token r is in place r for its members, wherever the other UAVs' tokens are; a UAV's private tokens fill its
    other places in raster order. A UAV that knows its own mask then has to be told of the public tokens only.

    Arguments are as in ``Sharing``. Gives slot numbers, ``[num_uavs, num_tokens]`` int32.
    """
    turn = jnp.cumsum(public) - public
    return jax.vmap(_arrange)(jnp.where(heard_by(public, members), turn[None], public.shape[0]), order)


def turns_of(alignment: str, sharing: Sharing) -> jax.Array | None:
    """The order in which the slots are sent, ``[batch, num_uavs, num_tokens]``; None: as they stand."""
    if alignment == "index":
        return None
    if sharing.members is None:
        return jax.vmap(sending_turns)(sharing.order, sharing.public)
    return jax.vmap(group_turns)(sharing.order, sharing.public, sharing.members)


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

    Arguments are as in ``compare_tokens``, but for ``alignment="position"``: a slot is a patch that two or more UAVs
    keep, those of the most UAVs if there are more than ``num_tokens``, in raster order; only they share it, the others'
    remaining tokens stand there in raster order. ``aggregation`` is over the pairs of a set.

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
    x, combine = compared(comparator, tokens, features, order), AGGREGATIONS[aggregation]
    if comparator == "intensity":  # relative to the mean of the set
        of_set = jax.vmap(lambda statistic: combine(pair_discrepancies(comparator, statistic), axis=0))
        return [of_set(x[uavs]) for uavs, _ in sets]
    pairs = pair_discrepancies(comparator, x)
    return [combine(pairs[numbers], axis=1) for _, numbers in sets]


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
