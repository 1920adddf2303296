import numpy as np
import pytest

from lvm_mtc.data.bigram_code import BigramCode

VOCABULARY, LENGTH = 9, 7


@pytest.fixture(scope="module")
def sentences():
    """Each word is likely to be followed by the next number."""
    rng = np.random.default_rng(0)
    rows = np.zeros((300, LENGTH), np.int64)
    previous = np.zeros(300, int)
    for i in range(LENGTH):
        previous = np.where(rng.random(300) < 0.7, previous % 8 + 1, rng.integers(1, VOCABULARY, 300))
        rows[:, i] = previous
    return np.where(np.arange(LENGTH) < rng.integers(1, LENGTH + 1, 300)[:, None], rows, 0)


def information(sentences, sentence):
    """Bits under the Witten-Bell model, from its formula."""
    pairs = [(0 if i == 0 else row[i - 1], word) for row in sentences for i, word in enumerate(row) if word]
    bits, previous = 0.0, 0
    for word in sentence[sentence > 0]:
        behind = [w for u, w in pairs if u == previous]
        common = (sum(w == word for _, w in pairs) + 1) / (len(pairs) + VOCABULARY - 1)
        kinds = len(set(behind))
        bits -= np.log2((behind.count(word) + kinds * common) / (len(behind) + kinds))
        previous = word
    return bits


def test_sentences_come_back_from_no_more_bits_than_they_carry(sentences):
    code = BigramCode(sentences[:200], VOCABULARY)
    sizes = []
    for sentence in sentences[200:]:
        bits, length = code.encode(sentence), np.count_nonzero(sentence)
        np.testing.assert_array_equal(code.decode(np.pad(bits, (0, 6)), length), sentence[:length])
        np.testing.assert_array_equal(code.decode(bits, length), sentence[:length])
        # The interval of width 2^-h holds a fraction of at most h + 1 bits.
        assert bits.size <= information(sentences[:200], sentence) + 1 + 1e-3
        sizes.append(bits.size)
    assert np.mean(sizes) < 0.85 * 3 * np.count_nonzero(sentences[200:]) / 100


def test_the_code_is_the_shortest_fraction_inside(sentences):
    code = BigramCode(sentences[:200], VOCABULARY)
    for sentence in sentences[200:220]:
        bits, length = code.encode(sentence), np.count_nonzero(sentence)
        shorter = {tuple(code.decode(np.array(list(np.binary_repr(i, bits.size - 1)), int), length))
                   for i in range(2 ** (bits.size - 1))} if 1 < bits.size < 8 else set()  # fmt: skip
        assert tuple(sentence[:length]) not in shorter


def test_words_that_were_never_seen_can_be_sent():
    code = BigramCode(np.array([[1, 2, 0]]), 6)
    sentence = np.array([5, 5, 4])
    np.testing.assert_array_equal(code.decode(code.encode(sentence), 3), sentence)
    assert code.encode(sentence).size > code.encode(np.array([1, 2, 0])).size


def test_any_bits_are_some_sentence(sentences):
    code = BigramCode(sentences, VOCABULARY)
    for seed in range(50):
        words = code.decode(np.random.default_rng(seed).integers(0, 2, 40), LENGTH)
        assert words.shape == (LENGTH,) and words.min() >= 1 and words.max() < VOCABULARY
