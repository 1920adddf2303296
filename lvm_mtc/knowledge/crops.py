"""Boxes cut out of pictures and resized, as many at once as there are candidates, all of one static size."""

import jax
import jax.numpy as jnp

FITS = ("stretch", "around", "within")
"""How a box becomes a square: stretched; enlarged to the square around it; or its largest centred square, which is what
CLIP's own preprocessing makes of a cropped picture and which cuts the ends off a long object."""


def clip_boxes(boxes: jax.Array, valid: jax.Array, height: int, width: int) -> tuple[jax.Array, jax.Array]:
    """Cuts off what reaches outside the picture.

    Args:
        boxes: ``[..., 4]``, ``(x, y, w, h)``, centre, pixels.
        valid: ``[...]`` bool.
        height: Picture height, pixels.
        width: Picture width, pixels.

    Returns:
        boxes: The parts inside; zeros where not valid.
        valid: ``[...]`` bool; no longer where nothing is left or a number is not finite.
    """
    half = jnp.abs(boxes[..., 2:]) / 2
    limit = jnp.asarray([width, height], boxes.dtype).reshape((1,) * (boxes.ndim - 1) + (2,))
    low = jnp.clip(boxes[..., :2] - half, 0, limit)
    high = jnp.clip(boxes[..., :2] + half, 0, limit)
    inside = jnp.concatenate([(low + high) / 2, high - low], axis=-1)
    valid = valid & jnp.all(jnp.isfinite(boxes), axis=-1) & jnp.all(boxes[..., 2:] > 0, axis=-1)
    valid = valid & jnp.all(high > low, axis=-1)
    return jnp.where(valid[..., None], inside, 0), valid


def crop_boxes(
    images: jax.Array, boxes: jax.Array, size: int, *, method: str = "cubic", fit: str = "stretch"
) -> jax.Array:
    """Resizes boxes to squares with an antialiasing filter, as Pillow's ``resize(..., box=...)`` does.

    The filter widens where a box is made smaller; ``"cubic"`` is CLIP's (Keys, a = -0.5), without rounding to 8 bits.

    Args:
        images: ``[batch, height, width, 3]`` in [0, 1].
        boxes: ``[batch, num_boxes, 4]``, ``(x, y, w, h)``, centre, pixels; inside the picture, as :func:`clip_boxes`
            leaves them. An empty one gives the pixel at its centre.
        size: Side of the squares, pixels.
        method: ``"cubic"`` or ``"linear"``.
        fit: A name in :data:`FITS`.

    Returns:
        ``[batch, num_boxes, size, size, 3]``, clipped to [0, 1].

    Raises:
        ValueError: if shapes do not fit, or a name is not known.
    """
    if images.ndim != 4 or images.shape[-1] != 3 or boxes.shape != (images.shape[0], *boxes.shape[1:2], 4):
        raise ValueError(
            f"images {images.shape} and boxes {boxes.shape} do not fit: expected [B, H, W, 3] and [B, N, 4]"
        )
    if method not in ("cubic", "linear"):
        raise ValueError(f"method must be 'cubic' or 'linear', got {method!r}")
    boxes = fit_boxes(boxes, images.shape[1], images.shape[2], fit)

    def one(image, box):
        extent = jnp.maximum(box[2:], 1.0)
        scale = (size / extent)[::-1]
        low = (box[:2] - extent / 2)[::-1]
        return jax.image.scale_and_translate(
            image, (size, size, 3), (0, 1), scale, -low * scale, method=method, antialias=True
        )

    crops = jax.vmap(jax.vmap(one, in_axes=(None, 0)))(images, boxes)
    return jnp.clip(crops, 0.0, 1.0)


def fit_boxes(boxes: jax.Array, height: int, width: int, fit: str) -> jax.Array:
    """Boxes as they are cut out: see :data:`FITS`. A square that would reach outside is moved inside, or stretched.

    Args:
        boxes: ``[..., 4]``, ``(x, y, w, h)``, centre, pixels, inside the picture.
        height: Picture height, pixels.
        width: Picture width, pixels.
        fit: A name in :data:`FITS`.

    Raises:
        ValueError: if the name is not known.
    """
    if fit not in FITS:
        raise ValueError(f"fit must be one of {', '.join(FITS)}, got {fit!r}")
    if fit == "stretch":
        return boxes
    side = jnp.max(boxes[..., 2:], -1, keepdims=True) if fit == "around" else jnp.min(boxes[..., 2:], -1, keepdims=True)
    limit = jnp.asarray([width, height], boxes.dtype).reshape((1,) * (boxes.ndim - 1) + (2,))
    sides = jnp.minimum(side, limit)
    return jnp.concatenate([jnp.clip(boxes[..., :2], sides / 2, limit - sides / 2), sides], axis=-1)
