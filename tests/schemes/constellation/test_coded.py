"""Schemes over coded bits: what arrives without noise, what a failed word is worth, power, uses, words of frames."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import phy
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.models.vector_quantizer import indices_to_bits
from lvm_mtc.schemes import make_scheme, name_of
from lvm_mtc.schemes.constellation.coded import as_coded
from lvm_mtc.schemes.constellation.scheme import as_equalized, complex_of
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import encode, forward

INNER = dict(image_size=16, patch_size=8, num_symbols=16)
CODED = dict(scheme="linear", config=INNER, num_points=16, bits_per_symbol=4, rate=0.5, frames_per_word=2)
LINK = LinkConfig(fading="awgn", convention="rx_per_antenna")
IMAGES = np.random.default_rng(0).random((6, 2, 16, 16, 3), np.float32)
run = jax.jit(forward, static_argnums=(0, 4))


def with_book(scheme, seed=0):
    """Parameters whose book has points, means and spreads of no symmetry."""
    params, rng = scheme.init(jax.random.key(0)), np.random.default_rng(seed)
    count = scheme.config.num_points
    points = rng.normal(size=(count, 2)).astype(np.float32)
    use = np.log(rng.dirichlet(np.ones(count))).astype(np.float32)
    book = {"points": points, "log_use": use, "means": points * np.float32(1.1)}
    return params | {"book": book | {"spread": rng.random(count).astype(np.float32) / 20}}


@pytest.fixture(scope="module")
def codec():
    scheme = make_scheme("coded", CODED)
    return scheme, with_book(scheme)


def chosen(scheme, params):
    """Index of the point next to each symbol of the other scheme, in NumPy, and its side information."""
    encoded = encode(scheme, params, Source(IMAGES), jax.random.key(0), {})
    inner = scheme.inner.modulate(params["scheme"], encoded, OperatingPoint())
    points = np.asarray(complex_of(params["book"]["points"]))
    return np.argmin(np.abs(np.asarray(inner.signal.private.symbols)[..., None] - points), -1), inner


def test_above_the_waterfall_the_points_of_all_symbols_arrive(codec):
    scheme, params = codec
    index, inner = chosen(scheme, params)
    book = params["book"]
    means = (np.asarray(book["means"]) @ np.complex64([1, 1j]))[index]
    wanted = scheme.inner.decode(
        params["scheme"], as_equalized(jnp.asarray(means), jnp.asarray(book["spread"][index])), inner.side,
        OperatingPoint(snr_db=14.0),
    ).data  # fmt: skip
    out = run(scheme, params, Source(IMAGES), jax.random.key(1), LINK, OperatingPoint(snr_db=14.0))
    np.testing.assert_allclose(out.estimate.data, wanted, rtol=1e-3, atol=1e-4)
    assert name_of(scheme) == "coded" and scheme.stages() == ()


def test_far_below_it_nothing_is_left_but_how_often_points_are_used(codec):
    scheme, params = codec
    book = {name: np.float64(part) for name, part in params["book"].items()}
    use = np.exp(book["log_use"])
    mean = use @ (book["means"] @ [1, 1j])
    variance = use @ (np.sum(book["means"] ** 2, -1) + book["spread"]) - abs(mean) ** 2
    index, inner = chosen(scheme, params)
    told = as_equalized(*(jnp.full(index.shape, value) for value in (np.complex64(mean), np.float32(variance))))
    wanted = scheme.inner.decode(params["scheme"], told, inner.side, OperatingPoint(snr_db=-60.0)).data
    out = run(scheme, params, Source(IMAGES), jax.random.key(1), LINK, OperatingPoint(snr_db=-60.0))
    np.testing.assert_allclose(out.estimate.data, wanted, rtol=0.02, atol=0.01)


def test_uses_side_information_and_power(codec):
    """However uneven the labels' bits are, scrambled they make symbols of power 1."""
    scheme, params = codec
    assert scheme.frames() == (2, 2 * 16 * 4 * 2 // 4) and scheme.num_bits == 128
    out = run(scheme, params, Source(IMAGES), jax.random.key(1), LINK, OperatingPoint())
    _, inner = chosen(scheme, params)
    np.testing.assert_array_equal(out.sent.side_bits, inner.side_bits)
    private = out.sent.signal.private
    assert private.symbols.shape == (6, 2, 2, 64) and np.asarray(private.sent).all()
    index, _ = chosen(scheme, params)
    ones = np.asarray(indices_to_bits(index, 16)).mean()
    power = np.abs(np.asarray(private.symbols)) ** 2
    assert abs(ones - 0.5) > 0.02 and abs(power.mean() - 1) < 5 * power.std() / power.size**0.5
    found = np.min(np.abs(np.asarray(private.symbols)[..., None] - phy.qam_points(4)), -1)
    assert found.max() < 1e-6


def test_without_noise_a_code_changes_nothing_but_the_uses(codec):
    scheme, params = codec
    plain = make_scheme("coded", CODED | dict(rate=1, bits_per_symbol=6, frames_per_word=1))
    assert plain.num_bits == 64 and plain.frames() == (4, 11)  # the last symbol is filled up
    point = OperatingPoint(snr_db=40.0)
    first, second = (
        run(one, params, Source(IMAGES), jax.random.key(1), LINK, point).estimate.data for one in (scheme, plain)
    )
    np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-4)


def test_a_scheme_is_labelled_anew_and_says_the_same():
    over = make_scheme("constellation", dict(scheme="linear", config=INNER, num_points=16))
    params = with_book(over)
    scheme, labelled = as_coded(over, params, bits_per_symbol=4, rate=0.5)
    assert {tuple(point) for point in np.asarray(labelled["book"]["points"])} == {
        tuple(point) for point in params["book"]["points"]
    }
    assert not np.array_equal(labelled["book"]["points"], params["book"]["points"])
    first, second = (
        run(scheme, given, Source(IMAGES), jax.random.key(1), LINK, OperatingPoint(snr_db=20.0)).estimate.data
        for given in (params, labelled)
    )
    np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_public_frames_go_as_words_of_their_own_and_gradients_reach_the_receiver():
    config = dict(image_size=32, patch_size=8, num_kept=8, num_symbols=4, variant="tiny")
    scheme = make_scheme("coded", dict(scheme="lvm_mtc", config=config, num_points=16))
    params = scheme.init(jax.random.key(0), 2)
    views = np.repeat(np.random.default_rng(0).random((2, 1, 32, 32, 3), np.float32), 2, axis=1)
    source = Source(views, {"loc": np.tile(np.float32([16, 16, 16, 16]), (2, 2, 1))})
    point = OperatingPoint(snr_db=8.0, knobs={"epsilon": 10.0})

    def loss(book, no_db):
        given = params | {"book": params["book"] | {"means": book}}
        at = point._replace(snr_db=no_db)
        out = forward(scheme, given, source, jax.random.key(1), LINK, at)
        return jnp.mean((out.estimate.data - views) ** 2), out.sent.signal.public.sent

    (value, public), slopes = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))(
        params["book"]["means"], 8.0
    )
    assert np.asarray(public).any() and np.isfinite(value)
    assert all(np.isfinite(slope).all() and np.abs(slope).max() > 0 for slope in slopes)
    with pytest.raises(ValueError, match="CodedConfig.frames_per_word must be 1 where scheme 'lvm_mtc' has public"):
        two = make_scheme("coded", dict(scheme="lvm_mtc", config=config, num_points=16, frames_per_word=2))
        jax.eval_shape(lambda: forward(two, params, source, jax.random.key(1), LINK, point))


@pytest.mark.parametrize(
    "field, line",
    [
        (dict(bits_per_symbol=3), "CodedConfig.bits_per_symbol 3 is unknown; known: 2, 4, 6, 8"),
        (dict(rate=0), "CodedConfig.rate must be .*got 0"),
        (dict(rate=1.5), "CodedConfig.rate must be .*got 1.5"),
        (dict(rate=0.1), "CodedConfig.rate 0.1 for words of 128 bits: n 1280 needs repetition"),
        (dict(frames_per_word=3), "CodedConfig.frames_per_word must divide the 4 frames, got 3"),
        (dict(num_points=32), "CodedConfig.num_points must be one of 4, 16, 64, 256, got 32"),
    ],
)
def test_wrong_configurations_are_one_line(field, line):
    with pytest.raises(ValueError, match=line):
        scheme = make_scheme("coded", CODED | field)
        jax.eval_shape(lambda: forward(scheme, scheme.init(jax.random.key(0)), Source(IMAGES), jax.random.key(0), LINK))


def test_biased_equalisers_are_refused_by_this_name(codec):
    with pytest.raises(ValueError, match="does not go with scheme 'coded'"):
        codec[0].check_link(LinkConfig(equalizer="paper"))
