"""The factorised prior: probabilities of integers sum to 1, and it learns a Gaussian's entropy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.stats import norm

from lvm_mtc.models.entropy import FactorizedPrior

PRIOR, DEVIATION = FactorizedPrior(), np.array([0.6, 4.0])


def test_probabilities_of_all_integers_sum_to_one():
    params = PRIOR.init(jax.random.key(0), jnp.zeros((1, 2)))
    noise = np.random.default_rng(0)
    params = jax.tree.map(lambda a: np.float32(a + 0.3 * noise.normal(size=a.shape)), params)
    integers = np.repeat(np.arange(-400, 401, dtype=np.float32)[:, None], 2, axis=1)
    bits = np.asarray(PRIOR.apply(params, integers), np.float64)
    np.testing.assert_allclose(np.sum(2**-bits, axis=0), 1, atol=2e-4)


def test_learns_the_entropy_of_a_gaussian_and_noise():
    """Bits of z + u are at least h(z + u), which numerical integration gives; the fit comes close."""
    draws = np.random.default_rng(1)
    z = np.float32(draws.normal(size=(1500, 2)) * DEVIATION + draws.uniform(-0.5, 0.5, (1500, 2)))
    params, optimizer = PRIOR.init(jax.random.key(0), z[:1]), optax.adam(0.05)
    grid = np.linspace(-30, 30, 60001)[:, None]
    density = norm.cdf((grid + 0.5) / DEVIATION) - norm.cdf((grid - 0.5) / DEVIATION)
    entropy = -np.sum(np.where(density > 0, density * np.log2(np.maximum(density, 1e-300)), 0), axis=0) * 1e-3

    @jax.jit
    def fit(params):
        def step(carry, _):
            params, state = carry
            slope = jax.grad(lambda p: PRIOR.apply(p, z).mean())(params)
            updates, state = optimizer.update(slope, state)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, optimizer.init(params)), length=200)[0][0]

    bits = jax.jit(PRIOR.apply)
    before, after = (np.asarray(bits(of, z), np.float64) for of in (params, fit(params)))
    spread = 5 * after.std(axis=0) / np.sqrt(len(z))
    before, after = before.mean(axis=0), after.mean(axis=0)
    assert np.all(after > entropy - spread) and np.all(after < entropy + 0.05 + spread) and np.any(before > after + 0.5)
