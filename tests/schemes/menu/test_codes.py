"""Codes of one number: the wave, posterior means against closed forms and against the definition in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.schemes.menu.codes import Codes, posterior, symbols_of, triangle

GRID = np.linspace(-6, 6, 241)
GAUSSIAN = -0.5 * GRID**2
TWISTED = Codes(np.array([2.0, 5.0, 3.0]), np.array([0.0, 3.0, 0.8]), np.array([0.0, 0.25, 0.1]))


def test_wave_goes_through_its_corners():
    np.testing.assert_allclose(
        triangle(jnp.array([-1.0, -0.5, -0.25, 0.0, 0.1, 0.5, 2.0])), [1, -1, 0, 1, 0.6, -1, 1], atol=1e-6
    )


def test_symbols_are_the_number_and_its_waves():
    u = np.array([-1.2, 0.0, 0.7])
    expected = [[2 * v, 5 * _wave(v / 3 + 0.25), 3 * _wave(v / 0.8 + 0.1)] for v in u]
    np.testing.assert_allclose(symbols_of(u, TWISTED), expected, rtol=1e-5)


def _wave(u):
    return 1 - 4 * abs(u - round(u))


@pytest.mark.parametrize("noise", [0.05, 1.0, 20.0])
def test_linear_code_of_a_gaussian_is_estimated_by_the_wiener_filter(noise):
    y = np.linspace(-3, 3, 7)[:, None]
    got, variance = posterior(
        y, np.full_like(y, noise), Codes(np.array([2.0]), np.zeros(1), np.zeros(1)), GRID, GAUSSIAN
    )
    np.testing.assert_allclose(got, 2 * y[:, 0] / (4 + noise), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(variance, noise / (4 + noise), rtol=1e-2)


def test_posterior_mean_is_that_of_bayes_rule():
    rng = np.random.default_rng(0)
    y, noise = rng.normal(size=(5, 3)) * 4, np.exp(rng.normal(size=(5, 3)))
    prior = -np.abs(GRID)
    with jax.enable_x64(True):
        got, variance = posterior(y, noise, TWISTED, GRID, prior)
    for row, value in enumerate(got):
        points = np.array([[2 * g, 5 * _wave(g / 3 + 0.25), 3 * _wave(g / 0.8 + 0.1)] for g in GRID])
        weight = np.exp(prior - 0.5 * ((y[row] - points) ** 2 / noise[row]).sum(1))
        np.testing.assert_allclose(value, (weight * GRID).sum() / weight.sum(), rtol=1e-9)


def test_symbols_that_did_not_arrive_leave_the_prior_mean():
    prior = np.where(GRID > 0, GAUSSIAN, -np.inf)
    got, variance = posterior(np.full(3, 7.0), np.full(3, np.inf), TWISTED, GRID, prior)
    assert got == pytest.approx(np.sqrt(2 / np.pi), abs=0.03)


def test_twisted_code_beats_the_linear_one_at_equal_power_where_noise_is_small():
    rng = np.random.default_rng(0)
    u, noise = rng.normal(size=4000), rng.normal(size=(4000, 2))
    power = 100.0
    linear = Codes(np.array([np.sqrt(power), 0.0]), np.zeros(2), np.zeros(2))
    twisted = Codes(np.sqrt(power * np.array([0.5, 1.5])), np.array([0.0, 3.5]), np.array([0.0, 0.0]))
    error = {}
    for name, code in (("linear", linear), ("twisted", twisted)):
        sent = np.asarray(symbols_of(u, code))
        assert np.mean((sent**2).sum(-1)) == pytest.approx(power, rel=0.1)
        got, variance = posterior(sent + noise, np.ones((4000, 2)), code, GRID, GAUSSIAN)
        error[name] = float(np.mean((got - u) ** 2))
    assert error["linear"] == pytest.approx(1 / (1 + power), rel=0.15)
    assert error["twisted"] < 0.75 * error["linear"]
