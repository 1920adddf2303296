"""Words as vectors, and the words that name ImageNet's classes: what links a task text with an image classifier."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np

# Words of a task text that say nothing about the object.
_NOT_THE_OBJECT = frozenset("photo photos picture pictures image images find show locate look".split())

# Arora, Liang, Ma, A Simple but Tough-to-Beat Baseline for Sentence Embeddings (2017): weight a / (a + frequency).
_SMOOTHING = 1e-3


class WordVectorError(ValueError):
    """A file of word vectors that cannot be used. The message is one line: the file and the reason."""


class ImagenetClasses(NamedTuple):
    """The 1000 classes in their usual order.

    Attributes:
        names: One English name each.
        kinds: Common nouns that cover a class, such as ``("dog",)`` for a breed; often none.
    """

    names: tuple[str, ...]
    kinds: tuple[tuple[str, ...], ...]


@dataclasses.dataclass(frozen=True, eq=False)
class WordVectors:
    """Vectors of words, the most frequent word first.

    Attributes:
        index: Number of each word.
        vectors: ``[num_words, width]`` float32 of unit length, their common mean removed: it dominates the raw ones.
    """

    index: dict[str, int]
    vectors: np.ndarray

    def known(self, text: str) -> list[str]:
        """The words of a text that have a vector and may name an object, in lower case."""
        words = re.findall(r"[a-z]+", text.lower())
        return [word for word in words if word in self.index and word not in _NOT_THE_OBJECT]

    def embed(self, words: Iterable[str]) -> np.ndarray | None:
        """Mean of known words' vectors, frequent words counting less: ``[width]`` float32 of unit length, None of none.

        A word of rank r has the frequency 1 / (r log n) (Zipf) and the weight 1e-3 / (1e-3 + frequency).
        """
        numbers = np.array([self.index[word] for word in words], dtype=np.int64)
        if not numbers.size:
            return None
        frequency = 1 / ((numbers + 1) * np.log(len(self.index) + 1))
        total = (_SMOOTHING / (_SMOOTHING + frequency)) @ self.vectors[numbers]
        return _unit(total).astype(np.float32)


def read_word_vectors(path: str | os.PathLike) -> WordVectors:
    """Reads word vectors, for example GloVe's, made comparable by their cosine.

    Args:
        path: npz archive with ``words`` (byte strings, the most frequent first) and ``vec`` ``[num_words, width]``.

    Raises:
        FileNotFoundError: if there is no such file.
        WordVectorError: if it is damaged or its arrays do not fit.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file of word vectors {path}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            words, vectors = archive["words"], archive["vec"].astype(np.float64)
    except Exception as error:  # A damaged archive raises whatever its parser stumbles over.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WordVectorError(f"{path}: is no readable archive of words and vec: {reason}") from error
    if words.dtype.kind != "S" or vectors.ndim != 2 or words.shape != vectors.shape[:1] or not words.size:
        raise WordVectorError(
            f"{path}: words {words.dtype} {words.shape} and vec {vectors.shape} do not fit: expected byte strings [n] "
            "and [n, width]"
        )
    if not np.isfinite(vectors).all():
        raise WordVectorError(f"{path}: vec holds a number that is not finite")
    index = {}
    for number, word in enumerate(words.tolist()):
        index.setdefault(word.decode("utf-8", "replace"), number)
    return WordVectors(index, _unit(vectors - vectors.mean(axis=0)).astype(np.float32))


def imagenet_classes() -> ImagenetClasses:
    """The names that ship with the library (``weights/imagenet_classes.json``, with their source and licence)."""
    file = resources.files("lvm_mtc") / "weights" / "imagenet_classes.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    kinds = [[] for _ in content["names"]]
    for kind, ranges in content["kinds"].items():
        for first, last in ranges:
            for number in range(first, last + 1):
                kinds[number].append(kind)
    return ImagenetClasses(tuple(content["names"]), tuple(map(tuple, kinds)))


def class_vectors(words: WordVectors, classes: ImagenetClasses | None = None) -> np.ndarray:
    """One vector per class (None: ImageNet's): the mean of the words of its name and of its kinds.

    ``[num_classes, width]`` float32 of unit length; zeros for a class none of whose words is known.
    """
    classes = imagenet_classes() if classes is None else classes
    table = np.zeros((len(classes.names), words.vectors.shape[1]), np.float32)
    for row, name, kinds in zip(table, classes.names, classes.kinds, strict=True):
        # What stands in brackets explains the name, or gives another.
        phrases = (re.sub(r"\(.*\)", "", name), *kinds)
        parts = [part for part in (words.embed(words.known(phrase)) for phrase in phrases) if part is not None]
        if parts:
            row[:] = _unit(np.sum(parts, axis=0))
    return table


def _unit(x: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(x, axis=-1, keepdims=True)
    return x / np.where(norm > 0, norm, 1)
