"""The networks of the second token codec: small patches, convolution and attention blocks, both told the SNR.

A picture is a grid of 4 x 4-pixel patches, one token each, of which the encoder makes ``2 num_symbols`` real features
(``num_symbols`` complex symbols). Power normalisation and channel lie between the two modules. What the decoder is
told of every symbol is what any equaliser gives, ``x_hat`` and ``no_eff``; a symbol that was not sent has 0 and
infinity. Attention acts within windows, so the picture's size is free.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.models.conditioned import INIT, Gate, Sizes, apply_blocks, normalize, snr_features
from lvm_mtc.models.patches import patchify, unpatchify
from lvm_mtc.models.products import Dense

PATCH_SIZE = 4
GREY = 0.47
"""Mean of the training pictures."""
_LAST_INIT = nn.initializers.variance_scaling(0.04, "fan_in", "normal")


VARIANTS = {
    "tiny": Sizes(32, ("convolution", "attention"), window=4, condition=8),
    "small": Sizes(128, ("convolution", "attention")),
    "attention": Sizes(128, ("attention", "attention")),
    "convolution": Sizes(104, ("convolution", "convolution")),
    "base": Sizes(160, ("convolution", "attention", "convolution", "attention")),
}
"""Sizes of the encoder by name; the decoder has its blocks in reverse. Ours, for no paper has them."""

LOUDEST = 10**1.6
"""The networks are trained up to a nominal SNR of 14 dB and were lost on features that are known much better."""


class Encoder(nn.Module):
    """Pictures to features.

    Attributes:
        num_symbols: Complex symbols of a token.
        sizes: From ``VARIANTS``, or others.
    """

    num_symbols: int
    sizes: Sizes = VARIANTS["small"]

    @nn.compact
    def __call__(self, images: jax.Array, snr_db: jax.Array) -> jax.Array:
        """Makes the features of every token, not normalised in power.

        Args:
            images: ``[batch, height, width, 3]`` in [0, 1], sides in multiples of 4 ``window``.
            snr_db: Nominal SNR, ``[batch]``, dB.

        Returns:
            ``[batch, height / 4, width / 4, 2 num_symbols]``.

        Raises:
            ValueError: if patches or windows do not tile the pictures.
        """
        condition = Dense(self.sizes.condition, kernel_init=INIT, name="condition")(snr_features(snr_db))
        condition = nn.silu(condition)
        x = patchify(images - GREY, PATCH_SIZE)
        x = x.reshape(x.shape[0], images.shape[1] // PATCH_SIZE, images.shape[2] // PATCH_SIZE, -1)
        x = Dense(self.sizes.width, kernel_init=INIT, name="embed")(x)
        x = apply_blocks(self.sizes, x, condition)
        x = Dense(2 * self.num_symbols, kernel_init=INIT, name="features")(normalize(x))
        return Gate(name="gate")(x, condition)


class Decoder(nn.Module):
    """Received features to pictures.

    Attributes:
        sizes: As the encoder's.
    """

    sizes: Sizes = VARIANTS["small"]

    @nn.compact
    def __call__(self, x_hat: jax.Array, no_eff: jax.Array, snr_db: jax.Array, gain: jax.Array) -> jax.Array:
        """Paints the pictures.

        The features are shrunk to their posterior mean, and beside them stands log(1 + 1 / no_eff), the information
        that each symbol can carry: 0 for one that was not sent, and never more than at ``LOUDEST``.

        Args:
            x_hat: Features after the equaliser, ``[batch, rows, columns, 2 num_symbols]``.
            no_eff: Their noise variance per complex symbol, linear, > 0, infinite where nothing was sent,
                ``[batch, rows, columns, num_symbols]``.
            snr_db: Nominal SNR, ``[batch]``, dB, which the encoder knew.
            gain: Factor that gave the encoder's features power 1, ``[batch]``.

        Returns:
            ``[batch, 4 rows, 4 columns, 3]``, not clipped to [0, 1].
        """
        information = jnp.log1p(jnp.minimum(1 / no_eff, LOUDEST))
        heard = snr_features(10 / np.log(10.0) * jnp.log(jnp.expm1(information.mean((1, 2, 3))) + 1e-2))[:, 1:]
        told = jnp.concatenate([snr_features(snr_db), heard, jnp.log(gain)[:, None]], axis=-1)
        condition = nn.silu(Dense(self.sizes.condition, kernel_init=INIT, name="condition")(told))
        shrunk = x_hat / (1 + jnp.repeat(no_eff, 2, axis=-1))
        x = Dense(self.sizes.width, kernel_init=INIT, name="embed")(Gate(name="gate")(shrunk, condition))
        x = x + Dense(self.sizes.width, kernel_init=nn.initializers.zeros, name="reliability")(information)
        x = apply_blocks(self.sizes._replace(blocks=self.sizes.blocks[::-1]), x, condition)
        x = Dense(3 * PATCH_SIZE**2, kernel_init=_LAST_INIT, bias_init=nn.initializers.constant(GREY), name="paint")(
            normalize(x)
        )
        batch, rows, columns, _ = x.shape
        return unpatchify(x.reshape(batch, rows * columns, -1), PATCH_SIZE, (PATCH_SIZE * rows, PATCH_SIZE * columns))
