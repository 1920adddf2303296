"""Pictures as indices of codebooks around a transform that is conditioned on what is already decoded.

One set of weights serves all rates: the codebook's size says how many bits a picture takes, exactly, without an entropy
coder. Without networks it is fitted alone; networks before and behind the quantiser, and beside the context, are
trained from there. ``packets`` puts the bits behind a channel code; over a link of this library they go uncoded.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc import phy
from lvm_mtc.config import require_count, require_one_of
from lvm_mtc.link import OperatingPoint, Received
from lvm_mtc.models import context_transform
from lvm_mtc.models.conditioned import require_windows
from lvm_mtc.models.context_transform import Branch, Rule
from lvm_mtc.models.patches import grid_shape, patchify, unpatchify
from lvm_mtc.models.pca import fit_patches
from lvm_mtc.models.vector_quantizer import index_bits, posterior_mean
from lvm_mtc.models.weights import SHIPPED, load_weights
from lvm_mtc.schemes.progressive.bits import FRAME, SentAsBits, heard_bits
from lvm_mtc.schemes.progressive.context_fit import fit_groups
from lvm_mtc.schemes.progressive.losses import RATES_WEIGHTS, rates_loss
from lvm_mtc.schemes.progressive.network import VARIANTS, Network
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
        variant: Sizes of the networks before and behind the quantiser, a name in ``VARIANTS``; None: the transform is
            linear.
        hidden: Features inside each group's network of the context; 0: the context is linear.
    """

    image_size: int = 96
    patch_size: int = 8
    slices: tuple[int, ...] = (1, 3, 8, 20)
    window: int = 3
    codebook_sizes: tuple[int, ...] = (16, 64, 256, 1024)
    codebook_size: int = 256
    bits_per_symbol: int = 4
    context: bool = True
    variant: str | None = None
    hidden: int = 0

    def __post_init__(self):
        for field in ("image_size", "patch_size", "window"):
            require_count("ContextVqConfig", field, getattr(self, field))
        most = 3 * self.patch_size**2
        if not self.slices or min(self.slices) < 1 or self.num_features > most:
            wanted = f"one number >= 1 or more, {most} in all at most"
            raise ValueError(f"ContextVqConfig.slices must be {wanted}, got {self.slices!r}")
        if self.image_size % self.patch_size:
            raise ValueError(f"ContextVqConfig.patch_size {self.patch_size} does not divide {self.image_size} pixels")
        require_count("ContextVqConfig", "hidden", self.hidden, least=0)
        if self.variant is not None:
            require_one_of("ContextVqConfig", "variant", self.variant, tuple(VARIANTS))
            sizes = VARIANTS[self.variant]
            window = sizes.window if "attention" in sizes.blocks else 1
            require_windows("ContextVqConfig", self.image_size, self.patch_size * window, self.variant)
        elif self.hidden:
            raise ValueError(f"ContextVqConfig.hidden {self.hidden} needs a variant: nothing trains it without one")
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
        """Parameters that know of no picture: pixels for components, no context, codes and networks at random."""
        c, size = self.config, 3 * self.config.patch_size**2
        keys = jax.random.split(phy.stream_key(key, phy.Stream.INIT), 2 * len(c.slices))
        most, dims = max(c.codebook_sizes), np.repeat(c.slices, 2)
        codes = [jax.random.normal(key, (most, d)) for key, d in zip(keys, dims, strict=True)]
        books = {k: [{"codes": one[:k], "log_use": jnp.zeros(k)} for one in codes] for k in c.codebook_sizes}
        params: dict[str, Any] = {"linear": self._linear(np.full(size, 0.5), np.eye(size))}
        params |= _named(context_transform.no_rules(c.slices, c.window), books)
        if c.variant is None:
            return params
        keys, (before, behind) = jax.random.split(jax.random.fold_in(keys[0], 1), 3), self._networks
        grid, share = (1, *self._grid), jnp.ones(1)
        params["encoder"] = before.init(keys[0], jnp.zeros((*grid, size)), share)["params"]
        params["decoder"] = behind.init(keys[1], jnp.zeros((*grid, c.num_features)), share)["params"]
        if c.context and c.hidden:
            branches = context_transform.no_branches(keys[2], c.slices, c.window, c.hidden)
            params["branches"] = _numbered(branch._asdict() for branch in branches)
        return params

    def _linear(self, mean: np.ndarray, basis: np.ndarray) -> dict:
        kept = basis[:, : self.config.num_features]
        ways = {"basis": kept} if self.config.variant is None else {"analysis": kept, "synthesis": kept.T}
        return {name: jnp.asarray(value, jnp.float32) for name, value in ({"mean": mean} | ways).items()}

    def fit(self, pictures: np.ndarray, *, seed: int, num_crops: int = 256) -> dict:
        """All parameters of a codec without networks: principal components, and context and codebooks on random crops.

        Args:
            pictures: ``[num, height, width, 3]`` uint8.
            seed: Of crops and first codes.
            num_crops: Crops.
        """
        return self.start({}, pictures, seed, num_crops)

    def start(
        self, params: dict, pictures: np.ndarray, seed: int, num_crops: int = 256, networks: str | None = None
    ) -> dict:
        """As ``Trained.start``: context by least squares and codebooks by Lloyd's algorithm, on random crops.

        Groups follow in their order, each on what the codebooks of all sizes have decoded before it; one context serves
        all. What networks add to the context is nothing yet.

        Args:
            params: From :meth:`init`.
            pictures: ``[num, height, width, 3]`` uint8.
            seed: Of crops and first codes.
            num_crops: Crops.
            networks: Shipped weights of a codec with the same networks before and behind its quantiser, such as
                ``"progressive"``: they are taken, features in the order of their variance. None: they add nothing yet
                to principal components.
        """
        c, crops = self.config, self._crops(pictures, seed, num_crops)
        if networks is None:
            pca = fit_patches(pictures, c.image_size, c.patch_size, seed)
            params = params | {"linear": self._linear(pca.mean, pca.basis)}
        else:
            found, _ = load_weights(SHIPPED / f"{networks}.npz")
            params = params | {name: found[name] for name in ("linear", "encoder", "decoder")}
            params = reordered(params, np.argsort(-jax.jit(self.analyse)(params, crops).var((0, 1, 2))))
        features = np.asarray(jax.jit(self.analyse)(params, crops))
        rules = None if c.context else context_transform.no_rules(c.slices, c.window)
        rules, books = fit_groups(features, c.codebook_sizes, c.slices, c.window, seed, rules)
        params = params | _named(rules, books)
        if "branches" in params:
            gain = 1 / jnp.asarray(features.std((0, 1, 2)))
            params["branches"] = {name: branch | {"gain": gain} for name, branch in params["branches"].items()}
        return params

    def with_books(self, params: dict, pictures: np.ndarray, seed: int, num_crops: int = 256) -> dict:
        """Codebooks as in :meth:`start`, behind the networks and the context that are there."""
        c, features = self.config, np.asarray(jax.jit(self.analyse)(params, self._crops(pictures, seed, num_crops)))
        rules, books = fit_groups(features, c.codebook_sizes, c.slices, c.window, seed, self.rules(params))
        return params | {"books": _named(rules, books)["books"]}

    def _crops(self, pictures: np.ndarray, seed: int, count: int) -> np.ndarray:
        """Random crops, float32 in [0, 1]."""
        rng, side, found = np.random.default_rng(seed), self.config.image_size, []
        for i in rng.integers(0, len(pictures), count):
            top, left = (rng.integers(0, length - side + 1) for length in pictures.shape[1:3])
            found.append(pictures[i, top : top + side, left : left + side])
        return np.asarray(found, np.float32) / 255

    def frames(self) -> tuple[int, int]:
        """As ``Scheme.frames``."""
        return self.config.num_bits // (FRAME * self.config.bits_per_symbol), FRAME

    def rules(self, params: dict) -> list[Rule]:
        """What conditions the transform, a rule a group."""
        branches = {name: Branch(**branch) for name, branch in params.get("branches", {}).items()}
        names = sorted(params["rules"], key=int)
        return [Rule(**params["rules"][name], branch=branches.get(name)) for name in names]

    def books(self, params: dict, size: int | None = None) -> list[dict]:
        """Of each group the codebook ``codes [K, d]``, and how often each code is used, ``log_use [K]``.

        ``size`` is K, None: that of the configuration.
        """
        of_size = params["books"][str(size or self.config.codebook_size)]
        return [of_size[name] for name in sorted(of_size, key=int)]

    def share(self, size: int | None = None) -> jax.Array:
        """What the network behind is told of a rate, ``[1]``: its bits over the most; ``size`` as for :meth:`books`."""
        return jnp.full(1, index_bits(size or self.config.codebook_size) / index_bits(max(self.config.codebook_sizes)))

    def analyse(self, params: dict, images: jax.Array) -> jax.Array:
        """Features of pictures ``[batch, height, width, 3]``, ``[batch, rows, columns, C]``."""
        linear = params["linear"]
        patches = patchify(images, self.config.patch_size) - linear["mean"].reshape(1, 1, -1)
        patches = patches.reshape(len(images), *self._grid, -1)
        if self.config.variant is None:
            return patches @ linear["basis"]
        told = self._networks[0].apply({"params": params["encoder"]}, patches, jnp.ones(len(images)))
        return patches @ linear["analysis"] + told

    def synthesise(self, params: dict, features: jax.Array, share: jax.Array | None = None) -> jax.Array:
        """Pictures from features; ``share`` as :meth:`share` has it, ``[batch]``; None: that of the configuration."""
        linear, side = params["linear"], self.config.image_size
        if self.config.variant is None:
            patches = features @ linear["basis"].T
        else:
            share = jnp.broadcast_to(self.share() if share is None else share, features.shape[:1])
            patches = features @ linear["synthesis"]
            patches += self._networks[1].apply({"params": params["decoder"]}, features, share)
        patches = (patches + linear["mean"].reshape(1, 1, 1, -1)).reshape(len(features), -1, len(linear["mean"]))
        return unpatchify(patches, self.config.patch_size, (side, side))

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
        llr = heard_bits(received, c.bits_per_symbol)
        llr = llr.reshape(-1, len(c.slices), *self._grid, index_bits(c.codebook_size))
        books = enumerate(self.books(params))
        means = [posterior_mean(llr[:, i // 2], book["codes"], book["log_use"]) for i, book in books]
        images = self._show(params, means)
        return Estimate(images.reshape(*lead, *images.shape[1:]))

    def stages(self) -> tuple[Stage, ...]:
        """As ``Scheme.stages``: one, the codec alone; none without networks, where :meth:`fit` is all."""
        if self.config.variant is None:
            return ()
        fixed = ("log_use",) if self.config.context else ("log_use", "rules/")
        return (Stage("codec", rates_loss, lambda name: not any(word in name for word in fixed), RATES_WEIGHTS),)

    @property
    def _grid(self) -> tuple[int, int]:
        return grid_shape((self.config.image_size,) * 2, self.config.patch_size)

    @property
    def _networks(self) -> tuple[Network, Network]:
        sizes = VARIANTS[str(self.config.variant)]
        reverse = sizes._replace(blocks=sizes.blocks[::-1])
        return Network(self.config.num_features, sizes), Network(3 * self.config.patch_size**2, reverse)


def _numbered(parts: Iterable[Any]) -> dict[str, Any]:
    return {str(number): part for number, part in enumerate(parts)}


def _named(rules: list[Rule], books: dict[int, list[dict]]) -> dict:
    """Parameters of context and codebooks, groups by their numbers."""
    fields = [{name: value for name, value in rule._asdict().items() if name != "branch"} for rule in rules]
    of_sizes = {str(size): _numbered(of_size) for size, of_size in books.items()}
    return {"rules": _numbered(fields), "books": of_sizes}


def reordered(params: dict, order: np.ndarray) -> dict:
    """The same transform both ways with features in another order."""
    linear, before, behind = (params[name] for name in ("linear", "encoder", "decoder"))
    last = {name: value[..., order] for name, value in before["last"].items()}
    embed = behind["embed"] | {"kernel": behind["embed"]["kernel"][order]}
    linear = linear | {"analysis": linear["analysis"][:, order], "synthesis": linear["synthesis"][order]}
    return params | {"linear": linear, "encoder": before | {"last": last}, "decoder": behind | {"embed": embed}}
