"""Layers by which words that were received ask each other and the words of sentences that were retrieved.

Source: cross-attention to retrieved text as in Borgeaud et al., Improving Language Models by Retrieving from Trillions
of Tokens (2022), with one cross-attention to the sentence itself and all its neighbours together.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lvm_mtc.models.conditioned import normalize
from lvm_mtc.models.transformer import CrossAttention, sincos_positions

_XAVIER = nn.initializers.xavier_uniform()


class Memory(nn.Module):
    """Layers of cross-attention and an MLP by which the received words ask each other and the retrieved ones.

    Attributes:
        depth: Layers.
        num_heads: Attention heads; divides the width.
        mlp_ratio: Hidden width over the width.
    """

    depth: int = 2
    num_heads: int = 8
    mlp_ratio: float = 2.0

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array, entries: jax.Array, held: jax.Array) -> jax.Array:
        """Maps what a decoder made of the words to its own shape; starts as the identity.

        Args:
            x: ``[n, num_words, width]``; the width is a multiple of 4.
            valid: Which words there are, ``[n, num_words]`` bool.
            entries: Embeddings of the entries' words, ``[n, k, entry_words, width]``, the best entry first.
            held: Which of them there are, ``[n, k, entry_words]`` bool.
        """
        n, _, width = x.shape
        places = jnp.asarray(sincos_positions(entries.shape[1:3], width)[None, 1:])
        flag = self.param("flag", nn.initializers.normal(0.02), (width,))
        entries = normalize(entries).reshape(n, -1, width) + places + flag[None, None]
        heard = jnp.concatenate([valid, held.reshape(n, -1)], axis=1)
        for i in range(self.depth):
            tokens = jnp.concatenate([normalize(x), entries], axis=1)
            x = CrossAttention(self.num_heads, zero_residual=True, name=f"layer{i}_cross")(x, tokens, heard)
            y = nn.gelu(nn.Dense(int(width * self.mlp_ratio), kernel_init=_XAVIER, name=f"layer{i}_fc1")(normalize(x)))
            x = x + nn.Dense(width, kernel_init=nn.initializers.zeros, name=f"layer{i}_fc2")(y)
        return x
