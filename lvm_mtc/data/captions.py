"""Sentences as numbers of words: reading, the vocabulary, and a packed file for training. NumPy only."""

import collections
import gzip
import os
import re
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lvm_mtc.data.files import reason

_WORD = re.compile(r"[a-z]+|\d+")


class Vocabulary(NamedTuple):
    """Words that can be sent; word ``i`` has number ``i + 1``, for 0 is no word and fills sentences up.

    Attributes:
        words: Lower case, the commonest first.
    """

    words: tuple[str, ...]

    @property
    def size(self) -> int:
        """How many numbers there are, 0 included."""
        return len(self.words) + 1

    def encode(self, sentences: Sequence[Sequence[str]], num_words: int) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the sentences' words.

        Args:
            sentences: Words, as :func:`split_words` gives them.
            num_words: Words of the longest sentence that is taken.

        Returns:
            Sentences that have words, no more than ``num_words``, and known ones only, filled up with 0,
            ``[n, num_words]`` int32; and which those are, ``[len(sentences)]`` bool.
        """
        number = {word: i for i, word in enumerate(self.words, start=1)}
        found = [[number.get(word, 0) for word in sentence] for sentence in sentences]
        kept = np.array([0 < len(row) <= num_words and 0 not in row for row in found], bool)
        rows = [row + [0] * (num_words - len(row)) for row, keep in zip(found, kept, strict=True) if keep]
        return np.array(rows, np.int32).reshape(-1, num_words), kept

    def decode(self, numbers: np.ndarray) -> list[str]:
        """Sentences of ``[n, num_words]`` numbers, words with spaces between; each ends before its first 0."""
        table = np.array(("", *self.words), object)
        return [" ".join(table[row[: len_of(row)]]) for row in np.asarray(numbers)]


def len_of(numbers: np.ndarray) -> np.ndarray:
    """Words before the first 0, ``[..., num_words]`` to ``[...]`` int."""
    return np.cumprod(np.asarray(numbers) > 0, axis=-1).sum(-1)


def split_words(sentence: str) -> list[str]:
    """Runs of the letters a to z, in lower case, and runs of digits; all else only separates them."""
    return _WORD.findall(sentence.lower())


def read_sentences(path: str | os.PathLike) -> list[str]:
    """Lines of a text file in UTF-8, plain or ``.gz``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not such a file, or has no line with a word in it.
    """
    path = Path(path)
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8-sig") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no text file {path}") from None
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise ValueError(f"{path} is not a text file in UTF-8: {reason(error)}") from error
    if not any(map(split_words, lines)):
        raise ValueError(f"{path} holds no words")
    return lines


def commonest_words(sentences: Iterable[Sequence[str]], count: int) -> Vocabulary:
    """The ``count`` commonest words; of equally common ones those that stand first in the alphabet."""
    counts = collections.Counter(word for sentence in sentences for word in sentence)
    return Vocabulary(tuple(sorted(counts, key=lambda word: (-counts[word], word))[:count]))


class PackedSentences(NamedTuple):
    """A packed corpus, numbers of words ``[n, num_words]`` uint16, 0 behind each sentence.

    Attributes:
        words: The vocabulary's, ``[vocabulary size - 1]`` text.
        sentences: What is trained on.
        holdout_sentences: What choices are made by.
        test_sentences: What is reported. No sentence of the two held-out sets is trained on.
        total: How many sentences each of the three files sets had before those were left out that have too few, too
            many or unknown words, ``[3]``.
    """

    words: np.ndarray
    sentences: np.ndarray
    holdout_sentences: np.ndarray
    test_sentences: np.ndarray
    total: np.ndarray


def pack_sentences(
    train: Sequence[str], holdout: Sequence[str], test: Sequence[str], *, num_words: int, fewest: int, vocabulary: int
) -> PackedSentences:
    """Makes a vocabulary of the training sentences and packs what can be said with it.

    Args:
        train: Sentences to learn from; likewise the others.
        num_words: Words of the longest sentence that is taken.
        fewest: Words of the shortest one.
        vocabulary: Its size, 0 included.
    """
    parts = [[words for line in part if len(words := split_words(line)) >= fewest] for part in (train, holdout, test)]
    known = commonest_words(parts[0], vocabulary - 1)
    learned, *held = (known.encode(part, num_words)[0].astype(np.uint16) for part in parts)
    secret = {row.tobytes() for part in held for row in part}
    learned = learned[[row.tobytes() not in secret for row in learned]]
    return PackedSentences(np.array(known.words), learned, *held, np.array([len(train), len(holdout), len(test)]))


def load_sentences(path: str | os.PathLike) -> PackedSentences:
    """Reads what ``np.savez(path, **packed._asdict())`` wrote; ``ValueError`` for any other file."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            packed = PackedSentences(*(archive[name] for name in PackedSentences._fields))
    except FileNotFoundError:
        hint = "experiments/text/pack_captions.py makes one"
        raise ValueError(f"{path}: there is no such file of packed sentences; {hint}") from None
    except Exception as error:
        raise ValueError(f"{path} is not a file of packed sentences: {reason(error)}") from error
    if packed.words.ndim != 1 or packed.words.dtype.kind != "U":
        raise ValueError(f"{path}: words must be [n] text, got {packed.words.shape} {packed.words.dtype}")
    for name in PackedSentences._fields[1:4]:
        rows = getattr(packed, name)
        if rows.ndim != 2 or rows.dtype != np.uint16 or (rows.size and rows.max() > len(packed.words)):
            wanted = f"[n, num_words] uint16 up to {len(packed.words)}"
            raise ValueError(f"{path}: {name} must be {wanted}, got {rows.shape} {rows.dtype}")
    if not len(packed.sentences):
        raise ValueError(f"{path}: holds no sentences to learn from")
    return packed
