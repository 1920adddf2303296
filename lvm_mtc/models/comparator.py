"""Token comparator (Eq. 23): which tokens several UAVs have in common."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

COMPARATORS = ("intensity", "cosine", "learned")
ALIGNMENTS = ("index", "sorted", "position")
AGGREGATIONS = {"mean": jnp.mean, "sum": jnp.sum, "max": jnp.max}
_TINY = 1e-12


class Sharing(NamedTuple):
    """The comparator's decision for a group of K UAVs; slot i aligns one token of each UAV.

    Attributes:
        order: ``[num_uavs, num_tokens]`` int32, the token of each UAV that stands in slot i.
        score: ``[num_tokens]`` discrepancy of slot i, linear.
        public: ``[num_tokens]`` bool, True where the slot is sent once for all, or for its members.
        weight: ``[num_tokens]`` float, ``public`` with the gradient of the soft decision.
        members: ``[num_uavs, num_tokens]`` bool, the UAVs that a slot is public for, or would be if it were public
            (``models.groups``); None: all.
    """

    order: jax.Array
    score: jax.Array
    public: jax.Array
    weight: jax.Array
    members: jax.Array | None = None


def intensity(features: jax.Array) -> jax.Array:
    """Variance over each token's elements (the paper's), ``[..., num_tokens, width]`` to ``[..., num_tokens]``."""
    return jnp.var(features, axis=-1)


def intensity_discrepancy(statistic: jax.Array, aggregation: str = "mean") -> jax.Array:
    """Relative differences abs(s_k - s_l) / mean_k(s_k) over all UAV pairs, aggregated.

    Args:
        statistic: ``[num_uavs, num_tokens]``, >= 0.
        aggregation: ``"mean"``, ``"sum"`` or ``"max"`` over pairs.

    Returns:
        ``[num_tokens]``.
    """
    first, second = jnp.triu_indices(statistic.shape[0], 1)
    mean = jnp.maximum(statistic.mean(axis=0, keepdims=True), _TINY)
    return AGGREGATIONS[aggregation](jnp.abs(statistic[first] - statistic[second]) / mean, axis=0)


def cosine_pairs(tokens: jax.Array) -> jax.Array:
    """1 - cosine similarity of each pair of :func:`cosine_discrepancy`, ``[num_pairs, num_tokens]``.

    Pairs are in the order of ``jnp.triu_indices(num_uavs, 1)``.
    """
    first, second = jnp.triu_indices(tokens.shape[0], 1)
    unit = tokens * jax.lax.rsqrt(jnp.sum(tokens**2, axis=-1, keepdims=True) + _TINY)
    return 1.0 - jnp.sum(unit[first] * unit[second], axis=-1)


def cosine_discrepancy(tokens: jax.Array, aggregation: str = "mean") -> jax.Array:
    """1 - cosine similarity over all UAV pairs, aggregated; in [0, 2] for ``"mean"`` and ``"max"``.

    Args:
        tokens: ``[num_uavs, num_tokens, width]``.
        aggregation: ``"mean"``, ``"sum"`` or ``"max"`` over pairs.

    Returns:
        ``[num_tokens]``.
    """
    return AGGREGATIONS[aggregation](cosine_pairs(tokens), axis=0)


def distance_pairs(features: jax.Array) -> jax.Array:
    """The relative distance of each pair of :func:`distance_discrepancy`, as in :func:`cosine_pairs`."""
    first, second = jnp.triu_indices(features.shape[0], 1)
    power = jnp.sum(features**2, axis=-1)
    distance = jnp.sum((features[first] - features[second]) ** 2, axis=-1)
    return distance / (power[first] + power[second] + _TINY)


def distance_discrepancy(features: jax.Array, aggregation: str = "mean") -> jax.Array:
    """Squared distances over the sum of the squared norms, over all UAV pairs, aggregated.

    For tokens of equal norm this is 1 - cosine similarity; of unequal norm it is more.

    Args:
        features: ``[num_uavs, num_tokens, width]``.
        aggregation: ``"mean"``, ``"sum"`` or ``"max"`` over pairs.

    Returns:
        ``[num_tokens]``, in [0, 2] for ``"mean"`` and ``"max"``.
    """
    return AGGREGATIONS[aggregation](distance_pairs(features), axis=0)


def kept_by_all(ids_keep: jax.Array, mask: jax.Array) -> jax.Array:
    """Which kept tokens belong to a patch that every UAV keeps.

    Args:
        ids_keep: ``[num_uavs, num_tokens]`` patch numbers; those of padding are removed patches.
        mask: ``[num_uavs, num_patches]``, 1 = removed.

    Returns:
        ``[num_uavs, num_tokens]`` bool.
    """
    return (mask == 0).all(axis=0)[ids_keep]


def sending_turns(order: jax.Array, public: jax.Array) -> jax.Array:
    """The order in which each UAV's slots are sent: public ones first, then its private tokens in raster order.

    A UAV that knows its own mask then has to be told of the public tokens only.

    Args:
        order: ``[num_uavs, num_tokens]``, as in :class:`Sharing`.
        public: ``[num_tokens]`` bool.

    Returns:
        ``[num_uavs, num_tokens]`` int32, slot numbers.
    """
    slots = jnp.arange(public.shape[0], dtype=jnp.int32)
    return jnp.argsort(jnp.where(public[None], slots[None] - public.shape[0], order), axis=-1).astype(jnp.int32)


def require_known(comparator: str, alignment: str, aggregation: str) -> None:
    """Raise ``ValueError`` for an unknown name, with the known ones."""
    for field, value, known in (
        ("comparator", comparator, COMPARATORS),
        ("alignment", alignment, ALIGNMENTS),
        ("aggregation", aggregation, tuple(AGGREGATIONS)),
    ):
        if value not in known:
            raise ValueError(f"{field} {value!r} is unknown; known: {', '.join(known)}")


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
    valid: jax.Array,
    epsilon: ArrayLike,
    common: jax.Array | None = None,
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
        valid: ``[num_uavs, num_tokens]`` bool.
        epsilon: Threshold, linear, traced; 0 shares nothing.
        common: ``[num_uavs, num_tokens]`` bool from :func:`kept_by_all`; needed by ``"position"``.
        comparator: ``"intensity"`` (Eq. 23), ``"cosine"``, or ``"learned"``: relative distance of the features.
        alignment: ``"index"``: slot i is token i of each UAV. ``"sorted"``: slot i is the token of rank i of each UAV's
            intensity, invalid tokens last. ``"position"``: the patches that all UAVs keep stand first, in raster order,
            so that slot i is one patch; no other slot is public.
        aggregation: How pairs are combined: ``"mean"``, ``"sum"``, ``"max"``.
        temperature: Of the backward pass, linear.

    Raises:
        ValueError: for an unknown name, with the known ones; for ``"position"`` without ``common``.
    """
    require_known(comparator, alignment, aggregation)
    order, comparable = align_tokens(features, valid, alignment), valid
    if alignment == "position":
        if common is None:
            raise ValueError("alignment 'position' needs common, the tokens whose patch every UAV keeps; got None")
        order, comparable = jnp.argsort(~common, axis=-1, stable=True).astype(jnp.int32), common
    if valid.shape[0] == 1:
        return nothing_shared(order)
    if comparator == "intensity":
        score = intensity_discrepancy(jnp.take_along_axis(intensity(features), order, axis=-1), aggregation)
    elif comparator == "cosine":
        score = cosine_discrepancy(jnp.take_along_axis(tokens, order[..., None], axis=1), aggregation)
    else:
        score = distance_discrepancy(jnp.take_along_axis(features, order[..., None], axis=1), aggregation)
    comparable = jnp.take_along_axis(comparable, order, axis=-1).all(axis=0)
    return decide(order, score, comparable, epsilon, temperature)
