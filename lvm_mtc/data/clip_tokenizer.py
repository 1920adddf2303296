"""CLIP's tokenizer: byte-pair encoding of lower-case text.

The 48,894 merges ship with the library (``weights/clip_bpe_merges.npz``, MIT, (c) 2021 OpenAI); a Hugging Face folder
holds the same ones as ``merges.txt``.

Source: Radford et al. (2021), section 2.4; Sennrich, Haddow, Birch, Neural Machine Translation of Rare Words with
Subword Units (2016).
"""

from __future__ import annotations

import functools
import gzip
import unicodedata
import zipfile
import zlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np

NUM_MERGES = 48_894
"""Merges of CLIP's vocabulary: with 2 x 256 bytes and 2 special tokens they make 49,408 tokens."""

CONTEXT_LENGTH = 77
START_TEXT, END_TEXT = "<|startoftext|>", "<|endoftext|>"

_END_OF_WORD = "</w>"
_CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
_MAX_FILE_BYTES = 16_000_000


class TokenizerError(ValueError):
    """A file of merges that cannot be used. The message is one line: the file and the reason."""


class ClipTokenizer:
    """Text to CLIP's token numbers.

    Text is normalised as in transformers' CLIPTokenizer: Unicode NFC, white space to single spaces, lower case.
    OpenAI's code also repairs mojibake, straightens curly quotes and decodes HTML entities, which is not done here;
    but as there a capital sigma at the end of a word becomes the final one, and special tokens within punctuation are
    punctuation.
    """

    def __init__(self, merges: Sequence[tuple[str, str]]):
        """Builds the vocabulary of merges: pairs of symbols, most frequent first, in CLIP's order."""
        alphabet = list(_byte_symbols().values())
        symbols = [*alphabet, *(s + _END_OF_WORD for s in alphabet), *("".join(pair) for pair in merges)]
        self._ids = {symbol: number for number, symbol in enumerate([*symbols, START_TEXT, END_TEXT])}
        self._rank = {pair: number for number, pair in enumerate(merges)}
        self._word = functools.lru_cache(maxsize=10_000)(self._encode_word)
        self.vocab_size = len(symbols) + 2

    def encode(self, text: str) -> list[int]:
        """Token numbers of one text, without start and end token and of any length."""
        if not isinstance(text, str):
            raise ValueError(f"text must be a string, got {type(text).__name__}")
        text = " ".join(unicodedata.normalize("NFC", text).split()).lower()
        return [token for word in _split(text) for token in self._word(word)]

    def __call__(self, texts: str | Sequence[str], *, context_length: int = CONTEXT_LENGTH) -> np.ndarray:
        """Token numbers of texts, which may be empty, as CLIP's text tower takes them.

        Behind the end token stand more of them, as in transformers. OpenAI's code and OpenCLIP put 0 there; the text
        tower's output does not depend on it.

        Args:
            context_length: Tokens per text, start and end token included, at least 2. What is too long is cut off; the
                last token is an end token all the same.

        Returns:
            ``[num_texts, context_length]`` int32.
        """
        if context_length < 2:
            raise ValueError(f"context_length must be at least 2, got {context_length}")
        start, end = self.vocab_size - 2, self.vocab_size - 1
        rows = [texts] if isinstance(texts, str) else list(texts)
        tokens = np.full((len(rows), context_length), end, np.int32)
        for row, text in zip(tokens, rows, strict=True):
            content = [start, *self.encode(text)[: context_length - 2], end]
            row[: len(content)] = content
        return tokens

    def _encode_word(self, word: str) -> tuple[int, ...]:
        if word in (START_TEXT, END_TEXT):
            return (self._ids[word],)
        byte_symbols = _byte_symbols()
        symbols = [byte_symbols[byte] for byte in word.encode("utf-8", "surrogatepass")]
        symbols[-1] += _END_OF_WORD
        unknown = len(self._rank)
        while len(symbols) > 1:
            pairs = list(zip(symbols[:-1], symbols[1:], strict=True))
            best = min(pairs, key=lambda pair: self._rank.get(pair, unknown))
            if best not in self._rank:
                break
            symbols = _merge(symbols, best)
        return tuple(self._ids[symbol] for symbol in symbols)


def read_merges(path: str | Path | None = None) -> list[tuple[str, str]]:
    """Reads the merges of CLIP's vocabulary, 48,894 pairs of symbols.

    Args:
        path: ``merges.txt`` of a Hugging Face folder, or OpenAI's ``bpe_simple_vocab_16e6.txt.gz``, of which only the
            first 48,894 count; None for those that ship with the library.

    Raises:
        FileNotFoundError: if there is no such file.
        TokenizerError: if it is damaged, or holds too few merges or a line that is no pair.
    """
    if path is None:
        shipped = resources.files("lvm_mtc") / "weights" / "clip_bpe_merges.npz"
        with resources.as_file(shipped) as file, np.load(file, allow_pickle=False) as archive:
            return _parse(archive["merges"].tobytes().decode("utf-8"), str(shipped))
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file of merges {path}")
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
        if len(content) > _MAX_FILE_BYTES:
            raise TokenizerError(f"{path}: is too large for a file of merges")
        return _parse(content.decode("utf-8-sig"), str(path))
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, zipfile.BadZipFile) as error:
        raise TokenizerError(f"{path}: is no readable file of merges: {error}") from error


@functools.cache
def default_tokenizer() -> ClipTokenizer:
    """The tokenizer with the shipped merges, built once."""
    return ClipTokenizer(read_merges())


def _parse(text: str, name: str) -> list[tuple[str, str]]:
    lines = text.split("\n")
    if "#version" in lines[0]:
        del lines[0]
    merges = [tuple(line.split()) for line in lines[:NUM_MERGES]]
    for number, pair in enumerate(merges, start=1):
        if len(pair) != 2:
            raise TokenizerError(f"{name}: merge {number} is {' '.join(pair)[:40]!r}; expected two symbols")
    if len(merges) < NUM_MERGES:
        raise TokenizerError(f"{name}: holds {len(merges)} merges; expected at least {NUM_MERGES}")
    return merges


@functools.cache
def _byte_symbols() -> dict[int, str]:
    """A visible character for each byte, in the order of CLIP's vocabulary: printable Latin-1 first, as itself."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {byte: chr(256 + i) for i, byte in enumerate(hidden)}


def _kind(character: str) -> str:
    category = unicodedata.category(character)[0]
    return "space" if character.isspace() else {"L": "letter", "N": "number"}.get(category, "other")


def _split(text: str) -> list[str]:
    """Words: runs of letters, single numerals, runs of anything else; English contractions and special tokens whole."""
    words, position = [], 0
    while position < len(text):
        whole = next((w for w in (START_TEXT, END_TEXT, *_CONTRACTIONS) if text.startswith(w, position)), None)
        if whole:
            words.append(whole)
            position += len(whole)
            continue
        kind, end = _kind(text[position]), position + 1
        while kind in ("letter", "other") and end < len(text) and _kind(text[end]) == kind:
            end += 1
        if kind != "space":
            words.append(text[position:end])
        position = end
    return words


def _merge(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    """Joins every occurrence of a pair, from the left."""
    merged, i = [], 0
    while i < len(symbols):
        if tuple(symbols[i : i + 2]) == pair:
            merged.append(pair[0] + pair[1])
            i += 2
        else:
            merged.append(symbols[i])
            i += 1
    return merged
