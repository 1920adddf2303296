"""What is to be sent stands in no store: hashes of real captions as text, and pictures of both splits."""

import hashlib

import numpy as np
import pytest

from experiments.multitask.retrieval import make_stores
from experiments.text.pack_captions import FEWEST
from experiments.vlm_csc import pack
from lvm_mtc.cli.sentences import load_text_contender
from lvm_mtc.data.captions import Vocabulary, pack_sentences, read_sentences, split_words
from lvm_mtc.data.cifar10 import LabelledPictures
from lvm_mtc.knowledge.store import KnowledgeStore


def hashes(sentences):
    return {hashlib.sha256(" ".join(split_words(text)).encode()).digest() for text in sentences}


def lines(folder, split, files):
    return [line for number in files for line in read_sentences(folder / f"{split}.{number}.en.gz")]


@pytest.mark.slow
def test_no_knowledge_store_holds_a_sentence_that_is_sent(shared_data):
    contender, vocabulary = load_text_contender(None)
    stores = make_stores(shared_data, 500, vocabulary, contender.scheme.config.num_words)
    folder = shared_data / "multi30k_task2"
    test, chosen_on = hashes(lines(folder, "test_2016", [5])), hashes(lines(folder, "val", [5])[:300])
    sent = hashes(vocabulary.decode(stores.sent))
    assert len(stores.sent) == 500 and sent <= test
    for name, pair in stores.entries.items():
        for entries in pair:
            held = KnowledgeStore.of(entries, vocabulary.size).entries
            padded = np.zeros((len(held), contender.scheme.config.num_words), int)
            for row, entry in zip(padded, held, strict=True):
                row[: len(entry.words)] = entry.words
            known = hashes(vocabulary.decode(padded))
            assert len(known) > 1000 and not known & (test | chosen_on), name
    # The check can fail: people have said the same.
    every = lines(folder, "train", [1]), lines(folder, "test_2016", range(1, 5)), lines(folder, "val", range(1, 5))
    assert hashes(sum(every, [])) & (test | chosen_on)


def test_the_text_transceiver_learns_no_held_out_sentence(shared_data):
    folder = shared_data / "multi30k_task2"
    train = lines(folder, "train", [5])
    val, test = (lines(folder, split, range(1, 6)) for split in ("val", "test_2016"))
    packed = pack_sentences(train, val, test, num_words=16, fewest=FEWEST, vocabulary=3000)
    known = Vocabulary(tuple(packed.words.tolist()))
    learned = hashes(known.decode(packed.sentences))
    held = hashes(val) | hashes(test)
    assert len(learned) > 5000 and not learned & held
    assert hashes(known.decode(packed.test_sentences)) <= hashes(test)
    assert len(hashes(train) & held) > 10  # the check can fail


@pytest.mark.parametrize("twin", [False, True])
def test_no_test_picture_is_packed_for_retrieval(tmp_path, monkeypatch, twin):
    rng = np.random.default_rng(0)
    splits = {split: LabelledPictures(rng.integers(0, 256, (30, 32, 32, 3), np.uint8), np.arange(30) % 10, ())
              for split in ("train", "test")}  # fmt: skip
    if twin:
        splits["test"].pictures[7] = splits["train"].pictures[8]
    monkeypatch.setattr(pack, "load_class_folders", lambda path, split: splits[split])
    status = pack.main(["--out", str(tmp_path / "p.npz")])
    assert status == (2 if twin else 0)
    if not twin:
        known, test = (pack.load_described(tmp_path / "p.npz", split) for split in ("train", "test"))
        digests = [{hashlib.sha256(picture).digest() for picture in of.pictures} for of in (known, test)]
        assert len(digests[0]) == 28 and len(digests[1]) == 30 and not digests[0] & digests[1]
