"""Retrieved sentences in a decoder's memory: what it makes of the received words attends to the words of the store.

The third way to use a ``knowledge.store``, beside its closed forms ``fuse_words`` and ``fuse_index``, and the only one
that is learned. It stands between a transceiver's decoder and its scores, and the transceiver stays as it is: without
a sentence, or at weight 0, nothing changes, to the bit.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.knowledge.store import Found, KnowledgeStore
from lvm_mtc.models.memory import Memory


def retrieved_words(store: KnowledgeStore, found: Found, num_words: int) -> np.ndarray:
    """Words of the entries that were found, ``[queries, k, num_words]`` int32: 0 behind each, and where there is none.

    Entries that share no word with the query, of cosine 0, are none; of long ones the first ``num_words`` count.
    """
    words = np.zeros((*found.places.shape, num_words), np.int32)
    for at in zip(*np.nonzero((found.places >= 0) & (found.scores > 0)), strict=True):
        entry = store.entries[found.places[at]].words[:num_words]
        words[at][: len(entry)] = entry
    return words


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
