"""A lossless code for sentences: arithmetic coding under a model of which word follows which. NumPy only."""

import functools

import numpy as np

from lvm_mtc.data.arithmetic import Interval, Reader, shares

_SCALE = 2**20


class BigramCode:
    """Arithmetic code for sentences whose length the receiver knows.

    The probability of a word behind another is (c(u, w) + T(u) p(w)) / (c(u) + T(u)) (Witten-Bell): c counts pairs in
    the training sentences, T(u) is the number of different words behind u, p(w) = (c(w) + 1) / (N + V). A sentence is
    an interval of real numbers as wide as it is likely, in exact integers, and its code the shortest binary fraction
    inside. Bits behind a code that are zero change nothing.

    Args:
        sentences: Numbers of words to learn from, ``[n, num_words]``, 0 behind each sentence.
        vocabulary: Numbers of words, 0 included.

    Source: Witten and Bell, The zero-frequency problem (1991).
    """

    def __init__(self, sentences: np.ndarray, vocabulary: int):
        self.vocabulary = vocabulary
        sentences = np.asarray(sentences, np.int64)
        before = np.pad(sentences[:, :-1], [(0, 0), (1, 0)])[sentences > 0]
        behind = sentences[sentences > 0]
        counts = np.bincount(behind, minlength=vocabulary)[1:]
        self._common = (counts + 1) / (counts.sum() + vocabulary - 1)
        pairs, self._counts = np.unique(before * vocabulary + behind, return_counts=True)
        before, self._words = np.divmod(pairs, vocabulary)
        self._starts = np.searchsorted(before, np.arange(vocabulary + 1))
        self._limits = functools.lru_cache(maxsize=4096)(self._limits_behind)

    def encode(self, words: np.ndarray) -> np.ndarray:
        """Bits of a sentence, numbers of words ``[num_words]`` up to the first 0; ``[num_bits]`` uint8, maybe none."""
        interval, previous = Interval(), 0
        for word in np.asarray(words).tolist():
            if word == 0:
                break
            limits = self._limits(previous)
            interval.add(*(int(limits[i]) for i in (word - 1, word, -1)))
            previous = word
        return interval.shortest()

    def decode(self, bits: np.ndarray, num_words: int) -> np.ndarray:
        """The sentence of so many words that has these bits, ``[num_words]`` int32; some sentence for any bits."""
        reader, words = Reader(bits), [0]
        for _ in range(num_words):
            words.append(reader.next(self._limits(words[-1])) + 1)
        return np.array(words[1:], np.int32)

    def _limits_behind(self, previous: int) -> np.ndarray:
        """Limits of the words' intervals behind another word, 0 at the beginning; ``[vocabulary]`` int64."""
        own = slice(self._starts[previous], self._starts[previous + 1])
        counts = np.zeros(self._common.size, np.int64)
        counts[self._words[own] - 1] = self._counts[own]
        return shares(counts, self._common, _SCALE)
