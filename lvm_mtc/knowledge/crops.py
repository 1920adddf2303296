"""Boxes cut out of pictures and resized, as many at once as there are candidates, all of one static size."""

import jax
import jax.numpy as jnp


def clip_boxes(boxes: jax.Array, valid: jax.Array, height: int, width: int) -> tuple[jax.Array, jax.Array]:
    """Cuts off what reaches outside the picture.

    Args:
        boxes: ``[..., 4]``, ``(x, y, w, h)``, centre, pixels.
        valid: ``[...]`` bool.

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


def crop_boxes(images: jax.Array, boxes: jax.Array, size: int) -> jax.Array:
    """Stretches boxes to squares with CLIP's antialiasing cubic filter, as Pillow's ``resize(..., box=...)`` does.

    The filter (Keys, a = -0.5) widens where a box is made smaller; nothing is rounded to 8 bits.

    Args:
        images: ``[batch, height, width, 3]`` in [0, 1].
        boxes: ``[batch, num_boxes, 4]``, ``(x, y, w, h)``, centre, pixels; inside the picture, as :func:`clip_boxes`
            leaves them. An empty one gives the pixel at its centre.
        size: Side of the squares, pixels.

    Returns:
        ``[batch, num_boxes, size, size, 3]``, clipped to [0, 1].
    """
    if images.ndim != 4 or images.shape[-1] != 3 or boxes.shape != (images.shape[0], *boxes.shape[1:2], 4):
        wanted = "[B, H, W, 3] and [B, N, 4]"
        raise ValueError(f"images {images.shape} and boxes {boxes.shape} do not fit: expected {wanted}")

    def crop(image, box):
        extent = jnp.maximum(box[2:], 1.0)
        scale = (size / extent)[::-1]
        low = (box[:2] - extent / 2)[::-1]
        return jax.image.scale_and_translate(image, (size, size, 3), (0, 1), scale, -low * scale, "cubic")

    crops = jax.vmap(jax.vmap(crop, in_axes=(None, 0)))(images, boxes)
    return jnp.clip(crops, 0.0, 1.0)
