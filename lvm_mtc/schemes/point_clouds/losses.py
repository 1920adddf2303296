"""What the codec of point clouds minimises."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.models.point_geometry import squared_distances, take_points
from lvm_mtc.schemes.scheme import Params, Scheme, Source
from lvm_mtc.schemes.simulate import forward

_FLOOR = 1e-6


def cloud_loss(
    scheme: Scheme, params: Params, source: Source, key: jax.Array, link: LinkConfig, point: OperatingPoint,
    weights: Mapping[str, Any],
) -> tuple[jax.Array, dict[str, jax.Array]]:  # fmt: skip
    """End to end: the mean over clouds of the Chamfer distance's natural logarithm; a ``Stage.loss``."""
    outcome = forward(scheme, params, source, key, link, point)
    distance = chamfer(outcome.estimate.data, source.data)
    return jnp.log(distance + _FLOOR).mean(), {"chamfer": distance.mean()}


def chamfer(points: jax.Array, others: jax.Array) -> jax.Array:
    """Both mean squared distances to the nearest point, added; ``[...]`` from ``[..., n, 3]`` and ``[..., m, 3]``.

    The same number as ``metrics.points.chamfer_distance``, with a gradient that passes through the nearest pairs alone.
    """
    squares = jax.lax.stop_gradient(squared_distances(points, others))
    one = points - take_points(others, jnp.argmin(squares, axis=-1))
    two = others - take_points(points, jnp.argmin(squares, axis=-2))
    return jnp.mean(jnp.sum(one * one, axis=-1), axis=-1) + jnp.mean(jnp.sum(two * two, axis=-1), axis=-1)
