"""Moments, modulator and allocation of the codec of point clouds, against closed forms and brute force."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.phy.modulation import qam_points
from lvm_mtc.schemes.point_clouds.allocation import (
    CLASS_SIZE,
    allocate,
    fixed_slots,
    from_frame,
    to_frame,
    token_mask,
)
from lvm_mtc.schemes.point_clouds.modulator import LEAST_TEMPERATURE, axis_levels, choose_levels, level_scores
from lvm_mtc.schemes.point_clouds.moments import (
    fibonacci_sphere,
    moment_features,
    paint_discs,
    split_features,
    sunflower,
)

RNG = np.random.default_rng(2)
CLOUDS = np.float32(RNG.normal(size=(2, 80, 3)) * [1.0, 0.6, 0.2])


@pytest.mark.parametrize(("pattern", "count"), [(sunflower, 9), (sunflower, 17), (fibonacci_sphere, 16)])
def test_patterns_have_mean_0_and_covariance_1(pattern, count):
    points = np.float64(pattern(count))
    np.testing.assert_allclose(points.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(points.T @ points / count, np.eye(points.shape[1]), atol=1e-6)
    assert not sunflower(1).any() and not sunflower(2).any()


def test_discs_have_the_moments_that_were_told():
    features = jax.jit(moment_features, static_argnums=1)(CLOUDS, 6)
    counts = (9, 9, 8, 8, 8, 8)
    painted = np.float64(jax.jit(paint_discs, static_argnums=1)(features, counts))
    means, shapes = (np.float64(a) for a in split_features(features))
    np.testing.assert_allclose(shapes, np.swapaxes(shapes, -1, -2))
    for cloud in range(2):
        for cell, points in enumerate(np.split(painted[cloud], np.cumsum(counts)[:-1])):
            np.testing.assert_allclose(points.mean(0), means[cloud, cell], atol=1e-5)
            values, vectors = np.linalg.eigh(shapes[cloud, cell])
            flat = (vectors[:, 1:] * values[1:] ** 2) @ vectors[:, 1:].T  # without the shortest axis
            np.testing.assert_allclose(np.cov(points.T, bias=True), flat, atol=1e-5)


def test_moments_turn_with_the_cloud():
    turn, _ = np.linalg.qr(RNG.normal(size=(3, 3)))
    means, shapes = split_features(moment_features(CLOUDS, 6))
    turned_means, turned_shapes = split_features(moment_features(np.float32(CLOUDS @ turn.T), 6))
    np.testing.assert_allclose(turned_means, means @ turn.T, atol=1e-5)
    np.testing.assert_allclose(turned_shapes, turn @ shapes @ turn.T, atol=1e-4)


@pytest.mark.parametrize("bits", [2, 4, 6, 8])
def test_levels_are_those_of_the_qam(bits):
    levels = axis_levels(bits)
    grid = (levels[:, None] + 1j * levels).ravel()
    np.testing.assert_allclose(np.sort_complex(grid), np.sort_complex(qam_points(bits)), atol=1e-6)
    assert np.mean(np.abs(grid) ** 2) == pytest.approx(1, rel=1e-6)


LEVELS = axis_levels(4)
VALUES = np.float32(RNG.normal(size=400) * 0.7)


def test_values_alone_choose_the_nearest_level_and_the_gradient_is_the_soft_ones():
    log_tau = jnp.log(0.5)

    def sent(values, temperature):
        scores = level_scores(values, jnp.zeros((400, 4)), LEVELS, log_tau, "jsccm")
        return choose_levels(scores, jnp.full((400, 4), 9.0), LEVELS, jnp.full(400, temperature))

    hard = np.asarray(sent(VALUES, 0.0))
    np.testing.assert_array_equal(hard, LEVELS[np.argmin(np.abs(VALUES[:, None] - LEVELS), axis=1)])
    of_hard, of_soft = (jax.grad(lambda v, t=t: sent(v, t).sum())(VALUES) for t in (0.0, LEAST_TEMPERATURE))
    np.testing.assert_allclose(of_hard, of_soft, rtol=1e-5, atol=1e-6)
    assert np.abs(np.asarray(sent(VALUES, LEAST_TEMPERATURE)) - hard).max() > 0.05


def test_gumbel_noise_draws_levels_as_often_as_their_logits_say():
    logits = np.float32([0.3, -1.0, 1.2, 0.0])
    noise = jax.random.gumbel(jax.random.key(0), (100_000, 4))
    scores = level_scores(jnp.zeros(100_000), jnp.broadcast_to(logits, (100_000, 4)), LEVELS, 0.0, "gumbel")
    drawn = np.bincount(np.argmax(scores + noise, axis=-1), minlength=4)
    wanted = np.exp(logits) / np.exp(logits).sum() * 100_000
    assert ((drawn - wanted) ** 2 / wanted).sum() < 16.3  # 0.1 % of chi-square with 3 degrees
    mean = choose_levels(jnp.zeros((1, 4)), jnp.zeros((1, 4)), LEVELS, jnp.ones(1))
    assert float(mean[0]) == pytest.approx(0, abs=1e-6)
    soft = level_scores(VALUES, jnp.ones((400, 4)) * RNG.normal(size=(400, 4)), LEVELS, 0.0, "soft")
    np.testing.assert_array_equal(np.argmax(soft, -1), np.argmin(np.abs(VALUES[:, None] - LEVELS), axis=1))


@pytest.mark.parametrize("total", [4, 7, 12])
def test_slots_add_up_and_are_the_best_where_worth_falls(total):
    worth = -np.sort(-RNG.random((20, 4, 3)).astype(np.float32), axis=-1)
    slots, gates = (np.asarray(a) for a in allocate(worth, total))
    assert np.all(slots.sum(-1) == total) and slots.min() >= 1 and slots.max() <= 3
    np.testing.assert_allclose(gates, np.arange(3) < slots[..., None], atol=1e-6)
    for one, chosen in zip(worth, slots, strict=True):
        value = lambda counts, one=one: sum(one[i, :n].sum() for i, n in enumerate(counts))  # noqa: E731
        best = max(value(n) for n in itertools.product((1, 2, 3), repeat=4) if sum(n) == total)
        assert value(chosen) == pytest.approx(best, rel=1e-5)


def test_slots_are_prefixes_whatever_the_worth_and_ties_are_shared_alike():
    slots, _ = allocate(jnp.asarray(RNG.normal(size=(50, 5, 8)), jnp.float32), 17)
    assert np.all(np.asarray(slots).sum(-1) == 17) and np.asarray(slots).min() >= 1
    even, _ = allocate(-jnp.broadcast_to(jnp.arange(8.0), (5, 8)), 17)
    assert np.asarray(even).tolist() == [4, 4, 3, 3, 3] == np.asarray(fixed_slots(5, 17)).tolist()
    gradient = jax.grad(lambda w: allocate(w, 7)[1].sum())(jnp.asarray(RNG.normal(size=(4, 3)), jnp.float32))
    assert not np.asarray(gradient)[:, 0].any() and np.asarray(gradient)[:, 1:].any()


def test_frames_hold_what_the_mask_takes():
    slots = jnp.asarray([[1, 3, 2], [2, 2, 2]])
    mask = token_mask(slots, 3)
    assert mask.shape == (2, 3 * CLASS_SIZE, 3) and np.all(np.asarray(mask.sum((1, 2))) == 24)
    values = np.float32(RNG.normal(size=mask.shape))
    frame = np.asarray(to_frame(jnp.asarray(values), mask, 24))
    np.testing.assert_array_equal(frame, np.stack([a[m] for a, m in zip(values, np.asarray(mask), strict=True)]))
    np.testing.assert_array_equal(from_frame(jnp.asarray(frame), mask, 7.0), np.where(mask, values, 7))
