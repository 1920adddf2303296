"""The second token codec as a scheme: small patches, convolution and attention blocks that are told the SNR.

A frame holds one symbol of each of the 2 x 2 tokens of a region, so that regions can be sent to any depth, and what
shares a slot of four antennas is the same feature of neighbouring tokens. All frames are sent.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from lvm_mtc import phy
from lvm_mtc.config import require_count, require_one_of
from lvm_mtc.link import Frames, OperatingPoint, Received, Signal, per_link
from lvm_mtc.models.conditioned import require_windows
from lvm_mtc.models.receivers import GAIN_BITS, as_sent, unit_power
from lvm_mtc.schemes.losses import IMAGE_LOSSES, picture_loss
from lvm_mtc.schemes.scheme import Estimate, Sent, Source, Stage, square_pictures
from lvm_mtc.schemes.token2.network import PATCH_SIZE, VARIANTS, Decoder, Encoder

REGION = 2
"""Tokens along a side of a region."""
SNR_DB = (0.0, 14.0)
"""What the networks are told of the nominal SNR is kept in here, where they are trained: beyond, they know nothing."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Token2Config:
    """Shapes; every field is static under ``jit``.

    Attributes:
        variant: Sizes of the networks, a name in ``VARIANTS``.
        image_size: Side of the square pictures, pixels; patches and windows tile it.
        num_symbols: Complex symbols of a patch of 4 x 4 pixels.
    """

    variant: str = "small"
    image_size: int = 32
    num_symbols: int = 16

    def __post_init__(self):
        require_one_of("Token2Config", "variant", self.variant, tuple(VARIANTS))
        for field in ("image_size", "num_symbols"):
            require_count("Token2Config", field, getattr(self, field))
        require_windows("Token2Config", self.image_size, PATCH_SIZE * VARIANTS[self.variant].window, self.variant)


@dataclasses.dataclass(frozen=True)
class Token2:
    """The codec over a link; all UAVs share the parameters.

    Attributes:
        config: Shapes.
    """

    config: Token2Config
    modality: ClassVar[str] = "pictures"
    knobs: ClassVar[Mapping[str, Any]] = {}
    reports: ClassVar[tuple[str, ...]] = ()

    @property
    def _networks(self) -> tuple[Encoder, Decoder]:
        sizes = VARIANTS[self.config.variant]
        return Encoder(self.config.num_symbols, sizes), Decoder(sizes)

    @functools.partial(jax.jit, static_argnames=("self", "num_uavs"))
    def init(self, key: jax.Array, num_uavs: int | None = None) -> dict:
        """Draws parameters, ``{"encoder": ..., "decoder": ...}``."""
        encoder, decoder = self._networks
        keys = jax.random.split(phy.stream_key(key, phy.Stream.INIT))
        side, one = self.config.image_size, jnp.ones(1)
        features, of_encoder = encoder.init_with_output(keys[0], jnp.zeros((1, side, side, 3)), one)
        no_eff = jnp.ones((*features.shape[:-1], self.config.num_symbols))
        of_decoder = decoder.init(keys[1], features, no_eff, one, one)
        return {"encoder": of_encoder["params"], "decoder": of_decoder["params"]}

    def frames(self) -> tuple[int, int]:
        """As ``Scheme.frames``: regions times symbols of a token, and the tokens of a region."""
        regions = (self.config.image_size // (PATCH_SIZE * REGION)) ** 2
        return regions * self.config.num_symbols, REGION**2

    def encode(self, params: dict, source: Source, key: jax.Array, knobs: Mapping[str, Any]) -> jax.Array:
        """The pictures themselves, for all of the encoder is told the SNR.

        Raises:
            ValueError: if the pictures are not of the configured size.
        """
        return square_pictures(source, self.config.image_size)

    def modulate(self, params: dict, encoded: jax.Array, point: OperatingPoint) -> Sent:
        """Symbols of average power 1 over each picture; beside them its gain."""
        lead = encoded.shape[:2]
        images, snr_db = encoded.reshape(-1, *encoded.shape[2:]), _told(point, lead)
        features = jnp.asarray(self._networks[0].apply({"params": params["encoder"]}, images, snr_db))
        symbols, gain = unit_power(to_frames(phy.features_to_symbols(features)).reshape(*lead, -1, REGION**2))
        signal = Signal(Frames(symbols, jnp.ones(symbols.shape[:-1], bool)))
        return Sent(signal, as_sent(gain), jnp.full(lead[:1], float(GAIN_BITS * lead[1])))

    def decode(self, params: dict, received: Received, side: jax.Array, point: OperatingPoint) -> Estimate:
        """Pictures from the symbols, their variances, and the pictures' gains ``side [batch, num_uavs]``."""
        lead, side_length = received.symbols.shape[:2], self.config.image_size // PATCH_SIZE
        symbols, no_eff = (from_frames(a.reshape(-1, *a.shape[2:]), (side_length, side_length)) for a in received)
        x_hat, snr_db = phy.symbols_to_features(symbols), _told(point, lead)
        images = self._networks[1].apply({"params": params["decoder"]}, x_hat, no_eff, snr_db, side.reshape(-1))
        images = jnp.asarray(images)
        return Estimate(images.reshape(*lead, *images.shape[1:]))

    def stages(self) -> tuple[Stage, ...]:
        """As ``Scheme.stages``: one, end to end."""
        return (Stage("system", picture_loss, weights={"image_loss": IMAGE_LOSSES}),)


def _told(point: OperatingPoint, lead: tuple[int, ...]) -> jax.Array:
    """Nominal SNR of each picture as the networks are told it, dB, ``[batch num_uavs]``."""
    return jnp.clip(per_link(point.snr_db, lead).reshape(-1), *SNR_DB)


def to_frames(symbols: jax.Array) -> jax.Array:
    """Symbols of tokens, ``[batch, rows, columns, C]``, as frames ``[batch, regions C, 4]``, region after region."""
    batch, rows, columns, count = symbols.shape
    x = symbols.reshape(batch, rows // REGION, REGION, columns // REGION, REGION, count)
    return x.transpose(0, 1, 3, 5, 2, 4).reshape(batch, -1, REGION**2)


def from_frames(frames: jax.Array, grid: tuple[int, int]) -> jax.Array:
    """Inverse of :func:`to_frames` for ``grid`` = (rows, columns)."""
    rows, columns = grid
    x = frames.reshape(frames.shape[0], rows // REGION, columns // REGION, -1, REGION, REGION)
    return x.transpose(0, 1, 4, 2, 5, 3).reshape(frames.shape[0], rows, columns, -1)
