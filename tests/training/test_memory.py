"""The memory of continual learning: kernel, rules, checkpoint."""

import numpy as np
import pytest

from lvm_mtc.training.memory import (
    RULES,
    MemoryConfig,
    SampleMemory,
    empty_memory,
    farthest,
    kernel_distances,
    load_memory,
    remember,
    replayed,
    save_memory,
    similarities,
)


def flat(samples):
    return samples.reshape(len(samples), -1)


def test_the_kernel_is_equation_13_and_the_printed_product_is_not():
    distance = pytest.importorskip("scipy.spatial.distance")
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 128)) + 3, rng.normal(size=(7, 128)) + 3
    config = MemoryConfig(tau=10.0)
    np.testing.assert_allclose(
        similarities(config, a, b), np.exp(-distance.cdist(a, b, "sqeuclidean") / 200), atol=1e-6
    )
    own = similarities(config, a, a)
    np.testing.assert_allclose(np.diag(own), 1, atol=1e-12)
    np.testing.assert_allclose(own, own.T, atol=1e-12)
    assert own.min() >= 0 and own.max() <= 1
    printed = similarities(MemoryConfig(tau=10.0, similarity="printed"), a, a)
    assert np.abs(printed - own).max() > 0.1 and np.diag(printed).max() < 0.5


def test_coverage_holds_as_many_of_each_cluster():
    rng = np.random.default_rng(1)
    centres = np.eye(3) * 100
    stream = np.concatenate([centre + rng.normal(size=(200, 3)) for centre in centres])
    stream = np.concatenate([stream, stream[:50]])
    config = MemoryConfig(rule="coverage", stm_capacity=65, ltm_capacity=30, tau=1.0)
    for tau in (1.0, None):
        config = MemoryConfig(rule="coverage", stm_capacity=65, ltm_capacity=30, tau=tau)
        memory = remember(config, empty_memory(stream[0]), stream, flat)
        counts = np.bincount(memory.ltm.argmax(1), minlength=3)
        assert len(memory.ltm) == 30 and memory.seen == 650
        if tau is None:
            assert np.abs(counts - 10).max() <= 1
        assert len(np.unique(memory.ltm, axis=0)) == 30


def test_farthest_points_by_hand():
    vectors = np.array([[0.0], [1], [10], [4], [10.5]])
    order = farthest(kernel_distances(MemoryConfig(tau=100.0), vectors), 4)
    assert order.tolist() == [0, 4, 3, 1]  # 10.5; then 4 (4 away); then 1 and 10 are 1 and 0.5 away


def test_literal_keeps_what_is_alike_and_below_what_is_not():
    first, then = np.array([[0.0], [0.2]]), np.array([[0.1], [5.0]])
    near, far = np.exp(-0.01 / 2), np.exp(-(25 + 4.8**2) / 4)
    assert near > 0.5 > far
    for rule, kept in (("literal", 0.1), ("below", 5.0)):
        config = MemoryConfig(rule=rule, stm_capacity=2, ltm_capacity=3, tau=1.0, threshold=0.5)
        memory = remember(config, empty_memory(first[0]), np.concatenate([first, then]), flat)
        np.testing.assert_array_equal(memory.ltm[:, 0], [0.0, 0.2, kept])
    more = remember(config, memory, np.array([[50.0], [90.0]]), flat)
    assert len(more.ltm) == 3  # below: full; what is unlike it stays outside


def test_a_sample_that_finds_the_memory_full_is_not_lost():
    samples = np.arange(7)[:, None]
    memory = remember(MemoryConfig(rule="joint", stm_capacity=3), empty_memory(samples[0]), samples, flat)
    assert memory.ltm[:, 0].tolist() == [0, 1, 2, 3, 4, 5] and memory.stm[:, 0].tolist() == [6]
    none = remember(MemoryConfig(rule="none", stm_capacity=3), empty_memory(samples[0]), samples, flat)
    assert len(none.ltm) == 0 and none.seen == 6


def test_a_reservoir_is_fair():
    n, room, runs = 40, 10, 2000
    samples, counts = np.arange(n)[:, None], np.zeros(n)
    for seed in range(runs):
        config = MemoryConfig(rule="reservoir", stm_capacity=8, ltm_capacity=room, seed=seed)
        ltm = remember(config, empty_memory(samples[0]), samples, flat).ltm[:, 0]
        assert len(set(ltm.tolist())) == room
        counts[ltm] += 1
    p = room / n
    assert np.abs(counts / runs - p).max() < 5 * np.sqrt(p * (1 - p) / runs)


@pytest.mark.parametrize("rule", RULES)
def test_a_memory_goes_on_where_it_was(rule, tmp_path):
    rng = np.random.default_rng(2)
    stream = rng.normal(size=(90, 4))
    config = MemoryConfig(rule=rule, stm_capacity=20, ltm_capacity=15, threshold=0.3)
    whole = remember(config, empty_memory(stream[0]), stream, flat)
    half = remember(config, empty_memory(stream[0]), stream[:47], flat)
    save_memory(tmp_path / "memory.npz", half)
    again = remember(config, load_memory(tmp_path / "memory.npz"), stream[47:], flat)
    for one, other in zip(whole, again, strict=True):
        np.testing.assert_array_equal(one, other)
    if rule not in ("literal", "joint"):
        assert len(whole.ltm) <= 15


def test_half_of_a_batch_is_new():
    memory = SampleMemory(np.zeros((0, 1)), np.zeros((5, 1)), 5)
    batch = replayed(memory, np.ones((9, 1)), 8, 0.25, np.random.default_rng(0))
    assert batch.sum() == 2 and batch.shape == (8, 1)
    alone = replayed(empty_memory(np.zeros(1)), np.ones((9, 1)), 8, 0.25, np.random.default_rng(0))
    assert alone.sum() == 8


def test_wrong_values_are_named():
    with pytest.raises(ValueError, match="MemoryConfig.rule 'best' is unknown; known: coverage, none"):
        MemoryConfig(rule="best")
    with pytest.raises(ValueError, match="MemoryConfig.tau .* got 0"):
        MemoryConfig(tau=0.0)
