"""A scheme over coded bits: the label of each symbol's point through an LDPC code and QAM, with soft posteriors."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc import phy
from lvm_mtc.config import require_count, require_number, require_one_of
from lvm_mtc.link import Frames, OperatingPoint, Received
from lvm_mtc.models.vector_quantizer import index_bits, index_posterior, indices_to_bits
from lvm_mtc.phy import coding
from lvm_mtc.phy.constellation import label_order, nearest_point
from lvm_mtc.schemes.constellation.scheme import (
    Constellation,
    ConstellationConfig,
    as_equalized,
    complex_of,
    moments,
)
from lvm_mtc.schemes.scheme import Estimate, Params, Sent, Stage

_SCRAMBLE = 7


@dataclasses.dataclass(frozen=True, kw_only=True)
class CodedConfig(ConstellationConfig):
    """Shapes; every field is static under ``jit``.

    Attributes:
        bits_per_symbol: Of the QAM on air: 2, 4, 6 or 8.
        rate: Of the LDPC code, above 1/5 (1/3 for words of many bits), below 1; 1: uncoded.
        frames_per_word: Frames of the other scheme whose bits make a word of the code; divides their number.
        num_iter: Of the layered decoder.
    """

    bits_per_symbol: int = 4
    rate: float = 0.5
    frames_per_word: int = 1
    num_iter: int = 15

    def __post_init__(self):
        super().__post_init__()
        require_one_of("CodedConfig", "bits_per_symbol", self.bits_per_symbol, phy.BITS_PER_SYMBOL)
        require_number("CodedConfig", "rate", self.rate, 0.0, strict=True, most=1.0)
        for field in ("frames_per_word", "num_iter"):
            require_count("CodedConfig", field, getattr(self, field))


@dataclasses.dataclass(frozen=True)
class Coded(Constellation):
    """Another scheme's symbols as bits over any link with an unbiased equaliser.

    Each symbol becomes the label of the point next to it, its index in binary; labels of whole words go through the
    code, are scrambled and sent as QAM of power 1. The receiver takes the decoder's soft bits for a posterior of the
    points, so that a word that fails still says what its bits say. Parameters are those of ``Constellation``, whose
    gain there is no need for. No gradient passes the decisions: what is before them is trained elsewhere.
    """

    config: CodedConfig

    @property
    def num_bits(self) -> int:
        """Of a word before the code."""
        config = self.config
        return config.frames_per_word * self.inner.frames()[1] * index_bits(config.num_points)

    @property
    def num_coded(self) -> int:
        """Bits of a word on air, whole symbols."""
        each = self.config.bits_per_symbol
        return math.ceil(round(self.num_bits / self.config.rate, 6) / each) * each

    @property
    def code(self) -> coding.LdpcCode | None:
        """None: uncoded.

        Raises:
            ValueError: if there is no code of these lengths.
        """
        if self.config.rate == 1:
            return None
        try:
            return coding.LdpcCode(self.num_bits, self.num_coded, self.config.bits_per_symbol)
        except ValueError as error:
            raise ValueError(
                f"CodedConfig.rate {self.config.rate:g} for words of {self.num_bits} bits: {error}"
            ) from None

    def frames(self) -> tuple[int, int]:
        """As ``Scheme.frames``: words, and the symbols of one.

        Raises:
            ValueError: if the frames do not fill whole words.
        """
        num_frames, each = self.inner.frames()[0], self.config.frames_per_word
        if num_frames % each:
            raise ValueError(f"CodedConfig.frames_per_word must divide the {num_frames} frames, got {each}")
        return num_frames // each, self.num_coded // self.config.bits_per_symbol

    def modulate(self, params: dict, encoded: Any, point: OperatingPoint) -> Sent:
        """QAM of the coded labels, power 1 on average over scrambled bits; side information is the other scheme's.

        A word is sent if one of its frames is.

        Raises:
            ValueError: if a word would have frames of different power, place or audience.
        """
        sent = self.inner.modulate(params["scheme"], encoded, point)
        signal = sent.signal
        mixed = (signal.public, signal.turns, signal.power)
        if self.config.frames_per_word > 1 and any(part is not None for part in mixed):
            raise ValueError(
                f"CodedConfig.frames_per_word must be 1 where scheme {self.config.scheme!r} has public frames, powers "
                f"or turns of its own, got {self.config.frames_per_word}"
            )
        points = complex_of(params["book"]["points"])
        private = self._words(signal.private, points)
        public = None if signal.public is None else self._words(signal.public, points)
        return sent._replace(signal=signal._replace(private=private, public=public))

    def _words(self, frames: Frames, points: jax.Array) -> Frames:
        count, each = self.frames()[0], self.config.bits_per_symbol
        lead = frames.symbols.shape[:-2]
        index = nearest_point(jax.lax.stop_gradient(frames.symbols), points)
        bits = indices_to_bits(index, self.config.num_points).reshape(*lead, count, -1)
        if (code := self.code) is None:
            bits = jnp.pad(bits, [(0, 0)] * (bits.ndim - 1) + [(0, self.num_coded - self.num_bits)])
        else:
            bits = coding.ldpc_encode(bits, code)
        symbols = phy.qam_map(bits ^ self._scramble(bits.ndim), each, frames.symbols.dtype)
        return Frames(symbols, frames.sent.reshape(*lead, count, -1).any(-1))

    def decode(self, params: dict, received: Received, side: Any, point: OperatingPoint) -> Estimate:
        """What the other scheme makes of the moments of its symbols under the posterior of their bits."""
        book, (num_frames, length) = params["book"], self.inner.frames()
        llr = phy.qam_llr(received.symbols, received.no_eff, self.config.bits_per_symbol)
        llr = llr * (1 - 2.0 * self._scramble(llr.ndim))
        if (code := self.code) is None:
            llr = llr[..., : self.num_bits]
        else:
            llr = jnp.asarray(coding.ldpc_decode(llr, code, num_iter=self.config.num_iter))
        llr = llr.reshape(*llr.shape[:2], num_frames, length, index_bits(self.config.num_points))
        likely = index_posterior(llr, book["log_use"])
        return self.inner.decode(params["scheme"], as_equalized(*moments(likely, book)), side, point)

    def stages(self) -> tuple[Stage, ...]:
        """None: nothing is trained through decisions."""
        return ()

    def _scramble(self, num_axes: int) -> np.ndarray:
        return coding.scrambling(self.num_coded, _SCRAMBLE).reshape((1,) * (num_axes - 1) + (-1,))


def as_coded(over: Constellation, params: Params, **code: Any) -> tuple[Coded, Params]:
    """A scheme over a fitted constellation as one over coded bits, its points labelled anew.

    Args:
        over: Of ``training.constellation.fit_constellation``.
        params: Its parameters.
        code: Fields of ``CodedConfig`` beside those of ``over``.

    Returns:
        The scheme, and its parameters: labels of points are such that one wrong bit costs little.
    """
    config = over.config
    fields: Mapping[str, Any] = dict(scheme=config.scheme, config=config.config, num_points=config.num_points)
    book = params["book"]
    order = label_order(complex_of(book["points"]), np.exp(np.float64(book["log_use"])))
    return Coded(CodedConfig(**fields, **code)), params | {"book": {name: part[order] for name, part in book.items()}}
