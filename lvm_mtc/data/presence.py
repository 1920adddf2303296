"""Questions of presence, "is there a dog in the picture", that neither a picture nor a question alone can answer."""

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lvm_mtc.data.packing import load_arrays, save_arrays
from lvm_mtc.data.voc import VOC_CLASSES

_NAMES = {
    "aeroplane": "plane",
    "diningtable": "table",
    "motorbike": "motorcycle",
    "pottedplant": "plant",
    "sofa": "couch",
    "tvmonitor": "television",
}
NAMES = tuple(_NAMES.get(name, name) for name in VOC_CLASSES)
"""VOC's classes in one word each."""
NUM_WORDS = 16
"""Words of a sentence at most."""


class PackedPresence(NamedTuple):
    """Pictures, each encoded once, with sentences about them.

    Attributes:
        features: Of each picture's places, row by row, ``[pictures, places, width]`` float16.
        present: Which of ``NAMES`` a picture shows, ``[pictures, 20]`` bool.
        words: Vectors of the words that occur, ``[vocabulary, word_width]`` float32.
        asked: Words of the question about each class, ``[20, NUM_WORDS]`` int32; -1: none.
        described: Words of a sentence that says what a picture shows, ``[pictures, NUM_WORDS]`` int32; -1: none.
        question: Picture, class, and whether it is there, ``[n, 3]`` int32.
    """

    features: np.ndarray
    present: np.ndarray
    words: np.ndarray
    asked: np.ndarray
    described: np.ndarray
    question: np.ndarray


def question_of(name: str) -> str:
    """The question about a class."""
    return f"is there a {name} in the picture"


def description_of(present: np.ndarray) -> str:
    """A sentence that names the first four classes that are there, ``present [20]`` bool."""
    return " next to ".join(f"a {NAMES[i]}" for i in np.flatnonzero(present)[:4]) or "a picture"


def crossed_questions(present: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Questions in fours: picture i shows a and not b, picture j shows b and not a; both are asked about both.

    So each picture has as many "yes" as "no", and each class, and who sees only one of them is right half of the time.

    Args:
        present: Which classes each picture shows, ``[pictures, classes]`` bool.
        count: How many fours.
        seed: Of the draws: a and b uniformly over the classes that occur, then pictures that show them.

    Returns:
        Picture, class and whether it is there, ``[4 count, 3]`` int32.

    Raises:
        ValueError: if no two pictures differ so.
    """
    differ = present[:, None, :] & ~present[None, :, :]
    if not np.any(differ.any(-1) & differ.any(-1).T):
        raise ValueError("crossed_questions: no two pictures show a class each that the other one does not show")
    rng, found = np.random.default_rng(seed), []
    pictures = [np.flatnonzero(column) for column in present.T]
    classes = np.flatnonzero([len(of) > 0 for of in pictures])
    while len(found) < 4 * count:
        a, b = rng.choice(classes, 2, replace=False)
        i, j = rng.choice(pictures[a]), rng.choice(pictures[b])
        if not present[i, b] and not present[j, a]:
            found += [(i, a, 1), (j, b, 1), (i, b, 0), (j, a, 0)]
    return np.array(found, np.int32)


def words_of(sentences: Sequence[str], numbers: dict[str, int]) -> np.ndarray:
    """Sentences as numbers of words, ``[sentences, NUM_WORDS]`` int32, -1 behind their end; grows ``numbers``.

    Raises:
        ValueError: for a sentence of more words.
    """
    found = np.full((len(sentences), NUM_WORDS), -1, np.int32)
    for row, sentence in zip(found, sentences, strict=True):
        words = sentence.split()
        if len(words) > NUM_WORDS:
            raise ValueError(f"sentence {sentence!r} has {len(words)} words, more than {NUM_WORDS}")
        row[: len(words)] = [numbers.setdefault(word, len(numbers)) for word in words]
    return found


def load_presence(path: str | os.PathLike) -> PackedPresence:
    """Reads what ``save_presence`` wrote; ``ValueError`` for another file."""
    packed = PackedPresence(*load_arrays(path, PackedPresence._fields, "packed questions of presence"))
    pictures = len(packed.features)
    if packed.features.ndim != 3 or len(packed.present) != pictures or packed.described.shape != (pictures, NUM_WORDS):
        raise ValueError(f"{path}: features {packed.features.shape} and the other arrays do not fit")
    return packed


def save_presence(path: str | os.PathLike, packed: PackedPresence) -> None:
    """Writes packed questions, uncompressed."""
    save_arrays(path, packed._asdict())
