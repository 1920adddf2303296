"""Gaussians from numbers at the pixels of a canonical view, and views of the Gaussians of both.

Source: per-pixel Gaussian maps of a rectified pair are GPS-Gaussian's (Zheng et al., 2024).
"""

import math
from typing import Any

import jax
import jax.numpy as jnp

from lvm_mtc.rendering import Gaussians, mirrored, render, stereo_camera, union
from lvm_mtc.schemes.gs_scnet.disparity import spread

LEAST_DISPARITY = 0.2
_START_SCALE, _START_OPACITY = 0.42, 2.0  # times the density, pixels; a logit
_DISPARITY_UNIT = 4.0


def disparity_of(numbers: jax.Array, disparity: jax.Array) -> jax.Array:
    """Of each Gaussian, pixels, ``[..., rows, columns]``: the received one on a finer grid, and what was learned.

    Args:
        numbers: ``[..., rows, columns, 14]``.
        disparity: As received, pixels, ``[..., h, w]``.
    """
    fine = spread(disparity, numbers.shape[-2] // disparity.shape[-1])
    return jnp.maximum(fine + _DISPARITY_UNIT * numbers[..., 2], LEAST_DISPARITY)


def lift_view(numbers: jax.Array, disparity: jax.Array, picture: jax.Array, camera: jax.Array) -> Gaussians:
    """Gaussians of one canonical view in its own camera's frame, a row after the other.

    Args:
        numbers: ``[rows, columns, 14]``, all 0: round ones of 0.42 of their distance, of the picture's colour.
        disparity: Of each, pixels, ``[rows, columns]``.
        picture: Where the colours start, ``[H, W, 3]``.
        camera: Focal lengths, optical centre and baseline, ``[5]``.
    """
    rows, columns = disparity.shape
    density = picture.shape[0] // rows
    focal, centre, baseline = camera[:2], camera[2:4], camera[4]
    depth = focal[0] * baseline / disparity
    x, y = ((jnp.arange(num) + 0.5) * density for num in (columns, rows))
    pixel = jnp.stack(jnp.meshgrid(x, y), axis=-1) + jnp.tanh(numbers[..., :2]) * density / 2
    side = (pixel - centre[None, None]) * depth[..., None] / focal[None, None]
    start = math.log(math.expm1(_START_SCALE))
    scale = jax.nn.softplus(numbers[..., 3:6] + start) * (density * depth / focal[0])[..., None]
    quaternion = numbers[..., 6:10] + jnp.array([1.0, 0.0, 0.0, 0.0]).reshape(1, 1, 4)
    colour = picture.reshape(rows, density, columns, density, 3).mean((1, 3)) + numbers[..., 11:14]
    parts = Gaussians(
        mean=jnp.concatenate([side, depth[..., None]], axis=-1),
        quaternion=quaternion,
        scale=scale,
        opacity=jax.nn.sigmoid(numbers[..., 10] + _START_OPACITY),
        colour=colour,
    )
    return jax.tree.map(lambda a: a.reshape(rows * columns, *a.shape[2:]), parts)


def lift_pair(numbers: jax.Array, disparity: jax.Array, pictures: jax.Array, camera: jax.Array) -> Gaussians:
    """Gaussians of both views in the left camera's frame, the left view's first; arguments with an axis of 2 in front.

    The right view is a canonical one, so its Gaussians are mirrored back.
    """
    left, right = (lift_view(numbers[i], disparity[i], pictures[i], camera) for i in range(2))
    right = mirrored(right)
    right = right._replace(mean=right.mean + camera[4] * jnp.array([[1.0, 0.0, 0.0]]))
    return union(left, right)


def views_of(
    gaussians: Gaussians, places: jax.Array, camera: jax.Array, size: tuple[int, int], **options: Any
) -> tuple[jax.Array, jax.Array]:
    """What cameras at ``places [m]`` see, 0 the left and 1 the right one: ``[m, H, W, 3]``, and the overflow, a number.

    ``options`` are those of ``rendering.render``.
    """

    def view(place: jax.Array) -> tuple[jax.Array, jax.Array]:
        seen = stereo_camera(place, size, 1.0, camera[4])._replace(focal_length=camera[:2], centre=camera[2:4])
        rendered = render(gaussians, seen, size, **options)
        return rendered.picture, rendered.overflow

    pictures, overflow = jax.vmap(view)(places)
    return pictures, overflow.sum()
