"""A cloud as the moments of its cells, and cells painted from moments.

Around points far from each other stand Voronoi cells; a cell is told by its mean and by the symmetric square root of
its covariance: nine features, each a smooth function of the points.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.models.point_geometry import cells, farthest_points, take_points

NUM_FEATURES = 9
_ROUNDS = 2
_UPPER = np.triu_indices(3)
_GOLDEN = np.pi * (3 - 5**0.5)


def moment_features(points: jax.Array, num_tokens: int) -> jax.Array:
    """Means and shapes of cells, ``[..., num_points, 3]`` to ``[..., num_tokens, 9]``; no gradient passes."""
    points = jax.lax.stop_gradient(points)
    centres = take_points(points, farthest_points(points, num_tokens))
    means, covariance, _ = cells(points, centres, _ROUNDS)
    values, vectors = jnp.linalg.eigh(covariance)
    root = jnp.einsum("...de,...e,...fe->...df", vectors, jnp.sqrt(jnp.maximum(values, 0)), vectors)
    return jnp.concatenate([means, root[..., *_UPPER]], axis=-1)


def split_features(features: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Means ``[..., 3]`` and shapes ``[..., 3, 3]``, symmetric, of features ``[..., 9]``."""
    places = np.zeros((3, 3), int)
    places[_UPPER] = places.T[_UPPER] = np.arange(6)
    return features[..., :3], features[..., 3:][..., places]


@functools.lru_cache(maxsize=64)
def sunflower(count: int) -> np.ndarray:
    """Evenly spread points in a disc, ``[count, 2]``, of mean 0 and covariance 1; for one point it is the centre."""
    place = np.arange(count) + 0.5
    radius, angle = np.sqrt(place), place * _GOLDEN
    return _whiten(np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1))


@functools.lru_cache(maxsize=64)
def fibonacci_sphere(count: int) -> np.ndarray:
    """Evenly spread points on a sphere, ``[count, 3]``, moved a little to have mean 0 and covariance 1."""
    place = np.arange(count) + 0.5
    height, angle = 1 - 2 * place / count, place * _GOLDEN
    radius = np.sqrt(1 - height**2)
    return _whiten(np.stack([radius * np.cos(angle), radius * np.sin(angle), height], -1))


def paint_discs(features: jax.Array, counts: tuple[int, ...]) -> jax.Array:
    """Points of flat cells, a sunflower on the two long axes of each, ``[..., sum(counts), 3]``.

    Their means are the cells', their covariances too on these axes.

    Args:
        features: ``[..., num_tokens, 9]``.
        counts: Points of each cell, ``num_tokens`` numbers, falling.
    """
    means, shapes = split_features(features)
    values, vectors = jnp.linalg.eigh(shapes)
    order = jnp.argsort(-jnp.abs(values), axis=-1)[..., :2]
    axes = jnp.take_along_axis(vectors * values[..., None, :], order[..., None, :], axis=-1)
    parts, start = [], 0
    for count in sorted(set(counts), reverse=True):
        stop = start + counts.count(count)
        spread = jnp.einsum("...mda,pa->...mpd", axes[..., start:stop, :, :], sunflower(count))
        parts.append((means[..., start:stop, None, :] + spread).reshape(*means.shape[:-2], -1, 3))
        start = stop
    return jnp.concatenate(parts, axis=-2)


def _whiten(pattern: np.ndarray) -> np.ndarray:
    if len(pattern) <= pattern.shape[1]:
        return np.zeros(pattern.shape, np.float32)
    pattern = pattern - pattern.mean(0)
    values, vectors = np.linalg.eigh(pattern.T @ pattern / len(pattern))
    return np.asarray(pattern @ (vectors / np.sqrt(values)) @ vectors.T, np.float32)
