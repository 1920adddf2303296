import collections
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.metrics import text as metrics

LENGTH, PAIRS = 12, 200


def noisy_pairs():
    """Sentences of five different words, of any length, and what a bad link makes of them."""
    rng = np.random.default_rng(7)

    def cut(words, least):
        return np.where(np.arange(LENGTH) < rng.integers(least, LENGTH + 1, PAIRS)[:, None], words, 0)

    text = cut(rng.integers(1, 6, (PAIRS, LENGTH)), 4)
    received = np.where(rng.random((PAIRS, LENGTH)) < 0.8, text, rng.integers(1, 6, (PAIRS, LENGTH)))
    return np.int32(text), np.int32(cut(np.where(received > 0, received, 1), 0))


TEXT, RECEIVED = noisy_pairs()


def plain(row):
    words = row.tolist()
    return words[: words.index(0)] if 0 in words else words


def reference_bleu(pairs, largest):
    """Papineni's formula, word by word."""
    logs, lengths = [], np.sum([(len(a), len(b)) for a, b in pairs], axis=0)
    for n in range(1, largest + 1):
        grams = [[collections.Counter(zip(*(s[i:] for i in range(n)), strict=False)) for s in pair] for pair in pairs]
        matches = sum(sum((a & b).values()) for a, b in grams)
        possible = sum(b.total() for _, b in grams)
        logs.append(math.log(matches / possible) if matches else -math.inf)
    return math.exp(min(1 - lengths[0] / max(lengths[1], 1), 0) + sum(logs) / largest)


def edits(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        before, row = row, [i]
        for j, y in enumerate(b, start=1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (x != y)))
    return row[-1]


@pytest.fixture(scope="module")
def measured():
    """All that the tests look at, of all pairs, by one program."""

    def measure(text, received):
        names = {f"bleu{n}": metrics.sentence_bleu(text, received, n) for n in (1, 2, 4)}
        return names | {
            "word_error_rate": metrics.word_error_rate(text, received),
            "own_bleu": metrics.sentence_bleu(text, text, 4),
            "corpus": jnp.stack([metrics.corpus_bleu(text, received, n) for n in (1, 2, 4)]),
        }

    return jax.tree.map(np.asarray, jax.jit(measure)(jnp.asarray(TEXT), jnp.asarray(RECEIVED)))


@pytest.mark.parametrize("largest", [1, 2, 4])
def test_sentence_bleu_is_that_of_its_formula(measured, largest):
    want = [reference_bleu([(plain(a), plain(b))], largest) for a, b in zip(TEXT, RECEIVED, strict=True)]
    np.testing.assert_allclose(measured[f"bleu{largest}"], want, atol=2e-6)
    assert len(set(want)) > 20


def test_corpus_bleu_is_sacrebleus(measured):
    """Goldens: sacrebleu 2.6.0, tokenize="none", smooth_method="none", and its formula here."""
    pairs = [(plain(a), plain(b)) for a, b in zip(TEXT, RECEIVED, strict=True)]
    golden = [0.548086237, 0.486711548, 0.381250236]
    np.testing.assert_allclose(measured["corpus"], golden, atol=1e-6)
    np.testing.assert_allclose(golden, [reference_bleu(pairs, n) for n in (1, 2, 4)], atol=1e-9)
    assert abs(measured["corpus"][2] - measured["bleu4"].mean()) > 0.01


def test_sentence_bleu_is_nltks(measured):
    """Goldens: nltk 3.10.4, some pairs, weights 1/4 each."""
    np.testing.assert_allclose(
        measured["bleu4"][[0, 1, 11, 16, 18, 20]],
        [0.741944663, 0.345720785, 0.60653066, 0.680374933, 0.367879441, 0.638943104],
        atol=1e-6,
    )


def test_equal_sentences_have_bleu_one_and_no_error(measured):
    np.testing.assert_allclose(measured["own_bleu"], 1.0, atol=1e-6)
    assert (metrics.word_error_rate(jnp.asarray(TEXT), jnp.asarray(TEXT)) == 0).all()


def test_word_error_rate_is_the_edit_distance(measured):
    want = [edits(plain(a), plain(b)) / len(plain(a)) for a, b in zip(TEXT, RECEIVED, strict=True)]
    np.testing.assert_allclose(measured["word_error_rate"], want, rtol=1e-6)


def test_a_sentence_that_did_not_arrive():
    text, nothing = jnp.int32([[3, 1, 2, 4]]), jnp.zeros((1, 4), jnp.int32)
    assert metrics.word_error_rate(text, nothing) == 1
    assert metrics.sentence_bleu(text, nothing, 1) == 0


def test_the_printed_penalty_is_upside_down():
    text = jnp.int32([[1, 2, 3, 4, 0, 0]] * 3)
    received = jnp.int32([[1, 2, 3, 4, 0, 0], [1, 2, 3, 0, 0, 0], [1, 2, 3, 4, 4, 4]])
    counts = metrics.ngram_counts(text, received, 1)
    penalties = [metrics.bleu(counts, penalty=name) / (counts.matches / counts.possible)[:, 0] for name in
                 metrics.BLEU_PENALTIES]  # fmt: skip
    np.testing.assert_allclose(penalties, [[1, math.exp(1 - 4 / 3), 1], [1, 1, math.exp(1 - 6 / 4)]], rtol=1e-6)


def test_individual_order_looks_at_the_longest_alone():
    counts = metrics.ngram_counts(jnp.int32([[1, 2, 3, 4]]), jnp.int32([[1, 2, 4, 3]]), 2)
    np.testing.assert_allclose(metrics.bleu(counts, order="individual"), 1 / 3, rtol=1e-6)
    np.testing.assert_allclose(metrics.bleu(counts), math.sqrt(1 / 3), rtol=1e-6)


@pytest.mark.parametrize("wrong", [dict(order="both"), dict(penalty="none")])
def test_unknown_names_are_refused(wrong):
    ((name, value),) = wrong.items()
    counts = metrics.ngram_counts(jnp.int32([[1]]), jnp.int32([[1]]), 1)
    with pytest.raises(ValueError, match=f"{name} must be one of .*'{value}'"):
        metrics.bleu(counts, **wrong)
