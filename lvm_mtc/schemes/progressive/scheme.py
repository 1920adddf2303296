"""Pictures as stages of indices, each of which improves on those before, as uncoded bits over a link.

The receiver takes the mean over the posterior of each index. ``packets`` has the same stages behind a channel code.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc import phy
from lvm_mtc.config import require_count, require_one_of
from lvm_mtc.link import OperatingPoint, Received
from lvm_mtc.models.conditioned import require_windows
from lvm_mtc.models.patches import grid_shape, patchify, unpatchify
from lvm_mtc.models.pca import PatchPca, fit_patches
from lvm_mtc.models.vector_quantizer import (
    bits_to_indices,
    fit_codebooks,
    index_bits,
    look_up,
    posterior_mean,
    quantize,
)
from lvm_mtc.schemes.progressive.bits import FRAME, SentAsBits, heard_bits
from lvm_mtc.schemes.progressive.losses import WEIGHTS, prefix_loss
from lvm_mtc.schemes.progressive.network import VARIANTS, Network
from lvm_mtc.schemes.scheme import Estimate, Stage

_SAMPLE = 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProgressiveConfig:
    """Shapes; every field is static under ``jit``.

    Attributes:
        variant: Sizes of the networks, a name in ``VARIANTS``.
        image_size: Side of the square pictures, pixels.
        patch_size: Side of a patch, pixels.
        num_features: Of a patch, d.
        num_stages: T.
        codebook_size: K of each stage, a power of two.
        bits_per_symbol: Of the QAM that carries uncoded bits: 2, 4, 6 or 8.
    """

    variant: str = "small"
    image_size: int = 96
    patch_size: int = 8
    num_features: int = 32
    num_stages: int = 8
    codebook_size: int = 256
    bits_per_symbol: int = 4

    def __post_init__(self):
        require_one_of("ProgressiveConfig", "variant", self.variant, tuple(VARIANTS))
        for field in ("image_size", "patch_size", "num_features", "num_stages"):
            require_count("ProgressiveConfig", field, getattr(self, field))
        if self.num_features > 3 * self.patch_size**2:
            most = f"the {3 * self.patch_size**2} numbers of a patch"
            raise ValueError(f"ProgressiveConfig.num_features {self.num_features} exceeds {most}")
        try:
            index_bits(self.codebook_size)
        except ValueError as error:
            raise ValueError(f"ProgressiveConfig.{error}") from error
        if self.bits_per_symbol not in phy.BITS_PER_SYMBOL:
            known = ", ".join(map(str, phy.BITS_PER_SYMBOL))
            raise ValueError(f"ProgressiveConfig.bits_per_symbol must be one of {known}, got {self.bits_per_symbol!r}")
        sizes = VARIANTS[self.variant]
        window = sizes.window if "attention" in sizes.blocks else 1
        require_windows("ProgressiveConfig", self.image_size, self.patch_size * window, self.variant)
        if self.stage_bits * self.num_stages % (FRAME * self.bits_per_symbol):
            raise ValueError(
                f"ProgressiveConfig.bits_per_symbol {self.bits_per_symbol}: {self.stage_bits * self.num_stages} bits "
                f"do not fill frames of {FRAME} symbols"
            )

    @property
    def num_patches(self) -> int:
        """Of a picture."""
        return (self.image_size // self.patch_size) ** 2

    @property
    def stage_bits(self) -> int:
        """Bits of a stage of a picture, exactly: there is no entropy coder."""
        return self.num_patches * index_bits(self.codebook_size)


@dataclasses.dataclass(frozen=True)
class Progressive(SentAsBits):
    """The codec over a link, its bits uncoded; all UAVs share the parameters."""

    config: ProgressiveConfig
    modality: ClassVar[str] = "pictures"
    knobs: ClassVar[Mapping[str, Any]] = {}
    reports: ClassVar[tuple[str, ...]] = ()

    def init(self, key: jax.Array, num_uavs: int | None = None) -> dict:
        """Parameters that know of no picture: pixels for components, codes at random; networks are drawn."""
        config, size = self.config, 3 * self.config.patch_size**2
        keys = jax.random.split(phy.stream_key(key, phy.Stream.INIT), 3)
        before, behind = self._networks
        grid, share = (1, *self._grid), jnp.ones(1)
        books = jax.random.normal(keys[2], (config.num_stages, config.codebook_size, config.num_features))
        return {
            "linear": self._linear(PatchPca(np.full(size, 0.5), np.eye(size), np.ones(size))),
            "encoder": before.init(keys[0], jnp.zeros((*grid, size)), share)["params"],
            "decoder": behind.init(keys[1], jnp.zeros((*grid, config.num_features)), share)["params"],
            "books": {"codes": books, "log_use": jnp.zeros(books.shape[:2])},
        }

    def _linear(self, pca: PatchPca) -> dict:
        basis = pca.basis[:, : self.config.num_features]
        linear = dict(mean=pca.mean, analysis=basis, synthesis=basis.T)
        return {name: jnp.asarray(value, jnp.float32) for name, value in linear.items()}

    def start(self, params: dict, pictures: np.ndarray, seed: int) -> dict:
        """As ``Trained.start``: principal components, and codebooks by :meth:`with_books`."""
        linear = self._linear(fit_patches(pictures, self.config.image_size, self.config.patch_size, seed))
        return self.with_books(params | {"linear": linear}, pictures, seed)

    def with_books(self, params: dict, pictures: np.ndarray, seed: int) -> dict:
        """Codebooks fitted to the features of random crops, drawn by ``seed``, of ``[num, height, width, 3]`` uint8."""
        features = np.asarray(jax.jit(self.analyse)(params, self._crops(pictures, seed)))
        vectors = features.reshape(-1, self.config.num_features)
        codes, log_use = fit_codebooks(vectors, self.config.num_stages, self.config.codebook_size, seed=seed)
        return params | {"books": {"codes": jnp.asarray(codes), "log_use": jnp.asarray(log_use)}}

    def with_use(self, params: dict, pictures: np.ndarray, seed: int) -> dict:
        """How often each code is used, counted anew on crops as those of :meth:`with_books`."""
        indices = np.asarray(jax.jit(self.compress)(params, self._crops(pictures, seed)))
        counts = np.stack([np.bincount(of_stage, minlength=self.config.codebook_size)
                           for of_stage in np.moveaxis(indices, 1, 0).reshape(self.config.num_stages, -1)])  # fmt: skip
        share = np.maximum(counts, 0.5) / counts[0].sum()
        return params | {"books": params["books"] | {"log_use": jnp.asarray(np.log(share), jnp.float32)}}

    def _crops(self, pictures: np.ndarray, seed: int) -> np.ndarray:
        """Random crops, float32 in [0, 1]."""
        rng, side = np.random.default_rng(seed), self.config.image_size
        crops = []
        for i in rng.integers(0, len(pictures), _SAMPLE):
            top, left = (rng.integers(0, length - side + 1) for length in pictures.shape[1:3])
            crops.append(pictures[i, top : top + side, left : left + side])
        return np.asarray(crops, np.float32) / 255

    def frames(self) -> tuple[int, int]:
        """As ``Scheme.frames``."""
        return self.config.stage_bits * self.config.num_stages // (FRAME * self.config.bits_per_symbol), FRAME

    def books(self, params: dict) -> jax.Array:
        """Codebooks ``[T, K, d]``; code 0 of all but the first is zero, so that no stage enlarges an error."""
        codes = params["books"]["codes"]
        return codes.at[1:, 0].set(0.0)

    def analyse(self, params: dict, images: jax.Array) -> jax.Array:
        """Features of pictures ``[batch, height, width, 3]``, ``[batch, rows, columns, d]``."""
        patches = patchify(images, self.config.patch_size) - params["linear"]["mean"].reshape(1, 1, -1)
        patches = patches.reshape(len(images), *self._grid, -1)
        told = self._networks[0].apply({"params": params["encoder"]}, patches, jnp.ones(len(images)))
        return patches @ params["linear"]["analysis"] + told

    def synthesise(self, params: dict, features: jax.Array, share: jax.Array) -> jax.Array:
        """Pictures from features; ``share`` of the stages that are in them, ``[batch]``."""
        told = self._networks[1].apply({"params": params["decoder"]}, features, share)
        patches = features @ params["linear"]["synthesis"] + told + params["linear"]["mean"].reshape(1, 1, 1, -1)
        patches = patches.reshape(len(features), self.config.num_patches, -1)
        return unpatchify(patches, self.config.patch_size, (self.config.image_size,) * 2)

    def compress(self, params: dict, images: jax.Array) -> jax.Array:
        """Indices of pictures ``[batch, height, width, 3]``, ``[batch, T, num_patches]`` int32, stage after stage."""
        indices = quantize(self.analyse(params, images), self.books(params)).indices
        return jnp.moveaxis(indices.reshape(len(images), -1, self.config.num_stages), -1, 1)

    def expand(self, params: dict, indices: jax.Array, num_stages: jax.Array) -> jax.Array:
        """Pictures from the first ``num_stages [batch]``, 1 to T each, of indices ``[batch, T, num_patches]``."""
        parts = look_up(jnp.moveaxis(indices, 1, -1), self.books(params))
        count = self.config.num_stages
        there = jnp.arange(count).reshape(1, 1, -1, 1) < num_stages.reshape(-1, 1, 1, 1)
        features = jnp.sum(parts * there, axis=-2).reshape(len(indices), *self._grid, -1)
        return self.synthesise(params, features, num_stages / count)

    def decode(self, params: dict, received: Received, side: Any, point: OperatingPoint) -> Estimate:
        """Pictures from the means of all stages under the posterior of their bits."""
        lead, config = received.symbols.shape[:2], self.config
        llr = heard_bits(received, config.bits_per_symbol)
        llr = llr.reshape(-1, config.num_stages, config.num_patches, index_bits(config.codebook_size))
        means = jax.vmap(posterior_mean, (1, 0, 0))(llr, self.books(params), params["books"]["log_use"])
        features = means.sum(0).reshape(-1, *self._grid, config.num_features)
        images = self.synthesise(params, features, jnp.ones(len(features)))
        return Estimate(images.reshape(*lead, *images.shape[1:]))

    def stages(self) -> tuple[Stage, ...]:
        """As ``Scheme.stages``: one, the codec alone."""
        return (Stage("codec", prefix_loss, lambda name: name != "books/log_use", WEIGHTS),)

    @property
    def _grid(self) -> tuple[int, int]:
        return grid_shape((self.config.image_size,) * 2, self.config.patch_size)

    @property
    def _networks(self) -> tuple[Network, Network]:
        sizes = VARIANTS[self.config.variant]
        reverse = sizes._replace(blocks=sizes.blocks[::-1])
        return Network(self.config.num_features, sizes), Network(3 * self.config.patch_size**2, reverse)


def bits_to_stages(bits: jax.Array, config: ProgressiveConfig) -> jax.Array:
    """Indices ``[..., T, num_patches]`` int32 from the bits of whole stages, ``[..., T stage_bits]``."""
    per_index = index_bits(config.codebook_size)
    return bits_to_indices(bits.reshape(*bits.shape[:-1], -1, config.num_patches, per_index))
