"""The codec with a conditioned transform: one set of weights for all rates, counted bits, the link, the gain."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.models import context_transform
from lvm_mtc.models.vector_quantizer import bits_to_indices
from lvm_mtc.models.weights import flatten_params, unflatten_params
from lvm_mtc.schemes.loading import CONTEXT_VQ_WEIGHTS, PROGRESSIVE_WEIGHTS, load_scheme
from lvm_mtc.schemes.progressive.context import ContextVq, ContextVqConfig, reordered
from lvm_mtc.schemes.progressive.losses import rates_loss
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


NETWORKS = dict(variant="tiny", hidden=8)
RATES = {"image_loss": "log_mse", "commitment": 1.0, "codebook": 1.0, "context": 1.0}


@pytest.mark.slow
@pytest.mark.parametrize("context", [True, False])
def test_networks_start_as_the_fit_and_learn(fitted, context):
    linear, fit = fitted[context]
    hidden = dict(hidden=8 if context else 0)
    scheme = ContextVq(dataclasses.replace(linear.config, **NETWORKS | hidden))
    params = scheme.start(scheme.init(jax.random.key(0)), smooth(40, 40, 1), 2, 60)
    np.testing.assert_allclose(shown(scheme, params), shown(linear, fit), atol=1e-6)
    (stage,), source = scheme.stages(), Source(jnp.asarray(IMAGES).reshape(4, 2, 32, 32, 3))

    @jax.jit
    def step(params):
        def loss(params):
            return stage.loss(scheme, params, source, jax.random.key(3), LinkConfig(), OperatingPoint(), RATES)

        (value, tells), slopes = jax.value_and_grad(loss, has_aux=True)(params)
        return value, tells, slopes

    value, tells, slopes = step(params)
    assert jax.tree.all(jax.tree.map(lambda leaf: bool(jnp.isfinite(leaf).all()), slopes))
    errors = [np.mean((shown(at_rate(scheme, size), params)[half] - IMAGES[half]) ** 2, axis=(1, 2, 3))
              for size, half in ((4, slice(4)), (16, slice(4, 8)))]  # fmt: skip
    np.testing.assert_allclose(tells["psnr"], -10 * np.log10(np.concatenate(errors) + 1e-6).mean(), atol=1e-3)
    learn = {name: leaf for name, leaf in flatten_params(slopes).items() if stage.trainable(name)}
    moved = {name.split("/")[0] for name, leaf in learn.items() if np.any(leaf)}
    assert moved == {"linear", "encoder", "decoder", "books"} | ({"rules", "branches"} if context else set())
    norm = np.sqrt(sum(np.sum(leaf**2) for leaf in learn.values()))
    closer = {name: leaf - 0.003 * learn.get(name, 0) / norm for name, leaf in flatten_params(params).items()}
    assert float(step(unflatten_params(closer))[0]) < float(value)


@pytest.mark.slow
def test_books_are_fitted_behind_networks(fitted):
    """Drawn networks and a drawn context that the codebooks of the fit know nothing of; both ends stay together."""
    scheme = ContextVq(dataclasses.replace(fitted[True][0].config, **NETWORKS))
    params = scheme.start(scheme.init(jax.random.key(0)), smooth(40, 40, 1), 2, 60)
    rng = np.random.default_rng(4)
    other = {name: leaf + rng.normal(scale=0.05, size=leaf.shape) * ("last" in name or "outer" in name)
             for name, leaf in flatten_params(params).items()}  # fmt: skip
    other = jax.tree.map(jnp.float32, unflatten_params(other))
    refitted = jax.jit(lambda p: p)(scheme.with_books(other, smooth(40, 40, 1), 2, 60))
    for size in (4, 16):
        at = at_rate(scheme, size)

        @jax.jit
        def there_and_back(params, at=at):
            features, codes = at.analyse(params, IMAGES), [book["codes"] for book in at.books(params)]
            indices, y_hat = context_transform.compress(at.rules(params), codes, at.config.slices, features)
            return jnp.mean((y_hat - features) ** 2), at.synthesise(params, y_hat), at.expand(params, indices)

        (before, _, _), (after, sent, heard) = there_and_back(other), there_and_back(refitted)
        assert after < 0.95 * before
        np.testing.assert_array_equal(sent, heard)
        counts = np.exp([np.asarray(book["log_use"]) for book in at.books(refitted)]).sum(1)
        assert np.all(counts < 1.2) and np.all(counts > 0.99)


def test_networks_of_the_codec_by_stages_are_the_same_in_another_order():
    other, found = load_scheme(PROGRESSIVE_WEIGHTS)
    scheme, order = ContextVq(ContextVqConfig(variant="small")), np.random.default_rng(5).permutation(32)
    taken = reordered({name: found[name] for name in ("linear", "encoder", "decoder")}, order)
    assert jax.tree.map(jnp.shape, taken) == {name: jax.tree.map(jnp.shape, scheme.init(jax.random.key(0))[name])
                                              for name in taken}  # fmt: skip
    pictures, half = np.float32(smooth(2, 96, 6)) / 255, jnp.full(2, 0.5)
    features = other.analyse(found, pictures)
    np.testing.assert_allclose(scheme.analyse(taken, pictures), features[..., order], atol=1e-4)
    wanted = other.synthesise(found, features, half)
    np.testing.assert_allclose(scheme.synthesise(taken, features[..., order], half), wanted, atol=1e-4)


def test_rates_want_a_picture_each(fitted):
    scheme = ContextVq(dataclasses.replace(fitted[True][0].config, **NETWORKS))
    with pytest.raises(ValueError, match="batches must have a picture for each of the 2 rates, got 1"):
        rates_loss(scheme, {}, Source(IMAGES[:1, None]), jax.random.key(0), LinkConfig(), OperatingPoint(), RATES)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"hidden": 4}, "hidden 4 needs a variant"),
        ({"hidden": -1}, "hidden must be"),
        ({"variant": "smal"}, "variant 'smal' is unknown; known: tiny, small"),
        (
            {"variant": "small", "image_size": 64},
            "image_size 64 is no multiple of the 96 pixels of a window of 'small'",
        ),
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
