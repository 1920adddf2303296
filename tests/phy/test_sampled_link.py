"""OFDM and OTFS over a channel sampled in time: against a convolution sample by sample, dense algebra, closed forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import phy
from lvm_mtc.phy import ResourceGrid, SampledDraws
from lvm_mtc.phy.impulse_pilots import estimate_taps, tap_filter

pytestmark = pytest.mark.usefixtures("fast_compile")

FULL = ResourceGrid(fft_size=8, num_ofdm_symbols=5, cyclic_prefix_length=3, pilot_symbols=(2,))
GUARDED = ResourceGrid(
    fft_size=8, num_ofdm_symbols=4, cyclic_prefix_length=3, pilot_symbols=(1,), guard_carriers=(1, 0), dc_null=True
)
LARGER = ResourceGrid(fft_size=16, num_ofdm_symbols=9, cyclic_prefix_length=3, pilot_symbols=(0,))
ANT, NO = 2, 0.1
BOTH = (("otfs", "block"), ("ofdm", "block"))


def normal(seed, *shape):
    parts = np.random.default_rng(seed).normal(scale=0.5**0.5, size=(2, *shape))
    return parts[0] + 1j * parts[1]


def taps_of(grid, num_taps=4, symbols=None):
    """Taps ``[time, tap, rx, tx]`` at every sample, prefixes included, that turn by up to a fifth a symbol."""
    symbols = grid.num_ofdm_symbols if symbols is None else symbols
    time = np.arange(symbols * (grid.fft_size + grid.cyclic_prefix_length))[:, None, None, None, None]
    shifts = np.random.default_rng(1).uniform(-0.2, 0.2, (1, 3, num_taps, 1, 1)) / grid.fft_size
    waves = normal(2, 1, 3, num_taps, ANT, ANT) * np.exp(2j * np.pi * shifts * time)
    return waves.sum(1) / np.sqrt(3 * num_taps)


def draws_of(grid, taps, noise):
    per_symbol = grid.fft_size + grid.cyclic_prefix_length
    gains = np.moveaxis(taps, 0, 1).reshape(taps.shape[1], -1, per_symbol, ANT, ANT)[:, :, grid.cyclic_prefix_length :]
    csi = np.zeros((gains.shape[1], grid.num_carriers, ANT, ANT), complex)
    return SampledDraws(gains, np.arange(taps.shape[1]) * grid.sample_duration, csi, noise)


def convolved(grid, taps, spectra):
    """Samples behind the prefixes, ``[symbol, m, rx]``, of subcarriers ``[symbol, c, tx]``: one sample at a time."""
    m, prefix = grid.fft_size, grid.cyclic_prefix_length
    tones = np.exp(2j * np.pi * np.outer(np.arange(-prefix, m), grid.carriers - m // 2) / m) / np.sqrt(m)
    sent = np.einsum("mc,nct->nmt", tones, spectra).reshape(-1, ANT)
    received = np.zeros((len(sent), ANT), complex)
    for time in range(len(sent)):
        for delay in range(min(taps.shape[1], time + 1)):
            received[time] += taps[time, delay] @ sent[time - delay]
    return received.reshape(-1, prefix + m, ANT)[:, prefix:]


def dense_matrix(grid, taps, waveform):
    """What every cell and stream puts on all samples of data, ``[N M rx, N Mu tx]``, by sending them one by one."""
    n, c = len(grid.data_symbols), grid.num_carriers
    columns = []
    for cell in np.eye(n * c * ANT).reshape(-1, n, c, ANT):
        on_carriers = cell
        if waveform == "otfs":  # F_M X F_N^H with the sums written out; subcarrier i has the frequency i - c // 2
            along = np.exp(-2j * np.pi * np.outer(np.arange(c) - c // 2, np.arange(c)) / c) / np.sqrt(c)
            across = np.exp(2j * np.pi * np.outer(np.arange(n), np.arange(n)) / n) / np.sqrt(n)
            on_carriers = np.einsum("il,nk,klt->nit", along, across, cell)
        spectra = np.zeros((grid.num_ofdm_symbols, c, ANT), complex)
        spectra[grid.data_symbols] = on_carriers
        columns.append(convolved(grid, taps, spectra)[grid.data_symbols].ravel())
    return np.stack(columns, axis=1)


@functools.cache
def both_ways(grid):
    """Of each waveform: cells, dense L-MMSE and its error in float64, and what the link gives in two precisions."""
    taps, noise = taps_of(grid), normal(3, grid.num_ofdm_symbols, grid.fft_size, ANT)
    x = normal(4, grid.slots_per_grid, ANT)

    @jax.jit
    def run(x, draws):
        options = dict(no=NO, grid=grid)
        return [
            phy.sampled_link(x, draws, waveform=waveform, equalizer=equalizer, **options)
            for waveform, _ in BOTH
            for equalizer in ("paper", "robust")
        ]

    draws = draws_of(grid, taps, noise)
    with jax.enable_x64(True):
        double = jax.tree.map(np.asarray, run(jnp.asarray(x), jax.tree.map(jnp.asarray, draws)))
    narrow = [jnp.asarray(a.astype("c8" if a.dtype == "c16" else "f4")) for a in draws]
    single = run(jnp.complex64(x), SampledDraws(*narrow))
    dense = {}
    for waveform, _ in BOTH:
        h = dense_matrix(grid, taps, waveform)
        y = h @ x.ravel() + np.sqrt(NO) * noise[grid.data_symbols].ravel()
        inverse = np.linalg.inv(h.conj().T @ h + NO * np.eye(h.shape[1]))
        dense[waveform] = (inverse @ h.conj().T @ y).reshape(x.shape), NO * np.diag(inverse).real.reshape(x.shape)
    return x, dense, double, single


@pytest.mark.parametrize(
    "grid", [FULL, GUARDED, pytest.param(LARGER, marks=pytest.mark.slow)], ids=["full", "guarded", "16 by 8"]
)
def test_symbol_by_symbol_is_the_dense_lmmse_of_the_whole_frame(grid):
    _, dense, double, single = both_ways(grid)
    for i, (waveform, _) in enumerate(BOTH):
        x_hat, mse = dense[waveform]
        np.testing.assert_allclose(double[2 * i][0], x_hat, atol=1e-12)
        if grid is not LARGER:
            np.testing.assert_allclose(single[2 * i][0], x_hat, atol=3e-6)
        assert np.linalg.norm(single[2 * i][0] - x_hat) < 1e-6 * np.linalg.norm(x_hat)
        rows = mse.reshape(len(grid.data_symbols), -1, ANT)
        if waveform == "otfs":  # one error variance for all Dopplers of a delay: the dense inverse has it too
            assert np.ptp(rows, axis=0).max() < 1e-12 < 1e-3 < np.ptp(rows, axis=2).max()
        np.testing.assert_allclose(double[2 * i][1], mse, atol=1e-12)
        np.testing.assert_allclose(single[2 * i][1], mse, atol=1e-6)
        np.testing.assert_allclose(double[2 * i + 1][0], x_hat / (1 - mse), atol=1e-11)
        np.testing.assert_allclose(double[2 * i + 1][1], mse / (1 - mse), atol=1e-11)
    # The transform is unitary: what the two lose together is the same.
    assert abs(dense["otfs"][1].sum() - dense["ofdm"][1].sum()) < 1e-10
    assert np.abs(double[0][1] - double[2][1]).max() > 1e-2


def test_the_transform_is_unitary_and_otfs_sends_delays_as_samples():
    x = jnp.complex64(normal(5, 3, 4, 8, ANT))
    on_carriers = phy.isfft(x)
    np.testing.assert_allclose(phy.sfft(on_carriers), x, atol=1e-6)
    np.testing.assert_allclose(np.sum(np.abs(on_carriers) ** 2), np.sum(np.abs(x) ** 2), rtol=1e-6)
    sent = phy.ofdm_modulate(jnp.moveaxis(on_carriers, -1, 1), FULL).reshape(3, ANT, 4, -1)[..., 3:]
    zak = np.fft.ifft(x, axis=1, norm="ortho")  # over Dopplers alone
    np.testing.assert_allclose(sent, np.moveaxis(zak, -1, 1), atol=1e-6)


@pytest.mark.parametrize("channel", ["one path", "none"])
def test_over_one_still_path_all_waveforms_are_one(channel):
    """OTFS, OFDM and samples one by one: the same estimates behind the transforms, and the same errors."""
    h = normal(8, ANT, ANT) if channel == "one path" else np.eye(ANT)
    x, noise = normal(9, 4, 8, ANT), normal(10, FULL.num_ofdm_symbols, FULL.fft_size, ANT)
    taps = np.broadcast_to(h, (FULL.num_ofdm_symbols * (FULL.fft_size + FULL.cyclic_prefix_length), 1, ANT, ANT))

    @jax.jit
    def run(x, draws):
        sent = {"otfs": x, "ofdm": phy.isfft(x)}
        found = {name: phy.sampled_link(on_air.reshape(-1, ANT), draws, no=NO, grid=FULL, waveform=name)
                 for name, on_air in sent.items()}  # fmt: skip
        (otfs, otfs_error), (ofdm, ofdm_error) = (
            [array.reshape(x.shape) for array in found[name]] for name in ("otfs", "ofdm")
        )
        return otfs, phy.sfft(ofdm), otfs_error, ofdm_error

    with jax.enable_x64(True):
        found = run(jnp.asarray(x), jax.tree.map(jnp.asarray, draws_of(FULL, taps, noise)))
        otfs, ofdm, *errors = map(np.asarray, found)
    samples = np.fft.ifft(x, axis=0, norm="ortho")  # over Dopplers alone
    received = samples @ h.T + np.sqrt(NO) * noise[FULL.data_symbols]
    inverse = np.linalg.inv(h.conj().T @ h + NO * np.eye(ANT))
    mse = NO * np.diag(inverse).real
    alone = np.fft.fft(received @ (inverse @ h.conj().T).T / (1 - mse), axis=0, norm="ortho")
    for x_hat, no_eff in zip((otfs, ofdm), errors, strict=True):
        np.testing.assert_allclose(x_hat, alone, atol=1e-12)
        np.testing.assert_allclose(no_eff, np.broadcast_to(mse / (1 - mse), x.shape), rtol=1e-12)
    assert np.abs(otfs - x).max() > 0.1


def late(*args, **options):
    """Taps between the samples."""
    gains, delays = phy.exponential(*args, **options)
    return phy.Paths(gains, 0.8 * delays)


def test_a_channel_that_stands_still_is_that_of_ofdm_link():
    paths = functools.partial(late, num_taps=4, sample_duration=FULL.sample_duration, delay_spread=4e-6)
    options = dict(grid=FULL, paths=paths, num_rx_ant=3, num_tx_ant=ANT)
    x = jnp.complex64(normal(6, 5, 2 * FULL.slots_per_grid - 3, ANT))
    statistics = phy.GridStatistics(*phy.exponential_profile(4, FULL.sample_duration, 4e-6))

    @jax.jit
    def both(key):
        draws = phy.draw_sampled(key, x.shape[:1], x.shape[1], statistics=statistics, **options)
        noise = jnp.take(draws.noise, np.array([0, 1, 3, 4, 5, 6, 8, 9]), axis=1)
        noise = jnp.fft.fftshift(jnp.fft.fft(noise, axis=-2, norm="ortho"), axes=-2).reshape(5, -1, 3)
        flat = phy.draw_ofdm(jax.random.clone(key), x.shape[:1], x.shape[1], **options)
        flat = flat._replace(noise=noise[:, : x.shape[1]])
        link = phy.ofdm_link(None, x, no=NO, grid=FULL, draws=flat, joint=True, equalizer="paper")
        return link, [
            phy.sampled_link(x, draws, no=NO, grid=FULL, waveform=waveform, receiver=receiver, equalizer="paper")
            for waveform, receiver in (*BOTH, ("ofdm", "one_tap"))
        ]

    link, (otfs, block, one_tap) = both(jax.random.key(0))
    for x_hat, no_eff in (block, one_tap):
        np.testing.assert_allclose(x_hat, link.x_hat, atol=1e-5)
        np.testing.assert_allclose(no_eff, link.no_eff, atol=1e-6)
    # OTFS has the mean over the subcarriers, everywhere.
    mean = np.asarray(block[1])[:, :32].reshape(5, 32, ANT).mean(axis=1, keepdims=True)
    np.testing.assert_allclose(otfs[1], np.broadcast_to(mean, otfs[1].shape), atol=1e-6)


def test_interference_of_subcarriers_has_the_power_of_theory():
    paths = functools.partial(phy.rayleigh_path, max_doppler=0.05 * FULL.subcarrier_spacing)
    flat = phy.GridStatistics((0.0,), (1.0,))
    draw = functools.partial(phy.draw_sampled, grid=FULL, paths=paths, statistics=flat, num_rx_ant=1, num_tx_ant=1)
    gains = np.asarray(jax.jit(lambda key: draw(key, (4000,), 1))(jax.random.key(1)).gains)[:, 0, 0, :, 0, 0]
    # What leaves a subcarrier of a channel h(t) is the variance of h within the symbol.
    power = np.mean(np.abs(gains) ** 2, axis=-1) - np.abs(gains.mean(axis=-1)) ** 2
    expected = float(phy.interference_power(0.05 * FULL.subcarrier_spacing, FULL))
    assert abs(power.mean() - expected) < 5 * power.std() / np.sqrt(power.size) < 0.15 * expected
    wide = ResourceGrid(fft_size=64)
    many = np.asarray(phy.interference_power(jnp.array([0.0, 0.02, 0.05]) * wide.subcarrier_spacing, wide))
    np.testing.assert_allclose(many, (np.pi * np.array([0.0, 0.02, 0.05])) ** 2 / 6, rtol=0.02, atol=1e-6)


@pytest.mark.slow
def test_what_one_tap_leaves_over_has_the_power_of_jakes_interference():
    """Behind ``ofdm``, without noise: ``(pi f_D T)^2 / 6`` of a power of 1, within 5 %."""
    grid, links = ResourceGrid(fft_size=8, num_ofdm_symbols=2, pilot_symbols=(0,), cyclic_prefix_length=3), 36_000
    paths = functools.partial(phy.rayleigh_path, max_doppler=0.05 * grid.subcarrier_spacing)
    flat = phy.GridStatistics((0.0,), (1.0,))
    x = jnp.exp(2j * np.pi * jax.random.uniform(jax.random.key(2), (links, 8, 1)))

    @jax.jit
    def run(key, x):
        options = dict(grid=grid, paths=paths, statistics=flat, num_rx_ant=1, num_tx_ant=1)
        draws = phy.draw_sampled(key, (links,), 8, **options)
        draws = draws._replace(noise=jnp.zeros_like(draws.noise))
        x_hat, _ = phy.sampled_link(x, draws, no=1e-6, grid=grid, waveform="ofdm", receiver="one_tap", equalizer="zf")
        return (x_hat - x) * draws.gains[:, 0, 1, :, :, 0].mean(-2, keepdims=True)

    power = np.mean(np.abs(run(jax.random.key(1), x)) ** 2, axis=(1, 2), dtype=np.float64)
    assert 5 * power.std() / np.sqrt(links) < 0.05 * power.mean()
    np.testing.assert_allclose(power.mean(), (np.pi * 0.05) ** 2 / 6, rtol=0.05)


def test_taps_from_impulses_are_the_conditional_mean():
    grid = ResourceGrid(fft_size=8, num_ofdm_symbols=5, cyclic_prefix_length=3, pilot_symbols=(0, 3))
    powers, no, doppler, links = np.array([0.7, 0.3]), 0.2, 4000.0, (2,)
    observed = normal(7, *links, 2, 2, ANT, 3)
    with jax.enable_x64(True):
        taps = tap_filter(grid, jnp.asarray(powers), jnp.full(links, doppler), jnp.full(links, no), ANT)
        mean, variance = estimate_taps(jnp.asarray(observed), taps.correlation[1], taps)  # of symbol 2

    def j0(x):
        return np.mean(np.cos(np.multiply.outer(x, np.cos(np.linspace(0, np.pi, 2000, endpoint=False)))), axis=-1)

    left = np.zeros(8)
    for tap, power in enumerate(powers):
        for antenna in range(ANT):
            heard = np.array([0, 3]) * grid.symbol_duration + (tap + 4 * antenna) * grid.sample_duration
            at = 2 * grid.symbol_duration + np.arange(8) * grid.sample_duration
            among, across = (j0(2 * np.pi * doppler * np.subtract.outer(a, heard)) for a in (heard, at))
            weights = power * across @ np.linalg.inv(power * among + no / 8 * np.eye(2))
            want = np.einsum("mq,bqr->bmr", weights, observed[:, :, tap, antenna])
            np.testing.assert_allclose(mean[:, tap, :, :, antenna], want, atol=1e-9)
            left += power - np.sum(weights * power * across, axis=-1)
    np.testing.assert_allclose(variance, np.broadcast_to(left, (2, 8)), atol=1e-9)


def test_gradients_are_those_of_differences():
    taps, noise = taps_of(FULL), normal(3, FULL.num_ofdm_symbols, FULL.fft_size, ANT)
    with jax.enable_x64(True):
        draws = jax.tree.map(jnp.asarray, draws_of(FULL, taps, noise))
        x = jnp.asarray(normal(4, FULL.slots_per_grid, ANT))

        @jax.jit
        def error(no, scale):
            x_hat, no_eff = phy.sampled_link(scale * x, draws, no=no, csi_error_var=0.05, grid=FULL)
            return jnp.mean(jnp.abs(x_hat - x) ** 2) + jnp.mean(no_eff)

        slopes = jax.jit(jax.grad(error, argnums=(0, 1)))(0.1, 0.9)
        step = 1e-6
        differences = [
            (error(0.1 + step, 0.9) - error(0.1 - step, 0.9)) / (2 * step),
            (error(0.1, 0.9 + step) - error(0.1, 0.9 - step)) / (2 * step),
        ]
    np.testing.assert_allclose(slopes, differences, rtol=1e-6)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (dict(waveform="fbmc"), "unknown waveform 'fbmc'; known: ofdm, otfs"),
        (dict(receiver="sic"), "unknown receiver 'sic'; known: block, one_tap"),
        (dict(csi="pilots"), "unknown csi 'pilots'; known: additive, mmse, pilots_ls, pilots_lmmse"),
        (dict(csi="pilots_ls"), "csi 'pilots_ls' needs an embedded pilot"),
        (dict(waveform="ofdm", embedded=phy.EmbeddedPilot()), "an embedded pilot is for waveform 'otfs', got 'ofdm'"),
        (dict(csi="pilots_lmmse", embedded=phy.EmbeddedPilot()), "'pilots_lmmse' has pilot symbols, not an embedded"),
        (dict(equalizer="zf"), "unknown equalizer 'zf'; known: paper, unbiased, robust"),
        (dict(receiver="one_tap"), "receiver 'one_tap' is for waveform 'ofdm', got 'otfs'"),
        (
            dict(csi="pilots_lmmse", waveform="ofdm", receiver="one_tap"),
            "'pilots_lmmse' is for receiver 'block'",
        ),
        (dict(no=0.0), "no must be > 0, got 0.0"),
        (dict(csi_error_var=-1.0), "csi_error_var must be >= 0, got -1.0"),
        (dict(x=jnp.ones((4, 3), jnp.complex64)), r"x \(4, 3\) must be \[..., num_slots, num_streams\] for gains"),
        (dict(x=jnp.ones((40, ANT), jnp.complex64)), "40 slots need 2 grids, the draws have 5 symbols"),
        (dict(x=jnp.ones((4, ANT))), "x must be complex, got float32"),
    ],
)
def test_errors(changed, message):
    draws = draws_of(FULL, taps_of(FULL), normal(3, FULL.num_ofdm_symbols, FULL.fft_size, ANT))
    options = dict(x=jnp.ones((4, ANT), jnp.complex64), no=NO, grid=FULL) | changed
    with pytest.raises(ValueError, match=message):
        phy.sampled_link(draws=draws, **options)
