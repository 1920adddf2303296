"""Statistics of Sionna 1.2.2's tapped and clustered delay lines against tables, Bessel function and our own samplers.

Every bound is 5 standard errors of the mean over independent links.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import phy
from lvm_mtc.interop.sionna import channels, profiles, runtime
from lvm_mtc.phy.paths import bessel_j0, exponential, frequency_response, rayleigh_path

pytestmark = pytest.mark.sionna

LINKS, DOPPLER, SPREAD = 2000, 60.0, 200e-9
TIMES = np.arange(9) * 1e-3
ONE_ANTENNA = dict(num_rx_ant=1, num_tx_ant=1, times=TIMES, max_doppler=DOPPLER)
NUMBERS = dict(delay_spread=SPREAD, carrier_frequency=3.5e9)


def _mean_and_error(samples):
    """Mean over links and its standard error, for real and imaginary parts apart."""
    samples = np.asarray(samples, np.complex128)
    parts = np.stack([samples.real, samples.imag])
    return parts.mean(1), parts.std(1, ddof=1) / np.sqrt(samples.shape[0])


def _agree(samples, expected, rounding=1e-5):
    mean, error = _mean_and_error(samples)
    expected = np.asarray(expected, np.complex128)
    return np.all(np.abs(mean - np.stack([expected.real, expected.imag])) < 5 * error + rounding)


@pytest.fixture(scope="module")
def draws():
    """Gains ``[links, paths, times]`` and delays of one antenna pair, by name."""
    runtime.load()
    found = {}
    for seed, name in enumerate(("sionna_tdl_a", "sionna_tdl_d", "sionna_cdl_b")):
        paths = channels.sampler(name, **NUMBERS)(jax.random.key(seed), (LINKS,), **ONE_ANTENNA)
        found[name] = np.asarray(paths.gains[..., 0, 0]), np.asarray(paths.delays), paths
    return found


@pytest.mark.parametrize("name", ["sionna_tdl_a", "sionna_tdl_d", "sionna_cdl_b"])
def test_power_delay_profile(draws, name):
    gains, delays, _ = draws[name]
    expected_delays, powers = channels.delay_profile(name, SPREAD)
    np.testing.assert_allclose(delays[0], expected_delays, rtol=1e-6, atol=1e-15)
    power = np.abs(gains[..., 0]) ** 2
    assert _agree(power, powers)
    # The order of the paths matters: the table's order for CDL, or the sorted one for TDL, would be seen.
    other = name.replace("tdl", "cdl") if "tdl" in name else name.replace("cdl", "tdl")
    if not name.endswith("d"):
        assert not _agree(power, profiles.unit_profile(other)[1])


def test_tables_are_those_of_sionna():
    phy = runtime.load().phy
    array = phy.channel.tr38901.PanelArray(
        num_rows_per_panel=1,
        num_cols_per_panel=1,
        polarization="single",
        polarization_type="V",
        antenna_pattern="omni",
        carrier_frequency=3.5e9,
    )
    for letter in "ABCDE":
        tdl = phy.channel.tr38901.TDL(letter, 1.0, 3.5e9)
        cdl = phy.channel.tr38901.CDL(letter, 1.0, 3.5e9, array, array, "downlink")
        order = np.argsort(cdl.delays.numpy(), kind="stable")
        for name, delays, powers in (
            (f"sionna_tdl_{letter.lower()}", tdl.delays.numpy(), tdl.mean_powers.numpy()),
            (f"sionna_cdl_{letter.lower()}", cdl.delays.numpy()[order], cdl.powers.numpy()[order]),
        ):
            ours = profiles.unit_profile(name)
            np.testing.assert_allclose(delays, ours[0], rtol=1e-6)
            np.testing.assert_allclose(powers, ours[1], rtol=1e-5)


def test_doppler_spectrum_is_the_classical_one_as_ours(draws):
    """Autocorrelation over time: J0 for the scattered paths of TDL, as for our own Rayleigh path."""
    gains = draws["sionna_tdl_a"][0]
    powers = profiles.unit_profile("sionna_tdl_a")[1]
    # All paths of a link add up to one sample.
    theirs = np.sum(gains * np.conj(gains[..., :1]), axis=1) / powers.sum()
    ours = rayleigh_path(jax.random.key(10), (LINKS,), **ONE_ANTENNA).gains[:, 0, :, 0, 0]
    ours = ours * jnp.conj(ours[:, :1])
    expected = np.asarray(bessel_j0(jnp.asarray(2 * np.pi * DOPPLER * TIMES)))
    for samples in (theirs, ours):
        assert _agree(samples, expected)
        # A Doppler shift that is wrong by a twentieth, or one in radians per second, would be seen.
        for wrong in (1.05, 1 / (2 * np.pi)):
            assert not _agree(samples, np.asarray(bessel_j0(jnp.asarray(2 * np.pi * wrong * DOPPLER * TIMES))))
    mean_theirs, error_theirs = _mean_and_error(theirs)
    mean_ours, error_ours = _mean_and_error(ours)
    assert np.all(np.abs(mean_theirs - mean_ours) <= 5 * np.hypot(error_theirs, error_ours) + 1e-5)


def test_taps_are_nearly_gaussian(draws):
    """E|h|^4 = 2 - 1/20 of the squared power for a sum of 20 sinusoids."""
    power = np.abs(draws["sionna_tdl_a"][0][..., 0]) ** 2 / profiles.unit_profile("sionna_tdl_a")[1]
    fourth = np.mean(power**2, axis=1)
    assert _agree(fourth, 2 - 1 / 20)
    # Two or three sinusoids would be seen.
    assert not _agree(fourth, 2 - 1 / 2) and not _agree(fourth, 2 - 1 / 3)


def test_line_of_sight_has_the_power_of_its_table(draws):
    """E|h|^4 of a path with specular power p and scattered power s is p^2 + 4 p s + (2 - 1/20) s^2."""
    gains = draws["sionna_tdl_d"][0][:, 0, 0]
    specular, scattered = 10 ** (np.array([-0.2, -13.5]) / 10)
    total = profiles.unit_profile("sionna_tdl_d")[1][0] / (specular + scattered)
    specular, scattered = specular * total, scattered * total
    expected = specular**2 + 4 * specular * scattered + (2 - 1 / 20) * scattered**2
    assert _agree(np.abs(gains) ** 4, expected)
    assert not _agree(np.abs(gains) ** 4, 2 * (specular + scattered) ** 2)


@pytest.mark.parametrize("name", ["sionna_tdl_a", "sionna_cdl_b"])
def test_frequency_correlation_is_the_transform_of_the_profile(draws, name):
    frequencies = np.linspace(0, 3e6, 7)
    response = np.asarray(frequency_response(draws[name][2], frequencies))[:, 0, :, 0, 0]
    delays, powers = channels.delay_profile(name, SPREAD)
    expected = np.exp(-2j * np.pi * np.outer(frequencies, delays)) @ powers
    samples = response * np.conj(response[:, :1])
    assert _agree(samples, expected)
    assert not _agree(samples, expected.conj())
    assert not _agree(samples, np.exp(-2j * np.pi * np.outer(1.1 * frequencies, delays)) @ powers)


def test_our_exponential_profile_through_sionnas_frequency_response():
    sionna = runtime.load()
    options = dict(num_taps=12, sample_duration=1 / 1.92e6, delay_spread=SPREAD) | ONE_ANTENNA
    paths = exponential(jax.random.key(12), (50,), **options)
    frequencies = sionna.phy.channel.subcarrier_frequencies(64, 30e3)
    gains = np.transpose(np.asarray(paths.gains), (0, 3, 4, 1, 2))[:, None, :, None]
    theirs = sionna.phy.channel.cir_to_ofdm_channel(frequencies, gains, np.asarray(paths.delays)[:, None, None])
    ours = frequency_response(paths, frequencies.numpy())
    np.testing.assert_allclose(ours[..., 0, 0], theirs.numpy()[:, 0, 0, 0, 0], atol=2e-5)
    assert np.abs(np.asarray(ours[..., 0, 0]) - np.roll(theirs.numpy()[:, 0, 0, 0, 0], 1, -1)).max() > 0.01


@pytest.mark.parametrize("letter", "abcde")
def test_our_clustered_delay_lines_are_those_of_sionna(letter):
    """Delay, power, and covariance over both arrays, of every path."""
    antennas = dict(num_rx_ant=2, num_tx_ant=3, times=TIMES[:1])
    theirs = channels.sampler(f"sionna_cdl_{letter}", **NUMBERS)(jax.random.key(1), (LINKS,), **antennas)
    ours = phy.cdl(jax.random.key(2), (LINKS,), model=letter, delay_spread=SPREAD, **antennas)
    order = np.argsort(np.asarray(ours.delays[0]), kind="stable")
    np.testing.assert_allclose(theirs.delays[0], ours.delays[0][order], rtol=1e-6, atol=1e-15)
    theirs, ours = np.asarray(theirs.gains[..., 0, :, :]), np.asarray(ours.gains[:, order, 0])
    first = [gains.reshape(LINKS, gains.shape[1], 6) for gains in (ours, theirs)]
    means, errors = zip(
        *(_mean_and_error(gains[..., :, None] * gains[..., None, :].conj()) for gains in first), strict=True
    )
    assert np.all(np.abs(means[0] - means[1]) < 5 * np.hypot(*errors) + 1e-5)
    mirrored = means[0] * np.array([1, -1])[:, None, None, None]
    assert not np.all(np.abs(mirrored - means[1]) < 5 * np.hypot(*errors) + 1e-5)


@pytest.mark.parametrize("letter", "abcde")
def test_our_tapped_delay_lines_are_those_of_sionna(letter):
    """Power and autocorrelation of every tap; Sionna's specular part comes from pi/4, ours has 0.7 of the shift."""
    options = ONE_ANTENNA | {"times": TIMES[:3]}
    theirs = channels.sampler(f"sionna_tdl_{letter}", **NUMBERS)(jax.random.key(3), (LINKS,), **options)
    ours = phy.tdl(jax.random.key(4), (LINKS,), model=letter, delay_spread=SPREAD, **options)
    np.testing.assert_allclose(theirs.delays[0], ours.delays[0], rtol=1e-6, atol=1e-15)
    lags = [np.asarray(paths.gains[..., 0, 0]) for paths in (ours, theirs)]
    means, errors = zip(*(_mean_and_error(gains * gains[..., :1].conj()) for gains in lags), strict=True)
    turned = 2 * np.pi * DOPPLER * TIMES[2] * abs(0.7 - np.sqrt(0.5)) if letter in "de" else 0.0
    assert np.all(np.abs(means[0] - means[1]) < 5 * np.hypot(*errors) + turned + 1e-5)
