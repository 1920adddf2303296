"""Distances between pictures, between tokens and between symbols. Pure functions that work under jit, vmap and grad."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

# Wang, Bovik, Sheikh, Simoncelli (2004), "Image quality assessment: from error visibility to structural similarity":
# an 11-tap Gaussian window of width 1.5, K1 = 0.01, K2 = 0.03.
SSIM_RADIUS = 5
_SSIM_SIGMA = 1.5
_SSIM_C1 = 0.01**2
_SSIM_C2 = 0.03**2

# An encoding without loss has an infinite PSNR, and then no mean over pictures exists. Its error counts as that of
# rounding to 8 bits, one twelfth of a level squared.
LOSSLESS_PSNR_DB = float(10 * np.log10(12 * 255**2))


def mse(images: jax.Array, images_hat: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """Mean squared error of each picture, over all its pixels or those of a mask.

    Args:
        images: Original pictures, ``[..., height, width, channels]`` float in [0, 1].
        images_hat: Received pictures, same shape.
        mask: Pixels that count, ``[..., height, width]`` bool, as from ``box_mask``; None counts all.

    Returns:
        ``[...]``, linear; NaN where a mask is empty.

    Raises:
        ValueError: if shapes differ or do not fit, or a picture is not floating point.
    """
    check_pictures("mse", images, images_hat, mask)
    error = jnp.mean((images - images_hat) ** 2, axis=-1)
    return mean_over_pixels(error, mask)


def psnr(images: jax.Array, images_hat: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """Peak signal-to-noise ratio of each picture, -10 log10(MSE), for pictures in [0, 1].

    Args:
        images: Original pictures, ``[..., height, width, channels]`` float in [0, 1].
        images_hat: Received pictures, same shape.
        mask: Pixels that count, ``[..., height, width]`` bool; None counts all.

    Returns:
        ``[...]`` in dB; infinite for equal pictures, NaN where a mask is empty.

    Raises:
        ValueError: as ``mse``.
    """
    return -10.0 * jnp.log10(mse(images, images_hat, mask))


def mean_psnr(images: jax.Array, images_hat: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """Mean over pictures of the per-picture PSNR, as image papers report it.

    It is above ``psnr_of_mean_mse`` by Jensen's inequality, by up to 1.4 dB on natural pictures: say which one a number
    is.

    Args:
        images: Original pictures, ``[..., height, width, channels]`` float in [0, 1].
        images_hat: Received pictures, same shape.
        mask: Pixels that count, ``[..., height, width]`` bool; None counts all.

    Returns:
        A scalar in dB.

    Raises:
        ValueError: as ``mse``.
    """
    return jnp.mean(psnr(images, images_hat, mask))


def psnr_of_mean_mse(images: jax.Array, images_hat: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """PSNR of the mean over pictures of their MSE, as training losses suggest it.

    Args:
        images: Original pictures, ``[..., height, width, channels]`` float in [0, 1].
        images_hat: Received pictures, same shape.
        mask: Pixels that count, ``[..., height, width]`` bool; None counts all.

    Returns:
        A scalar in dB.

    Raises:
        ValueError: as ``mse``.
    """
    return -10.0 * jnp.log10(jnp.mean(mse(images, images_hat, mask)))


def ssim(images: jax.Array, images_hat: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """Structural similarity of each picture, the mean of ``ssim_map`` over pixels and channels.

    Without a mask the strip of 5 pixels along the edges is left out, as in Wang et al. (2004) and scikit-image
    (``gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1``). With a mask all of the mask's
    pixels count, those of the strip too (their windows are mirrored at the edge): a box at the edge has a value.

    Args:
        images: Original pictures, ``[..., height, width, channels]`` float in [0, 1]; sides of 11 or more.
        images_hat: Received pictures, same shape.
        mask: Pixels that count, ``[..., height, width]`` bool; None counts all but the strip.

    Returns:
        ``[...]`` in [-1, 1]; NaN where a mask is empty.

    Raises:
        ValueError: as ``mse``, or if a side is shorter than the window.
    """
    check_pictures("ssim", images, images_hat, mask)
    values = jnp.mean(ssim_map(images, images_hat), axis=-1)
    if mask is None:
        values = values[..., SSIM_RADIUS:-SSIM_RADIUS, SSIM_RADIUS:-SSIM_RADIUS]
    return mean_over_pixels(values, mask)


def ssim_map(images: jax.Array, images_hat: jax.Array) -> jax.Array:
    """Structural similarity at every pixel and channel, windows mirrored at the edges.

    Args:
        images: Original pictures, ``[..., height, width, channels]`` float in [0, 1]; sides of 11 or more.
        images_hat: Received pictures, same shape.

    Returns:
        Same shape, in [-1, 1].

    Raises:
        ValueError: as ``ssim``.
    """
    check_pictures("ssim_map", images, images_hat, None)
    luminance, contrast = similarity_terms(images, images_hat)
    return luminance * contrast


def similarity_terms(images: jax.Array, images_hat: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The two factors of ``ssim_map``: luminance, and contrast times structure.

    Args:
        images: Original pictures, ``[..., height, width, channels]`` float in [0, 1]; sides of 11 or more.
        images_hat: Received pictures, same shape.

    Returns:
        Two arrays of the same shape, in [0, 1] and in [-1, 1].

    Raises:
        ValueError: if a side is shorter than the window.
    """
    height, width = images.shape[-3:-1]
    if min(height, width) < 2 * SSIM_RADIUS + 1:
        raise ValueError(f"ssim needs pictures of 11 x 11 pixels or more, got height x width = {height} x {width}")
    rows = jnp.asarray(_window_matrix(height), images.dtype)
    columns = jnp.asarray(_window_matrix(width), images.dtype)

    def window_mean(x: jax.Array) -> jax.Array:
        # Products with a band matrix: XLA's depthwise convolution is thirty times slower on CPU. Full precision, or
        # accelerators would round the factors and lose the small variances.
        x = jnp.einsum("ih,...hwc->...iwc", rows, x, precision="highest")
        return jnp.einsum("jw,...iwc->...ijc", columns, x, precision="highest")

    # Second moments about a common centre instead of 0: in single precision E[x^2] - E[x]^2 of a bright flat area
    # would lose what the constants are there to compare with.
    centre = jax.lax.stop_gradient(jnp.mean(images, axis=(-3, -2), keepdims=True))
    x, y = images - centre, images_hat - centre
    mean_x, mean_y = window_mean(x), window_mean(y)
    var_x = window_mean(x * x) - mean_x**2
    var_y = window_mean(y * y) - mean_y**2
    cov = window_mean(x * y) - mean_x * mean_y
    mean_x, mean_y = mean_x + centre, mean_y + centre
    luminance = (2 * mean_x * mean_y + _SSIM_C1) / (mean_x**2 + mean_y**2 + _SSIM_C1)
    return luminance, (2 * cov + _SSIM_C2) / (var_x + var_y + _SSIM_C2)


def box_mask(loc: jax.Array, height: int, width: int) -> jax.Array:
    """Pixels whose centre lies in a box; at least one, that nearest to the box's centre.

    Pixel (i, j) has its centre at (x, y) = (j + 0.5, i + 0.5), the picture spans [0, width] x [0, height].

    Args:
        loc: Boxes ``[..., 4]`` as (x, y, w, h), centre and size, in pixels.
        height: Picture height in pixels.
        width: Picture width in pixels.

    Returns:
        ``[..., height, width]`` bool.

    Raises:
        ValueError: if the last axis of ``loc`` is not 4.
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
    """Squared error over squared norm, for tokens, symbols or channel estimates.

    Args:
        reference: True values, any shape, real or complex.
        estimate: Estimates, same shape.
        axis: Axes that are summed over; None for all.

    Returns:
        The other axes, linear; infinite or NaN where the reference is all zero.

    Raises:
        ValueError: if the shapes differ.
    """
    if reference.shape != estimate.shape:
        raise ValueError(f"nmse: reference {reference.shape} and estimate {estimate.shape} must have one shape")
    return jnp.sum(jnp.abs(reference - estimate) ** 2, axis=axis) / jnp.sum(jnp.abs(reference) ** 2, axis=axis)


def evm(reference: jax.Array, estimate: jax.Array, *, axis: int | tuple[int, ...] | None = None) -> jax.Array:
    """Error vector magnitude: root of the error's power over the reference's power.

    Args:
        reference: Sent symbols, any shape, complex.
        estimate: Equalised symbols, same shape.
        axis: Axes that are averaged over; None for all.

    Returns:
        The other axes, linear (0.1 is an EVM of 10 %).

    Raises:
        ValueError: if the shapes differ.
    """
    return jnp.sqrt(nmse(reference, estimate, axis=axis))


def check_pictures(name: str, images: jax.Array, images_hat: jax.Array, mask: jax.Array | None) -> None:
    """Raises ValueError where two pictures and a mask do not fit, under the name of the metric."""
    if images.ndim < 3 or images.shape != images_hat.shape:
        raise ValueError(
            f"{name}: pictures must be [..., height, width, channels] of one shape, got {images.shape} and "
            f"{images_hat.shape}"
        )
    for picture in (images, images_hat):
        if not jnp.issubdtype(picture.dtype, jnp.floating):
            raise ValueError(f"{name}: pictures must be float in [0, 1], got {picture.dtype}")
    if mask is not None and mask.shape != images.shape[:-1]:
        raise ValueError(f"{name}: mask {mask.shape} does not fit pictures {images.shape}: need {images.shape[:-1]}")


def mean_over_pixels(values: jax.Array, mask: jax.Array | None) -> jax.Array:
    """Mean over the last two axes, weighted by a mask of bools or of numbers >= 0; None counts all."""
    if mask is None:
        return jnp.mean(values, axis=(-2, -1))
    return jnp.sum(jnp.where(mask > 0, values * mask, 0.0), axis=(-2, -1)) / jnp.sum(mask, axis=(-2, -1))


@functools.cache
def _window_matrix(size: int) -> np.ndarray:
    """Row i holds the Gaussian window around pixel i, folded back at the edges (edge pixels repeated)."""
    offsets = np.arange(-SSIM_RADIUS, SSIM_RADIUS + 1)
    weights = np.exp(-0.5 * (offsets / _SSIM_SIGMA) ** 2)
    weights /= weights.sum()
    matrix = np.zeros((size, size))
    for offset, weight in zip(offsets, weights, strict=True):
        index = np.arange(size) + offset
        index = np.where(index < 0, -1 - index, np.where(index >= size, 2 * size - 1 - index, index))
        np.add.at(matrix, (np.arange(size), index), weight)
    return matrix
