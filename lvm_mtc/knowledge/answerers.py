"""Answerers behind the link: what says in words what was asked, such as a language model of your own."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from lvm_mtc.knowledge.own import own_function, sentences


class Answerer(Protocol):
    """Runs on the host behind the link, and may call anything; nothing of it is sent."""

    name: str

    def __call__(self, features: np.ndarray, valid: np.ndarray, questions: Sequence[str]) -> list[str]:
        """An answer to each of n questions.

        Args:
            features: Of the patches, as they arrived, ``[n, tokens, num_features]`` float32.
            valid: Patches that were sent, ``[n, tokens]`` bool.
            questions: In words.
        """


def load_answerer(place: str) -> Answerer:
    """The function at ``"module:function"``; ``ValueError`` where there is none."""
    return own_function("answerer", place)


class AskedOnce:
    """An answerer that is asked once about each different input: noise that changed nothing costs nothing."""

    def __init__(self, answerer: Answerer):
        self.name, self._answerer = answerer.name, answerer
        self._known: dict[tuple[bytes, bytes, str], str] = {}

    def __call__(self, features: np.ndarray, valid: np.ndarray, questions: Sequence[str]) -> list[str]:
        """As :class:`Answerer`; ``ValueError`` where it gives no text for each question."""
        asked = [(f.tobytes(), v.tobytes(), q) for f, v, q in zip(features, valid, questions, strict=True)]
        new = [n for n, one in enumerate(asked) if one not in self._known and one not in asked[:n]]
        if new:
            said = sentences(self._answerer, len(new), features[new], valid[new], [questions[n] for n in new])
            self._known |= {asked[n]: text for n, text in zip(new, said, strict=True)}
        return [self._known[one] for one in asked]
