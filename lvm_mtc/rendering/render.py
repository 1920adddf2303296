"""A picture of a scene of Gaussians."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lvm_mtc.rendering.compositing import dense, tiled
from lvm_mtc.rendering.gaussians import Camera, Gaussians, project

RENDERERS = ("tiles", "dense")
DILATION = 0.05
CAPACITY = 256
_LEAST_COVER = 1e-6


class Rendered(NamedTuple):
    """What a camera sees.

    Attributes:
        picture: ``[height, width, 3]``, not clipped.
        depth: Mean over what a pixel shows of the scene, the background left out; 0 where it shows none,
            ``[height, width]``.
        cover: Share of the light that comes from the scene, 0 ... 1, ``[height, width]``.
        overflow: Splats that tiles had no room for, int32; the picture is wrong unless it is 0.
    """

    picture: jax.Array
    depth: jax.Array
    cover: jax.Array
    overflow: jax.Array


def render(
    gaussians: Gaussians,
    camera: Camera,
    size: tuple[int, int],
    *,
    background: ArrayLike = 0.0,
    renderer: str = "tiles",
    tile: int = 8,
    capacity: int = CAPACITY,
    dilation: ArrayLike = DILATION,
) -> Rendered:
    """Renders one scene for one camera; under ``jit`` and ``vmap``, with gradients for scene, camera and background.

    The order of depth is a constant of the gradient, and so is which splats a tile has.

    Args:
        gaussians: ``[n, ...]``, n at least 1.
        camera: Where it is seen from.
        size: Height and width, pixels; static.
        background: Colour behind all, a number or ``[3]``.
        renderer: ``"tiles"``, or ``"dense"``: every Gaussian at every pixel, slower, without overflow.
        tile: Side of a tile, pixels.
        capacity: Splats of a tile at most; those behind are left out and counted. It is what time is spent on.
        dilation: Variance of the pixel's low-pass filter, > 0, pixels squared.

    Raises:
        ValueError: if the renderer is unknown, or ``size``, ``tile`` or ``capacity`` is less than 1.
    """
    if renderer not in RENDERERS:
        raise ValueError(f"renderer must be one of {', '.join(RENDERERS)}, got {renderer!r}")
    for name, number in (("size", min(size)), ("tile", tile), ("capacity", capacity)):
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")
    if gaussians.mean.ndim != 2 or not len(gaussians.mean):
        shape = gaussians.mean.shape
        raise ValueError(f"gaussians.mean must be [n, 3] with n at least 1, got {shape}; vmap renders several scenes")
    splats = project(gaussians, camera, dilation)
    if renderer == "dense":
        (values, passed), overflow = dense(splats, size), jnp.int32(0)
    else:
        values, passed, overflow = tiled(splats, size, tile, capacity)
    background = jnp.broadcast_to(jnp.asarray(background, values.dtype), (3,))
    picture = values[..., :3] + passed[..., None] * background[None, None]
    cover = values[..., 4]
    depth = jnp.where(cover > _LEAST_COVER, values[..., 3] / jnp.maximum(cover, _LEAST_COVER), 0.0)
    return Rendered(picture, depth, cover, overflow)
