"""Word vectors: closed forms, the shipped class names, wrong files."""

import numpy as np
import pytest

from lvm_mtc.data.word_vectors import (
    ImagenetClasses,
    WordVectorError,
    class_vectors,
    imagenet_classes,
    read_word_vectors,
)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "words.npz"
    vectors = np.array([[1, 1], [5, 1], [1, 4], [1, -2], [-3, 1]], np.float16)  # mean (1, 1)
    np.savez(path, words=np.array([b"the", b"dog", b"cat", b"photo", b"husky"]), vec=vectors)
    return path


def test_vectors_are_centred_and_of_unit_length(file):
    words = read_word_vectors(file)
    np.testing.assert_allclose(words.vectors, [[0, 0], [1, 0], [0, 1], [0, -1], [-1, 0]])
    assert words.known("The DOG's photo, unknown") == ["the", "dog"]
    np.testing.assert_allclose(words.embed(["dog"]), [1, 0])
    assert words.embed([]) is None
    weight = [1e-3 / (1e-3 + 1 / (rank * np.log(6))) for rank in (2, 3)]
    want = np.array(weight) / np.linalg.norm(weight)
    np.testing.assert_allclose(words.embed(["dog", "cat"]), want, rtol=1e-6)


def test_class_vectors(file):
    words = read_word_vectors(file)
    classes = ImagenetClasses(("Husky", "tabby", "cat (the dog)", "siberian"), ((), ("cat",), (), ("dog", "cat")))
    half = 0.5**0.5
    np.testing.assert_allclose(class_vectors(words, classes), [[-1, 0], [0, 1], [0, 1], [half, half]], rtol=1e-6)
    np.testing.assert_array_equal(class_vectors(words, ImagenetClasses(("zebra",), ((),))), [[0, 0]])


def test_shipped_class_names_stand_in_the_order_of_the_pictures(shared_data):
    classes = imagenet_classes()
    assert len(classes.names) == len(classes.kinds) == 1000 and len(set(classes.names)) > 990
    assert classes.names[0] == "tench" and classes.kinds[207] == ("dog",) and classes.kinds[285] == ("cat",)
    files = sorted((shared_data / "imagenet1000_160").glob("*.jpg"))
    same = [
        bool(set(name.lower().split()) & set(file.stem.lower().split("_")[1:]))
        for name, file in zip(classes.names, files, strict=True)
    ]
    # The two lists call some classes by other names; a shift by one class would leave hardly any in common.
    assert np.mean(same) > 0.8 and np.mean(same[:500]) > 0.75
    shifted = [
        bool(set(name.lower().split()) & set(file.stem.lower().split("_")[1:]))
        for name, file in zip(classes.names[1:], files, strict=False)
    ]
    assert np.mean(shifted) < 0.3


def test_wrong_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file of word vectors"):
        read_word_vectors(tmp_path / "none.npz")
    path = tmp_path / "x.npz"
    for arrays, message in (
        ({"words": np.array([b"a"])}, "is no readable archive of words and vec"),
        ({"words": np.array([b"a"]), "vec": np.zeros((2, 3))}, r"words \|S1 \(1,\) and vec \(2, 3\) do not fit"),
        ({"words": np.array(["a"]), "vec": np.zeros((1, 3))}, "expected byte strings"),
        ({"words": np.array([b"a"]), "vec": np.full((1, 3), np.nan)}, "a number that is not finite"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(WordVectorError, match=message):
            read_word_vectors(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(WordVectorError, match="is no readable archive"):
        read_word_vectors(path)
