"""BERT's tokenizer: tokens and texts of transformers', pieces in closed form, files."""

import json

import pytest
from golden import stored

from lvm_mtc.data.word_pieces import WordPieces, read_word_pieces


@pytest.fixture(scope="module")
def golden():
    """Written by tests/golden/make_blip.py with transformers' BertTokenizer."""
    arrays = stored("blip")
    texts = {name: json.loads(str(arrays[name])) for name in ("texts", "encoded", "numbers", "decoded")}
    return texts | {"pieces": arrays["pieces"].tolist()}


def test_tokens_are_those_of_transformers(golden):
    words = WordPieces(golden["pieces"])
    assert len(golden["texts"]) > 20
    for text, numbers in zip(golden["texts"], golden["encoded"], strict=True):
        assert words.encode(text) == numbers, text
    fewer = WordPieces([piece if piece != "##able" else "?able" for piece in golden["pieces"]])
    assert any(fewer.encode(t) != n for t, n in zip(golden["texts"], golden["encoded"], strict=True))


def test_texts_are_those_of_transformers(golden):
    words = WordPieces(golden["pieces"])
    for numbers, text in zip(golden["numbers"], golden["decoded"], strict=True):
        assert words.decode(numbers) == text, numbers
    assert words.decode(words.encode("Unaffable, dogs!")) == "unaffable, dogs!"


def test_pieces_in_closed_form():
    """The example of the published paper's code: the longest piece first."""
    words = WordPieces(["[UNK]", "un", "##aff", "##able", "##a", "run", ",", "e"])
    assert words.encode("unaffable") == [1, 2, 3]
    assert words.encode("unaa run,RUN  é") == [1, 4, 4, 5, 6, 5, 7]
    assert words.encode("runable runx") == [5, 3, 0]
    assert words.encode("[SEP]") == [0]
    assert words.decode([2, 3, 1, 6, 99, -1, 0]) == "##affable un,"
    assert words.decode([]) == ""


def test_files_and_wrong_input(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("[UNK]\na\n\u2028\n##b\n", encoding="utf-8")
    words = read_word_pieces(path)
    assert words.pieces == ("[UNK]", "a", "\u2028", "##b") and words.encode("ab") == [1, 3]
    path.write_bytes(b"[UNK]\r\na\r\n")
    assert read_word_pieces(path).pieces == ("[UNK]", "a")
    with pytest.raises(FileNotFoundError, match="there is no vocabulary .*missing.txt"):
        read_word_pieces(tmp_path / "missing.txt")
    for content, message in (
        (b"\xff\xfe", "is not a vocabulary of word pieces: .*decode byte"),
        (b"a\nb\n", r"pieces must hold \[UNK\], got 2 without it"),
        (b"[UNK]\na\na\n", "pieces must differ, got 'a' twice"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"^{path}.*{message}"):
            read_word_pieces(path)
    with pytest.raises(ValueError, match="text must be a string, got int"):
        words.encode(3)
