"""What is sent and with what power, against a search in float64 and the conditions of the optimum."""

import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.schemes.importance.allocation import fill_with_water, most_important

VARIANCES = np.geomspace(3.0, 1e-4, 12)
WEIGHTS = np.where(np.arange(8) % 3 == 0, 10.0, 1.0)


def test_the_most_important_components_are_prefixes_of_every_patch():
    places, values = (np.asarray(a) for a in most_important(jnp.float32(VARIANCES), jnp.float32(WEIGHTS)[None], 50))
    weighted = (VARIANCES[:, None] * WEIGHTS).reshape(-1)
    np.testing.assert_allclose(values[0], -np.sort(-weighted)[:50], rtol=1e-6)
    np.testing.assert_allclose(values[0], weighted[places[0]], rtol=1e-6)
    assert len(set(places[0])) == 50
    component, patch = np.divmod(places[0], 8)
    for n in range(8):
        assert sorted(component[patch == n]) == list(range((patch == n).sum()))
    depth = np.bincount(patch, minlength=8)
    assert depth[WEIGHTS > 1].min() > depth[WEIGHTS == 1].max()


@pytest.mark.parametrize("snr_db", [-10.0, 0.0, 10.0, 30.0])
def test_water_filling_is_the_optimum(snr_db):
    values, noise, total = -np.sort(-(VARIANCES[:, None] * WEIGHTS).reshape(-1))[:50], 10 ** (-snr_db / 10) / 2, 25.0
    power = np.asarray(fill_with_water(jnp.float32(values)[None], jnp.float32([noise]), total))[0]
    low, high = 0.0, 1e9
    for _ in range(200):
        level = (low + high) / 2
        spent = np.maximum(level * np.sqrt(values) - noise, 0).sum()
        low, high = (level, high) if spent < total else (low, level)
    np.testing.assert_allclose(power, np.maximum(level * np.sqrt(values) - noise, 0), rtol=2e-5, atol=2e-5 * noise)
    np.testing.assert_allclose(power.sum(), total, rtol=1e-5)

    def error(power):
        return np.sum(values * noise / (power + noise))

    best = error(np.float64(power))
    rng = np.random.default_rng(0)
    for _ in range(100):  # no exchange of power makes it better
        moved = np.maximum(power + 0.05 * rng.normal(size=50) * np.maximum(power, 0.1), 0)
        assert error(moved * total / moved.sum()) > best * (1 - 1e-9)
    assert error(np.full(50, total / 50)) > best
    assert (power == 0).any() == (snr_db <= 0)
