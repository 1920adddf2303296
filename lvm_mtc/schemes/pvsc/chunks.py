"""Chunks of a frame, which of them are sent, and how they fill the frames of symbols of a group of pictures (GOP).

A chunk is one feature of ``chunk`` x ``chunk`` patches: the smallest thing of a frame that is sent or not. Two chunks
of a frame fill a frame of symbols, ``PAIR``.
"""

import jax
import jax.numpy as jnp

from lvm_mtc.models.patches import patchify, unpatchify

PAIR = 2
STEP = 2.0**-10
"""What is kept as reference is a whole number of these, so that rounding errors cannot part the two ends' buffers."""


def on_grid(values: jax.Array) -> jax.Array:
    """The nearest whole number of ``STEP``."""
    return jnp.round(values / STEP) * STEP


def to_chunks(patches: jax.Array, grid: tuple[int, int], chunk: int) -> jax.Array:
    """Features of patches, ``[..., rows columns, C]`` for ``grid`` = (rows, columns), as ``[..., C, n, chunk^2]``."""
    tiled = patches.reshape(*patches.shape[:-2], *grid, patches.shape[-1])
    return jnp.moveaxis(patchify(tiled, chunk).reshape(*patches.shape[:-2], -1, chunk**2, patches.shape[-1]), -1, -3)


def from_chunks(chunks: jax.Array, grid: tuple[int, int], chunk: int) -> jax.Array:
    """Inverse of :func:`to_chunks`."""
    moved = jnp.moveaxis(chunks, -3, -1)
    tiles = moved.reshape(*moved.shape[:-2], -1)
    return unpatchify(tiles, chunk, grid).reshape(*moved.shape[:-3], grid[0] * grid[1], moved.shape[-1])


def pairs_per_frame(total: jax.Array, gop: int, intra_factor: float, most: int) -> jax.Array:
    """Pairs of chunks that each frame of a GOP sends.

    The first frame has ``intra_factor`` times the mean, but no more than ``most``; the others share what is left, equal
    to within one.

    Args:
        total: Of the GOP, whole, at most ``gop most``.
        gop: Frames of the GOP.
        intra_factor: In [1, gop); not used where ``gop`` is 1.
        most: Pairs that a frame has.

    Returns:
        ``[gop]`` int32, whose sum is ``total``.
    """
    if gop == 1:
        return total.reshape(1).astype(jnp.int32)
    first = jnp.minimum(jnp.round(intra_factor * total / gop), most)
    ends = jnp.floor(jnp.arange(gop) * (total - first) / (gop - 1) + 1e-4)
    return jnp.concatenate([first.reshape(1), jnp.diff(ends)]).astype(jnp.int32)


def choose(values: jax.Array, count: jax.Array, most: int) -> jax.Array:
    """The ``count`` largest of ``values [n]``, at most ``most``, as a mask ``[n]``; of equal ones the first."""
    _, places = jax.lax.top_k(values, most)
    return jnp.zeros(values.shape, bool).at[places].set(jnp.arange(most) < count)


def places_of(mask: jax.Array, most: int) -> jax.Array:
    """Where ``mask [n]`` is true, ascending, then others: ``[most]`` int32."""
    return jnp.argsort(~mask, stable=True)[:most]


def pack(frames: jax.Array, counts: jax.Array, capacity: int) -> jax.Array:
    """The first ``counts [F]`` rows of each frame, ``frames [F, most, ...]``, one frame after the other.

    Returns:
        ``[capacity, ...]``; rows behind the last one hold something.
    """
    ends = jnp.cumsum(counts)
    at = jnp.arange(capacity)
    frame = jnp.minimum(jnp.sum(at[:, None] >= ends[None], axis=-1), len(counts) - 1)
    row = jnp.clip(at - (ends - counts)[frame], 0, frames.shape[1] - 1)
    return frames[frame, row]


def unpack(rows: jax.Array, counts: jax.Array, most: int) -> jax.Array:
    """Inverse of :func:`pack`, ``[F, most, ...]``; rows behind a frame's own hold something."""
    at = (jnp.cumsum(counts) - counts)[:, None] + jnp.arange(most)[None]
    return rows[jnp.minimum(at, rows.shape[0] - 1)]
