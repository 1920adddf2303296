"""The shipped progressive codec on photographs that it was not trained on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.data import demo_views
from lvm_mtc.models.weights import load_weights
from lvm_mtc.schemes.loading import PROGRESSIVE_WEIGHTS, load_scheme

pytestmark = pytest.mark.usefixtures("fast_compile")


def test_every_stage_adds_and_the_file_says_where_it_is_from():
    scheme, params = load_scheme(PROGRESSIVE_WEIGHTS)
    images = np.float32(demo_views(2, 96).views.reshape(-1, 96, 96, 3)) / 255
    expand = jax.jit(scheme.expand)
    indices = jax.jit(scheme.compress)(params, images)
    count = scheme.config.num_stages
    levels = []
    for stages in range(1, count + 1):
        shown = np.clip(expand(params, indices, jnp.full(len(images), stages)), 0, 1)
        levels.append(-10 * np.log10(np.mean((shown - images) ** 2, axis=(1, 2, 3))))
    steps = np.diff(levels, axis=0)
    assert np.all(steps.mean(1) > 0.2), steps.mean(1)
    # Of one picture a stage may take a little, for the networks behind are trained for the mean.
    assert (steps > -0.05).mean() > 0.98
    linear = np.exp(params["books"]["log_use"]).sum(1)
    np.testing.assert_allclose(linear, 1, atol=0.1)
    np.testing.assert_array_equal(params["books"]["codes"][1:, 0], 0)
    _, metadata = load_weights(PROGRESSIVE_WEIGHTS)
    assert metadata["recipe"]["scheme"] == "progressive" and metadata["seed"] == 0
    assert {"jax", "numpy", "flax", "optax"} <= set(metadata["versions"]) and metadata["data"]["pictures"] == 2720
    assert PROGRESSIVE_WEIGHTS.stat().st_size < 2e6
