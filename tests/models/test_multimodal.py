"""Tokens of pictures and sentences: pooling by windows against NumPy, InfoNCE against its definition and limits."""

import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.models.multimodal import info_nce, pool_windows, unit_tokens

pytestmark = pytest.mark.usefixtures("fast_compile")


def test_pooling_is_the_mean_of_each_window_and_of_what_is_left():
    rng = np.random.default_rng(0)
    tokens, counts, windows = rng.normal(size=(6, 13, 3)), [13, 13, 13, 7, 7, 1], [1, 4, 32, 2, 3, 8]
    valid = np.arange(13) < np.array(counts)[:, None]
    means, there = pool_windows(jnp.asarray(tokens), jnp.asarray(valid), jnp.asarray(windows))
    for row, (count, window) in enumerate(zip(counts, windows, strict=True)):
        expected = [tokens[row, i : min(i + window, count)].mean(0) for i in range(0, count, window)]
        assert there[row].sum() == len(expected) == -(-count // window)
        np.testing.assert_allclose(means[row, : len(expected)], expected, atol=1e-6)
        assert not np.any(means[row, len(expected) :])


def test_windows_of_one_change_nothing_and_the_order_within_one_neither():
    rng = np.random.default_rng(2)
    tokens = np.float32(rng.normal(size=(12, 3)))
    valid = jnp.ones(12, bool)
    np.testing.assert_array_equal(pool_windows(jnp.asarray(tokens), valid, 1)[0], tokens)
    mixed = tokens.reshape(3, 4, 3)[:, rng.permutation(4)].reshape(12, 3)
    (first, there), (other, _) = (pool_windows(jnp.asarray(of), valid, 4) for of in (tokens, mixed))
    np.testing.assert_allclose(first, other, atol=1e-6)
    np.testing.assert_allclose(first[there].mean(0), tokens.mean(0), atol=1e-6)  # 12 is divisible by 4
    for window in (0, -1, 1.5, np.array([1, 0])):
        with pytest.raises(ValueError, match=r"window .*: must be an integer >= 1"):
            pool_windows(jnp.zeros((2, 12, 3)), jnp.ones((2, 12), bool), window)


def test_unit_tokens_have_mean_square_one_and_nothing_stays_nothing():
    rng = np.random.default_rng(0)
    tokens = np.float32(10 ** rng.uniform(-1, 2, (9, 1)) * rng.normal(size=(9, 64)))
    np.testing.assert_allclose((np.asarray(unit_tokens(jnp.asarray(tokens)), np.float64) ** 2).mean(-1), 1, rtol=2e-4)
    np.testing.assert_array_equal(unit_tokens(jnp.zeros((1, 4))), 0)


def test_info_nce_is_numpys_and_has_its_limits():
    rng = np.random.default_rng(1)
    first, second = (v / np.linalg.norm(v, axis=-1, keepdims=True) for v in rng.normal(size=(2, 64, 512)))
    logits = 7 * first @ second.T
    by_row, by_column = (np.log(np.exp(logits).sum(axis)) - np.diag(logits) for axis in (1, 0))
    a, b = jnp.asarray(first), jnp.asarray(second)
    np.testing.assert_allclose(info_nce(a, b, 7.0), (by_row.mean() + by_column.mean()) / 2, rtol=1e-5)
    np.testing.assert_allclose(info_nce(a, b, 1.0), np.log(64), rtol=0.05)  # nobody knows anybody
    np.testing.assert_allclose(info_nce(b, a, 7.0), info_nce(a, b, 7.0), rtol=1e-5)
    assert info_nce(a, a, 100.0) < 1e-6
    twins = jnp.concatenate([a[:1], a[:1], a[2:]])
    different = jnp.any(twins[:, None] != twins[None], axis=-1)
    assert info_nce(twins, twins, 100.0, different) < 1e-6 < 0.01 < info_nce(twins, twins, 100.0)
