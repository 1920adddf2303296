"""DeepJSCC, the convolutional joint source-channel codec for whole pictures, a baseline of the token codec.

The encoder's last layer gives ``num_features`` real features at every fourth pixel of every fourth row, which pair up
to ``num_features / 2`` complex symbols: ``num_features / 96`` symbols per source sample, whatever the picture's size.

Source: Bourtsoulatze, Kurka, Gunduz, Deep Joint Source-Channel Coding for Wireless Image Transmission (2019), Fig. 3.
Where it is silent: PReLU has one slope per channel, 0.25 at the start (He et al., 2015).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

WIDTHS = (16, 32, 32, 32)
STRIDES = (2, 2, 1, 1, 1)
KERNEL = (5, 5)


class PRelu(nn.Module):
    """x where positive, else x times a learned slope per channel."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[..., channels]`` to its own shape."""
        slope = self.param("slope", nn.initializers.constant(0.25), (x.shape[-1],))
        return jnp.where(x >= 0, x, x * slope.reshape((1,) * (x.ndim - 1) + (-1,)))


class DeepJscc(nn.Module):
    """The codec; power normalisation and channel lie between ``encode`` and ``decode``. It never learns the SNR.

    Attributes:
        num_features: Real features at each position, c in the paper, even.
    """

    num_features: int

    reduction = 4
    """Pixels along a side for one position."""

    def setup(self):
        """Makes the layers."""
        if self.num_features < 2 or self.num_features % 2:
            raise ValueError(f"DeepJscc.num_features must be even and at least 2, got {self.num_features!r}")
        widths = (*WIDTHS, self.num_features)
        self.down = [
            nn.Conv(width, KERNEL, strides=stride, padding="SAME", name=f"down{i}")
            for i, (width, stride) in enumerate(zip(widths, STRIDES, strict=True))
        ]
        self.down_slopes = [PRelu(name=f"down_slope{i}") for i in range(len(widths))]
        widths = (*WIDTHS[::-1], 3)
        self.up = [
            nn.ConvTranspose(width, KERNEL, strides=(stride, stride), padding="SAME", name=f"up{i}")
            for i, (width, stride) in enumerate(zip(widths, STRIDES[::-1], strict=True))
        ]
        self.up_slopes = [PRelu(name=f"up_slope{i}") for i in range(len(WIDTHS))]

    def encode(self, images: jax.Array) -> jax.Array:
        """Pictures ``[batch, height, width, 3]`` in [0, 1] to ``[batch, height / 4, width / 4, num_features]``."""
        if images.ndim != 4 or images.shape[-1] != 3 or images.shape[1] % 4 or images.shape[2] % 4:
            raise ValueError(
                f"images must be [batch, height, width, 3] with sides in multiples of 4, got {images.shape}"
            )
        x = images
        for layer, slope in zip(self.down, self.down_slopes, strict=True):
            x = slope(layer(x))
        return x

    def modulate(self, features: jax.Array, snr_db: jax.Array) -> jax.Array:
        """The features as they are; ``snr_db [batch]`` is not used."""
        return features

    def decode(self, received: jax.Array, snr_db: jax.Array) -> jax.Array:
        """Received features ``[batch, height / 4, width / 4, num_received]`` to pictures in [0, 1].

        ``num_received`` is more than ``num_features`` where the receiver adds something; ``snr_db`` is not used.
        """
        x = received
        for layer, slope in zip(self.up[:-1], self.up_slopes, strict=True):
            x = slope(layer(x))
        return nn.sigmoid(self.up[-1](x))

    def __call__(self, images: jax.Array, snr_db: jax.Array) -> jax.Array:
        """Pictures to the features that are sent."""
        return self.modulate(self.encode(images), snr_db)
