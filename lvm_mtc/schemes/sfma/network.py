"""Cross-attention between two users' tokens, conditioned on the SNR and on how similar the two are."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lvm_mtc.models.conditioned import INIT, snr_features
from lvm_mtc.models.products import Dense
from lvm_mtc.models.windows import relative_index

_OWN_PLACE = 4.0  # first bias of the partner's token at the query's own place


def _identity(key, shape, dtype=jnp.float32):
    return jnp.eye(*shape, dtype=dtype)


class Exchange(nn.Module):
    """``f + similarity (tanh(g1) f + tanh(g2) A(partner))``: own tokens and what attention finds in the partner's.

    The similarity is a factor outside, so users with nothing in common get their own features back exactly. The gates
    g1 and g2, of each feature, start at 0, and the attention at the partner's token of the same place.

    Attributes:
        num_heads: Heads, a divisor of the number of features.
    """

    num_heads: int = 4

    @nn.compact
    def __call__(
        self, own: jax.Array, partner: jax.Array, power: jax.Array, similarity: jax.Array, snr_db: jax.Array
    ) -> jax.Array:
        """Features of one user, told the other's.

        Args:
            own: ``[batch, side^2, features]``, a square grid of tokens in raster order.
            partner: Same shape.
            power: Of the features, which makes them comparable to each other, ``[features]``.
            similarity: ``[batch]`` in [0, 1].
            snr_db: What is known of the SNR, numbers in dB, ``[batch, numbers]``.

        Returns:
            Shape of ``own``.
        """
        batch, tokens, width = own.shape
        side, head = round(tokens**0.5), width // self.num_heads
        told = [snr_features(snr_db[:, i]) for i in range(snr_db.shape[1])]
        told = jnp.concatenate([*told, similarity[:, None], similarity[:, None] ** 2], axis=-1)
        condition = nn.silu(Dense(32, kernel_init=INIT, name="condition")(told))
        scale = (power**-0.5).reshape(1, 1, -1)

        def heads(x):
            return x.reshape(batch, tokens, self.num_heads, head)

        query = heads(Dense(width, kernel_init=INIT, name="query")(own * scale))
        key = heads(Dense(width, kernel_init=INIT, name="key")(partner * scale))
        value = heads(Dense(width, kernel_init=_identity, name="value")(partner * scale))
        index = relative_index(side)
        first = jnp.zeros((2 * side - 1) ** 2).at[index[0, 0]].set(_OWN_PLACE)
        table = self.param("place", lambda key: jnp.broadcast_to(first[:, None], (len(first), self.num_heads)))
        logits = jnp.einsum("bqhd,bkhd->bhqk", query, key) / width + jnp.moveaxis(table[index], -1, 0)[None]
        found = jnp.einsum("bhqk,bkhd->bqhd", nn.softmax(logits), value).reshape(own.shape)
        found = Dense(width, kernel_init=_identity, name="out")(found) / scale
        gates = jnp.tanh(Dense(2 * width, kernel_init=nn.initializers.zeros, name="gates")(condition))
        of_own, of_partner = jnp.split(gates[:, None], 2, axis=-1)
        return own + similarity[:, None, None] * (of_own * own + of_partner * found)
