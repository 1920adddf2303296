"""The precoded downlink as its tests call it: compiled once a setting, from keys and arrays that are quick to draw."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc import phy


def normal(*shape, seed=0, dtype=np.complex64):
    """CN(0, 1)."""
    parts = np.random.default_rng(seed).normal(scale=0.5**0.5, size=(2, *shape))
    return jnp.asarray((parts[0] + 1j * parts[1]).astype(dtype))


def key_of(seed=1, impl="rbg"):
    """``rbg`` compiles in a third of the time; only threefry draws the same under vmap as in a loop."""
    return jax.random.key(seed, impl=impl)


@functools.lru_cache
def compiled(**static):
    """``phy.mu_mimo`` of a key, symbols and traced numbers; its cache is cleared where the algebra is exchanged."""
    return jax.jit(lambda key, x, **numbers: phy.mu_mimo(key, x, **static, **numbers))


def link(key, x, *, numbers, demodulation="genie", **static):
    """``phy.mu_mimo`` with traced ``numbers``."""
    return compiled(demodulation=demodulation, **static)(key, x, **numbers)
