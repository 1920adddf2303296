"""Tokens as bits through 5G's LDPC codes with HARQ: what one device's share carries, how fast, and the answers."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.data.presence import PackedPresence
from lvm_mtc.link import LinkConfig
from lvm_mtc.phy.coding import code_blocks
from lvm_mtc.results.intervals import paired_difference, student_interval
from lvm_mtc.schemes.multimodal.scheme import Multimodal
from lvm_mtc.schemes.presence_source import presence_source
from lvm_mtc.schemes.separation.adaptation import AdaptiveLink
from lvm_mtc.schemes.separation.modulation_coding import Pair

SLOTS, WORDS, QUESTIONS = 1024, 50, 100
"""Symbols and number of the words that modulation and code are chosen by, and questions that a device sends."""


def word_for(num_bits: int, bits_per_symbol: int, rate: float) -> Pair:
    """The shortest word of a modulation and code rate that carries ``num_bits``."""
    num_symbols = math.ceil(num_bits / bits_per_symbol / rate)
    while (blocks := code_blocks(num_symbols, bits_per_symbol, rate)).payload_bits < num_bits:
        num_symbols += 1
    return Pair(bits_per_symbol, rate, blocks)


@functools.partial(jax.jit, static_argnums=0)
def _tokens(scheme: Multimodal, params: Any, source: Any, log2_window: jax.Array):
    return scheme.as_bits(scheme.encode(params, source, jax.random.key(0), {}), log2_window)


@functools.partial(jax.jit, static_argnums=0)
def _right(scheme: Multimodal, params: Any, bits: jax.Array, valid: jax.Array, answer: jax.Array) -> jax.Array:
    return jnp.argmax(scheme.answer(params, scheme.from_bits(bits), valid), -1) == answer


def realised(
    link: LinkConfig, trained: tuple[Multimodal, Any], packed: PackedPresence, own: np.ndarray, log2_window: int,
    snr_db: float, key: jax.Array,
) -> dict[str, Any]:  # fmt: skip
    """Sends the tokens of a device's questions, each question a word with a CRC, and answers from what arrived.

    Modulation and code are the densest that lose one of ten words of ``SLOTS`` symbols at most at this SNR; what is
    lost is sent again, up to three times. Of a question that never arrives the receiver has no token.

    Args:
        link: AWGN, one antenna each.
        trained: Scheme and parameters.
        packed: Questions.
        own: Places of the device's; the first ``QUESTIONS`` of an order drawn once are sent.
        log2_window: As the scheme's knob.
        snr_db: dB.
        key: Of noise.
    """
    scheme, params = trained
    index = np.random.default_rng(0).permutation(own)[:QUESTIONS]
    source, answer = presence_source(packed, index[:, None]), packed.question[index, 2][:, None]
    bits, valid = jax.device_get(_tokens(scheme, params, source, jnp.float32(log2_window)))
    flat = bits[valid].reshape(len(index), -1).astype(np.uint8)  # all questions have as many tokens
    slower = AdaptiveLink(link=link, num_slots=SLOTS).choose(key, snr_db, WORDS)
    pair = word_for(flat.shape[1], slower.bits_per_symbol, slower.rate)
    num_symbols = pair.blocks.num_coded_bits // pair.bits_per_symbol
    payload = np.zeros((len(index), pair.blocks.payload_bits), np.uint8)
    payload[:, : flat.shape[1]] = flat
    found = AdaptiveLink(link=link, num_slots=num_symbols).deliver(pair, jax.random.fold_in(key, 1), snr_db, payload)
    received = np.zeros_like(bits)
    received[valid] = found.payload[:, : flat.shape[1]].reshape(-1, bits.shape[-1])
    arrived = valid & found.valid[:, None, None]
    right, ideal = (
        np.float64(_right(scheme, params, *of, answer))[:, 0] for of in ((received, arrived), (bits, valid))
    )
    shannon = flat.shape[1] / math.log2(1 + 10 ** (snr_db / 10))
    uses = found.coded_bits / pair.bits_per_symbol / len(index)
    return {
        "snr_db": snr_db, "bits_per_symbol": pair.bits_per_symbol, "rate": pair.rate, "questions": len(index),
        "delivered": float((found.valid & (found.payload == payload).all(-1)).mean()),
        "transmissions": float(found.transmissions.mean()), "uses_by_shannon": shannon, "uses": uses,
        "accuracy": [float(n) for n in student_interval(right)[:2]],
        "under_error_free": [float(n) for n in paired_difference(right, ideal)[:2]],
    }  # fmt: skip
