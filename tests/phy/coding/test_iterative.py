"""Iterative detection and decoding against one detection, and the extrinsic LLRs between the two."""

import numpy as np
import pytest

from lvm_mtc.phy import coding

BLOCKS = coding.code_blocks(101, 2, 1 / 2)  # one block; two of three further tests need several


def words(blocks, snr_db, count=30, seed=0):
    rng = np.random.default_rng(seed)
    payload = rng.integers(0, 2, (count, blocks.payload_bits), np.uint8)
    no = 10 ** (-snr_db / 10)
    sent = 2.0 * coding.encode_payload(payload, blocks) - 1
    return payload, np.float32(4 * (sent + np.sqrt(no / 2) * rng.normal(size=sent.shape)) / no)


def test_one_detection_is_plain_decoding():
    payload, llr = words(BLOCKS, -2.0)
    plain = coding.decode_payload(llr, BLOCKS, num_iter=12)
    found = coding.decode_iteratively(llr, BLOCKS, None, num_detections=1, num_iter=12)
    for a, b in zip(plain, found, strict=True):
        np.testing.assert_array_equal(a, b)
    assert 0 < plain.valid.sum() < 30


def test_only_what_is_open_is_detected_again():
    """A second observation of the open words brings them home; what is done keeps what it had, and is known."""
    payload, llr = words(BLOCKS, -2.0)
    before = coding.decode_payload(llr, BLOCKS, num_iter=12)
    told = []

    def detect(prior):
        told.append(prior)
        return llr + 12 * (2.0 * coding.encode_payload(payload, BLOCKS) - 1)

    found = coding.decode_iteratively(llr, BLOCKS, detect, num_detections=4, num_iter=12)
    assert found.valid.all() and len(told) == 1
    np.testing.assert_array_equal(found.payload, payload)
    np.testing.assert_array_equal(found.blocks[before.valid], before.blocks[before.valid])
    certain = 20 * (2.0 * coding.encode_payload(payload, BLOCKS) - 1)
    np.testing.assert_array_equal(told[0][before.valid], certain[before.valid])
    open_words = told[0][~before.valid]
    np.testing.assert_array_equal(open_words, coding.extrinsic_llr(llr[~before.valid], BLOCKS, num_iter=12))
    # A detector that learns nothing is asked again until the end.
    told.clear()
    stuck = coding.decode_iteratively(llr, BLOCKS, lambda prior: told.append(prior) or llr, num_detections=3)
    assert len(told) == 2 and not stuck.valid.all()


def test_extrinsic_llrs_leave_out_the_channels():
    """Several blocks and bits behind them: posterior less channel, and certainty of the zeros at the end."""
    blocks = coding.CodeBlocks(2, 40, 96, 196, 2)
    payload, llr = words(blocks, 0.0, count=4)
    found = coding.extrinsic_llr(llr, blocks, num_iter=8)
    for word, told in zip(llr, found, strict=True):
        for part, said in zip(word[:192].reshape(2, 96), told[:192].reshape(2, 96), strict=True):
            posterior = coding.ldpc_decode(part, blocks.code, num_iter=8, coded=True)
            np.testing.assert_allclose(said, posterior - np.clip(part, -20, 20), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(found[:, 192:], -20)
    # Of a bit that nothing was heard of, all is extrinsic.
    silent = llr.copy()
    silent[:, 7] = 0
    right = found[:, 7] > 0
    again = coding.extrinsic_llr(silent, blocks, num_iter=8)[:, 7] > 0
    np.testing.assert_array_equal(again, coding.encode_payload(payload, blocks)[:, 7] == 1)
    np.testing.assert_array_equal(right, again)


def test_counts_are_checked():
    with pytest.raises(ValueError, match="num_detections must be an integer >= 1, got 0"):
        coding.decode_iteratively(np.zeros((1, 202)), BLOCKS, None, num_detections=0)
