"""The class alone as bits, at the symbols of a caption: ten orthogonal words, the most likely one taken."""

import dataclasses
import math
from typing import Any, ClassVar, NamedTuple

import jax
import numpy as np
from scipy.linalg import hadamard

from lvm_mtc.data.captions import Vocabulary
from lvm_mtc.data.grammar import CLASS_WORDS, understand

BITS_PER_SYMBOL = 2


class CodedClasses(NamedTuple):
    """Bits on air, ``[n, num_words, num_symbols BITS_PER_SYMBOL]`` uint8, and the words of each caption, ``[n]``."""

    bits: np.ndarray
    length: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class ClassIndex:
    """Both ends; a ``sweep.as_bits.BitSender``. What is decoded is a sentence of one word.

    Attributes:
        vocabulary: Of the captions' numbers.
        num_symbols: Complex symbols of a word of the caption.
    """

    vocabulary: Vocabulary
    num_symbols: int = 8
    modality: ClassVar[str] = "text"
    metrics: ClassVar[tuple[str, ...]] = ("bleu1",)
    bits_per_symbol: ClassVar[int] = BITS_PER_SYMBOL

    def _code(self, num_words: int) -> np.ndarray:
        """Words of the code, ``[10, num_words, ...]`` of 0 and 1: rows of a Hadamard matrix, cut off."""
        length = num_words * self.num_symbols * BITS_PER_SYMBOL
        size = 2 ** math.ceil(math.log2(max(length, 2 * len(CLASS_WORDS))))
        rows = hadamard(size)[1 : 1 + len(CLASS_WORDS), :length] < 0
        return rows.reshape(len(CLASS_WORDS), num_words, -1).astype(np.uint8)

    def side_bits(self, num_words: int) -> int:
        """Bits that tell a receiver the number of words."""
        return math.ceil(math.log2(num_words))

    def sent(self, words: np.ndarray) -> np.ndarray:
        """Where the caption has words, bool."""
        return words > 0

    def encode(self, words: np.ndarray) -> CodedClasses:
        """The classes that captions ``[n, num_words]`` name; the first one where they name none."""
        label = np.maximum(understand(self.vocabulary.decode(words)).label, 0)
        return CodedClasses(self._code(words.shape[1])[label] * (words > 0)[..., None], (words > 0).sum(-1))

    def decode(self, llr: np.ndarray, coded: CodedClasses) -> np.ndarray:
        """Sentences of one word, ``[n, num_words]`` int32."""
        heard = np.arange(llr.shape[1]) < coded.length[:, None]
        signs = 2.0 * self._code(llr.shape[1]) - 1.0
        label = np.einsum("nwb,nw,cwb->nc", np.clip(llr, -100, 100), heard, signs).argmax(-1)
        words = np.zeros(llr.shape[:2], np.int32)
        numbers = [self.vocabulary.words.index(word) + 1 for word in CLASS_WORDS]
        words[:, 0] = np.array(numbers)[label]
        return words

    def estimate(self, words: jax.Array) -> Any:
        """Scores of the words, all on one."""
        return jax.nn.one_hot(words, self.vocabulary.size)
