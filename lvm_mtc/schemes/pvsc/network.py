"""What the receiver's network makes of a frame and the one that was received before it."""

import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from lvm_mtc.models.conditioned import INIT, Residual, normalize
from lvm_mtc.models.patches import patchify, unpatchify
from lvm_mtc.models.products import Dense

TOKEN = 4
GREY, CONTRAST = 0.45, 4.0


class Sizes(NamedTuple):
    """Of a network.

    Attributes:
        width: Features of a token of ``TOKEN`` x ``TOKEN`` pixels.
        blocks: Residual blocks before the alignment, and as many behind it.
        reach: Tokens up, down, left and right among which attention looks in the frame before; None: only at its own.
    """

    width: int
    blocks: int
    reach: int | None


NETWORKS = {
    "tiny": Sizes(8, 1, 1),
    "small": Sizes(64, 2, 3),
    "unaligned": Sizes(64, 2, None),
}
"""Sizes by name; ours."""


class TemporalRefiner(nn.Module):
    """Adds to a frame what its neighbourhood, and the same things in the frame before, tell; starts as the identity.

    Attributes:
        sizes: From ``NETWORKS``, or others.
    """

    sizes: Sizes

    @nn.compact
    def __call__(self, clips: jax.Array, deviation: jax.Array) -> jax.Array:
        """Refines clips.

        Args:
            clips: As received, ``[batch, frames, height, width, 3]``; the first frame has none before it but itself.
            deviation: Of the features' errors in each part of a frame, parts in raster order,
                ``[batch, frames, n, C]``.

        Returns:
            Of the shape of ``clips``, not clipped to [0, 1].
        """
        lead, size = clips.shape[:2], clips.shape[2:4]
        flat = clips.reshape(-1, *clips.shape[2:])
        now = self._see(flat, deviation.reshape(-1, *deviation.shape[2:]))
        then = now.reshape(*lead, *now.shape[1:])
        then = jnp.concatenate([then[:, :1], then[:, :-1]], axis=1).reshape(now.shape)
        if self.sizes.reach is not None:
            then = self._align(now, then, self.sizes.reach)
        x = now + Dense(self.sizes.width, kernel_init=INIT, name="context")(jnp.concatenate([now, then], axis=-1))
        for number in range(self.sizes.blocks):
            x = Residual(name=f"behind{number}")(x)
        change = Dense(3 * TOKEN**2, kernel_init=nn.initializers.zeros, name="change")(normalize(x))
        change = unpatchify(change.reshape(len(change), -1, change.shape[-1]), TOKEN, size)
        return (flat + change / CONTRAST).reshape(clips.shape)

    def _see(self, frames: jax.Array, deviation: jax.Array) -> jax.Array:
        batch, height, width, _ = frames.shape
        grid = height // TOKEN, width // TOKEN
        x = patchify((frames - GREY) * CONTRAST, TOKEN).reshape(batch, *grid, -1)
        x = Dense(self.sizes.width, kernel_init=INIT, name="embed")(x)
        told = Dense(self.sizes.width, kernel_init=INIT, name="reliability")(jnp.log(deviation + 1e-3))
        x = x + _spread(told, grid)
        for number in range(self.sizes.blocks):
            x = Residual(name=f"before{number}")(x)
        return x

    def _align(self, now: jax.Array, then: jax.Array, reach: int) -> jax.Array:
        """Of the tokens of ``then`` around each place a mean, by how they match the token of ``now`` there."""
        width = self.sizes.width
        query, key = (Dense(width, kernel_init=INIT, name=n)(normalize(a)) for n, a in (("query", now), ("key", then)))
        bias = self.param("place_bias", nn.initializers.zeros, (2 * reach + 1, 2 * reach + 1))
        rows, columns = now.shape[1:3]
        around = [(0, 0), (reach, reach), (reach, reach), (0, 0)]
        key, value = jnp.pad(key, around), jnp.pad(then, around)
        inside = jnp.pad(jnp.ones((1, rows, columns)), around[:3])

        def shifted(a: jax.Array, row: int, column: int) -> jax.Array:
            return a[:, row : row + rows, column : column + columns]

        offsets = [(row, column) for row in range(2 * reach + 1) for column in range(2 * reach + 1)]
        logits = jnp.stack([
            jnp.sum(query * shifted(key, *at), axis=-1) * width**-0.5 + bias[at] - 1e4 * (1 - shifted(inside, *at))
            for at in offsets
        ])  # fmt: skip
        weights = nn.softmax(logits, axis=0)
        terms = (weight[..., None] * shifted(value, *at) for weight, at in zip(weights, offsets, strict=True))
        return functools.reduce(jnp.add, terms)


def _spread(parts: jax.Array, grid: tuple[int, int]) -> jax.Array:
    """Features of a frame's square parts in raster order, ``[batch, n, width]``, at each of its tokens."""
    side = round((grid[0] * grid[1] / parts.shape[1]) ** 0.5)
    rows = parts.reshape(len(parts), grid[0] // side, grid[1] // side, -1)
    return jnp.repeat(jnp.repeat(rows, side, axis=1), side, axis=2)
