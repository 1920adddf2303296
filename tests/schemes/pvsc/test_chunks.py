"""Which chunks are sent: exact budgets, the best choice, packing, the bitmap's cost."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.schemes.pvsc import bitmap, chunks

pytestmark = pytest.mark.usefixtures("fast_compile")


@pytest.mark.parametrize(
    ("gop", "factor", "most"), [(1, 1.0, 40), (2, 1.0, 40), (4, 2.5, 20), (8, 3.0, 40), (8, 7.9, 9)]
)
def test_every_budget_is_spent_to_the_last_pair(gop, factor, most):
    totals = jnp.arange(gop * most + 1)
    counts = np.asarray(jax.vmap(lambda t: chunks.pairs_per_frame(t, gop, factor, most))(totals))
    np.testing.assert_array_equal(counts.sum(1), totals)
    assert counts.min() >= 0 and counts.max() <= most
    if gop > 1:
        assert np.ptp(counts[:, 1:], axis=1).max() <= 1
        first = np.minimum(np.round(factor * np.float32(totals) / gop), most)
        np.testing.assert_array_equal(counts[:, 0], first)


def test_the_choice_is_exact_and_the_best():
    rng = np.random.default_rng(0)
    values = np.stack([rng.normal(size=12), rng.integers(0, 3, 12), np.ones(12)]).astype(np.float32)
    counts = jnp.arange(9)
    masks = np.asarray(jax.vmap(lambda v: jax.vmap(lambda n: chunks.choose(v, n, 8))(counts))(values))
    np.testing.assert_array_equal(masks.sum(-1), np.tile(np.arange(9), (3, 1)))
    for own, of_value in zip(masks, values, strict=True):
        for count in (0, 1, 3, 8):
            best = max(sum(of_value[i] for i in places) for places in itertools.combinations(range(12), count))
            assert (own[count] * of_value).sum() == pytest.approx(best, rel=1e-6)
    np.testing.assert_array_equal(masks[2, 5], np.arange(12) < 5)  # of equal ones the first
    places = np.asarray(jax.vmap(lambda m: chunks.places_of(m, 8))(masks[0]))
    for count in range(9):
        np.testing.assert_array_equal(places[count, :count], np.flatnonzero(masks[0, count]))


def test_packing_is_undone():
    rng = np.random.default_rng(1)
    rows, counts = rng.normal(size=(4, 5, 3)).astype(np.float32), np.array([5, 0, 2, 3])
    packed = chunks.pack(rows, counts, 12)
    np.testing.assert_array_equal(packed[:10], np.concatenate([a[:n] for a, n in zip(rows, counts, strict=True)]))
    back = np.asarray(chunks.unpack(packed, jnp.asarray(counts), 5))
    for frame, count in enumerate(counts):
        np.testing.assert_array_equal(back[frame, :count], rows[frame, :count])


def test_chunks_are_features_of_neighbouring_patches():
    rng = np.random.default_rng(2)
    patches = rng.normal(size=(2, 24, 5)).astype(np.float32)
    cut = np.asarray(chunks.to_chunks(patches, (4, 6), 2))
    assert cut.shape == (2, 5, 6, 4)
    grid = patches.reshape(2, 4, 6, 5)
    np.testing.assert_array_equal(cut[1, 3, 4], grid[1, 2:4, 2:4, 3].ravel())
    np.testing.assert_array_equal(chunks.from_chunks(cut, (4, 6), 2), patches)


def code_length(model, mask, predicted):
    """Bit by bit, from the words of the file's first lines."""
    features, places = mask.shape
    density = int(np.clip(np.round(-np.log2(max(mask.sum(), 1) / mask.size)), 0, 5))
    total = 0.0
    for k, n in itertools.product(range(features), range(places)):
        above = sum(int(mask[k - back, n]) for back in (1, 2) if k >= back)
        before = int(mask[k, n - 1]) if n else 0
        odds = model[predicted, density, min(int(2 * np.log2(k + 1)), 15), 2 * above + before]
        total -= np.log2(1 / (1 + np.exp(-odds if mask[k, n] else odds)))
    return np.ceil(total) + 1 if mask.any() else 0.0


def test_the_bitmap_costs_its_code_length():
    rng = np.random.default_rng(3)
    share = np.array([0.9, 0.6, 0.2, 0.05, 0.0])[:, None, None]
    masks = rng.random((5, 20, 4)) < share * np.linspace(1.5, 0.2, 20)[:, None]
    kinds = np.array([0, 1, 0, 1, 1])
    model = jnp.float32(rng.normal(size=bitmap.SHAPE))
    got = jax.vmap(lambda m, k: bitmap.code_length(model, m, k))(masks, kinds)
    np.testing.assert_array_equal(
        got, [code_length(np.asarray(model), m, k) for m, k in zip(masks, kinds, strict=True)]
    )
    # A model that was fitted to masks codes such masks in fewer bits than one bit each.
    many = rng.random((400, 20, 4)) < 0.3 * np.linspace(2, 0, 20)[:, None]
    fitted = jnp.float32(bitmap.fit_model(many[:300], np.zeros(300, int)))
    entropy = -np.sum([p * np.log2(p) + (1 - p) * np.log2(1 - p) for p in 0.3 * np.linspace(2, 0, 20)[:-1]]) * 4
    lengths = jax.vmap(lambda m: bitmap.code_length(fitted, m, 0))(many[300:])
    assert entropy < np.mean(lengths) < 1.15 * entropy + 2 < 80
