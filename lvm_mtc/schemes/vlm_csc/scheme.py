"""The text transceiver of VLM-CSC as a scheme: each word is a frame of symbols, and a sentence's words are sent.

The receivers are told how many words there are, which takes ``ceil(log2 num_words)`` bits beside the symbols instead of
the symbols of a word that ends the sentence.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from lvm_mtc import phy
from lvm_mtc.config import require_count, require_one_of
from lvm_mtc.link import Frames, OperatingPoint, Received, Signal, per_link
from lvm_mtc.models.conditioned import normalize
from lvm_mtc.models.receivers import unit_power
from lvm_mtc.schemes.scheme import Estimate, Sent, Source, Stage
from lvm_mtc.schemes.vlm_csc.losses import WORD_LOSSES, text_loss
from lvm_mtc.schemes.vlm_csc.network import GAINS, Layers, Perceptron, word_positions

DECODERS = ("parallel", "autoregressive")
_NEVER = -1e9
_CHANNEL_HIDDEN = (256, 128)


@dataclasses.dataclass(frozen=True, kw_only=True)
class VlmCscConfig:
    """Shapes and rules; every field is static under ``jit``.

    Attributes:
        vocabulary: Numbers of words, 0, which is no word, included.
        num_words: Words of the longest sentence.
        num_symbols: Complex symbols of a word; 64 are the 128 real outputs that the paper prints.
        width: Features of a word.
        depth: Transformer layers of the semantic encoder, and of its decoder.
        num_heads: Attention heads; divides the width.
        hidden: Width inside the layers' MLPs; the paper gives none.
        decoder: ``"parallel"``: all words at once, one from each received word; ``"autoregressive"``: one after the
            other, each from all that was received and the words before it, as in the paper.
        noise_attention: ``"gain"``, ``"literal"`` (as printed) or ``"none"``, see ``NoiseAttention``.
    """

    vocabulary: int = 3000
    num_words: int = 16
    num_symbols: int = 8
    width: int = 128
    depth: int = 3
    num_heads: int = 8
    hidden: int = 512
    decoder: str = "parallel"
    noise_attention: str = "gain"

    def __post_init__(self):
        for field in ("num_words", "num_symbols", "width", "depth", "num_heads", "hidden"):
            require_count("VlmCscConfig", field, getattr(self, field))
        require_count("VlmCscConfig", "vocabulary", self.vocabulary, least=2)
        require_one_of("VlmCscConfig", "decoder", self.decoder, DECODERS)
        require_one_of("VlmCscConfig", "noise_attention", self.noise_attention, tuple(GAINS))
        if self.width % (2 * self.num_heads):
            wanted = f"a multiple of twice VlmCscConfig.num_heads {self.num_heads}"
            raise ValueError(f"VlmCscConfig.width must be {wanted}, got {self.width}")


@dataclasses.dataclass(frozen=True)
class VlmCsc:
    """The transceiver over a link; all UAVs share the parameters, both ends the words' embedding."""

    config: VlmCscConfig
    modality: ClassVar[str] = "text"
    knobs: ClassVar[Mapping[str, Any]] = {}
    reports: ClassVar[tuple[str, ...]] = ()

    def _networks(self) -> dict[str, Any]:
        c, gain = self.config, GAINS[self.config.noise_attention]
        layers = Layers(c.depth, c.num_heads, c.hidden / c.width, gain)
        return {
            "encoder": layers,
            "channel_encoder": Perceptron(_CHANNEL_HIDDEN, 2 * c.num_symbols, gain),
            "channel_decoder": Perceptron(_CHANNEL_HIDDEN[::-1], c.width, gain),
            "decoder": layers,
        }

    def _apply(self, params: dict, name: str, *args: Any) -> jax.Array:
        return self._networks()[name].apply({"params": params[name]}, *args)

    def init(self, key: jax.Array, num_uavs: int | None = None) -> dict:
        """Draws parameters: ``embedding [vocabulary, width]``, and those of the four networks by their names."""
        c = self.config
        key, *keys = jax.random.split(phy.stream_key(key, phy.Stream.INIT), 5)
        x, valid, snr_db = jnp.zeros((1, c.num_words, c.width)), jnp.ones((1, c.num_words), bool), jnp.zeros(1)
        memory = (x,) if c.decoder == "autoregressive" else ()
        inputs = {
            "encoder": (x, valid, snr_db),
            "channel_encoder": (x, snr_db),
            "channel_decoder": (jnp.zeros((1, c.num_words, 2 * c.num_symbols)), snr_db),
            "decoder": (x, valid, snr_db, *memory),
        }
        networks = {
            name: network.init(its_key, *inputs[name])["params"]
            for its_key, (name, network) in zip(keys, self._networks().items(), strict=True)
        }
        return {"embedding": jax.random.normal(key, (c.vocabulary, c.width)) * c.width**-0.5} | networks

    def frames(self) -> tuple[int, int]:
        """As ``Scheme.frames``: words, and the symbols of one."""
        return self.config.num_words, self.config.num_symbols

    def encode(self, params: dict, source: Source, key: jax.Array, knobs: Mapping[str, Any]) -> jax.Array:
        """The numbers of the words themselves, for all of the encoder is told the SNR.

        Raises:
            ValueError: if the sentences are not of the configured length.
        """
        words, length = source.data, self.config.num_words
        if words.ndim != 3 or words.shape[-1] != length:
            raise ValueError(f"words must be [batch, num_uavs, {length}], got {words.shape}")
        return words

    def modulate(self, params: dict, encoded: jax.Array, point: OperatingPoint) -> Sent:
        """Symbols of average power 1 over the words of each sentence; beside them the number of words."""
        lead, valid = encoded.shape[:2], encoded > 0
        words, snr_db = encoded.reshape(-1, encoded.shape[-1]), per_link(point.snr_db, lead).reshape(-1)
        x = self._apply(params, "encoder", self._embed(params, words), words > 0, snr_db)
        features = self._apply(params, "channel_encoder", x, snr_db)
        symbols, _ = unit_power(phy.features_to_symbols(features).reshape(*encoded.shape, -1), valid)
        length = valid.sum(-1, dtype=jnp.int32)
        bits = lead[1] * math.ceil(math.log2(self.config.num_words))
        return Sent(Signal(Frames(symbols, valid)), length, jnp.full(lead[:1], float(bits)))

    def features(self, params: dict, words: jax.Array, snr_db: jax.Array) -> jax.Array:
        """Mean over words of what the semantic encoder gives, ``[n, width]``, at ``snr_db [n]``."""
        valid = words > 0
        x = self._apply(params, "encoder", self._embed(params, words), valid, snr_db)
        return jnp.where(valid[..., None], x, 0).sum(1) / valid.sum(1, keepdims=True)

    def decode(self, params: dict, received: Received, side: jax.Array, point: OperatingPoint) -> Estimate:
        """Scores of the words from the symbols, their variances, and how many words there are, ``side``.

        An autoregressive decoder takes the best word at each place (greedy search). The parallel one tells what it
        makes of each word, ``"understood" [batch, num_uavs, num_words, width]``, from which :meth:`say` has the scores.
        """
        heard, valid, snr_db = self._hear(params, received, side, point)
        if self.config.decoder == "parallel":
            understood = self._apply(params, "decoder", heard, valid, snr_db).reshape(*side.shape, *heard.shape[1:])
            return Estimate(self.say(params, understood, side), {"understood": understood})

        def say(words: jax.Array, i: jax.Array) -> tuple[jax.Array, jax.Array]:
            scores = self._scores(params, heard, valid, snr_db, words)[:, i]
            return words.at[:, i].set(jnp.argmax(scores, axis=-1).astype(words.dtype)), scores

        _, scores = jax.lax.scan(say, jnp.zeros(valid.shape, jnp.int32), jnp.arange(valid.shape[-1]))
        return Estimate(jnp.moveaxis(scores, 0, 1).reshape(*side.shape, valid.shape[-1], -1))

    def scores(
        self, params: dict, received: Received, side: jax.Array, point: OperatingPoint, words: jax.Array | None = None
    ) -> jax.Array:
        """Scores ``[batch, num_uavs, num_words, vocabulary]`` in one pass.

        ``words [batch, num_uavs, num_words]`` are what an autoregressive decoder takes for the words before each; the
        parallel one asks for none.
        """
        heard, valid, snr_db = self._hear(params, received, side, point)
        before = None if words is None else words.reshape(valid.shape)
        scores = self._scores(params, heard, valid, snr_db, before)
        return scores.reshape(*side.shape, *scores.shape[1:])

    def say(self, params: dict, understood: jax.Array, side: jax.Array) -> jax.Array:
        """Scores ``[..., num_words, vocabulary]`` of what a decoder makes of each word; ``side [...]`` is how many.

        No word has a score above that of any where there are words, and it alone is sure where there are none.
        """
        scores = normalize(understood) @ params["embedding"].T
        place, word = (jax.lax.broadcasted_iota(jnp.int32, scores.shape, scores.ndim + axis) for axis in (-2, -1))
        return jnp.where((place < side[..., None, None]) == (word == 0), _NEVER, scores)

    def stages(self) -> tuple[Stage, ...]:
        """As ``Scheme.stages``: the paper's alternation, channel codec and semantic codec, or both end to end."""

        def stage(name: str, trainable=None) -> Stage:
            return Stage(name, text_loss, trainable, {"word_loss": WORD_LOSSES})

        of_channel = lambda name: name.startswith("channel")  # noqa: E731
        return stage("channel", of_channel), stage("semantic", lambda name: not of_channel(name)), stage("system")

    def _embed(self, params: dict, words: jax.Array) -> jax.Array:
        return params["embedding"][words] * self.config.width**0.5 + self._positions()

    def _positions(self) -> jax.Array:
        return jnp.asarray(word_positions(self.config.num_words, self.config.width))

    def _hear(self, params: dict, received: Received, side: jax.Array, point: OperatingPoint) -> tuple:
        """What the channel decoder makes of the symbols, ``[n, num_words, width]``, which words there are, the SNR."""
        lead, num_words = side.shape, self.config.num_words
        valid = jnp.arange(num_words)[None] < side.reshape(-1, 1)
        shrunk = phy.symbols_to_features(received.symbols / (1 + received.no_eff)).reshape(*valid.shape, -1)
        snr_db = per_link(point.snr_db, lead).reshape(-1)
        heard = self._apply(params, "channel_decoder", jnp.where(valid[..., None], shrunk, 0.0), snr_db)
        return heard + self._positions(), valid, snr_db

    def _scores(self, params, heard, valid, snr_db, words) -> jax.Array:
        if self.config.decoder == "parallel":
            x = self._apply(params, "decoder", heard, valid, snr_db)
        else:
            before = jnp.pad(words[:, :-1], [(0, 0), (1, 0)])
            x = self._apply(params, "decoder", self._embed(params, before), valid, snr_db, heard)
        return self.say(params, x, valid.sum(-1))
