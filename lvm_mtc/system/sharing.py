"""What the UAVs of a group have in common: the comparator's decision, and the tokens that it makes of theirs."""

import jax
import jax.numpy as jnp

from lvm_mtc.models.comparator import Sharing, compare_tokens, kept_by_all, sending_turns
from lvm_mtc.models.groups import compare_groups, group_turns, mean_of_members, of_members
from lvm_mtc.system.config import OperatingPoint, SystemConfig
from lvm_mtc.system.records import Encoded


def decide_sharing(config: SystemConfig, encoded: Encoded, point: OperatingPoint) -> Sharing:
    """Runs the comparator on each group of K UAVs; leading axis ``batch``."""
    epsilon = jnp.broadcast_to(jnp.asarray(point.epsilon, jnp.float32), encoded.tokens.shape[:1])
    rule = dict(
        comparator=config.comparator,
        alignment=config.alignment,
        aggregation=config.aggregation,
        temperature=config.sharing_temperature,
    )

    def compare(tokens, features, kept, epsilon):
        if config.groups:
            return compare_groups(tokens, features, kept, epsilon, **rule)
        common = kept_by_all(kept.ids_keep, kept.mask) if config.alignment == "position" else None
        return compare_tokens(tokens, features, kept.valid, epsilon, common, **rule)

    return jax.vmap(compare)(encoded.tokens, encoded.features, encoded.kept, epsilon)


def turns_of(config: SystemConfig, sharing: Sharing) -> jax.Array | None:
    """The order in which the slots are sent, ``[batch, num_uavs, num_tokens]``; None: as they stand."""
    if config.alignment == "index":
        return None
    if sharing.members is None:
        return jax.vmap(sending_turns)(sharing.order, sharing.public)
    return jax.vmap(group_turns)(sharing.order, sharing.public, sharing.members)


def share_tokens(tokens: jax.Array, sharing: Sharing, share: jax.Array) -> jax.Array:
    """Tokens as they are sent: the members' mean where they share it.

    Args:
        tokens: In aligned order, ``[batch, num_uavs, num_tokens, embed_dim]``.
        sharing: The decision, leading axis ``batch``.
        share: Its ``public`` or, with the gradient, its ``weight``.
    """
    share = of_members(share, sharing.members)[..., None]
    return share * mean_of_members(tokens, sharing.members) + (1 - share) * tokens
