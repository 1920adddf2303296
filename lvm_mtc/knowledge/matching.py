"""Which of the detected labels a question is about: keywords and labels as word vectors (FA-SemCom, Eq. 4-8)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lvm_mtc.data.word_vectors import WordVectors

THRESHOLD = 0.65
"""On vectors without their common mean (``read_word_vectors``): right pairs lie above, "weather" and "traffic light"
at 0.58, "pedestrians" and "bus" at 0.61 below."""


class Match(NamedTuple):
    """What a question is about.

    Attributes:
        labels: The matching labels, the best first; empty where none is near enough.
        keyword: Of the best pair; empty without labels.
        similarity: Its cosine; of the best pair of all where none is near enough, NaN where no word is known.
        note: Why there is no match, one line; empty otherwise.
    """

    labels: tuple[str, ...]
    keyword: str
    similarity: float
    note: str = ""


def match_labels(
    keywords: Sequence[str],
    labels: Sequence[str],
    words: WordVectors,
    *,
    threshold: float | None = THRESHOLD,
    every: bool = False,
) -> Match:
    """The label of the best pair of a keyword and a label, by the cosine of their words' mean vectors.

    Args:
        keywords: Whatever their scores: Eq. 6 asks the vectors alone.
        labels: Those that were detected.
        threshold: Smallest cosine of a match; None: the best pair always matches, as printed.
        every: All labels that reach the threshold, instead of the best one.
    """
    of_keywords, of_labels = ({text: v for text in texts if (v := _mean(text, words)) is not None}
                              for texts in (dict.fromkeys(keywords), dict.fromkeys(labels)))  # fmt: skip
    if not of_keywords or not of_labels:
        missing = "no keyword has a word that is known" if labels else "nothing was detected"
        return Match((), "", float("nan"), missing)
    cosines = np.stack(list(of_keywords.values())) @ np.stack(list(of_labels.values())).T
    best, names = cosines.max(axis=0), list(of_labels)
    order = np.argsort(-best, kind="stable")
    least = -np.inf if threshold is None else threshold
    top = float(best[order[0]])
    if top < least:
        return Match((), "", top, f"the nearest label, {names[order[0]]!r}, has cosine {top:.2f} < {least:g}")
    near = [names[i] for i in order if best[i] >= least] if every else [names[order[0]]]
    return Match(tuple(near), list(of_keywords)[int(cosines[:, order[0]].argmax())], top)


def _mean(text: str, words: WordVectors) -> np.ndarray | None:
    """Mean vector of a text's known words, of unit length; None where none is known."""
    numbers = [words.index[word] for word in text.lower().replace("-", " ").split() if word in words.index]
    if not numbers:
        return None
    mean = words.vectors[numbers].mean(axis=0)
    norm = float(np.linalg.norm(mean))
    return mean / norm if norm > 0 else None
