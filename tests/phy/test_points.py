"""Constellations against QAM's own demapper and closed forms, and against plain NumPy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from lvm_mtc import phy
from lvm_mtc.phy.constellation import (
    NUM_POINTS,
    apsk_points,
    label_llr,
    label_order,
    mutual_information,
    nearest_point,
    posterior,
)
from lvm_mtc.phy.modulation import labels_of

UNIFORM = jnp.zeros(16)
SHAPING_LIMIT_DB = 10 * np.log10(np.pi * np.e / 6)


def draw(count, no, points, use=None, seed=0):
    rng = np.random.default_rng(seed)
    sent = rng.choice(len(points), count, p=use)
    noise = (rng.normal(size=(count, 2)) @ [1, 1j]) * np.sqrt(no / 2)
    return sent, points[sent] + noise


@pytest.mark.parametrize("count", NUM_POINTS)
def test_rings_hold_all_points_once_at_power_one(count):
    points = apsk_points(count)
    assert points.shape == (count,) and np.mean(np.abs(points) ** 2) == pytest.approx(1)
    assert np.abs(points.mean()) < 1e-12 and len(np.unique(np.abs(points).round(9))) == round((count / 4) ** 0.5)
    gaps = np.abs(points[:, None] - points)[~np.eye(count, dtype=bool)]
    assert gaps.min() > 0.4 * np.sqrt(6 / (count - 1)) if count > 4 else gaps.min() == pytest.approx(np.sqrt(2))


def test_other_numbers_of_points_and_real_codebooks_are_refused():
    with pytest.raises(ValueError, match="num_points must be one of 4, 16, 64, 256, got 32"):
        apsk_points(32)
    with pytest.raises(ValueError, match=r"points must be complex \[K\], got float32 \(64, 2\)"):
        nearest_point(jnp.zeros(3, jnp.complex64), jnp.zeros((64, 2)))
    with pytest.raises(ValueError, match="x_hat must be complex, got float32"):
        posterior(jnp.zeros(3), 1.0, jnp.zeros(4, jnp.complex64), jnp.zeros(4))


def test_posterior_is_that_of_numpy_for_any_use():
    rng = np.random.default_rng(1)
    points, log_use = (rng.normal(size=(7, 2)) @ [1, 1j]), np.log(rng.dirichlet(np.ones(7)))
    x_hat, no_eff = rng.normal(size=(5, 3, 2)) @ [1, 1j], rng.uniform(0.01, 2, (5, 3))
    weight = np.exp(log_use - np.abs(x_hat[..., None] - points) ** 2 / no_eff[..., None])
    with jax.enable_x64(True):
        ours = posterior(jnp.asarray(x_hat), jnp.asarray(no_eff), jnp.asarray(points), jnp.asarray(log_use))
    np.testing.assert_allclose(ours, weight / weight.sum(-1, keepdims=True), rtol=1e-12)


def test_posterior_of_qam_gives_the_llrs_of_its_demapper():
    points = phy.qam_points(4)
    _, x_hat = draw(400, 0.2, points)
    x_hat = jnp.asarray(x_hat, jnp.complex64)
    likely = posterior(x_hat, 0.2, jnp.asarray(points), UNIFORM)
    labels = (np.arange(16)[:, None] >> np.arange(4)[::-1]) & 1
    ours = jnp.log(likely @ labels) - jnp.log(likely @ (1 - labels))
    theirs = phy.qam_llr(x_hat, 0.2, 4).reshape(-1, 4)
    known = np.abs(theirs) < 8  # beyond, sums of probabilities keep few digits in float32
    np.testing.assert_allclose(ours[known], theirs[known], atol=1e-2)


def test_limits_of_the_noise():
    points, log_use = jnp.asarray(phy.qam_points(4)), jnp.log(jnp.arange(1.0, 17) / 136)
    x_hat = points.astype(jnp.complex64)
    np.testing.assert_allclose(posterior(x_hat, 0.0, points, log_use), np.eye(16), atol=1e-6)
    np.testing.assert_allclose(posterior(x_hat, np.inf, points, log_use), np.tile(np.exp(log_use), (16, 1)), rtol=1e-5)
    gradient = jax.grad(lambda no: posterior(x_hat, no, points, log_use)[:, 0].sum())(0.0)
    assert np.isfinite(gradient)


@pytest.mark.slow
@pytest.mark.parametrize("bits, snr_db", [(2, 6.0), (4, 12.0), (6, 18.0)])
def test_symbol_error_rate_of_qam_is_the_closed_form(bits, snr_db):
    points, no, count = phy.qam_points(bits), 10 ** (-snr_db / 10), 200_000
    sent, x_hat = draw(count, no, points)
    chosen = nearest_point(jnp.asarray(x_hat, jnp.complex64), jnp.asarray(points))
    rate, size = np.mean(np.asarray(chosen) != sent), 2**bits
    edge = 2 * (1 - 1 / np.sqrt(size)) * norm.sf(np.sqrt(3 / (no * (size - 1))))
    wanted = 1 - (1 - edge) ** 2
    assert abs(rate - wanted) < 5 * np.sqrt(wanted * (1 - wanted) / count)


def test_mutual_information_is_that_of_integration_and_keeps_its_bounds():
    snr = 10 ** (np.array([-5.0, 5.0, 15.0, 40.0]) / 10)
    qpsk = mutual_information(phy.qam_points(2), np.full(4, 1 / 4), snr)
    grid = np.linspace(-12, 12, 20001)  # one dimension of QPSK: +-sqrt(snr / 2) in noise of variance 1/2
    level = np.sqrt(snr / 2)[:, None]
    density = np.exp(-((grid - level) ** 2)) / np.sqrt(np.pi)
    wanted = 2 * np.trapezoid(density * (1 - np.logaddexp(0, -4 * grid * level) / np.log(2)), grid, axis=-1)
    np.testing.assert_allclose(qpsk[:3], wanted[:3], atol=2e-4)
    assert qpsk[3] == pytest.approx(2, abs=1e-6)
    for bits in (4, 6):
        values = mutual_information(phy.qam_points(bits), np.full(2**bits, 0.5**bits), snr)
        assert np.all(values <= np.minimum(np.log2(1 + snr), bits) + 1e-9) and np.all(np.diff(values) > 0)


def test_shaping_gains_over_equal_use_and_stays_below_its_limit():
    points, snr_db = phy.qam_points(6), np.arange(4.0, 17.0)
    even = mutual_information(points, np.full(64, 1 / 64), 10 ** (snr_db / 10))
    for tilt in (0.5, 1.5):
        use = np.exp(-tilt * np.abs(points) ** 2)
        shaped = mutual_information(points, use / use.sum(), 10 ** (snr_db / 10))
        gain_db = np.interp(shaped, even, snr_db, right=np.nan) - snr_db
        assert np.nanmax(gain_db) > 0.1 and np.nanmax(gain_db) < SHAPING_LIMIT_DB


@pytest.mark.parametrize("bits", phy.BITS_PER_SYMBOL)
def test_llrs_of_labels_of_qam_are_those_of_its_demapper(bits):
    x_hat, no_eff = _symbols(40), np.random.default_rng(1).uniform(0.01, 1, 40).astype(np.float32)
    points = jnp.asarray(phy.qam_points(bits), jnp.complex64)
    wanted = phy.qam_llr(jnp.asarray(x_hat), no_eff, bits).reshape(40, bits)
    np.testing.assert_allclose(label_llr(jnp.asarray(x_hat), no_eff, points), wanted, rtol=1e-4, atol=1e-4)


def test_llrs_of_labels_are_those_of_numpy_for_any_points_and_use():
    x_hat, points, use = _symbols(30), _symbols(8, seed=3), np.random.default_rng(4).dirichlet(np.ones(8))
    likely = use * np.exp(-(np.abs(x_hat[:, None] - points) ** 2) / 0.3)
    ones = labels_of(3) == 1
    np.testing.assert_array_equal(ones[6], [True, True, False])
    wanted = np.log(likely @ ones) - np.log(likely @ ~ones)
    told = label_llr(jnp.asarray(x_hat), 0.3, jnp.asarray(points), jnp.log(jnp.asarray(use, jnp.float32)))
    np.testing.assert_allclose(told, wanted, rtol=1e-4, atol=1e-4)
    quiet = label_llr(jnp.asarray(points), 0.0, jnp.asarray(points))
    np.testing.assert_array_equal(quiet > 0, ones)
    assert np.isfinite(quiet).all()
    with pytest.raises(ValueError, match="points must be a power of two above 1, got 6"):
        label_llr(jnp.asarray(x_hat), 0.3, jnp.asarray(points[:6]))


def _flip_cost(points, use):
    """Mean squared distance to the points whose labels differ in one bit, by loops."""
    return sum(
        use[label] * abs(points[label] - points[label ^ (1 << bit)]) ** 2
        for label in range(len(points))
        for bit in range(len(points).bit_length() - 1)
    ) / sum(use)


def test_labels_of_four_points_are_the_best_of_all_and_no_exchange_betters_more():
    rng = np.random.default_rng(5)
    for _ in range(20):
        points, use = rng.normal(size=(4, 2)) @ [1, 1j], rng.random(4)
        order = label_order(points, use)
        least = min(_flip_cost(points[list(way)], use[list(way)]) for way in itertools.permutations(range(4)))
        assert _flip_cost(points[order], use[order]) == pytest.approx(least)
    points, use = rng.normal(size=(16, 2)) @ [1, 1j], rng.random(16)
    order = label_order(points, use)
    np.testing.assert_array_equal(np.sort(order), np.arange(16))
    least = _flip_cost(points[order], use[order])
    assert least < 0.8 * _flip_cost(points, use)
    for a, b in itertools.combinations(range(16), 2):
        other = order.copy()
        other[[a, b]] = other[[b, a]]
        assert _flip_cost(points[other], use[other]) >= least * (1 - 1e-9)


def test_labels_that_were_shuffled_come_back_as_good_as_gray():
    points = phy.qam_points(6)
    order = label_order(points[np.random.default_rng(6).permutation(64)], np.ones(64))
    shuffled = points[np.random.default_rng(6).permutation(64)]
    assert (
        _flip_cost(shuffled[order], np.ones(64)) < _flip_cost(points, np.ones(64)) < _flip_cost(shuffled, np.ones(64))
    )
    with pytest.raises(ValueError, match=r"points and use must be \[K\], got \(64,\) and \(4,\)"):
        label_order(points, np.ones(4))


def _symbols(count, seed=2):
    parts = np.random.default_rng(seed).normal(size=(count, 2)).astype(np.float32)
    return (parts @ np.complex64([1, 1j])).astype(np.complex64)
