"""Captioners: what says in words what a picture shows, before the link."""

import dataclasses
import functools
import os
from typing import Any, ClassVar, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.config import from_dict
from lvm_mtc.data.captions import Vocabulary
from lvm_mtc.data.grammar import describe, facts_of
from lvm_mtc.knowledge.base import unit_pictures
from lvm_mtc.knowledge.blip import load_blip_captioner
from lvm_mtc.knowledge.own import own_function
from lvm_mtc.models.captioner import CaptionerConfig, say, see
from lvm_mtc.models.cifar_resnet import IMAGE_SIZE
from lvm_mtc.models.weights import SHIPPED, load_described

CAPTIONER_WEIGHTS = SHIPPED / "captioner.npz"
_BATCH, _BLIP = 50, "blip:"


class Captioner(Protocol):
    """Runs on the host, and may call anything; one that wants pictures of one size says so by ``image_size``."""

    name: str

    def __call__(self, images: np.ndarray) -> list[str]:
        """A sentence for each picture of ``[n, height, width, 3]`` float32 in [0, 1]."""


@dataclasses.dataclass(frozen=True, eq=False)
class GrammarCaptioner:
    """An oracle: it is told the classes, which no transmitter knows; colours are those of the pixels.

    Attributes:
        labels: Of the pictures that it will be asked for, in their order, ``[n]``.
    """

    labels: np.ndarray
    name: str = "oracle"

    def __call__(self, images: np.ndarray) -> list[str]:
        """As :class:`Captioner`; ``ValueError`` for another number of pictures than labels."""
        if len(images) != len(self.labels):
            raise ValueError(f"GrammarCaptioner.labels are of {len(self.labels)} pictures, got {len(images)}")
        pixels = np.round(np.clip(unit_pictures(images), 0, 1) * 255).astype(np.uint8)
        return describe(facts_of(pixels, self.labels))


@dataclasses.dataclass(frozen=True, eq=False)
class LearnedCaptioner:
    """The trained one: it sees pixels only.

    Attributes:
        config: Of the decoder.
        params: ``{"resnet": ..., "decoder": ...}``.
    """

    config: CaptionerConfig
    params: Any
    name: str = "learned"
    image_size: ClassVar[int] = IMAGE_SIZE

    def __call__(self, images: np.ndarray) -> list[str]:
        """As :class:`Captioner`, for CIFAR-10's 32 x 32 pixels."""
        words, images = Vocabulary(self.config.words), unit_pictures(images)
        padded = np.concatenate([images, np.zeros((-len(images) % _BATCH, *images.shape[1:]))]).astype(np.float32)
        numbers = [_say(self.config, self.params, part) for part in padded.reshape(-1, _BATCH, *padded.shape[1:])]
        return words.decode(np.concatenate([np.asarray(part) for part in numbers])[: len(images)])


@functools.partial(jax.jit, static_argnums=0)
def _say(config: CaptionerConfig, params: Any, images: jax.Array) -> jax.Array:
    return say(config, params["decoder"], see(params["resnet"], images))


def load_captioner(place: str | os.PathLike = CAPTIONER_WEIGHTS) -> Captioner:
    """A captioner: the shipped weights or another such file, ``"blip:PATH"``, or ``"module:function"``.

    PATH is the folder of a BLIP model, or its file of weights with ``vocab.txt`` beside it.

    Raises:
        FileNotFoundError: if there is no such weights file.
        ValueError: if it is not a captioner's, or there is no such function.
    """
    if str(place).startswith(_BLIP):
        return load_blip_captioner(str(place).removeprefix(_BLIP))
    if ":" in str(place):
        return own_function("captioner", str(place))
    params, config, _ = load_described(place, "captioner", "captioner")
    return LearnedCaptioner(from_dict(CaptionerConfig, config, where="captioner"), jax.tree.map(jnp.asarray, params))
