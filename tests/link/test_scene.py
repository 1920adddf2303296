"""UAVs at positions: their SNRs, K factors and Doppler shifts, and what is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import phy
from lvm_mtc.link import LinkConfig, Ofdm, OperatingPoint, Scene, SingleCarrier, Slots

pytestmark = pytest.mark.usefixtures("fast_compile")

PLACES = ((150.0, 0.0, 60.0), (700.0, 300.0, 80.0), (700.5, 300.0, 80.0))
BUDGET = dict(tx_power_dbm=30.0, bandwidth=20e6, noise_figure_db=7.0)


def over(link, batch, snr_db=20.0, **point):
    keys = jax.random.split(jax.random.key(0), 3)
    x = jnp.ones((batch, 3, 8, 4), jnp.complex64)
    at = OperatingPoint(snr_db=jnp.float32(snr_db), **point)

    @jax.jit
    def run(keys):
        draws = link.carrier.draw(link, keys, batch, 8, 24, at)
        return draws, link.carrier.send(link, Slots(x), draws, at)

    return run(keys)


def test_snr_of_each_uav_is_the_link_budgets():
    """In line of sight: mean in dB as asked for, differences of path loss; the noise that arrives is that SNR's."""
    scene = Scene(positions=PLACES, shadowing=False, scenario="RMa-AV")  # above 40 m always in line of sight
    link = LinkConfig(fading="awgn", convention="rx_per_antenna", carrier=scene)
    draws, out = over(link, 400)
    air = phy.air_to_ground(
        None, np.array(PLACES), scenario="RMa-AV", carrier_frequency=3.5e9, los=True, shadowing=False, **BUDGET
    )
    expected = np.asarray(air.snr_db, np.float64) - float(np.mean(air.snr_db))
    np.testing.assert_allclose(draws.gain_db, np.broadcast_to(expected, (400, 3)), atol=1e-4)
    np.testing.assert_allclose(scene.level_db(3), expected, atol=1e-4)
    np.testing.assert_allclose(scene.snr_db(*BUDGET.values()), np.mean(air.snr_db), atol=1e-3)
    error = np.asarray(jnp.mean(jnp.abs(out.x_hat - 1) ** 2, axis=(2, 3)), np.float64)
    no = 10 ** (-(20 + expected) / 10)
    mse = no / (1 + no)  # of the biased estimate; the default equaliser is scaled
    measured = error.mean(0)
    assert np.all(np.abs(measured - no) < 5 * error.std(0) / np.sqrt(400) + 2 * (no - mse))
    assert out.h is None and out.y is None


@pytest.mark.slow
def test_shadowing_is_alike_where_uavs_are_near():
    link = LinkConfig(convention="rx_per_antenna", carrier=Scene(positions=PLACES))
    gain = np.asarray(over(link, 2000)[0].gain_db)
    gain = gain - gain.mean(0)
    correlation = np.corrcoef(gain.T)
    assert correlation[1, 2] > 0.9 and abs(correlation[0, 1]) < 0.2
    apart = LinkConfig(convention="rx_per_antenna", carrier=Scene(positions=PLACES, spatial_consistency=False))
    gain = np.asarray(over(apart, 2000)[0].gain_db)
    assert abs(np.corrcoef(gain.T)[1, 2]) < 5 / np.sqrt(2000)


@pytest.mark.slow
def test_k_factor_and_doppler_come_from_the_place():
    """The K factor is that of phy.air_to_ground unless the point has one; a UAV that flies has a Doppler shift."""
    scene = Scene(positions=PLACES, scenario="RMa-AV", velocity=((0.0, 0.0, 0.0), (30.0, 0.0, 0.0), (0.0, 0.0, 0.0)))
    link = LinkConfig(fading="rician", convention="rx_per_antenna", carrier=scene)
    h = np.asarray(over(link, 500)[0].within.h)
    power = np.abs(h) ** 2
    k = 10 ** (np.asarray(scene._line_of_sight(3).k_factor_db, np.float64) / 10)
    fourth = (power**2).mean((0, 2, 3, 4)), 1 + (2 * k + 1) / (k + 1) ** 2
    np.testing.assert_allclose(*fourth, rtol=0.05)
    given = np.abs(np.asarray(over(link, 500, k_factor_db=-np.inf)[0].within.h)) ** 2
    assert np.all((given**2).mean((0, 2, 3, 4)) > 1.8)
    grid = phy.ResourceGrid(fft_size=16, num_ofdm_symbols=6, cyclic_prefix_length=4, pilot_symbols=(0, 3))
    fast = LinkConfig(carrier=dataclasses.replace(scene, carrier=Ofdm(grid=grid)))
    draws, _ = over(fast, 2)
    np.testing.assert_allclose(draws.max_doppler[0], [0, 30 * 3.5e9 / phy.SPEED_OF_LIGHT, 0], rtol=1e-5)
    moved = np.abs(np.diff(np.asarray(draws.within.h if hasattr(draws.within, "h") else draws.within[0]), axis=2))
    assert moved[:, 1].max() > 1e-3 and moved[:, 0].max() < 1e-6


def test_names_and_stores():
    scene = dict(positions=[list(place) for place in PLACES], scenario="UMi-AV")
    link = LinkConfig.of(fading="exponential", scene=scene, delay_spread=50e-9)
    assert isinstance(link.carrier, Scene) and isinstance(link.carrier.carrier, Ofdm) and link.grid is not None
    assert LinkConfig.of(**link.described()) == link and hash(link) == hash(LinkConfig.of(**link.described()))
    assert "carrier" not in link.described()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(positions=[[0.0, 1.0]]), r"LinkConfig.scene.positions\[0\] must have 3 entries, got 2"),
        (dict(positions=[]), r"Scene.positions must be a list of \[x, y, z\], got \(\)"),
        (dict(positions=[[9.0, 1.0, 400.0]]), r"Scene: positions\[..., 2\] must lie in \[1.5, 300\] m"),
        (dict(positions=[[0.0, 0.0, 25.0]]), "Scene: positions: a UAV stands where the base station is"),
        (dict(positions=[[9.0, 1.0, 40.0]], velocity=[[1.0, 0.0, 0.0]] * 2), "Scene.velocity has 2 entries for 1 pos"),
        (dict(positions=[[9.0, 1.0, 40.0]], scenario="UMa"), "Scene.scenario 'UMa' is unknown"),
        (dict(positions=[[9.0, 1.0, 40.0]], carrier_frequency=3.5), "carrier_frequency"),
        (dict(positions=[[9.0, 1.0, 40.0]], height=3.0), "LinkConfig.scene.height is not known"),
        (dict(), "LinkConfig.scene lacks LinkConfig.scene.positions"),
    ],
)
def test_what_is_no_scene(fields, message):
    with pytest.raises(ValueError, match=message):
        LinkConfig.of(scene=fields)


def test_links_it_does_not_fit():
    with pytest.raises(ValueError, match="Scene: UAVs with SNRs of their own need topology 'broadcast', got 'joint'"):
        LinkConfig.of(topology="joint", scene=dict(positions=PLACES))
    link = LinkConfig(carrier=Scene(positions=PLACES[:1], carrier=SingleCarrier(block_length=4)))
    assert link.block_length == 4
    with pytest.raises(ValueError, match="Scene.positions are 1 places, and there are 3 UAVs"):
        over(link, 1)


def test_the_line_of_sight_of_the_geometry():
    """K = infinity leaves the line of sight: phase -2 pi d / wavelength in float64, Doppler v . u / wavelength."""
    scene = Scene(positions=PLACES, scenario="RMa-AV", line_of_sight="geometric", velocity=((0.0, 20.0, -5.0),) * 3)
    wavelength, base = phy.SPEED_OF_LIGHT / 3.5e9, np.array([0.0, 0.0, 35.0])
    antennas = (np.arange(4)[:, None] - 1.5) * np.array([0.0, wavelength / 2, 0.0])
    places, velocity = np.array(PLACES), np.array(scene.velocity)

    def expected(t):  # [UAV, rx, tx]
        at = (places + t * velocity - base)[:, None, None] + antennas[:, None] - antennas
        return np.exp(-2j * np.pi * np.linalg.norm(at, axis=-1) / wavelength)

    def drawn(link, batch):
        keys, at = jax.random.split(jax.random.key(0), 3), OperatingPoint(k_factor_db=np.inf)
        return np.asarray(jax.jit(lambda keys: link.carrier.draw(link, keys, batch, 8, 24, at).within.h)(keys))

    flat = LinkConfig(fading="rician", convention="rx_per_antenna", carrier=scene)
    h = drawn(flat, 2)
    assert h.shape == (2, 3, 1, 4, 4)
    np.testing.assert_array_equal(h[0], h[1])
    turned = h[0, :, 0] * expected(0).conj()
    assert np.abs(np.angle(turned)).max() < 0.05  # a distance of 9,000 wavelengths in float32
    assert np.abs(turned - turned.mean((1, 2), keepdims=True)).max() < 1e-3
    grid = phy.ResourceGrid(fft_size=16, num_ofdm_symbols=6, cyclic_prefix_length=4, pilot_symbols=(0, 3))
    moving = dataclasses.replace(flat, carrier=dataclasses.replace(scene, carrier=Ofdm(grid=grid)))
    h = drawn(moving, 1)[0]  # [UAV, slots, rx, tx]
    first, last = grid.symbol_times(1)[grid.data_symbols[[0, -1]]]
    turn = np.angle((h[:, -1] * h[:, 0].conj()).mean((1, 2)))
    towards = (base - places) / np.linalg.norm(base - places, axis=-1, keepdims=True)
    np.testing.assert_allclose(turn, 2 * np.pi * (velocity * towards).sum(-1) / wavelength * (last - first), atol=1e-3)
    assert np.abs(turn).max() > 0.05
    random = dataclasses.replace(flat, carrier=dataclasses.replace(scene, line_of_sight="drawn"))
    assert "line_of_sight" not in random.described()["scene"] and LinkConfig.of(**flat.described()) == flat
    for bad, message in (
        (dict(fading="rayleigh", carrier=scene), "Scene.line_of_sight 'geometric' is of fading 'rician', not 'rayl"),
        (
            dict(
                fading="rician",
                carrier=dataclasses.replace(scene, carrier=SingleCarrier(block_length=4, block_doppler=0.1)),
            ),
            "Scene.line_of_sight 'geometric' needs to know how long a block is: leave out SingleCarrier.block_doppler",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            LinkConfig(**bad)
    with pytest.raises(ValueError, match="Scene.line_of_sight 'free' is unknown"):
        Scene(positions=PLACES, line_of_sight="free")
