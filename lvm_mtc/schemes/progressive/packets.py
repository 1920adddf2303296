"""Stages behind a channel code: packets with a CRC each, sent one after the other; the receiver shows what holds.

A picture is shown from the longest prefix of packets whose CRC holds; without the first nothing is shown. NumPy in and
out.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from lvm_mtc import phy
from lvm_mtc.phy import coding
from lvm_mtc.schemes.progressive.bits import SCRAMBLE


class Packet(NamedTuple):
    """Some stages under one CRC.

    Attributes:
        num_stages: Stages in it.
        num_bits: Their bits.
        bits_per_symbol: Of the QAM.
        blocks: How they are coded; ``blocks.payload_bits - num_bits`` zeros fill the payload up.
    """

    num_stages: int
    num_bits: int
    bits_per_symbol: int
    blocks: coding.CodeBlocks

    @property
    def num_symbols(self) -> int:
        """Complex symbols on air."""
        return self.blocks.num_coded_bits // self.bits_per_symbol


@functools.cache
def make_packet(num_stages: int, stage_bits: int, bits_per_symbol: int, rate: float) -> Packet:
    """The shortest packet that holds some stages at a code rate.

    Raises:
        ValueError: as ``coding.code_blocks``.
    """
    num_bits = num_stages * stage_bits
    num_symbols = int((num_bits + coding.crc_length("CRC24A")) / (rate * bits_per_symbol))
    while (blocks := coding.code_blocks(num_symbols, bits_per_symbol, rate)).payload_bits < num_bits:
        num_symbols += 1
    return Packet(num_stages, num_bits, bits_per_symbol, blocks)


class Ledger(NamedTuple):
    """What a picture's packets cost, exactly: bits of the stages, bits and complex symbols on air."""

    payload_bits: int
    coded_bits: int
    channel_uses: int


def book(packets: Sequence[Packet]) -> Ledger:
    """Costs of a picture."""
    return Ledger(
        sum(packet.num_bits for packet in packets),
        sum(packet.blocks.num_coded_bits for packet in packets),
        sum(packet.num_symbols for packet in packets),
    )


def send_packets(bits: np.ndarray, packets: Sequence[Packet]) -> np.ndarray:
    """Symbols of pictures, packet after packet, of power 1 on average.

    Args:
        bits: Of the stages, ``[batch, at least the bits of all packets]`` uint8; what is beyond is not sent.
        packets: In the order of their stages.

    Returns:
        ``[batch, channel uses]`` complex64.

    Raises:
        ValueError: if there are fewer bits than the packets hold.
    """
    total = book(packets).payload_bits
    if bits.ndim != 2 or bits.shape[1] < total:
        raise ValueError(f"bits must be [batch, {total}] or more for these packets, got {bits.shape}")
    symbols, begin = [], 0
    for packet in packets:
        payload = bits[:, begin : begin + packet.num_bits]
        payload = np.pad(payload, [(0, 0), (0, packet.blocks.payload_bits - packet.num_bits)])
        coded = coding.encode_payload(payload, packet.blocks) ^ coding.scrambling(
            packet.blocks.num_coded_bits, SCRAMBLE
        )
        symbols.append(np.asarray(phy.qam_map(coded, packet.bits_per_symbol)))
        begin += packet.num_bits
    return np.concatenate(symbols, axis=1)


class Arrived(NamedTuple):
    """Bits of all packets, ``[batch, payload bits]`` uint8, and stages in the prefix that holds, ``[batch]`` int."""

    bits: np.ndarray
    num_stages: np.ndarray


def receive_packets(symbols: jax.Array, no_eff: jax.Array, packets: Sequence[Packet], *, num_iter: int = 50) -> Arrived:
    """Decodes equalised symbols ``[batch, channel uses]`` with error variances ``no_eff``, all packets.

    ``num_iter`` are the decoder's iterations at most.
    """
    found, holds, begin = [], np.ones(len(symbols), bool), 0
    num_stages = np.zeros(len(symbols), int)
    for packet in packets:
        part = slice(begin, begin + packet.num_symbols)
        llr = np.asarray(phy.qam_llr(symbols[:, part], no_eff[:, part], packet.bits_per_symbol))
        llr = np.where(coding.scrambling(packet.blocks.num_coded_bits, SCRAMBLE) == 1, -llr, llr)
        decoded = coding.decode_payload(llr, packet.blocks, num_iter=num_iter)
        found.append(decoded.payload[:, : packet.num_bits])
        holds &= decoded.valid
        num_stages += holds * packet.num_stages
        begin += packet.num_symbols
    return Arrived(np.concatenate(found, axis=1), num_stages)
