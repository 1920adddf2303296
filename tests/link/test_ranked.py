"""Streams in the order of their quality: which antenna each goes to, what that costs, and what is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import link as room
from lvm_mtc import phy
from lvm_mtc.link import Frames, LinkConfig, OperatingPoint, Otfs, RankedStreams, Scene, Signal, SingleCarrier, Slots
from lvm_mtc.link.ranked import order_bits

pytestmark = pytest.mark.usefixtures("fast_compile")

GRID = phy.ResourceGrid(
    fft_size=4, num_ofdm_symbols=5, cyclic_prefix_length=1, subcarrier_spacing=15e3, pilot_symbols=(0,)
)
FLAT = LinkConfig(num_rx_ant=3, num_tx_ant=3)
OVER_TIME = dataclasses.replace(FLAT, fading="exponential", delay_spread=8e-6, carrier=Otfs(grid=GRID))
BATCH, UAVS, FRAMES = 40, 2, 16


def ranked(link, **fields):
    return dataclasses.replace(link, carrier=RankedStreams(carrier=link.carrier, **fields))


def test_bits_of_an_order():
    assert [order_bits(n) for n in (1, 2, 3, 4, 5, 8)] == [0, 1, 3, 5, 7, 16]


@pytest.mark.slow
def test_streams_arrive_over_antennas_from_best_to_worst():
    """The same draws without ranking tell every antenna's error; a stream's are those of the antenna of its rank."""
    link = OVER_TIME
    keys, at = jax.random.split(jax.random.key(1), UAVS), OperatingPoint(snr_db=jnp.float32(10.0))
    rng = np.random.default_rng(2)
    x = jax.lax.complex(*np.float32(rng.normal(size=(2, BATCH, UAVS, FRAMES, 3)) * 0.5**0.5))
    signal = Signal(Frames(x, jnp.ones(x.shape[:-1], bool)))

    @jax.jit
    def both(keys):
        draws = room.draw(link, keys, BATCH, FRAMES, 3, at)
        return room.send(link, signal, draws, at), room.send(ranked(link), signal, draws, at)

    (_, plain), (received, output) = both(keys)
    quality = np.asarray(plain.no_eff / (1 + plain.no_eff), np.float64).mean(axis=2)
    by_rank = np.take_along_axis(np.asarray(plain.no_eff), np.argsort(quality, -1)[:, :, None], -1)
    np.testing.assert_allclose(output.no_eff, by_rank, rtol=1e-4)
    assert np.ptp(np.argsort(quality, -1)[..., 0]) == 2  # every antenna is the best one somewhere
    error = np.asarray(jnp.abs(received.symbols - signal.private.symbols) ** 2)
    ratio = error / np.asarray(received.no_eff)  # the exponential law's mean is 1
    units = ratio.mean(axis=(1, 2, 3))
    assert abs(units.mean() - 1) < 5 * units.std() / np.sqrt(BATCH)
    bits = [float(room.book(of, signal).side_information_bits[0]) for of in (link, ranked(link))]
    assert bits == [0, UAVS * 3]


def test_an_old_order_is_that_of_the_slots_before():
    """Without motion it is the order of now; at speed it is another one, and the best stream is no better."""
    link = ranked(OVER_TIME, age=GRID.slots_per_grid)
    keys = jax.random.split(jax.random.key(3), 1)

    @jax.jit
    def qualities(keys, doppler):
        at = OperatingPoint(snr_db=jnp.float32(15.0), max_doppler=doppler)
        draws = link.carrier.draw(link, keys, 200, 16, 16, at)
        slots = Slots(jnp.ones((200, 1, 16, 3), jnp.complex64))
        return jnp.log(link.carrier.send(link, slots, draws, at).no_eff).mean(axis=(1, 2))

    still, fast = (np.asarray(qualities(keys, jnp.float32(doppler)), np.float64) for doppler in (0.0, 6e3))
    assert np.all(np.diff(still, axis=-1) > -1e-4)
    best_to_worst = fast[:, 2] - fast[:, 0]
    assert abs(best_to_worst.mean()) < 5 * best_to_worst.std() / np.sqrt(200)
    gap = still[:, 2] - still[:, 0]
    assert gap.mean() > 5 * gap.std() / np.sqrt(200)


def test_files_hold_it_and_read_it():
    link = ranked(OVER_TIME, age=16)
    again = LinkConfig.of(**link.described())
    assert again == link and again.described() == link.described()
    places = Scene(positions=((100.0, 0.0, 50.0),), carrier=ranked(FLAT).carrier)
    both = dataclasses.replace(FLAT, carrier=places)
    assert LinkConfig.of(**both.described()) == both


def test_what_it_refuses():
    with pytest.raises(ValueError, match="num_tx_ant >= 2, got 1"):
        ranked(LinkConfig(num_rx_ant=1, num_tx_ant=1))
    with pytest.raises(ValueError, match="multiple of the grid's 16 slots, got 7"):
        ranked(OVER_TIME, age=7)
    with pytest.raises(ValueError, match="age 3 needs a resource grid"):
        ranked(FLAT, age=3)
    with pytest.raises(ValueError, match="'broadcast' and be no Scene, got SingleCarrier with 'joint'"):
        ranked(LinkConfig(carrier=SingleCarrier(topology="joint")))
    frames = Frames(jnp.ones((1, 1, 2, 3), jnp.complex64), jnp.ones((1, 1, 2), bool))
    public = Frames(frames.symbols[:, 0], frames.sent[:, 0])
    scene = Scene(positions=((100.0, 0.0, 50.0),), carrier=ranked(FLAT).carrier)
    for link in (ranked(FLAT), dataclasses.replace(FLAT, carrier=scene)):
        with pytest.raises(ValueError, match="is for private frames, and this signal has public ones"):
            room.send(link, Signal(frames, public), None, OperatingPoint())
