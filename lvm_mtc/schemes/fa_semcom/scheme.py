"""FA-SemCom as a scheme: a picture's patch features for a question; the question decides each patch's power.

A vehicle is a UAV of the link and has slots of its own: the uplink of K vehicles is ``broadcast`` with one channel
each. A patch is a frame. The receiver is told each patch's level, from which its power follows, which slices there are
and where, and the question; what it answers from are the features alone.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc import phy
from lvm_mtc.config import require_count, require_one_of
from lvm_mtc.data.vqa import ANSWERS, KINDS, SUBJECTS
from lvm_mtc.link import Frames, OperatingPoint, Received, Signal, per_link
from lvm_mtc.models.answerer import PatchAnswerer
from lvm_mtc.models.feature_quantizer import QUANTIZERS, bits_per_number, dequantize, quantize
from lvm_mtc.models.patch_features import GRID, grid_places
from lvm_mtc.schemes.fa_semcom.allocation import NORMS, NUM_LEVELS, allocate_power, attention_levels, fuse
from lvm_mtc.schemes.fa_semcom.losses import answer_loss
from lvm_mtc.schemes.scheme import Estimate, Knob, Sent, Source, Stage

TRANSMISSIONS = ("bits", "analog")
SEES = ("features", "levels")
SLICES = ("told", "grid")
SCOPES = ("sent", "window")
_LEVEL_BITS = math.ceil(math.log2(NUM_LEVELS))
_QUESTION_BITS = math.ceil(math.log2(len(KINDS) * len(SUBJECTS)))
_STEPS = 2**10
_PLACE_BITS = 3 * 10
_QUADRANTS = [(0, 0, 1, 1), *((x, y, x + 0.5, y + 0.5) for y in (0, 0.5) for x in (0, 0.5))]
_LEAST = 1e-6
WINDOW = math.prod(GRID)
"""Patches of a window."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FaSemComConfig:
    """Shapes and rules; every field is static under ``jit``.

    Attributes:
        num_patches: Tokens at most: 60 of the picture, 60 more of each slice.
        slices: ``"told"``: for each slice a bit whether there is one, and its place; ``"grid"``: the four quadrants,
            always sent, which both ends know.
        patch_size: Numbers of a patch before the projection.
        num_features: Numbers of a patch that are sent, of mean square 1; even.
        transmission: ``"bits"``: quantised, uncoded; ``"analog"``: two numbers a complex symbol.
        quantizer: Of ``"bits"``: ``"uniform"``, ``"float16"`` or ``"float32"``.
        num_bits: Of the uniform quantiser's numbers, 1 to 16.
        bits_per_symbol: 2 (QPSK) to 8, uncoded, hard decisions.
        norm: Of the levels, ``"max"`` or ``"minmax"``, see ``attention_levels``.
        power_scope: Tokens whose mean power is 1: all that are ``"sent"``, or each ``"window"``'s.
        question_bits: Of the question on its way to the answerer; None: those of its number.
        sees: What the answerer looks at: ``"features"``, or ``"levels"``, and nothing else of the picture: how much the
            allocation gives away.
        width: Features inside the answerer.
    """

    num_patches: int = 60
    patch_size: int = 384
    num_features: int = 64
    transmission: str = "bits"
    quantizer: str = "uniform"
    num_bits: int = 8
    bits_per_symbol: int = 2
    norm: str = "max"
    slices: str = "told"
    power_scope: str = "sent"
    question_bits: int | None = None
    sees: str = "features"
    width: int = 96

    def __post_init__(self):
        name = "FaSemComConfig"
        for field in ("num_patches", "patch_size", "num_features", "num_bits", "width"):
            require_count(name, field, getattr(self, field))
        for field, known in (
            ("transmission", TRANSMISSIONS), ("quantizer", QUANTIZERS), ("norm", NORMS), ("sees", SEES),
            ("slices", SLICES), ("power_scope", SCOPES), ("bits_per_symbol", phy.BITS_PER_SYMBOL),
        ):  # fmt: skip
            require_one_of(name, field, getattr(self, field), known)
        if self.num_patches % WINDOW:
            raise ValueError(f"{name}.num_patches must be a multiple of {WINDOW}, got {self.num_patches}")
        if self.slices == "grid" and self.num_patches != len(_QUADRANTS) * WINDOW:
            wanted = f"{len(_QUADRANTS) * WINDOW} with slices 'grid'"
            raise ValueError(f"{name}.num_patches must be {wanted}, got {self.num_patches}")
        if self.question_bits is not None:
            require_count(name, "question_bits", self.question_bits)
        if self.num_bits > 16:
            raise ValueError(f"{name}.num_bits must be at most 16, got {self.num_bits}")
        if self.num_features % 2 or self.bits_of_patch() % self.bits_per_symbol:
            wanted = f"even, and its bits a multiple of {name}.bits_per_symbol {self.bits_per_symbol}"
            raise ValueError(f"{name}.num_features must be {wanted}, got {self.num_features}")
        if self.width % 8:
            raise ValueError(f"{name}.width must be a multiple of 8, got {self.width}")

    def bits_of_patch(self) -> int:
        """Bits of a patch with ``transmission="bits"``."""
        return self.num_features * bits_per_number(self.quantizer, self.num_bits)


class Encoded(NamedTuple):
    """Features ``[batch, num_uavs, tokens, num_features]``, which tokens there are, both attentions, and the source."""

    features: jax.Array
    valid: jax.Array
    objective: jax.Array
    subjective: jax.Array
    places: jax.Array
    question: jax.Array


class Side(NamedTuple):
    """What the receiver knows besides: levels and tokens that there are, where they lie, and the question's number."""

    levels: jax.Array
    valid: jax.Array
    places: jax.Array
    question: jax.Array


@dataclasses.dataclass(frozen=True)
class FaSemCom:
    """The scheme; all vehicles share the parameters.

    A source's ``data`` has, by name and leading ``[batch, num_uavs]``: ``"patches"`` ``[tokens, patch_size]``,
    ``"places"`` ``[tokens, 4]``, ``"question"`` ``[2]`` int (kind, subject) and ``"answer"`` int, as in ``data.vqa``.
    Its ``hints`` have ``"objective"`` and ``"subjective"``, attention of each patch, and ``"valid"``, ``[tokens]``.
    """

    config: FaSemComConfig
    modality: ClassVar[str] = "answers"
    knobs: ClassVar[Mapping[str, Knob]] = {"alpha": Knob(0.5, 0.0, 1.0), "beta": Knob(1.0, 0.0, 8.0)}
    """Share of the objective attention, and how much stronger what is looked at is sent; 0: average power."""
    reports: ClassVar[tuple[str, ...]] = ("top_share",)

    def _answerer(self) -> PatchAnswerer:
        return PatchAnswerer(len(KINDS) * len(SUBJECTS), len(ANSWERS), self.config.width)

    def init(self, key: jax.Array, num_uavs: int | None = None) -> dict:
        """Draws parameters: ``projection`` with ``mean`` and ``deviation`` of the patches, and the answerer's."""
        c = self.config
        key, of_answerer = jax.random.split(phy.stream_key(key, phy.Stream.INIT))
        tokens = (1, c.num_patches)
        inputs = jnp.zeros((*tokens, c.num_features)), jnp.zeros((*tokens, 4)), jnp.ones(tokens, bool)
        answerer = self._answerer().init(of_answerer, *inputs, jnp.zeros(1, jnp.int32))["params"]
        kernel = jax.random.normal(key, (c.patch_size, c.num_features)) * c.patch_size**-0.5
        projection = {"kernel": kernel, "mean": jnp.zeros(c.patch_size), "deviation": jnp.ones(c.patch_size)}
        return {"projection": projection, "answerer": answerer}

    def start(self, params: dict, data: Any, seed: int) -> dict:
        """As ``Trained.start``: mean and deviation of the training pictures' patches, ``data`` ``[n, patch_size]``."""
        data = jnp.asarray(data, jnp.float32)
        known = {"mean": data.mean(axis=0), "deviation": data.std(axis=0) + 1e-3}
        return params | {"projection": params["projection"] | known}

    def frames(self) -> tuple[int, int]:
        """As ``Scheme.frames``: patches, and the symbols of one."""
        c = self.config
        symbols = c.num_features // 2 if c.transmission == "analog" else c.bits_of_patch() // c.bits_per_symbol
        return c.num_patches, symbols

    def encode(self, params: dict, source: Source, key: jax.Array, knobs: Mapping[str, Any]) -> Encoded:
        """Projects the patches; the numbers of each have mean square 1.

        Raises:
            ValueError: if the patches are not of the configured shape, or a hint is missing.
        """
        c, patches = self.config, source.data["patches"]
        if patches.ndim != 4 or patches.shape[2:] != (c.num_patches, c.patch_size):
            wanted = f"[batch, num_uavs, {c.num_patches}, {c.patch_size}]"
            raise ValueError(f"Source.data['patches'] must be {wanted}, got {patches.shape}")
        for name in ("objective", "subjective", "valid"):
            shape = getattr(source.hints.get(name), "shape", None)
            if shape != patches.shape[:3]:
                raise ValueError(f"Source.hints[{name!r}] must be {patches.shape[:3]}, got {shape}")
        mean, deviation = (params["projection"][n].reshape(1, 1, 1, -1) for n in ("mean", "deviation"))
        features = ((patches - mean) / deviation) @ params["projection"]["kernel"]
        features *= jax.lax.rsqrt(jnp.mean(features**2, axis=-1, keepdims=True) + _LEAST)
        question = source.data["question"][..., 0] * len(SUBJECTS) + source.data["question"][..., 1]
        objective, subjective, valid = (source.hints[name] for name in ("objective", "subjective", "valid"))
        valid, places = valid > 0, source.data["places"]
        if c.slices == "grid":
            valid, known = jnp.ones_like(valid), grid_places(np.array(_QUADRANTS, np.float32)).reshape(1, 1, -1, 4)
            places = jnp.broadcast_to(known, places.shape)
        return Encoded(features, valid, objective, subjective, places, question)

    def modulate(self, params: dict, encoded: Encoded, point: OperatingPoint) -> Sent:
        """Symbols of power 1 beside each patch's power, whose mean over the patches that are sent is 1."""
        c, lead, valid = self.config, encoded.features.shape[:2], encoded.valid
        alpha, beta = (per_link(point.knobs[name], lead) for name in ("alpha", "beta"))
        levels = attention_levels(fuse(encoded.objective, encoded.subjective, alpha), valid, c.norm)
        scope = (*lead, 1, -1) if c.power_scope == "sent" else (*lead, -1, WINDOW)
        shared = levels.reshape(scope), beta[..., None], valid.reshape(scope)
        power = allocate_power(*shared).reshape(levels.shape)
        tells = {"features": encoded.features, "levels": levels, "power": power, "valid": valid}
        if c.transmission == "analog":
            symbols = phy.features_to_symbols(encoded.features) * math.sqrt(0.5)
        else:
            bits = quantize(encoded.features, c.quantizer, c.num_bits)
            symbols, tells["bits"] = phy.qam_map(bits, c.bits_per_symbol), bits
        top = (levels == NUM_LEVELS) & valid
        tells["top_share"] = top.sum(-1) / jnp.maximum(valid.sum(-1), 1)
        side_bits = jnp.sum(valid.sum(-1) * _LEVEL_BITS + (c.question_bits or _QUESTION_BITS), axis=-1)
        places = encoded.places
        if c.slices == "told":
            there = valid.reshape(*lead, -1, WINDOW)[:, :, 1:].any(-1)
            places, side_bits = as_told(places), side_bits + jnp.sum(1 + there * _PLACE_BITS, axis=(-2, -1))
        side = Side(levels, valid, places, encoded.question)
        return Sent(Signal(Frames(symbols, valid), power=power), side, side_bits, tells)

    def decode(self, params: dict, received: Received, side: Side, point: OperatingPoint) -> Estimate:
        """Scores of the answers, ``[batch, num_uavs, num_answers]``, from the features that arrived."""
        c = self.config
        if c.transmission == "analog":
            symbols = received.symbols / (1 + received.no_eff)
            features, tells = phy.symbols_to_features(symbols) * math.sqrt(2), {}
        else:
            bits = (phy.qam_llr(received.symbols, received.no_eff, c.bits_per_symbol, "maxlog") > 0).astype(jnp.int32)
            features, lost = dequantize(bits, c.quantizer, c.num_bits)
            tells = {"bits": bits, "lost": lost}
        features = jnp.where(side.valid[..., None], features, 0.0)
        return Estimate(self.answer(params, features, side), tells | {"features": features})

    def answer(self, params: dict, features: jax.Array, side: Side) -> jax.Array:
        """The answerer's scores; an answerer of levels gets them in the features' place."""
        if self.config.sees == "levels":
            steps = jnp.arange(1, NUM_LEVELS + 1).reshape((1,) * side.levels.ndim + (-1,))
            told = (side.levels[..., None] == steps).astype(features.dtype)
            features = jnp.pad(told, [(0, 0)] * side.levels.ndim + [(0, features.shape[-1] - NUM_LEVELS)])
        inputs = (a.reshape(-1, *a.shape[2:]) for a in (features, side.places, side.valid, side.question))
        scores = self._answerer().apply({"params": params["answerer"]}, *inputs)
        return jnp.asarray(scores).reshape(*features.shape[:2], -1)

    def stages(self) -> tuple[Stage, ...]:
        """As ``Scheme.stages``: projection and answerer, end to end."""
        return (Stage("system", answer_loss, _learns),)


def as_told(places: jax.Array) -> jax.Array:
    """Places ``[..., tokens, 4]`` as the receiver knows them: a window's corner and side are told, 10 bits each.

    It has as great a part of the picture's width as of its height.
    """
    windows = places.reshape(*places.shape[:-2], -1, WINDOW, 4)
    start, end = windows[..., :2].min(-2), windows[..., 2:].max(-2)
    start, side = (jnp.round(a * _STEPS) / _STEPS for a in (start, (end - start).max(-1, keepdims=True)))
    return jnp.asarray(grid_places(jnp.concatenate([start, start + side], axis=-1))).reshape(places.shape)


def _learns(name: str) -> bool:
    return not name.endswith(("projection/mean", "projection/deviation"))
