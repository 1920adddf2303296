"""Disparity of a rectified pair: how its views are matched, and how one is brought over to the other.

Both views are treated alike: the right one is mirrored, so that in each of the two what the other shows lies to the
left, at x - d with d >= 0. That is the canonical form, ``[..., 2, rows, columns, features]``; shifts are in columns.
"""

import jax
import jax.numpy as jnp

_LEAST_WEIGHT = 1e-6


def canonical(pair: jax.Array) -> jax.Array:
    """Left and right view ``[n, 2, rows, columns, ...]`` to the canonical form, or back: the right one is mirrored."""
    return jnp.stack([pair[:, 0], jnp.flip(pair[:, 1], axis=2)], axis=1)


def partner(views: jax.Array) -> jax.Array:
    """Of each canonical view the other one, in its frame, ``[n, 2, rows, columns, ...]``."""
    return jnp.flip(views, axis=(1, 3))


def warp(x: jax.Array, shift: jax.Array) -> jax.Array:
    """x(column - shift), linear between columns, with the border's value outside.

    Args:
        x: ``[..., rows, columns, features]``.
        shift: ``[..., rows, columns]``.
    """
    columns = jnp.arange(x.shape[-2], dtype=x.dtype)
    place = jnp.clip(_row(columns, shift.ndim) - shift, 0, x.shape[-2] - 1)
    weight = jax.nn.relu(1 - jnp.abs(place[..., None] - _row(columns, shift.ndim + 1)))
    return jnp.einsum("...uv,...vc->...uc", weight, x)


def visible(disparity: jax.Array, side: int = 1) -> jax.Array:
    """What the other view sees too, exp(-|d - W(d', d)| / 1 pixel): the left-right check.

    Args:
        disparity: Of the canonical views, pixels, ``[n, 2, rows, columns]``.
        side: Pixels of a column.
    """
    there = warp(partner(disparity)[..., None], disparity / side)[..., 0]
    return jnp.exp(-jnp.abs(disparity - there))


def cost_volume(own: jax.Array, other: jax.Array, num: int) -> jax.Array:
    """How own(column) matches other(column - k / 2), k = 0 ... num - 1: inner products over the root of the width.

    Outside of the picture it is 0.

    Args:
        own: ``[..., rows, columns, width]``.
        other: Same shape.
        num: Shifts, in steps of half a column.

    Returns:
        ``[..., rows, columns, num]``.
    """
    columns, width = own.shape[-2:]
    pad = [(0, 0)] * (own.ndim - 2)
    left = jnp.pad(other, [*pad, (num // 2 + 1, 0), (0, 0)])

    def moved(shift: int) -> jax.Array:
        first = num // 2 + 1 - shift
        return left[..., first : first + columns, :]

    def at(k: int) -> jax.Array:
        return moved(k // 2) if k % 2 == 0 else (moved(k // 2) + moved(k // 2 + 1)) / 2

    return jnp.stack([jnp.sum(own * at(k), axis=-1) for k in range(num)], axis=-1) * width**-0.5


def soft_argmax(logits: jax.Array) -> jax.Array:
    """The mean index under the softmax of ``[..., num]``.

    Source: Kendall et al., End-to-End Learning of Geometry and Context for Deep Stereo Regression (2017), Eq. 1.
    """
    index = jnp.arange(logits.shape[-1], dtype=logits.dtype)
    return jnp.sum(jax.nn.softmax(logits) * _row(index, logits.ndim), axis=-1)


def pool(disparity: jax.Array, side: int) -> jax.Array:
    """Means over squares of ``[..., rows, columns]``; 0 is unknown, and stays 0 where nothing is known."""
    *lead, rows, columns = disparity.shape
    parts = disparity.reshape(*lead, rows // side, side, columns // side, side)
    known = (parts > 0).astype(disparity.dtype)
    return parts.sum((-3, -1)) / jnp.maximum(known.sum((-3, -1)), _LEAST_WEIGHT)


def spread(disparity: jax.Array, side: int) -> jax.Array:
    """``[..., rows, columns]`` on a grid that is ``side`` times as fine, linear between the centres of squares."""
    *lead, rows, columns = disparity.shape
    return jax.image.resize(disparity, (*lead, rows * side, columns * side), "linear")


def _row(columns: jax.Array, ndim: int) -> jax.Array:
    return columns.reshape((1,) * (ndim - 1) + (-1,))
