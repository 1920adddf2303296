"""How many symbols each class of tokens gets: the slots of largest worth, of all that the cloud may have.

A class is ``CLASS_SIZE`` tokens that follow each other as farthest points. The first slot of each is free of the
contest, and a class has its earlier slots wherever it has a later one.
"""

import jax
import jax.numpy as jnp

from lvm_mtc.phy.numerics import lift

CLASS_SIZE = 4
_SOFTNESS = 0.5


def fixed_slots(num_classes: int, total: int) -> jax.Array:
    """``total`` slots shared alike, ``[num_classes]`` int32; what is left over goes to the first classes."""
    return jnp.full(num_classes, total // num_classes) + (jnp.arange(num_classes) < total % num_classes)


def allocate(worth: jax.Array, total: int) -> tuple[jax.Array, jax.Array]:
    """The ``total`` best slots: ``slots [..., num_classes]`` int32, which add up to it exactly, and their gates.

    A slot is worth what the least of those before it is worth, so each class has a prefix; where the worth falls by
    itself no other choice has more in sum. Of equal ones earlier slots come first, then earlier classes.

    Args:
        worth: ``[..., num_classes, num_slots]``.
        total: From ``num_classes`` to ``num_classes num_slots``.

    Returns:
        The slots, and gates ``[..., num_classes, num_slots]``: 1 where a slot is taken, else 0, with the gradient of a
        sigmoid of the worth over that of the last slot taken.
    """
    num_classes, num_slots = worth.shape[-2:]
    number = lift(jnp.arange(num_slots), worth.shape, 0)
    free = number == 0
    least = jax.lax.cummin(jnp.where(free, jnp.inf, worth), axis=worth.ndim - 1)
    by_slot = jnp.swapaxes(least, -1, -2).reshape(*worth.shape[:-2], -1)
    best, places = jax.lax.top_k(by_slot, total)
    taken = jax.nn.one_hot(places % num_classes, num_classes, dtype=jnp.int32).sum(axis=-2)
    hard = (number < taken[..., None]).astype(worth.dtype)
    limit = jax.lax.stop_gradient(jnp.where(jnp.isinf(best[..., -1]), 0, best[..., -1]))
    soft = jnp.where(free, 1.0, jax.nn.sigmoid((least - limit[..., None, None]) / _SOFTNESS))
    return taken, hard + soft - jax.lax.stop_gradient(soft)


def token_mask(slots: jax.Array, num_slots: int) -> jax.Array:
    """Which slots of which tokens are sent, ``[..., num_classes]`` to ``[..., num_tokens, num_slots]`` bool."""
    return jnp.repeat(lift(jnp.arange(num_slots), slots.shape, 1) < slots[..., None], CLASS_SIZE, axis=-2)


def to_frame(values: jax.Array, mask: jax.Array, count: int) -> jax.Array:
    """Values at the ``count`` places of ``mask``, in order: ``[..., num_tokens, num_slots]`` to ``[..., count]``."""
    flat = mask.reshape(*mask.shape[:-2], -1)
    places = jnp.argsort(~flat, axis=-1, stable=True)[..., :count]
    return jnp.take_along_axis(values.reshape(flat.shape), places, axis=-1)


def from_frame(frame: jax.Array, mask: jax.Array, empty: float = 0.0) -> jax.Array:
    """Inverse of :func:`to_frame`; ``empty`` where nothing was sent."""
    flat = mask.reshape(*mask.shape[:-2], -1)
    places = jnp.maximum(jnp.cumsum(flat, axis=-1) - 1, 0)
    return jnp.where(flat, jnp.take_along_axis(frame, places, axis=-1), empty).reshape(mask.shape)
