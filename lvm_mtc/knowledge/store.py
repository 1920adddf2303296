"""A knowledge base of sentences: found by their words, with times, merged, aged, and fused with what was decoded.

Keys are TF-IDF over a vocabulary of word numbers; entries are immutable, and so is a store. NumPy only.

Source of the keys: Salton and Buckley, Term-weighting approaches in automatic text retrieval (1988), with the smoothed
inverse document frequency ln((1 + N) / (1 + n)) + 1.
"""

import dataclasses
import functools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np


class Entry(NamedTuple):
    """What a store holds: ``words`` are numbers >= 1, ``time`` is in seconds of any clock that all sides share."""

    id: int
    words: tuple[int, ...]
    time: float = 0.0


class Found(NamedTuple):
    """Places of the best entries, best first, and their cosines, ``[queries, k]``; -1 and 0 where there are too few."""

    places: np.ndarray
    scores: np.ndarray


@dataclasses.dataclass(frozen=True)
class KnowledgeStore:
    """Sentences that one side knows.

    Attributes:
        entries: Of different ids, ascending.
        vocabulary: Numbers of words, 0, which is no word, included.
    """

    entries: tuple[Entry, ...]
    vocabulary: int

    @staticmethod
    def of(entries: Iterable[Entry], vocabulary: int) -> "KnowledgeStore":
        """A store of entries, of which the newest of an id counts, and of equally new ones that of larger words.

        Raises:
            ValueError: if a word is not in 1 ... vocabulary - 1, an entry has none, or a time is not finite.
        """
        newest: dict[int, Entry] = {}
        for entry in entries:
            if not entry.words or not all(1 <= word < vocabulary for word in entry.words):
                raise ValueError(f"entry {entry.id}: words must be 1 ... {vocabulary - 1}, got {entry.words!r}")
            if not math.isfinite(entry.time):
                raise ValueError(f"entry {entry.id}: time must be finite, got {entry.time!r}")
            held = newest.get(entry.id)
            if held is None or (entry.time, entry.words) > (held.time, held.words):
                newest[entry.id] = entry
        return KnowledgeStore(tuple(newest[id] for id in sorted(newest)), vocabulary)

    def merge(self, other: "KnowledgeStore") -> "KnowledgeStore":
        """What both know, of an id the newest; the order of the two does not matter."""
        if other.vocabulary != self.vocabulary:
            raise ValueError(f"stores of vocabularies {self.vocabulary} and {other.vocabulary} cannot be merged")
        return KnowledgeStore.of((*self.entries, *other.entries), self.vocabulary)

    def aged(self, now: float, max_age: float) -> "KnowledgeStore":
        """Without entries that are older than ``max_age`` at ``now``, both seconds; one of that very age stays."""
        young = (entry for entry in self.entries if now - entry.time <= max_age)
        return KnowledgeStore(tuple(young), self.vocabulary)

    def newer_than(self, other: "KnowledgeStore") -> tuple[Entry, ...]:
        """What a side that has ``other`` must be sent to know what this one does."""
        held = {entry.id: (entry.time, entry.words) for entry in other.entries}
        return tuple(e for e in self.entries if e.id not in held or (e.time, e.words) > held[e.id])

    @property
    def index_bits(self) -> int:
        """Bits of an entry's place, for ``fuse_index``: ceil(log2 of the number of entries)."""
        return math.ceil(math.log2(len(self.entries))) if self.entries else 0

    def search(self, queries: Sequence[Sequence[int]] | np.ndarray, k: int) -> Found:
        """The ``k`` entries of the largest cosine between TF-IDF keys, exactly; of equal ones the smaller id.

        Args:
            queries: Numbers of words; 0 is none.
            k: >= 1.
        """
        if k < 1:
            raise ValueError(f"KnowledgeStore.search: k must be at least 1, got {k!r}")
        places = np.full((len(queries), k), -1)
        scores = np.zeros((len(queries), k))
        for row, query in enumerate(queries):
            cosines = self.scores(query)
            best = np.argsort(-cosines, kind="stable")[:k]
            places[row, : len(best)], scores[row, : len(best)] = best, cosines[best]
        return Found(places, scores)

    def scores(self, query: Sequence[int]) -> np.ndarray:
        """Cosines of a query's key and those of all entries, ``[entries]``, rounded to 12 digits; 0 without words."""
        words, counts = np.unique([word for word in query if 0 < word < self.vocabulary], return_counts=True)
        weights = counts * self._rarity[words.astype(int)] if len(words) else np.zeros(0)
        found = np.zeros(len(self.entries))
        for word, weight in zip(words.astype(int), weights / (np.linalg.norm(weights) or 1.0), strict=True):
            where = slice(*self._postings.starts[word : word + 2])
            found[self._postings.entries[where]] += weight * self._postings.weights[where]
        return np.round(found, 12)

    @functools.cached_property
    def _rarity(self) -> np.ndarray:
        """Inverse document frequency of each word, ``[vocabulary]``."""
        holding = np.zeros(self.vocabulary)
        for entry in self.entries:
            holding[list(set(entry.words))] += 1
        return np.log((1 + len(self.entries)) / (1 + holding)) + 1

    @functools.cached_property
    def _postings(self) -> "_Postings":
        words, entries, weights = [], [], []
        for place, entry in enumerate(self.entries):
            of, counts = np.unique(entry.words, return_counts=True)
            key = counts * self._rarity[of]
            words.append(of)
            entries.append(np.full(len(of), place))
            weights.append(key / np.linalg.norm(key))
        joined = [np.concatenate(parts) if parts else np.zeros(0) for parts in (words, entries, weights)]
        order = np.argsort(joined[0], kind="stable")
        starts = np.searchsorted(joined[0][order], np.arange(self.vocabulary + 1))
        return _Postings(starts, joined[1][order].astype(int), joined[2][order])


class _Postings(NamedTuple):
    """For each word from ``starts[word]`` to ``starts[word + 1]`` the entries that have it, and its weight there."""

    starts: np.ndarray
    entries: np.ndarray
    weights: np.ndarray


def store_words(store: KnowledgeStore, found: Found) -> np.ndarray:
    """How likely each word is after the entries that were found: cosines shared out over their words.

    Returns:
        ``[queries, vocabulary]`` >= 0, each row of sum 1 or, where nothing was found, 0.
    """
    likely = np.zeros((len(found.places), store.vocabulary))
    for row, (places, scores) in enumerate(zip(found.places, found.scores, strict=True)):
        for place, score in zip(places, scores, strict=True):
            if place >= 0 and score > 0:
                words = store.entries[place].words
                np.add.at(likely[row], list(words), score / len(words))
    total = likely.sum(-1, keepdims=True)
    return likely / np.where(total > 0, total, 1)


def fuse_words(log_p: np.ndarray, likely: np.ndarray, weight: float, floor: float = 1e-4) -> np.ndarray:
    """Scores of words with what a store knows: log p + ``weight`` log(p of the store), closed form, nothing learned.

    Args:
        log_p: ``[queries, num_words, vocabulary]``, log probabilities of the decoder.
        likely: ``[queries, vocabulary]``, from :func:`store_words`; a row of zeros changes nothing.
        weight: >= 0; 0 changes nothing.
        floor: Probability of words that the store did not name.

    Returns:
        Scores of the shape of ``log_p``, not normalised. 0, which is no word, keeps its score relative to the likeliest
        word of the store: a sentence's length is the decoder's to say.
    """
    if not weight >= 0:
        raise ValueError(f"fuse_words: weight must be >= 0, got {weight!r}")
    known = (likely.sum(-1) > 0) & (weight > 0)
    prior = np.log(np.maximum(likely, floor))
    prior[..., 0] = prior[..., 1:].max(-1)
    gain = np.where(known[..., None], weight * prior, 0.0)
    return np.where(known[..., None, None], log_p + gain[..., None, :], log_p)


def fuse_index(store: KnowledgeStore, places: np.ndarray, weight: float, log_p: np.ndarray) -> np.ndarray:
    """:func:`fuse_words` with the one entry whose place the sender found with the clean sentence, and sent.

    It costs ``store.index_bits`` beside the symbols; ``places [queries]`` is -1 where none was sent.
    """
    found = Found(np.asarray(places)[:, None], (np.asarray(places) >= 0).astype(float)[:, None])
    return fuse_words(log_p, store_words(store, found), weight)
