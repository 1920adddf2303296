"""Iterative detection and decoding: detector and decoder tell each other what each has found on its own."""

from collections.abc import Callable

import numpy as np

from lvm_mtc.phy.coding.belief_propagation import LARGEST_LLR, ldpc_decode
from lvm_mtc.phy.coding.blocks import CodeBlocks, Decoded, decode_payload, encode_payload


def decode_iteratively(
    llr: np.ndarray,
    blocks: CodeBlocks,
    detect: Callable[[np.ndarray], np.ndarray],
    *,
    num_detections: int,
    num_iter: int = 50,
    engine: str = "auto",
) -> Decoded:
    """Decodes; as long as the CRC of a word does not hold, detects it again with the decoder's extrinsic LLRs.

    Args:
        llr: Of the first detection, as :func:`decode_payload` takes them, ``[batch, blocks.num_coded_bits]``.
        blocks: Of :func:`code_blocks`.
        detect: From LLRs of the coded bits that the decoder has found, ``[batch, num_coded_bits]`` float32, certain for
            words that are done (so that their streams are cancelled where others meet them), to the detector's
            extrinsic LLRs of the same shape.
        num_detections: Times that the detector runs at most, the first one counted; with 1 this is
            :func:`decode_payload`.
        num_iter: Iterations of the decoder after each detection at most; it starts anew each time.
        engine: As :func:`decode_payload` has it.

    Returns:
        Payloads and whether each is valid.

    Raises:
        ValueError: as :func:`decode_payload`, or if ``num_detections`` is not an integer >= 1.

    Source: Wang and Poor, Iterative (turbo) soft interference cancellation and decoding for coded CDMA, IEEE Trans.
    Commun. 47 (1999); ten Brink, Kramer and Ashikhmin, IEEE Trans. Commun. 52 (2004), for LDPC codes.
    """
    if isinstance(num_detections, bool) or int(num_detections) != num_detections or num_detections < 1:
        raise ValueError(f"num_detections must be an integer >= 1, got {num_detections!r}")
    found = decode_payload(llr, blocks, num_iter=num_iter, engine=engine)
    for _ in range(int(num_detections) - 1):
        open_words = ~found.valid
        if not open_words.any():
            break
        told = LARGEST_LLR * (2 * encode_payload(found.payload, blocks).astype(np.float32) - 1)
        told[open_words] = extrinsic_llr(llr[open_words], blocks, num_iter=num_iter, engine=engine)
        llr = np.where(open_words[:, None], detect(told), llr)
        again = decode_payload(llr[open_words], blocks, num_iter=num_iter, engine=engine)
        for whole, part in zip(found, again, strict=True):
            whole[open_words] = part
    return found


def extrinsic_llr(llr: np.ndarray, blocks: CodeBlocks, *, num_iter: int = 50, engine: str = "auto") -> np.ndarray:
    """What the parity checks say of the coded bits besides the channel's LLRs, ``[batch, num_coded_bits]``.

    Bits behind the last block are known to be 0.
    """
    words = llr[:, : blocks.num_blocks * blocks.n].reshape(-1, blocks.n)
    posterior = ldpc_decode(words, blocks.code, num_iter=num_iter, engine=engine, coded=True)
    told = (posterior - np.clip(words, -LARGEST_LLR, LARGEST_LLR)).reshape(len(llr), -1)
    rest = blocks.num_coded_bits - told.shape[1]
    return np.pad(told, [(0, 0), (0, rest)], constant_values=-LARGEST_LLR)
