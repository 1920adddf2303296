"""The coding chain of 5G through Sionna: 24-bit CRC, segmentation, LDPC code, rate matching. NumPy in and out.

After rate matching the bits of each block are interleaved for the modulation (TS 38.212, section 5.4.2.2), so that the
first, systematic ones become the best protected bits of the symbols. One CRC protects a payload; payload and CRC are
cut into equally long code blocks. Hybrid ARQ and the standard's CRC per code block are left out: nothing here
retransmits. The geometry (:func:`code_blocks`) needs no Sionna.
"""

import functools
import math
from typing import NamedTuple

import numpy as np

from lvm_mtc.interop.sionna import runtime

CRC = "CRC24A"  # TS 38.212, section 5.1
CRC_BITS = 24
RATES = (1 / 5, 0.95)
# Largest blocks, TS 38.212, section 5.2.2. Without repetition base graph 1 ends at rate 1/3, and below it base graph 2
# has to serve, which section 7.2.2 gives up to 3824 bits.
_LARGEST, _LARGEST_LOW_RATE, _SMALLEST = 8448, 3824, 12
_WORDS_AT_ONCE = 64  # bounds the decoder's memory: 316 messages of 4 bytes per lifting step and word, several times


class CodeBlocks(NamedTuple):
    """How the coded bits of a transmission are divided.

    Attributes:
        num_blocks: Code blocks.
        k: Bits in a block before coding.
        n: Bits in a block after coding and rate matching, a multiple of ``bits_per_symbol``.
        num_coded_bits: Bits on air; the ``num_coded_bits - num_blocks n`` that are left over are zero.
        bits_per_symbol: Of the modulation that the bits are interleaved for.
    """

    num_blocks: int
    k: int
    n: int
    num_coded_bits: int
    bits_per_symbol: int

    @property
    def payload_bits(self) -> int:
        """Bits that the transmission carries, its CRC taken off."""
        return self.num_blocks * self.k - CRC_BITS


class Decoded(NamedTuple):
    """What a decoder found.

    Attributes:
        payload: ``[batch, payload_bits]`` uint8.
        valid: Whether the CRC holds, ``[batch]`` bool.
        blocks: Payload with CRC by code blocks, ``[batch, num_blocks, k]`` uint8.
    """

    payload: np.ndarray
    valid: np.ndarray
    blocks: np.ndarray


def code_blocks(num_symbols: int, bits_per_symbol: int, rate: float) -> CodeBlocks:
    """Divides the bits of modulated symbols into the fewest equal blocks that the code has.

    Args:
        num_symbols: Complex symbols on air.
        bits_per_symbol: Coded bits that each carries.
        rate: Of the code, ``k / n``, from 1/5 to 0.95; reached to within one bit a block.

    Returns:
        The blocks; ``k`` is the smallest number of bits of at least this rate (at most 0.95).

    Raises:
        ValueError: if the rate is outside, or there are too few bits for a block with a CRC.
    """
    if not RATES[0] <= rate <= RATES[1]:
        raise ValueError(f"rate must lie in [{RATES[0]:g}, {RATES[1]:g}], got {rate!r}")
    for name, value in (("num_symbols", num_symbols), ("bits_per_symbol", bits_per_symbol)):
        if isinstance(value, bool) or int(value) != value or value < 1:
            raise ValueError(f"{name} must be an integer >= 1, got {value!r}")
    largest = _LARGEST if rate >= 1 / 3 else _LARGEST_LOW_RATE
    num_blocks = 1
    while _uncoded(num_symbols // num_blocks * bits_per_symbol, rate) > largest:
        num_blocks += 1
    n = num_symbols // num_blocks * bits_per_symbol
    found = CodeBlocks(num_blocks, _uncoded(n, rate), n, num_symbols * bits_per_symbol, bits_per_symbol)
    if found.k < _SMALLEST or found.payload_bits < 1:
        raise ValueError(
            f"num_symbols {num_symbols} of {bits_per_symbol} bits at rate {rate:g} make a block of {found.k} bits: "
            f"more than {CRC_BITS} are needed, for the CRC"
        )
    return found


def check() -> None:
    """Raise the one line that says what to install, unless the coding chain is there.

    Raises:
        SionnaUnavailable: without the extra ``sionna``.
    """
    runtime.check()


def _uncoded(n: int, rate: float) -> int:
    k = math.ceil(rate * n - 1e-9 * n)
    return k if k <= RATES[1] * n else math.floor(RATES[1] * n)


@functools.lru_cache(maxsize=64)
def _crc_encoder(num_bits: int):
    sionna = runtime.load()
    encode = sionna.phy.fec.crc.CRCEncoder(CRC)
    return _compiled(sionna, encode, num_bits)


@functools.lru_cache(maxsize=64)
def _crc_decoder(num_bits: int):
    sionna = runtime.load()
    # A generator of its own: Sionna builds it anew whenever the length changes.
    decode = sionna.phy.fec.crc.CRCDecoder(sionna.phy.fec.crc.CRCEncoder(CRC))
    return _compiled(sionna, decode, num_bits)


@functools.lru_cache(maxsize=64)
def _ldpc_encoder(k: int, n: int, bits_per_symbol: int):
    sionna = runtime.load()
    encoder = sionna.phy.fec.ldpc.LDPC5GEncoder(k, n, num_bits_per_symbol=bits_per_symbol)
    return encoder, _compiled(sionna, encoder, k)


@functools.lru_cache(maxsize=64)
def _ldpc_decoder(k: int, n: int, bits_per_symbol: int, num_iter: int, check_update: str):
    sionna = runtime.load()
    encoder, _ = _ldpc_encoder(k, n, bits_per_symbol)
    decode = sionna.phy.fec.ldpc.LDPC5GDecoder(encoder, num_iter=num_iter, cn_update=check_update)
    return _compiled(sionna, decode, n)


def _compiled(sionna: runtime.Sionna, block, length: int):
    """A graph that serves any number of words of one length."""
    signature = [sionna.tf.TensorSpec([None, length], sionna.tf.float32)]
    return sionna.tf.function(lambda words: block(words), input_signature=signature, autograph=False)


def _words(name: str, array: np.ndarray, length: int) -> np.ndarray:
    array = np.asarray(array)
    if array.ndim != 2 or array.shape[1] != length:
        raise ValueError(f"{name} must be [batch, {length}], got {array.shape}")
    return array


def encode_payload(payload: np.ndarray, blocks: CodeBlocks) -> np.ndarray:
    """Appends the CRC, segments, encodes and matches the rate.

    Args:
        payload: Zeros and ones, ``[batch, blocks.payload_bits]``.
        blocks: Of :func:`code_blocks`.

    Returns:
        Coded bits, block after block, ``[batch, blocks.num_coded_bits]`` uint8.

    Raises:
        ValueError: if the payload has another shape, or an entry is neither 0 nor 1.
        SionnaUnavailable: without the extra ``sionna``.
    """
    payload = _words("payload", payload, blocks.payload_bits)
    if not np.all((payload == 0) | (payload == 1)):
        raise ValueError("payload must hold zeros and ones")
    protected = _crc_encoder(blocks.payload_bits)(payload.astype(np.float32)).numpy()
    _, encode = _ldpc_encoder(blocks.k, blocks.n, blocks.bits_per_symbol)
    coded = _in_parts(encode, protected.reshape(-1, blocks.k), blocks.n)
    coded = coded.reshape(payload.shape[0], blocks.num_blocks * blocks.n)
    return np.pad(coded, [(0, 0), (0, blocks.num_coded_bits - coded.shape[1])])


def decode_payload(
    llr: np.ndarray, blocks: CodeBlocks, *, num_iter: int = 20, check_update: str = "boxplus-phi"
) -> Decoded:
    """Decodes by belief propagation and checks the CRC.

    Args:
        llr: ``log P(bit = 1) - log P(bit = 0)`` of the coded bits, ``[batch, blocks.num_coded_bits]``, as from
            ``phy.modulation.qam_llr``.
        blocks: Of :func:`code_blocks`.
        num_iter: Iterations; there is no early end.
        check_update: Sionna's rule at the check nodes: ``"boxplus-phi"`` (exact), ``"boxplus"``, ``"minsum"`` or
            ``"offset-minsum"``.

    Returns:
        Payloads and whether each is valid.

    Raises:
        ValueError: if ``llr`` has another shape or is NaN somewhere.
        SionnaUnavailable: without the extra ``sionna``.
    """
    llr = _words("llr", llr, blocks.num_coded_bits)
    if np.isnan(llr).any():
        raise ValueError(f"llr is NaN in {int(np.isnan(llr).any(axis=1).sum())} of {llr.shape[0]} words")
    words = np.float32(llr[:, : blocks.num_blocks * blocks.n]).reshape(-1, blocks.n)
    decode = _ldpc_decoder(blocks.k, blocks.n, blocks.bits_per_symbol, num_iter, check_update)
    found = _in_parts(decode, words, blocks.k).reshape(llr.shape[0], blocks.num_blocks, blocks.k)
    _, valid = _crc_decoder(blocks.num_blocks * blocks.k)(np.float32(found.reshape(llr.shape[0], -1)))
    payload = found.reshape(llr.shape[0], -1)[:, : blocks.payload_bits]
    return Decoded(payload, valid.numpy().reshape(-1), found)


def _in_parts(function, words: np.ndarray, length: int) -> np.ndarray:
    """Applies a function of ``[batch, ...]`` to a bounded number of words at a time; bits out."""
    parts = [words[i : i + _WORDS_AT_ONCE] for i in range(0, len(words), _WORDS_AT_ONCE)]
    found = [np.uint8(function(part).numpy()) for part in parts]
    return np.concatenate(found) if found else np.zeros((0, length), np.uint8)
