"""Probabilities of masks by enumeration, by float64 quadrature and by counting draws of the chain's own law."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special

from lvm_mtc.schemes.lvm_mtc.masking import keep_bernoulli, keep_budget, keep_scores
from lvm_mtc.sweep.mask_likelihood import mask_log_likelihood

pytestmark = pytest.mark.usefixtures("fast_compile")

INSIDE = np.array([True, False, True, False, False])
ALL_MASKS = np.array(list(itertools.product([0, 1], repeat=5)), np.float32)
LAWS = [("budget", 2), ("bernoulli", 5), ("bernoulli", 3), ("bernoulli", 1)]
MASK_PROBS = (0.03, 0.24, 0.25, 0.26, 0.3, 0.8)


def can_be_drawn(masking, capacity):
    kept = (ALL_MASKS == 0).sum(axis=1)
    return ALL_MASKS[kept == capacity] if masking == "budget" else ALL_MASKS[(kept >= 1) & (kept <= capacity)]


@functools.cache
def found(masking, capacity):
    """Probabilities of all masks and the derivatives of their logarithms, by P_r."""
    masks = jnp.asarray(can_be_drawn(masking, capacity))

    def log_likelihood(mask_prob):
        inside = jnp.broadcast_to(INSIDE, masks.shape)
        value = mask_log_likelihood(masks, inside, mask_prob, masking=masking, capacity=capacity)
        return value, value

    scores, values = jax.jit(jax.vmap(jax.jacfwd(log_likelihood, has_aux=True)))(jnp.float32(MASK_PROBS))
    return tuple(dict(zip(MASK_PROBS, np.float64(a), strict=True)) for a in (np.exp(values), scores))


def exact_budget(mask, mask_prob):
    """Over who is the best that is removed, and what score it has."""
    mu = np.where(INSIDE, 1, -1) * (np.log1p(-mask_prob) - np.log(mask_prob))
    kept, removed = mask == 0, np.flatnonzero(mask)

    def density(t):
        below = special.expit(t - mu)
        others = [np.prod(below[[j for j in removed if j != i]]) * below[i] * (1 - below[i]) for i in removed]
        return np.prod(1 - below[kept]) * sum(others)

    return integrate.quad(density, -60, 60, points=[*np.unique(mu)], epsabs=1e-13, epsrel=1e-11, limit=500)[0]


@pytest.mark.parametrize(("masking", "capacity"), LAWS)
def test_all_masks_together_are_certain_and_scores_have_mean_zero(masking, capacity):
    probabilities, scores = found(masking, capacity)
    for mask_prob in MASK_PROBS:
        np.testing.assert_allclose(probabilities[mask_prob].sum(), 1, rtol=3e-6)
        assert abs(probabilities[mask_prob] @ scores[mask_prob]) < 1e-4 < 0.1 < np.abs(scores[mask_prob]).max()


@pytest.mark.parametrize(("masking", "capacity"), LAWS)
def test_masks_come_as_often_as_they_are_probable(masking, capacity):
    num, mask_prob = 100_000, 0.3
    keep = keep_budget if masking == "budget" else keep_bernoulli

    @jax.jit
    def draw(key):
        return keep(keep_scores(key, jnp.broadcast_to(INSIDE, (num, 5)), mask_prob), capacity).mask

    drawn = np.asarray(draw(jax.random.key(0)))
    masks = can_be_drawn(masking, capacity)
    often = np.array([np.mean(np.all(drawn == mask, axis=1)) for mask in masks])
    want = found(masking, capacity)[0][mask_prob]
    bound = 5 * np.sqrt(want * (1 - want) / num) + 1e-6
    assert np.all(np.abs(often - want) < bound)
    # Independent decisions alone, without what the budget, the capacity or an empty draw make of them, would not do.
    keeps = np.where(INSIDE, 1 - mask_prob, mask_prob)
    literal = np.prod(np.where(masks == 0, keeps, 1 - keeps), axis=1)
    assert np.any(np.abs(often - literal) > 2 * bound)


@pytest.mark.parametrize("mask_prob", [0.03, 0.25, 0.8])
def test_budget_is_the_integral(mask_prob):
    want = [exact_budget(mask, mask_prob) for mask in can_be_drawn("budget", 2)]
    np.testing.assert_allclose(found("budget", 2)[0][mask_prob], want, rtol=2e-5)


def test_bernoulli_is_a_product_between_its_ends():
    keeps, masks = np.where(INSIDE, 0.7, 0.3), can_be_drawn("bernoulli", 5)
    want = np.prod(np.where(masks == 0, keeps, 1 - keeps), axis=1)
    between = (masks == 0).sum(axis=1) > 1
    probabilities, scores = (of[0.3] for of in found("bernoulli", 5))
    np.testing.assert_allclose(probabilities[between], want[between], rtol=5e-6)
    # d log p: +- 1 / keep or masking probability.
    slopes = np.where(INSIDE, -1, 1) * np.where(masks == 0, 1 / keeps, -1 / (1 - keeps))
    np.testing.assert_allclose(scores[between], slopes.sum(axis=1)[between], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("masking", "capacity"), LAWS)
def test_scores_are_derivatives(masking, capacity):
    probabilities, scores = found(masking, capacity)
    slope = (probabilities[0.26] - probabilities[0.24]) / 0.02
    np.testing.assert_allclose(probabilities[0.25] * scores[0.25], slope, atol=2e-3)
    assert np.abs(slope).max() > 0.1


def test_a_picture_of_a_large_model_against_float64():
    """196 patches, half kept: the Gauss rule resolves the narrow integrand."""
    rng = np.random.default_rng(0)
    inside = np.arange(196) < 40
    mask = np.ones(196, np.float32)
    mask[rng.choice(40, 30, replace=False)] = 0
    mask[40 + rng.choice(156, 68, replace=False)] = 0

    def exact(mask_prob):
        """Logarithm, by the trapezoid rule in t, which is exact to rounding for such functions."""
        mu = np.where(inside, 1, -1) * (np.log1p(-mask_prob) - np.log(mask_prob))
        t = np.linspace(-30, 30, 20_001)[:, None]
        parts = np.where(mask == 0, special.log_expit(mu - t), special.log_expit(t - mu)).sum(axis=1)
        rises = np.where(mask == 1, special.expit(mu - t), 0).sum(axis=1)
        return special.logsumexp(parts, b=rises * (t[1, 0] - t[0, 0]))

    def log_likelihood(p):
        return mask_log_likelihood(jnp.asarray(mask), jnp.asarray(inside), p, masking="budget", capacity=98)

    value, slope = jax.jit(jax.value_and_grad(log_likelihood))(jnp.float32(0.25))
    assert float(value) == pytest.approx(exact(0.25), rel=1e-5)
    assert float(slope) == pytest.approx((exact(0.25001) - exact(0.24999)) / 2e-5, rel=1e-4)


def test_every_patch_kept_is_certain_whatever_the_odds():
    value, slope = jax.jit(
        jax.value_and_grad(
            lambda p: mask_log_likelihood(jnp.zeros(5), jnp.asarray(INSIDE), p, masking="budget", capacity=5)
        )
    )(jnp.float32(0.3))
    assert value == slope == 0


def test_another_masking_is_refused():
    with pytest.raises(ValueError, match="'budget' and 'bernoulli', got 'uniform'"):
        mask_log_likelihood(jnp.zeros(5), jnp.asarray(INSIDE), jnp.float32(0.3), masking="uniform", capacity=5)
