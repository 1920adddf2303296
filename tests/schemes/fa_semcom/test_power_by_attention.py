"""Levels and powers by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.schemes.fa_semcom.allocation import allocate_power, attention_levels, fuse

WEIGHTS = np.float32([0.0, 0.1, 0.25, 0.26, 0.7, 1.0]) * 0.3
VALID = np.ones(6, bool)


def test_levels_by_hand():
    assert attention_levels(WEIGHTS, VALID).tolist() == [1, 2, 2, 3, 4, 5]
    # Of the positive weights the smallest is 0 and the largest 1: 1/6, 0.178, 2/3.
    assert attention_levels(WEIGHTS, VALID, "minmax").tolist() == [1, 1, 2, 2, 4, 5]
    assert attention_levels(np.zeros(6, np.float32), VALID).tolist() == [1] * 6
    for norm in ("max", "minmax"):
        assert attention_levels(np.full(6, 0.2, np.float32), VALID, norm).tolist() == [5] * 6
    # What is not sent is no largest weight.
    assert attention_levels(WEIGHTS, VALID & (WEIGHTS < 0.3)).tolist()[:5] == [1, 2, 3, 3, 5]


def test_fused():
    one, other = WEIGHTS, WEIGHTS[::-1]
    alphas = jnp.array([0.0, 1.0, 0.5])
    np.testing.assert_allclose(fuse(one[None], other[None], alphas), [other, one, (one + other) / 2], rtol=1e-6)


def test_power():
    rng = np.random.default_rng(0)
    levels = rng.integers(1, 6, (50, 60)).astype(np.float32)
    valid = rng.random((50, 60)) < 0.7
    for beta in (0.0, 0.5, 1.0, 2.0, 4.0, 8.0):
        power = np.asarray(allocate_power(levels, jnp.full(50, beta), valid), np.float64)
        np.testing.assert_allclose(np.where(valid, power, 0).sum(axis=1), valid.sum(axis=1), rtol=1e-6)
        want = np.where(valid, np.float64(levels) ** beta, 0)
        want = want / want.sum(axis=1, keepdims=True) * valid.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(power[valid], want[valid], rtol=1e-5)
        if beta == 0:
            assert (power == 1).all()  # bit for bit
    top, low = np.asarray(allocate_power(np.float32([[1, 5]]), jnp.array([beta]), np.ones((1, 2), bool)))[0, ::-1]
    assert top / low == pytest.approx(5.0**8)
