"""Distances between point clouds, and how a cloud is divided: sampling, groups of neighbours, cells."""

import jax
import jax.numpy as jnp


def squared_distances(points: jax.Array, others: jax.Array) -> jax.Array:
    """Between all points ``[..., n, 3]`` and all others ``[..., m, 3]``: ``[..., n, m]``, exact differences."""
    gap = points[..., :, None, :] - others[..., None, :, :]
    return jnp.sum(gap * gap, axis=-1)


def nearest_squares(points: jax.Array, others: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Squared distance of each point to the nearest other, ``[..., n]``, and of each other to the nearest point."""
    squares = squared_distances(points, others)
    return squares.min(axis=-1), squares.min(axis=-2)


def take_points(values: jax.Array, places: jax.Array) -> jax.Array:
    """Rows of ``values [..., n, features]`` at ``places [..., *shape]`` int: ``[..., *shape, features]``."""
    lead = values.shape[:-2]
    flat = places.reshape(*lead, -1, 1)
    return jnp.take_along_axis(values, flat, axis=-2).reshape(*places.shape, values.shape[-1])


def farthest_points(points: jax.Array, count: int) -> jax.Array:
    """Places of points each as far as can be from those before; the first is the farthest from the centroid.

    The places depend on the set of points alone, but where two are equally far: then the first in order is taken.

    Args:
        points: ``[..., n, 3]``.
        count: Points to take, at most n.

    Returns:
        ``[..., count]`` int32.

    Source: Qi, Yi, Su, Guibas, PointNet++ (2017); they start at a random point.
    """
    if not 1 <= count <= points.shape[-2]:
        raise ValueError(f"farthest_points: count must lie in 1 ... {points.shape[-2]}, got {count}")
    centroid = points.mean(axis=-2, keepdims=True)
    first = jnp.argmax(jnp.sum((points - centroid) ** 2, axis=-1), axis=-1)

    def step(carry, _):
        nearest, last = carry
        gap = points - take_points(points, last[..., None])
        nearest = jnp.minimum(nearest, jnp.sum(gap * gap, axis=-1))
        return (nearest, jnp.argmax(nearest, axis=-1)), last

    start = jnp.full(points.shape[:-1], jnp.inf, points.dtype), first
    _, places = jax.lax.scan(step, start, length=count)
    return jnp.moveaxis(places, 0, -1).astype(jnp.int32)


def nearest_places(points: jax.Array, others: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """Places of the ``count`` nearest others of each point, by rising distance, and their squared distances.

    ``[..., n, 3]`` and ``[..., m, 3]`` to ``[..., n, count]`` int32 and float.
    """
    squares = squared_distances(points, others)
    # XLA selects from the rows of a matrix ten times faster than from those of more axes.
    negative, places = jax.lax.top_k(-squares.reshape(-1, squares.shape[-1]), count)
    shape = *squares.shape[:-1], count
    return places.reshape(shape), -negative.reshape(shape)


def ball_groups(points: jax.Array, centres: jax.Array, count: int, radius: float) -> jax.Array:
    """Places of the ``count`` nearest points of each centre; those beyond ``radius`` give way to the nearest.

    Args:
        points: ``[..., n, 3]``.
        centres: ``[..., m, 3]``.

    Returns:
        ``[..., m, count]`` int32, by rising distance.

    Source: the ball query of PointNet++ (2017).
    """
    places, squares = nearest_places(centres, points, count)
    return jnp.where(squares <= radius**2, places, places[..., :1])


def cells(points: jax.Array, centres: jax.Array, rounds: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Voronoi cells of the centres after some rounds of Lloyd's algorithm.

    A cell without points keeps its centre, and its covariance is 0.

    Args:
        points: ``[..., n, 3]``.
        centres: ``[..., m, 3]``, where the rounds begin.

    Returns:
        Means of the cells' points ``[..., m, 3]``, covariances ``[..., m, 3, 3]``, and numbers of points ``[..., m]``.

    Source: Lloyd, Least squares quantization in PCM (1982).
    """
    for _ in range(rounds):
        centres = _cell_means(points, centres)[0]
    means, own, count = _cell_means(points, centres)
    gap = points - jnp.einsum("...nm,...md->...nd", own, means, precision="highest")
    covariance = jnp.einsum("...nm,...nd,...ne->...mde", own, gap, gap, precision="highest")
    return means, covariance / jnp.maximum(count, 1)[..., None, None], count


def _cell_means(points: jax.Array, centres: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    own = jax.nn.one_hot(jnp.argmin(squared_distances(points, centres), axis=-1), centres.shape[-2])
    count = own.sum(axis=-2)
    total = jnp.einsum("...nm,...nd->...md", own, points, precision="highest")
    return jnp.where(count[..., None] > 0, total / jnp.maximum(count, 1)[..., None], centres), own, count
