import numpy as np
import pytest

from lvm_mtc.allocation.pairing import NoFeasiblePairing, best_pairing, pairings


@pytest.mark.parametrize(("users", "count"), [(2, 1), (4, 3), (6, 15), (8, 105)])
def test_all_pairings_are_different_and_perfect(users, count):
    found = set(pairings(range(users)))
    assert len(found) == count
    assert all(sorted(u for pair in pairs for u in pair) == list(range(users)) for pairs in found)


@pytest.mark.parametrize("users", [2, 4, 6, 8])
def test_is_the_best_of_all(users):
    rng = np.random.default_rng(users)
    for _ in range(12):
        weight = rng.normal(size=(users, users))
        weight = np.where(rng.random((users, users)) < 0.15, -np.inf, weight)
        weight = np.minimum(weight, weight.T)
        best = max(sum(weight[pair] for pair in pairs) for pairs in pairings(range(users)))
        if best == -np.inf:
            with pytest.raises(NoFeasiblePairing):
                best_pairing(weight)
        else:
            pairs, value = best_pairing(weight)
            assert value == pytest.approx(best) == pytest.approx(sum(weight[pair] for pair in pairs))


def test_twelve_users_at_once():
    weight = np.zeros((12, 12))
    for i in range(0, 12, 2):
        weight[i, i + 1] = weight[i + 1, i] = 1.0
    assert best_pairing(weight) == (tuple((i, i + 1) for i in range(0, 12, 2)), 6.0)


def test_wrong_numbers_of_users_and_a_user_that_nobody_can_take():
    with pytest.raises(ValueError, match="must be even for pairs, got 5"):
        best_pairing(np.zeros((5, 5)))
    with pytest.raises(ValueError, match="up to 16 users, got 20"):
        best_pairing(np.zeros((20, 20)))
    weight = np.zeros((4, 4))
    weight[3] = weight[:, 3] = -np.inf
    with pytest.raises(NoFeasiblePairing, match="user 3 can be paired with nobody"):
        best_pairing(weight)
