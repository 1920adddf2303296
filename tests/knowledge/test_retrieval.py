"""Stores of sentences: exact search against dense float64, ties, times, merge, age, fusion, recall on captions."""

import math
import os
from pathlib import Path

import numpy as np
import pytest

from lvm_mtc.data.captions import commonest_words, read_sentences, split_words
from lvm_mtc.knowledge.store import Entry, Found, KnowledgeStore, fuse_index, fuse_words, store_words

RNG = np.random.default_rng(0)
VOCABULARY = 60


def sentences(count, seed=0):
    rng = np.random.default_rng(seed)
    return [tuple(int(w) for w in rng.zipf(1.4, rng.integers(3, 12)) % (VOCABULARY - 1) + 1) for _ in range(count)]


@pytest.fixture(scope="module")
def store():
    return KnowledgeStore.of([Entry(7 * i, words, float(i)) for i, words in enumerate(sentences(500))], VOCABULARY)


def dense(store, queries):
    """All cosines, from matrices of counts."""

    def counts(rows):
        table = np.zeros((len(rows), VOCABULARY))
        for row, words in enumerate(rows):
            for word in words:
                table[row, word] += word > 0
        return table

    held = counts([entry.words for entry in store.entries])
    rarity = np.log((1 + len(held)) / (1 + (held > 0).sum(0))) + 1
    keys = [table * rarity for table in (held, counts(queries))]
    keys = [key / np.maximum(np.linalg.norm(key, axis=1, keepdims=True), 1e-300) for key in keys]
    return keys[1] @ keys[0].T


def test_search_is_a_sort_of_all_cosines_with_ties_by_id(store):
    queries = sentences(200, seed=1)
    cosines = np.round(dense(store, queries), 12)
    found = store.search(queries, 5)
    want = np.array([sorted(range(500), key=lambda i, row=row: (-row[i], i))[:5] for row in cosines])
    np.testing.assert_array_equal(found.places, want)
    np.testing.assert_allclose(found.scores, np.take_along_axis(cosines, want, 1), atol=1e-12)


def test_a_sentence_finds_itself_and_a_replaced_one_is_gone(store):
    own = store.search([entry.words for entry in store.entries], 1)
    np.testing.assert_allclose(own.scores, 1, atol=1e-12)
    assert all(
        set(store.entries[p].words) == set(e.words) for p, e in zip(own.places[:, 0], store.entries, strict=True)
    )
    newer = store.merge(KnowledgeStore.of([Entry(0, (5, 5, 6), 1e3)], VOCABULARY))
    assert len(newer.entries) == 500 and newer.entries[0].words == (5, 5, 6)
    assert store.entries[0] not in newer.entries
    older = store.merge(KnowledgeStore.of([Entry(7, (5, 5, 6), -1.0)], VOCABULARY))
    assert older == store


def test_merging_keeps_the_newest_in_any_order(store):
    other = KnowledgeStore.of([Entry(7 * i, w, 250.5) for i, w in enumerate(sentences(600, seed=3))], VOCABULARY)
    both = store.merge(other)
    assert both == other.merge(store) and len(both.entries) == 600
    assert [e.time for e in both.entries[:500]] == [max(float(i), 250.5) for i in range(500)]
    same_time = [KnowledgeStore.of([Entry(1, words, 2.0)], VOCABULARY) for words in ((1, 2), (1, 3))]
    assert same_time[0].merge(same_time[1]) == same_time[1].merge(same_time[0])
    sent = store.newer_than(other)
    assert other.merge(KnowledgeStore.of(sent, VOCABULARY)) == both
    assert {e.id for e in sent} == {7 * i for i in range(251, 500)}


def test_age_is_to_the_second(store):
    young = store.aged(now=499.0, max_age=100.0)
    assert [e.time for e in young.entries] == [float(i) for i in range(399, 500)]
    assert store.aged(now=499.0, max_age=99.999).entries == young.entries[1:]


def test_without_entries_or_words_nothing_is_found(store):
    empty = KnowledgeStore((), VOCABULARY)
    found = empty.search([(1, 2)], 2)
    assert found.places.tolist() == [[-1, -1]] and empty.index_bits == 0
    log_p = np.log(RNG.dirichlet(np.ones(VOCABULARY), (1, 4)))
    np.testing.assert_array_equal(fuse_words(log_p, store_words(empty, found), 0.7), log_p)
    np.testing.assert_array_equal(fuse_words(log_p, store_words(store, store.search([(0, 0)], 3)), 0.7), log_p)
    likely = store_words(store, store.search([(1, 2)], 3))
    np.testing.assert_array_equal(fuse_words(log_p, likely, 0.0), log_p)
    assert (fuse_words(log_p, likely, 0.5) != log_p).any()


def test_fused_scores_are_the_weighted_product(store):
    found = Found(np.array([[3, 8, -1]]), np.array([[0.6, 0.2, 0.0]]))
    likely = store_words(store, found)
    want = np.zeros(VOCABULARY)
    for place, score in ((3, 0.6), (8, 0.2)):
        for word in store.entries[place].words:
            want[word] += score / 0.8 / len(store.entries[place].words)
    np.testing.assert_allclose(likely[0], want)
    log_p = np.log(RNG.dirichlet(np.ones(VOCABULARY), (1, 2)))
    fused = fuse_words(log_p, likely, 0.3)
    np.testing.assert_allclose(fused[0, :, 1:], log_p[0, :, 1:] + 0.3 * np.log(np.maximum(want, 1e-4))[1:])
    np.testing.assert_allclose(fused[0, :, 0], log_p[0, :, 0] + 0.3 * np.log(want.max()))
    assert store.index_bits == math.ceil(math.log2(500))
    alone = fuse_index(store, np.array([3]), 0.3, log_p)
    np.testing.assert_allclose(
        alone, fuse_words(log_p, store_words(store, Found(found.places[:, :1], np.ones((1, 1)))), 0.3)
    )
    np.testing.assert_array_equal(fuse_index(store, np.array([-1]), 0.3, log_p), log_p)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda s: KnowledgeStore.of([Entry(1, ())], 9), r"entry 1: words must be 1 ... 8, got \(\)"),
        (lambda s: KnowledgeStore.of([Entry(1, (9,))], 9), r"entry 1: words must be 1 ... 8, got \(9,\)"),
        (lambda s: KnowledgeStore.of([Entry(1, (2,), math.nan)], 9), "entry 1: time must be finite, got nan"),
        (lambda s: s.merge(KnowledgeStore((), 9)), "vocabularies 60 and 9 cannot be merged"),
        (lambda s: s.search([(1,)], 0), "k must be at least 1, got 0"),
        (lambda s: fuse_words(np.zeros((1, 1, 60)), np.zeros((1, 60)), -1), "weight must be >= 0, got -1"),
    ],
)
def test_wrong_input_is_named(store, make, message):
    with pytest.raises(ValueError, match=message):
        make(store)


def test_recall_on_captions():
    """Query: the fifth caption of a test photograph; store: its other four among those of 1,000."""
    folder = Path(os.environ.get("LVM_MTC_DATA", "../shared/data")) / "multi30k_task2"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    files = [[split_words(line) for line in read_sentences(folder / f"test_2016.{i}.en.gz")] for i in range(1, 6)]
    train = (split_words(line) for line in read_sentences(folder / "train.1.en.gz"))
    words = commonest_words(train, 2999)
    number = {word: i for i, word in enumerate(words.words, start=1)}
    known = [[tuple(number[w] for w in s if w in number) for s in file] for file in files]
    entries = [Entry(4 * i + c, known[c][i]) for c in range(4) for i in range(1000) if known[c][i]]
    found = KnowledgeStore.of(entries, 3000).search(known[4][:300], 10)
    right = found.places // 4 == np.arange(300)[:, None]
    recall = [right[:, :k].any(1).mean() for k in (1, 5, 10)]
    # Of all 1,000 queries .41, .64 and .71; of 300 the standard error is 0.03.
    np.testing.assert_allclose(recall, (0.41, 0.64, 0.71), atol=0.06)
