"""A picture and a sentence over a link as pooled tokens; what receives them answers the sentence's question.

A device is a UAV of the link and has slots of its own: the uplink of K devices is ``broadcast`` with one channel each.
A token is a frame of ``width / 2`` symbols. Tokens of each modality are averaged over windows of ``2^log2_window``, so
one network serves all lengths. The receiver is told the window and the number of words.

Source: the problem of task-oriented multimodal token transmission (arXiv 2505.07841), of which the abstract was at
hand: pooling by sliding windows, alignment before fine-tuning, the length against the task's loss. Encoders, fusion
and questions are ours.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from lvm_mtc import phy
from lvm_mtc.config import require_count, require_one_of
from lvm_mtc.data.presence import NUM_WORDS
from lvm_mtc.link import Frames, OperatingPoint, Received, Signal, per_link
from lvm_mtc.models.feature_quantizer import dequantize, quantize
from lvm_mtc.models.multimodal import Alignment, Fusion, TokenEncoder, pool_windows, unit_tokens
from lvm_mtc.schemes.multimodal.losses import align_loss, answer_loss
from lvm_mtc.schemes.scheme import Estimate, Knob, Params, Sent, Source, Stage

SEES = ("both", "picture", "question")
LARGEST_WINDOW = 16
NUM_BITS = 8
"""Of a token's number, where tokens go as bits; a token has mean square 1 and needs no scale."""
_SIDE_BITS = (LARGEST_WINDOW.bit_length() - 1).bit_length() + math.ceil(math.log2(NUM_WORDS + 1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class MultimodalConfig:
    """Shapes; every field is static under ``jit``.

    Attributes:
        rows: Of a picture's places.
        columns: Of a picture's places.
        place_width: Numbers of a place before the encoder.
        word_width: Numbers of a word's vector.
        width: Numbers of a token, two to a complex symbol; a multiple of 4.
        depth: Blocks of the fusion.
        sees: What the fusion looks at: ``"both"``, or as controls only one modality.
    """

    rows: int = 4
    columns: int = 4
    place_width: int = 128
    word_width: int = 50
    width: int = 64
    depth: int = 2
    sees: str = "both"

    def __post_init__(self):
        for field in ("rows", "columns", "place_width", "word_width", "width", "depth"):
            require_count("MultimodalConfig", field, getattr(self, field))
        require_one_of("MultimodalConfig", "sees", self.sees, SEES)
        if self.width % 4:
            raise ValueError(f"MultimodalConfig.width must be a multiple of 4, got {self.width}")

    @property
    def num_places(self) -> int:
        """Places of a picture."""
        return self.rows * self.columns


class Encoded(NamedTuple):
    """Tokens before pooling, ``[batch, num_uavs, places + words, width]``, and which there are."""

    tokens: jax.Array
    valid: jax.Array


@dataclasses.dataclass(frozen=True)
class Multimodal:
    """The scheme; all devices share the parameters.

    A source's ``data`` has, by name and leading ``[batch, num_uavs]``: ``"picture"`` ``[places, place_width]``,
    ``"words"`` ``[NUM_WORDS, word_width]``, ``"words_valid"`` ``[NUM_WORDS]`` bool and ``"answer"`` int, 0 or 1. For
    alignment its ``hints`` have ``"described"`` and ``"described_valid"``, another sentence of the same shapes.
    """

    config: MultimodalConfig
    modality: ClassVar[str] = "presence"
    knobs: ClassVar[Mapping[str, Knob]] = {"log2_window": Knob(0.0, 0.0, math.log2(LARGEST_WINDOW))}
    """Binary logarithm of the tokens that are averaged, rounded."""
    reports: ClassVar[tuple[str, ...]] = ("num_tokens",)

    @functools.partial(jax.jit, static_argnums=(0, 2))
    def init(self, key: jax.Array, num_uavs: int | None = None) -> Params:
        """As ``Scheme.init``: ``encoder``, ``fusion`` and ``alignment``."""
        c = self.config
        keys = jax.random.split(phy.stream_key(key, phy.Stream.INIT), 3)
        picture, words = jnp.zeros((1, c.num_places, c.place_width)), jnp.zeros((1, NUM_WORDS, c.word_width))
        tokens = jnp.zeros((1, self.frames()[0], c.width))
        inputs = {
            "encoder": (picture, words), "fusion": (tokens, jnp.ones(tokens.shape[:2], bool), c.num_places),
            "alignment": (tokens[:, 0], tokens[:, 0]),
        }  # fmt: skip
        modules = self._modules()
        return {name: modules[name].init(key, *inputs[name])["params"] for name, key in zip(inputs, keys, strict=True)}

    def frames(self) -> tuple[int, int]:
        """As ``Scheme.frames``: tokens without pooling."""
        return self.config.num_places + NUM_WORDS, self.config.width // 2

    def encode(self, params: Params, source: Source, key: jax.Array, knobs: Mapping[str, Any]) -> Encoded:
        """As ``Scheme.encode``."""
        c, data = self.config, source.data
        for name, shape in (("picture", (c.num_places, c.place_width)), ("words", (NUM_WORDS, c.word_width))):
            if data[name].shape[2:] != shape:
                raise ValueError(f"Source.data[{name!r}] must be [batch, num_uavs, {shape[0]}, {shape[1]}], got "
                                 f"{data[name].shape}")  # fmt: skip
        tokens = self._apply("encoder", params, data["picture"], data["words"])
        valid = jnp.ones(data["picture"].shape[:3], bool), data["words_valid"]
        return Encoded(jnp.concatenate(list(tokens.values()), axis=2), jnp.concatenate(valid, axis=2))

    def pooled(self, encoded: Encoded, log2_window: Any) -> tuple[jax.Array, jax.Array]:
        """Tokens of mean square 1 as they are sent, and which there are; shapes as in ``Encoded``."""
        window = jnp.exp2(jnp.round(per_link(log2_window, encoded.valid.shape[:2])))
        places = self.config.num_places
        parts = [pool_windows(encoded.tokens[:, :, part], encoded.valid[:, :, part], window)
                 for part in (slice(places), slice(places, None))]  # fmt: skip
        tokens, valid = (jnp.concatenate(both, axis=2) for both in zip(*parts, strict=True))
        return unit_tokens(tokens), valid

    @property
    def token_bits(self) -> int:
        """Bits of a token of :meth:`as_bits`."""
        return self.config.width * NUM_BITS

    def as_bits(self, encoded: Encoded, log2_window: Any) -> tuple[jax.Array, jax.Array]:
        """Pooled tokens as bits, ``[batch, num_uavs, places + words, token_bits]``, and which there are."""
        tokens, valid = self.pooled(encoded, log2_window)
        return quantize(tokens, num_bits=NUM_BITS), valid

    def from_bits(self, bits: jax.Array) -> jax.Array:
        """Tokens from bits, as :meth:`answer` takes them."""
        return dequantize(bits, num_bits=NUM_BITS)[0]

    def modulate(self, params: Params, encoded: Encoded, point: OperatingPoint) -> Sent:
        """As ``Scheme.modulate``: two numbers a symbol, of power 1."""
        tokens, valid = self.pooled(encoded, point.knobs["log2_window"])
        frames = Frames(phy.features_to_symbols(tokens) * math.sqrt(0.5), valid)
        bits = jnp.full(valid.shape[:1], float(valid.shape[1] * _SIDE_BITS))
        counted = valid.sum(-1).astype(jnp.float32)
        return Sent(Signal(frames), valid, bits, {"num_tokens": counted, "tokens_sent": tokens, "valid": valid})

    def decode(self, params: Params, received: Received, side: jax.Array, point: OperatingPoint) -> Estimate:
        """As ``Scheme.decode``: scores of "no" and "yes", ``[batch, num_uavs, 2]``."""
        tokens = phy.symbols_to_features(received.symbols / (1 + received.no_eff)) * math.sqrt(2)
        tokens = jnp.where(side[..., None], tokens, 0)
        return Estimate(self.answer(params, tokens, side), {"tokens": tokens, "valid": side})

    def answer(self, params: Params, tokens: jax.Array, valid: jax.Array) -> jax.Array:
        """Scores from tokens, however they came, shapes as in ``Encoded``."""
        c, lead = self.config, tokens.shape[:2]
        if c.sees != "both":
            first = jnp.arange(valid.shape[-1]) < c.num_places
            valid = valid & (first if c.sees == "picture" else ~first).reshape(1, 1, -1)
        flat = (a.reshape(lead[0] * lead[1], *a.shape[2:]) for a in (tokens, valid))
        return self._apply("fusion", params, *flat, c.num_places).reshape(*lead, -1)

    def align(self, params: Params, tells: Mapping[str, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Received pictures and sentences as points, ``[batch * num_uavs, width]``, and the factor of products."""
        places, means = self.config.num_places, []
        for part in (slice(places), slice(places, None)):
            tokens, valid = tells["tokens"][:, :, part], tells["valid"][:, :, part, None]
            mean = jnp.sum(tokens, axis=2) / jnp.maximum(jnp.sum(valid, axis=2), 1)
            means.append(mean.reshape(-1, mean.shape[-1]))
        return self._apply("alignment", params, *means)

    def stages(self) -> tuple[Stage, ...]:
        """As ``Scheme.stages``: alignment, then the task; the second does alone."""
        return Stage("align", align_loss), Stage("task", answer_loss)

    def _modules(self) -> dict[str, Any]:
        c = self.config
        encoder = TokenEncoder(c.width, (c.rows, c.columns))
        return {"encoder": encoder, "fusion": Fusion(c.width, c.depth), "alignment": Alignment(c.width)}

    def _apply(self, name: str, params: Params, *inputs: Any) -> Any:
        return self._modules()[name].apply({"params": params[name]}, *inputs)
