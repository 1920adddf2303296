"""CLIP's tokenizer: its vocabulary, two reference tokenizers' tokens, edges, files."""

import gzip

import numpy as np
import pytest
from golden import stored

from lvm_mtc.data.clip_tokenizer import NUM_MERGES, ClipTokenizer, TokenizerError, default_tokenizer, read_merges

START, END = 49406, 49407


@pytest.fixture(scope="module")
def golden():
    """Written by tests/golden/make_clip.py with the tokenizers of transformers and of OpenAI."""
    return stored("clip")


def test_tokens_are_those_of_transformers_and_of_openai(golden):
    texts = [str(text) for text in golden["texts"]]
    tokenizer = default_tokenizer()
    np.testing.assert_array_equal(tokenizer(texts), golden["tokens_huggingface"])
    openai = golden["tokens_openai"]
    np.testing.assert_array_equal(tokenizer(texts), np.where(openai == 0, END, openai))
    # Without the merges the same texts become other tokens.
    assert (ClipTokenizer(read_merges()[:5000])(texts) != golden["tokens_huggingface"]).any()


def test_known_tokens():
    # The example of CLIP's model card.
    tokens = default_tokenizer()("a photo of a cat")
    assert tokens.shape == (1, 77) and tokens.dtype == np.int32
    assert tokens[0, :8].tolist() == [START, 320, 1125, 539, 320, 2368, END, END]
    assert default_tokenizer().vocab_size == 49408


def test_empty_and_too_long_texts_have_both_ends():
    tokens = default_tokenizer()(["", "dog " * 200], context_length=6)
    assert tokens.tolist() == [[START, END, END, END, END, END], [START, 1929, 1929, 1929, 1929, END]]
    assert default_tokenizer()([]).shape == (0, 77)


def test_small_vocabulary_in_closed_form():
    tokenizer = ClipTokenizer([("a", "b"), ("ab", "ab"), ("c", "d</w>")])
    ids = tokenizer._ids
    # Left pairs first, the most frequent pair first, the end of the word belongs to its last symbol.
    assert tokenizer.encode("abab") == [ids["ab"], ids["a"], ids["b</w>"]]
    assert tokenizer.encode("ababx Cd") == [ids["abab"], ids["x</w>"], ids["cd</w>"]]
    assert tokenizer.encode("é") == [ids["Ã"], ids["©</w>"]]


def test_merges_from_files(tmp_path):
    merges = read_merges()
    assert len(merges) == NUM_MERGES and merges[0] == ("i", "n") and merges[-1] == ("jeky", "ll</w>")
    text = "#version: 0.2\n" + "\n".join(" ".join(pair) for pair in merges) + "\n"
    (tmp_path / "merges.txt").write_text(text, encoding="utf-8")
    assert read_merges(tmp_path / "merges.txt") == merges
    longer = '"bpe_simple_vocab_16e6.txt#version: 0.2\n' + text.partition("\n")[2] + "not used\n"
    (tmp_path / "bpe.txt.gz").write_bytes(gzip.compress(longer.encode()))
    assert read_merges(tmp_path / "bpe.txt.gz") == merges


def test_wrong_input(tmp_path):
    tokenizer = default_tokenizer()
    with pytest.raises(ValueError, match="text must be a string, got int"):
        tokenizer([3])
    with pytest.raises(ValueError, match="context_length must be at least 2, got 1"):
        tokenizer("a", context_length=1)
    with pytest.raises(FileNotFoundError, match="there is no file of merges"):
        read_merges(tmp_path / "merges.txt")
    for name, content, message in (
        ("few.txt", b"#version: 0.2\ni n\n", "merge 2 is ''; expected two symbols"),
        ("one.txt", b"i n\nt h", "holds 2 merges; expected at least 48894"),
        ("binary.txt", b"\xff\xfe\x00", "is no readable file of merges"),
        ("broken.gz", b"\x1f\x8b\x08\x00", "is no readable file of merges"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(TokenizerError, match=message):
            read_merges(tmp_path / name)
