"""Point clouds as bits: an octree or Draco, a CRC, 5G's LDPC code and square QAM, at the symbols of the learned codec.

The code of the clouds gets what the channel code leaves, whatever the cloud, so receivers are told nothing besides the
symbols. Where the CRC fails, or nothing of a cloud fitted, one that stands for all arrives.
"""

import dataclasses
import functools
from typing import ClassVar, NamedTuple, Protocol

import jax
import numpy as np

from lvm_mtc.phy import coding
from lvm_mtc.schemes.separation.digital import scrambling


class CloudCode(Protocol):
    """A code of clouds in the cube [-1, 1]^3: ``data.octree.OctreeCode``, ``data.draco.DracoCode``."""

    def encode(self, points: np.ndarray, num_bits: int) -> np.ndarray:
        """``[num_bits]`` uint8 of points ``[n, 3]``."""
        ...

    def decode(self, bits: np.ndarray) -> np.ndarray:
        """Points ``[m, 3]`` that bits tell; none, m = 0, where they tell nothing."""
        ...


class CodedClouds(NamedTuple):
    """Clouds as bits on air, ``[n, 1, num_symbols bits_per_symbol]`` uint8; a cloud is one frame."""

    bits: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class CloudBits:
    """Both ends; a ``sweep.as_bits.BitSender``.

    Attributes:
        source: Code of the clouds.
        lost: What a receiver shows where nothing arrives, ``[num_points, 3]``.
        bits_per_symbol: 2, 4, 6 or 8.
        rate: Of the LDPC code.
        num_symbols: Complex symbols of a cloud.
        crc: A name in ``coding.CRC_POLYNOMIALS``.
    """

    source: CloudCode
    lost: np.ndarray
    bits_per_symbol: int = 2
    rate: float = 1 / 2
    num_symbols: int = 320
    crc: str = "CRC16"
    modality: ClassVar[str] = "points"
    metrics: ClassVar[tuple[str, ...]] = ("d1_psnr_db", "chamfer", "hausdorff")

    def __post_init__(self):
        _ = self.blocks

    @functools.cached_property
    def blocks(self) -> coding.CodeBlocks:
        """Of the LDPC code."""
        return coding.code_blocks(self.num_symbols, self.bits_per_symbol, self.rate, crc=self.crc)

    def side_bits(self, num_frames: int) -> int:
        """None: what a cloud is sent with is known of the operating point."""
        return 0

    def sent(self, clouds: np.ndarray) -> np.ndarray:
        """All, ``[n, 1]``."""
        return np.ones((len(clouds), 1), bool)

    def encode(self, clouds: np.ndarray) -> CodedClouds:
        """Clouds ``[n, num_points, 3]`` in the cube [-1, 1]^3 as bits on air, scrambled."""
        payload = np.stack([self.source.encode(cloud, self.blocks.payload_bits) for cloud in clouds])
        bits = coding.encode_payload(payload, self.blocks)
        return CodedClouds((bits ^ scrambling(bits.shape[1]))[:, None])

    def decode(self, llr: np.ndarray, coded: CodedClouds) -> np.ndarray:
        """Clouds ``[n, num_points, 3]`` float32 from LLRs ``[n, 1, ...]``; ``coded`` is not read."""
        llr = np.asarray(llr)[:, 0]
        found = coding.decode_payload(np.where(scrambling(llr.shape[1]) == 1, -llr, llr), self.blocks)
        clouds = np.repeat(np.asarray(self.lost, np.float32)[None], len(llr), axis=0)
        valid = np.flatnonzero(found.valid)
        payloads, of = np.unique(found.payload[valid], axis=0, return_inverse=True)
        for number, payload in enumerate(payloads):
            clouds[valid[of == number]] = self.shown(payload)
        return clouds

    def shown(self, payload: np.ndarray) -> np.ndarray:
        """The cloud of a payload that arrived, ``[num_points, 3]`` float32; few points stand there several times."""
        points = self.source.decode(payload)
        # As evenly as can be, so that each weighs alike in a mean over points.
        return points[np.arange(len(self.lost)) * len(points) // len(self.lost)] if len(points) else self.lost

    def estimate(self, clouds: jax.Array) -> jax.Array:
        """The clouds."""
        return clouds
