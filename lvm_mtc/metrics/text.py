"""Metrics of text: which share of the words arrived, word error rate, BLEU. Pure functions of numbers of words.

Sentences are ``[..., num_words]`` int, a received one of any length of its own; number 0 is no word, and a sentence
ends before its first 0.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

BLEU_ORDERS = ("cumulative", "individual")
BLEU_PENALTIES = ("standard", "printed")


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


def word_error_rate(text: jax.Array, received: jax.Array) -> jax.Array:
    """Fewest words to substitute, insert and delete between two sentences, over the words of ``text``.

    Returns:
        ``[...]``, 0 for equal sentences, above 1 where too many words were received; NaN or infinite for no ``text``.

    Source: Levenshtein, Binary codes capable of correcting deletions, insertions, and reversals (1966).
    """
    lengths = _length(text), _length(received)
    columns = _places(jnp.pad(received, [(0, 0)] * (received.ndim - 1) + [(0, 1)]))

    def add_word(row: jax.Array, word: jax.Array) -> tuple[jax.Array, jax.Array]:
        # Of insertions the cheapest number is a running minimum, once the column's own cost is taken off.
        kept = jnp.minimum(row[..., :-1] + (word[..., None] != received), row[..., 1:] + 1)
        row = jnp.concatenate([row[..., :1] + 1, kept], axis=-1) - columns
        row = jax.lax.cummin(row, axis=row.ndim - 1) + columns
        return row, row

    start = jnp.broadcast_to(columns, (*received.shape[:-1], columns.shape[-1]))
    _, rows = jax.lax.scan(add_word, start, jnp.moveaxis(jnp.asarray(text), -1, 0))
    table = jnp.moveaxis(jnp.concatenate([start[None], rows]), 0, -2)
    edits = jnp.take_along_axis(table, lengths[0][..., None, None], axis=-2)[..., 0, :]
    return jnp.take_along_axis(edits, lengths[1][..., None], axis=-1)[..., 0] / lengths[0]


class NgramCounts(NamedTuple):
    """What BLEU is made of; sums over sentences give that of a corpus.

    Attributes:
        matches: n-grams of the received sentence that stand in the reference, each as often as there at most, for
            n = 1 ... N, ``[..., N]``.
        possible: n-grams of the received sentence, ``[..., N]``.
        received: Its words, ``[...]``.
        reference: Those of the reference, ``[...]``.
    """

    matches: jax.Array
    possible: jax.Array
    received: jax.Array
    reference: jax.Array


def ngram_counts(text: jax.Array, received: jax.Array, largest: int) -> NgramCounts:
    """Counts for BLEU of ``received`` against one reference, ``text``, up to n = ``largest``."""
    lengths = [_length(sentence) for sentence in (received, text)]
    # Equal n-grams begin at the places of equal words whose successors are equal (n - 1)-grams.
    own, other = (_equal(received, sentence) for sentence in (received, text))
    matches, possible, same, found = [], [], own, other
    for n in range(1, largest + 1):
        if n > 1:
            same, found = (equal & _next(longer) for equal, longer in ((own, same), (other, found)))
        begins = [_places(s) < length[..., None] - n + 1 for s, length in zip((received, text), lengths, strict=True)]
        rank = jnp.sum(jnp.tril(same), axis=-1)
        counted = begins[0] & (rank <= jnp.sum(found & begins[1][..., None, :], axis=-1))
        matches.append(counted.sum(-1))
        possible.append(begins[0].sum(-1))
    return NgramCounts(jnp.stack(matches, -1), jnp.stack(possible, -1), *lengths)


def bleu(counts: NgramCounts, *, order: str = "cumulative", penalty: str = "standard") -> jax.Array:
    """BLEU without smoothing: the brevity penalty times the geometric mean of the n-grams' precisions, in [0, 1].

    Args:
        counts: Of a sentence, or sums over the sentences of a corpus, which is another number than the mean over
            sentences.
        order: ``"cumulative"``: n = 1 ... N weigh alike; ``"individual"``: n = N alone, as in DeepSC's code.
        penalty: ``"standard"``: exp(min(1 - reference / received, 0)) punishes what is too short; ``"printed"``: the
            paper's Eq. 23 with the fraction upside down, which punishes what is too long.

    Returns:
        ``[...]``; 0 where there is no n-gram of some n.

    Source: Papineni et al., BLEU: a Method for Automatic Evaluation of Machine Translation (2002).

    Raises:
        ValueError: for an unknown order or penalty.
    """
    for name, value, known in (("order", order, BLEU_ORDERS), ("penalty", penalty, BLEU_PENALTIES)):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    precision = counts.matches / jnp.maximum(counts.possible, 1)
    log_precision = jnp.log(precision)
    log_precision = log_precision.mean(-1) if order == "cumulative" else log_precision[..., -1]
    long, short = (counts.reference, counts.received)[:: 1 if penalty == "standard" else -1]
    return jnp.exp(jnp.minimum(1 - long / jnp.maximum(short, 1), 0.0) + log_precision)


def sentence_bleu(text: jax.Array, received: jax.Array, largest: int) -> jax.Array:
    """Cumulative BLEU of each sentence, ``[...]``; 0 for sentences of fewer words than ``largest``."""
    return bleu(ngram_counts(text, received, largest))


def corpus_bleu(text: jax.Array, received: jax.Array, largest: int) -> jax.Array:
    """Cumulative BLEU of all sentences together, a scalar."""
    counts = ngram_counts(text.reshape(-1, text.shape[-1]), received.reshape(-1, received.shape[-1]), largest)
    return bleu(NgramCounts(*(count.sum(0) for count in counts)))


def _length(sentence: jax.Array) -> jax.Array:
    return jnp.cumprod(sentence > 0, axis=-1).sum(-1)


def _places(sentence: jax.Array) -> jax.Array:
    """0, 1, 2 ... along the last axis, the others of size 1."""
    return jax.lax.broadcasted_iota(jnp.int32, (1,) * (sentence.ndim - 1) + sentence.shape[-1:], sentence.ndim - 1)


def _equal(a: jax.Array, b: jax.Array) -> jax.Array:
    return a[..., :, None] == b[..., None, :]


def _next(equal: jax.Array) -> jax.Array:
    """Whether the places behind two are equal, ``[..., a, b]`` bool; False behind the ends."""
    return jnp.pad(equal[..., 1:, 1:], [(0, 0)] * (equal.ndim - 2) + [(0, 1), (0, 1)])
