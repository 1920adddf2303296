"""OFDM and OTFS over a channel sampled in time: against a convolution sample by sample, dense algebra, closed forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import phy
from lvm_mtc.phy import ResourceGrid, SampledDraws

pytestmark = pytest.mark.usefixtures("fast_compile")

FULL = ResourceGrid(fft_size=8, num_ofdm_symbols=5, cyclic_prefix_length=3, pilot_symbols=(2,))
GUARDED = ResourceGrid(
    fft_size=8, num_ofdm_symbols=4, cyclic_prefix_length=3, pilot_symbols=(1,), guard_carriers=(1, 0), dc_null=True
)
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


@pytest.mark.parametrize("grid", [FULL, GUARDED], ids=["full", "guarded"])
def test_symbol_by_symbol_is_the_dense_lmmse_of_the_whole_frame(grid):
    _, dense, double, single = both_ways(grid)
    for i, (waveform, _) in enumerate(BOTH):
        x_hat, mse = dense[waveform]
        np.testing.assert_allclose(double[2 * i][0], x_hat, atol=1e-12)
        np.testing.assert_allclose(single[2 * i][0], x_hat, atol=3e-6)
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
