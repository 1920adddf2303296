"""A payload as code blocks of equal length: CRC, segmentation, LDPC, and back. NumPy in and out.

By default one CRC protects a payload and payload and CRC are cut into code blocks; ``per_block_crc=True`` gives each of
several blocks a CRC24B of its own, as TS 38.212, section 5.2.2, has it. What the standard decides from the payload's
length is decided here from the symbols that there are: the fewest equal blocks that fill them.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lvm_mtc.phy.coding.belief_propagation import ldpc_decode
from lvm_mtc.phy.coding.crc import crc_attach, crc_holds, crc_length
from lvm_mtc.phy.coding.ldpc import LARGEST_BLOCK, SMALLEST_BLOCK, LdpcCode
from lvm_mtc.phy.coding.redundancy import encode_version, version_places
from lvm_mtc.phy.numerics import require_bits

RATES = (1 / 5, 0.95)
BLOCK_CRC = "CRC24B"
# Without repetition base graph 1 ends at rate 1/3, and below it base graph 2 serves, up to 3824 bits (section 7.2.2).
_LARGEST_LOW_RATE = 3824
# Iterations after which most words are right, where a channel is not hopeless.
_FIRST_ITERATIONS = 8


class CodeBlocks(NamedTuple):
    """How the coded bits of a transmission are divided.

    Attributes:
        k: Bits in a block before coding.
        n: Bits in a block after coding and rate matching, a multiple of ``bits_per_symbol``.
        num_coded_bits: Bits on air; the ``num_coded_bits - num_blocks n`` that are left over are zero.
        bits_per_symbol: Of the modulation that the bits are interleaved for.
        crc: Of the payload.
        per_block_crc: Whether each of several blocks has a CRC24B.
        base_graph: Of the code; None: what its rate asks for.
    """

    num_blocks: int
    k: int
    n: int
    num_coded_bits: int
    bits_per_symbol: int
    crc: str = "CRC24A"
    per_block_crc: bool = False
    base_graph: int | None = None

    @property
    def code(self) -> LdpcCode:
        """Of each block."""
        return LdpcCode(self.k, self.n, self.bits_per_symbol, self.base_graph)

    @property
    def block_crc_bits(self) -> int:
        """CRC bits at the end of each block; one block alone needs none beside the payload's."""
        return crc_length(BLOCK_CRC) if self.per_block_crc and self.num_blocks > 1 else 0

    @property
    def payload_bits(self) -> int:
        """Bits that the transmission carries, all CRCs taken off."""
        return self.num_blocks * (self.k - self.block_crc_bits) - crc_length(self.crc)


class Decoded(NamedTuple):
    """What a decoder found.

    Attributes:
        payload: ``[batch, payload_bits]`` uint8.
        valid: Whether the payload's CRC holds, ``[batch]`` bool.
        blocks: What each code block carries, CRCs included, ``[batch, num_blocks, k]`` uint8.
    """

    payload: np.ndarray
    valid: np.ndarray
    blocks: np.ndarray


def code_blocks(
    num_symbols: int, bits_per_symbol: int, rate: float, *, crc: str = "CRC24A", per_block_crc: bool = False
) -> CodeBlocks:
    """Divides the bits of modulated symbols into the fewest equal blocks that the code has.

    Args:
        num_symbols: Complex symbols on air.
        bits_per_symbol: Coded bits that each carries.
        rate: Of the code, ``k / n``, from 1/5 to 0.95; reached to within one bit a block.
        crc: Of the payload, see ``CRC_POLYNOMIALS``.
        per_block_crc: Whether each of several blocks has a CRC24B.

    Returns:
        The blocks; ``k`` is the smallest number of bits of at least this rate (at most 0.95).

    Raises:
        ValueError: if the rate is outside, a CRC unknown, or there are too few bits for a block with a CRC.
    """
    if not RATES[0] <= rate <= RATES[1]:
        raise ValueError(f"rate must lie in [{RATES[0]:g}, {RATES[1]:g}], got {rate!r}")
    for name, value in (("num_symbols", num_symbols), ("bits_per_symbol", bits_per_symbol)):
        if isinstance(value, bool) or int(value) != value or value < 1:
            raise ValueError(f"{name} must be an integer >= 1, got {value!r}")
    largest = max(LARGEST_BLOCK.values()) if rate >= 1 / 3 else _LARGEST_LOW_RATE
    num_blocks = 1
    while _uncoded(num_symbols // num_blocks * bits_per_symbol, rate) > largest:
        num_blocks += 1
    n = num_symbols // num_blocks * bits_per_symbol
    k = _uncoded(n, rate)
    blocks = CodeBlocks(num_blocks, k, n, num_symbols * bits_per_symbol, bits_per_symbol, crc, per_block_crc)
    if blocks.k < SMALLEST_BLOCK or blocks.payload_bits < 1:
        least = crc_length(crc)
        needed = (
            f"more than {least} are needed, for the CRC" if least >= SMALLEST_BLOCK else f"{SMALLEST_BLOCK} are needed"
        )
        raise ValueError(
            f"num_symbols {num_symbols} of {bits_per_symbol} bits at rate {rate:g} make a block of {k} bits: {needed}"
        )
    return blocks


def _uncoded(n: int, rate: float) -> int:
    k = math.ceil(rate * n - 1e-9 * n)
    return k if k <= RATES[1] * n else math.floor(RATES[1] * n)


def words_of(name: str, array: np.ndarray, length: int) -> np.ndarray:
    """``array`` as NumPy's; raise unless it is ``[batch, length]``."""
    array = np.asarray(array)
    if array.ndim != 2 or array.shape[1] != length:
        raise ValueError(f"{name} must be [batch, {length}], got {array.shape}")
    return array


def encode_payload(payload: np.ndarray, blocks: CodeBlocks, version: int = 0) -> np.ndarray:
    """Appends the CRC, segments, encodes and matches the rate.

    Args:
        payload: Zeros and ones, ``[batch, blocks.payload_bits]``.
        blocks: Of :func:`code_blocks`.
        version: Redundancy version, 0 to 3, see :func:`combine_versions`.

    Returns:
        Coded bits, block after block, ``[batch, blocks.num_coded_bits]`` uint8.

    Raises:
        ValueError: if the payload has another shape, an entry is neither 0 nor 1, or there is no such version.
    """
    payload = words_of("payload", payload, blocks.payload_bits)
    require_bits("payload", payload)
    words = crc_attach(payload, blocks.crc).reshape(-1, blocks.num_blocks, blocks.k - blocks.block_crc_bits)
    if blocks.block_crc_bits:
        words = crc_attach(words, BLOCK_CRC)
    coded = encode_version(words, blocks.code, version).reshape(len(payload), blocks.num_blocks * blocks.n)
    return np.pad(coded, [(0, 0), (0, blocks.num_coded_bits - coded.shape[1])])


def combine_versions(llr: np.ndarray, blocks: CodeBlocks, versions: Sequence[int]) -> tuple[np.ndarray, CodeBlocks]:
    """Several transmissions of a payload as one of a longer code, for :func:`decode_payload`.

    LLRs of a bit that was sent more than once add up: equal versions are Chase combining, others bring new parity
    bits, incremental redundancy.

    Args:
        llr: Of the transmissions, ``[len(versions), batch, blocks.num_coded_bits]``.
        blocks: Of each.
        versions: The redundancy version of each.

    Returns:
        LLRs ``[batch, num_coded_bits]`` of the bits of the circular buffer up to the last that was sent, and their
        blocks.

    Raises:
        ValueError: if ``llr`` has another shape or there is no such version.
    """
    if not versions or np.ndim(llr) != 3 or len(llr) != len(versions):
        raise ValueError(f"llr must be [{len(versions)}, batch, {blocks.num_coded_bits}], got {np.shape(llr)}")
    code = blocks.code
    places = [version_places(code, version) for version in versions]
    length = max(int(of_version.max()) for of_version in places) + 1
    words = [words_of("llr", one, blocks.num_coded_bits)[:, : blocks.num_blocks * blocks.n] for one in llr]
    combined = np.zeros((len(words[0]), blocks.num_blocks, length), np.float32)
    for one, of_version in zip(words, places, strict=True):
        combined[..., of_version] += one.reshape(-1, blocks.num_blocks, blocks.n)
    longer = dict(n=length, num_coded_bits=blocks.num_blocks * length, bits_per_symbol=1, base_graph=code.base_graph)
    return combined.reshape(len(combined), -1), blocks._replace(**longer)


def decode_payload(
    llr: np.ndarray, blocks: CodeBlocks, *, num_iter: int = 50, schedule: str = "layered", engine: str = "auto"
) -> Decoded:
    """Decodes by belief propagation and checks the CRC.

    Words whose CRC holds after a few iterations are left at that; the others get all of them.

    Args:
        llr: ``log P(bit = 1) - log P(bit = 0)`` of the coded bits, ``[batch, blocks.num_coded_bits]``, as from
            ``phy.modulation.qam_llr``.
        blocks: Of :func:`code_blocks`.
        num_iter: Iterations at most.
        schedule: ``"layered"`` or ``"flooding"``, see :func:`~lvm_mtc.phy.coding.ldpc_decode`.
        engine: ``"auto"``, ``"jax"`` or ``"numpy"``, see there.

    Returns:
        Payloads and whether each is valid.

    Raises:
        ValueError: if ``llr`` has another shape or is NaN somewhere, or a name is unknown.
    """
    llr = words_of("llr", llr, blocks.num_coded_bits)
    words = llr[:, : blocks.num_blocks * blocks.n].reshape(-1, blocks.num_blocks, blocks.n)
    bad = np.isnan(llr).any(axis=1).sum()
    if bad:
        raise ValueError(f"llr is NaN in {bad} of {len(llr)} words")

    def decode(words, iterations):
        found = ldpc_decode(words, blocks.code, num_iter=iterations, schedule=schedule, engine=engine)
        return np.asarray(found > 0, np.uint8)

    first = min(_FIRST_ITERATIONS, num_iter)
    found = decode(words, first)
    payload, valid = _checked(found, blocks)
    if first < num_iter and not valid.all():
        found[~valid] = decode(words[~valid], num_iter)
        payload, valid = _checked(found, blocks)
    return Decoded(payload, valid, found)


def _checked(found: np.ndarray, blocks: CodeBlocks) -> tuple[np.ndarray, np.ndarray]:
    protected = found[..., : blocks.k - blocks.block_crc_bits].reshape(len(found), -1)
    return protected[:, : blocks.payload_bits], np.asarray(crc_holds(protected, blocks.crc))
