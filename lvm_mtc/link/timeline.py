"""Which slot of the MIMO channel carries which frame: public frames first, then the private ones, UAV after UAV."""

import jax
import jax.numpy as jnp

from lvm_mtc.link.signal import heard_by


def _rank(flags: jax.Array) -> jax.Array:
    return jnp.cumsum(flags, axis=-1) - flags


def broadcast_slots(
    private: jax.Array, public: jax.Array, slots_per_frame: int, members: jax.Array | None = None
) -> jax.Array:
    """Absolute slots in which each UAV hears each of its frames; a frame that is not sent takes no slot.

    Args:
        private: Private frames that are sent, ``[batch, num_uavs, num_frames]`` bool.
        public: Public frames, ``[batch, num_frames]`` bool.
        slots_per_frame: Slots that a frame fills.
        members: Whom each is public for, ``[batch, num_uavs, num_frames]`` bool; None: all UAVs.

    Returns:
        ``[batch, num_uavs, num_frames * slots_per_frame]`` int32; 0 for frames that are not sent.
    """
    private, public = private.astype(jnp.int32), public.astype(jnp.int32)
    per_uav = private.sum(-1)
    before = public.sum(-1)[:, None] + jnp.cumsum(per_uav, axis=-1) - per_uav
    shared = heard_by(public, members)
    frame = jnp.where(shared > 0, _rank(public)[:, None], before[..., None] + _rank(private))
    frame = jnp.where((private + shared) > 0, frame, 0)
    return _offset(frame * slots_per_frame, slots_per_frame)


def joint_slots(private: jax.Array, public: jax.Array, slots_per_public: int, slots_per_private: int) -> jax.Array:
    """Absolute slots of a group whose streams are detected together: all public frames, then all private ones.

    Private slot i carries frame i of every UAV that sends one; where no UAV does, it takes no slot. A public frame
    fills ``slots_per_public`` over all streams, a private one ``slots_per_private`` on its own. The masks are those of
    :func:`broadcast_slots`; ``[batch, num_frames * (slots_per_public + slots_per_private)]`` int32, public slots first.
    """
    used, public = private.any(-2).astype(jnp.int32), public.astype(jnp.int32)
    first = jnp.where(public > 0, _rank(public) * slots_per_public, 0)
    second = jnp.where(used > 0, public.sum(-1, keepdims=True) * slots_per_public + _rank(used) * slots_per_private, 0)
    return jnp.concatenate([_offset(first, slots_per_public), _offset(second, slots_per_private)], axis=-1)


def _offset(start: jax.Array, length: int) -> jax.Array:
    steps = jnp.arange(length, dtype=jnp.int32).reshape((1,) * start.ndim + (length,))
    return (start[..., None] + steps).reshape(*start.shape[:-1], -1)
