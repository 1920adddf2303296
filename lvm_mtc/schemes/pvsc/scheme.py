"""Clips without motion vectors: what a frame adds to the one before it, in chunks of which as many are sent as fit.

A frame's features are principal components of its 8 x 8 patches. Both ends keep the features of a reference frame; the
transmitter's are what a receiver without noise would have, so it needs no feedback and is blind to the SNR. A chunk
that is sent brings its features less ``leak`` times the reference's, one that is not keeps the reference (in the first
frame of a group of pictures, which refers to none, it is zero). The chunks whose absence would hurt most are sent.

Behind this linear codec a network at the receiver may refine each frame: it looks, by attention, for what the frame
shows in the one that was received before it, so no motion vectors are sent.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc import phy
from lvm_mtc.config import require_count, require_one_of
from lvm_mtc.link import Frames, OperatingPoint, Received, Signal, per_link
from lvm_mtc.models.patches import grid_shape, patchify, unpatchify
from lvm_mtc.models.receivers import GAIN_BITS, as_sent, unit_power
from lvm_mtc.phy.numerics import require_given
from lvm_mtc.schemes.losses import IMAGE_LOSSES, picture_loss
from lvm_mtc.schemes.pvsc import bitmap, chunks, fitting
from lvm_mtc.schemes.pvsc.losses import WEIGHTS, perceptual_loss
from lvm_mtc.schemes.pvsc.network import NETWORKS, TemporalRefiner
from lvm_mtc.schemes.pvsc.receiver import Heard, follow
from lvm_mtc.schemes.scheme import Estimate, Knob, Sent, Source, Stage

PATCH = 8
REFERENCES = ("chain", "golden")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PvscConfig:
    """Shapes and rules; every field is static under ``jit``.

    Attributes:
        size: Height and width of the clips, pixels, multiples of 8 ``chunk``.
        num_frames: Frames of a clip, a multiple of ``gop``.
        gop: Frames of a group of pictures, whose first one refers to no other.
        num_uses: Complex symbols a frame, on average over a group, at rate 1.
        features: Features of a patch that may be sent, the first principal components.
        chunk: Patches along a side of a chunk, even.
        intra_factor: What the first frame of a group gets over the mean.
        reference: What the other frames refer to: ``"chain"``, the frame before; ``"golden"``, the first of the group.
        network: Sizes of the receiver's network, a name in ``network.NETWORKS``; None: there is none.
    """

    size: tuple[int, int] = (96, 96)
    num_frames: int = 8
    gop: int = 8
    num_uses: int = 864
    features: int = 96
    chunk: int = 6
    intra_factor: float = 3.0
    reference: str = "chain"
    network: str | None = None

    def __post_init__(self):
        for field in ("num_frames", "gop", "num_uses", "features", "chunk"):
            require_count("PvscConfig", field, getattr(self, field))
        require_one_of("PvscConfig", "reference", self.reference, REFERENCES)
        if self.network is not None:
            require_one_of("PvscConfig", "network", self.network, tuple(NETWORKS))
        if self.chunk % 2:
            raise ValueError(f"PvscConfig.chunk must be even (chunks fill slots of four antennas), got {self.chunk}")
        side = PATCH * self.chunk
        if len(self.size) != 2 or any(length < side or length % side for length in self.size):
            raise ValueError(f"PvscConfig.size must be a height and a width, multiples of {side}, got {self.size!r}")
        if self.features > 3 * PATCH**2:
            raise ValueError(f"PvscConfig.features must be at most {3 * PATCH**2}, got {self.features}")
        if self.num_frames % self.gop:
            raise ValueError(f"PvscConfig.num_frames {self.num_frames} is no multiple of PvscConfig.gop {self.gop}")
        if not 1 <= self.intra_factor < max(self.gop, 2):
            wanted = f"in [1, {self.gop}), the frames of PvscConfig.gop"
            raise ValueError(f"PvscConfig.intra_factor must lie {wanted}, got {self.intra_factor!r}")
        least, most = math.ceil(self.chunk**2 / self.gop), self.features * self.places * self.chunk**2 // chunks.PAIR
        if not least <= self.num_uses <= most:
            raise ValueError(f"PvscConfig.num_uses must lie in [{least}, {most}], got {self.num_uses}")

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return grid_shape(self.size, PATCH)

    @property
    def places(self) -> int:
        """Chunks of a feature."""
        return math.prod(self.grid) // self.chunk**2

    @property
    def capacity(self) -> int:
        """Pairs of chunks that a group of pictures sends at rate 1."""
        return self.num_uses * self.gop // self.chunk**2

    @property
    def most(self) -> int:
        """Pairs of chunks that a frame sends at most."""
        if self.gop == 1:
            return self.capacity
        first = math.ceil(self.intra_factor * self.capacity / self.gop)
        return min(first, self.features * self.places // chunks.PAIR)


class Encoded(NamedTuple):
    """Clips as features in chunks, ``[batch, num_uavs, frames, C, n, chunk^2]``, and what is sent of them.

    Attributes:
        features: Of each frame.
        reference: The transmitter's, 0 in the first frame of a group.
        mask: Chunks that are sent, ``[batch, num_uavs, frames, C, n]`` bool.
        counts: Pairs of chunks that each frame sends, ``[batch, num_uavs, frames]`` int32.
        lost: Frames that will not arrive, their side information neither, ``[batch, num_uavs, frames]`` bool.
        bits: Side information that is known by now, ``[batch, num_uavs]``.
    """

    features: jax.Array
    reference: jax.Array
    mask: jax.Array
    counts: jax.Array
    lost: jax.Array
    bits: jax.Array


class Side(NamedTuple):
    """What receivers know besides, ``[batch, num_uavs, frames, ...]``: of a lost frame that it is lost.

    Attributes:
        mask: As of :class:`Encoded`, and so are ``counts`` and ``lost``.
        gain: Of each frame.
    """

    mask: jax.Array
    counts: jax.Array
    lost: jax.Array
    gain: jax.Array


@dataclasses.dataclass(frozen=True)
class Pvsc:
    """The codec over a link; all UAVs share the parameters.

    Attributes:
        config: Its configuration.
        perceptual: Weights file of ST-LPIPS, by which the stage ``perceptual`` learns; None: there is no such stage.
    """

    config: PvscConfig
    perceptual: str | None = None
    modality: ClassVar[str] = "clips"
    knobs: ClassVar[Mapping[str, Knob]] = {
        "rate": Knob(1.0, 0.0, 1.0, early=True),
        "loss": Knob(0.0, 0.0, 1.0, early=True),
        "masking": Knob(0.0, 0.0, 1.0, early=True),
    }
    """Share of ``num_uses`` that is used; probability that a frame is lost; how far texture hides errors, 1: as in
    Chou and Li (1995), 0: every pixel counts alike."""
    reports: ClassVar[tuple[str, ...]] = ("bitmap_bits",)

    def init(self, key: jax.Array, num_uavs: int | None = None) -> dict:
        """Parameters that know of no clip: pixels for components, all of one energy; the network is drawn."""
        c, size = self.config, 3 * PATCH**2
        params = fitting.plain(size, c.features)
        if c.network is not None:
            shapes = (1, c.num_frames, *c.size, 3), (1, c.num_frames, c.places, c.features)
            network = self._network.init(phy.stream_key(key, phy.Stream.INIT), *map(jnp.zeros, shapes))
            params["network"] = network["params"]
        return params

    def start(self, params: dict, clips: np.ndarray, seed: int) -> dict:
        """As ``Trained.start``: the linear codec of training clips ``[num, frames, height, width, 3]`` uint8."""
        return params | fitting.fit(dataclasses.replace(self, config=self.linear_config), clips, seed)

    @property
    def linear_config(self) -> PvscConfig:
        """The configuration without a network."""
        return dataclasses.replace(self.config, network=None)

    def frames(self) -> tuple[int, int]:
        """As ``Scheme.frames``: pairs of chunks."""
        c = self.config
        return c.num_frames // c.gop * c.capacity, c.chunk**2

    def encode(self, params: dict, source: Source, key: jax.Array, knobs: Mapping[str, Any]) -> Encoded:
        """Features, references and choices, and which frames will be lost.

        Raises:
            ValueError: if the clips are not of the configured shape.
        """
        c, clips, lead = self.config, source.data, source.lead()
        wanted = (c.num_frames, *c.size, 3)
        if clips.ndim != 6 or clips.shape[2:] != wanted:
            raise ValueError(f"clips must be [batch, num_uavs, {', '.join(map(str, wanted))}], got {clips.shape}")
        rate, loss, masking = (per_link(knobs[name], lead) for name in ("rate", "loss", "masking"))
        draw = jax.vmap(lambda k: jax.random.uniform(phy.stream_key(k, phy.Stream.MASK), (lead[0], c.num_frames)))
        lost = jnp.moveaxis(draw(key), 0, 1) < loss[..., None]
        each = jax.vmap(jax.vmap(functools.partial(self._encode, params["linear"], params["bitmap"])))
        return Encoded(*each(clips, rate, masking, lost))

    def modulate(self, params: dict, encoded: Encoded, point: OperatingPoint) -> Sent:
        """Symbols of average power 1 over each frame; beside them masks and gains."""
        c, lead = self.config, encoded.mask.shape[:2]
        leak = self._leak(params, per_link(point.snr_db, lead))
        each = jax.vmap(jax.vmap(functools.partial(self._amplify, params)))
        features = each(encoded.features, encoded.reference, encoded.mask, leak)
        pairs = features.reshape(*lead, c.num_frames, c.most, -1)
        active = jnp.arange(c.most).reshape(1, 1, 1, -1) < encoded.counts[..., None]
        symbols, gain = unit_power(phy.features_to_symbols(pairs), active)
        groups = (*lead, c.num_frames // c.gop, c.gop)
        per_group = functools.partial(chunks.pack, capacity=c.capacity)
        counts = encoded.counts.reshape(groups)
        packed = jax.vmap(jax.vmap(jax.vmap(per_group)))(symbols.reshape(*groups, *symbols.shape[3:]), counts)
        sent = jnp.arange(c.capacity).reshape(1, 1, 1, -1) < counts.sum(-1)[..., None]
        signal = Signal(Frames(packed.reshape(*lead, -1, c.chunk**2), sent.reshape(*lead, -1)))
        side = Side(encoded.mask, encoded.counts, encoded.lost, as_sent(gain))
        bits = (encoded.bits + GAIN_BITS * c.num_frames).sum(-1)
        return Sent(signal, side, bits, {"bitmap_bits": encoded.bits / c.num_frames})

    def decode(self, params: dict, received: Received, side: Side, point: OperatingPoint) -> Estimate:
        """Clips from the symbols, their variances and ``side``; ``tells`` has the receivers' buffers."""
        c, lead = self.config, side.counts.shape[:2]
        leak = self._leak(params, per_link(point.snr_db, lead))
        each = jax.vmap(jax.vmap(functools.partial(self._hear, params)))
        features, deviation = each(*received, side, leak)
        linear = params["linear"]
        patches = chunks.from_chunks(features, c.grid, c.chunk)
        patches = patches @ linear["basis"][:, : c.features].T + linear["mean"].reshape(1, 1, 1, 1, -1)
        clips = unpatchify(patches, PATCH, c.size)
        if c.network is not None:
            clips = self._refine(params["network"], clips, deviation)
        return Estimate(clips, {"buffer": features})

    def stages(self) -> tuple[Stage, ...]:
        """As ``Scheme.stages``: the network's, end to end, if there is one.

        ``system``: squared error; ``perceptual``: how frames look, where there is a file to tell by.
        """
        if self.config.network is None:
            return ()
        of_network = lambda name: name.startswith("network/")  # noqa: E731
        system = Stage("system", picture_loss, of_network, {"image_loss": IMAGE_LOSSES})
        looks = Stage("perceptual", perceptual_loss, of_network, WEIGHTS)
        return (system,) if self.perceptual is None else (system, looks)

    @property
    def _network(self) -> TemporalRefiner:
        return TemporalRefiner(NETWORKS[require_given("PvscConfig.network", self.config.network)])

    def _leak(self, params: dict, snr_db: jax.Array) -> jax.Array:
        return jnp.interp(snr_db, jnp.asarray(fitting.LEAK_SNR_DB), params["leak"])

    def _intra(self) -> jax.Array:
        return jnp.arange(self.config.num_frames) % self.config.gop == 0

    def _encode(self, linear: dict, model: jax.Array, clip: jax.Array, rate, masking, lost) -> tuple:
        """One clip."""
        c = self.config
        patches = (patchify(clip, PATCH) - linear["mean"].reshape(1, 1, -1)) @ linear["basis"][:, : c.features]
        features = chunks.on_grid(chunks.to_chunks(patches, c.grid, c.chunk))
        total = jnp.round(rate * c.capacity)
        counts = jnp.tile(chunks.pairs_per_frame(total, c.gop, c.intra_factor, c.most), c.num_frames // c.gop)
        weights = _texture_weights(clip, c) ** masking

        def frame(reference: jax.Array, inputs: tuple) -> tuple:
            own, count, weight, intra = inputs
            before = jnp.where(intra, 0.0, reference)
            value = weight[None] * jnp.mean((own - before) ** 2, axis=-1)
            mask = chunks.choose(value.reshape(-1), chunks.PAIR * count, chunks.PAIR * c.most).reshape(value.shape)
            after = jnp.where(mask[..., None], own, before)
            kept = after if c.reference == "chain" else jnp.where(intra, after, reference)
            return kept, (before, mask)

        intra = self._intra()
        inputs = (features, counts, weights, intra)
        _, (reference, mask) = jax.lax.scan(frame, jnp.zeros_like(features[0]), inputs)
        lengths = jax.vmap(functools.partial(bitmap.code_length, model))(mask, 1 - intra.astype(jnp.int32))
        return features, reference, mask, counts, lost, lengths.sum()

    def _amplify(self, params: dict, features, reference, mask, leak) -> jax.Array:
        """What a clip's frames send, scaled, ``[frames, 2 most, chunk^2]``."""
        new = (features - leak * reference).reshape(len(mask), -1, features.shape[-1])
        places = self._places(mask)
        new = jnp.take_along_axis(new, places[..., None], axis=1)
        return new * self._amplitude(params, places)[..., None]

    def _places(self, mask: jax.Array) -> jax.Array:
        find = functools.partial(chunks.places_of, most=chunks.PAIR * self.config.most)
        return jax.vmap(find)(mask.reshape(len(mask), -1))

    def _amplitude(self, params: dict, places: jax.Array) -> jax.Array:
        """Of chunks at ``places [frames, m]`` of each frame: the usual energy of their feature to the power -1/4."""
        kind = 1 - self._intra().astype(jnp.int32)
        return jnp.exp2(-params["energy"][kind[:, None], places // self.config.places] / 4)

    def _hear(self, params: dict, symbols, no_eff, side: Side, leak) -> tuple[jax.Array, jax.Array]:
        """One clip's features ``[frames, C, n, chunk^2]`` and the deviation of their errors ``[frames, C, n]``."""
        c, most = self.config, chunks.PAIR * self.config.most
        groups = (c.num_frames // c.gop, c.gop)

        def frames_of(rows: jax.Array) -> jax.Array:
            rows = rows.reshape(groups[0], c.capacity, c.chunk**2)
            unpacked = jax.vmap(functools.partial(chunks.unpack, most=c.most))(rows, side.counts.reshape(groups))
            return unpacked.reshape(c.num_frames, c.most, -1)

        features = phy.symbols_to_features(frames_of(symbols)).reshape(c.num_frames, most, -1)
        noise = jnp.repeat(frames_of(no_eff), 2, axis=-1).reshape(c.num_frames, most, -1).mean(-1) / 2
        places = self._places(side.mask)
        amplitude = self._amplitude(params, places) * side.gain[:, None]
        heard = Heard(features / amplitude[..., None], noise / amplitude**2, places)
        prior = jnp.exp2(params["energy"])
        return follow(heard, side.mask, side.lost, self._intra(), leak, prior, golden=c.reference == "golden")

    def _refine(self, params: dict, clips: jax.Array, deviation: jax.Array) -> jax.Array:
        """The network behind the linear codec, which it leaves as it is."""
        inputs = (jax.lax.stop_gradient(a.reshape(-1, *a.shape[2:])) for a in (clips, jnp.swapaxes(deviation, -1, -2)))
        return jnp.asarray(self._network.apply({"params": params}, *inputs)).reshape(clips.shape)


def _texture_weights(clip: jax.Array, config: PvscConfig) -> jax.Array:
    """How much errors count in each chunk's part of each frame, ``[frames, n]``: less where there is texture.

    1 / (0.5 + the local deviation over its median), in [0.5, 2].

    Source: after Chou and Li, A perceptually tuned subband image coder based on the measure of
    just-noticeable-distortion profile (1995); the formula is ours.
    """
    parts = patchify(clip, PATCH * config.chunk)
    deviation = parts.std(axis=-1) + 1e-3
    relative = deviation / jnp.median(deviation, axis=-1, keepdims=True)
    return jnp.clip(1 / (0.5 + relative), 0.5, 2.0)
