"""How well one box fits another. Boxes are ``(x, y, w, h)``, centre first."""

import math

import jax
import jax.numpy as jnp


def pairwise_iou(first: jax.Array, second: jax.Array) -> jax.Array:
    """Intersection over union ``[..., m, n]`` of boxes ``[..., m, 4]`` and ``[..., n, 4]``; 0 where both are empty."""
    return _iou(first[..., :, None, :], second[..., None, :, :])


def _iou(first: jax.Array, second: jax.Array) -> jax.Array:
    """Of boxes whose leading axes broadcast (their ranks are equal)."""
    low = jnp.maximum(first[..., :2] - first[..., 2:] / 2, second[..., :2] - second[..., 2:] / 2)
    high = jnp.minimum(first[..., :2] + first[..., 2:] / 2, second[..., :2] + second[..., 2:] / 2)
    sides = jnp.maximum(high - low, 0)
    intersection = sides[..., 0] * sides[..., 1]
    union = first[..., 2] * first[..., 3] + second[..., 2] * second[..., 3] - intersection
    return intersection / jnp.where(union > 0, union, 1)


def complete_iou(first: jax.Array, second: jax.Array) -> jax.Array:
    r"""Complete IoU (CIoU): IoU minus penalties for distance and for other proportions.

    CIoU = IoU - d^2 / c^2 - alpha v with d the distance of the centres, c the diagonal of the smallest box around both,
    v = (2/pi)^2 (atan(w2/h2) - atan(w1/h1))^2 and alpha = v / (1 - IoU + v). As in the source alpha is a constant for
    the gradient. Unlike there the gradient of v is the true one, without the factor w^2 + h^2, which is for boxes
    that are measured in fractions of the picture.

    Args:
        first: ``[..., 4]``, as ``second``; sides > 0 for a finite gradient.

    Returns:
        ``[...]``, at most 1, which only equal boxes reach; below 0 for boxes far apart.

    Raises:
        ValueError: if the shapes differ or are no boxes.

    Source: Zheng et al., Distance-IoU Loss (2020), Eq. 8-11.
    """
    if first.shape != second.shape or not first.ndim or first.shape[-1] != 4:
        raise ValueError(f"first {first.shape} and second {second.shape} must both be boxes [..., 4] of one shape")
    iou = _iou(first, second)
    distance = jnp.sum(jnp.square(first[..., :2] - second[..., :2]), axis=-1)
    low = jnp.minimum(first[..., :2] - first[..., 2:] / 2, second[..., :2] - second[..., 2:] / 2)
    high = jnp.maximum(first[..., :2] + first[..., 2:] / 2, second[..., :2] + second[..., 2:] / 2)
    diagonal = jnp.sum(jnp.square(high - low), axis=-1)
    turn = jnp.arctan2(second[..., 2], second[..., 3]) - jnp.arctan2(first[..., 2], first[..., 3])
    v = (2 / math.pi) ** 2 * jnp.square(turn)
    # 0/0 for equal boxes, whose penalty is 0.
    slack = 1 - iou + v
    alpha = jax.lax.stop_gradient(v / jnp.where(slack > 0, slack, 1))
    return iou - distance / jnp.where(diagonal > 0, diagonal, 1) - alpha * v
