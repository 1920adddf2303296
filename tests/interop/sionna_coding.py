"""The coding chain of ``phy.coding`` through Sionna's blocks: the judge of ours. NumPy in and out.

CRC24A, segmentation, LDPC code, rate matching and interleaving; blocks with a CRC of their own are left out.
"""

import functools

import numpy as np

from lvm_mtc.interop.sionna import runtime
from lvm_mtc.phy.coding.blocks import CodeBlocks, Decoded, words_of

CRC = "CRC24A"
_WORDS_AT_ONCE = 64  # bounds the decoder's memory: 316 messages of 4 bytes per lifting step and word, several times


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


def encode_payload(payload: np.ndarray, blocks: CodeBlocks) -> np.ndarray:
    """Appends the CRC, segments, encodes and matches the rate.

    Args:
        payload: Zeros and ones, ``[batch, blocks.payload_bits]``.
        blocks: Of ``phy.coding.code_blocks``.

    Returns:
        Coded bits, block after block, ``[batch, blocks.num_coded_bits]`` uint8.

    Raises:
        ValueError: if the payload has another shape, or an entry is neither 0 nor 1.
        SionnaUnavailable: without the extra ``sionna``.
    """
    payload = words_of("payload", payload, blocks.payload_bits)
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
        blocks: Of ``phy.coding.code_blocks``.
        num_iter: Iterations; there is no early end.
        check_update: Sionna's rule at the check nodes: ``"boxplus-phi"`` (exact), ``"boxplus"``, ``"minsum"`` or
            ``"offset-minsum"``.

    Returns:
        Payloads and whether each is valid.

    Raises:
        ValueError: if ``llr`` has another shape or is NaN somewhere.
        SionnaUnavailable: without the extra ``sionna``.
    """
    llr = words_of("llr", llr, blocks.num_coded_bits)
    if np.isnan(llr).any():
        raise ValueError(f"llr is NaN in {int(np.isnan(llr).any(axis=1).sum())} of {llr.shape[0]} words")
    words = np.float32(llr[:, : blocks.num_blocks * blocks.n]).reshape(-1, blocks.n)
    decode = _ldpc_decoder(blocks.k, blocks.n, blocks.bits_per_symbol, num_iter, check_update)
    decoded = _in_parts(decode, words, blocks.k).reshape(llr.shape[0], blocks.num_blocks, blocks.k)
    _, valid = _crc_decoder(blocks.num_blocks * blocks.k)(np.float32(decoded.reshape(llr.shape[0], -1)))
    payload = decoded.reshape(llr.shape[0], -1)[:, : blocks.payload_bits]
    return Decoded(payload, valid.numpy().reshape(-1), decoded)


def _in_parts(function, words: np.ndarray, length: int) -> np.ndarray:
    """Applies a function of ``[batch, ...]`` to a bounded number of words at a time; bits out."""
    parts = [words[i : i + _WORDS_AT_ONCE] for i in range(0, len(words), _WORDS_AT_ONCE)]
    bits = [np.uint8(function(part).numpy()) for part in parts]
    return np.concatenate(bits) if bits else np.zeros((0, length), np.uint8)
