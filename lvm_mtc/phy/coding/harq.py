"""Hybrid automatic repeat request: words are sent again, by other redundancy versions, until their CRC holds."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from lvm_mtc.phy.coding.blocks import CodeBlocks, combine_versions, decode_payload, encode_payload

VERSIONS = (0, 2, 3, 1)
"""The order of 5G's base stations: each brings parity bits that those before have not."""


class Delivered(NamedTuple):
    """What became of words.

    Attributes:
        payload: As decoded last, ``[batch, payload_bits]`` uint8.
        valid: Whether the CRC holds in the end, ``[batch]`` bool.
        transmissions: Of each word, ``[batch]`` int.
        coded_bits: On air altogether.
    """

    payload: np.ndarray
    valid: np.ndarray
    transmissions: np.ndarray
    coded_bits: int


def deliver(
    payload: np.ndarray,
    blocks: CodeBlocks,
    send: Callable[[np.ndarray, np.ndarray, int], np.ndarray],
    *,
    versions: Sequence[int] = VERSIONS,
    num_iter: int = 50,
    engine: str = "auto",
) -> Delivered:
    """Sends payloads; those whose CRC does not hold again, and decodes all that was heard of them together.

    Args:
        payload: Zeros and ones, ``[batch, blocks.payload_bits]``.
        blocks: Of each transmission.
        send: From coded bits ``[words, num_coded_bits]``, the places of these words in the batch ``[words]`` and the
            number of the transmission, from 0, to LLRs of the bits. Feedback is free of errors.
        versions: Of the transmissions, as many as there may be; equal ones are Chase combining.
        num_iter: Iterations of the decoder at most; it starts anew each time.
        engine: As :func:`decode_payload` has it.

    Raises:
        ValueError: as :func:`encode_payload` and :func:`decode_payload`, or without a version.
    """
    if not versions:
        raise ValueError("versions must name at least one redundancy version, got ()")
    found, valid = np.zeros_like(payload, np.uint8), np.zeros(len(payload), bool)
    transmissions, coded_bits = np.zeros(len(payload), int), 0
    heard = np.zeros((0, len(payload), blocks.num_coded_bits), np.float32)
    for number, version in enumerate(versions):
        rest = np.flatnonzero(~valid)
        if not rest.size:
            break
        bits = encode_payload(payload[rest], blocks, version)
        llr = np.zeros((1, *heard.shape[1:]), np.float32)
        llr[0, rest] = send(bits, rest, number)
        heard = np.concatenate([heard, llr])
        coded_bits += bits.size
        transmissions[rest] += 1
        combined = combine_versions(heard[:, rest], blocks, versions[: number + 1])
        decoded = decode_payload(*combined, num_iter=num_iter, engine=engine)
        found[rest], valid[rest] = decoded.payload, decoded.valid
    return Delivered(found, valid, transmissions, coded_bits)


def expected_service(word_errors: Sequence[float]) -> tuple[float, float]:
    """Transmissions of a word, and words that arrive for each of them, from error rates.

    Args:
        word_errors: Share of the words that is not decoded from the first t transmissions, t = 1 ... T, none left out.

    Returns:
        The mean number of transmissions, ``1 + p_1 + ... + p_{T-1}``, and the throughput ``(1 - p_T)`` over it.

    Raises:
        ValueError: if there is no rate or one outside [0, 1].

    Source: Caire and Tuninetti, The throughput of hybrid-ARQ protocols for the Gaussian collision channel (2001), by
    renewal and reward.
    """
    errors = np.asarray(word_errors, float)
    if errors.ndim != 1 or not errors.size or not ((errors >= 0) & (errors <= 1)).all():
        raise ValueError(f"word_errors must be rates in [0, 1], at least one, got {word_errors!r}")
    transmissions = 1 + errors[:-1].sum()
    return float(transmissions), float((1 - errors[-1]) / transmissions)
