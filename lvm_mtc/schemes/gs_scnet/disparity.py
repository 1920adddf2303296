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


def cost_volume(own: jax.Array, other: jax.Array, num: int, side: int) -> jax.Array:
    """How own(column) differs from other(column - k), k = 0 ... num - 1: mean absolute differences over squares.

    The other view's border stands for what is outside of it.

    Args:
        own: ``[..., H, W, channels]``.
        other: Same shape.
        num: Shifts.
        side: Of the squares, pixels.

    Returns:
        ``[..., H / side, W / side, num]``.
    """
    border = jnp.repeat(other[..., :1, :], num - 1, axis=-2)
    padded = jnp.concatenate([border, other], axis=-2)
    *lead, height, width, _ = own.shape

    def at(k: int) -> jax.Array:
        moved = padded[..., num - 1 - k : num - 1 - k + width, :]
        difference = jnp.abs(own - moved).mean(-1)
        return difference.reshape(*lead, height // side, side, width // side, side).mean((-3, -1))

    return jnp.stack([at(k) for k in range(num)], axis=-1)


def around(cost: jax.Array) -> jax.Array:
    """Means of ``[..., rows, columns, num]`` over 3 x 3 places, the border repeated."""
    for axis in (-3, -2):
        pad = [(0, 0)] * cost.ndim
        pad[axis] = (1, 1)
        wide, num = jnp.pad(cost, pad, mode="edge"), cost.shape[axis]
        shifted = [jax.lax.slice_in_dim(wide, i, i + num, axis=axis % cost.ndim) for i in range(3)]
        cost = (shifted[0] + shifted[1] + shifted[2]) / 3
    return cost


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


def disparity_error(found: jax.Array, disparity: jax.Array) -> jax.Array:
    """Mean distance over both views from the true one's means over squares, pixels, ``[...]``; NaN if none is known.

    Args:
        found: ``[..., 2, rows, columns]``, pixels.
        disparity: ``[..., 2, H, W]``, pixels, at a multiple of the scale; 0 is unknown.
    """
    true = pool(disparity, disparity.shape[-2] // found.shape[-2])
    error = jnp.where(true > 0, jnp.abs(found - true), 0.0)
    return error.sum((-3, -2, -1)) / (true > 0).sum((-3, -2, -1))


def spread(disparity: jax.Array, side: int) -> jax.Array:
    """``[..., rows, columns]`` on a grid that is ``side`` times as fine, linear between the centres of squares."""
    *lead, rows, columns = disparity.shape
    return jax.image.resize(disparity, (*lead, rows * side, columns * side), "linear")


def _row(columns: jax.Array, ndim: int) -> jax.Array:
    return columns.reshape((1,) * (ndim - 1) + (-1,))
