"""Fields over places and the geometry of the line of sight, against their closed forms in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from tr3gpp import tr38901

from lvm_mtc import phy
from lvm_mtc.phy import spatial
from lvm_mtc.phy.aerial_tables import SCENARIOS
from lvm_mtc.phy.units import SPEED_OF_LIGHT

pytestmark = pytest.mark.usefixtures("fast_compile")

FREQUENCY = 3.5e9
SETTING = {"carrier_frequency": FREQUENCY, "tx_power_dbm": 30.0, "bandwidth": 20e6, "noise_figure_db": 7.0}
NUM_SCENES = 20_000


@pytest.mark.slow
def test_field_has_the_exponential_autocorrelation():
    """Within 5 standard errors over scenes, from one place to 20 correlation distances, and 1 at distance 0."""
    places = np.array(
        [[0, 0, 10], [0, 0, 90], [0.5, 0, 10], [-3, 4, 10], [0, 37, 0], [74, 0, 0], [500, -600, 0]], float
    )
    distance = np.hypot(*places[:, :2].T)
    keys = jax.random.split(jax.random.key(0), NUM_SCENES)
    fields = jax.jit(jax.vmap(lambda key: spatial.gaussian_field(key, places, 37.0)))(keys)
    fields = np.asarray(fields, np.float64)
    np.testing.assert_array_equal(fields[:, 0], fields[:, 1])
    products = fields * fields[:, :1]
    error = products.std(0) / np.sqrt(NUM_SCENES)
    expected = np.exp(-distance / 37)
    assert np.all(np.abs(products.mean(0) - expected) < 5 * error), (products.mean(0), expected)
    assert np.all(np.abs(fields.mean(0)) < 5 / np.sqrt(NUM_SCENES))
    # Near places: the mean square of the difference tells 1 - exp(-d / d_cor) from 0.
    apart = (fields[:, 2] - fields[:, 0]) ** 2
    assert abs(apart.mean() - 2 * (1 - expected[2])) < 5 * apart.std() / np.sqrt(NUM_SCENES)
    uniform = np.sort(jax.scipy.special.ndtr(fields[:, 4]))
    assert np.abs(uniform - (np.arange(NUM_SCENES) + 0.5) / NUM_SCENES).max() < 2 / np.sqrt(NUM_SCENES)


def test_correlation_distances_are_those_of_the_tables():
    for name, row in SCENARIOS.items():
        base = name.removesuffix("-AV")
        street = "UMi - Street Canyon" if base == "UMi" else base
        for i, condition in enumerate(("LOS", "NLOS")):
            large = tr38901.section("7.5").channel_model_parameters(scenario=street, condition=condition)
            assert row.shadowing_distance[i] == float(large.corr_distance_SF_m)
            state = tr38901.section("7.6").correlation_distance(scenario=base, condition=condition)
            assert row.los_distance == float(state.los_nlos_state_m)


@pytest.mark.slow
def test_shadowing_and_state_of_near_uavs_are_alike():
    """UAVs 0 m to 1 km from the first one: shadowing correlated as exp(-d / d_cor), which tends to 1, and states."""
    apart = np.array([0.0, 1.0, 1000.0, 0.0, 0.1, 10.0, 40.0])
    positions = jnp.array([[600.0, distance, 50.0] for distance in apart])

    def scene(key):
        return phy.air_to_ground(key, positions, scenario="UMa-AV", spatial_consistency=True, **SETTING)

    out = jax.jit(jax.vmap(scene))(jax.random.split(jax.random.key(1), NUM_SCENES))
    los, shadow = np.asarray(out.los), np.asarray(out.shadowing_db, np.float64)
    np.testing.assert_array_equal(shadow[:, 0], shadow[:, 3])
    chance = np.asarray(out.los_probability, np.float64)[0]
    assert np.all(np.abs(los.mean(0) - chance) < 5 * np.sqrt(chance * (1 - chance) / NUM_SCENES))
    std = np.array([4.64 * np.exp(-0.0066 * 50), 6.0])
    for state, expected, reach in ((True, std[0], 37.0), (False, std[1], 50.0)):
        alone = shadow[los[:, 0] == state, 0]
        assert abs(alone.std() - expected) < 5 * expected / np.sqrt(2 * alone.size)
        for i in (1, 4, 5, 6):
            both = (los[:, 0] == state) & (los[:, i] == state)
            products = shadow[both, 0] * shadow[both, i] / expected**2
            assert abs(products.mean() - np.exp(-apart[i] / reach)) < 5 * products.std() / np.sqrt(products.size)
            # Near 1 the mean square of the difference is the sharper measure.
            half = (shadow[both, 0] - shadow[both, i]) ** 2 / (2 * expected**2)
            assert abs(half.mean() - (1 - np.exp(-apart[i] / reach))) < 5 * half.std() / np.sqrt(half.size)
    thresholds = scipy.special.ndtri(chance[:2])
    rho = np.exp(-1 / 50)
    both = scipy.stats.multivariate_normal([0, 0], [[1, rho], [rho, 1]]).cdf(thresholds)
    differ = chance[0] + chance[1] - 2 * both
    assert abs(np.mean(los[:, 0] != los[:, 1]) - differ) < 5 * np.sqrt(differ / NUM_SCENES)
    far = np.corrcoef(los[:, 0], los[:, 2])[0, 1]
    assert abs(far) < 5 / np.sqrt(NUM_SCENES)


@pytest.mark.slow
def test_a_scene_is_a_function_of_the_place():
    """All at once, one UAV alone, and a flight in one call or one call at each time see the same scene."""
    key = jax.random.key(2)
    flight = jnp.array([[[100.0 + 3 * t, 50.0, 22.0], [200.0, 80.0 - t, 60.0]] for t in range(5)])
    compute = jax.jit(
        lambda where: phy.air_to_ground(key, where, scenario="UMa-AV", spatial_consistency=True, **SETTING)
    )
    whole = compute(flight)
    for t in range(5):
        for ours, theirs in zip(whole, compute(flight[t]), strict=True):
            np.testing.assert_allclose(ours[t], theirs, rtol=1e-5, atol=2e-3)
    alone = compute(flight[:, 1:])
    np.testing.assert_allclose(whole.snr_db[:, 1:], alone.snr_db, atol=2e-3)
    slope = jax.grad(lambda where: compute(where).snr_db.sum())(flight)
    assert bool(jnp.all(jnp.isfinite(slope))) and float(jnp.abs(slope).max()) < 1  # of the path loss, dB per metre
    with pytest.raises(ValueError, match="spatial_consistency: all UAVs share a scalar key"):
        phy.air_to_ground(jax.random.split(key, 2), flight[0], scenario="UMa-AV", spatial_consistency=True, **SETTING)
    with pytest.raises(ValueError, match=r"correlation_distance must be > 0"):
        spatial.gaussian_field(key, flight, 0.0)
    with pytest.raises(ValueError, match=r"positions must be \[..., 2\] or \[..., 3\], got shape \(4,\)"):
        spatial.gaussian_field(key, np.zeros(4), 1.0)


def test_geometric_line_of_sight():
    """Phases of spherical waves in float64, the Doppler shift of the direct path, and plane waves far away."""
    positions = np.array([[300.0, 40.0, 60.0], [-20.0, 900.0, 120.0]])
    velocity = np.array([[12.0, -5.0, 1.0], [0.0, 30.0, 0.0]])
    base, times = np.array([0.0, 0.0, 25.0]), np.linspace(0, 0.02, 5)
    options = dict(carrier_frequency=FREQUENCY, num_rx_ant=2, num_tx_ant=4, times=times, velocity=velocity)
    h = np.asarray(jax.jit(lambda where: phy.geometric_line_of_sight(where, base, **options))(positions))
    assert h.shape == (2, 5, 2, 4)
    wavelength = SPEED_OF_LIGHT / FREQUENCY
    axis = np.array([0.0, 1.0, 0.0])
    rx, tx = ((np.arange(n) - (n - 1) / 2)[:, None] * axis * wavelength / 2 for n in (2, 4))
    where = positions[:, None, None, None] + velocity[:, None, None, None] * times[:, None, None, None]
    distance = np.linalg.norm(where + rx[:, None] - base - tx[None], axis=-1)
    expected = np.exp(-2j * np.pi * distance / wavelength)
    # The common phase of a UAV's matrix is that of a distance in float32; all the rest is exact.
    common = np.exp(1j * np.angle(np.sum(h * expected.conj(), axis=(1, 2, 3), keepdims=True)))
    assert np.abs(np.angle(common)).max() < 0.05
    np.testing.assert_allclose(h, expected * common, atol=2e-4)
    air = phy.air_to_ground(None, positions, scenario="UMa-AV", los=True, shadowing=False, velocity=velocity, **SETTING)
    turn = np.angle(h[:, 1:] * h[:, :-1].conj()).mean((1, 2, 3)) / (2 * np.pi * (times[1] - times[0]))
    alias = 1 / (times[1] - times[0])
    shift = np.asarray(air.los_doppler, np.float64)
    np.testing.assert_allclose((turn - shift + alias / 2) % alias - alias / 2, 0, atol=0.02 * alias)
    singular = np.linalg.svd(h[:, 0], compute_uv=False)
    assert np.all(singular[:, 1] < 1e-2 * singular[:, 0])  # rank 1: half a wavelength is nothing over 300 m
    with pytest.raises(ValueError, match="axis of an array"):
        phy.geometric_line_of_sight(
            positions, base, carrier_frequency=1e9, num_rx_ant=1, num_tx_ant=1, rx_axis=(0, 0, 0)
        )
