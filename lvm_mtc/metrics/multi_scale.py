"""Structural similarity over several scales."""

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.metrics.pictures import SSIM_RADIUS, mean_over_pixels, similarity_terms, unit_pictures

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the scales, finest first, as measured by Wang et al.; they sum to 1.0001."""


def ms_ssim(
    images: jax.Array, images_hat: jax.Array, mask: jax.Array | None = None, *, data_range: float = 1.0
) -> jax.Array:
    """Multi-scale structural similarity of each picture, in [0, 1], per channel and then averaged over channels.

    The product over scales of the mean contrast and structure, and at the coarsest scale also luminance, each to the
    power of its weight; from scale to scale the mean of 2 x 2 pixels, an odd last row or column repeated. Means are
    over the pixels whose window lies within the picture; with a mask over the mask's pixels, whose weight at a coarser
    scale is the share of the pixels below. A mean below 0 counts as 0.

    Five scales need sides of 161 or more. A smaller picture, of 11 pixels at least, has as many as ``max_scales`` says,
    and the weights of those are scaled to the same sum: such values do not compare with those of five scales. With one
    it is ``ssim``, but for the weights' sum. Arguments are those of ``metrics.pictures``.

    Source: Wang, Simoncelli, Bovik, Multi-scale structural similarity for image quality assessment (2003), Eq. 7 and
    Sec. 3.2. The paper is for one channel.
    """
    images, images_hat = unit_pictures("ms_ssim", images, images_hat, mask, data_range)
    num_scales = max_scales(*images.shape[-3:-1])
    weights = np.array(MS_SSIM_WEIGHTS[:num_scales])
    weights *= sum(MS_SSIM_WEIGHTS) / weights.sum()
    share = None if mask is None else mask[..., None].astype(images.dtype)
    product = 1.0
    for scale, weight in enumerate(weights):
        if scale:
            images, images_hat = _halved(images), _halved(images_hat)
            share = None if share is None else _halved(share)
        luminance, contrast = similarity_terms(images, images_hat)
        values = luminance * contrast if scale == num_scales - 1 else contrast
        if share is None:
            values = values[..., SSIM_RADIUS:-SSIM_RADIUS, SSIM_RADIUS:-SSIM_RADIUS, :]
        of_channels = mean_over_pixels(jnp.moveaxis(values, -1, 0), None if share is None else share[None, ..., 0])
        product = product * _power(of_channels, float(weight))
    return jnp.mean(product, axis=0)


def max_scales(height: int, width: int) -> int:
    """How many scales, 1 to 5, ``ms_ssim`` has for pictures of this size: the window of 11 pixels fits in each."""
    side, window = min(height, width), 2 * SSIM_RADIUS + 1
    if side < window:
        raise ValueError(f"ms_ssim needs pictures of 11 x 11 pixels or more, got height x width = {height} x {width}")
    return sum(-(-side // 2**scale) >= window for scale in range(len(MS_SSIM_WEIGHTS)))


def _halved(x: jax.Array) -> jax.Array:
    """Means of 2 x 2 pixels of ``[..., height, width, channels]``."""
    height, width = x.shape[-3:-1]
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 3) + [(0, height % 2), (0, width % 2), (0, 0)], mode="edge")
    rows = x[..., 0::2, :, :] + x[..., 1::2, :, :]
    return (rows[..., 0::2, :] + rows[..., 1::2, :]) / 4


def _power(x: jax.Array, exponent: float) -> jax.Array:
    """``x**exponent`` for x > 0, else 0 with gradient 0; NaN stays."""
    negative = x <= 0
    return jnp.where(negative, 0.0, jnp.where(negative, 1.0, x) ** exponent)
