"""AlexNet's convolutions with blurred subsampling, whose features measure how different two pictures look.

Every step of 2 is a blur before the subsampling, and the first convolution has stride 1: a picture that is shifted by a
pixel has nearly the same features. The features of five layers are normalised and weighted so that squared differences
add up to the perceptual distance (``metrics.perceptual``).

Source: Ghildyal, Liu, Shift-tolerant perceptual similarity metric (2022), Sec. 4, variant "shift tolerant" of AlexNet;
Zhang et al., The unreasonable effectiveness of deep features as a perceptual metric (2018), Eq. 1; blurred subsampling:
Zhang, Making convolutional networks shift-invariant again (2019).
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

MIN_SIZE = 21
"""Smallest side of a picture, pixels: below, a layer is too small to be mirrored at its edge."""

PIXEL_SHIFT = (-0.030, -0.088, -0.188)
PIXEL_SCALE = (0.458, 0.448, 0.450)
"""Mean and standard deviation of ImageNet's pixels as far as LPIPS rounds them, for pixels in [-1, 1]."""


class Layer(NamedTuple):
    """A convolution: channels of the output, side of the kernel, zeros around the input, pooling in front of it."""

    channels: int
    kernel: int
    padding: int
    pool: bool


LAYERS = (Layer(64, 11, 2, False), Layer(192, 5, 2, True), Layer(384, 3, 1, True), Layer(256, 3, 1, False),
          Layer(256, 3, 1, False))  # fmt: skip


class PerceptualNet(nn.Module):
    """Weighted unit features f_l sqrt(w_l) / |f_l| of five layers l."""

    @nn.compact
    def __call__(self, images: jax.Array) -> tuple[jax.Array, ...]:
        """Maps ``[batch, height, width, 3]`` in [0, 1], sides of 21 or more, to five ``[batch, rows, columns, c]``."""
        shift, scale = (jnp.asarray(v, images.dtype).reshape(1, 1, 1, 3) for v in (PIXEL_SHIFT, PIXEL_SCALE))
        x = (2 * images - 1 - shift) / scale
        features = []
        for i, layer in enumerate(LAYERS):
            if layer.pool:
                x = blur_pool(nn.max_pool(x, (3, 3)))
            padding = [(layer.padding, layer.padding)] * 2
            # Full precision: what counts are small differences between features.
            x = nn.Conv(layer.channels, (layer.kernel,) * 2, padding=padding, precision="highest", name=f"conv{i}")(x)
            x = nn.relu(x if i else blur_pool(x))
            root = self.param(f"root_weight{i}", nn.initializers.ones, (layer.channels,))
            features.append(_unit(x) * root.reshape(1, 1, 1, -1))
        return tuple(features)


def distance_maps(params: Any, images: jax.Array, images_hat: jax.Array) -> tuple[jax.Array, ...]:
    """Squared differences of the features of pictures ``[batch, height, width, 3]``, five ``[batch, rows, columns]``.

    The distance of a picture is the sum of their means. ``params`` are ``PerceptualNet``'s.
    """
    net = PerceptualNet()
    ours, theirs = (net.apply({"params": params}, x) for x in (images, images_hat))
    return tuple(jnp.sum((a - b) ** 2, axis=-1) for a, b in zip(ours, theirs, strict=True))


def blur_pool(x: jax.Array) -> jax.Array:
    """Binomial blur (1, 2, 1) / 4 along both axes at every second pixel, two pixels mirrored at every edge.

    A side of n, 3 or more, becomes (n + 1) // 2 + 1.
    """
    x = jnp.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    x = (x[:, :-2:2] + 2 * x[:, 1:-1:2] + x[:, 2::2]) / 4
    return (x[:, :, :-2:2] + 2 * x[:, :, 1:-1:2] + x[:, :, 2::2]) / 4


def _unit(x: jax.Array) -> jax.Array:
    """Over its norm along the last axis; where all is zero, zero with a finite gradient."""
    squared = jnp.sum(x**2, axis=-1, keepdims=True)
    norm = jnp.sqrt(jnp.where(squared > 0, squared, 1.0))
    return x / (norm + 1e-10)
