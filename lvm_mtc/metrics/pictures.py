"""Distances between pictures, between tokens and between symbols. Pure functions that work under jit, vmap and grad.

Those of pictures take originals and received ones, ``[..., height, width, channels]`` float in [0, data_range] (black
to white, data_range > 0), and a mask of the pixels that count, ``[..., height, width]`` bool as from ``box_mask``, or
None for all. They give one number per picture, ``[...]``; NaN where a mask is empty. They raise ValueError if shapes do
not fit or a picture is not floating point; and for pictures in the host's memory, whose values can be seen, if they are
not in [0, data_range]: the originals to a tenth of it, the received ones, which a decoder may overshoot, to half of it.
"""

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.models.similarity import SSIM_RADIUS, similarity_terms


def mse(
    images: jax.Array, images_hat: jax.Array, mask: jax.Array | None = None, *, data_range: float = 1.0
) -> jax.Array:
    """Mean squared error of each picture over ``data_range`` squared, linear."""
    images, images_hat = unit_pictures("mse", images, images_hat, mask, data_range)
    return mean_over_pixels(jnp.mean((images - images_hat) ** 2, axis=-1), mask)


def psnr(
    images: jax.Array, images_hat: jax.Array, mask: jax.Array | None = None, *, data_range: float = 1.0
) -> jax.Array:
    """Peak signal-to-noise ratio of each picture, -10 log10(``mse``), dB; infinite for equal pictures."""
    return -10.0 * jnp.log10(mse(images, images_hat, mask, data_range=data_range))


def mean_psnr(
    images: jax.Array, images_hat: jax.Array, mask: jax.Array | None = None, *, data_range: float = 1.0
) -> jax.Array:
    """Mean over pictures of their PSNR, a scalar in dB, as image papers report it.

    It is above ``psnr_of_mean_mse`` by Jensen's inequality, on natural pictures by up to 1 dB and more: say which one
    a number is.
    """
    return jnp.mean(psnr(images, images_hat, mask, data_range=data_range))


def psnr_of_mean_mse(
    images: jax.Array, images_hat: jax.Array, mask: jax.Array | None = None, *, data_range: float = 1.0
) -> jax.Array:
    """PSNR of the mean over pictures of their MSE, a scalar in dB, as training losses suggest it."""
    return -10.0 * jnp.log10(jnp.mean(mse(images, images_hat, mask, data_range=data_range)))


def ssim(
    images: jax.Array, images_hat: jax.Array, mask: jax.Array | None = None, *, data_range: float = 1.0
) -> jax.Array:
    """Structural similarity of each picture, in [-1, 1], the mean over pixels and channels; sides of 11 or more.

    Without a mask the strip of 5 pixels along the edges is left out, as in Wang et al. (2004) and scikit-image
    (``gaussian_weights=True, sigma=1.5, use_sample_covariance=False``). With a mask all of the mask's
    pixels count, those of the strip too (their windows are mirrored at the edge): a box at the edge has a value.
    """
    luminance, contrast = similarity_terms(*unit_pictures("ssim", images, images_hat, mask, data_range))
    values = jnp.mean(luminance * contrast, axis=-1)
    if mask is None:
        values = values[..., SSIM_RADIUS:-SSIM_RADIUS, SSIM_RADIUS:-SSIM_RADIUS]
    return mean_over_pixels(values, mask)


def box_mask(loc: jax.Array, height: int, width: int) -> jax.Array:
    """Pixels whose centre lies in a box; at least one, that nearest to the box's centre.

    Pixel (i, j) has its centre at (x, y) = (j + 0.5, i + 0.5), the picture spans [0, width] x [0, height].

    Args:
        loc: ``[..., 4]``, ``(x, y, w, h)``, centre, pixels.

    Returns:
        ``[..., height, width]`` bool.
    """
    loc = jnp.asarray(loc)
    if loc.ndim == 0 or loc.shape[-1] != 4:
        raise ValueError(f"box_mask: loc must be [..., 4] as (x, y, w, h), got shape {loc.shape}")
    x, y, w, h = (loc[..., i, None] for i in range(4))

    def inside(centre: jax.Array, size: jax.Array, count: int) -> jax.Array:
        lead = (1,) * (centre.ndim - 1)
        at = (jnp.arange(count) + 0.5).reshape(*lead, count)
        nearest = jnp.clip(jnp.floor(centre), 0, count - 1) + 0.5
        return ((at >= centre - size / 2) & (at < centre + size / 2)) | (at == nearest)

    return inside(y, h, height)[..., :, None] & inside(x, w, width)[..., None, :]


def nmse(reference: jax.Array, estimate: jax.Array, *, axis: int | tuple[int, ...] | None = None) -> jax.Array:
    """Squared error over squared norm, for tokens, symbols or channel estimates of any shape, real or complex.

    Returns:
        Linear, over the axes that are not summed over; infinite or NaN where the reference is all zero.
    """
    if reference.shape != estimate.shape:
        raise ValueError(f"nmse: reference {reference.shape} and estimate {estimate.shape} must have one shape")
    return jnp.sum(jnp.abs(reference - estimate) ** 2, axis=axis) / jnp.sum(jnp.abs(reference) ** 2, axis=axis)


def unit_pictures(
    name: str, images: jax.Array, images_hat: jax.Array, mask: jax.Array | None, data_range: float
) -> tuple[jax.Array, jax.Array]:
    """Two pictures scaled to [0, 1], once they, mask and range are checked under the name of the metric."""
    if images.ndim < 3 or images.shape != images_hat.shape:
        raise ValueError(
            f"{name}: pictures must be [..., height, width, channels] of one shape, got {images.shape} and "
            f"{images_hat.shape}"
        )
    if not 0 < data_range < np.inf:
        raise ValueError(f"{name}: data_range must be > 0 and finite, got {data_range!r}")
    for kind, picture, slack in (("original", images, 0.1), ("received", images_hat, 0.5)):
        if not jnp.issubdtype(picture.dtype, jnp.floating):
            raise ValueError(f"{name}: pictures must be float in [0, {data_range:g}], got {picture.dtype}")
        if _is_on_host(picture) and picture.size:
            low, high = (float(of(np.asarray(picture))) for of in (np.min, np.max))
            if low < -slack * data_range or high > (1 + slack) * data_range:
                raise ValueError(
                    f"{name}: {kind} pictures hold {low:.4g} to {high:.4g}, expected 0 to {data_range:g}: "
                    "clip or scale them, or pass data_range"
                )
    if mask is not None and mask.shape != images.shape[:-1]:
        raise ValueError(f"{name}: mask {mask.shape} does not fit pictures {images.shape}: need {images.shape[:-1]}")
    return (images, images_hat) if data_range == 1 else (images / data_range, images_hat / data_range)


def _is_on_host(x: jax.Array | np.ndarray) -> bool:
    """Whether its values can be looked at: under ``jit`` there are none, from an accelerator they had to be fetched."""
    if isinstance(x, jax.core.Tracer) or not isinstance(x, jax.Array):
        return isinstance(x, np.ndarray)
    return x.is_fully_addressable and all(device.platform == "cpu" for device in x.devices())


def mean_over_pixels(values: jax.Array, mask: jax.Array | None) -> jax.Array:
    """Mean over the last two axes, weighted by a mask of bools or of numbers >= 0; None counts all."""
    if mask is None:
        return jnp.mean(values, axis=(-2, -1))
    return jnp.sum(jnp.where(mask > 0, values * mask, 0.0), axis=(-2, -1)) / jnp.sum(mask, axis=(-2, -1))
