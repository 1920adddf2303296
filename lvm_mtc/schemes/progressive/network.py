"""The transform before the quantiser and behind it: principal components of patches, and what networks add to them.

A picture is a grid of patches, each with d features. The linear paths start as the principal components, the networks'
last layers at zero: training starts from linear transform coding.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lvm_mtc.models.conditioned import INIT, Sizes, apply_blocks, normalize
from lvm_mtc.models.products import Dense

VARIANTS = {
    "tiny": Sizes(16, ("convolution",), condition=4),
    "small": Sizes(128, ("convolution", "attention"), window=12, condition=16),
}
"""Sizes of the network before the quantiser by name; the one behind it has its blocks in reverse."""


class Network(nn.Module):
    """What a network adds to a linear map of each patch.

    Attributes:
        features: Of a patch at the output.
        sizes: Of the blocks.
    """

    features: int
    sizes: Sizes

    @nn.compact
    def __call__(self, x: jax.Array, share: jax.Array) -> jax.Array:
        """Maps ``[batch, rows, columns, channels]`` to ``[batch, rows, columns, features]``.

        ``share`` of the stages that are there, ``[batch]`` in (0, 1].
        """
        powers = jnp.stack([jnp.ones_like(share), share, share**2], axis=-1)
        condition = nn.silu(Dense(self.sizes.condition, kernel_init=INIT, name="condition")(powers))
        x = Dense(self.sizes.width, kernel_init=INIT, name="embed")(x)
        x = normalize(apply_blocks(self.sizes, x, condition))
        return Dense(self.features, kernel_init=nn.initializers.zeros, name="last")(x)
