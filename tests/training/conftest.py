"""What several tests of training share."""

import jax
import pytest


@pytest.fixture(scope="module")
def fast_compile():
    """Compiles in half the time, for tests of what surrounds the compiled step, where every run compiles anew."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
