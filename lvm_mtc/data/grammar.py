"""Captions of CIFAR-10 pictures by a grammar: ``a brown dog on a green background``. NumPy only."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lvm_mtc.data.captions import split_words
from lvm_mtc.data.colours import COLOURS, main_colours

CLASS_WORDS = ("airplane", "car", "bird", "cat", "deer", "dog", "animal", "horse", "ship", "truck")
"""Word of each class, in label order, of those that the shipped text transceiver knows: it knows no frog."""
UNSAID = -1


class Facts(NamedTuple):
    """What captions say, ``[n]`` int each; ``UNSAID`` where they do not.

    Attributes:
        label: Class, a place in ``CLASS_WORDS``.
        fore: Colour of the object, a place in ``COLOURS``.
        back: Colour behind it.
    """

    label: np.ndarray
    fore: np.ndarray
    back: np.ndarray


def facts_of(pictures: np.ndarray, labels: np.ndarray) -> Facts:
    """Facts of pictures ``[n, height, width, 3]`` uint8 with labels ``[n]``: colours from the pixels."""
    return Facts(np.asarray(labels, np.int64), *main_colours(pictures))


def describe(facts: Facts) -> list[str]:
    """A sentence each; all facts must be said."""
    return [
        f"{_with_article(COLOURS[fore])} {CLASS_WORDS[label]} on {_with_article(COLOURS[back])} background"
        for label, fore, back in zip(*facts, strict=True)
    ]


def understand(texts: Sequence[str]) -> Facts:
    """What sentences say: the first class named, the last colour named before it, the first one after it.

    A sentence that names no class has the colour before its first ``on`` and the one after it.
    """
    rows = [_understood(split_words(text)) for text in texts]
    return Facts(*np.array(rows, np.int64).reshape(-1, 3).T)


def _understood(words: list[str]) -> tuple[int, int, int]:
    places = [i for i, word in enumerate(words) if word in CLASS_WORDS]
    label = CLASS_WORDS.index(words[places[0]]) if places else UNSAID
    middle = places[0] if places else words.index("on") if "on" in words else len(words)
    before, after = ([COLOURS.index(w) for w in part if w in COLOURS] for part in (words[:middle], words[middle:]))
    return label, before[-1] if before else UNSAID, after[0] if after else UNSAID


def _with_article(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
