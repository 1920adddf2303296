"""Channel estimation on a resource grid: comb pilots, interpolation, the Wiener filter, ageing."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import phy
from lvm_mtc.phy.numerics import abs2
from lvm_mtc.phy.ofdm_estimate import GridStatistics, default_statistics, interpolate, observe_pilots, wiener_estimate
from lvm_mtc.phy.ofdm_knowledge import aged_posterior
from lvm_mtc.phy.paths import bessel_j0, exponential, exponential_profile, frequency_response
from lvm_mtc.phy.resource_grid import ResourceGrid

pytestmark = pytest.mark.usefixtures("fast_compile")

# 7 used subcarriers for 2 antennas: one antenna has a pilot less, and there is a gap at DC.
ODD = ResourceGrid(
    fft_size=9, num_ofdm_symbols=8, cyclic_prefix_length=3, pilot_symbols=(1, 3, 6), guard_carriers=(1, 0), dc_null=True
)
SMALL = ResourceGrid(fft_size=8, num_ofdm_symbols=4, cyclic_prefix_length=3, pilot_symbols=(0, 3))
DOPPLER = 1500.0
_wiener = jax.jit(wiener_estimate, static_argnames=("grid", "num_tx_ant", "symbols"))
LINKS = 2000


def _complex(seed, *shape):
    parts = np.random.default_rng(seed).normal(scale=0.5**0.5, size=(2, *shape))
    return parts[0] + 1j * parts[1]


def _within(samples, expected, errors=5):
    """Whether the mean of independent samples lies within 5 standard errors of what it should be."""
    return abs(samples.mean() - expected) < errors * samples.std() / np.sqrt(samples.size) + 1e-6


def _statistics(max_doppler=DOPPLER):
    return GridStatistics(*exponential_profile(3, SMALL.sample_duration, 3e-6), max_doppler)


@functools.cache
def _channel():
    """Channels of two antennas on every element of one small grid, and the unit draw behind the pilot noise."""

    @jax.jit
    def draw(key):
        paths = exponential(
            key,
            (LINKS, 1),
            times=SMALL.symbol_times(1),
            num_rx_ant=1,
            num_tx_ant=2,
            num_taps=3,
            sample_duration=SMALL.sample_duration,
            delay_spread=3e-6,
            max_doppler=DOPPLER,
        )
        return frequency_response(paths, SMALL.frequencies)

    h = draw(jax.random.key(5))
    pilots = h[:, :, np.asarray(SMALL.pilot_symbols)]
    return np.asarray(h), pilots, jnp.asarray(_complex(6, *pilots.shape), jnp.complex64)


@functools.cache
def _estimates():
    """Wiener and linear estimates and the errors of the observations for two noise variances."""

    @jax.jit
    def estimate(pilots, draw, no, statistics):
        z = observe_pilots(pilots, draw, no)
        return z, *wiener_estimate(z, no / 2, SMALL, 2, statistics), interpolate(z, SMALL, 2)

    def run(no, statistics):
        _, pilots, draw = _channel()
        return tuple(np.asarray(a) for a in estimate(pilots, draw, jnp.float32(no), statistics))

    return run


def test_observations_are_least_squares_estimates():
    h, pilots, draw = _channel()
    z = np.asarray(observe_pilots(pilots, draw, 0.3))
    own = np.asarray(pilots)[..., np.arange(8), :, np.arange(8) % 2]
    own = np.moveaxis(own, 0, -2)
    error = np.abs(z - own) ** 2
    assert _within(error[..., 0, 0].reshape(-1), 0.15)
    told = np.asarray(phy.estimate_csi(pilots, draw, 0.15))
    np.testing.assert_allclose(z[..., 3, 0], told[..., 3, 0, 1], rtol=1e-5)
    per_link = observe_pilots(pilots, draw, jnp.linspace(0.0, 1.0, LINKS, dtype=jnp.float32))
    np.testing.assert_allclose(per_link[0, 0, :, 3, 0], pilots[0, 0, :, 3, 0, 1], rtol=1e-6)


def _slow_interpolation(z, grid, num_tx_ant, method):
    """One element at a time, as the interpolators of Sionna 1.2.2 are described."""

    def line(known, values, at):
        if len(known) == 1:
            return values[0]
        left = max(i for i in range(len(known) - 1) if i == 0 or known[i] < at)
        slope = (values[left + 1] - values[left]) / (known[left + 1] - known[left])
        return values[left] + slope * (at - known[left])

    out = np.zeros((grid.num_ofdm_symbols, grid.num_carriers, z.shape[-1], num_tx_ant), complex)
    for t, k, m in np.ndindex(grid.num_ofdm_symbols, grid.num_carriers, num_tx_ant):
        combs = list(range(m, grid.num_carriers, num_tx_ant))
        if method == "nearest":
            places = [(p, c) for p in range(len(grid.pilot_symbols)) for c in combs]
            distances = [abs(grid.pilot_symbols[p] - t) + abs(c - k) for p, c in places]
            p, c = places[int(np.argmin(distances))]
            out[t, k, :, m] = z[p, c]
            continue
        rows = [line(combs, [z[p, c] for c in combs], k) for p in range(len(grid.pilot_symbols))]
        if method == "linear":
            out[t, k, :, m] = line(grid.pilot_symbols, rows, t)
        else:
            past = [p for p, symbol in enumerate(grid.pilot_symbols) if symbol <= t]
            out[t, k, :, m] = rows[past[-1] if past else 0]
    return out


@pytest.mark.parametrize("method", ["nearest", "linear", "hold"])
def test_interpolation_against_one_element_at_a_time(method):
    single = ResourceGrid(fft_size=5, num_ofdm_symbols=3, cyclic_prefix_length=0, pilot_symbols=(1,))
    for grid, num_tx_ant in ((ODD, 2), (single, 3)):
        z = _complex(0, 1, 2, len(grid.pilot_symbols), grid.num_carriers, 2)
        with jax.enable_x64(True):
            fill = jax.jit(lambda z, **options: interpolate(z, grid, num_tx_ant, method, **options))  # noqa: B023
            result = np.asarray(fill(jnp.asarray(z)))
            some = np.asarray(interpolate(jnp.asarray(z), grid, num_tx_ant, method, symbols=grid.data_symbols))
        expected = np.array([[_slow_interpolation(a, grid, num_tx_ant, method) for a in b] for b in z])
        np.testing.assert_allclose(result, expected, atol=1e-12)
        np.testing.assert_allclose(some, result[:, :, grid.data_symbols], atol=1e-12)
        other = _slow_interpolation(z[0, 0], grid, num_tx_ant, "linear" if method == "nearest" else "nearest")
        assert np.abs(other - result[0, 0]).max() > 0.1


def test_linear_interpolation_is_exact_on_planes():
    t, k = np.mgrid[:8, :7]
    plane = (0.3 - 0.1j) + 0.2 * t + 0.7j * k + 0.05 * t * k
    z = jnp.asarray(plane[np.asarray(ODD.pilot_symbols)][None, ..., None], jnp.complex64)
    for antenna in range(2):
        np.testing.assert_allclose(interpolate(z, ODD, 2)[0, :, :, 0, antenna], plane, atol=1e-5)


def _dense_wiener(z, s, grid, num_tx_ant, delays, powers, max_doppler):
    """The same filter with the full correlation matrix of all elements, in float64 NumPy."""
    symbols, carriers = grid.num_ofdm_symbols, grid.num_carriers
    turns = np.exp(-2j * np.pi * np.subtract.outer(grid.frequencies, grid.frequencies)[..., None] * delays)
    over_frequency = turns @ powers
    lags = np.subtract.outer(np.arange(symbols), np.arange(symbols)) * grid.symbol_duration
    angles = (np.arange(4000) + 0.5) * np.pi / 4000
    over_time = np.cos(2 * np.pi * max_doppler * lags[..., None] * np.cos(angles)).mean(-1)
    everything = np.kron(over_time, over_frequency)
    mean = np.zeros((symbols, carriers, z.shape[-1], num_tx_ant), complex)
    variance = np.zeros((symbols, carriers, num_tx_ant))
    for m in range(num_tx_ant):
        at = [p * carriers + c for p in grid.pilot_symbols for c in range(m, carriers, num_tx_ant)]
        cross = everything[:, at]
        gain = cross @ np.linalg.inv(everything[np.ix_(at, at)] + s * np.eye(len(at)))
        observed = z[:, m::num_tx_ant].reshape(len(at), -1)
        mean[..., m] = (gain @ observed).reshape(symbols, carriers, -1)
        left = np.real(np.diag(everything) - np.einsum("ij,ij->i", gain, cross.conj()))
        variance[..., m] = left.reshape(symbols, carriers)
    return mean, variance


@pytest.mark.parametrize("per_link", [False, True])
def test_wiener_filter_against_the_dense_one(per_link):
    rng = np.random.default_rng(1)
    z = _complex(2, 2, 2, 3, 7, 2)
    delays, powers = rng.uniform(0, 8e-6, (2, 4)), rng.dirichlet(np.ones(4), 2)
    s, doppler = np.array([0.01, 0.5]), np.array([300.0, 2000.0])
    if not per_link:
        delays, powers, s, doppler = (np.stack([a[0], a[0]]) for a in (delays, powers, s, doppler))
    with jax.enable_x64(True):
        if per_link:
            numbers = (s, GridStatistics(delays, powers, doppler))
        else:
            numbers = (s[0], GridStatistics(delays[0], powers[0], doppler[0]))
        mean, variance = _wiener(jnp.asarray(z), numbers[0], ODD, 2, numbers[1])
        some = _wiener(jnp.asarray(z), numbers[0], ODD, 2, numbers[1], symbols=tuple(ODD.data_symbols.tolist()))
    assert variance.shape == (2 if per_link else 1, 8, 7, 2)
    np.testing.assert_allclose(some[0], mean[:, :, ODD.data_symbols], atol=1e-13)
    for link in range(2):
        for g in range(2):
            expected = _dense_wiener(z[link, g], s[link], ODD, 2, delays[link], powers[link], doppler[link])
            np.testing.assert_allclose(mean[link, g], expected[0], atol=1e-10)
            np.testing.assert_allclose(variance[link if per_link else 0], expected[1], atol=1e-10)
    wrong = _dense_wiener(z[0, 0], s[0], ODD, 2, delays[0], powers[0], doppler[0] + 100)
    assert np.abs(np.asarray(mean)[0, 0] - wrong[0]).max() > 1e-3


@pytest.mark.parametrize("no", [0.02, 0.5])
def test_wiener_filter_keeps_its_promises(no):
    h, _, _ = _channel()
    z, mean, variance, linear = _estimates()(no, _statistics())
    error = mean - h
    per_link = np.mean(np.abs(error) ** 2, axis=(1, 4))
    for t, k, m in ((0, 0, 0), (1, 4, 1), (2, 7, 0), (3, 2, 1)):
        assert _within(per_link[:, t, k, m], variance[0, t, k, m])
        # Orthogonality: no observation of the antenna is correlated with what is left.
        for p, c in ((0, m), (1, 4 + m)):
            product = error[:, 0, t, k, 0, m] * np.conj(z[:, 0, p, c, 0])
            assert _within(product.real, 0.0) and _within(product.imag, 0.0)
    assert _within(per_link.mean(axis=(1, 2, 3)), variance.mean())
    assert np.mean(np.abs(error) ** 2) < np.mean(np.abs(linear - h) ** 2)
    # Linear interpolation keeps all of the noise: its error is correlated with the observation.
    assert not _within(((linear - h)[:, 0, 0, 0, 0, 0] * np.conj(z[:, 0, 0, 0, 0])).real, 0.0)
    assert np.all(variance < 1) and np.all(variance > 0)


def test_statistics_that_do_not_match():
    h, _, _ = _channel()

    def measured_and_believed(statistics):
        _, mean, variance, _ = _estimates()(0.02, statistics)
        return np.mean(np.abs(mean - h) ** 2, axis=(1, 2, 3, 4, 5)), variance.mean()

    right, _ = measured_and_believed(_statistics())
    # Too narrow: a receiver that believes in a channel without Doppler, or without delays, knows less than it thinks.
    for statistics in (_statistics(0.0), GridStatistics(np.zeros(3), np.full(3, 1 / 3), DOPPLER)):
        narrow, believed = measured_and_believed(statistics)
        assert narrow.mean() - 5 * narrow.std() / np.sqrt(LINKS) > believed
    # Too wide: it is on the safe side, and loses something.
    wide, believed = measured_and_believed(default_statistics(SMALL, 2)._replace(max_doppler=2 * DOPPLER))
    assert wide.mean() + 5 * wide.std() / np.sqrt(LINKS) < believed
    assert right.mean() < wide.mean()


def test_noiseless_pilots_of_a_short_still_channel_tell_all():
    grid = ResourceGrid(fft_size=16, num_ofdm_symbols=3, cyclic_prefix_length=4, pilot_symbols=(1,))
    taps = _complex(3, 3)
    response = np.exp(-2j * np.pi * np.outer(grid.frequencies, np.arange(3)) * grid.sample_duration) @ taps
    h = np.broadcast_to(response[None, None, :, None, None], (1, 1, 16, 1, 4))
    with jax.enable_x64(True):
        z = observe_pilots(jnp.asarray(h), jnp.zeros(h.shape, complex), 0.0)
        statistics = GridStatistics(np.arange(3) * grid.sample_duration, np.full(3, 1 / 3))
        mean, variance = _wiener(z, 1e-10, grid, 4, statistics)
        linear = interpolate(z, grid, 4)
    np.testing.assert_allclose(mean, np.broadcast_to(h, (1, 3, 16, 1, 4)), atol=1e-8)
    assert np.asarray(variance).max() < 1e-9
    assert np.abs(np.asarray(linear) - h).max() > 0.05


def test_the_default_statistics_are_flat_over_the_prefix():
    delays, powers, max_doppler = default_statistics(SMALL, 2)
    np.testing.assert_allclose(delays, np.arange(4) * SMALL.sample_duration)
    np.testing.assert_allclose(powers, 0.25)
    assert max_doppler == 0.0
    z = jnp.asarray(_complex(4, 1, 2, 8, 1), jnp.complex64)
    np.testing.assert_array_equal(
        _wiener(z, 0.1, SMALL, 2)[0], _wiener(z, 0.1, SMALL, 2, default_statistics(SMALL, 2))[0]
    )


NARROW = {"fft_size": 64, "guard_carriers": (6, 5), "dc_null": True}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_tx_ant", "grid"),
    [
        (1, ResourceGrid()),
        (3, ResourceGrid(cyclic_prefix_length=32)),
        (4, ResourceGrid()),
        (8, ResourceGrid()),
        (4, ResourceGrid(fft_size=128, cyclic_prefix_length=32)),
        (2, ResourceGrid(cyclic_prefix_length=32, **NARROW)),
        (4, ResourceGrid(**NARROW)),
    ],
)
def test_with_default_statistics_the_filter_beats_the_line_and_knows_its_error(num_tx_ant, grid):
    # Fault 11 of the audit: 17 delays on combs that resolve 16 made half of a flat channel a late path.
    links, no = 200, jnp.array([1.0, 0.1, 1e-2, 1e-3, 1e-4], jnp.float32)[:, None]
    shape = (5, links, 1, 2, grid.num_carriers, 1, num_tx_ant)
    h = jnp.asarray(np.broadcast_to(_complex(1, 5, links, 1, 1, 1, 1, num_tx_ant), shape), jnp.complex64)

    @jax.jit
    def estimate(h, draw, no):
        z = observe_pilots(h, draw, no)
        mean, variance = wiener_estimate(z, no / num_tx_ant, grid, num_tx_ant, symbols=grid.data_symbols)
        line = interpolate(z, grid, num_tx_ant, symbols=grid.data_symbols)
        errors = [jnp.mean(abs2(a - h[..., :1, :, :, :]), axis=(2, 3, 4, 5, 6)) for a in (mean, line)]
        return *errors, jnp.mean(variance, axis=(2, 3, 4))

    filtered, line, believed = estimate(h, jnp.asarray(_complex(2, *shape), jnp.complex64), no)
    for snr in range(5):
        better = np.asarray(line - filtered)[snr]
        assert better.mean() > -5 * better.std() / np.sqrt(links)
        if not grid.dc_null:
            assert _within(np.asarray(filtered)[snr], float(believed[snr, 0]))
        else:  # one path at delay 0 is not an average one where the band has edges
            assert 1 / 1.5 < believed[snr, 0] / filtered[snr].mean() < 1.5


@pytest.mark.slow
@pytest.mark.parametrize("csi", ["pilots_ls", "pilots_lmmse"])
def test_default_receiver_has_no_symbol_errors_at_40_db(csi):
    bits = np.random.default_rng(0).integers(0, 2, (1, 200, 8))
    x = phy.qam_map(bits, 2)
    out = phy.ofdm_link(
        jax.random.key(1), x[None], no=1e-4, grid=ResourceGrid(), paths=phy.rayleigh_path, csi=csi, equalizer="robust"
    )
    error = np.abs(np.asarray(out.x_hat[0] - x)) ** 2 / np.asarray(out.no_eff[0])
    assert np.mean((np.asarray(phy.qam_llr(out.x_hat[0], out.no_eff[0], 2)) > 0) != bits) < 1e-3
    assert 0.5 < error.mean() < 2


@pytest.mark.parametrize("model", ["additive", "mmse"])
def test_ageing(model):
    s, rho, count = 0.2, 0.8, 20_000
    then, new, draw = (_complex(seed, count, 1, 1) for seed in (7, 8, 9))
    now = rho * then + np.sqrt(1 - rho**2) * new
    h_hat = phy.estimate_csi(*(jnp.asarray(a, jnp.complex64) for a in (then, draw)), s, model=model)
    mean, variance = aged_posterior(h_hat, s, jnp.full((count,), rho), model=model)
    expected = 1 - rho**2 / (1 + s) if model == "additive" else 1 - rho**2 * (1 - s)
    np.testing.assert_allclose(variance, expected, rtol=1e-5)
    left = now - np.asarray(mean)
    assert _within((np.abs(left) ** 2).reshape(-1), expected)
    assert _within((left * np.conj(np.asarray(h_hat))).real.reshape(-1), 0.0)
    fresh, none = aged_posterior(h_hat, 0.0, jnp.ones((count,)), model=model)
    np.testing.assert_array_equal(fresh, h_hat)
    np.testing.assert_array_equal(none, 0.0)


def test_gradients_equal_differences_and_without_noise_there_is_none_of_it():
    h = jnp.asarray(_complex(10, 1, 2, 8, 1, 2))
    draw = jnp.asarray(_complex(11, 1, 2, 8, 1, 2))

    def loss(h, draw, no):
        z = observe_pilots(h, draw, no)
        mean, variance = wiener_estimate(z, no / 2, SMALL, 2, _statistics())
        return jnp.sum(abs2(mean)) + jnp.sum(variance) + jnp.sum(abs2(interpolate(z, SMALL, 2)))

    with jax.enable_x64(True):
        h, draw = jnp.asarray(np.asarray(h), complex), jnp.asarray(np.asarray(draw), complex)
        slope = jax.jit(jax.grad(loss, argnums=2))
        value = jax.jit(loss)
        step = 1e-5
        difference = (value(h, draw, 0.3 + step) - value(h, draw, 0.3 - step)) / (2 * step)
        np.testing.assert_allclose(slope(h, draw, 0.3), difference, rtol=1e-6)
        assert np.isnan(slope(h, draw, 0.0))
        by_h = jax.jit(jax.grad(loss))(h, draw, 0.0)
        assert np.all(np.isfinite(by_h)) and np.any(np.abs(by_h) > 0.1)


def test_rho_is_the_bessel_function():
    lag = SMALL.symbol_duration
    h, _, _ = _channel()
    product = np.mean(h[:, 0, 1] * np.conj(h[:, 0, 0]), axis=(1, 2, 3)).real
    assert _within(product, float(bessel_j0(2 * np.pi * DOPPLER * lag)))


Z = jnp.zeros((2, 1, 2, 8, 1), jnp.complex64)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: interpolate(Z, SMALL, 2, "cubic"), "unknown interpolation 'cubic'; known: nearest, linear, hold"),
        (lambda: interpolate(Z[:, :, :, :7], SMALL, 2), r"observations \(2, 1, 2, 7, 1\) must be .*, 8"),
        (lambda: interpolate(Z, SMALL, 9), "num_tx_ant 9 exceeds the grid's 8 used subcarriers"),
        (lambda: wiener_estimate(Z, -0.1, SMALL, 2), "error_var must be >= 0, got -0.1"),
        (lambda: wiener_estimate(Z, jnp.ones(3), SMALL, 2), r"error_var of shape \(3,\).*\(2,\)"),
        (
            lambda: wiener_estimate(Z, 0.1, SMALL, 2, GridStatistics(jnp.ones((3, 4)), jnp.ones(4))),
            r"statistics.delays \(3, 4\) and statistics.powers \(4,\) must be .* broadcast against \(2,\)",
        ),
        (
            lambda: wiener_estimate(Z, 0.1, SMALL, 2, GridStatistics([0.0], [1.0], -3.0)),
            "statistics.max_doppler must be >= 0, got -3.0",
        ),
        (lambda: observe_pilots(Z, Z[:1], 0.1), r"draw of its shape, got \(2, 1, 2, 8, 1\) and \(1, 1, 2, 8, 1\)"),
        (lambda: aged_posterior(Z, 0.1, jnp.ones(2), model="ls"), "unknown CSI error model 'ls'; known: add"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(call)
