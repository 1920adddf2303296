"""The rectified flow: exact for a Gaussian, guidance, the network's shapes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.models.flow import SOLVERS, FlowConfig, FlowUNet, flow_loss, guided, integrate

pytestmark = pytest.mark.usefixtures("fast_compile")

CONFIG = FlowConfig(image_size=16, widths=(8, 8, 8), depth=2, condition=8, facts=(3, 2))


def gaussian_velocity(mean, std):
    """E[x - e | (1 - t) e + t x] for x ~ N(mean, std^2), e ~ N(0, 1)."""

    def velocity(x, t):
        gain = (t * std**2 - (1 - t)) / ((1 - t) ** 2 + t**2 * std**2)
        return mean + gain * (x - t * mean)

    return velocity


@pytest.mark.parametrize(("solver", "order"), list(zip(SOLVERS, (1, 2), strict=True)))
def test_a_gaussian_is_reached_at_the_solvers_order(solver, order):
    mean, std = 0.7, 0.3
    errors = []
    for steps in (64, 128, 256):
        # The map from noise is affine: its value at 0 is the mean, its slope the standard deviation.
        low, high = integrate(gaussian_velocity(mean, std), np.array([0.0, 1.0]), steps, solver)
        errors.append((abs(low - mean), abs(high - low - std)))
    errors = np.array(errors)
    assert errors[-1, 1] < 0.02
    np.testing.assert_allclose(errors[:-1, 1] / errors[1:, 1], 2**order, rtol=0.15)
    # The conditional mean itself moves on a straight line, which no solver misses.
    assert errors[:, 0].max() < 1e-12


@pytest.fixture(scope="module")
def network():
    net, rng = FlowUNet(CONFIG), np.random.default_rng(0)
    x, facts = jnp.zeros((2, 16, 16, 3)), jnp.zeros((2, 2), jnp.int32)
    shapes = jax.eval_shape(net.init, jax.random.key(0), x, jnp.zeros(2), facts)["params"]
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) * 0.2, jnp.float32), shapes)
    apply = jax.jit(lambda x, t, facts: net.apply({"params": params}, x, t, facts))
    return net, params, apply, rng


@pytest.mark.slow
def test_guidance_goes_on_from_what_facts_change(network):
    net, params, apply, rng = network
    x = jnp.asarray(rng.normal(size=(2, 16, 16, 3)), jnp.float32)
    facts = jnp.array([[0, 1], [2, -1]])
    with_facts, without = (apply(x, jnp.full(2, 0.3), f) for f in (facts, jnp.full_like(facts, -1)))
    paths = jax.jit(jax.vmap(lambda g: guided(net, params, facts, g)(x, jnp.float32(0.3))))(jnp.array([1.0, 0.0, 3.0]))
    for got, wanted in zip(paths, (with_facts, without, without + 3 * (with_facts - without)), strict=True):
        np.testing.assert_allclose(got, wanted, atol=2e-5)
    assert np.abs(with_facts - without).max() > 1e-3
    shared = apply(x, jnp.full(2, 0.3), facts.at[0].set(-1))
    np.testing.assert_allclose(shared[1], with_facts[1], atol=1e-5)  # a picture does not see its neighbour's facts


def test_the_loss_of_what_knows_the_way_is_small():
    class Knows:
        """Tells the velocity of grey pictures from where they are: x is 0 everywhere."""

        def apply(self, variables, x, t, facts):
            seen.append(facts)
            return -x / (1 - t)[:, None, None, None]

    seen = []
    grey, facts = jnp.full((4000, 1, 1, 3), 0.5), jnp.tile(jnp.array([[3, 1, 2]]), (4000, 1))
    assert flow_loss(Knows(), {}, grey, facts, jax.random.key(0)) < 1e-8
    told = np.asarray(seen[0]) >= 0
    shares = [1 - told[:, 0].mean(), 1 - told[told[:, 0], 1].mean()]
    for share, wanted in zip(shares, (0.12, 0.15), strict=True):
        assert abs(share - wanted) < 5 * np.sqrt(wanted * (1 - wanted) / 3500)


def test_wrong_sizes_and_solvers_are_named():
    with pytest.raises(ValueError, match="FlowConfig.image_size must be a multiple of 8, got 20"):
        FlowConfig(image_size=20)
    with pytest.raises(ValueError, match=r"FlowConfig.widths .* got \(8, 6, 8\)"):
        FlowConfig(widths=(8, 6, 8))
    with pytest.raises(ValueError, match="integrate.solver 'rk4' is unknown; known: euler, heun"):
        integrate(lambda x, t: x, np.zeros(1), 2, "rk4")
