"""BERT's tokenizer of uncased text: words in lower case without accents, cut into the longest pieces of a vocabulary.

The vocabulary does not come with the library: it is the ``vocab.txt`` beside a model's weights, one piece a line.

Source: Devlin et al., BERT (2019); Wu et al., Google's Neural Machine Translation System (2016), section 4.1.
"""

from __future__ import annotations

import functools
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from lvm_mtc.data.files import reason

UNKNOWN, SPECIAL = "[UNK]", ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""Piece of a word that cannot be cut, and pieces that are no text; what reads like one is one."""

_LONGEST_WORD = 100
_SPECIAL = re.compile("|".join(map(re.escape, SPECIAL)))
_CHINESE = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip


class WordPieces:
    """Text to numbers of pieces and back, as transformers' ``BertTokenizer``, which lowers one letter at a time."""

    def __init__(self, pieces: Sequence[str]):
        """Of all pieces, in the order of their numbers; those within a word begin with ``##``.

        Raises:
            ValueError: if ``[UNK]`` is not among them, or one stands there twice.
        """
        self.pieces = tuple(pieces)
        self.numbers = {piece: number for number, piece in enumerate(self.pieces)}
        if len(self.numbers) < len(self.pieces):
            twice = next(piece for number, piece in enumerate(pieces) if self.numbers[piece] != number)
            raise ValueError(f"pieces must differ, got {twice!r} twice")
        if UNKNOWN not in self.numbers:
            raise ValueError(f"pieces must hold {UNKNOWN}, got {len(self.pieces)} without it")
        self._word = functools.lru_cache(maxsize=10_000)(self._cut)

    def encode(self, text: str) -> list[int]:
        """Numbers of a text's pieces, without a start and an end; ``ValueError`` for what is no text."""
        if not isinstance(text, str):
            raise ValueError(f"text must be a string, got {type(text).__name__}")
        found, at = [], 0
        for special in _SPECIAL.finditer(text):
            found += [*self._plain(text[at : special.start()]), self.numbers.get(special[0], self.numbers[UNKNOWN])]
            at = special.end()
        return [*found, *self._plain(text[at:])]

    def decode(self, numbers: Iterable[int]) -> str:
        """Text of numbers: pieces of words joined, ``. , ! ?`` set close; special and unknown numbers say nothing."""
        pieces = [self.pieces[number] for number in numbers if 0 <= number < len(self.pieces)]
        first, *rest = [piece for piece in pieces if piece not in SPECIAL] or [""]
        return first + "".join(re.sub("^ ([.,!?])", r"\1", f" {piece}".removeprefix(" ##")) for piece in rest)

    def _plain(self, text: str) -> list[int]:
        return [number for word in _words(text) for number in self._word(word)]

    def _cut(self, word: str) -> tuple[int, ...]:
        found, at, unknown = [], 0, (self.numbers[UNKNOWN],)
        if len(word) > _LONGEST_WORD:
            return unknown
        while at < len(word):
            ends = range(len(word), at, -1)
            piece = next((p for end in ends if (p := "##" * (at > 0) + word[at:end]) in self.numbers), None)
            if piece is None:
                return unknown
            found.append(self.numbers[piece])
            at += len(piece) - 2 * (at > 0)
        return tuple(found)


def read_word_pieces(path: str | os.PathLike) -> WordPieces:
    """Reads a ``vocab.txt``: one piece a line, the first has number 0.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no such file.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no vocabulary {path}")
    try:
        return WordPieces(path.read_text(encoding="utf-8").removesuffix("\n").split("\n"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not a vocabulary of word pieces: {reason(error)}") from error


def _words(text: str) -> list[str]:
    """Runs between white space, with punctuation and Chinese characters apart; lower case without accents."""
    kept = "".join(map(_cleaned, text))
    plain = (c.lower() for c in unicodedata.normalize("NFD", kept) if unicodedata.category(c) != "Mn")
    return "".join(f" {c} " if _is_punctuation(c) else c for c in "".join(plain)).split()


def _cleaned(character: str) -> str:
    """Nothing of control characters, a space for white space, and spaces around Chinese characters."""
    if character in "\t\n\r" or unicodedata.category(character)[0] == "Z":
        return " "
    if character == "\ufffd" or unicodedata.category(character) in ("Cc", "Cf", "Co", "Cs"):
        return ""
    number = ord(character)
    return f" {character} " if any(low <= number <= high for low, high in _CHINESE) else character


def _is_punctuation(character: str) -> bool:
    """ASCII that is neither letter nor digit, and Unicode's punctuation."""
    ascii_sign = "!" <= character <= "~" and not character.isalnum()
    return ascii_sign or unicodedata.category(character)[0] == "P"
