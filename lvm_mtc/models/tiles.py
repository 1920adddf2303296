"""Pictures in tiles of one size and back, and boxes in the tiles."""

import jax
import jax.numpy as jnp


def cut_tiles(images: jax.Array, tile: tuple[int, int]) -> jax.Array:
    """Tiles of pictures ``[batch, num_uavs, height, width, channels]``, mirrored beyond their edges.

    Returns:
        ``[batch, num_tiles, num_uavs, *tile, channels]``, row after row.
    """
    *lead, height, width, channels = images.shape
    rows, columns = (-(-length // side) for length, side in zip((height, width), tile, strict=True))
    missing = [(0, rows * tile[0] - height), (0, columns * tile[1] - width)]
    images = jnp.pad(images, [(0, 0)] * len(lead) + missing + [(0, 0)], mode="symmetric")
    images = images.reshape(*lead, rows, tile[0], columns, tile[1], channels)
    return jnp.moveaxis(images, (2, 4), (1, 2)).reshape(lead[0], rows * columns, lead[1], *tile, channels)


def join_tiles(tiles: jax.Array, grid: tuple[int, int]) -> jax.Array:
    """The inverse of :func:`cut_tiles`, with what was mirrored still there."""
    batch, _, num_uavs, height, width, channels = tiles.shape
    tiles = jnp.moveaxis(tiles.reshape(batch, *grid, num_uavs, height, width, channels), (1, 2), (2, 4))
    return tiles.reshape(batch, num_uavs, grid[0] * height, grid[1] * width, channels)


def boxes_in_tiles(loc: jax.Array, grid: tuple[int, int], tile: tuple[int, int]) -> jax.Array:
    """What each tile holds of a box.

    Args:
        loc: ``[batch, num_uavs, 4]``, (x, y, w, h), centre, pixels.
        grid: Rows and columns of tiles.
        tile: Their height and width, pixels.

    Returns:
        ``[batch, num_tiles, num_uavs, 4]``, pixels of the tile; w or h is 0 where the tile holds nothing of it.
    """
    row, column = jnp.divmod(jnp.arange(grid[0] * grid[1]), grid[1])
    corner = jnp.stack([column * tile[1], row * tile[0]], axis=-1)[None, :, None]
    centre, size = loc[:, None, :, :2], loc[:, None, :, 2:]
    high = jnp.asarray(tile[::-1], jnp.float32).reshape(1, 1, 1, 2)
    low, high = (jnp.clip(centre + sign * size / 2 - corner, 0, high) for sign in (-1, 1))
    return jnp.concatenate([(low + high) / 2, high - low], axis=-1)


def mirrored(images: jax.Array, extent: jax.Array) -> jax.Array:
    """Pictures ``[batch, num_uavs, height, width, channels]`` with what lies beyond ``extent`` replaced.

    There stands the mirror image of what lies before, as far as that reaches.
    """
    for axis in (2, 3):
        place, length = jnp.arange(images.shape[axis]).reshape(1, 1, -1), extent[..., axis - 2, None]
        place = jnp.clip(jnp.where(place < length, place, 2 * length - 1 - place), 0)
        shape = [*place.shape[:2], *(place.shape[-1] if i == axis else 1 for i in (2, 3, 4))]
        images = jnp.take_along_axis(images, place.reshape(shape), axis=axis)
    return images
