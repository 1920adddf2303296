"""Decibels and SNR conventions; the SNR on the axis is the SNR of the signals."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import phy

FADINGS = {
    "awgn": None,
    "rayleigh": phy.rayleigh,
    "rician": functools.partial(phy.rician, k_factor_db=3.0),
    "nakagami": functools.partial(phy.nakagami, m=0.8),
    "fisher_snedecor": functools.partial(phy.fisher_snedecor, m_f=2.0, m_s=5.0),
    "rayleigh_magnitude": phy.rayleigh_magnitude,
}
EBNO = {"bits_per_symbol": 4, "code_rate": 0.5}


@pytest.mark.parametrize(
    ("convention", "fading", "factor"),
    [
        ("esno", True, 1.0),
        ("esno", False, 1.0),
        ("rx_per_antenna", True, 3.0),
        ("received_total", True, 15.0),
        ("ebno", True, 0.5),
    ],
)
def test_noise_variance_is_reference_power_over_snr(convention, fading, factor):
    extra = EBNO if convention == "ebno" else {}
    got = phy.noise_variance(7.0, convention=convention, num_rx_ant=5, num_tx_ant=3, fading=fading, **extra)
    np.testing.assert_allclose(got, factor * 10**-0.7, rtol=1e-6)


def test_awgn_counts_one_link_per_antenna():
    for convention, factor in (("rx_per_antenna", 1.0), ("received_total", 4.0)):
        got = phy.noise_variance(0.0, convention=convention, num_rx_ant=4, num_tx_ant=4, fading=False)
        np.testing.assert_allclose(got, factor, rtol=1e-6)


@pytest.mark.parametrize("convention", phy.SNR_CONVENTIONS)
def test_inverse(convention):
    setting = {"convention": convention, "num_rx_ant": 4, "num_tx_ant": 2}
    if convention == "ebno":
        setting |= EBNO
    snr_db = jnp.linspace(-20.0, 40.0, 7)
    back = phy.snr_db_from_noise_variance(phy.noise_variance(snr_db, **setting), **setting)
    np.testing.assert_allclose(back, snr_db, atol=1e-4)


def _block_powers(name, convention):
    """Signal power and noise power of each of many independent fading blocks, by the link itself."""
    num_blocks, num_rx, num_tx = 3000, 4, 4
    x_key, link_key = jax.random.split(jax.random.key(11))
    x = jax.random.normal(x_key, (num_blocks, 2, num_tx), jnp.complex64)
    x, _ = phy.normalize_power(x)
    setting = {"convention": convention, **(EBNO if convention == "ebno" else {})}
    no = phy.noise_variance(6.0, num_rx_ant=num_rx, num_tx_ant=num_tx, fading=FADINGS[name] is not None, **setting)
    out = phy.joint(link_key, x, no=no, fading=FADINGS[name], equalizer="mf")
    h = out.h[:, 0]
    received = h[:, None] * x if name == "awgn" else jnp.einsum("bmn,bsn->bsm", h, x)
    return x, received, out.y


@pytest.mark.parametrize("convention", phy.SNR_CONVENTIONS)
@pytest.mark.parametrize("name", FADINGS)
def test_measured_snr_is_nominal_snr(name, convention):
    x, received, y = _block_powers(name, convention)
    extra = EBNO if convention == "ebno" else {}
    measured_db = phy.measure_snr_db(x, received, y, convention=convention, **extra)
    signal = x if convention in ("esno", "ebno") else received
    signal = np.sum(np.abs(np.asarray(signal)) ** 2, axis=(1, 2))
    noise = np.sum(np.abs(np.asarray(y - received)) ** 2, axis=(1, 2))
    # Delta method for a ratio of means over independent blocks.
    relative = signal / signal.mean() - noise / noise.mean()
    error_db = 10 / np.log(10) * relative.std() / np.sqrt(len(signal))
    assert error_db < 0.1
    assert abs(measured_db - 6.0) < 5 * error_db
    # 0.5 dB off would be noticed.
    assert abs(measured_db - 6.5) > 5 * error_db


def test_measurement_counts_active_symbols_only():
    x = jnp.ones((10, 2), jnp.complex64).at[:, 1].set(0)
    active = jnp.ones((10, 2), bool).at[:, 1].set(False)
    y = x + jnp.complex64(0.1)
    np.testing.assert_allclose(phy.measure_snr_db(x, x, y, active=active), 20.0, atol=1e-3)
    np.testing.assert_allclose(phy.measure_snr_db(x, x, y), 20.0 - 10 * np.log10(2), atol=1e-3)


def test_snr_carries_its_convention_through_jit():
    snr = phy.Snr(value_db=10.0, convention="received_total")
    setting = {"num_rx_ant": 4, "num_tx_ant": 4}
    no = jax.jit(lambda snr: snr.noise_variance(**setting))(snr)
    np.testing.assert_allclose(no, 1.6, rtol=1e-6)
    other = snr.to("esno", **setting)
    assert other.convention == "esno"
    np.testing.assert_allclose(other.value_db, 10 - 10 * np.log10(16), rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: phy.noise_variance(1.0, convention="snr"), "'snr'; known: esno, rx_per_antenna, received_total, ebno"),
        (lambda: phy.noise_variance(1.0, convention="ebno"), "bits_per_symbol=None"),
        (lambda: phy.noise_variance(1.0, convention="ebno", bits_per_symbol=2, code_rate=0), "code_rate must be > 0"),
        (lambda: phy.noise_variance(1.0, num_rx_ant=0), "num_rx_ant must be an integer >= 1, got 0"),
        (
            lambda: phy.noise_variance(1.0, convention="received_total", num_rx_ant=2, num_tx_ant=4, fading=False),
            "num_rx_ant=2, num_tx_ant=4",
        ),
        (lambda: phy.Snr(value_db=1.0, convention="db"), "Snr.convention: unknown SNR convention 'db'"),
        (
            lambda: phy.measure_snr_db(jnp.ones((3, 2)), jnp.ones((4, 2)), jnp.ones((4, 2))),
            r"\(3, 2\).*\(4, 2\)",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
