"""Structural similarity of pictures, pixel by pixel: what the metric averages and what training may learn by."""

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
_LARGEST_MATRIX = 256  # sides beyond are sums of shifted pictures: a matrix grows with the square of the side


def similarity_terms(images: jax.Array, images_hat: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The two factors of structural similarity at every pixel and channel: luminance, and contrast times structure.

    Takes pictures in [0, 1] with sides of 11 or more; windows are mirrored at the edges.

    Returns:
        Two arrays of the pictures' shape, in [0, 1] and in [-1, 1].
    """
    height, width = images.shape[-3:-1]
    if min(height, width) < 2 * SSIM_RADIUS + 1:
        raise ValueError(f"ssim needs pictures of 11 x 11 pixels or more, got height x width = {height} x {width}")

    def window_mean(x: jax.Array) -> jax.Array:
        return _along(_along(x, -3), -2)

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


def _along(x: jax.Array, axis: int) -> jax.Array:
    """Gaussian means of pictures along rows or columns, mirrored at the edges."""
    size = x.shape[axis]
    if size <= _LARGEST_MATRIX:
        # Products with a band matrix: XLA's depthwise convolution is thirty times slower on CPU. Full precision, or
        # accelerators would round the factors and lose the small variances.
        matrix, letters = jnp.asarray(_window_matrix(size), x.dtype), "hwc"[axis]
        return jnp.einsum(f"i{letters},...hwc->...{'hwc'.replace(letters, 'i')}", matrix, x, precision="highest")
    margins = [(0, 0)] * x.ndim
    margins[axis] = (SSIM_RADIUS, SSIM_RADIUS)
    wide = jnp.pad(x, margins, mode="symmetric")
    shifted = (jax.lax.slice_in_dim(wide, i, i + size, axis=axis) for i in range(2 * SSIM_RADIUS + 1))
    return sum(float(weight) * part for weight, part in zip(_window(), shifted, strict=True))


def _window() -> np.ndarray:
    """Weights of the Gaussian window, of sum 1."""
    weights = np.exp(-0.5 * (np.arange(-SSIM_RADIUS, SSIM_RADIUS + 1) / _SSIM_SIGMA) ** 2)
    return weights / weights.sum()


@functools.cache
def _window_matrix(size: int) -> np.ndarray:
    """Row i holds the Gaussian window around pixel i, folded back at the edges (edge pixels repeated)."""
    offsets, weights = np.arange(-SSIM_RADIUS, SSIM_RADIUS + 1), _window()
    matrix = np.zeros((size, size))
    for offset, weight in zip(offsets, weights, strict=True):
        index = np.arange(size) + offset
        index = np.where(index < 0, -1 - index, np.where(index >= size, 2 * size - 1 - index, index))
        np.add.at(matrix, (np.arange(size), index), weight)
    return matrix
