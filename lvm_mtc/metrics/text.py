"""Metrics of text: what share of the words arrived."""

import jax
import jax.numpy as jnp


def word_accuracy(text: jax.Array, scores: jax.Array) -> jax.Array:
    """Share of positions at which the best-scored word is the right one; padding, number 0, does not count.

    Args:
        text: Numbers of words, ``[..., num_tokens]`` int.
        scores: ``[..., num_tokens, vocabulary]``.

    Returns:
        ``[...]``; NaN for a text that is all padding.
    """
    counts = text > 0
    return jnp.sum((jnp.argmax(scores, axis=-1) == text) & counts, axis=-1) / counts.sum(axis=-1)
