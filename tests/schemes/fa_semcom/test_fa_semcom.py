"""FA-SemCom over links: counted bit errors, what is booked, what the receiver may know, and the answerer."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import phy
from lvm_mtc.data.vqa import ANSWERS
from lvm_mtc.knowledge.attention import slice_windows
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.metrics.answers import patch_bit_errors
from lvm_mtc.metrics.tables import METRICS
from lvm_mtc.models.patch_features import grid_places
from lvm_mtc.schemes.fa_semcom.scheme import FaSemCom, FaSemComConfig, Side
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import forward

pytestmark = pytest.mark.usefixtures("fast_compile")

BATCH, TOKENS = 40, 60
SMALL = dict(patch_size=8, num_features=16, num_bits=4, width=16)
AWGN = LinkConfig(fading="awgn", num_rx_ant=1, num_tx_ant=1)
FADING = LinkConfig.of(fading="fisher_snedecor", m_f=5.0, m_s=4.0, num_rx_ant=1, num_tx_ant=1, block_length=1)


def _source(batch=BATCH, tokens=TOKENS):
    rng = np.random.default_rng(0)
    lead = (batch, 1, tokens)
    places = np.broadcast_to(np.resize(grid_places(np.float32([0, 0, 1, 1])), (tokens, 4)), (*lead, 4))
    weights = np.maximum(rng.random(lead) - 0.4, 0).astype(np.float32)
    data = {
        "patches": rng.normal(size=(*lead, 8)).astype(np.float32), "places": places,
        "question": rng.integers(0, 4, (batch, 1, 2)), "answer": rng.integers(0, 11, (batch, 1)),
    }  # fmt: skip
    valid = np.ones(lead, bool)
    return jax.tree.map(jnp.asarray, Source(data, {"objective": weights, "subjective": weights[::-1], "valid": valid}))


@functools.partial(jax.jit, static_argnums=(0, 4))
def _forward(scheme, params, source, key, link, point):
    return forward(scheme, params, source, key, link, point)


def _sent(link=AWGN, beta=1.0, snr_db=6.0, **config):
    scheme = FaSemCom(FaSemComConfig(**SMALL | config))
    params = scheme.init(jax.random.key(0))
    point = OperatingPoint(snr_db, 0.0, {"alpha": 0.5, "beta": beta})
    source = _source()
    return scheme, params, source, _forward(scheme, params, source, jax.random.key(1), link, point)


@pytest.mark.slow
@pytest.mark.parametrize("snr_db", [6.0, 12.0])
@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("link", [AWGN, FADING], ids=["awgn", "fisher_snedecor"])
def test_counted_errors_are_those_of_the_closed_form_in_every_class(link, beta, snr_db):
    *_, out = _sent(link, beta, snr_db, num_patches=TOKENS)
    power, levels = np.asarray(out.sent.tells["power"]), np.asarray(out.sent.tells["levels"])
    es_no = power * 10 ** (snr_db / 10)
    own = phy.qam_ber(es_no) if link is AWGN else phy.fisher_snedecor_ber(es_no, m_f=5.0, m_s=4.0)
    counted, own, bits = np.asarray(patch_bit_errors(out)), np.asarray(own), 16 * 4
    assert set(np.unique(levels)) == {1, 2, 3, 4, 5}
    for level in range(1, 6):
        inside = levels == level
        # Under fading both bits of a symbol share its slot, at worst as one.
        number = inside.sum() * bits / (1 if link is AWGN else 2)
        want = own[inside].mean()
        assert abs(counted[inside].mean() - want) < 5 * np.sqrt(want / number), level
    values = {name: METRICS["answers"][name](_source(), out) for name in ("bit_error_rate", "bit_error_rate_top")}
    np.testing.assert_allclose(values["bit_error_rate"].mean(), counted.mean(), rtol=1e-5)
    top = np.nanmean(np.where(levels == levels.max(-1, keepdims=True), counted, np.nan), axis=-1)
    np.testing.assert_allclose(values["bit_error_rate_top"], top, rtol=1e-5)


@pytest.mark.slow
def test_total_power_ledger_and_measured_snr():
    for beta in (0.0, 4.0):
        scheme, _, _, out = _sent(beta=beta)
        np.testing.assert_allclose(out.sent.tells["power"].sum(-1), TOKENS, rtol=1e-6)
        uses = TOKENS * 16 * 4 // 2
        assert (out.ledger.channel_uses() == uses).all() and scheme.frames() == (TOKENS, uses // TOKENS)
        assert (out.sent.side_bits == 3 * TOKENS + 5).all()
        # Signal over noise of 40 x 1920 uses; the noise's power has the spread of that many exponentials.
        assert abs(float(out.through.snr) / 10**0.6 - 1) < 5 / np.sqrt(BATCH * uses) * 2
    assert (np.asarray(_sent(beta=0.0)[3].sent.tells["power"]) == 1).all()


def _modulated(source, params, **config):
    scheme = FaSemCom(FaSemComConfig(**SMALL | config))
    point = OperatingPoint(6.0, 0.0, {"alpha": jnp.float32(0.5), "beta": jnp.float32(2.0)})
    return scheme.modulate(None, scheme.encode(params, source, None, {}), point)


def test_quadrants_are_known_and_cost_no_side_information():
    source, params = _source(4, 5 * TOKENS), FaSemCom(FaSemComConfig(**SMALL)).init(jax.random.key(0))
    quadrants = grid_places(np.float32([[0, 0, 1, 1], *slice_windows("grid")])).reshape(-1, 4)
    sent = _modulated(source, params, num_patches=5 * TOKENS, slices="grid")
    np.testing.assert_array_equal(sent.side_bits, [3 * 5 * TOKENS + 5] * 4)
    # Whatever the source says of places: the receiver knows those of the configuration.
    np.testing.assert_allclose(sent.side.places, np.broadcast_to(quadrants, sent.side.places.shape), atol=1e-7)
    told = _modulated(source, params, num_patches=5 * TOKENS)
    np.testing.assert_array_equal(told.side_bits, [3 * 5 * TOKENS + 5 + 4 * 31] * 4)
    in_words = _modulated(source, params, num_patches=5 * TOKENS, slices="grid", question_bits=8 * 23)
    np.testing.assert_array_equal(in_words.side_bits, [3 * 5 * TOKENS + 8 * 23] * 4)
    with pytest.raises(ValueError, match="FaSemComConfig.num_patches must be 300 with slices 'grid', got 120"):
        FaSemComConfig(num_patches=120, slices="grid")


def test_power_shared_out_over_all_that_is_sent_or_window_by_window():
    source, params = _source(4, 2 * TOKENS), FaSemCom(FaSemComConfig(**SMALL)).init(jax.random.key(0))
    dull = {name: source.hints[name].at[:, :, TOKENS:].multiply(0.1) for name in ("objective", "subjective")}
    source = source._replace(hints={**source.hints, **dull})
    power = {
        scope: np.asarray(_modulated(source, params, num_patches=2 * TOKENS, power_scope=scope).signal.power)
        for scope in ("sent", "window")
    }
    means = {scope: array.reshape(4, 2, TOKENS).mean(-1) for scope, array in power.items()}
    np.testing.assert_allclose(means["window"], 1.0, rtol=1e-5)
    np.testing.assert_allclose(means["sent"].mean(-1), 1.0, rtol=1e-5)
    assert (means["sent"][:, 0] > 1.3).all()  # the second window is looked at less
    within = [array.reshape(4, 2, TOKENS) / means[scope][..., None] for scope, array in power.items()]
    np.testing.assert_allclose(*within, rtol=1e-5)


@pytest.mark.slow
def test_windows_that_are_missing_cost_nothing():
    scheme = FaSemCom(FaSemComConfig(**SMALL, num_patches=2 * TOKENS))
    source = _source(tokens=2 * TOKENS)
    valid = jnp.arange(2 * TOKENS)[None, None] < jnp.where(jnp.arange(BATCH) % 2, TOKENS, 2 * TOKENS)[:, None, None]
    source = source._replace(hints={**source.hints, "valid": valid})
    out = _forward(scheme, scheme.init(jax.random.key(0)), source, jax.random.key(1), AWGN, OperatingPoint(6.0))
    uses = np.asarray(out.ledger.channel_uses())
    assert uses[0] == 2 * uses[1] == 2 * TOKENS * 32
    power = jnp.where(valid, out.sent.tells["power"], 0).sum(-1)[:, 0]
    np.testing.assert_allclose(power, valid.sum(-1)[:, 0], rtol=1e-6)
    errors = np.asarray(patch_bit_errors(out))
    assert np.isnan(errors[1, 0, TOKENS:]).all() and not np.isnan(errors[0]).any()


def test_the_place_of_a_slice_is_known_as_it_is_told():
    scheme = FaSemCom(FaSemComConfig(**SMALL, num_patches=2 * TOKENS))
    source = _source(tokens=2 * TOKENS)
    window = np.float32([[0, 0, 1, 1], [0.1234567, 0.3, 0.6234567, 0.8]])
    places = jnp.broadcast_to(grid_places(window).reshape(-1, 4), (BATCH, 1, 2 * TOKENS, 4))
    valid = jnp.arange(2 * TOKENS)[None, None] < jnp.where(jnp.arange(BATCH) % 2, TOKENS, 2 * TOKENS)[:, None, None]
    source = Source({**source.data, "places": places}, {**source.hints, "valid": valid})
    point = OperatingPoint(6.0, 0.0, {"alpha": 0.5, "beta": 1.0})
    sent = scheme.modulate(None, scheme.encode(scheme.init(jax.random.key(0)), source, None, {}), point)
    known = np.asarray(sent.side.places).reshape(BATCH, 2, TOKENS, 4)
    told = np.round(window * 1024) / 1024  # three numbers of 10 bits: left, top, side
    np.testing.assert_allclose(known[0], grid_places(np.float32(told)), atol=1e-7)
    np.testing.assert_array_equal(known[:, 0], places[:, 0, :TOKENS])
    np.testing.assert_array_equal(sent.side_bits, np.where(np.arange(BATCH) % 2, 3 * 60 + 6, 3 * 120 + 6 + 30))


WAYS = [{}, {"quantizer": "float16"}, {"num_bits": 8, "bits_per_symbol": 4}, {"transmission": "analog"}]


@pytest.mark.parametrize("config", WAYS)
def test_without_noise_the_features_arrive(config):
    *_, out = _sent(snr_db=80.0, **config)
    sent, arrived = out.sent.tells["features"], out.estimate.tells["features"]
    np.testing.assert_allclose(jnp.mean(sent**2, -1), 1.0, rtol=1e-4)
    step = {"float16": 4e-3}.get(config.get("quantizer"), 2e-3 if "transmission" in config else 6 / 15 / 2 + 1e-6)
    np.testing.assert_allclose(arrived, jnp.clip(sent, -3, 3) if step > 0.1 else sent, atol=step)
    assert out.estimate.data.shape == (BATCH, 1, len(ANSWERS))


def test_analogue_noise_of_a_patch_is_that_of_its_power():
    *_, out = _sent(beta=1.0, transmission="analog")
    power, no = np.asarray(out.sent.tells["power"]), 10**-0.6
    gain = 1 + no / power[..., None]
    error = np.asarray(out.estimate.tells["features"]) * gain - np.asarray(out.sent.tells["features"])
    for level in (1.0, 5.0):
        inside = np.asarray(out.sent.tells["levels"]) == level
        scaled = (error**2).mean(-1)[inside] / (no / power[inside])
        assert abs(scaled.mean() - 1) < 5 * np.sqrt(2 / (16 * inside.sum()))


@pytest.mark.slow
def test_answerer_takes_patches_as_a_set():
    scheme = FaSemCom(FaSemComConfig(**SMALL, num_patches=TOKENS))
    params, rng = scheme.init(jax.random.key(0)), np.random.default_rng(1)
    features = jnp.asarray(rng.normal(size=(3, 1, TOKENS, 16)), jnp.float32)
    places = jnp.broadcast_to(grid_places(np.float32([0, 0, 1, 1])), (3, 1, TOKENS, 4))
    ones, question = jnp.ones((3, 1, TOKENS)), jnp.zeros((3, 1), jnp.int32)
    order = rng.permutation(TOKENS)

    def scores(features, places, valid):
        return scheme.answer(params, features, Side(ones[..., : features.shape[2]], valid, places, question))

    want = scores(features, places, ones > 0)
    np.testing.assert_allclose(scores(features[:, :, order], places[:, :, order], ones > 0), want, atol=2e-5)
    assert np.abs(scores(features[:, :, order], places, ones > 0) - want).max() > 1e-3
    padded = [jnp.pad(a, [(0, 0), (0, 0), (0, 9), (0, 0)], constant_values=7.0) for a in (features, places)]
    valid = jnp.pad(ones > 0, [(0, 0), (0, 0), (0, 9)])
    side = Side(jnp.ones(valid.shape), valid, padded[1], question)
    np.testing.assert_allclose(scheme.answer(params, padded[0], side), want, atol=2e-5)


@pytest.mark.slow
def test_answerer_of_levels_sees_nothing_else():
    scheme, params, _, out = _sent(sees="levels")
    again = FaSemCom(scheme.config).decode(
        params, jax.tree.map(lambda a: -a, out.received), out.sent.side, OperatingPoint(6.0)
    )
    np.testing.assert_allclose(again.data, out.estimate.data, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_features": 3}, "FaSemComConfig.num_features must be even.*got 3"),
        ({"num_bits": 17}, "FaSemComConfig.num_bits must be at most 16, got 17"),
        ({"quantizer": "float8"}, "FaSemComConfig.quantizer.*float8"),
        ({"width": 12}, "FaSemComConfig.width must be a multiple of 8, got 12"),
    ],
)
def test_wrong_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        FaSemComConfig(**fields)


def test_wrong_sources():
    scheme, source = FaSemCom(FaSemComConfig(**SMALL)), _source(4)
    params = scheme.init(jax.random.key(0))
    with pytest.raises(ValueError, match=r"hints\['valid'\] must be \(4, 1, 60\), got None"):
        forward(scheme, params, source._replace(hints={k: v for k, v in source.hints.items() if k != "valid"}),
                jax.random.key(1), AWGN, OperatingPoint())  # fmt: skip
    with pytest.raises(ValueError, match=r"\['patches'\] must be \[batch, num_uavs, 60, 8\], got \(4, 1, 30, 8\)"):
        forward(scheme, params, _source(4, 30), jax.random.key(1), AWGN, OperatingPoint())
