"""The linear patch-wise codec as a scheme: principal components of patches, each patch a frame, and all are sent.

Components stand in the order of their variance, with amplitudes of variance^-1/4, and the receiver estimates each
feature by itself (scalar L-MMSE). Nothing is learned by gradients: ``fit`` gives the parameters.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc import phy
from lvm_mtc.config import require_count
from lvm_mtc.link import Frames, OperatingPoint, Received, Signal
from lvm_mtc.models.patches import grid_shape, patchify, unpatchify
from lvm_mtc.models.pca import PatchPca, amplitudes, fit_patches, spreading_matrix
from lvm_mtc.models.receivers import GAIN_BITS, as_sent, unit_power, wiener
from lvm_mtc.schemes.scheme import Estimate, Sent, Source, Stage, square_pictures


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearConfig:
    """Shapes; every field is static under ``jit``.

    Attributes:
        image_size: Side of the square pictures, pixels.
        patch_size: Side of a patch, pixels.
        num_symbols: Complex symbols of a patch; as many components as fit are sent.
        spread: Neighbouring symbols over which each component is spread, a power of two; as many as there are transmit
            antennas for fading channels.
    """

    image_size: int = 96
    patch_size: int = 8
    num_symbols: int = 32
    spread: int = 1

    def __post_init__(self):
        for field in ("image_size", "patch_size", "num_symbols", "spread"):
            require_count("LinearConfig", field, getattr(self, field))
        if self.image_size % self.patch_size:
            raise ValueError(
                f"LinearConfig.patch_size {self.patch_size} does not divide LinearConfig.image_size {self.image_size}"
            )
        try:
            spreading_matrix(2 * self.num_symbols, self.spread)
        except ValueError as error:
            raise ValueError(f"LinearConfig.{error}") from error


@dataclasses.dataclass(frozen=True)
class Linear:
    """The codec over a link; all UAVs share the parameters."""

    config: LinearConfig
    modality: ClassVar[str] = "pictures"
    knobs: ClassVar[Mapping[str, Any]] = {}
    reports: ClassVar[tuple[str, ...]] = ()

    def init(self, key: jax.Array, num_uavs: int | None = None) -> dict:
        """Parameters that know of no picture: pixels for components, all of one variance. ``key`` is not used."""
        size = 3 * self.config.patch_size**2
        return self.from_pca(PatchPca(np.full(size, 0.5), np.eye(size), np.ones(size)))

    def from_pca(self, pca: PatchPca) -> dict:
        """``mean [patch_dim]``, the linear maps ``encoder`` and ``decoder``, and the features' ``power``."""
        encode, decode, power = amplitudes(pca.variances, 2 * self.config.num_symbols, self.config.spread)
        params = dict(mean=pca.mean, encoder=pca.basis @ encode, decoder=decode @ pca.basis.T, power=power)
        return {name: jnp.asarray(value, jnp.float32) for name, value in params.items()}

    def fit(self, pictures: np.ndarray, seed: int = 0) -> dict:
        """Parameters from patches of random crops, drawn by ``seed``, of ``[num_pictures, height, width, 3]`` uint8."""
        return self.from_pca(fit_patches(pictures, self.config.image_size, self.config.patch_size, seed))

    def start(self, params: dict, pictures: np.ndarray, seed: int) -> dict:
        """As ``Trained.start``: the finished codec."""
        return self.fit(pictures, seed)

    def frames(self) -> tuple[int, int]:
        """As ``Scheme.frames``: patches, and the symbols of one."""
        rows, columns = grid_shape((self.config.image_size,) * 2, self.config.patch_size)
        return rows * columns, self.config.num_symbols

    def encode(self, params: dict, source: Source, key: jax.Array, knobs: Mapping[str, Any]) -> jax.Array:
        """Features of every patch, ``[batch, num_uavs, num_patches, 2 num_symbols]``."""
        images = square_pictures(source, self.config.image_size)
        patches = patchify(images, self.config.patch_size)
        return (patches - params["mean"].reshape(1, 1, 1, -1)) @ params["encoder"]

    def modulate(self, params: dict, encoded: jax.Array, point: OperatingPoint) -> Sent:
        """Symbols of average power 1 over each picture; beside them its gain."""
        symbols, gain = unit_power(phy.features_to_symbols(encoded))
        signal = Signal(Frames(symbols, jnp.ones(symbols.shape[:-1], bool)))
        batch, num_uavs = gain.shape
        return Sent(signal, as_sent(gain), jnp.full(batch, float(GAIN_BITS * num_uavs)))

    def decode(self, params: dict, received: Received, side: jax.Array, point: OperatingPoint) -> Estimate:
        """Pictures from the symbols, their variances, and the pictures' gains ``side [batch, num_uavs]``."""
        patches = wiener(*received, side, params["power"]) @ params["decoder"] + params["mean"].reshape(1, 1, 1, -1)
        return Estimate(unpatchify(patches, self.config.patch_size, (self.config.image_size,) * 2))

    def stages(self) -> tuple[Stage, ...]:
        """As ``Scheme.stages``: none."""
        return ()
