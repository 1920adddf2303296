"""Delay lines of TR 38.901 against the moments that follow from the tables in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import j0
from tr3gpp import tr38901

from lvm_mtc import phy
from lvm_mtc.phy import delay_line_tables as tables
from lvm_mtc.phy import delay_lines

pytestmark = pytest.mark.usefixtures("fast_compile")

NUM, DOPPLER, TIMES = 2500, 80.0, np.array([0.0, 1e-3, 4e-3])
ANTENNAS = {"num_rx_ant": 2, "num_tx_ant": 3}


@functools.cache
def drawn(name):
    family, _, model = name.partition("_")
    sampler = getattr(phy, family)
    options = dict(times=TIMES, model=model, delay_spread=100e-9, max_doppler=DOPPLER, **ANTENNAS)
    paths = jax.jit(lambda key: sampler(key, (NUM,), **options))(jax.random.key(3))
    return np.asarray(paths.gains, np.complex128), np.asarray(paths.delays)


def within(samples, expected, errors=5.0):
    """Whether the mean over the first axis of complex samples is the expected one, within standard errors."""
    error = np.sqrt(samples.var(0) / len(samples))
    return np.all(np.abs(samples.mean(0) - expected) < errors * error + 1e-9)


def rays(letter):
    """Angles aod, aoa, zod, zoa of all rays, ``[clusters, rays]`` each, radians."""
    offsets = np.array(
        [sign * row.offset_angle for row in tr38901.section("7.5").ray_offset_angles for sign in (1, -1)]
    )
    assert len(offsets) == 20
    centres = np.array(tables.ANGLES[letter])
    spread = np.array(tables.CLUSTER_SPREADS[letter])
    return np.deg2rad(centres.T[:, :, None] + spread[:, None, None] * offsets)


@pytest.mark.parametrize("name", delay_lines.DELAY_LINES)
def test_profiles(name):
    delays, powers = delay_lines.unit_profile(name)
    mean = powers @ delays
    # The tables are normalised to an RMS delay spread of 1, to the digits that they print.
    assert abs(np.sqrt(powers @ (delays - mean) ** 2) - 1) < 0.025
    assert len(delays) == {"a": 23, "b": 23, "c": 24, "d": 13, "e": 14}[name[-1]]


@pytest.mark.parametrize("name", ["tdl_b", "tdl_e", "cdl_c", "cdl_d"])
def test_power_of_every_path_on_every_antenna(name):
    gains, delays = drawn(name)
    expected_delays, powers = delay_lines.unit_profile(name)
    np.testing.assert_allclose(delays, np.broadcast_to(expected_delays * 100e-9, delays.shape), rtol=1e-6)
    assert within(np.abs(gains) ** 2, powers[:, None, None, None])
    assert within(gains, 0.0)


def test_tdl_taps_are_clarkes_and_uncorrelated():
    gains = drawn("tdl_b")[0]
    powers = delay_lines.unit_profile("tdl_b")[1]
    for i, t in enumerate(TIMES):
        products = (gains[:, :, i] * gains[:, :, 0].conj()).mean((2, 3)) / powers
        assert within(products, j0(2 * np.pi * DOPPLER * t))
    flat = gains[:, :2, 0].reshape(NUM, -1)
    cross = flat[:, :, None] * flat[:, None].conj()
    off = ~np.eye(flat.shape[1], dtype=bool)
    assert within(cross[:, off], 0.0)


def test_specular_part_of_tdl_e():
    """Rician with the K factor of the table, Doppler shift 0.7 of the largest, alike on all antennas."""
    first = drawn("tdl_e")[0][:, 0]
    specular, scattered = 10 ** (np.array(tables.DELAYS_AND_POWERS["e"])[:2, 1] / 10)
    total = 10 ** (np.array(tables.DELAYS_AND_POWERS["e"])[:, 1] / 10)
    specular, scattered = specular / total.sum(), scattered / total.sum()
    fourth = specular**2 + 4 * specular * scattered + 2 * scattered**2  # E |h|^4 of Rician fading
    assert within(np.abs(first) ** 4, fourth)
    for i, t in enumerate(TIMES):
        expected = specular * np.exp(2j * np.pi * 0.7 * DOPPLER * t) + scattered * j0(2 * np.pi * DOPPLER * t)
        assert within((first[:, i] * first[:, 0].conj()).mean((1, 2)), expected)
    assert within(first[:, 0, 0, 0] * first[:, 0, 1, 2].conj(), specular)


@pytest.mark.parametrize("name", ["cdl_c", "cdl_d"])
def test_cdl_antennas_and_times(name):
    """Covariance of each cluster over antennas and over time: rays are coupled at random, so the sums factor."""
    gains, letter = drawn(name)[0], name[-1]
    aod, aoa, zod, zoa = rays(letter)
    powers = delay_lines.unit_profile(name)[1]
    specular = np.zeros_like(powers)
    if letter in tables.LINE_OF_SIGHT:
        specular[0] = 10 ** (tables.DELAYS_AND_POWERS[letter][0][1] / 10)
        specular[0] /= sum(10 ** (power / 10) for _, power in tables.DELAYS_AND_POWERS[letter])
    los = np.deg2rad(tables.ANGLES[letter]).T  # of the centres

    def both(function, azimuth, zenith):
        """Mean over all couplings of the rays' azimuth and zenith."""
        return function(azimuth[:, :, None], zenith[:, None, :]).mean((1, 2))

    def step(apart):
        return lambda azimuth, zenith: np.exp(1j * np.pi * apart * np.sin(zenith) * np.sin(azimuth))

    for u, s in ((1, 0), (0, 2), (1, -1)):
        scattered = both(step(-u), aoa, zoa) * both(step(s), aod, zod)
        direct = step(-u)(los[1], los[3]) * step(s)(los[0], los[2])
        expected = (powers - specular) * scattered + specular * direct
        start = max(0, -s)
        products = gains[:, :, 0, u, start + s] * gains[:, :, 0, 0, start].conj()
        assert within(products, expected) and not within(products, expected.conj())
    for i, t in enumerate(TIMES):
        turns = 2 * np.pi * DOPPLER * t
        expected = (powers - specular) * j0(turns * np.sin(zoa)).mean(1) + specular * j0(turns * np.sin(los[3]))
        assert within((gains[:, :, i] * gains[:, :, 0].conj()).mean((2, 3)), expected)


def test_cdl_is_the_sum_over_rays_in_float64():
    """The formula of step 11 written out, from the same draws: angles, couplings, phases, direction of flight."""
    letter, links = "d", 3
    options = dict(times=TIMES, model=letter, delay_spread=100e-9, max_doppler=DOPPLER, **ANTENNAS)
    gains = np.asarray(phy.cdl(jax.random.key(5), (links,), **options).gains, np.complex128)
    aod, aoa, zod, zoa = rays(letter)
    coupling, phases, los, flight = jax.random.split(jax.random.key(5), 4)
    chosen = jax.random.randint(coupling, (3, links, len(aod)), 0, len(delay_lines._couplings()))
    orders = delay_lines._couplings()[np.asarray(chosen)]
    angles = zip((aoa, zod, zoa), orders, strict=True)
    aoa, zod, zoa = (np.take_along_axis(angle[None], order, -1) for angle, order in angles)
    uniform = dict(minval=-np.pi, maxval=np.pi)
    flight = np.asarray(jax.random.uniform(flight, (links, 1, 1), **uniform), float)
    phases = np.asarray(jax.random.uniform(phases, aoa.shape, **uniform), float)
    los = np.asarray(jax.random.uniform(los, (links, 1), **uniform), float)[..., 0]

    def ray(start, flight, aod, aoa, zod, zoa):
        """Of one plane wave: ``[..., times, rx, tx]``."""
        turns = start[..., None] + 2 * np.pi * DOPPLER * TIMES * (np.sin(zoa) * np.cos(aoa - flight))[..., None]
        at = [np.pi * (np.arange(num) - (num - 1) / 2) for num in (ANTENNAS["num_rx_ant"], ANTENNAS["num_tx_ant"])]
        back = -np.multiply.outer(np.sin(zoa) * np.sin(aoa), at[0])
        ahead = np.multiply.outer(np.sin(zod) * np.sin(aod), at[1])
        return np.exp(1j * (turns[..., None, None] + back[..., None, :, None] + ahead[..., None, None, :]))

    powers = 10 ** (np.array(tables.DELAYS_AND_POWERS[letter])[:, 1] / 10)
    amplitudes = np.sqrt(powers / powers.sum())
    expected = ray(phases, flight, aod, aoa, zod, zoa).sum(2) / 20**0.5 * amplitudes[1:, None, None, None]
    centres = np.deg2rad(tables.ANGLES[letter][0])
    expected[:, 0] += amplitudes[0] * ray(los, flight[:, 0, 0], *centres)
    np.testing.assert_allclose(gains, expected, atol=2e-6)


@pytest.mark.slow
def test_numbers_of_each_uav_and_gradients():
    """Spreads and Doppler shifts of a batch are each link's own; a still channel stands still."""
    spreads = jnp.array([50e-9, 200e-9])
    for sampler, model in ((phy.tdl, "A"), (phy.cdl, "E")):
        options = dict(times=TIMES, model=model, **ANTENNAS)
        draw = jax.jit(functools.partial(sampler, batch_shape=(2,), **options))
        paths = draw(jax.random.key(0), delay_spread=spreads, max_doppler=jnp.array([0.0, 50.0]))
        unit = delay_lines.unit_profile(f"{sampler.__name__}_{model.lower()}")[0]
        np.testing.assert_allclose(paths.delays, np.outer(spreads, unit), rtol=1e-6)
        still, moving = np.asarray(paths.gains)
        np.testing.assert_allclose(still[:, 1:], still[:, :1].repeat(2, 1), atol=1e-6)
        assert np.abs(moving[:, 1] - moving[:, 0]).max() > 1e-3
        with pytest.raises(ValueError, match="unknown model 'F'; known: A, B, C, D, E"):
            sampler(jax.random.key(0), (2,), delay_spread=1e-7, **options | {"model": "F"})
        with pytest.raises(ValueError, match="delay_spread must be >= 0"):
            sampler(jax.random.key(0), (2,), delay_spread=-1e-7, **options)
    slope = jax.grad(lambda s: phy.cdl(jax.random.key(0), (), delay_spread=s, **options).delays.sum())(1e-7)
    np.testing.assert_allclose(slope, unit.sum(), rtol=1e-5)
