"""The channel of WITT's "Rayleigh" curves, against its definition and closed forms."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import phy
from lvm_mtc.link import LinkConfig, OperatingPoint, Slots
from lvm_mtc.phy import ResourceGrid

LINK = LinkConfig.witt_rayleigh()
SNR_DB = 6.0
B, K, SLOTS = 50, 2, 400

pytestmark = pytest.mark.usefixtures("fast_compile")


def _send(link, shape=(B, K, SLOTS, 1), **numbers):
    x = jax.random.normal(jax.random.key(5), shape, jnp.complex64)
    point = OperatingPoint(snr_db=SNR_DB, **numbers)

    def through(keys, x):
        draws = link.carrier.draw(link, keys, x.shape[0], x.shape[-2], x.shape[-2], point)
        return link.carrier.send(link, Slots(x), draws, point)

    return np.asarray(x), jax.jit(through)(jax.random.split(jax.random.key(7), K), x)


def _standard_errors(values, expected):
    values = np.asarray(values, np.float64).ravel()
    return abs(values.mean() - expected) / (values.std() / np.sqrt(values.size))


@pytest.mark.slow
def test_what_arrives_is_a_real_gain_times_the_symbol_plus_noise():
    x, out = _send(LINK, csi_error_var=0.3)
    h, no = np.asarray(out.h)[..., 0], 10 ** (-SNR_DB / 10)
    assert h.shape == x.shape and np.all(h.imag == 0) and np.all(h.real >= 0)
    np.testing.assert_array_equal(out.x_hat, out.y)  # also with a CSI error: nobody looks at the estimate
    np.testing.assert_allclose(out.no_eff, no, rtol=1e-6)
    noise = np.asarray(out.y) - h * x
    assert _standard_errors(h.real, np.sqrt(np.pi) / 2) < 5
    assert _standard_errors(h.real**2, 1.0) < 5
    assert _standard_errors(np.abs(noise) ** 2, no) < 5
    assert _standard_errors(np.abs(noise) ** 2, 1.05 * no) > 5
    # A new h in every slot: neighbours are uncorrelated.
    centred = h.real - np.sqrt(np.pi) / 2
    assert _standard_errors(centred[:, :, 1:] * centred[:, :, :-1], 0.0) < 5


def test_error_has_its_closed_form_and_the_snr_is_the_nominal_one():
    x, out = _send(LINK)
    no = 10 ** (-SNR_DB / 10)
    error = np.abs(np.asarray(out.x_hat) - x) ** 2
    assert _standard_errors(error, 2 - np.sqrt(np.pi) + no) < 5
    assert _standard_errors(error, no) > 5
    received = np.asarray(out.h)[..., 0] * x
    for convention, sent in (("esno", x), ("rx_per_antenna", received)):
        measured = phy.measure_snr_db(x, jnp.asarray(received), out.y, convention=convention)
        ratio = np.abs(sent) ** 2 / np.mean(np.abs(sent) ** 2) - np.abs(out.y - received) ** 2 / no
        error_db = 10 / np.log(10) * ratio.std() / np.sqrt(ratio.size)
        assert abs(measured - SNR_DB) < 5 * error_db and error_db < 0.05


def test_draws_made_beforehand_are_the_same_channel():
    keys, point = jax.random.split(jax.random.key(7), K), OperatingPoint(snr_db=SNR_DB)
    draws = LINK.carrier.draw(LINK, keys, B, SLOTS, SLOTS, point)
    _, out = _send(LINK)
    np.testing.assert_allclose(draws.h, out.h, rtol=1e-6)


def test_a_receiver_that_estimates_knows_the_mean_of_the_magnitudes():
    # One slot's pilot is so noisy that the mean is most of what is known: with it robust believes what is measured.
    x, out = _send(dataclasses.replace(LINK, equalizer="robust"), csi_error_var=1.0)
    shrunk = (1 - np.pi / 4) / (2 - np.pi / 4)  # q / (q + s)
    mean = shrunk * np.asarray(out.h_hat) + (1 - shrunk) * np.sqrt(np.pi) / 2
    error = np.asarray(out.h) - mean
    assert _standard_errors(np.abs(error) ** 2, shrunk) < 5
    extra = 10 ** (-SNR_DB / 10) + shrunk
    np.testing.assert_allclose(out.no_eff, extra / np.abs(mean[..., 0]) ** 2, rtol=2e-3)


@pytest.mark.parametrize(
    "link",
    [
        LinkConfig(fading="awgn", num_rx_ant=2, num_tx_ant=2, equalizer="none"),
        LinkConfig.of(topology="joint", num_rx_ant=K, num_tx_ant=K, equalizer="none"),
        LinkConfig.of(
            fading="exponential",
            num_rx_ant=1,
            num_tx_ant=1,
            equalizer="none",
            ofdm=ResourceGrid(fft_size=16, num_ofdm_symbols=6, cyclic_prefix_length=4, pilot_symbols=(0, 3)),
        ),
    ],
    ids=["awgn", "joint", "grid"],
)
def test_every_carrier_can_do_without_an_equaliser(link):
    shape = (3, 20, K) if link.topology == "joint" else (3, K, 20, link.num_tx_ant)
    _, out = _send(link, shape=shape)
    np.testing.assert_array_equal(out.x_hat, out.y)
    np.testing.assert_allclose(out.no_eff, 10 ** (-SNR_DB / 10), rtol=1e-6)


def test_fields_can_be_changed_and_wrong_ones_are_refused():
    assert LinkConfig.witt_rayleigh(convention="rx_per_antenna").convention == "rx_per_antenna"
    with pytest.raises(ValueError, match="LinkConfig.equalizer 'none' needs num_rx_ant == num_tx_ant, got 4 and 1"):
        LinkConfig.witt_rayleigh(num_rx_ant=4)
