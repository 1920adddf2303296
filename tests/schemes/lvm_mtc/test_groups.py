"""Groups of UAVs that share a token, against a search through all sets in plain float64 NumPy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.link.signal import heard_by
from lvm_mtc.schemes.lvm_mtc.comparator import (
    MOST_UAVS,  # fmt: skip
    compare_groups,
    compare_tokens,
    group_turns,
    mean_of_members,
    num_groups,
    sending_turns,
)
from lvm_mtc.schemes.lvm_mtc.masking import KeptPatches, keep_bernoulli

pytestmark = pytest.mark.usefixtures("fast_compile")

K, L, D = 4, 40, 6
compare = jax.jit(compare_groups, static_argnames=("comparator", "alignment", "aggregation", "temperature"))


def tokens(num_uavs=K, seed=0):
    """Tokens that differ from a common one, the more the later the UAV and the slot."""
    common, own = jax.random.normal(jax.random.key(seed), (2, num_uavs, L, D))
    spread = jnp.linspace(0.2, 1.0, num_uavs)[:, None] * jnp.geomspace(0.02, 2.0, L)[None]
    return common[:1] + own * spread[..., None]


def everything(valid):
    """Patches of which each UAV keeps the first ones, padded to ``valid.shape[1]``."""
    ids = jnp.broadcast_to(jnp.arange(valid.shape[1]), valid.shape)
    return KeptPatches(ids, valid, jnp.where(valid, 0.0, 1.0), jnp.zeros(len(valid), jnp.int32))


def some_valid(num_uavs=K):
    return everything(jax.random.bernoulli(jax.random.key(9), 0.8, (num_uavs, L)))


def discrepancy(x, comparator, aggregation):
    """Of one slot's tokens, ``[uavs, D]``."""
    found = []
    for a, b in itertools.combinations(x, 2):
        if comparator == "intensity":
            found.append(abs(a.var() - b.var()) / x.var(-1).mean())
        elif comparator == "cosine":
            found.append(1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        else:
            found.append(((a - b) ** 2).sum() / ((a**2).sum() + (b**2).sum()))
    return {"mean": np.mean, "sum": np.sum, "max": np.max}[aggregation](found)


def search(x, valid, epsilon, comparator, aggregation):
    """Members, score and decision of one slot: every set is looked at."""
    sets = [s for size in range(2, len(x) + 1) for s in itertools.combinations(range(len(x)), size)]
    of = {s: discrepancy(x[list(s)], comparator, aggregation) for s in sets}
    whole = [s for s in sets if valid[list(s)].all()]
    passing = [s for s in whole if of[s] < epsilon]
    if passing:
        most = max(map(len, passing))
        best = min((s for s in passing if len(s) == most), key=of.get)
    else:
        best = min(whole or sets, key=of.get)
    return best, of[best], bool(passing)


@pytest.mark.parametrize("comparator, epsilon", [("intensity", 0.3), ("cosine", 0.1), ("learned", 0.1)])
@pytest.mark.parametrize("aggregation", ["mean", "sum", "max"])
def test_members_are_the_largest_set_below_the_threshold(comparator, epsilon, aggregation):
    x, kept = tokens(), some_valid()
    got = compare(x, x, kept, epsilon, comparator=comparator, aggregation=aggregation)
    sizes = set()
    for i in range(L):
        x64, valid = np.float64(x[:, i]), np.asarray(kept.valid[:, i])
        members, score, public = search(x64, valid, epsilon, comparator, aggregation)
        assert tuple(np.flatnonzero(got.members[:, i])) == members
        assert got.public[i] == public
        np.testing.assert_allclose(got.score[i], score, rtol=2e-4, atol=1e-6)
        sizes.add(len(members) * public)
    assert sizes == {0, 2, 3, 4}  # the case is no special one
    all_or_none = compare_tokens(x, x, kept, epsilon, comparator=comparator, aggregation=aggregation)
    assert all_or_none.public.sum() < got.public.sum()


@pytest.mark.slow
@pytest.mark.parametrize("alignment", ["index", "sorted", "position"])
def test_two_uavs_are_decided_as_before_number_for_number(alignment):
    x = tokens(2)
    kept = keep_bernoulli(jax.random.logistic(jax.random.key(2), (2, 2 * L)), L)

    def run(decide):
        def weigh(x, epsilon):
            found = decide(x, x, kept, epsilon, alignment=alignment, temperature=0.1)
            return (found.weight * jnp.arange(1.0, L + 1)).sum(), found

        (_, found), gradients = jax.jit(jax.value_and_grad(weigh, argnums=(0, 1), has_aux=True))(x, 0.3)
        return found, gradients

    old, new = run(compare_tokens), run(compare_groups)
    assert 0 < old[0].public.sum() < L and new[0].members.all()
    for a, b in zip(jax.tree.leaves(old), jax.tree.leaves((new[0]._replace(members=None), new[1])), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_by_position_members_are_of_those_who_keep_the_patch_and_other_tokens_keep_their_order():
    x = tokens()[:, :10]
    kept = keep_bernoulli(jax.random.logistic(jax.random.key(5), (K, 16)), 10)
    got = compare(x, x, kept, 1e9, alignment="position", comparator="cosine")
    keeping = np.asarray(kept.mask == 0)
    count = keeping.sum(0)
    chosen = sorted(sorted(np.flatnonzero(count > 1), key=lambda p: -count[p])[:10])
    assert 0 < (count < 2).sum() and got.public.sum() == len(chosen) and set(count[chosen]) >= {2, 3}
    ids, order = np.asarray(kept.ids_keep), np.asarray(got.order)
    for slot, patch in enumerate(chosen):
        np.testing.assert_array_equal(got.members[:, slot], keeping[:, patch])
        assert (ids[np.arange(K), order[:, slot]][keeping[:, patch]] == patch).all()
    for k in range(K):
        assert sorted(order[k]) == list(range(10))
        alone = order[k][[not (slot < len(chosen) and keeping[k, chosen[slot]]) for slot in range(10)]]
        np.testing.assert_array_equal(alone, np.sort(alone))


@pytest.mark.slow
def test_by_position_the_patches_of_the_most_uavs_get_the_places():
    ids = jnp.array([[0, 1], [0, 2], [0, 2], [1, 2]])
    mask = jnp.ones((4, 3)).at[jnp.arange(4)[:, None], ids].set(0)
    kept = KeptPatches(ids, jnp.ones((4, 2), bool), mask, jnp.zeros(4, jnp.int32))
    got = compare(jnp.ones((4, 2, D)), jnp.ones((4, 2, D)), kept, 1.0, alignment="position", comparator="cosine")
    # Patches 0 and 2 have three UAVs each; patch 1 has two, and there are two places.
    np.testing.assert_array_equal(got.members, [[True, False], [True, True], [True, True], [False, True]])
    np.testing.assert_array_equal(got.order, [[0, 1], [0, 1], [0, 1], [0, 1]])


def test_members_hear_public_tokens_in_the_same_turn_and_private_ones_stay_in_raster_order():
    order = jnp.array([[3, 0, 2, 1, 4], [1, 2, 3, 0, 4], [0, 1, 2, 3, 4]])
    public = jnp.array([False, True, False, True, False])
    members = jnp.array([[True, True, False, False, False], [True, True, True, True, True], [False] * 3 + [True] * 2])
    turns = np.asarray(group_turns(order, public, members))
    np.testing.assert_array_equal(turns, [[1, 3, 2, 0, 4], [1, 3, 0, 2, 4], [0, 3, 1, 2, 4]])
    everyone = group_turns(order, public, jnp.ones((3, 5), bool))
    np.testing.assert_array_equal(everyone, sending_turns(order, public))


@pytest.mark.slow
def test_the_mean_and_the_flags_are_of_the_members_only():
    x = jnp.arange(12.0).reshape(3, 2, 2).at[0, 1].set(jnp.inf)
    members = jnp.array([[True, False], [False, True], [True, True]])
    np.testing.assert_array_equal(mean_of_members(x, members), [[[4.0, 5.0], [8.0, 9.0]]])
    flags = heard_by(jnp.array([True, False]), members)
    np.testing.assert_array_equal(flags, [[True, False], [False, False], [True, False]])
    np.testing.assert_array_equal(heard_by(jnp.array([0.5, 0.0]), None), [[0.5, 0.0]])


@pytest.mark.slow
def test_the_gradient_is_the_sigmoid_of_the_chosen_set_and_lives_where_none_passes():
    x, kept = tokens(), everything(jnp.ones((K, L), bool))

    def run(x, epsilon):
        found = compare(x, x, kept, epsilon, comparator="learned", temperature=0.1)
        return found.weight.sum(), found

    for epsilon in (0.1, 0.0):
        (_, got), (by_x, by_epsilon) = jax.jit(jax.value_and_grad(run, argnums=(0, 1), has_aux=True))(x, epsilon)
        np.testing.assert_allclose(got.weight, got.public, atol=1e-6)
        soft = jax.nn.sigmoid((epsilon - got.score) / 0.1)
        np.testing.assert_allclose(by_epsilon, (soft * (1 - soft) / 0.1).sum(), rtol=1e-4)
        moved = np.abs(by_x).max(-1) > 0
        np.testing.assert_array_equal(moved, got.members)  # a UAV outside feels nothing
        assert not moved.all()


@pytest.mark.slow
def test_gradients_of_zero_tokens_are_finite_and_a_slot_without_two_valid_tokens_has_none():
    valid = jnp.ones((K, L), bool).at[1:, 3].set(False)
    for comparator in ("intensity", "cosine", "learned"):

        def weight(x, comparator=comparator):
            return compare(x, x, everything(valid), 0.1, comparator=comparator).weight.sum()

        grad = jax.jit(jax.grad(weight))
        assert np.isfinite(grad(jnp.zeros((K, L, D)))).all()
        assert not grad(tokens())[:, 3].any() and grad(tokens()).any()


def test_threshold_zero_and_a_single_uav_share_nothing():
    x = jnp.broadcast_to(tokens()[:1], (K, L, D))
    kept = everything(jnp.ones((K, L), bool))
    assert not compare(x, x, kept, 0.0).public.any()
    assert compare(x, x, kept, 1e-3).members.all()
    alone = jax.tree.map(lambda leaf: leaf[:1], kept)
    assert not compare(x[:1], x[:1], alone, 1.0, alignment="position").public.any()


def test_sets_are_counted_and_too_many_uavs_and_unknown_names_are_refused():
    assert [num_groups(k) for k in (1, 2, 3, 10)] == [0, 1, 4, 1013]
    x = jnp.ones((MOST_UAVS + 1, 2, D))
    kept = everything(jnp.ones((MOST_UAVS + 1, 2), bool))
    with pytest.raises(ValueError, match="groups needs num_uavs <= 12, .*; got 13"):
        compare_groups(x, x, kept, 0.1)
    most = jax.tree.map(lambda leaf: leaf[:MOST_UAVS], kept)
    assert jax.eval_shape(compare, x[:MOST_UAVS], x[:MOST_UAVS], most, 0.1).members.shape == (MOST_UAVS, 2)
    with pytest.raises(ValueError, match="alignment 'rank' is unknown; known: index"):
        compare_groups(x, x, kept, 0.1, alignment="rank")
