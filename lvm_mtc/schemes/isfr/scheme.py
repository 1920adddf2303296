"""One picture for M UAVs that pool what they hear: its features in M groups, one over each UAV's link.

The codec is linear, patches to features and back. Group i has the i-th ``group_size`` features of every patch,
quantised to bits with a folded code. A transmitter that knows the links (``allocation.uep``) says by hints which group
goes over which link, with how many bits a symbol and with what power; a group that is not sent counts as 0 in the
decoder. The allocation is told to the receivers, and the links' gains came back to the transmitter: both are booked.
There is no channel code.

Trained by nested dropout with rising distortion: a prefix of the groups survives, whose bits flip the more the later
the group, so that groups come to stand in the order of their importance.

Source: after ISFR (arXiv 2604.00595); the linear codec and the links of several UAVs as sub-channels are ours.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc import phy
from lvm_mtc.config import require_count
from lvm_mtc.link import Frames, OperatingPoint, Received, Signal
from lvm_mtc.models.patches import patchify, unpatchify
from lvm_mtc.models.pca import fit_patches
from lvm_mtc.models.receivers import GAIN_BITS, as_sent
from lvm_mtc.schemes.isfr.losses import nested_loss
from lvm_mtc.schemes.isfr.quantiser import dequantise, quantise
from lvm_mtc.schemes.scheme import Estimate, Sent, Source, Stage

MODULATIONS = (2, 4, 6)
"""Bits of a symbol; BPSK is QPSK with half the rate and twice the symbols, and never better."""
FRAMES = 6
"""Of a group in QPSK; in 16-QAM it has three, in 64-QAM two."""
_CHOICE_BITS, _FEEDBACK_BITS = 2, 8
_LEAST_DEVIATION = 1e-4


@dataclasses.dataclass(frozen=True, kw_only=True)
class IsfrConfig:
    """Shapes; every field is static under ``jit``.

    Attributes:
        image_size: Side of the square pictures, pixels.
        patch_size: Side of a patch, pixels.
        num_groups: Groups of features, as many as there are UAVs.
        group_size: Features of a patch in a group.
        quantiser_bits: Of a feature.
    """

    image_size: int = 96
    patch_size: int = 8
    num_groups: int = 8
    group_size: int = 8
    quantiser_bits: int = 4

    def __post_init__(self):
        for field in ("image_size", "patch_size", "num_groups", "group_size"):
            require_count("IsfrConfig", field, getattr(self, field))
        require_count("IsfrConfig", "quantiser_bits", self.quantiser_bits, 2)
        if self.image_size % self.patch_size:
            raise ValueError(
                f"IsfrConfig.patch_size {self.patch_size} does not divide IsfrConfig.image_size {self.image_size}"
            )
        if self.num_features > 3 * self.patch_size**2:
            raise ValueError(f"IsfrConfig.num_groups x group_size {self.num_features} is more than a patch has numbers")
        if self.group_bits % (2 * FRAMES):
            raise ValueError(f"IsfrConfig: a group's {self.group_bits} bits must be a multiple of {2 * FRAMES}")

    @property
    def num_features(self) -> int:
        """Of a patch."""
        return self.num_groups * self.group_size

    @property
    def group_bits(self) -> int:
        """Of a picture's group."""
        return (self.image_size // self.patch_size) ** 2 * self.group_size * self.quantiser_bits


class Allocation(NamedTuple):
    """What goes over each link, ``[batch, links]`` each.

    Attributes:
        group: Index, int32; every group once.
        modulation: Bits of a symbol, 2, 4 or 6; 0: nothing is sent.
        power: Of a symbol, linear.
    """

    group: jax.Array
    modulation: jax.Array
    power: jax.Array


class Encoded(NamedTuple):
    """Bits of the groups, ``[batch, groups, group_bits]``, and what becomes of them."""

    bits: jax.Array
    allocation: Allocation


@dataclasses.dataclass(frozen=True)
class Isfr:
    """The codec over links; all entries of ``Source.data`` along the UAVs are the same picture."""

    config: IsfrConfig
    modality: ClassVar[str] = "pictures"
    knobs: ClassVar[Mapping[str, Any]] = {}
    reports: ClassVar[tuple[str, ...]] = ()

    def init(self, key: jax.Array, num_uavs: int | None = None) -> dict:
        """Pixels for features. ``key`` is not used."""
        size, width = 3 * self.config.patch_size**2, self.config.num_features
        kernel = jnp.eye(size, width)
        return {"mean": jnp.full(size, 0.5), "encoder": kernel, "decoder": kernel.T, "deviation": jnp.ones(width)}

    def start(self, params: dict, pictures: np.ndarray, seed: int, rotated: bool = False) -> dict:
        """As ``Trained.start``: principal components in their order, or rotated at random into equals."""
        pca = fit_patches(pictures, self.config.image_size, self.config.patch_size, seed)
        basis = pca.basis[:, : self.config.num_features]
        if rotated:
            draws = np.random.default_rng(seed).normal(size=(basis.shape[1],) * 2)
            basis = basis @ np.linalg.qr(draws)[0]
        variances = np.einsum("df,de,ef->f", basis, pca.basis * pca.variances @ pca.basis.T, basis)
        new = {"mean": pca.mean, "encoder": basis, "decoder": basis.T, "deviation": np.sqrt(variances)}
        return {name: jnp.asarray(value, jnp.float32) for name, value in new.items()}

    def with_deviations(self, params: dict, pictures: np.ndarray) -> dict:
        """The features' standard deviations over ``pictures [num, side, side, 3]`` uint8, as training leaves them."""
        features = self.features(params, jnp.float32(pictures[:, None]) / 255)
        return params | {"deviation": jnp.maximum(features.std((0, 1, 2)), _LEAST_DEVIATION)}

    def frames(self) -> tuple[int, int]:
        """As ``Scheme.frames``: of a group, and the symbols of one."""
        return FRAMES, self.config.group_bits // (2 * FRAMES)

    def features(self, params: dict, images: jax.Array) -> jax.Array:
        """Features of pictures ``[batch, num_uavs, side, side, 3]``, ``[batch, num_uavs, patches, num_features]``."""
        patches = patchify(images, self.config.patch_size) - params["mean"].reshape(1, 1, 1, -1)
        return patches @ params["encoder"]

    def paint(self, params: dict, features: jax.Array) -> jax.Array:
        """The inverse of :meth:`features` as far as there is one."""
        patches = features @ params["decoder"] + params["mean"].reshape(1, 1, 1, -1)
        return unpatchify(patches, self.config.patch_size, (self.config.image_size,) * 2)

    def encode(self, params: dict, source: Source, key: jax.Array, knobs: Mapping[str, Any]) -> Encoded:
        """Bits of all groups, and the allocation of the hints ``group``, ``modulation`` and ``power``.

        Without hints group m goes over link m in QPSK with power 1.

        Raises:
            ValueError: if the pictures are not of the configured size, or not as many as there are groups.
        """
        images, side, count = source.data, self.config.image_size, self.config.num_groups
        if images.ndim != 5 or images.shape[1:] != (count, side, side, 3):
            raise ValueError(f"images must be [batch, {count}, {side}, {side}, 3], got {images.shape}")
        x = self.features(params, images[:, :1])[:, 0] / params["deviation"].reshape(1, 1, -1)
        x = jnp.moveaxis(x.reshape(*x.shape[:2], count, -1), 2, 1)
        bits = quantise(x, self.config.quantiser_bits).reshape(len(images), count, -1)
        lead = images.shape[:2]
        plain = Allocation(jnp.broadcast_to(jnp.arange(count), lead), jnp.full(lead, 2), jnp.ones(lead))
        given = {name: jnp.asarray(source.hints[name]) for name in Allocation._fields if name in source.hints}
        for name, value in given.items():
            if value.shape != lead:
                raise ValueError(f"{name} must be [batch, num_uavs] = {lead}, got {value.shape}")
        return Encoded(bits, plain._replace(**given))

    def modulate(self, params: dict, encoded: Encoded, point: OperatingPoint) -> Sent:
        """Each link's symbols, scrambled and with the powers of the allocation; beside them the allocation."""
        bits, allocation = encoded
        allocation = allocation._replace(power=as_sent(allocation.power))
        order, flips = self._scrambler
        bits = jnp.take_along_axis(bits, allocation.group[..., None], axis=1)[..., order] ^ flips.reshape(1, 1, -1)
        frames, symbols = self.frames()
        x = jnp.zeros((*bits.shape[:2], frames, symbols), jnp.complex64)
        for kind in MODULATIONS:
            own = phy.qam_map(bits, kind).reshape(*bits.shape[:2], -1, symbols)
            own = jnp.pad(own, ((0, 0), (0, 0), (0, frames - own.shape[2]), (0, 0)))
            x = jnp.where((allocation.modulation == kind)[..., None, None], own, x)
        count = jnp.where(allocation.modulation > 0, 2 * frames // jnp.maximum(allocation.modulation, 2), 0)
        on_air = jnp.arange(frames).reshape(1, 1, -1) < count[..., None]
        signal = Signal(Frames(x * jnp.sqrt(allocation.power)[..., None, None], on_air))
        links = bits.shape[1]
        cost = math.ceil(math.lgamma(links + 1) / math.log(2)) + links * (_CHOICE_BITS + GAIN_BITS + _FEEDBACK_BITS)
        return Sent(signal, allocation, jnp.full(bits.shape[0], float(cost)))

    def decode(self, params: dict, received: Received, side: Allocation, point: OperatingPoint) -> Estimate:
        """The pooled picture, once for each UAV; bits are decided one by one."""
        heard = (side.modulation > 0) & (side.power > 0)
        power = jnp.where(heard, side.power, 1.0)[..., None, None]
        x, no = received.symbols / jnp.sqrt(power), received.no_eff / power
        batch, links = x.shape[:2]
        bits = jnp.zeros((batch, links, self.config.group_bits), jnp.int32)
        for kind in MODULATIONS:
            count = 2 * FRAMES // kind
            symbols, error = (a[:, :, :count].reshape(batch, links, -1) for a in (x, no))
            llr = phy.qam_llr(symbols, error, kind, "maxlog")
            bits = jnp.where((side.modulation == kind)[..., None], (llr > 0).astype(jnp.int32), bits)
        order, flips = self._scrambler
        bits = (bits ^ flips.reshape(1, 1, -1))[..., np.argsort(order)]
        link = jnp.argsort(side.group, axis=-1)  # of each group
        bits, sent = (jnp.take_along_axis(a, link[..., None], 1) for a in (bits, side.modulation[..., None] > 0))
        groups = dequantise(bits.reshape(batch, links, -1, self.config.group_size, self.config.quantiser_bits))
        features = jnp.moveaxis(jnp.where(sent[..., None], groups, 0.0), 1, 2).reshape(batch, 1, -1, links * self._size)
        image = self.paint(params, features * params["deviation"].reshape(1, 1, 1, -1))
        return Estimate(jnp.broadcast_to(image, (batch, links, *image.shape[2:])))

    def stages(self) -> tuple[Stage, ...]:
        """As ``Scheme.stages``: restructuring; ``retention`` 1 and ``flips`` 0 leave the order as it is."""
        return (Stage("restructure", nested_loss, _of_codec, {"retention": 0.3, "flips": 0.1}),)

    @property
    def num_uavs(self) -> int:
        """UAVs that it serves, one a group."""
        return self.config.num_groups

    @property
    def _size(self) -> int:
        return self.config.group_size

    @property
    def _scrambler(self) -> tuple[np.ndarray, np.ndarray]:
        """Order and flips of a group's bits, which make symbols equally likely and all bits of a feature alike."""
        rng = np.random.default_rng(0)
        return rng.permutation(self.config.group_bits), rng.integers(0, 2, self.config.group_bits, np.int32)


def _of_codec(name: str) -> bool:
    return name in ("encoder", "decoder")
