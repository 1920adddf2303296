"""BLIP as a captioner, from its public weights, which do not come with the library."""

import dataclasses
import functools
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.config import require_number
from lvm_mtc.data.resizing import resize_image
from lvm_mtc.data.word_pieces import WordPieces, read_word_pieces
from lvm_mtc.interop.blip_weights import load_blip
from lvm_mtc.knowledge.base import unit_pictures
from lvm_mtc.models.blip import BLIP_VARIANTS, BlipVariant, caption
from lvm_mtc.models.clip import normalize_pixels

_END = "[SEP]"
_BATCH = 4


@dataclasses.dataclass(frozen=True, eq=False)
class BlipCaptioner:
    """Sees pictures of any size, squeezed to squares as its published preprocessing does.

    Attributes:
        sizes: Of the network.
        params: Of ``models.blip.Blip``.
        words: BERT's vocabulary: all tokens but the last two, ``[DEC]`` and ``[ENC]``.
        prompt: What every caption begins with; it is not repeated in the caption.
        max_length: As the next two of ``models.blip.caption``; start and prompt count.
    """

    sizes: BlipVariant
    params: Any
    words: WordPieces
    prompt: str = ""
    max_length: int = 20
    min_length: int = 0
    repetition_penalty: float = 1.0
    name: str = "blip"

    def __post_init__(self):
        require_number("BlipCaptioner", "repetition_penalty", self.repetition_penalty, 0.0, strict=True)
        count, wanted = len(self.words.pieces), self.sizes.vocab_size - 2
        if count != wanted or _END not in self.words.numbers:
            raise ValueError(f"BlipCaptioner.words must be {wanted} pieces with {_END} among them, got {count}")

    @property
    def image_size(self) -> int:
        """Side of the squares that it sees, pixels."""
        return self.sizes.image_size

    def __call__(self, images: np.ndarray) -> list[str]:
        """As ``knowledge.captioners.Captioner``."""
        pixels = squeezed(images, self.image_size)
        padded = np.concatenate([pixels, np.zeros((-len(pixels) % _BATCH, *pixels.shape[1:]), np.uint8)])
        start = np.array([self.sizes.start_token, *self.words.encode(self.prompt)], np.int32)
        rules = (self.words.numbers[_END], self.max_length, self.min_length, self.repetition_penalty)
        parts = padded.reshape(-1, _BATCH, *pixels.shape[1:])
        tokens = np.concatenate([np.asarray(_say(self.sizes, rules, self.params, part, start)) for part in parts])
        tokens = tokens[: len(pixels), len(start) :]
        return [self.words.decode(row) for row in tokens.tolist()]


@functools.partial(jax.jit, static_argnums=(0, 1))
def _say(sizes: BlipVariant, rules: tuple, params: Any, pixels: jax.Array, start: jax.Array) -> jax.Array:
    end_token, max_length, min_length, penalty = rules
    return caption(
        sizes, params, normalize_pixels(pixels.astype(jnp.float32) / 255), start, end_token=end_token,
        max_length=max_length, min_length=min_length, repetition_penalty=penalty,
    )  # fmt: skip


def squeezed(images: np.ndarray, size: int) -> np.ndarray:
    """Pictures ``[n, height, width, 3]`` in [0, 1] as 8-bit squares ``[n, size, size, 3]``, bicubic, as BLIP's are."""
    levels = np.round(np.clip(unit_pictures(images), 0, 1) * 255).astype(np.uint8)
    return np.stack([resize_image(picture, size, kernel="bicubic") for picture in levels])


def load_blip_captioner(
    weights: str | os.PathLike,
    vocabulary: str | os.PathLike | None = None,
    *,
    variant: str | BlipVariant | None = None,
    **options: Any,
) -> BlipCaptioner:
    """BLIP from a file of weights, or the folder of a model.

    Args:
        weights: As ``interop.blip_weights.load_blip`` reads them; likewise ``variant``.
        vocabulary: BERT's uncased ``vocab.txt``; None: the one beside the weights.
        **options: Further fields of :class:`BlipCaptioner`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not what it should be.
    """
    if not Path(weights).exists():
        raise FileNotFoundError(f"there is no folder or file {weights}")
    folder = Path(weights) if Path(weights).is_dir() else Path(weights).parent
    words = read_word_pieces(folder / "vocab.txt" if vocabulary is None else vocabulary)
    found, params = load_blip(weights, variant=variant)
    sizes = BLIP_VARIANTS[found] if isinstance(found, str) else found
    return BlipCaptioner(sizes, jax.tree.map(jnp.asarray, params), words, **options)
