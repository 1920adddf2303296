"""The emulations of public codes run at the SNR that their closed forms say, and the records are complete."""

import dataclasses
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.audit import conventions as public_conventions
from experiments.audit.conventions import PUBLIC_CONVENTIONS, measured_offset_db
from experiments.audit.emulations import build

pytestmark = pytest.mark.usefixtures("fast_compile")

CHANNELS = [(name, kind) for name, code in PUBLIC_CONVENTIONS.items() for kind in code.channels]
NUM_SYMBOLS = 1 << 17


def transmit(name, kind="awgn"):
    return PUBLIC_CONVENTIONS[name].channels[kind].transmit


def features(*shape, seed=1):
    return 2 * jax.random.normal(jax.random.key(seed), shape)


def agrees(measured, offset_db):
    return abs(measured.offset_db - offset_db) < 5 * measured.standard_error_db


@pytest.mark.parametrize("snr_db", [1.0, 13.0])
@pytest.mark.parametrize(("name", "kind"), CHANNELS)
def test_measured_offset_is_the_closed_form(name, kind, snr_db):
    measured = measured_offset_db(name, jax.random.key(int(snr_db)), snr_db, NUM_SYMBOLS, channel=kind)
    assert agrees(measured, PUBLIC_CONVENTIONS[name].channels[kind].offset_db)
    assert measured.standard_error_db < 0.6


@pytest.mark.parametrize(("name", "kind"), CHANNELS)
def test_closed_form_and_number_agree(name, kind):
    found = PUBLIC_CONVENTIONS[name].channels[kind]
    sizes = {"(batch)": found.num_pictures, "k": found.num_symbols, "2": 2, "4": 4}
    if found.closed_form == "0":
        assert found.offset_db == 0
    else:
        sign, argument = re.fullmatch(r"([+-])10 log10 ?(.+)", found.closed_form).groups()
        assert found.offset_db == pytest.approx(float(f"{sign}1") * 10 * math.log10(sizes[argument]))


@pytest.mark.parametrize("kind", ["awgn", "rayleigh"])
def test_the_comparison_can_fail(monkeypatch, kind):
    """Noise that is taken per complex symbol instead of per real value is seen, and so is its opposite."""
    gain = {"gain": {"complex_gain": {"block": "picture"}}} if kind == "rayleigh" else {}
    code = PUBLIC_CONVENTIONS["adjscc"]
    for noise in (0.25, 1.0):
        emulation = build({"channel": {"pair": "halves", "scope": "picture", "power": 0.5, "noise": noise} | gain})
        changed = dataclasses.replace(
            code, channels={kind: dataclasses.replace(code.channels[kind], transmit=emulation)}
        )
        monkeypatch.setattr(public_conventions, "PUBLIC_CONVENTIONS", {"adjscc": changed})
        measured = measured_offset_db("adjscc", jax.random.key(0), 10.0, NUM_SYMBOLS, channel=kind)
        assert not agrees(measured, code.channels[kind].offset_db)
        assert agrees(measured, 10 * math.log10(0.5 / noise))


@pytest.mark.parametrize("name", PUBLIC_CONVENTIONS)
def test_texts_are_complete(name):
    code = PUBLIC_CONVENTIONS[name]
    assert code.name == name and re.fullmatch(r"[\w.-]+/[\w.-]+", code.repository)
    assert re.fullmatch(r"[0-9a-f]{40}", code.commit)
    assert re.search(r"\.py:\d", code.path) and code.licence
    assert code.does.endswith(".") and code.fading.endswith(".") and len(code.does) > 40
    assert set(code.channels) <= {"awgn", "awgn_bpsk", "rayleigh", "rician"} and code.channels
    assert (code.fading == "None.") == (set(code.channels) <= {"awgn", "awgn_bpsk"})
    assert all(found.num_pictures % 2 == 0 for found in code.channels.values())


def test_there_are_enough_codes():
    assert len({code.repository for code in PUBLIC_CONVENTIONS.values()}) == len(PUBLIC_CONVENTIONS) >= 8


def test_offset_falls_with_features_that_are_not_scaled_up():
    measured = measured_offset_db("deepsc", jax.random.key(0), 7.0, NUM_SYMBOLS, scale=0.5)
    assert agrees(measured, 10 * math.log10(2 * 0.5**2))


@pytest.mark.parametrize("num_pictures", [1, 16])
def test_noise_that_grows_with_the_batch(num_pictures):
    air = transmit("djscc_keras")(jax.random.key(0), features(num_pictures, 1 << 14), 10.0)
    noise = np.asarray(air.received - air.sent)
    assert np.allclose(noise.real, noise.imag, rtol=1e-3, atol=1e-3)
    ratio = np.mean(np.abs(air.sent) ** 2) / np.mean(np.abs(noise) ** 2)
    bound = 5 * math.sqrt(2 / noise.size)
    assert abs(ratio / 10 * num_pictures - 1) < bound


def test_correlated_devices_add_their_amplitudes():
    one = features(1, 4096)
    for second, power in ((one, 2.0), (-one, 0.0)):
        air = transmit("deepjscc_noma")(jax.random.key(0), jnp.concatenate([one, second]), 10.0)
        assert np.mean(np.abs(air.sent) ** 2) == pytest.approx(power, abs=1e-5)


def test_power_of_the_batch_and_power_of_a_picture():
    """One picture of four has all the power: it is 4 times the named one for the batch, and 1 for the picture."""
    x = features(4, 4096) * jnp.array([[1.0], [1e-3], [1e-3], [1e-3]])
    for name, power in (("ntscc", 4.0), ("adjscc", 1.0)):
        sent = transmit(name)(jax.random.key(0), x, 10.0).sent
        assert np.mean(np.abs(sent[0]) ** 2) == pytest.approx(power, rel=1e-4)


def test_what_the_fadings_do():
    x, key = features(4, 128), jax.random.key(3)
    gains = {}
    for name in ("witt", "deepjscc_feedback", "cddm"):
        air = transmit(name, "rayleigh")(jax.random.clone(key), x, 10.0)
        gains[name] = np.asarray(air.arrived / air.sent)
    assert np.allclose(gains["witt"].imag, 0, atol=1e-5) and (gains["witt"].real > 0).all()
    assert np.std(gains["witt"][0]) > 0.1 and np.std(gains["cddm"][0]) > 0.1
    assert np.allclose(gains["deepjscc_feedback"], gains["deepjscc_feedback"][:, :1], rtol=1e-3)
    assert abs(gains["deepjscc_feedback"][0, 0] - gains["deepjscc_feedback"][1, 0]) > 1e-2
    air = transmit("deep_jscc_pytorch", "rayleigh")(jax.random.clone(key), x, 10.0)
    first, second = air.arrived.real / air.sent.real, air.arrived.imag / air.sent.imag
    assert np.allclose(first, first[0, 0], rtol=1e-3) and np.allclose(second, second[0, 0], rtol=1e-3)
    assert abs(first[0, 0] - second[0, 0]) > 1e-2


@pytest.mark.parametrize("name", ["jscc_ofdm", "jscc_fis"])
def test_no_picture_is_in_a_fade(name):
    air = transmit(name, "rayleigh")(jax.random.key(0), features(16, 8192), 10.0)
    ratio = np.mean(np.abs(air.arrived) ** 2, axis=1) / np.mean(np.abs(air.received - air.arrived) ** 2, axis=1)
    assert np.abs(ratio / 10 - 1).max() < 5 / math.sqrt(4096)
    assert np.std(np.mean(np.abs(air.arrived) ** 2, axis=1)) > 0.1


@pytest.mark.parametrize(
    ("gain", "power"),
    [({"multipath_gain": {}}, 1.0), *(({"shifted_gain": {"k_factor": k_factor}}, 2.0) for k_factor in (0.0, 9.0))],
)
def test_mean_power_of_gains(gain, power):
    keys = jax.random.split(jax.random.key(0), 4096)
    h = jax.vmap(build(gain), in_axes=(0, None))(keys, jnp.ones((1, 64), jnp.complex64))
    found = np.mean(np.abs(h) ** 2, axis=(1, 2))
    assert abs(found.mean() - power) < 5 * found.std(ddof=1) / math.sqrt(found.size)


def test_under_jit_and_for_a_traced_snr():
    x, key = features(4, 128), jax.random.key(0)
    compiled = jax.jit(transmit("deep_jscc_pytorch", "rayleigh"))
    for snr_db in (0.0, 10.0):
        eager = transmit("deep_jscc_pytorch", "rayleigh")(jax.random.clone(key), x, snr_db)
        for one, other in zip(eager, compiled(jax.random.clone(key), x, snr_db), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_unknown_names():
    with pytest.raises(ValueError, match="public convention 'wit' is not known .*'witt'"):
        measured_offset_db("wit", jax.random.key(0), 1.0, 8)
    with pytest.raises(ValueError, match="ntscc: channel 'rayleigh' is not known.*awgn"):
        measured_offset_db("ntscc", jax.random.key(0), 1.0, 8, channel="rayleigh")
