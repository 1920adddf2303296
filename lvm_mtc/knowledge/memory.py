"""Retrieved sentences in a decoder's memory: what it makes of the received words attends to the words of the store.

The third way to use a ``knowledge.store``, beside its closed forms ``fuse_words`` and ``fuse_index``, and the only one
that is learned. It stands between a transceiver's decoder and its scores, and the transceiver stays as it is: without
a sentence, or at weight 0, nothing changes, to the bit.

Source: cross-attention to retrieved text as in Borgeaud et al., Improving Language Models by Retrieving from Trillions
of Tokens (2022), with one cross-attention to the sentence itself and all its neighbours together.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.knowledge.store import Found, KnowledgeStore
from lvm_mtc.models.conditioned import normalize
from lvm_mtc.models.transformer import sincos_positions

_XAVIER = nn.initializers.xavier_uniform()


def retrieved_words(store: KnowledgeStore, found: Found, num_words: int) -> np.ndarray:
    """Words of the entries that were found, ``[queries, k, num_words]`` int32: 0 behind each, and where there is none.

    Entries that share no word with the query, of cosine 0, are none; of long ones the first ``num_words`` count.
    """
    words = np.zeros((*found.places.shape, num_words), np.int32)
    for at in zip(*np.nonzero((found.places >= 0) & (found.scores > 0)), strict=True):
        entry = store.entries[found.places[at]].words[:num_words]
        words[at][: len(entry)] = entry
    return words


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
            x = x + self._attend(normalize(x), tokens, heard, f"layer{i}")
            y = nn.gelu(nn.Dense(int(width * self.mlp_ratio), kernel_init=_XAVIER, name=f"layer{i}_fc1")(normalize(x)))
            x = x + nn.Dense(width, kernel_init=nn.initializers.zeros, name=f"layer{i}_fc2")(y)
        return x

    def _attend(self, x: jax.Array, tokens: jax.Array, heard: jax.Array, name: str) -> jax.Array:
        width = x.shape[-1]
        split = lambda y: y.reshape(*y.shape[:2], self.num_heads, -1)  # noqa: E731
        query = nn.Dense(width, kernel_init=_XAVIER, name=f"{name}_query")(x)
        key, value = (nn.Dense(width, kernel_init=_XAVIER, name=f"{name}_{of}")(tokens) for of in ("key", "value"))
        found = jax.nn.dot_product_attention(split(query), split(key), split(value), mask=heard[:, None, None])
        return nn.Dense(width, kernel_init=nn.initializers.zeros, name=f"{name}_proj")(found.reshape(x.shape))


def fuse_memory(
    memory: Memory, params: Mapping[str, Any], understood: jax.Array, valid: jax.Array, words: jax.Array,
    embedding: jax.Array, weight: float = 1.0,
) -> jax.Array:  # fmt: skip
    """What a decoder made of each word, with what the entries say.

    Args:
        understood: ``[n, num_words, width]``.
        valid: Which words there are, ``[n, num_words]`` bool.
        words: From :func:`retrieved_words`, ``[n, k, entry_words]``; a sentence without entries is left as it is.
        embedding: Of the vocabulary, ``[vocabulary, width]``.
        weight: Of the change, >= 0; 0 changes nothing.

    Returns:
        The shape of ``understood``.
    """
    held = words > 0
    changed = memory.apply({"params": params}, understood, valid, embedding[words], held)
    known = held.any((1, 2))[:, None, None] & (weight > 0)
    return jnp.where(known, understood + weight * (changed - understood), understood)
