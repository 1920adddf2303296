"""Bits of pictures as symbols and back, uncoded."""

import abc
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lvm_mtc import phy
from lvm_mtc.link import Frames, OperatingPoint, Received, Signal
from lvm_mtc.models.vector_quantizer import indices_to_bits
from lvm_mtc.phy import coding
from lvm_mtc.schemes.scheme import Sent, Source, square_pictures

FRAME = 4
SCRAMBLE = 7
"""Seed of the scrambling."""


def send_bits(bits: jax.Array, bits_per_symbol: int) -> Sent:
    """QAM symbols of scrambled bits ``[batch, num_uavs, num_bits]``: power 1 on average, no side information."""
    scrambled = bits ^ coding.scrambling(bits.shape[-1], SCRAMBLE).reshape(1, 1, -1)
    symbols = phy.qam_map(scrambled, bits_per_symbol)
    symbols = symbols.reshape(*symbols.shape[:2], -1, FRAME)
    return Sent(Signal(Frames(symbols, jnp.ones(symbols.shape[:-1], bool))), (), jnp.zeros(len(symbols)))


def heard_bits(received: Received, bits_per_symbol: int) -> jax.Array:
    """LLRs of the bits, ``[batch, num_uavs, num_bits]``."""
    lead = received.symbols.shape[:2]
    x_hat, no_eff = (a.reshape(*lead, -1) for a in received)
    llr = phy.qam_llr(x_hat, no_eff, bits_per_symbol)
    return llr * (1.0 - 2.0 * coding.scrambling(llr.shape[-1], SCRAMBLE).reshape(1, 1, -1))


class SentAsBits(abc.ABC):
    """What schemes share whose ``compress`` makes indices of one codebook size of pictures."""

    config: Any

    @abc.abstractmethod
    def compress(self, params: dict, images: jax.Array) -> jax.Array:
        """Indices of pictures ``[batch, height, width, 3]``, in the order of their bits, ``[batch, ...]`` int32."""

    def encode(self, params: dict, source: Source, key: jax.Array, knobs: Mapping[str, Any]) -> jax.Array:
        """Bits of every picture, ``[batch, num_uavs, num_bits]`` uint8.

        Raises:
            ValueError: if the pictures are not of the configured size.
        """
        images = square_pictures(source, self.config.image_size)
        indices = self.compress(params, images.reshape(-1, *images.shape[2:]))
        return indices_to_bits(indices, self.config.codebook_size).reshape(*images.shape[:2], -1)

    def modulate(self, params: dict, encoded: jax.Array, point: OperatingPoint) -> Sent:
        """QAM symbols of scrambled bits: power 1 on average, whatever the picture, and no side information."""
        return send_bits(encoded, self.config.bits_per_symbol)
