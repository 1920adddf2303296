"""Retrieved sentences in a decoder's memory: what changes nothing, what is heard, and that it learns to copy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lvm_mtc.knowledge.memory import fuse_memory, retrieved_words
from lvm_mtc.knowledge.store import Entry, Found, KnowledgeStore
from lvm_mtc.models.memory import Memory

pytestmark = pytest.mark.usefixtures("fast_compile")

RNG = np.random.default_rng(0)
WIDTH, VOCABULARY, LENGTH, ENTRIES = 16, 20, 4, 3
MEMORY = Memory(depth=2, num_heads=2)
EMBEDDING = jnp.asarray(RNG.normal(size=(VOCABULARY, WIDTH)).astype(np.float32))
UNDERSTOOD = jnp.asarray(RNG.normal(size=(6, LENGTH, WIDTH)).astype(np.float32))
VALID = jnp.asarray(np.arange(LENGTH) < np.array([4, 4, 3, 2, 1, 4])[:, None])
WORDS = RNG.integers(1, VOCABULARY, (6, ENTRIES, LENGTH)).astype(np.int32)
WORDS[1] = 0  # a query without neighbours
WORDS[2, 1:] = 0


@pytest.fixture(scope="module")
def drawn():
    shapes = jax.eval_shape(MEMORY.init, jax.random.key(0), UNDERSTOOD, VALID, EMBEDDING[WORDS], WORDS > 0)["params"]
    return jax.tree.map(lambda s: jnp.asarray(RNG.normal(size=s.shape).astype(np.float32) * 0.3), shapes)


@pytest.fixture(scope="module")
def fuse():
    return jax.jit(
        lambda p, words, weight=1.0, x=UNDERSTOOD: fuse_memory(MEMORY, p, x, VALID, words, EMBEDDING, weight)
    )


def test_retrieved_words_are_those_of_the_entries():
    store = KnowledgeStore.of([Entry(3, (5, 6)), Entry(8, (7, 8, 9, 10, 11))], VOCABULARY)
    found = Found(np.array([[1, 0], [0, -1], [1, 0]]), np.array([[0.9, 0.2], [1.0, 0.0], [0.5, 0.0]]))
    wanted = [[[7, 8, 9, 10], [5, 6, 0, 0]], [[5, 6, 0, 0], [0] * 4], [[7, 8, 9, 10], [0] * 4]]
    np.testing.assert_array_equal(retrieved_words(store, found, 4), wanted)
    assert not retrieved_words(store, Found(np.full((2, 3), -1), np.zeros((2, 3))), 4).any()


def test_without_entries_or_weight_nothing_changes_to_the_bit(drawn, fuse):
    np.testing.assert_array_equal(fuse(drawn, jnp.zeros_like(WORDS)), UNDERSTOOD)
    np.testing.assert_array_equal(fuse(drawn, WORDS, 0.0), UNDERSTOOD)
    changed = np.abs(np.asarray(fuse(drawn, WORDS)) - UNDERSTOOD).max((1, 2))
    assert changed[1] == 0 and (changed[[0, 2, 3, 4, 5]] > 0.1).all()
    half = fuse(drawn, WORDS, 0.5)
    np.testing.assert_allclose(2 * (half - UNDERSTOOD), fuse(drawn, WORDS) - UNDERSTOOD, atol=1e-5)


def test_what_is_drawn_at_the_start_is_the_identity(fuse):
    start = MEMORY.init(jax.random.key(1), UNDERSTOOD, VALID, EMBEDDING[WORDS], WORDS > 0)["params"]
    np.testing.assert_array_equal(fuse(start, WORDS), UNDERSTOOD)


def test_padding_of_words_and_of_entries_is_not_heard(drawn, fuse):
    before = fuse(drawn, WORDS)
    noisy = jnp.where(VALID[..., None], UNDERSTOOD, 9.0)
    after = fuse(drawn, WORDS, 1.0, noisy)
    np.testing.assert_allclose(np.where(VALID[..., None], after - before, 0), 0, atol=1e-5)
    other = WORDS.copy()
    other[0, 0, 0] = WORDS[0, 0, 0] % (VOCABULARY - 1) + 1
    moved = np.abs(np.asarray(fuse(drawn, other) - before)).max((1, 2))
    assert moved[0] > 1e-3 and (moved[1:] == 0).all()


def test_it_learns_to_take_a_lost_word_from_its_neighbour():
    """Each sentence's first word is lost; its one neighbour is the sentence."""
    rng = np.random.default_rng(1)
    memory = Memory(depth=1, num_heads=2)

    def draw():
        words = rng.integers(1, VOCABULARY, (64, LENGTH)).astype(np.int32)
        x = np.asarray(EMBEDDING)[words]
        x[:, 0] = 0
        return jnp.asarray(x), jnp.asarray(words)

    def loss(params, x, words):
        out = fuse_memory(memory, params, x, words > 0, words[:, None], EMBEDDING)[:, 0] @ EMBEDDING.T
        right = out.argmax(-1) == words[:, 0]
        return optax.softmax_cross_entropy_with_integer_labels(out, words[:, 0]).mean(), right.mean()

    x, words = draw()
    params = memory.init(jax.random.key(0), x, words > 0, EMBEDDING[words[:, None]], words[:, None] > 0)["params"]
    optimizer = optax.adam(1e-2)
    state = optimizer.init(params)

    @jax.jit
    def step(params, state, x, words):
        (_, right), grads = jax.value_and_grad(loss, has_aux=True)(params, x, words)
        updates, state = optimizer.update(grads, state)
        return optax.apply_updates(params, updates), state, right

    first = float(loss(params, x, words)[1])
    for _ in range(200):
        params, state, right = step(params, state, *draw())
    assert first < 0.2 and float(right) > 0.9
