"""A refiner of pictures: what the mean and deviation of each pixel by itself leave to be known of it."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lvm_mtc.models.conditioned import INIT, Sizes, apply_blocks, normalize, snr_features
from lvm_mtc.models.patches import patchify, unpatchify
from lvm_mtc.models.products import Dense

TOKEN_SIZE = 4
GREY, CONTRAST = 0.47, 4.0
_LEAST_DEVIATION = 1e-3

REFINERS = {
    "tiny": Sizes(16, ("convolution", "attention"), window=4, condition=8),
    "narrow": Sizes(96, ("convolution", "attention")),
    "small": Sizes(128, ("convolution", "attention")),
    "base": Sizes(128, ("convolution", "attention", "convolution", "attention")),
}
"""Sizes by name; ours."""


class Refiner(nn.Module):
    """Adds to a picture what its neighbourhood tells; starts as the identity.

    Attributes:
        sizes: From ``REFINERS``, or others.
    """

    sizes: Sizes

    @nn.compact
    def __call__(self, images: jax.Array, deviation: jax.Array, snr_db: jax.Array) -> jax.Array:
        """Refines pictures.

        Args:
            images: ``[batch, height, width, 3]``: a receiver's posterior mean, or what a transmitter is to send.
            deviation: Standard deviation of what is, or will be, wrong with it, same shape.
            snr_db: Nominal SNR, ``[batch]``, dB.

        Returns:
            ``[batch, height, width, 3]``, not clipped to [0, 1].
        """
        batch, height, width, _ = images.shape
        grid = (height // TOKEN_SIZE, width // TOKEN_SIZE)
        condition = nn.silu(Dense(self.sizes.condition, kernel_init=INIT, name="condition")(snr_features(snr_db)))
        log_deviation = jnp.log(jnp.maximum(deviation, _LEAST_DEVIATION) * 10)
        seen = jnp.concatenate([(images - GREY) * CONTRAST, log_deviation], axis=-1)
        x = patchify(seen, TOKEN_SIZE).reshape(batch, *grid, -1)
        x = Dense(self.sizes.width, kernel_init=INIT, name="embed")(x)
        x = normalize(apply_blocks(self.sizes, x, condition))
        change = Dense(3 * TOKEN_SIZE**2, kernel_init=nn.initializers.zeros, name="change")(x)
        change = unpatchify(change.reshape(batch, grid[0] * grid[1], -1), TOKEN_SIZE, (height, width))
        return images + deviation * change
