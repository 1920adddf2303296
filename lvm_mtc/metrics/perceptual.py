"""Learned perceptual distance between pictures."""

from typing import Any

import jax
import jax.numpy as jnp

from lvm_mtc.metrics.pictures import mean_over_pixels, unit_pictures
from lvm_mtc.models.perceptual import MIN_SIZE, distance_maps


def perceptual_distance(
    params: Any, images: jax.Array, images_hat: jax.Array, mask: jax.Array | None = None, *, data_range: float = 1.0
) -> jax.Array:
    """ST-LPIPS distance of each picture: squared differences of weighted unit features, averaged over places.

    Linear, >= 0; smaller is more alike, 0 for equal pictures. Without a mask each layer is averaged over its own grid;
    with one, each layer's differences are interpolated to the picture's pixels (bilinear) and averaged over those of
    the mask. A feature of the last layer sees 101 x 101 pixels: the value of a small box is not of the box alone.

    Args:
        params: Of ``models.perceptual.PerceptualNet``, as ``interop.perceptual_weights.load_perceptual`` reads them.
        images: As in ``metrics.pictures``, and so what follows; three channels, sides of 21 or more.

    Source: Ghildyal, Liu, Shift-tolerant perceptual similarity metric (2022); Zhang et al., The unreasonable
    effectiveness of deep features as a perceptual metric (2018), Eq. 1.
    """
    images, images_hat = unit_pictures("perceptual_distance", images, images_hat, mask, data_range)
    *lead, height, width, channels = images.shape
    if channels != 3 or min(height, width) < MIN_SIZE:
        wanted = f"3 channels and {MIN_SIZE} x {MIN_SIZE} pixels or more"
        got = f"height x width x channels = {height} x {width} x {channels}"
        raise ValueError(f"perceptual_distance needs pictures of {wanted}, got {got}")
    total = jnp.zeros(())
    for difference in distance_maps(params, *(x.reshape(-1, height, width, 3) for x in (images, images_hat))):
        difference = difference.reshape(*lead, *difference.shape[1:])
        if mask is not None:
            difference = jax.image.resize(difference, (*lead, height, width), "bilinear")
        total = total + mean_over_pixels(difference, mask)
    return total
