"""Metrics of point clouds: how far the points of one lie from those of the other."""

import jax
import jax.numpy as jnp

from lvm_mtc.models.point_geometry import nearest_squares

PEAK = 2.0
"""Side of the cube [-1, 1]^3, which the clouds' unit ball touches."""


def chamfer_distance(points: jax.Array, points_hat: jax.Array) -> jax.Array:
    """Mean squared distance to the nearest point of the other cloud, the two directions added.

    Args:
        points: ``[..., num_points, 3]``.
        points_hat: ``[..., other_num_points, 3]``, same unit.

    Returns:
        ``[...]``, unit squared.

    Source: Fan, Su, Guibas, A Point Set Generation Network for 3D Object Reconstruction from a Single Image (2017).
    """
    there, back = nearest_squares(points, points_hat)
    return there.mean(axis=-1) + back.mean(axis=-1)


def d1_psnr(points: jax.Array, points_hat: jax.Array, peak: float = PEAK) -> jax.Array:
    """Point-to-point PSNR, 10 log10(3 peak^2 / e), e the larger of both directions' mean squared distances.

    Args:
        points: ``[..., num_points, 3]``.
        points_hat: ``[..., other_num_points, 3]``, same unit.
        peak: Side of the cube that clouds may fill, same unit; with 1 it is 6.02 dB lower than with 2.

    Returns:
        ``[...]``, dB; infinite for equal sets.

    Source: D1 of MPEG's Common Test Conditions for Point Cloud Compression, with the cube's side for its grid's.
    """
    there, back = nearest_squares(points, points_hat)
    return 10 * jnp.log10(3 * peak**2 / jnp.maximum(there.mean(axis=-1), back.mean(axis=-1)))


def hausdorff_distance(points: jax.Array, points_hat: jax.Array) -> jax.Array:
    """The largest distance of a point of either cloud to the nearest of the other, ``[...]``, same unit."""
    there, back = nearest_squares(points, points_hat)
    return jnp.sqrt(jnp.maximum(there.max(axis=-1), back.max(axis=-1)))
