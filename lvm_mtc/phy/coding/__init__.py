"""5G's channel coding: CRC, segmentation, LDPC code, rate matching, belief propagation, HARQ; jax and numpy only."""

from lvm_mtc.phy.coding.base_graphs import LIFTING_SIZES, parity_check_matrix
from lvm_mtc.phy.coding.belief_propagation import ENGINES, LARGEST_LLR, SCHEDULES, ldpc_decode
from lvm_mtc.phy.coding.blocks import (
    CodeBlocks,
    Decoded,
    code_blocks,
    combine_versions,
    decode_payload,
    encode_payload,
)
from lvm_mtc.phy.coding.crc import CRC_POLYNOMIALS, crc_attach, crc_bits, crc_holds, crc_length
from lvm_mtc.phy.coding.harq import VERSIONS, Delivered, deliver, expected_service
from lvm_mtc.phy.coding.iterative import decode_iteratively, extrinsic_llr
from lvm_mtc.phy.coding.ldpc import LdpcCode, interleaver, ldpc_encode
from lvm_mtc.phy.coding.redundancy import encode_version, version_places
from lvm_mtc.phy.coding.scrambling import scrambling

__all__ = [
    "CRC_POLYNOMIALS",
    "ENGINES",
    "LARGEST_LLR",
    "LIFTING_SIZES",
    "SCHEDULES",
    "VERSIONS",
    "CodeBlocks",
    "Decoded",
    "Delivered",
    "LdpcCode",
    "code_blocks",
    "combine_versions",
    "crc_attach",
    "crc_bits",
    "crc_holds",
    "crc_length",
    "decode_iteratively",
    "decode_payload",
    "deliver",
    "encode_payload",
    "encode_version",
    "expected_service",
    "extrinsic_llr",
    "interleaver",
    "ldpc_decode",
    "ldpc_encode",
    "parity_check_matrix",
    "scrambling",
    "version_places",
]
