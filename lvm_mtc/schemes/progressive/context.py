"""Pictures as indices of codebooks around a transform that is conditioned on what is already decoded.

One set of weights serves all rates: the codebook's size says how many bits a picture takes, exactly, without an entropy
coder. ``packets`` puts the bits behind a channel code; over a link of this library they go uncoded.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc import phy
from lvm_mtc.config import require_count
from lvm_mtc.link import OperatingPoint, Received
from lvm_mtc.models import context_transform
from lvm_mtc.models.context_transform import Rule
from lvm_mtc.models.patches import grid_shape, patchify, unpatchify
from lvm_mtc.models.pca import fit_patches
from lvm_mtc.models.vector_quantizer import index_bits, posterior_mean
from lvm_mtc.schemes.progressive.bits import FRAME, SentAsBits, heard_bits
from lvm_mtc.schemes.progressive.context_fit import code_group, fit_rule
from lvm_mtc.schemes.scheme import Estimate, Stage


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContextVqConfig:
    """Shapes; every field is static under ``jit``.

    Attributes:
        image_size: Side of the square pictures, pixels.
        patch_size: Side of a patch, pixels.
        slices: Features of each slice, which are quantised together, those of the largest variance first.
        window: Side of what a feature is predicted from, patches, odd.
        codebook_sizes: K of every rate that the weights serve, powers of two.
        codebook_size: The one that is used.
        bits_per_symbol: Of the QAM that carries uncoded bits: 2, 4, 6 or 8.
        context: Whether what is decoded conditions the transform.
    """

    image_size: int = 96
    patch_size: int = 8
    slices: tuple[int, ...] = (1, 3, 8, 20)
    window: int = 3
    codebook_sizes: tuple[int, ...] = (16, 64, 256, 1024)
    codebook_size: int = 256
    bits_per_symbol: int = 4
    context: bool = True

    def __post_init__(self):
        for field in ("image_size", "patch_size", "window"):
            require_count("ContextVqConfig", field, getattr(self, field))
        most = 3 * self.patch_size**2
        if not self.slices or min(self.slices) < 1 or self.num_features > most:
            wanted = f"one number >= 1 or more, {most} in all at most"
            raise ValueError(f"ContextVqConfig.slices must be {wanted}, got {self.slices!r}")
        if self.image_size % self.patch_size:
            raise ValueError(f"ContextVqConfig.patch_size {self.patch_size} does not divide {self.image_size} pixels")
        if self.window % 2 == 0:
            raise ValueError(f"ContextVqConfig.window must be odd, got {self.window}")
        for size in self.codebook_sizes:
            try:
                index_bits(size)
            except ValueError as error:
                raise ValueError(f"ContextVqConfig.codebook_sizes: {error}") from error
        if self.codebook_size not in self.codebook_sizes:
            known = ", ".join(map(str, self.codebook_sizes))
            raise ValueError(f"ContextVqConfig.codebook_size {self.codebook_size}: there are {known}")
        if self.bits_per_symbol not in phy.BITS_PER_SYMBOL:
            known = ", ".join(map(str, phy.BITS_PER_SYMBOL))
            raise ValueError(f"ContextVqConfig.bits_per_symbol must be one of {known}, got {self.bits_per_symbol!r}")
        if self.num_bits % (FRAME * self.bits_per_symbol):
            unfilled = f"{self.num_bits} bits do not fill frames of {FRAME} symbols"
            raise ValueError(f"ContextVqConfig.bits_per_symbol {self.bits_per_symbol}: {unfilled}")

    @property
    def num_features(self) -> int:
        """Of a patch, C."""
        return sum(self.slices)

    @property
    def num_bits(self) -> int:
        """Bits of a picture, exactly."""
        return (self.image_size // self.patch_size) ** 2 * len(self.slices) * index_bits(self.codebook_size)


@dataclasses.dataclass(frozen=True)
class ContextVq(SentAsBits):
    """The codec over a link, its bits uncoded; all UAVs share the parameters."""

    config: ContextVqConfig
    modality: ClassVar[str] = "pictures"
    knobs: ClassVar[Mapping[str, Any]] = {}
    reports: ClassVar[tuple[str, ...]] = ()

    def init(self, key: jax.Array, num_uavs: int | None = None) -> dict:
        """Parameters that know of no picture: pixels for components, no context, codes at random."""
        c, size = self.config, 3 * self.config.patch_size**2
        keys = jax.random.split(phy.stream_key(key, phy.Stream.INIT), 2 * len(c.slices))
        most, dims = max(c.codebook_sizes), np.repeat(c.slices, 2)
        codes = [jax.random.normal(key, (most, d)) for key, d in zip(keys, dims, strict=True)]
        books = {str(k): [{"codes": one[:k], "log_use": jnp.zeros(k)} for one in codes] for k in c.codebook_sizes}
        linear = self._linear(np.full(size, 0.5), np.eye(size))
        return _named(linear, context_transform.no_rules(c.slices, c.window), books)

    def _linear(self, mean: np.ndarray, basis: np.ndarray) -> dict:
        kept = basis[:, : self.config.num_features]
        return {"mean": jnp.asarray(mean, jnp.float32), "basis": jnp.asarray(kept, jnp.float32)}

    def fit(self, pictures: np.ndarray, *, seed: int, num_crops: int = 256) -> dict:
        """Principal components, context by least squares and codebooks by Lloyd's algorithm, on random crops.

        Groups follow in their order, each on what the codebooks of all sizes have decoded before it; one context serves
        all.

        Args:
            pictures: ``[num, height, width, 3]`` uint8.
            seed: Of crops and first codes.
            num_crops: Crops.
        """
        c = self.config
        pca = fit_patches(pictures, c.image_size, c.patch_size, seed)
        linear = self._linear(pca.mean, pca.basis)
        crops = _crops(pictures, c.image_size, num_crops, seed)
        features = np.asarray(jax.jit(self.analyse)({"linear": linear}, crops))
        rules, books = context_transform.no_rules(c.slices, c.window), {str(k): [] for k in c.codebook_sizes}
        y_hat = {k: np.zeros_like(features) for k in c.codebook_sizes}
        for group in range(len(rules)):
            if c.context:
                rules[group] = fit_rule(features, list(y_hat.values()), c.slices, group, c.window)
            for size in c.codebook_sizes:
                coded = code_group(rules[group], features, y_hat[size], c.slices, group, size, seed)
                book, y_hat[size] = coded
                books[str(size)].append({name: jnp.asarray(value) for name, value in book.items()})
        return _named(linear, rules, books)

    def frames(self) -> tuple[int, int]:
        """As ``Scheme.frames``."""
        return self.config.num_bits // (FRAME * self.config.bits_per_symbol), FRAME

    def rules(self, params: dict) -> list[Rule]:
        """What conditions the transform, a rule a group."""
        return [Rule(**params["rules"][name]) for name in sorted(params["rules"], key=int)]

    def books(self, params: dict) -> list[dict]:
        """Of each group the codebook of the rate, ``codes [K, d]``, and how often each is used, ``log_use [K]``."""
        of_size = params["books"][str(self.config.codebook_size)]
        return [of_size[name] for name in sorted(of_size, key=int)]

    def analyse(self, params: dict, images: jax.Array) -> jax.Array:
        """Features of pictures ``[batch, height, width, 3]``, ``[batch, rows, columns, C]``."""
        linear, grid = params["linear"], grid_shape((self.config.image_size,) * 2, self.config.patch_size)
        patches = patchify(images, self.config.patch_size) - linear["mean"].reshape(1, 1, -1)
        return (patches @ linear["basis"]).reshape(len(images), *grid, -1)

    def synthesise(self, params: dict, features: jax.Array) -> jax.Array:
        """Pictures from features."""
        linear, side = params["linear"], self.config.image_size
        patches = features.reshape(len(features), -1, self.config.num_features) @ linear["basis"].T
        return unpatchify(patches + linear["mean"].reshape(1, 1, -1), self.config.patch_size, (side, side))

    def compress(self, params: dict, images: jax.Array) -> jax.Array:
        """Indices of pictures ``[batch, height, width, 3]``, ``[batch, S, rows, columns]`` int32."""
        codes = [book["codes"] for book in self.books(params)]
        features = self.analyse(params, images)
        return context_transform.compress(self.rules(params), codes, self.config.slices, features)[0]

    def expand(self, params: dict, indices: jax.Array) -> jax.Array:
        """Pictures from indices."""
        return self._show(params, [book["codes"][indices[:, i // 2]] for i, book in enumerate(self.books(params))])

    def _show(self, params: dict, vectors: list[jax.Array]) -> jax.Array:
        """Pictures from what each group's codebook gives."""
        return self.synthesise(params, context_transform.expand(self.rules(params), self.config.slices, vectors))

    def decode(self, params: dict, received: Received, side: Any, point: OperatingPoint) -> Estimate:
        """Pictures from the mean of each vector under the posterior of its bits."""
        c, lead = self.config, received.symbols.shape[:2]
        rows, columns = grid_shape((c.image_size,) * 2, c.patch_size)
        llr = heard_bits(received, c.bits_per_symbol)
        llr = llr.reshape(-1, len(c.slices), rows, columns, index_bits(c.codebook_size))
        books = enumerate(self.books(params))
        means = [posterior_mean(llr[:, i // 2], book["codes"], book["log_use"]) for i, book in books]
        images = self._show(params, means)
        return Estimate(images.reshape(*lead, *images.shape[1:]))

    def stages(self) -> tuple[Stage, ...]:
        """As ``Scheme.stages``: none; the parameters are fitted (:meth:`fit`)."""
        return ()


def _named(linear: dict, rules: list[Rule], books: dict[str, list]) -> dict:
    """Parameters, groups by their numbers."""

    def numbered(parts):
        return {str(number): part for number, part in enumerate(parts)}

    return {
        "linear": linear,
        "rules": numbered(rule._asdict() for rule in rules),
        "books": {size: numbered(of_size) for size, of_size in books.items()},
    }


def _crops(pictures: np.ndarray, side: int, count: int, seed: int) -> np.ndarray:
    """Random crops, float32 in [0, 1]."""
    rng, found = np.random.default_rng(seed), []
    for i in rng.integers(0, len(pictures), count):
        top, left = (rng.integers(0, length - side + 1) for length in pictures.shape[1:3])
        found.append(pictures[i, top : top + side, left : left + side])
    return np.asarray(found, np.float32) / 255
