"""OFDM: the waveform against a convolution in time, and the link over a resource grid."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import phy
from lvm_mtc.phy.numerics import abs2
from lvm_mtc.phy.ofdm import OfdmDraws, draw_ofdm, ofdm_demodulate, ofdm_link, ofdm_modulate
from lvm_mtc.phy.ofdm_estimate import GridStatistics
from lvm_mtc.phy.paths import Paths, exponential, exponential_profile, frequency_response, rayleigh_path
from lvm_mtc.phy.resource_grid import ResourceGrid

pytestmark = pytest.mark.usefixtures("fast_compile")

WAVE = ResourceGrid(
    fft_size=16, num_ofdm_symbols=4, cyclic_prefix_length=5, guard_carriers=(2, 1), dc_null=True, pilot_symbols=(0,)
)
GRID = ResourceGrid(fft_size=8, num_ofdm_symbols=4, cyclic_prefix_length=3, pilot_symbols=(0, 3))
DOPPLER = 1500.0
PATHS = functools.partial(
    exponential, num_taps=3, sample_duration=GRID.sample_duration, delay_spread=3e-6, max_doppler=DOPPLER
)
STATISTICS = GridStatistics(*exponential_profile(3, GRID.sample_duration, 3e-6), DOPPLER)
LINKS, SLOTS = 1500, 16


def _complex(seed, *shape, dtype=np.complex64):
    parts = np.random.default_rng(seed).normal(scale=0.5**0.5, size=(2, *shape))
    return jnp.asarray((parts[0] + 1j * parts[1]).astype(dtype))


def _within(samples, expected, errors=5):
    """Whether the mean of independent samples lies within 5 standard errors of what it should be."""
    return abs(samples.mean() - expected) < errors * samples.std() / np.sqrt(samples.size) + 1e-6


def _through_time(num_taps):
    """Modulate, convolve with taps in time, demodulate; and what the frequency response says."""
    with jax.enable_x64(True):
        x = _complex(0, 4, WAVE.num_carriers, dtype=np.complex128)
        taps = np.asarray(_complex(1, num_taps, dtype=np.complex128))
        sent = np.asarray(ofdm_modulate(x, WAVE))
        received = np.convolve(sent, taps)[: sent.size]
        y = np.asarray(ofdm_demodulate(jnp.asarray(received), WAVE))
        delays = jnp.arange(num_taps) * WAVE.sample_duration
        paths = Paths(jnp.asarray(taps)[:, None, None, None], delays)
        h = np.asarray(frequency_response(paths, WAVE.frequencies))[..., 0, 0]
    return y, h * np.asarray(x)


def test_modulator_against_the_sum_of_tones():
    x = _complex(0, 2, WAVE.num_carriers)
    n = np.arange(-5, 16)
    expected = np.array(
        [
            sum(value * np.exp(2j * np.pi * (c - 8) * n / 16) for value, c in zip(row, WAVE.carriers, strict=True)) / 4
            for row in np.asarray(x)
        ]
    )
    samples = np.asarray(ofdm_modulate(x, WAVE))
    np.testing.assert_allclose(samples, expected.reshape(-1), atol=1e-5)
    np.testing.assert_allclose(ofdm_demodulate(jnp.asarray(samples), WAVE), x, atol=1e-5)


def test_convolution_in_time_is_a_product_on_each_subcarrier():
    y, expected = _through_time(WAVE.cyclic_prefix_length + 1)
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)


def test_a_channel_longer_than_the_prefix_interferes():
    y, expected = _through_time(WAVE.cyclic_prefix_length + 3)
    assert np.abs(y - expected).max() > 0.01


def test_noise_and_energy_are_kept_and_the_prefix_costs_its_factor():
    noise = _complex(2, 3000, 21)
    on_carriers = np.asarray(ofdm_demodulate(noise, WAVE))
    assert _within(np.mean(np.abs(on_carriers) ** 2, axis=(1, 2)), 1.0)
    sent = np.asarray(ofdm_modulate(_complex(3, 3000, 1, WAVE.num_carriers), WAVE))
    with_prefix, without = np.sum(np.abs(sent) ** 2, -1), np.sum(np.abs(sent[:, 5:]) ** 2, -1)
    assert _within(without, WAVE.num_carriers)
    assert _within(with_prefix - WAVE.prefix_factor * without, 0.0)
    assert not _within(with_prefix - without, 0.0)


@functools.cache
def _draws():
    draw = jax.jit(lambda key: draw_ofdm(key, (LINKS, 1), SLOTS, grid=GRID, paths=PATHS, num_tx_ant=2, num_rx_ant=3))
    return draw(jax.random.key(0))


@functools.cache
def _link(**options):
    return jax.jit(functools.partial(ofdm_link, None, grid=GRID, statistics=STATISTICS, **options))


def _path(max_doppler):
    return functools.partial(rayleigh_path, max_doppler=max_doppler)


def _x(*shape):
    return _complex(4, *shape)


def test_draws_put_the_channel_where_the_grid_says():
    key = jax.random.key(7)
    options = dict(num_rx_ant=2, num_tx_ant=1)
    draws = jax.jit(lambda k: draw_ofdm(k, (2,), 20, grid=GRID, paths=PATHS, **options))(key)
    times = GRID.symbol_times(2)
    paths = jax.jit(lambda k: PATHS(phy.stream_key(k, phy.Stream.FADING), (2,), times=times, **options))(
        jax.random.clone(key)
    )
    everything = np.asarray(frequency_response(paths, GRID.frequencies))
    np.testing.assert_allclose(draws.h, everything[:, *GRID.slot_elements(2)], atol=1e-5)
    pilots = everything.reshape(2, 2, 4, 8, 2, 1)[:, :, list(GRID.pilot_symbols)]
    np.testing.assert_allclose(draws.h_pilots, pilots, atol=1e-5)
    assert draws.csi.shape == draws.h_pilots.shape and draws.noise.shape == (2, 20, 2)


def test_draws_of_a_uav_depend_on_its_key_only():
    keys = jax.random.split(jax.random.key(1), 3)

    def draw(keys):
        return draw_ofdm(keys, (2, keys.shape[0]), 5, grid=GRID, paths=_path(100.0), num_tx_ant=1, total_slots=20)

    all_three, last = jax.jit(draw)(keys), jax.jit(draw)(jax.random.clone(keys)[2:])
    for three, one in zip(all_three, last, strict=True):
        np.testing.assert_allclose(three[:, 2:], one, atol=1e-6)
    assert np.abs(all_three.noise[:, 0] - all_three.noise[:, 1]).max() > 0.1


def test_received_symbols_and_places():
    draws = jax.tree.map(lambda a: a[:2], _draws())
    draws = draws._replace(noise=draws.noise[:, :, :3])
    x, places = _x(2, 1, 3, 2), jnp.array([[[3, 0, 15]], [[7, 7, 99]]])
    send = _link(num_rx_ant=3, total_slots=16)
    output = send(x, no=0.25, slot_index=places, draws=draws)
    h = np.asarray(draws.h)[np.arange(2)[:, None], 0, np.minimum(places[:, 0], 15)]
    expected = np.einsum("bsrt,bst->bsr", h, x[:, 0]) + 0.5 * np.asarray(draws.noise)[:, 0]
    np.testing.assert_allclose(output.y[0, 0], expected[0], atol=1e-5)
    np.testing.assert_allclose(output.y[1, 0, :2], expected[1, :2], atol=1e-5)
    np.testing.assert_array_equal(output.h[0, 0], h[0])
    assert np.all(np.isnan(output.y[1, 0, 2])) and np.all(np.isnan(output.h[1, 0, 2]))
    assert np.all(np.isfinite(output.x_hat[0]))
    ordered = send(x, no=0.25, draws=draws)
    same = send(x, no=0.25, slot_index=jnp.broadcast_to(jnp.arange(3), (2, 1, 3)), draws=draws)
    for a, b in zip(*map(jax.tree.leaves, (ordered, same)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_one_still_path_is_flat_block_fading():
    draw = jax.jit(lambda k, f: draw_ofdm(k, (2, 2), 16, grid=GRID, paths=_path(f), num_tx_ant=2))
    send = jax.jit(functools.partial(ofdm_link, None, grid=GRID), static_argnames="csi")
    draws = draw(jax.random.key(2), 0.0)
    h = draws.h[:, :, :1]
    x = _x(2, 2, 16, 2)
    flat = jax.jit(lambda x, h, noise: phy.broadcast(None, x, no=0.1, h=h, h_hat=h, noise=noise))(
        x, h, np.sqrt(0.1) * draws.noise
    )
    for csi in ("additive", "mmse"):
        over_grid = send(x, no=0.1, csi=csi, draws=draws)
        np.testing.assert_array_equal(over_grid.h, np.broadcast_to(h, over_grid.h.shape))
        np.testing.assert_array_equal(over_grid.h_hat, over_grid.h)
        np.testing.assert_allclose(over_grid.y, flat.y, atol=1e-5)
        np.testing.assert_allclose(over_grid.x_hat, flat.x_hat, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(over_grid.no_eff, flat.no_eff, rtol=1e-4)
    moving = draw(jax.random.key(3), 500.0)
    assert np.abs(send(x, no=0.1, csi="additive", draws=moving).h_hat - moving.h).max() > 0.1


@pytest.mark.parametrize("csi", ["additive", "mmse", "pilots_ls", "pilots_lmmse"])
def test_robust_knows_its_error(csi):
    x = _x(LINKS, 1, SLOTS, 2)
    output = _link(csi=csi)(x, no=0.1, csi_error_var=jnp.float32(0.05), draws=_draws())
    error = np.abs(np.asarray(output.x_hat - x)) ** 2
    # The error is Gaussian given the estimate, and no_eff its variance: the quotient has light tails, the error none.
    assert _within(np.mean(error / np.asarray(output.no_eff), axis=(1, 2, 3)), 1.0)
    if csi == "pilots_ls":
        trusting = _link(csi=csi, equalizer="unbiased")(x, no=0.1, csi_error_var=jnp.float32(0.05), draws=_draws())
        quotient = np.abs(np.asarray(trusting.x_hat - x)) ** 2 / np.asarray(trusting.no_eff)
        assert not _within(np.mean(quotient, axis=(1, 2, 3)), 1.0)


def test_robust_works_with_the_posterior_and_reports_the_estimate():
    x = _x(LINKS, 1, SLOTS, 2)
    robust = _link(csi="pilots_ls")(x, no=0.1, csi_error_var=jnp.float32(0.05), draws=_draws())
    wiener = _link(csi="pilots_lmmse")(x, no=0.1, csi_error_var=jnp.float32(0.05), draws=_draws())
    linear = _link(csi="pilots_ls", equalizer="unbiased")(x, no=0.1, csi_error_var=jnp.float32(0.05), draws=_draws())
    np.testing.assert_allclose(robust.x_hat, wiener.x_hat, atol=1e-4)
    np.testing.assert_allclose(robust.h_hat, linear.h_hat, atol=1e-5)
    assert np.mean(abs2(wiener.h_hat - wiener.h)) < np.mean(abs2(linear.h_hat - linear.h))
    assert np.mean(np.minimum(abs2(robust.x_hat - x), 10)) < np.mean(np.minimum(abs2(linear.x_hat - x), 10))


def test_joint_detection_counts_the_streams_on_air():
    draws = OfdmDraws(*(a[:, 0] for a in _draws()))
    x = _x(LINKS, SLOTS, 2)
    active = jnp.asarray(np.random.default_rng(5).random(x.shape) < 0.6)
    output = _link(csi="pilots_lmmse", joint=True)(x, no=0.1, active=active, draws=draws)
    on_air = np.asarray(active)
    assert np.all(np.asarray(output.x_hat)[~on_air] == 0)
    quotient = np.abs(np.asarray(output.x_hat - x)) ** 2 / np.asarray(output.no_eff)
    per_link = np.sum(quotient * on_air, axis=(1, 2)) - on_air.sum(axis=(1, 2))
    assert _within(per_link, 0.0)


def test_points_of_a_sweep_and_numbers_per_link():
    draws = jax.tree.map(lambda a: a[:3], _draws())
    x = _x(3, 1, SLOTS, 2)

    @jax.jit
    def sweep(no, s, max_doppler):
        statistics = STATISTICS._replace(max_doppler=max_doppler)
        options = dict(grid=GRID, statistics=statistics, draws=draws)

        def point(numbers):
            told = ofdm_link(None, x, no=numbers[0], csi_error_var=numbers[1], **options)
            return told, ofdm_link(None, x, no=numbers[0], csi="pilots_lmmse", **options)

        return jax.lax.map(point, (no, s))

    no, s, doppler = jnp.array([0.1, 0.4, 0.9]), jnp.array([0.0, 0.1, 0.2]), jnp.array([100.0, 700.0, 1500.0])
    common = sweep(no, s, jnp.full((3, 1), 700.0))
    mixed = sweep(*(jnp.broadcast_to(a[:, None], (1, 3, 1)) for a in (no, s)), doppler[:, None])
    for by_point, by_link in zip(jax.tree.leaves(common), jax.tree.leaves(mixed), strict=True):
        np.testing.assert_allclose(by_point[1, 1], by_link[0, 1], rtol=2e-4, atol=2e-4)
    assert np.abs(common[1].no_eff[0, 0] - mixed[1].no_eff[0, 0]).max() > 1e-3


@pytest.mark.parametrize("csi", ["additive", "pilots_ls"])
def test_gradients_equal_central_differences(csi):
    with jax.enable_x64(True):
        draws = jax.tree.map(lambda a: jnp.asarray(np.asarray(a[:1]), complex), _draws())
        x, direction = _complex(8, 1, 1, SLOTS, 2, dtype=complex), _complex(9, 1, 1, SLOTS, 2, dtype=complex)

        def loss(step, no, s):
            sent = x + step * direction
            output = ofdm_link(
                None, sent, no=no, csi_error_var=s, grid=GRID, csi=csi, statistics=STATISTICS, draws=draws
            )
            return jnp.sum(abs2(output.x_hat - 0.5)) + jnp.sum(jnp.log(output.no_eff))

        value_and_slope = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))
        at = np.array([0.0, 0.3, 0.1])
        for i, derivative in enumerate(value_and_slope(*at)[1]):
            step = 1e-5 * np.eye(3)[i]
            difference = (value_and_slope(*(at + step))[0] - value_and_slope(*(at - step))[0]) / 2e-5
            np.testing.assert_allclose(derivative, difference, rtol=1e-5, atol=1e-7)
        by_step, by_no, by_s = value_and_slope(0.0, 0.3, 0.0)[1]
        assert np.all(np.isfinite([by_step, by_no]))
        assert np.isnan(by_s) == (csi == "additive")


@pytest.mark.slow
def test_devices_share_the_batch():
    draws = jax.tree.map(lambda a: a[:8], _draws())
    x = _x(8, 1, SLOTS, 2)
    send = _link(csi="pilots_lmmse")
    alone = send(x, no=0.1, draws=draws)
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch"))
    spread = send(jax.device_put(x, sharding), no=0.1, draws=jax.device_put(draws, sharding))
    np.testing.assert_allclose(spread.x_hat, alone.x_hat, rtol=1e-4, atol=1e-4)
    assert len(spread.x_hat.sharding.device_set) == 8


X = jnp.zeros((2, 1, SLOTS, 2), jnp.complex64)
SEND = dict(no=0.1, grid=GRID, paths=PATHS)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda k: ofdm_link(k, X.real, **SEND), "x must be complex, got float32"),
        (lambda k: ofdm_link(k, X[0, 0], **SEND), r"x must be \[..., num_uavs, num_slots, num_tx_ant\], got shape"),
        (lambda k: ofdm_link(k, X[0, 0, 0], **SEND, joint=True), r"x must be \[..., num_slots, num_streams\]"),
        (lambda k: ofdm_link(k, X, **SEND, csi="ls"), "unknown csi 'ls'; known: additive, mmse, pilots_ls"),
        (lambda k: ofdm_link(k, X, **SEND, interpolation="cubic"), "unknown interpolation 'cubic'"),
        (lambda k: ofdm_link(k, X, **SEND, equalizer="dfe"), "unknown equalizer 'dfe'; known: paper"),
        (lambda k: ofdm_link(k, X, **SEND, active=X[0]), r"active must be boolean .* got complex64 \(1, 16, 2\)"),
        (lambda k: ofdm_link(k, X, **(SEND | {"no": -1.0})), "no must be >= 0, got -1.0"),
        (lambda k: ofdm_link(k, X, **SEND, csi_error_var=-1.0), "csi_error_var must be >= 0, got -1.0"),
        (lambda k: ofdm_link(k, X, **SEND, csi="mmse", csi_error_var=1.0), "must be < 1.0 for model 'mmse'"),
        (lambda k: ofdm_link(k, X, **SEND, total_slots=8), "total_slots 8 is less than the 16 slots of x"),
        (lambda k: ofdm_link(k, X, **SEND, slot_index=jnp.arange(16)), "slot_index needs total_slots, got None"),
        (
            lambda k: ofdm_link(k, X, **SEND, slot_index=jnp.ones(16), total_slots=16),
            "slot_index must be integer, got float32",
        ),
        (lambda k: ofdm_link(None, X, **SEND), "give key and paths, or draws"),
        (lambda k: ofdm_link(k, X, no=0.1, grid=GRID), "give key and paths, or draws"),
        (lambda k: ofdm_link(None, X, **SEND, draws=OfdmDraws(X, X, X, X)), r"draws.h must have shape \(2, 1, 16"),
        (
            lambda k: draw_ofdm(jax.random.split(k, 2), (2, 3), 5, grid=GRID, paths=PATHS, num_tx_ant=1),
            r"key must be a scalar or have shape \(3,\), got \(2,\)",
        ),
        (lambda k: draw_ofdm(k, (2,), 0, grid=GRID, paths=PATHS, num_tx_ant=1), "num_slots must be an integer >= 1"),
        (lambda k: ofdm_modulate(X, GRID), r"x must be \[..., num_symbols, 8 carriers\], got shape \(2, 1, 16, 2\)"),
        (lambda k: ofdm_demodulate(X[..., 0], GRID), r"samples must be \[..., num_symbols \* 11\]"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(call, jax.random.key(0))
