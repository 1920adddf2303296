"""The codec with a conditioned transform: one set of weights for all rates, counted bits, the link, the gain."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.models.vector_quantizer import bits_to_indices
from lvm_mtc.schemes.loading import CONTEXT_VQ_WEIGHTS, load_scheme
from lvm_mtc.schemes.progressive.context import ContextVq, ContextVqConfig
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import forward

pytestmark = pytest.mark.usefixtures("fast_compile")

SMALL = dict(image_size=32, slices=(2, 6), codebook_sizes=(4, 16), codebook_size=16)


def smooth(count, side, seed):
    noise = np.random.default_rng(seed).normal(size=(count, side, side, 3)).cumsum(1).cumsum(2)
    low, high = (f(noise, axis=(1, 2, 3), keepdims=True) for f in (np.min, np.max))
    return np.uint8(255 * (noise - low) / (high - low))


IMAGES = np.float32(smooth(8, 32, 3)) / 255


@pytest.fixture(scope="module")
def fitted():
    """Parameters with context and without, of the same crops."""
    made = {}
    for context in (True, False):
        scheme = ContextVq(ContextVqConfig(**SMALL, context=context))
        made[context] = scheme, scheme.fit(smooth(40, 40, 1), seed=2, num_crops=60)
    return made


def at_rate(scheme, size):
    return ContextVq(dataclasses.replace(scheme.config, codebook_size=size))


def shown(scheme, params):
    return jax.jit(lambda images: scheme.expand(params, scheme.compress(params, images)))(IMAGES)


@pytest.mark.slow
def test_rates_share_the_weights_and_context_gains(fitted):
    errors = {
        (context, size): np.mean((shown(at_rate(scheme, size), params) - IMAGES) ** 2)
        for context, (scheme, params) in fitted.items()
        for size in (4, 16)
    }
    for context in (True, False):
        assert errors[context, 16] < 0.7 * errors[context, 4]
    for size in (4, 16):
        assert errors[True, size] < 0.9 * errors[False, size], "half a decibel"
    assert at_rate(fitted[True][0], 4).config.num_bits == 16 * 2 * 2
    _, plain = fitted[False]
    assert all(not np.any(part) for part in jax.tree.leaves(plain["rules"]))


@pytest.mark.slow
def test_a_clean_link_is_no_link_and_bits_are_the_indices(fitted):
    scheme, params = fitted[True]
    source = Source(jnp.asarray(IMAGES).reshape(4, 2, 32, 32, 3))
    bits = scheme.encode(params, source, jax.random.key(0), {})
    assert bits.shape == (4, 2, 128) and scheme.frames()[0] * scheme.frames()[1] * 4 == scheme.config.num_bits == 128
    indices = scheme.compress(params, IMAGES)
    np.testing.assert_array_equal(bits_to_indices(bits.reshape(8, 2, 4, 4, 4)), indices)
    run = jax.jit(forward, static_argnums=(0, 4))
    clean, noisy = (
        run(scheme, params, source, jax.random.key(1), LinkConfig(fading="awgn"), OperatingPoint(snr_db=snr))
        for snr in (60.0, 8.0)
    )
    np.testing.assert_allclose(clean.estimate.data.reshape(IMAGES.shape), shown(scheme, params), atol=1e-4)
    np.testing.assert_array_equal(clean.ledger.private_uses, 2 * 128 / 4)
    np.testing.assert_array_equal(clean.ledger.side_information_bits, 0)
    worse, better = (np.mean((out.estimate.data - source.data) ** 2) for out in (noisy, clean))
    assert worse > better


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"codebook_sizes": (16, 1000)}, "codebook_sizes: codebook_size must be a power of two in 2..65536, got 1000"),
        ({"slices": ()}, r"slices must be one number >= 1 or more, 192 in all at most, got \(\)"),
        ({"codebook_size": 32}, "codebook_size 32: there are 16, 64, 256, 1024"),
        ({"window": 4}, "window must be odd, got 4"),
        ({"image_size": 100}, "patch_size 8 does not divide 100 pixels"),
        ({"slices": (100, 93)}, "slices must be one number >= 1 or more, 192 in all at most"),
        ({"bits_per_symbol": 3}, "bits_per_symbol must be one of 2, 4, 6, 8, got 3"),
    ],
)
def test_wrong_configurations(fields, words):
    with pytest.raises(ValueError, match=f"ContextVqConfig.{words}"):
        ContextVqConfig(**fields)


def test_pictures_of_another_size(fitted):
    scheme, params = fitted[True]
    with pytest.raises(ValueError, match=r"images must be \[batch, num_uavs, 32, 32, 3\], got \(1, 1, 16, 32, 3\)"):
        scheme.encode(params, Source(jnp.zeros((1, 1, 16, 32, 3))), jax.random.key(0), {})


def test_the_shipped_weights_serve_all_rates():
    scheme, params = load_scheme(CONTEXT_VQ_WEIGHTS)
    assert scheme == ContextVq(ContextVqConfig()) and CONTEXT_VQ_WEIGHTS.stat().st_size < 5e5
    assert list(params["books"]) == [str(size) for size in (1024, 16, 256, 64)]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))
    for size in scheme.config.codebook_sizes:
        assert [len(book["codes"]) for book in at_rate(scheme, size).books(params)] == [size] * 8
