"""Pictures to patches and back, in the layout of MAE."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp


def grid_shape(image_size: Sequence[int], patch_size: int) -> tuple[int, int]:
    """Rows and columns of patches of ``patch_size`` pixels in a picture of ``(height, width)`` pixels.

    Raises:
        ValueError: if ``patch_size`` does not divide both sides.
    """
    height, width = image_size
    if patch_size < 1 or height % patch_size or width % patch_size:
        raise ValueError(f"patch_size {patch_size} does not divide the picture's {height} x {width} pixels")
    return height // patch_size, width // patch_size


def patchify(images: jax.Array, patch_size: int) -> jax.Array:
    """Cuts pictures into non-overlapping square patches, in raster order.

    Args:
        images: ``[..., height, width, channels]``.
        patch_size: Side of a patch, in pixels; divides height and width.

    Returns:
        ``[..., num_patches, patch_size * patch_size * channels]``; within a patch the order is row, column, channel.

    Raises:
        ValueError: if ``patch_size`` does not divide height and width.
    """
    *lead, height, width, channels = images.shape
    rows, columns = grid_shape((height, width), patch_size)
    x = images.reshape(*lead, rows, patch_size, columns, patch_size, channels)
    x = jnp.moveaxis(x, -4, -3)
    return x.reshape(*lead, rows * columns, patch_size * patch_size * channels)


def unpatchify(patches: jax.Array, patch_size: int, image_size: Sequence[int]) -> jax.Array:
    """Inverse of :func:`patchify` for pictures of ``image_size``, ``(height, width)`` in pixels.

    Raises:
        ValueError: if the number of patches does not fit the image size.
    """
    *lead, num_patches, patch_dim = patches.shape
    rows, columns = grid_shape(image_size, patch_size)
    if num_patches != rows * columns:
        raise ValueError(
            f"{num_patches} patches do not tile {image_size} pixels at patch_size {patch_size}: "
            f"expected {rows} x {columns} = {rows * columns}"
        )
    channels = patch_dim // patch_size**2
    x = patches.reshape(*lead, rows, columns, patch_size, patch_size, channels)
    x = jnp.moveaxis(x, -4, -3)
    return x.reshape(*lead, *image_size, channels)


def patches_in_box(loc: jax.Array, image_size: tuple[int, int], patch_size: int) -> jax.Array:
    """Which patches belong to the object: those whose centre lies in the box, or else the one nearest to its centre.

    Args:
        loc: Box ``(x, y, w, h)``, centre, in pixels, ``[..., 4]``.
        image_size: ``(height, width)`` in pixels.
        patch_size: In pixels.

    Returns:
        ``[..., num_patches]`` bool.
    """
    rows, columns = grid_shape(image_size, patch_size)
    centre_y, centre_x = jnp.meshgrid(
        (jnp.arange(rows) + 0.5) * patch_size, (jnp.arange(columns) + 0.5) * patch_size, indexing="ij"
    )
    lead = (1,) * (loc.ndim - 1)
    dx = jnp.abs(centre_x.reshape(*lead, -1) - loc[..., 0:1])
    dy = jnp.abs(centre_y.reshape(*lead, -1) - loc[..., 1:2])
    inside = (dx <= loc[..., 2:3] / 2) & (dy <= loc[..., 3:4] / 2)
    nearest = jax.nn.one_hot(jnp.argmin(dx**2 + dy**2, axis=-1), rows * columns, dtype=bool)
    return jnp.where(inside.any(axis=-1, keepdims=True), inside, nearest)
