import gzip

import numpy as np
import pytest

from lvm_mtc.data import captions
from lvm_mtc.data.captions import (
    Vocabulary,
    commonest_words,
    load_sentences,
    pack_sentences,
    read_sentences,
    split_words,
)

LINES = ["A dog runs.", "a dog, a cat!", "Two dogs run after the 3 cats", "a", "The cat's toy"]


def test_words_are_runs_of_letters_or_digits():
    assert split_words("A man's 2nd T-shirt, 10 EUR.") == ["a", "man", "s", "2", "nd", "t", "shirt", "10", "eur"]
    assert split_words(" ... ") == []


def test_commonest_words_in_a_fixed_order():
    sentences = [split_words(line) for line in LINES]
    assert commonest_words(sentences, 4).words == ("a", "cat", "dog", "the")
    assert commonest_words(reversed(sentences), 4).words == ("a", "cat", "dog", "the")


def test_sentences_come_back():
    vocabulary = Vocabulary(("a", "cat", "dog"))
    given = [["a", "dog"], ["a", "bird"], [], ["dog"] * 4, ["cat"] * 3]
    numbers, kept = vocabulary.encode(given, 3)
    np.testing.assert_array_equal(numbers, [[1, 3, 0], [2, 2, 2]])
    assert kept.tolist() == [True, False, False, False, True] and vocabulary.size == 4
    assert vocabulary.decode(numbers) == ["a dog", "cat cat cat"]
    assert vocabulary.decode(np.array([[1, 0, 2]])) == ["a"]
    empty, _ = vocabulary.encode([["bird"]], 3)
    assert empty.shape == (0, 3)


def test_no_held_out_sentence_is_learned():
    train = ["a dog runs", "a cat runs", "a dog runs", "a cat", "a dog sits here now"]
    packed = pack_sentences(train, ["a dog runs"], ["A cat runs!", "a bird runs"], num_words=4, fewest=3, vocabulary=8)
    known = Vocabulary(tuple(packed.words))
    assert known.decode(packed.holdout_sentences) == ["a dog runs"]
    assert known.decode(packed.test_sentences) == ["a cat runs"]
    assert known.decode(packed.sentences) == []
    assert packed.total.tolist() == [5, 1, 2]


def test_packed_files_are_read_again(tmp_path):
    packed = pack_sentences(LINES, LINES[:1], ["the dog runs"], num_words=8, fewest=2, vocabulary=20)
    np.savez(tmp_path / "packed.npz", **packed._asdict())
    again = load_sentences(tmp_path / "packed.npz")
    for have, want in zip(again, packed, strict=True):
        np.testing.assert_array_equal(have, want)
    assert len(again.sentences) == 3 and again.sentences.dtype == np.uint16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(sentences=np.zeros((0, 4), np.uint16)), "holds no sentences"),
        (dict(sentences=np.full((2, 4), 9, np.uint16)), r"sentences must be .* uint16 up to 2"),
        (dict(test_sentences=np.zeros((2, 4), np.int64)), "test_sentences must be .*int64"),
        (dict(words=None), "not a file of packed sentences"),
    ],
)
def test_other_files_are_refused(tmp_path, change, message):
    rows = np.ones((1, 4), np.uint16)
    fields = dict(words=np.array(["a", "b"]), sentences=rows, holdout_sentences=rows, test_sentences=rows)
    fields |= dict(total=np.zeros(3, int)) | change
    np.savez(tmp_path / "p.npz", **{name: value for name, value in fields.items() if value is not None})
    with pytest.raises(ValueError, match=message):
        load_sentences(tmp_path / "p.npz")


def test_a_missing_packed_file_says_who_makes_one(tmp_path):
    with pytest.raises(ValueError, match="pack_captions.py"):
        load_sentences(tmp_path / "nothing.npz")


def test_text_files_are_read_plain_or_compressed(tmp_path):
    (tmp_path / "plain.txt").write_text("A dog.\n\nÉtude\n", encoding="utf-8")
    with gzip.open(tmp_path / "packed.gz", "wt", encoding="utf-8") as file:
        file.write("A dog.\n\nÉtude\n")
    assert read_sentences(tmp_path / "plain.txt") == read_sentences(tmp_path / "packed.gz") == ["A dog.", "", "Étude"]


@pytest.mark.parametrize("name", ["latin.txt", "cut.gz", "empty.txt", "folder"])
def test_bad_text_files_are_named(tmp_path, name):
    (tmp_path / "latin.txt").write_bytes(b"\xe9tude")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"a dog" * 99)[:20])
    (tmp_path / "empty.txt").write_text("\n...\n")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match=name):
        read_sentences(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="no text file"):
        read_sentences(tmp_path / "nothing.txt")


def test_multi30k_has_its_sentences(shared_data):
    lines = read_sentences(shared_data / "multi30k_task2" / "val.1.en.gz")
    assert len(lines) == 1014 and captions.split_words(lines[0])
