"""Frames of known, unequal power over every kind of carrier."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import link as links_room
from lvm_mtc import phy
from lvm_mtc.link import Frames, LinkConfig, OperatingPoint, Signal
from lvm_mtc.link.transmission import draw, measure, send

FRAMES, SYMBOLS, BATCH = 6, 4, 3
POWER = np.float32([0.25, 1.0, 2.0, 0.25, 2.0, 0.5])
ONE = dict(num_rx_ant=1, num_tx_ant=1)
pytestmark = pytest.mark.usefixtures("fast_compile")


def _through(link, power, no_csi_error=True, num_uavs=1, public=None):
    bits = jax.random.bernoulli(jax.random.key(5), shape=(BATCH, num_uavs, FRAMES, 2 * SYMBOLS))
    symbols = phy.qam_map(bits, 2)
    private = Frames(symbols, jnp.ones(symbols.shape[:-1], bool))
    signal = Signal(private, public, power=None if power is None else jnp.broadcast_to(power, symbols.shape[:-1]))
    point = OperatingPoint(10.0, 0.0 if no_csi_error else 0.05)
    draws = draw(link, jax.random.split(jax.random.key(1), num_uavs), BATCH, FRAMES, SYMBOLS, point)
    received, output = send(link, signal, draws, point)
    return symbols, received, measure(link, signal, output)


@pytest.mark.slow
@pytest.mark.parametrize("fields", [ONE, dict(num_rx_ant=4, num_tx_ant=4), dict(fading="exponential", **ONE)], ids=str)
def test_a_receiver_that_knows_the_power_has_less_noise(fields):
    link = LinkConfig(**fields)
    symbols, got, through = _through(link, POWER, no_csi_error=False)
    for power in np.unique(POWER):
        frames = power == POWER
        quiet = dict(zip(("snr_db", "csi_error_var"), (10.0 + 10 * np.log10(power), 0.05), strict=True))
        draws = draw(link, jax.random.split(jax.random.key(1), 1), BATCH, FRAMES, SYMBOLS, OperatingPoint())
        plain = Signal(Frames(symbols, jnp.ones(symbols.shape[:-1], bool)))
        want, _ = send(link, plain, draws, OperatingPoint(**quiet))
        for name in ("symbols", "no_eff"):
            one, other = (getattr(r, name)[:, :, frames] for r in (got, want))
            np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize(
    "link",
    [
        pytest.param(
            LinkConfig.of(fading="rayleigh", waveform="otfs", num_rx_ant=2, num_tx_ant=1), marks=pytest.mark.slow
        ),
        LinkConfig.of(topology="mac", num_rx_ant=4, num_tx_ant=1),
        LinkConfig.of(topology="joint", num_rx_ant=2, num_tx_ant=2),
    ],
    ids=["otfs", "mac", "joint"],
)
def test_other_carriers_send_it_as_amplitudes(link):
    num_uavs = 1 if link.topology == "broadcast" else 2
    _, got, through = _through(link, POWER, num_uavs=num_uavs)
    symbols, plain, _ = _through(link, None, num_uavs=num_uavs)
    _, ones, _ = _through(link, np.ones(FRAMES, np.float32), num_uavs=num_uavs)
    np.testing.assert_array_equal(ones.symbols, plain.symbols)
    # What is stronger arrives better: over the whole batch the error falls with the power.
    error = jnp.mean(jnp.abs(got.symbols - symbols) ** 2, axis=(0, 1, 3))
    assert error[POWER == 2].mean() < error[POWER == 0.25].mean()
    assert jnp.isfinite(got.no_eff).all()
    if link.topology == "broadcast":
        error = np.sum(POWER[:, None] * np.abs(np.asarray(got.symbols - symbols)) ** 2, axis=(2, 3))
        np.testing.assert_allclose(through.nmse_symbols, error / (POWER.sum() * SYMBOLS), rtol=1e-3)


@pytest.mark.slow
def test_the_measured_snr_is_that_of_the_signals():
    link = LinkConfig(fading="awgn", **ONE)
    bits = jax.random.bernoulli(jax.random.key(2), shape=(200, 1, FRAMES, 2 * SYMBOLS))
    symbols = phy.qam_map(bits, 2)
    power = jnp.broadcast_to(POWER / POWER.mean(), symbols.shape[:-1])
    signal = Signal(Frames(symbols, jnp.ones(symbols.shape[:-1], bool)), power=power)
    draws = draw(link, jax.random.split(jax.random.key(3), 1), 200, FRAMES, SYMBOLS)
    _, output = links_room.send(link, signal, draws, OperatingPoint(7.0))
    snr = float(measure(link, signal, output).snr) / 10**0.7
    assert abs(snr - 1) < 5 / np.sqrt(200 * FRAMES * SYMBOLS)


def test_public_frames_have_none():
    public = Frames(jnp.ones((BATCH, FRAMES, SYMBOLS), jnp.complex64), jnp.zeros((BATCH, FRAMES), bool))
    with pytest.raises(ValueError, match="Signal.power is for private frames"):
        _through(LinkConfig(**ONE), POWER, public=public)
