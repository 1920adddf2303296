"""Importance instead of holes: every patch is sent, the object's with more of its components and with more power.

The codec is linear: principal components of patches, weighted water-filling (``allocation``), scalar L-MMSE. Networks
before and behind it, where there are any, see the picture and the standard deviation of each pixel's error, and start
as the identity: a sandwiched codec (Guleryuz et al., Sandwiched Image Compression, 2022).

Both sides know the variances, the nominal SNR and the object's weight. The receiver is told the object's patches, a
rectangle, from which the order and the powers of all symbols follow, and each picture's gain.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc import phy
from lvm_mtc.config import require_count, require_one_of
from lvm_mtc.link import Frames, OperatingPoint, Received, Signal, per_link
from lvm_mtc.models.conditioned import require_windows
from lvm_mtc.models.patches import grid_shape, patches_in_box, patchify, unpatchify
from lvm_mtc.models.pca import PatchPca, fit_patches
from lvm_mtc.models.receivers import GAIN_BITS, as_sent, unit_power
from lvm_mtc.models.refiner import REFINERS, TOKEN_SIZE, Refiner
from lvm_mtc.phy.numerics import require_given
from lvm_mtc.schemes.importance.allocation import fill_with_water, most_important
from lvm_mtc.schemes.importance.losses import weighted_loss
from lvm_mtc.schemes.scheme import Estimate, Knob, Sent, Source, Stage, square_pictures

FRAME = 4
"""Symbols of a frame: one slot of four antennas."""
_LEAST_VARIANCE = 1e-8


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImportanceConfig:
    """Shapes; every field is static under ``jit``.

    Attributes:
        image_size: Side of the square pictures, pixels.
        patch_size: Side of a patch, pixels.
        num_uses: Complex symbols of a picture, a multiple of four.
        network: Sizes of the networks before and behind the linear codec, a name in ``models.refiner.REFINERS``; None:
            there are none.
    """

    image_size: int = 96
    patch_size: int = 8
    num_uses: int = 2304
    network: str | None = None

    def __post_init__(self):
        for field in ("image_size", "patch_size", "num_uses"):
            require_count("ImportanceConfig", field, getattr(self, field))
        if self.image_size % self.patch_size:
            sides = f"patch_size {self.patch_size} does not divide ImportanceConfig.image_size {self.image_size}"
            raise ValueError(f"ImportanceConfig.{sides}")
        most = 3 * self.image_size**2 // 2
        if self.num_uses % FRAME or self.num_uses > most:
            wanted = f"a multiple of {FRAME}, at most {most} (two numbers of the picture each)"
            raise ValueError(f"ImportanceConfig.num_uses must be {wanted}, got {self.num_uses}")
        if self.network is not None:
            require_one_of("ImportanceConfig", "network", self.network, tuple(REFINERS))
            window = TOKEN_SIZE * REFINERS[self.network].window
            require_windows("ImportanceConfig", self.image_size, window, self.network)


class Chosen(NamedTuple):
    """What is sent of each picture: places and weighted variances of ``allocation.most_important``, 2 ``num_uses``."""

    places: jax.Array
    values: jax.Array


class Encoded(NamedTuple):
    """Pictures ``[batch, num_uavs, side, side, 3]``, what is to be sent of them, and the object's share of that."""

    images: jax.Array
    chosen: Chosen
    share_inside: jax.Array


class Side(NamedTuple):
    """What receivers know besides: ``chosen``, which follows from the object's patches, and gains ``[batch, K]``."""

    chosen: Chosen
    gain: jax.Array


@dataclasses.dataclass(frozen=True)
class Importance:
    """The codec over a link; all UAVs share the parameters."""

    config: ImportanceConfig
    modality: ClassVar[str] = "pictures"
    knobs: ClassVar[Mapping[str, Knob]] = {"importance_db": Knob(10.0, 0.0, 60.0, early=True)}
    """Weight of errors in the object's patches over those elsewhere, dB; 0: the object is not looked for."""
    reports: ClassVar[tuple[str, ...]] = ("share_inside",)

    def init(self, key: jax.Array, num_uavs: int | None = None) -> dict:
        """Parameters that know of no picture: pixels for components, all of one variance; networks are drawn."""
        size = 3 * self.config.patch_size**2
        params = self.from_pca(PatchPca(np.full(size, 0.5), np.eye(size), np.ones(size)))
        if self.config.network is not None:
            images = jnp.zeros((1, self.config.image_size, self.config.image_size, 3))
            keys = jax.random.split(phy.stream_key(key, phy.Stream.INIT))
            for name, its_key in zip(("before", "behind"), keys, strict=True):
                params[name] = self._network.init(its_key, images, images, jnp.zeros(1))["params"]
        return params

    def from_pca(self, pca: PatchPca) -> dict:
        """The linear codec's parameters: ``mean [D]``, ``basis [D, D]``, and the components' ``deviation [D]``."""
        deviation = np.sqrt(np.maximum(pca.variances, _LEAST_VARIANCE))
        linear = dict(mean=pca.mean, basis=pca.basis, deviation=deviation)
        return {"linear": {name: jnp.asarray(value, jnp.float32) for name, value in linear.items()}}

    def start(self, params: dict, pictures: np.ndarray, seed: int) -> dict:
        """As ``Trained.start``: the linear codec of the pictures' patches."""
        return params | self.from_pca(fit_patches(pictures, self.config.image_size, self.config.patch_size, seed))

    def frames(self) -> tuple[int, int]:
        """As ``Scheme.frames``."""
        return self.config.num_uses // FRAME, FRAME

    def side_bits(self) -> int:
        """Bits of a picture beside its symbols: first and last row and column of the object's patches, and the gain."""
        rows, columns = grid_shape((self.config.image_size,) * 2, self.config.patch_size)
        return GAIN_BITS + 2 * ((rows - 1).bit_length() + (columns - 1).bit_length())

    def encode(self, params: dict, source: Source, key: jax.Array, knobs: Mapping[str, Any]) -> Encoded:
        """Chooses what is sent.

        Raises:
            ValueError: if the pictures are not of the configured size, or have no boxes ``source.hints["loc"]``.
        """
        side, lead = self.config.image_size, source.lead()
        images = square_pictures(source, side)
        loc = source.hints.get("loc")
        if loc is None or loc.shape != (*lead, 4):
            got = None if loc is None else loc.shape
            raise ValueError(f"loc must be [batch, num_uavs, 4] for images {images.shape}, got {got}")
        inside = patches_in_box(loc, (side, side), self.config.patch_size)
        weight = phy.db_to_linear(per_link(knobs["importance_db"], lead))[..., None]
        weights = jnp.where(inside, weight, 1.0)
        chosen = Chosen(*most_important(params["linear"]["deviation"] ** 2, weights, 2 * self._uses))
        of_object = jnp.take_along_axis(inside, chosen.places % inside.shape[-1], axis=-1)
        return Encoded(images, chosen, of_object.mean(-1))

    def modulate(self, params: dict, encoded: Encoded, point: OperatingPoint) -> Sent:
        """Symbols of average power 1 over each picture, each frame with strong and weak ones."""
        (images, chosen, share_inside), lead = encoded, encoded.images.shape[:2]
        noise, power = self._powers(chosen, point)
        if self.config.network is not None:
            heard = self._put(power / (power + noise[..., None]), chosen.places)
            deviation = self._deviation(params["linear"], 1 - heard)
            images = self._apply("before", params, images, deviation, point)
        linear = jax.tree.map(lambda a: a.reshape((1,) * 3 + a.shape) if a.ndim == 1 else a, params["linear"])
        components = (patchify(images, self.config.patch_size) - linear["mean"]) @ linear["basis"] / linear["deviation"]
        features = jnp.take_along_axis(jnp.swapaxes(components, -1, -2).reshape(*lead, -1), chosen.places, -1)
        symbols, gain = unit_power(to_frames(phy.features_to_symbols(jnp.sqrt(power) * features)))
        gain = as_sent(gain)
        signal = Signal(Frames(symbols, jnp.ones(symbols.shape[:-1], bool)))
        bits = jnp.full(lead[:1], float(self.side_bits() * lead[1]))
        depth = self._put(jnp.ones_like(power), chosen.places).sum(-2)
        removed = 1 - depth / depth.max(-1, keepdims=True)
        removed = unpatchify(jnp.repeat(removed[..., None], self.config.patch_size**2, -1), *self._tiling)[..., 0]
        return Sent(signal, Side(chosen, gain), bits, {"share_inside": share_inside, "removed": removed})

    def decode(self, params: dict, received: Received, side: Side, point: OperatingPoint) -> Estimate:
        """Pictures from the symbols and their variances.

        A picture's gain tells by how much its components vary more or less than those that were trained on: the
        received features' power is that of the water-filling, whatever the picture.
        """
        chosen, linear = side.chosen, params["linear"]
        _, power = self._powers(chosen, point)
        symbols, no_eff = (from_frames(a) for a in received)
        noise, gain = jnp.repeat(no_eff, 2, axis=-1) / 2, side.gain[..., None]
        features = phy.symbols_to_features(symbols) * jnp.sqrt(power) / (power + noise) / gain
        components = self._put(features, chosen.places) * linear["deviation"].reshape(1, 1, -1, 1)
        patches = jnp.swapaxes(components, -1, -2) @ linear["basis"].T + linear["mean"].reshape(1, 1, 1, -1)
        images = unpatchify(patches, *self._tiling)
        if self.config.network is not None:
            heard = self._put(power / (power + noise), chosen.places)
            deviation = self._deviation(linear, 1 - heard) / gain[..., None, None]
            images = self._apply("behind", params, images, deviation, point)
        return Estimate(images)

    def stages(self) -> tuple[Stage, ...]:
        """As ``Scheme.stages``: the networks', end to end, if there are any."""
        if self.config.network is None:
            return ()
        return (Stage("system", weighted_loss, _of_network),)

    @property
    def _uses(self) -> int:
        return self.config.num_uses

    @property
    def _tiling(self) -> tuple[int, tuple[int, ...]]:
        """What ``unpatchify`` takes besides patches."""
        return self.config.patch_size, (self.config.image_size,) * 2

    @property
    def _network(self) -> Refiner:
        return Refiner(REFINERS[require_given("ImportanceConfig.network", self.config.network)])

    def _powers(self, chosen: Chosen, point: OperatingPoint) -> tuple[jax.Array, jax.Array]:
        """Noise of a real symbol at the nominal SNR, ``[batch, num_uavs]``, and what water-filling makes of it."""
        noise = phy.db_to_linear(-per_link(point.snr_db, chosen.values.shape[:2])) / 2
        return noise, fill_with_water(chosen.values, noise, float(self._uses))

    def _put(self, features: jax.Array, places: jax.Array) -> jax.Array:
        """Features at their places, ``[batch, num_uavs, components, patches]``; 0 where nothing was sent."""
        size = 3 * self.config.patch_size**2
        total = 3 * self.config.image_size**2
        put = jax.vmap(jax.vmap(lambda f, at: jnp.zeros(total).at[at].set(f, unique_indices=True)))(features, places)
        return put.reshape(*put.shape[:2], size, total // size)

    def _deviation(self, linear: dict, variance: jax.Array) -> jax.Array:
        """Standard deviation of each pixel, from the variance of each component over that of the training pictures."""
        square = (linear["basis"] * linear["deviation"].reshape(1, -1)) ** 2
        patches = jnp.swapaxes(variance, -1, -2) @ square.T
        return jnp.sqrt(unpatchify(patches, *self._tiling) + _LEAST_VARIANCE)

    def _apply(self, name: str, params: dict, images: jax.Array, deviation: jax.Array, point: OperatingPoint):
        lead = images.shape[:2]
        inputs = (a.reshape(-1, *a.shape[2:]) for a in (images, deviation, per_link(point.snr_db, lead)))
        return jnp.asarray(self._network.apply({"params": params[name]}, *inputs)).reshape(images.shape)


def _of_network(name: str) -> bool:
    return name.startswith(("before/", "behind/"))


def to_frames(symbols: jax.Array) -> jax.Array:
    """Symbols ``[..., n]`` by falling power as frames ``[..., n / 4, 4]`` of symbols n / 4 apart."""
    return jnp.swapaxes(symbols.reshape(*symbols.shape[:-1], FRAME, -1), -1, -2)


def from_frames(frames: jax.Array) -> jax.Array:
    """Inverse of :func:`to_frames`."""
    return jnp.swapaxes(frames, -1, -2).reshape(*frames.shape[:-2], -1)
