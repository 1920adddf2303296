"""What stands before and behind the sum: a network of each user's own tokens, and cross-attention to the partner's."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lvm_mtc.models.conditioned import INIT, Sizes, apply_blocks, normalize, snr_features
from lvm_mtc.models.products import Dense
from lvm_mtc.models.windows import relative_index

_OWN_PLACE = 4.0  # first bias of the partner's token at the query's own place


class Alone(nn.Module):
    """Tokens of one user refined by those around them, a convolution and an attention block; starts as the identity.

    Attributes:
        width: Features of a token inside.
        num_heads: Heads of the attention, a divisor of the width.
    """

    width: int = 64
    num_heads: int = 4

    @nn.compact
    def __call__(self, tokens: jax.Array, snr_db: jax.Array) -> jax.Array:
        """Maps ``[batch, side^2, features]``, a square grid in raster order, features of power 1, to its own shape.

        ``snr_db`` is what is known of the SNR, numbers in dB, ``[batch, numbers]``.
        """
        batch, count, features = tokens.shape
        side = round(count**0.5)
        told = nn.silu(Dense(32, kernel_init=INIT, name="condition")(_told(snr_db)))
        x = Dense(self.width, kernel_init=INIT, name="embed")(tokens).reshape(batch, side, side, -1)
        sizes = Sizes(self.width, ("convolution", "attention"), self.num_heads, window=side)
        x = normalize(apply_blocks(sizes, x, told)).reshape(batch, count, -1)
        return tokens + Dense(features, kernel_init=nn.initializers.zeros, name="change")(x)


class Exchange(nn.Module):
    """``similarity tanh(gates) MLP(own, A(partner))``: what attention to the partner's tokens adds to one's own.

    The similarity is a factor outside, so nothing is added for users with nothing in common. The gates, of each
    feature, depend on similarity and SNR and start at 0, the attention at the partner's token of the same place.

    Attributes:
        num_heads: Heads, a divisor of the number of features.
    """

    num_heads: int = 4

    @nn.compact
    def __call__(self, own: jax.Array, partner: jax.Array, similarity: jax.Array, snr_db: jax.Array) -> jax.Array:
        """What is to be added to one user's features.

        Args:
            own: ``[batch, side^2, 2 features]``, a square grid of tokens in raster order, features of power 1 as they
                were and as :class:`Alone` refined them.
            partner: Same shape.
            similarity: ``[batch]`` in [0, 1].
            snr_db: As :class:`Alone`.

        Returns:
            ``[batch, side^2, features]``.
        """
        batch, count, width = own.shape[0], own.shape[1], own.shape[2] // 2
        side, head = round(count**0.5), width // self.num_heads
        told = jnp.concatenate([_told(snr_db), similarity[:, None], similarity[:, None] ** 2], axis=-1)
        condition = nn.silu(Dense(32, kernel_init=INIT, name="condition")(told))

        def heads(name, x):
            return Dense(width, kernel_init=INIT, name=name)(x).reshape(batch, count, self.num_heads, head)

        index = relative_index(side)
        first = jnp.zeros((2 * side - 1) ** 2).at[index[0, 0]].set(_OWN_PLACE)
        table = self.param("place", lambda key: jnp.broadcast_to(first[:, None], (len(first), self.num_heads)))
        logits = jnp.einsum("bqhd,bkhd->bhqk", heads("query", own), heads("key", partner)) * head**-0.5
        weights = nn.softmax(logits + jnp.moveaxis(table[index], -1, 0)[None])
        found = jnp.einsum("bhqk,bkhd->bqhd", weights, heads("value", partner)).reshape(batch, count, width)
        seen = jnp.concatenate([own, found], -1)
        hidden = nn.gelu(Dense(2 * width, kernel_init=INIT, name="up")(seen))
        change = Dense(width, kernel_init=INIT, name="down")(hidden)
        change += Dense(width, kernel_init=INIT, name="across")(seen)
        gates = jnp.tanh(Dense(width, kernel_init=nn.initializers.zeros, name="gates")(condition))
        return similarity[:, None, None] * gates[:, None] * change


def _told(snr_db: jax.Array) -> jax.Array:
    """``[batch, numbers]`` in dB as features of a condition, ``[batch, 4 numbers]``."""
    return jnp.concatenate([snr_features(snr_db[:, i]) for i in range(snr_db.shape[1])], axis=-1)
