"""SoftCast: groups of frames as a three-dimensional DCT, whose largest chunks are scaled and sent as they are.

Chunks have an eighth of a frame's height and width in the DCT of each of its three colour planes. Amplitudes are their
energies to the power -1/4, which is best for a given power, and the receiver is told which chunks are sent and their
energies, for its scalar L-MMSE estimate.

Source: Jakubczak and Katabi, A cross-layer design for scalable mobile video (2011). Theirs are a DCT of 8 to 16 frames
and 8 x 8 chunks of a frame, as here; they whiten packets by a Hadamard matrix against their losses, of which there are
none here, and code the metadata, which are counted raw here.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc import phy
from lvm_mtc.config import require_count
from lvm_mtc.link import Frames, OperatingPoint, Received, Signal
from lvm_mtc.schemes.scheme import Estimate, Knob, Sent, Source, Stage

CHUNKS = 8
"""Chunks along each side of a plane."""
ENERGY_BITS = 8
_OCTAVES = 16
_GREY = 0.45
_OPPONENT = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])
"""Orthonormal: grey, red against blue, green against both; an error counts alike in planes and in pixels."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SoftCastConfig:
    """Shapes; every field is static under ``jit``.

    Attributes:
        size: Height and width of the clips, pixels, multiples of 16.
        num_frames: Frames of a clip, a multiple of ``gop``.
        gop: Frames that are transformed together.
        num_uses: Complex symbols a frame on average, at most; as many whole chunks are sent as fit.
    """

    size: tuple[int, int] = (96, 96)
    num_frames: int = 8
    gop: int = 8
    num_uses: int = 864

    def __post_init__(self):
        for field in ("num_frames", "gop", "num_uses"):
            require_count("SoftCastConfig", field, getattr(self, field))
        if len(self.size) != 2 or any(side < 1 or side % (2 * CHUNKS) for side in self.size):
            wanted = f"a height and a width, multiples of {2 * CHUNKS}"
            raise ValueError(f"SoftCastConfig.size must be {wanted}, got {self.size!r}")
        if self.num_frames % self.gop:
            frames = f"num_frames {self.num_frames} is no multiple of SoftCastConfig.gop {self.gop}"
            raise ValueError(f"SoftCastConfig.{frames}")
        if not 1 <= self.sent <= self.every:
            symbols = self.chunk_size // 2
            low, high = -(-symbols // self.gop), self.every * symbols // self.gop
            raise ValueError(f"SoftCastConfig.num_uses must lie in [{low}, {high}], got {self.num_uses}")

    @property
    def chunk_size(self) -> int:
        """Real numbers of a chunk."""
        return self.size[0] * self.size[1] // CHUNKS**2

    @property
    def every(self) -> int:
        """Chunks of a group of frames."""
        return 3 * CHUNKS**2 * self.gop

    @property
    def sent(self) -> int:
        """Chunks of a group that are sent."""
        return self.num_uses * self.gop // (self.chunk_size // 2)

    @property
    def side_bits(self) -> int:
        """Of a group: which chunks are sent, and their energies."""
        return self.every + ENERGY_BITS * self.sent


class Encoded(NamedTuple):
    """Chunks of groups, ``[batch, num_uavs, groups, sent, chunk_size]``, their places, and energies as told."""

    chunks: jax.Array
    places: jax.Array
    energy: jax.Array


class Side(NamedTuple):
    """What receivers know besides, as in :class:`Encoded`; the gain follows from the energies."""

    places: jax.Array
    energy: jax.Array


@dataclasses.dataclass(frozen=True)
class SoftCast:
    """The codec over a link; it has no parameters."""

    config: SoftCastConfig
    modality: ClassVar[str] = "clips"
    knobs: ClassVar[Mapping[str, Knob]] = {}
    reports: ClassVar[tuple[str, ...]] = ()

    def init(self, key: jax.Array, num_uavs: int | None = None) -> dict:
        """No parameters but the grey that is taken off, so that files can hold it; ``key`` is not used."""
        return {"grey": jnp.full((), _GREY)}

    def frames(self) -> tuple[int, int]:
        """As ``Scheme.frames``: chunks."""
        return self.config.num_frames // self.config.gop * self.config.sent, self.config.chunk_size // 2

    def encode(self, params: dict, source: Source, key: jax.Array, knobs: Mapping[str, Any]) -> Encoded:
        """The chunks of largest energy of each group.

        Raises:
            ValueError: if the clips are not of the configured shape.
        """
        c, clips = self.config, source.data
        wanted = (c.num_frames, *c.size, 3)
        if clips.ndim != 6 or clips.shape[2:] != wanted:
            raise ValueError(f"clips must be [batch, num_uavs, {', '.join(map(str, wanted))}], got {clips.shape}")
        groups = clips.reshape(*clips.shape[:2], -1, c.gop, *clips.shape[3:])
        every = _transform(groups - params["grey"], c)
        energy, places = jax.lax.top_k(jnp.mean(every**2, axis=-1), c.sent)
        told = as_told(energy)
        # In an order that follows from what is told: of equal energies, by place.
        places = jnp.take_along_axis(places, jnp.lexsort((places, -told), axis=-1), axis=-1)
        return Encoded(jnp.take_along_axis(every, places[..., None], axis=-2), places, told)

    def modulate(self, params: dict, encoded: Encoded, point: OperatingPoint) -> Sent:
        """Symbols of average power 1 over each group, as far as the energies are what is told."""
        chunks, places, energy = encoded
        lead = chunks.shape[:2]
        symbols = phy.features_to_symbols(chunks * amplitudes(energy)[..., None])
        signal = Signal(
            Frames(symbols.reshape(*lead, -1, symbols.shape[-1]), jnp.ones((*lead, self.frames()[0]), bool))
        )
        bits = self.config.side_bits * chunks.shape[2] * lead[1]
        return Sent(signal, Side(places, energy), jnp.full(lead[:1], float(bits)))

    def decode(self, params: dict, received: Received, side: Side, point: OperatingPoint) -> Estimate:
        """Clips from the symbols, their variances and ``side``."""
        c, lead = self.config, side.places.shape
        amplitude = amplitudes(side.energy)[..., None]
        features = phy.symbols_to_features(received.symbols).reshape(*lead, -1)
        noise = jnp.repeat(received.no_eff, 2, axis=-1).reshape(*lead, -1) / 2
        power = amplitude**2 * side.energy[..., None]
        features = features * power / (power + noise) / amplitude
        put = lambda f, at: jnp.zeros((c.every, c.chunk_size)).at[at].set(f, unique_indices=True)  # noqa: E731
        groups = _inverse(jax.vmap(jax.vmap(jax.vmap(put)))(features, side.places), c) + params["grey"]
        return Estimate(groups.reshape(*lead[:2], c.num_frames, *c.size, 3))

    def stages(self) -> tuple[Stage, ...]:
        """As ``Scheme.stages``: none."""
        return ()


def as_told(energy: jax.Array) -> jax.Array:
    """Energies as ``ENERGY_BITS`` bring them: steps of a sixteenth of an octave, 2^-12 to 2^4."""
    step = jnp.clip(jnp.round(jnp.log2(energy + 2.0**-20) * _OCTAVES), -12 * _OCTAVES, 4 * _OCTAVES - 1)
    return jnp.exp2(step / _OCTAVES)


def amplitudes(energy: jax.Array) -> jax.Array:
    """Of chunks of ``energy [..., sent]``: energy^-1/4, scaled so that complex symbols have power 1 on average."""
    root = jnp.sqrt(energy)
    return jnp.sqrt(0.5 / jnp.mean(root, axis=-1, keepdims=True) / root)


@functools.cache
def dct_matrix(size: int) -> np.ndarray:
    """Orthonormal DCT-II, ``[size, size]``: rows are frequencies."""
    angle = np.pi * (np.arange(size) + 0.5) * np.arange(size)[:, None] / size
    matrix = np.cos(angle) * np.sqrt(2 / size)
    matrix[0] /= np.sqrt(2)
    return matrix.astype(np.float32)


def _matrices(c: SoftCastConfig) -> tuple[np.ndarray, ...]:
    return dct_matrix(c.gop), dct_matrix(c.size[0]), dct_matrix(c.size[1]), np.asarray(_OPPONENT, np.float32)


def _transform(groups: jax.Array, c: SoftCastConfig) -> jax.Array:
    """``[..., gop, height, width, 3]`` to chunks ``[..., every, chunk_size]``."""
    planes = jnp.einsum("...thwc,at,bh,dw,ec->...aebd", groups, *_matrices(c), precision="highest")
    tall, wide = c.size[0] // CHUNKS, c.size[1] // CHUNKS
    tiles = planes.reshape(*planes.shape[:-2], CHUNKS, tall, CHUNKS, wide)
    return jnp.swapaxes(tiles, -3, -2).reshape(*groups.shape[:-4], c.every, c.chunk_size)


def _inverse(chunks: jax.Array, c: SoftCastConfig) -> jax.Array:
    tall, wide = c.size[0] // CHUNKS, c.size[1] // CHUNKS
    tiles = chunks.reshape(*chunks.shape[:-2], c.gop, 3, CHUNKS, CHUNKS, tall, wide)
    planes = jnp.swapaxes(tiles, -3, -2).reshape(*chunks.shape[:-2], c.gop, 3, *c.size)
    return jnp.einsum("...aebd,at,bh,dw,ec->...thwc", planes, *_matrices(c), precision="highest")
