"""From a picture and a question to what is sent: patches, attention, slices (FA-SemCom, Sec. 4 and 5)."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.data.word_vectors import WordVectors
from lvm_mtc.knowledge.attention import Saliency, patch_weights, slice_windows, spectral_residual, subjective_map
from lvm_mtc.knowledge.base import unit_pictures
from lvm_mtc.knowledge.keywords import extract_keywords
from lvm_mtc.knowledge.matching import THRESHOLD, Match, match_labels
from lvm_mtc.models.detection import Detections
from lvm_mtc.models.patch_features import PICTURE, encode_patches, grid_places
from lvm_mtc.models.yolox import COCO_CLASSES, Yolox

_WHOLE = np.array([0, 0, 1, 1], np.float32)
_BATCH = 8


class Seen(NamedTuple):
    """A picture as the transmitter sees it.

    Attributes:
        image: ``[192, 320, 3]`` in [0, 1].
        patches: ``[60, patch_size]``.
        boxes: Of what was detected, ``[n, 4]``, (x, y, w, h), centre, over the picture's sides.
        labels: Their names in COCO.
        saliency: ``[192, 320]``.
    """

    image: np.ndarray
    patches: np.ndarray
    boxes: np.ndarray
    labels: tuple[str, ...]
    saliency: np.ndarray


class Asked(NamedTuple):
    """What a question makes of a picture.

    Attributes:
        match: What it is about.
        attention: Subjective map, ``[192, 320]``, 0 without a match.
        windows: Of the picture that are sent, the whole first, ``[slices, 4]``.
        objective: Attention of their patches, ``[slices, 60]``.
        subjective: Likewise.
    """

    match: Match
    attention: np.ndarray
    windows: np.ndarray
    objective: np.ndarray
    subjective: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class PatchEncoder:
    """Patch features and objects of pictures, a few at a time."""

    network: Yolox

    @functools.cached_property
    def _encode(self) -> Callable:
        arrays = jax.tree.map(jnp.asarray, self.network.graph.arrays)
        encode = jax.jit(lambda arrays, images: encode_patches(self.network, arrays, images))
        return functools.partial(encode, arrays)

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, Detections]:
        """As ``models.patch_features.encode_patches``, for ``[n, 192, 320, 3]``, as NumPy arrays."""
        parts = []
        for start in range(0, len(images), _BATCH):
            batch = np.float32(images[start : start + _BATCH])
            padded = np.concatenate([batch, np.zeros((_BATCH - len(batch), *batch.shape[1:]), np.float32)])
            parts.append(jax.tree.map(np.asarray, self._encode(padded)))
        return jax.tree.map(lambda *arrays: np.concatenate(arrays)[: len(images)], *parts)


def see(encoder: PatchEncoder, images: np.ndarray, *, saliency: Saliency = spectral_residual) -> list[Seen]:
    """Features, objects and saliency of pictures ``[n, 192, 320, 3]`` in [0, 1]."""
    images = np.asarray(unit_pictures(images))
    sides, seen = np.array([PICTURE[1], PICTURE[0]] * 2, np.float32), []
    patches, objects = encoder(images)
    for image, features, boxes, labels, valid, salient in zip(
        images, patches, objects.boxes, objects.labels, objects.valid, saliency(images), strict=True
    ):
        names = tuple(COCO_CLASSES[label] for label in labels[valid])
        seen.append(Seen(image, features, boxes[valid] / sides, names, salient))
    return seen


def encode_windows(encoder: PatchEncoder, images: Sequence[np.ndarray], windows: Sequence[np.ndarray]) -> np.ndarray:
    """Patch features ``[n, 60, patch_size]`` of a window of each picture ``[192, 320, 3]``, brought to its size."""
    crops = [_crop(image, window) for image, window in zip(images, windows, strict=True)]
    return encoder(np.stack(crops))[0]


def ask(
    seen: Seen,
    question: str,
    words: WordVectors,
    *,
    slices: str = "base",
    threshold: float | None = THRESHOLD,
    every: bool = False,
    reduce: str = "mean",
    blur: float = 0.0,
) -> Asked:
    """Keywords, what they match of what was detected, its map, and the windows that are sent.

    The options are those of ``attention`` and of ``match_labels``.
    """
    keywords = [keyword.text for keyword in extract_keywords(question)]
    match = match_labels(keywords, seen.labels, words, threshold=threshold, every=every)
    boxes = seen.boxes[[label in match.labels for label in seen.labels]] if seen.labels else seen.boxes
    height, width = PICTURE
    attention = subjective_map(boxes * np.array([width, height] * 2), height, width, blur=blur)
    windows = np.concatenate([_WHOLE[None], slice_windows(slices, boxes)])
    places = grid_places(windows).reshape(-1, 4)
    weights = (patch_weights(m, places, reduce=reduce).reshape(len(windows), -1) for m in (seen.saliency, attention))
    return Asked(match, attention, windows, *(np.float32(np.maximum(w, 0)) for w in weights))


def _crop(image: np.ndarray, window: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    left, top, right, bottom = (window * [width, height, width, height]).round().astype(int)
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    return np.asarray(jax.image.resize(image[top:bottom, left:right], image.shape, "linear"))
