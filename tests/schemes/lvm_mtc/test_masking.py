"""Adaptive masking against Eq. 15: probabilities, budgets, padding, edges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.models.patches import patches_in_box
from lvm_mtc.schemes.lvm_mtc.masking import (
    keep_bernoulli,
    keep_budget,
    keep_rates,
    keep_scores,
    restore,
    scale_aware_mask_prob,
)

SIZE, PATCH = (32, 32), 4
NUM = 64
DRAWS = 4000


def inside_box():
    return patches_in_box(jnp.array([16.0, 16.0, 16.0, 16.0]), SIZE, PATCH)


def draws(mask_prob, seed=0):
    inside = jnp.broadcast_to(inside_box(), (DRAWS, NUM))
    return inside, keep_scores(jax.random.key(seed), inside, mask_prob)


def five_sigma(p, n):
    return 5 * np.sqrt(p * (1 - p) / n)


@pytest.mark.parametrize("mask_prob", [0.1, 0.25, 0.5, 0.7])
def test_bernoulli_draws_have_the_probabilities_of_equation_15(mask_prob):
    inside, scores = draws(mask_prob)
    kept = keep_bernoulli(scores, NUM)
    np.testing.assert_allclose(
        keep_rates(inside, kept.mask)[0].mean(), 1 - mask_prob, atol=five_sigma(mask_prob, DRAWS * 16)
    )
    np.testing.assert_allclose(
        keep_rates(inside, kept.mask)[1].mean(), mask_prob, atol=five_sigma(mask_prob, DRAWS * 48)
    )
    np.testing.assert_array_equal(
        kept.mask == 0, np.asarray(scores > 0) | ~np.asarray((scores > 0).any(-1, keepdims=True))
    )


def test_a_budget_of_the_sum_of_probabilities_keeps_them_to_one_percent_and_gumbel_noise_would_not():
    inside, scores = draws(0.25)
    budget = 16 * 3 // 4 + 48 // 4
    rate = keep_rates(inside, keep_budget(scores, budget).mask)[0].mean()
    assert abs(rate - 0.75) < 0.01
    # DESIGN.md's number for the usual top-k trick: log-probabilities plus Gumbel noise.
    gumbel = jnp.where(inside, jnp.log(0.75), jnp.log(0.25)) + jax.random.gumbel(jax.random.key(1), inside.shape)
    assert abs(keep_rates(inside, keep_budget(gumbel, budget).mask)[0].mean() - 0.75) > 0.05


def test_another_budget_shifts_all_odds_by_one_factor():
    inside, scores = draws(0.25)
    rates = keep_rates(inside, keep_budget(scores, 32).mask)
    logits = [np.log(r.mean() / (1 - r.mean())) for r in rates]
    # Conditioning on the count bends the odds a little; without the shift the difference would be the same 2 log 3.
    np.testing.assert_allclose(logits[0] - logits[1], 2 * np.log(3), atol=0.1)
    np.testing.assert_allclose(16 * rates[0].mean() + 48 * rates[1].mean(), 32, rtol=1e-5)


def test_probability_one_half_is_uniform():
    inside, scores = draws(0.5)
    rates = keep_rates(inside, keep_budget(scores, 32).mask)
    np.testing.assert_allclose(rates[0].mean(), 0.5, atol=five_sigma(0.5, DRAWS * 16))


def test_both_modes_use_the_same_draws():
    _, scores = draws(0.3)
    kept = keep_bernoulli(scores, NUM)
    same = keep_budget(scores[0], int(kept.valid[0].sum()))
    np.testing.assert_array_equal(same.ids_keep, kept.ids_keep[0][: same.ids_keep.size])


def test_kept_patches_are_in_raster_order_and_padding_at_the_end():
    _, scores = draws(0.3)
    kept = keep_bernoulli(scores, NUM)
    count = np.asarray(kept.valid.sum(-1))
    for row in range(50):
        assert np.all(np.diff(kept.ids_keep[row][: count[row]]) > 0)
        np.testing.assert_array_equal(kept.valid[row], np.arange(NUM) < count[row])


def test_overflow_is_counted_and_the_largest_scores_stay():
    _, scores = draws(0.3)
    small, full = keep_bernoulli(scores, 8), keep_bernoulli(scores, NUM)
    np.testing.assert_array_equal(small.overflow, np.maximum(np.asarray(full.valid.sum(-1)) - 8, 0))
    np.testing.assert_array_equal(small.ids_keep[0], keep_budget(scores[0], 8).ids_keep)


def test_an_empty_draw_keeps_one_patch():
    scores = jnp.full((NUM,), -3.0).at[17].set(-1.0)
    kept = keep_bernoulli(scores, 4)
    assert kept.valid.sum() == 1 and kept.ids_keep[0] == 17 and kept.mask.sum() == NUM - 1


def test_an_object_always_owns_a_patch():
    tiny = patches_in_box(
        jnp.array([[0.5, 0.5, 0.1, 0.1], [16.0, 16.0, 0.0, 0.0], [40.0, 40.0, 1.0, 1.0]]), SIZE, PATCH
    )
    np.testing.assert_array_equal(tiny.sum(-1), [1, 1, 1])
    assert tiny[0, 0] and tiny[2, -1]
    assert patches_in_box(jnp.array([16.0, 16.0, 32.0, 32.0]), SIZE, PATCH).all()


def test_a_patch_belongs_by_its_centre():
    # The box covers x 0..6: centres at 2 and 6 lie in it (edges count), 10 does not.
    inside = patches_in_box(jnp.array([3.0, 2.0, 6.0, 4.0]), SIZE, PATCH)
    np.testing.assert_array_equal(np.flatnonzero(inside), [0, 1])


def test_restore_puts_tokens_at_their_patches():
    _, scores = draws(0.3)
    kept = keep_bernoulli(scores[:3], NUM)
    tokens = jax.random.normal(jax.random.key(3), (3, NUM, 5))
    full = np.asarray(restore(tokens, kept, jnp.full(5, -7.0)))
    for b in range(3):
        want = np.full((NUM, 5), -7.0, np.float32)
        n = int(kept.valid[b].sum())
        want[np.asarray(kept.ids_keep[b][:n])] = tokens[b, :n]
        np.testing.assert_array_equal(full[b], want)


def test_scale_aware_schedule():
    loc = jnp.array([[16, 16, 0, 0], [16, 16, 32, 32], [16, 16, 16, 32]], jnp.float32)
    np.testing.assert_allclose(scale_aware_mask_prob(loc, SIZE), [0.2, 0.4, 0.3], rtol=1e-6)


@pytest.mark.parametrize("count", [0, 65, -1])
def test_a_budget_out_of_range_is_refused(count):
    with pytest.raises(ValueError, match=rf"1 \.\.\. 64 .* got {count}"):
        keep_budget(jnp.zeros(NUM), count)
    with pytest.raises(ValueError, match=rf"got {count}"):
        keep_bernoulli(jnp.zeros(NUM), count)


def test_mask_prob_is_traced():
    traces = []

    @jax.jit
    def rate(mask_prob):
        traces.append(1)
        inside = inside_box()
        return keep_rates(inside, keep_budget(keep_scores(jax.random.key(0), inside, mask_prob), 20).mask)[0]

    for value in (0.1, 0.2, 0.4):
        rate(value)
    assert len(traces) == 1
