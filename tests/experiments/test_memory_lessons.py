"""Lessons of the learned fusion: no store holds a sentence that is sent, and what is tested is no lesson."""

import jax
import numpy as np
import pytest

from experiments.multitask import memory, retrieval
from experiments.multitask.retrieval import EARLIER, Captions, recall
from lvm_mtc.data.captions import Vocabulary
from lvm_mtc.knowledge.store import Entry, KnowledgeStore

NUM_WORDS, BLOCKS = 4, 29


class Contender:
    class scheme:
        class config:
            num_words, vocabulary = NUM_WORDS, 40


@pytest.fixture
def taught(monkeypatch):
    """What ``make_lessons`` teaches: sentences, two lists of entries; few words, so that many sentences are equal."""
    monkeypatch.setattr(memory, "PHOTOGRAPHS", 10)
    rng = np.random.default_rng(0)

    def read(folder, split, files, limit, vocabulary, num_words):
        count = BLOCKS * 10 if split == "train" else 50
        lengths = rng.integers(1, 3, (len(files) * count, 1))
        numbers = np.where(np.arange(num_words) < lengths, rng.integers(1, 30, (len(lengths), num_words)), 0)
        return Captions(numbers, np.tile(np.arange(count), len(files)))

    calls = []

    def teach(contender, sent, known, scene, seed):
        calls.append((sent, known, scene))
        return memory.Lessons(sent, sent, sent)

    monkeypatch.setattr(memory, "read_captions", read)
    monkeypatch.setattr(memory, "teach", teach)
    joined, held_out = memory.make_lessons(memory.DATA, Contender, Vocabulary(()), draws=2)
    assert len(joined.sent) == sum(len(sent) for sent, _, _ in calls[:-1]) and held_out.sent is calls[-1][0]
    return calls


def test_no_store_of_the_lessons_holds_a_sentence_that_is_sent(taught):
    assert len(taught) == BLOCKS + 1
    sent = {tuple(int(w) for w in row if w) for of, _, _ in taught for row in of}
    held = {entry.words for _, known, scene in taught for entry in (*known, *scene)}
    assert len(held) > 100 and not held & sent
    learned, held_out = ({row.tobytes() for of, _, _ in part for row in of} for part in (taught[:-1], taught[-1:]))
    assert not learned & held_out
    for _, known, scene in taught[:-1]:
        assert known and scene
        assert {entry.id >= EARLIER for entry in known} == {False} and {entry.id >= EARLIER for entry in scene} == {
            True
        }
    first, second = ({entry.id for entry in scene} for _, _, scene in taught[:2])
    assert not first & second


def test_recall_counts_captions_of_the_same_photograph():
    store = KnowledgeStore.of([Entry(0, (1,)), Entry(1, (2,)), Entry(EARLIER, (3,)), Entry(EARLIER + 1, (4,))], 9)
    found = np.array([[0, 2], [3, 2], [1, -1], [2, -1]])
    assert recall(found, store, np.array([7, 5]), np.array([7, 5, 5, 5])) == 0.5


@pytest.mark.usefixtures("fast_compile")
def test_layers_alone_at_weight_0_change_nothing():
    rng = np.random.default_rng(1)
    understood, embedding = (rng.normal(size=size).astype(np.float32) for size in ((3, NUM_WORDS, 16), (9, 16)))
    sent = np.array([[1, 2, 0, 0], [3, 0, 0, 0], [4, 5, 6, 7]])
    inputs = understood, sent > 0, embedding[sent[:, None]], sent[:, None] > 0
    shapes = jax.eval_shape(retrieval.MEMORY.init, jax.random.key(0), *inputs)["params"]
    layers = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes)
    anew = jax.jit(lambda weight: retrieval.understood_anew(layers, embedding, understood, sent, None, weight))
    np.testing.assert_allclose(anew(0.0), understood, atol=1e-6)
    assert np.abs(anew(1.0) - understood).max() > 0.01
