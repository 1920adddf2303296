"""Token comparator against a plain float64 NumPy one."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.schemes.lvm_mtc.comparator import compare_tokens, sending_turns
from lvm_mtc.schemes.lvm_mtc.masking import KeptPatches

K, L, D = 3, 7, 6
VALID = jnp.ones((K, L), bool)
KEPT = KeptPatches(jnp.tile(jnp.arange(L), (K, 1)), VALID, jnp.zeros((K, L)), jnp.zeros(K, int))


def tokens(seed=0):
    return jax.random.normal(jax.random.key(seed), (K, L, D))


def reference(x, comparator, aggregation):
    x = np.float64(x)
    pairs = []
    for k, m in itertools.combinations(range(len(x)), 2):
        if comparator == "intensity":
            s = x.var(-1)
            pairs.append(np.abs(s[k] - s[m]) / s.mean(0))
        else:
            pairs.append(1 - (x[k] * x[m]).sum(-1) / np.linalg.norm(x[k], axis=-1) / np.linalg.norm(x[m], axis=-1))
    return {"mean": np.mean, "sum": np.sum, "max": np.max}[aggregation](pairs, axis=0)


@pytest.mark.parametrize("comparator", ["intensity", "cosine"])
@pytest.mark.parametrize("aggregation", ["mean", "sum", "max"])
def test_scores_equal_the_definition(comparator, aggregation):
    x = tokens()
    got = compare_tokens(x, x, KEPT, 0.4, comparator=comparator, aggregation=aggregation)
    want = reference(x, comparator, aggregation)
    np.testing.assert_allclose(got.score, want, rtol=1e-5)
    np.testing.assert_array_equal(got.public, want < 0.4)
    assert not np.allclose(got.score, reference(x, comparator, "mean" if aggregation != "mean" else "max"), rtol=1e-5)


def test_threshold_zero_shares_nothing_even_among_equal_tokens():
    x = jnp.broadcast_to(tokens()[:1], (K, L, D))
    assert not compare_tokens(x, x, KEPT, 0.0).public.any()
    assert compare_tokens(x, x, KEPT, 1e-3).public.all()


def test_one_uav_shares_nothing():
    x = tokens()[:1]
    got = compare_tokens(x, x, jax.tree.map(lambda leaf: leaf[:1], KEPT), 10.0)
    assert not got.public.any() and not got.weight.any()


def test_a_slot_that_is_invalid_for_one_uav_is_private():
    x = jnp.broadcast_to(tokens()[:1], (K, L, D))
    got = compare_tokens(x, x, KEPT._replace(valid=VALID.at[1, 3].set(False)), 1.0)
    np.testing.assert_array_equal(got.public, np.arange(L) != 3)


def test_sorted_slots_align_ranks_and_send_invalid_tokens_last():
    x = tokens()
    got = compare_tokens(x, x, KEPT._replace(valid=VALID.at[0, 2].set(False)), 0.1, alignment="sorted")
    assert got.order[0, -1] == 2
    ranked = np.take_along_axis(np.var(x, axis=-1), np.asarray(got.order), 1)
    assert np.all(np.diff(ranked[1]) <= 0) and np.all(np.diff(ranked[0, :-1]) <= 0)


def test_permuted_copies_are_all_shared_when_sorted_but_not_by_index():
    x = tokens()[0]
    x = jnp.stack([x, x[::-1], jnp.roll(x, 2, axis=0)])
    assert compare_tokens(x, x, KEPT, 1e-4, alignment="sorted").public.all()
    assert compare_tokens(x, x, KEPT, 1e-4).public.sum() < L


def test_by_position_slots_hold_the_common_patches_first_and_no_others_are_public():
    mask = jnp.ones((2, 5)).at[0, jnp.array([0, 2, 4])].set(0).at[1, jnp.array([1, 2, 4])].set(0)
    kept = KeptPatches(jnp.array([[0, 2, 4], [1, 2, 4]]), VALID[:2, :3], mask, jnp.zeros(2, int))
    x = jnp.broadcast_to(tokens()[:1, :3], (2, 3, D))
    got = compare_tokens(x, x, kept, 1.0, alignment="position")
    np.testing.assert_array_equal(got.order, [[1, 2, 0]] * 2)
    np.testing.assert_array_equal(got.public, [True, True, False])


def test_public_slots_are_sent_first_and_private_tokens_in_raster_order():
    order = jnp.array([[3, 0, 2, 1], [1, 2, 3, 0]])
    public = jnp.array([False, True, False, True])
    # Private tokens are 3 and 2 of the first UAV (slots 0 and 2), 1 and 3 of the second.
    np.testing.assert_array_equal(sending_turns(order, public), [[1, 3, 2, 0], [1, 3, 0, 2]])


def test_the_decision_is_hard_forward_and_sigmoid_backward():
    x = tokens()

    def weight(epsilon):
        return compare_tokens(x, x, KEPT, epsilon, temperature=0.1).weight.sum()

    got = compare_tokens(x, x, KEPT, 0.5, temperature=0.1)
    np.testing.assert_allclose(got.weight, got.public, atol=1e-6)
    soft = jax.nn.sigmoid((0.5 - got.score) / 0.1)
    np.testing.assert_allclose(jax.grad(weight)(0.5), (soft * (1 - soft) / 0.1).sum(), rtol=1e-4)


def test_gradients_are_finite_for_zero_tokens():
    x = jnp.zeros((K, L, D))
    for comparator in ("intensity", "cosine"):
        grad = jax.grad(lambda x, c=comparator: compare_tokens(x, x, KEPT, 0.1, comparator=c).weight.sum())(x)
        assert np.isfinite(grad).all()


@pytest.mark.parametrize("field", ["comparator", "alignment", "aggregation"])
def test_unknown_names_are_refused(field):
    with pytest.raises(ValueError, match=rf"{field} 'euclid' is unknown; known: "):
        compare_tokens(tokens(), tokens(), KEPT, 0.1, **{field: "euclid"})
