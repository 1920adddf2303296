"""The codecs of point clouds over links: sets, power, what is on air, costs, and what a receiver can do without."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.link import LinkConfig, OperatingPoint, Received
from lvm_mtc.models.point_geometry import nearest_squares
from lvm_mtc.schemes.point_clouds.linear import LinearClouds, LinearCloudsConfig
from lvm_mtc.schemes.point_clouds.modulator import axis_levels
from lvm_mtc.schemes.point_clouds.moments import moment_features
from lvm_mtc.schemes.point_clouds.scheme import PointClouds, PointCloudsConfig
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import encode, forward

RNG = np.random.default_rng(4)
SIZES = dict(num_points=48, num_tokens=8, num_symbols=40, slots=8, neighbours=6, width=8, attention=4)
SCHEME = PointClouds(PointCloudsConfig(**SIZES, allocation="importance"))
POINTS = RNG.normal(size=(3, 2, 48, 3))
CLOUDS = np.float32(POINTS / np.linalg.norm(POINTS, axis=-1, keepdims=True) * RNG.uniform(0.2, 1, (3, 2, 48, 1)))


def key():
    return jax.random.key(1)


def drawn(scheme):
    """Parameters of which none is zero."""
    shapes = jax.eval_shape(scheme.init, key())
    params = jax.tree.map(lambda leaf: jnp.asarray(RNG.normal(size=leaf.shape) * 0.2, jnp.float32), shapes)
    params["importance"]["head"]["kernel"] *= 1000
    return params | {"moments": {"mean": jnp.zeros(9), "deviation": jnp.full(9, 0.3)}}


PARAMS = drawn(SCHEME)
RUN = jax.jit(lambda params, clouds, point: forward(SCHEME, params, Source(clouds), key(), LinkConfig(), point))


def at(snr_db, temperature=0.0):
    return OperatingPoint(snr_db=jnp.float32(snr_db), knobs={"temperature": jnp.float32(temperature)})


@pytest.fixture(scope="module")
def outcome():
    return RUN(PARAMS, CLOUDS, at(8.0))


@pytest.mark.slow
def test_the_order_of_the_points_does_not_matter(outcome):
    mixed = CLOUDS[:, :, RNG.permutation(48)]
    again = RUN(PARAMS, mixed, at(8.0))
    np.testing.assert_allclose(again.sent.signal.private.symbols, outcome.sent.signal.private.symbols, atol=1e-5)
    np.testing.assert_allclose(again.estimate.data, outcome.estimate.data, atol=1e-4)


def test_what_is_sent_are_points_of_the_qam_of_power_1(outcome):
    symbols, (gain, slots) = outcome.sent.signal.private.symbols, outcome.sent.side
    assert symbols.shape == (3, 2, 1, 40) and outcome.estimate.data.shape == CLOUDS.shape
    np.testing.assert_allclose(np.mean(np.abs(symbols) ** 2, axis=(2, 3)), 1, rtol=1e-5)
    levels = axis_levels(8)
    for part in (np.real(np.asarray(symbols)), np.imag(np.asarray(symbols))):
        unscaled = part / np.asarray(gain)[..., None, None]
        nearest = levels[np.argmin(np.abs(unscaled[..., None] - levels), axis=-1)]
        np.testing.assert_allclose(unscaled, nearest, atol=1e-3)  # the gain is told in 16 bits
    assert np.all(np.asarray(slots).sum(-1) == 10) and np.asarray(slots).min() >= 1
    assert len(np.unique(np.asarray(slots))) > 1


def test_hard_symbols_survive_a_link_without_noise_bit_for_bit(outcome):
    levels = axis_levels(8)

    def labels(symbols, gain):
        parts = np.asarray(symbols).view(np.float32) / np.asarray(gain)[..., None, None]
        return np.argmin(np.abs(parts[..., None] - levels), axis=-1)

    clean, noisy = RUN(PARAMS, CLOUDS, at(100.0)), outcome
    found = [labels(clean.sent.signal.private.symbols, clean.sent.side[0]), labels(
        clean.received.symbols, clean.sent.side[0])]  # fmt: skip
    np.testing.assert_array_equal(*found)
    assert len(np.unique(found[0])) > 4
    assert np.mean(labels(noisy.received.symbols, noisy.sent.side[0]) != found[0]) > 0.1


def test_before_training_the_chain_turns_with_the_cloud():
    """But for the pattern that a token's points are painted in: their mean and covariance turn."""
    scheme = PointClouds(dataclasses.replace(SCHEME.config, modulator="analog", allocation="fixed", slots=6))
    turn = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
    params = scheme.start(scheme.init(key()), CLOUDS.reshape(-1, 48, 3), 0)

    @jax.jit
    def through(clouds):
        sent = scheme.modulate(params, encode(scheme, params, Source(clouds), key(), {}), at(80.0))
        symbols = sent.signal.private.symbols
        return scheme.decode(params, Received(symbols, jnp.full(symbols.shape, 1e-9)), sent.side, at(80.0)).data

    straight, turned = (np.float64(through(np.float32(clouds))) for clouds in (CLOUDS, CLOUDS @ turn.T))
    cells = [points.reshape(6, 8, 6, 3) for points in (straight @ turn.T, turned)]
    np.testing.assert_allclose(*(points.mean(2) for points in cells), atol=1e-3)
    covariances = [np.einsum("bcpi,bcpj->bcij", c, c) / 6 for c in (p - p.mean(2, keepdims=True) for p in cells)]
    np.testing.assert_allclose(*covariances, atol=1e-3)
    assert np.abs(cells[0] - cells[1]).max() > 0.05 and np.abs(straight - turned).max() > 0.5


def test_costs_are_counted(outcome):
    assert np.asarray(outcome.ledger.private_uses).tolist() == [80.0] * 3
    assert np.asarray(outcome.sent.side_bits).tolist() == [2 * (16 + 2 * 3)] * 3
    fixed = dataclasses.replace(SCHEME, config=dataclasses.replace(SCHEME.config, allocation="fixed"))
    sent = jax.eval_shape(lambda: forward(fixed, PARAMS, Source(CLOUDS), key()).sent)
    assert sent.side[1].shape == (3, 2, 2)


def test_a_receiver_needs_the_symbols_and_what_was_booked(outcome):
    sent, received = outcome.sent, outcome.received
    gain = np.asarray(sent.side[0], np.float16).astype(np.float32)
    slots = np.clip(np.asarray(sent.side[1]), 1, 8)
    np.testing.assert_array_equal(gain, sent.side[0])
    decode = jax.jit(
        lambda params, symbols, no_eff, side: SCHEME.decode(params, Received(symbols, no_eff), side, at(8.0))
    )
    again = decode(PARAMS, received.symbols, received.no_eff, (gain, slots))
    np.testing.assert_allclose(again.data, outcome.estimate.data, atol=1e-5)


def test_knobs_and_snr_compile_nothing_anew_and_noise_hurts():
    before = RUN._cache_size()
    error = [float(np.mean(nearest_squares(CLOUDS, RUN(PARAMS, CLOUDS, at(snr, t)).estimate.data)[0]))
             for snr, t in ((30.0, 0.0), (-15.0, 0.5))]  # fmt: skip
    assert RUN._cache_size() == before and np.isfinite(error).all()
    soft = RUN(PARAMS, CLOUDS, at(8.0, 1.0)).sent.signal.private.symbols
    assert np.abs(soft - RUN(PARAMS, CLOUDS, at(8.0)).sent.signal.private.symbols).max() > 1e-2


def linear(features, clouds):
    scheme = LinearClouds(LinearCloudsConfig(num_points=48, num_symbols=27, features=features))
    params = scheme.start(scheme.init(key()), clouds.reshape(-1, 48, 3), 0)
    run = jax.jit(lambda snr: forward(scheme, params, Source(clouds), key(), LinkConfig(), OperatingPoint(snr_db=snr)))
    return scheme, params, run


@pytest.mark.parametrize(("features", "tokens"), [("moments", 6), ("points", 18)])
def test_linear_codecs_reach_their_errors(features, tokens):
    clouds = np.float32(np.tile(CLOUDS, (40, 1, 1, 1)) * RNG.uniform(0.5, 1, (120, 2, 1, 1)))
    scheme, params, run = linear(features, clouds)
    assert scheme.config.num_tokens == tokens
    clean, noisy = run(100.0), run(4.0)
    wanted = np.asarray(jax.jit(scheme._features)(clouds))
    np.testing.assert_allclose(np.mean(np.abs(noisy.sent.signal.private.symbols) ** 2, axis=(2, 3)), 1, rtol=1e-4)
    if features == "points":
        np.testing.assert_allclose(clean.estimate.data, wanted, atol=1e-3)
        variance = np.asarray(params["variance"])
        # Scalar L-MMSE: v n / (v + n) with the noise over the squares of gain and amplitude.
        noise = 10**-0.4 / 2 / np.asarray(noisy.sent.side)[..., None, None] ** 2 * np.sqrt(variance)
        power = np.mean((wanted - np.asarray(params["mean"])) ** 2, axis=(0, 1, 2))
        shrink = variance / (variance + noise)
        closed = np.mean((1 - shrink) ** 2 * power + shrink**2 * noise, axis=(0, 1, 2))
        found = np.mean((np.asarray(noisy.estimate.data) - wanted) ** 2, axis=(0, 1, 2))
        np.testing.assert_allclose(found, closed, rtol=0.1)
    else:
        assert clean.estimate.data.shape == clouds.shape
        cells = np.asarray(clean.estimate.data).reshape(120, 2, 6, 8, 3).mean(3)
        np.testing.assert_allclose(cells, wanted[..., :3], atol=1e-3)


@pytest.mark.slow
def test_before_training_the_analogue_codec_sends_the_moments():
    fixed = dataclasses.replace(SCHEME.config, modulator="analog", allocation="fixed", slots=6)
    scheme = PointClouds(fixed)
    params = scheme.start(scheme.init(key()), CLOUDS.reshape(-1, 48, 3), 0)
    run = lambda: forward(scheme, params, Source(CLOUDS), key(), LinkConfig(), OperatingPoint(snr_db=80.0))  # noqa: E731
    out, moments = jax.jit(lambda: (run(), moment_features(CLOUDS, 8)))()
    np.testing.assert_allclose(out.estimate.tells["centres"], moments[..., :3], atol=1e-3)
    painted = np.asarray(out.estimate.data).reshape(3, 2, 8, 6, 3)
    np.testing.assert_allclose(painted.mean(3), moments[..., :3], atol=1e-3)


WRONG = {
    "num_tokens": (6, "a multiple of 4"),
    "num_symbols": (7, "a multiple of 4 in 8 ... 64"),
    "neighbours": (49, "at most PointCloudsConfig.num_points 48"),
    "slots": (4, "hold 9 moments"),
    "radius": (0.0, "finite number > 0"),
    "bits_per_symbol": (3, "known: 2, 4, 6, 8"),
    "modulator": ("qam", "jsccm"),
    "allocation": ("all", "importance"),
}


@pytest.mark.parametrize("field", WRONG)
def test_wrong_fields_are_refused(field):
    value, message = WRONG[field]
    with pytest.raises(ValueError, match=f"PointCloudsConfig.{field}.*{message}"):
        PointCloudsConfig(**SIZES | {"num_symbols": 32, field: value})


def test_other_wrong_input_is_refused():
    with pytest.raises(
        ValueError, match=r"LinearCloudsConfig.num_symbols must hold 1 to 48 tokens of 9 numbers, got 4"
    ):
        LinearCloudsConfig(num_points=48, num_symbols=4)
    for scheme in (SCHEME, LinearClouds(LinearCloudsConfig(num_points=48, num_symbols=27))):
        with pytest.raises(ValueError, match=r"clouds must be \[batch, num_uavs, 48, 3\], got \(3, 2, 47, 3\)"):
            scheme.encode(PARAMS, Source(CLOUDS[:, :, 1:]), key(), {})
