"""Which slot of the MIMO channel carries which token: public tokens first, then the private ones, UAV after UAV."""

import jax
import jax.numpy as jnp

from lvm_mtc.models.groups import of_members


def _rank(flags: jax.Array) -> jax.Array:
    return jnp.cumsum(flags, axis=-1) - flags


def broadcast_slots(
    private: jax.Array, public: jax.Array, slots_per_token: int, members: jax.Array | None = None
) -> jax.Array:
    """Absolute slots in which each UAV hears each of its tokens; a token that is not sent takes no slot.

    Args:
        private: Private tokens that are sent, ``[batch, num_uavs, num_tokens]`` bool.
        public: Public tokens, ``[batch, num_tokens]`` bool.
        slots_per_token: Slots that a token fills.
        members: Whom each is public for, ``[batch, num_uavs, num_tokens]`` bool; None: all UAVs.

    Returns:
        ``[batch, num_uavs, num_tokens * slots_per_token]`` int32; 0 for tokens that are not sent.
    """
    private, public = private.astype(jnp.int32), public.astype(jnp.int32)
    per_uav = private.sum(-1)
    before = public.sum(-1)[:, None] + jnp.cumsum(per_uav, axis=-1) - per_uav
    shared = of_members(public, members)
    token = jnp.where(shared > 0, _rank(public)[:, None], before[..., None] + _rank(private))
    token = jnp.where((private + shared) > 0, token, 0)
    return _spread(token, slots_per_token)


def joint_slots(private: jax.Array, public: jax.Array, slots_per_public: int, slots_per_private: int) -> jax.Array:
    """Absolute slots of a group whose streams are detected together: all public tokens, then all private ones.

    Private slot i carries token i of every UAV that sends one; where no UAV does, it takes no slot.

    Args:
        private: ``[batch, num_uavs, num_tokens]`` bool.
        public: ``[batch, num_tokens]`` bool.
        slots_per_public: Slots that a public token fills over all streams.
        slots_per_private: Slots that a private token fills on its one stream.

    Returns:
        ``[batch, num_tokens * (slots_per_public + slots_per_private)]`` int32, public slots first.
    """
    used, public = private.any(-2).astype(jnp.int32), public.astype(jnp.int32)
    first = jnp.where(public > 0, _rank(public) * slots_per_public, 0)
    second = jnp.where(used > 0, public.sum(-1, keepdims=True) * slots_per_public + _rank(used) * slots_per_private, 0)
    return jnp.concatenate([_offset(first, slots_per_public), _offset(second, slots_per_private)], axis=-1)


def _spread(token: jax.Array, slots_per_token: int) -> jax.Array:
    return _offset(token * slots_per_token, slots_per_token)


def _offset(start: jax.Array, length: int) -> jax.Array:
    steps = jnp.arange(length, dtype=jnp.int32).reshape((1,) * start.ndim + (length,))
    return (start[..., None] + steps).reshape(*start.shape[:-1], -1)
