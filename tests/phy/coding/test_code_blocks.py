"""Payloads cut into blocks, with one CRC or one for each block; the package stands alone."""

import subprocess
import sys

import numpy as np
import pytest

from lvm_mtc.phy.coding import (
    CodeBlocks,
    code_blocks,
    crc_attach,
    decode_payload,
    encode_payload,
    ldpc_decode,
    ldpc_encode,
)


@pytest.mark.parametrize("per_block_crc", [False, True])
@pytest.mark.parametrize(("crc", "length"), [("CRC24A", 24), ("CRC16", 16)])
def test_payload_comes_back(crc, length, per_block_crc):
    blocks = code_blocks(2600, 4, 0.9, crc=crc, per_block_crc=per_block_crc)
    assert blocks.num_blocks == 2
    assert blocks.payload_bits == 2 * (blocks.k - 24 * per_block_crc) - length
    payload = np.random.default_rng(0).integers(0, 2, (3, blocks.payload_bits), np.uint8)
    coded = encode_payload(payload, blocks)
    llr = 20 * (2.0 * coded - 1)
    llr[1, ::60] = 0
    llr[2, : blocks.n] = 0
    found = decode_payload(llr, blocks, num_iter=12)
    np.testing.assert_array_equal(found.valid, [True, True, False])
    np.testing.assert_array_equal(found.payload[:2], payload[:2])
    assert found.blocks.shape == (3, 2, blocks.k)


def test_each_block_has_its_crc():
    blocks = code_blocks(2600, 4, 0.9, per_block_crc=True)
    payload = np.random.default_rng(1).integers(0, 2, (1, blocks.payload_bits), np.uint8)
    parts = crc_attach(crc_attach(payload, "CRC24A").reshape(2, blocks.k - 24), "CRC24B")
    np.testing.assert_array_equal(encode_payload(payload, blocks)[0, : 2 * blocks.n].reshape(2, -1),
                                  ldpc_encode(parts, blocks.code))  # fmt: skip
    # One block alone has the payload's only.
    one = code_blocks(120, 2, 0.5, per_block_crc=True)
    assert one.payload_bits == 96 == code_blocks(120, 2, 0.5).payload_bits


def test_late_words_get_all_iterations():
    """Words that a few iterations do not finish are as if all had been given all of them."""
    blocks = CodeBlocks(1, 120, 240, 240, 2)
    rng = np.random.default_rng(2)
    payload = rng.integers(0, 2, (200, 96), np.uint8)
    sent = encode_payload(payload, blocks)
    y = 2.0 * sent - 1 + np.sqrt(0.5 / 10**-0.12) * rng.normal(size=sent.shape)
    llr = 4 * y * 10**-0.12
    found = [decode_payload(llr, blocks, num_iter=num_iter) for num_iter in (4, 8, 40)]
    counts = [one.valid.sum() for one in found]
    assert 0 < counts[0] < counts[1] < counts[2] < 200
    np.testing.assert_array_equal(found[2].payload[found[2].valid], payload[found[2].valid])
    late = ldpc_decode(llr[~found[1].valid], blocks.code, num_iter=40)
    np.testing.assert_array_equal(found[2].blocks[~found[1].valid, 0], late > 0)


def test_import_loads_jax_and_numpy_only():
    foreign = ["flax", "optax", "tensorflow", "sionna", "torch", "PIL", "matplotlib", "scipy"]
    code = f"import lvm_mtc.phy.coding, sys; print(*(n for n in {foreign} if n in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("", "scipy")  # jax itself may load scipy


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: code_blocks(100, 2, 0.5, crc="CRC8"), "unknown CRC 'CRC8'"),
        (lambda: code_blocks(12, 2, 0.5, crc="CRC16"), "make a block of 12 bits: more than 16 are needed, for the CRC"),
        (lambda: code_blocks(10, 2, 0.5, crc="CRC6"), "make a block of 10 bits: 12 are needed"),
    ],
)
def test_blocks_that_there_are_not(call, message):
    with pytest.raises(ValueError, match=message):
        call()
