"""Metrics of point clouds: how far the points of one lie from those of the other."""

import jax
import jax.numpy as jnp


def chamfer_distance(points: jax.Array, points_hat: jax.Array) -> jax.Array:
    """Mean squared distance to the nearest point of the other cloud, the two directions added.

    Args:
        points: ``[..., num_points, 3]``.
        points_hat: ``[..., other_num_points, 3]``, same unit.

    Returns:
        ``[...]``, unit squared.

    Source: Fan, Su, Guibas, A Point Set Generation Network for 3D Object Reconstruction from a Single Image (2017).
    """
    squares = jnp.sum((points[..., :, None, :] - points_hat[..., None, :, :]) ** 2, axis=-1)
    return squares.min(axis=-1).mean(axis=-1) + squares.min(axis=-2).mean(axis=-1)
