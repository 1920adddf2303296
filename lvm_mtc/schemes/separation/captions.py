"""Sentences as bits: an arithmetic code, a CRC, 5G's LDPC code, QPSK, at the symbols of the learned text schemes.

A sentence has as many complex symbols for each of its words as theirs; it is sent at the lowest code rate that holds
its bits. Receivers are told the number of words, as theirs are, and which rate it is. Where the CRC fails nothing
arrives.
"""

import dataclasses
import functools
import math
from typing import Any, ClassVar, NamedTuple

import jax
import numpy as np

from lvm_mtc.config import require_count
from lvm_mtc.data.bigram_code import BigramCode
from lvm_mtc.phy import coding

BITS_PER_SYMBOL = 2
RATES = tuple(i / 20 for i in range(4, 19))
"""Code rates, of which a sentence takes one."""


class CodedSentences(NamedTuple):
    """Sentences as bits on air.

    Attributes:
        bits: ``[n, num_words, num_symbols BITS_PER_SYMBOL]`` uint8; of places without a word zeros, which are not sent.
        length: Words, ``[n]`` int.
        rate: Place in ``RATES``, ``[n]`` int; -1 where no rate holds the sentence, and then nothing will arrive.
    """

    bits: np.ndarray
    length: np.ndarray
    rate: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class CaptionBits:
    """Both ends; a ``sweep.as_bits.BitSender``.

    Attributes:
        source: Code of the sentences.
        num_symbols: Complex symbols of a word.
        crc: A name in ``coding.CRC_POLYNOMIALS``.
    """

    source: BigramCode
    num_symbols: int = 8
    crc: str = "CRC11"
    modality: ClassVar[str] = "text"
    metrics: ClassVar[tuple[str, ...]] = ("bleu1", "bleu2", "bleu4", "word_error_rate", "word_accuracy")
    bits_per_symbol: ClassVar[int] = BITS_PER_SYMBOL

    def __post_init__(self):
        require_count("CaptionBits", "num_symbols", self.num_symbols)
        coding.crc_length(self.crc)

    def side_bits(self, num_words: int) -> int:
        """Bits that tell a receiver the number of words, ``num_words`` at most, and the rate."""
        return math.ceil(math.log2(num_words)) + math.ceil(math.log2(len(RATES)))

    @functools.cached_property
    def blocks(self) -> Any:
        """Of a number of words and a place in ``RATES``; None where such a block could not hold one bit."""
        return functools.lru_cache(maxsize=None)(self._blocks)

    def _blocks(self, length: int, rate: int) -> coding.CodeBlocks | None:
        try:
            return coding.code_blocks(length * self.num_symbols, BITS_PER_SYMBOL, RATES[rate], crc=self.crc)
        except ValueError:
            return None

    def encode(self, words: np.ndarray) -> CodedSentences:
        """Sentences, numbers of words ``[n, num_words]`` with 0 behind each, as bits on air."""
        per_word = self.num_symbols * BITS_PER_SYMBOL
        length = np.count_nonzero(words, axis=-1)
        coded = CodedSentences(np.zeros((*words.shape, per_word), np.uint8), length, np.full(len(words), -1))
        payloads = [self.source.encode(sentence) for sentence in words]
        for i, payload in enumerate(payloads):
            holds = (blocks is not None and blocks.payload_bits >= payload.size for blocks in self._all(length[i]))
            coded.rate[i] = next((rate for rate, fits in enumerate(holds) if fits), -1)
        for blocks, members in self._alike(coded):
            padded = np.stack([np.pad(payloads[i], (0, blocks.payload_bits - payloads[i].size)) for i in members])
            bits = coding.encode_payload(padded, blocks)
            coded.bits[members, : bits.shape[1] // per_word] = bits.reshape(len(members), -1, per_word)
        return coded

    def decode(self, llr: np.ndarray, coded: CodedSentences) -> np.ndarray:
        """Words from LLRs of the shape of ``coded.bits``, and of ``coded`` what receivers are told: length and rate.

        ``[n, num_words]`` int32; 0, no word, wherever the CRC fails.
        """
        words = np.zeros(llr.shape[:2], np.int32)
        for blocks, members in self._alike(coded):
            length = int(coded.length[members[0]])
            found = coding.decode_payload(llr[members, :length].reshape(len(members), -1), blocks)
            for i, payload, valid in zip(members, found.payload, found.valid, strict=True):
                if valid:
                    words[i, :length] = self.source.decode(payload, length)
        return words

    def sent(self, words: np.ndarray) -> np.ndarray:
        """Where there are words, bool."""
        return words > 0

    def estimate(self, words: jax.Array) -> jax.Array:
        """Scores of the words, all on one: ``[..., vocabulary]``."""
        return jax.nn.one_hot(words, self.source.vocabulary)

    def _all(self, length: int):
        return (self.blocks(int(length), rate) for rate in range(len(RATES)))

    def _alike(self, coded: CodedSentences):
        """Sentences that share a code: blocks, and places ``[m]``."""
        kinds, of = np.unique(np.stack([coded.length, coded.rate]), axis=1, return_inverse=True)
        for kind, (length, rate) in enumerate(kinds.T.tolist()):
            if rate >= 0:
                yield self.blocks(length, rate), np.flatnonzero(of == kind)
