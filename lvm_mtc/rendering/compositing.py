"""Splats in front of each other: alpha compositing from front to back.

alpha_i = min(0.99, opacity_i exp(-1/2 D^T Sigma'^-1 D)) at distance D of a pixel from the splat's centre, 0 where it is
below 1/255; a pixel has sum_i T_i alpha_i colour_i, with T_i the product of 1 - alpha_j over all j in front of i.

Source: Kerbl et al., 3D Gaussian Splatting for Real-Time Radiance Field Rendering (2023), Eq. 2-3.
"""

import jax
import jax.numpy as jnp

from lvm_mtc.rendering.gaussians import Splats

MOST_ALPHA, LEAST_ALPHA = 0.99, 1 / 255
_CHUNK, _BLENDED = 64, 6
_SLACK = 1e-3
"""Pixels by which a splat's box is larger than where its alpha ends, for the rounding of both."""


def front_to_back(splats: Splats) -> jax.Array:
    """Places of splats by rising depth, ``[n]`` int32; of equally deep ones the first in order is in front."""
    return jnp.argsort(jax.lax.stop_gradient(splats.depth))


def layers(splats: Splats) -> jax.Array:
    """Splats as compositing reads them, one array so that one gather and its gradient do: ``[n, 11]``.

    Centre (x, y), inverse covariance (xx, xy, yy), opacity, and what is blended: colour, depth, and 1 for the sum of
    weights.
    """
    single = [column[:, None] for column in (splats.opacity, splats.depth, jnp.ones_like(splats.depth))]
    return jnp.concatenate([splats.centre, splats.inverse, single[0], splats.colour, *single[1:]], axis=-1)


def composite(layer: jax.Array, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Blends layers ``[..., n, 11]``, n from front to back, at pixels with their centres at ``x``, ``y [..., pixels]``.

    Returns:
        The blended values ``[..., pixels, 5]``, and the share of light from behind that passes, ``[..., pixels]``.
    """
    column, row, xx, xy, yy, opacity = (layer[..., i, None] for i in range(_BLENDED))
    dx, dy = x[..., None, :] - column, y[..., None, :] - row
    power = -0.5 * (xx * dx * dx + yy * dy * dy) - xy * dx * dy
    alpha = jnp.minimum(opacity * jnp.exp(jnp.minimum(power, 0.0)), MOST_ALPHA)
    alpha = jnp.where(alpha < LEAST_ALPHA, 0.0, alpha)
    log_passed = jnp.log1p(-alpha)
    behind = jnp.cumsum(log_passed, axis=-2)
    weight = alpha * jnp.exp(behind - log_passed)
    values = jnp.einsum("...np,...nf->...pf", weight, layer[..., _BLENDED:], precision="highest")
    return values, jnp.exp(behind[..., -1, :])


def dense(splats: Splats, size: tuple[int, int]) -> tuple[jax.Array, jax.Array]:
    """Every splat at every pixel, 64 splats at a time, whose alphas are computed anew in the backward pass.

    Args:
        splats: In any order.
        size: Height and width.

    Returns:
        Sum of the blended values ``[height, width, 5]``, and the share of light from behind that passes,
        ``[height, width]``.
    """
    (height, width), dtype = size, splats.centre.dtype
    x, y = (grid.ravel() for grid in jnp.meshgrid(*(jnp.arange(n, dtype=dtype) + 0.5 for n in (width, height))))
    whole = layers(splats)[front_to_back(splats)]
    chunks = jnp.pad(whole, [(0, -len(whole) % _CHUNK), (0, 0)]).reshape(-1, _CHUNK, whole.shape[-1])

    @jax.checkpoint
    def blend(carry, chunk):
        total, left = carry
        value, passed = composite(chunk, x, y)
        return (total + left[:, None] * value, left * passed), None

    start = jnp.zeros((height * width, 5), dtype), jnp.ones(height * width, dtype)
    (total, left), _ = jax.lax.scan(blend, start, chunks)
    return total.reshape(height, width, -1), left.reshape(height, width)


def tiled(splats: Splats, size: tuple[int, int], tile: int, capacity: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Of each tile the nearest ``capacity`` splats whose boxes touch it, at its pixels.

    Args:
        splats: In any order.
        size: Height and width.
        tile: Side of a tile, pixels.
        capacity: Splats of a tile at most.

    Returns:
        As of :func:`dense`, and how many splats were left out, summed over tiles, int32.
    """
    (rows, columns), dtype = (-(-length // tile) for length in size), splats.centre.dtype
    corners = (tile * jnp.arange(count, dtype=dtype) for count in (rows, columns))
    top, left = (grid.ravel() for grid in jnp.meshgrid(*corners, indexing="ij"))
    order = front_to_back(splats)
    hits = _touching(splats, left, top, tile)[:, order]
    capacity = min(capacity, len(splats.depth))
    places, used = first_places(hits, capacity)
    overflow = jnp.sum(jnp.maximum(hits.sum(-1) - capacity, 0))
    near = jnp.where(used[..., None], layers(splats)[order[places]], 0.0)
    inner = jnp.arange(tile, dtype=dtype) + 0.5
    x = jnp.tile(inner, tile)[None] + left[:, None]
    y = jnp.repeat(inner, tile)[None] + top[:, None]
    parts = composite(near, x, y)
    value, passed = (_untiled(part, rows, columns, tile)[: size[0], : size[1]] for part in parts)
    return value, passed, overflow


def first_places(marks: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """Places of the first ``count`` true entries of rows ``[m, n]``, and which of them there are, ``[m, count]``."""
    number = jnp.cumsum(marks, axis=-1)
    wanted = jnp.arange(1, count + 1)
    places = jax.vmap(lambda row: jnp.searchsorted(row, wanted, method="scan_unrolled"))(number)
    return jnp.minimum(places, marks.shape[-1] - 1), wanted[None] <= number[:, -1:]


def _touching(splats: Splats, left: jax.Array, top: jax.Array, tile: int) -> jax.Array:
    """Whether the box of where a splat's alpha is 1/255 or more has a pixel of a tile, ``[tiles, n]``."""
    s = jax.lax.stop_gradient(splats)
    seen = s.opacity >= LEAST_ALPHA
    reach = jnp.sqrt(2 * jnp.log(jnp.where(seen, s.opacity, 1.0) / LEAST_ALPHA))[:, None]
    half = reach * jnp.sqrt(s.variance) + _SLACK
    hits = seen[None]
    for axis, first in ((0, left), (1, top)):
        low, high = s.centre[:, axis] - half[:, axis], s.centre[:, axis] + half[:, axis]
        hits &= (high[None] >= first[:, None] + 0.5) & (low[None] <= first[:, None] + tile - 0.5)
    return hits


def _untiled(pixels: jax.Array, rows: int, columns: int, tile: int) -> jax.Array:
    """``[rows columns, tile tile, ...]`` to ``[rows tile, columns tile, ...]``."""
    rest = pixels.shape[2:]
    grid = pixels.reshape(rows, columns, tile, tile, *rest).swapaxes(1, 2)
    return grid.reshape(rows * tile, columns * tile, *rest)
