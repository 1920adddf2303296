"""Recorded channels: read, scaled, played, known to receivers, part of a sweep's key; bad ones named."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import phy
from lvm_mtc.link import LinkConfig, Ofdm, OperatingPoint, RecordedChannel, SingleCarrier, Slots

pytestmark = pytest.mark.usefixtures("fast_compile")

GRID = phy.ResourceGrid(fft_size=16, num_ofdm_symbols=6, cyclic_prefix_length=4, pilot_symbols=(0, 3))
DELAYS = np.array([0.0, 1.5]) * GRID.sample_duration


def recording(**changes):
    rng = np.random.default_rng(0)
    gains = (rng.normal(size=(40, 2, 2, 2)) + 1j * rng.normal(size=(40, 2, 2, 2))) * np.array([3.0, 1.0])
    return RecordedChannel(**dict(gains=gains, delays=DELAYS, interval=100e-6, name="flight") | changes)


def test_a_stretch_of_it_is_played():
    """At a sample it is the sample, between two the straight line, scaled to unit power; moments differ by link."""
    channel = recording()
    times = np.arange(5) * 50e-6
    paths = channel(jax.random.key(0), (3,), times=times, num_rx_ant=2, num_tx_ant=2)
    start = np.asarray(jax.random.uniform(jax.random.key(0), (3, 1), jnp.float32, 0, 39 - 2))[:, 0]
    scaled = channel.gains.astype(np.complex128)
    np.testing.assert_allclose(np.mean(np.sum(np.abs(scaled) ** 2, -1)), 1, rtol=1e-6)
    expected = np.stack(
        [
            [[np.interp(s + times / 100e-6, np.arange(40), scaled[:, u, v, tap]) for v in (0, 1)] for u in (0, 1)]
            for s in start
            for tap in (0, 1)
        ]
    ).reshape(3, 2, 2, 2, 5)
    np.testing.assert_allclose(paths.gains, np.moveaxis(expected, -1, 2), atol=2e-5)
    np.testing.assert_allclose(paths.delays, np.broadcast_to(DELAYS, (3, 2)), rtol=1e-6)
    known = channel.statistics(0.0)
    np.testing.assert_allclose(np.sum(known.powers), 1, rtol=1e-6)


def test_it_carries_symbols_over_a_grid():
    """Without noise and with perfect CSI what is sent arrives; without a carrier named, it takes a grid."""
    link = LinkConfig.of(fading=recording(interval=1.0), num_rx_ant=2, num_tx_ant=2, ofdm=GRID, equalizer="zf")
    assert isinstance(link.carrier, Ofdm) and link.label == "flight"
    x = jnp.ones((2, 3, 7, 2), jnp.complex64)
    point = OperatingPoint(snr_db=jnp.float32(90.0))
    keys = jax.random.split(jax.random.key(1), 3)
    out = link.carrier.send(link, Slots(x), link.carrier.draw(link, keys, 2, 7, 7, point), point)
    np.testing.assert_allclose(out.x_hat, x, atol=2e-2)


def test_files_and_keys(tmp_path):
    channel = recording()
    channel.save(tmp_path / "flight.npz")
    again = RecordedChannel.load(tmp_path / "flight.npz")
    assert again == channel and hash(again) == hash(channel) and again.described() == channel.described()
    assert recording(interval=1e-3).described() != channel.described()
    link = LinkConfig(fading=channel, num_rx_ant=2, num_tx_ant=2, carrier=Ofdm(grid=GRID))
    assert link.described()["fading"] == channel.described() and link.described()["waveform"] == "auto"
    (tmp_path / "bad.npz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="bad.npz: not a recorded channel"):
        RecordedChannel.load(tmp_path / "bad.npz")
    np.savez(tmp_path / "half.npz", gains=channel.gains)
    with pytest.raises(
        ValueError, match="half.npz: a recorded channel has gains, delays, interval; missing: delays, int"
    ):
        RecordedChannel.load(tmp_path / "half.npz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            dict(gains=np.ones((4, 2, 2, 2))),
            r"RecordedChannel.gains must be complex \[time, rx, tx, tap\], got float64",
        ),
        (dict(gains=np.zeros((4, 2, 2, 2), complex)), "RecordedChannel.gains have a mean power of 0.0"),
        (dict(delays=[0.0]), "RecordedChannel.delays must be 2 finite numbers of seconds >= 0"),
        (dict(delays=[0.0, -1e-9]), "RecordedChannel.delays must be 2 finite"),
        (dict(interval=0.0), "RecordedChannel.interval must be > 0"),
    ],
)
def test_what_is_no_channel(changes, message):
    with pytest.raises(ValueError, match=message):
        recording(**changes)


def test_links_it_does_not_fit():
    with pytest.raises(ValueError, match="num_rx_ant and num_tx_ant must be those of 'flight', 2 and 2, got 4 and 4"):
        LinkConfig(fading=recording(), carrier=Ofdm(grid=GRID))
    with pytest.raises(ValueError, match="the longest delay of 'flight'"):
        LinkConfig.of(fading=recording(delays=[0.0, 1e-3]), num_rx_ant=2, num_tx_ant=2, ofdm=GRID)
    with pytest.raises(ValueError, match="frequency-selective and needs a resource grid"):
        LinkConfig(fading=recording(), num_rx_ant=2, num_tx_ant=2, carrier=SingleCarrier())
    with pytest.raises(ValueError, match="'flight' lasts 0.0039 s, and a link needs 0.01 s"):
        recording()(jax.random.key(0), (), times=[0.0, 0.01], num_rx_ant=2, num_tx_ant=2)
