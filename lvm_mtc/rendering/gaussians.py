"""What is rendered, from where, and how it falls on the picture plane."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

NEAR = 0.1
"""Least depth of what a camera sees, unit of the means."""
_LEAST_SQUARE = 1e-24


class Gaussians(NamedTuple):
    """A scene: n Gaussians, with an opacity and one colour each.

    Attributes:
        mean: ``[..., n, 3]``.
        quaternion: Of the rotation from a Gaussian's axes to the scene's, w x y z, of any norm, ``[..., n, 4]``.
        scale: Standard deviations along its axes, unit of the means, ``[..., n, 3]``.
        opacity: In the middle, 0 ... 1, ``[..., n]``.
        colour: ``[..., n, 3]``; of pictures in [0, 1], but nothing is clipped.
    """

    mean: jax.Array
    quaternion: jax.Array
    scale: jax.Array
    opacity: jax.Array
    colour: jax.Array


class Camera(NamedTuple):
    """A pinhole camera.

    Attributes:
        rotation: From the scene's axes to the camera's, ``[3, 3]``.
        translation: A point of the scene is at ``rotation @ point + translation``, ``[3]``.
        focal_length: In x and y, pixels, ``[2]``.
        centre: Where the optical axis meets the picture, x and y, pixels, ``[2]``.
    """

    rotation: jax.Array
    translation: jax.Array
    focal_length: jax.Array
    centre: jax.Array


class Splats(NamedTuple):
    """Gaussians on a picture plane.

    Attributes:
        centre: x, y, pixels, ``[n, 2]``.
        variance: xx and yy of the covariance, pixels squared, ``[n, 2]``.
        inverse: xx, xy, yy of its inverse, ``[n, 3]``.
        depth: Along the optical axis, ``[n]``.
        opacity: 0 for what is nearer than ``NEAR``, ``[n]``.
        colour: ``[n, 3]``.
    """

    centre: jax.Array
    variance: jax.Array
    inverse: jax.Array
    depth: jax.Array
    opacity: jax.Array
    colour: jax.Array


def stereo_camera(
    place: ArrayLike, size: tuple[int, int], focal_length: ArrayLike, baseline: ArrayLike = 1.0
) -> Camera:
    """A camera on the line through both cameras of a rectified pair.

    Args:
        place: 0 for the left, 1 for the right camera, anything between or beyond.
        size: Height and width of the picture, pixels.
        focal_length: Pixels.
        baseline: Distance of the two, unit of depth.
    """
    along = jnp.asarray(place * baseline, float)
    return Camera(
        rotation=jnp.eye(3),
        translation=jnp.stack([-along, jnp.zeros_like(along), jnp.zeros_like(along)]),
        focal_length=jnp.full(2, focal_length, float),
        centre=jnp.array([size[1] / 2, size[0] / 2]),
    )


def union(*scenes: Gaussians) -> Gaussians:
    """All Gaussians of scenes with equal leading axes, one scene after the other."""
    axes = Gaussians(-2, -2, -2, -1, -2)
    return Gaussians(*(jnp.concatenate(parts, axis) for *parts, axis in zip(*scenes, axes, strict=True)))


def mirrored(gaussians: Gaussians) -> Gaussians:
    """The scene in a mirror at x = 0."""
    mean = gaussians.mean * jnp.broadcast_to(jnp.array([-1.0, 1, 1]), gaussians.mean.shape)
    turned = jnp.broadcast_to(jnp.array([1.0, 1, -1, -1]), gaussians.quaternion.shape)
    return gaussians._replace(mean=mean, quaternion=gaussians.quaternion * turned)


def rotation_matrix(quaternion: jax.Array) -> jax.Array:
    """Of quaternions w x y z of any norm, ``[..., 4]`` to ``[..., 3, 3]``; 0 gives the identity."""
    square = jnp.sum(quaternion**2, axis=-1, keepdims=True)
    w, x, y, z = jnp.moveaxis(quaternion * jax.lax.rsqrt(jnp.maximum(square, _LEAST_SQUARE)), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def project(gaussians: Gaussians, camera: Camera, dilation: ArrayLike) -> Splats:
    """EWA splatting: the perspective is linearised at each mean, so Gaussians fall on the plane as Gaussians.

    Sigma' = J W Sigma W^T J^T + dilation I, with Sigma the covariance of the scene, W the camera's rotation and J the
    Jacobian of the projection. It is exact on the optical axis to the first order in scale / depth, and worst at the
    edge of wide pictures.

    Args:
        gaussians: One scene, ``[n, ...]``.
        camera: From where it is seen.
        dilation: Variance of the pixel's low-pass filter, > 0, pixels squared; 3DGS: 0.3, for 800 pixels.

    Source: Zwicker, Pfister, van Baar, Gross, EWA Splatting (2002); Kerbl et al., 3D Gaussian Splatting (2023), Eq. 5.
    """
    place = _product("nj,ij->ni", gaussians.mean, camera.rotation) + camera.translation[None]
    seen = place[:, 2] > NEAR
    x, y, z = place[:, 0], place[:, 1], jnp.where(seen, place[:, 2], 1.0)
    fx, fy = camera.focal_length
    centre = jnp.stack([fx * x / z, fy * y / z], axis=-1) + camera.centre[None]
    zero = jnp.zeros_like(z)
    rows = [fx / z, zero, -fx * x / z**2], [zero, fy / z, -fy * y / z**2]
    jacobian = jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)
    axes = rotation_matrix(gaussians.quaternion) * gaussians.scale[:, None, :]
    spread = _product("nij,jk,nkl->nil", jacobian, camera.rotation, axes)
    a, b, c = (jnp.sum(spread[:, i] * spread[:, j], axis=-1) for i, j in ((0, 0), (0, 1), (1, 1)))
    # By Cauchy and Binet, and so without cancellation, however thin a splat is.
    area = jnp.sum(jnp.cross(spread[:, 0], spread[:, 1]) ** 2, axis=-1)
    determinant = area + dilation * (a + c) + dilation**2
    inverse = jnp.stack([c + dilation, -b, a + dilation], axis=-1) / determinant[:, None]
    variance = jnp.stack([a, c], axis=-1) + dilation
    return Splats(centre, variance, inverse, place[:, 2], jnp.where(seen, gaussians.opacity, 0.0), gaussians.colour)


def _product(indices: str, *factors: jax.Array) -> jax.Array:
    return jnp.einsum(indices, *factors, precision="highest")
