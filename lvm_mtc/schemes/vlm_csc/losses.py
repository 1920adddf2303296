"""What the text transceiver minimises."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.schemes.scheme import Params, Source
from lvm_mtc.schemes.simulate import forward

WORD_LOSSES = ("cross_entropy", "binary")
_LARGEST_PROBABILITY = 1 - 1e-6


def text_loss(
    scheme: Any, params: Params, source: Source, key: jax.Array, link: LinkConfig, point: OperatingPoint,
    weights: Mapping[str, Any],
) -> tuple[jax.Array, dict[str, jax.Array]]:  # fmt: skip
    """End to end, ``weights["word_loss"]``; a ``Stage.loss``. An autoregressive decoder is told the words before."""
    outcome = forward(scheme, params, source, key, link, point)
    scores = scheme.scores(params, outcome.received, outcome.sent.side, point, source.data)
    right = jnp.argmax(scores, axis=-1) == source.data
    losses, words = word_loss(scores, source.data, weights["word_loss"]), source.data > 0
    return mean_over_words(losses, words), {"word_accuracy": mean_over_words(right, words)}


def word_loss(scores: jax.Array, words: jax.Array, kind: str) -> jax.Array:
    """Loss of each word, ``[...]``, from scores ``[..., vocabulary]`` and the right numbers ``[...]`` int.

    ``"cross_entropy"`` is -log p of the right word; ``"binary"`` is the paper's Eq. 4, read as a decision about each
    word of the vocabulary: -log p of the right one and -log(1 - p) of all others.
    """
    log_p = jax.nn.log_softmax(scores)
    of_right = jnp.take_along_axis(log_p, words[..., None], axis=-1)[..., 0]
    if kind == "cross_entropy":
        return -of_right
    absent = jnp.log1p(-jnp.minimum(jnp.exp(log_p), _LARGEST_PROBABILITY))
    return -of_right - absent.sum(-1) + jnp.take_along_axis(absent, words[..., None], axis=-1)[..., 0]


def mean_over_words(values: jax.Array, words: jax.Array) -> jax.Array:
    """Mean of ``values`` where there are ``words``, bool of one shape, over all sentences."""
    return jnp.sum(jnp.where(words, values, 0.0)) / words.sum()
