"""OTFS against its literature: the input-output relation, diversity, and channels read from an embedded pilot."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import phy
from lvm_mtc.phy import EmbeddedPilot, ResourceGrid, SampledDraws

pytestmark = pytest.mark.usefixtures("fast_compile")

FULL = ResourceGrid(fft_size=8, num_ofdm_symbols=5, cyclic_prefix_length=3, pilot_symbols=(0,))
ANT = 2
PATHS = ((0, 0), (1, 2), (2, -1), (2, 1))  # samples of delay and turns a frame


def normal(seed, *shape):
    parts = np.random.default_rng(seed).normal(scale=0.5**0.5, size=(2, *shape))
    return parts[0] + 1j * parts[1]


def turning(grid, gains, paths, frames=1):
    """Draws whose gains are paths of whole samples and whole turns in the N symbols of data of a frame, no noise."""
    n, per_symbol = len(grid.data_symbols), grid.fft_size + grid.cyclic_prefix_length
    time = np.arange(frames * grid.num_ofdm_symbols * per_symbol).reshape(-1, per_symbol)
    time = time[:, grid.cyclic_prefix_length :] - grid.data_symbols[0] * per_symbol  # 0: the prefix of the first data
    delays, turns = np.array(paths).T[:, :, None, None]
    phase = np.exp(2j * np.pi * turns * (time - delays) / (n * per_symbol))
    symbols = len(time)
    return SampledDraws(
        phase[..., None, None] * gains[:, None, None],
        delays[:, 0, 0] * grid.sample_duration,
        np.zeros((symbols, grid.num_carriers, ANT, ANT), complex),
        np.zeros((symbols, grid.fft_size, ANT), complex),
    )


def moved(grid, x, gains, paths):
    """Raviteja et al. 2018 for integer delays and Dopplers; a prefix each symbol, so that N (M + L) samples are a turn
    and no phase jumps where a delay wraps: ``Y[k, l] = sum h exp(j 2 pi k_p (l + L - l_p) / (N (M + L))) X[k - k_p,
    l - l_p]``."""
    n, m, prefix = *x.shape[:2], grid.cyclic_prefix_length
    y = np.zeros(x.shape, complex)
    for h, (delay, turns) in zip(gains, paths, strict=True):
        phase = np.exp(2j * np.pi * turns * (np.arange(m) + prefix - delay) / (n * (m + prefix)))
        y += phase[:, None] * np.einsum("ij,klj->kli", h, np.roll(x, (turns, delay), axis=(0, 1)))
    return y


def test_whole_delays_and_dopplers_move_cells_as_in_closed_form():
    gains, x = normal(1, len(PATHS), ANT, ANT), normal(2, 4, 8, ANT)
    y = moved(FULL, x, gains, PATHS)
    draws = turning(FULL, gains, PATHS)
    noise = draws.noise.copy()
    noise[FULL.data_symbols] = -np.fft.ifft(y, axis=0, norm="ortho")  # what should arrive, away from what arrives

    @jax.jit
    def left(draws):
        return phy.sampled_link(jnp.asarray(x.reshape(-1, ANT)), draws, no=1.0, grid=FULL)[0]

    with jax.enable_x64(True):
        nothing = left(jax.tree.map(jnp.asarray, draws._replace(noise=noise)))
        all_of_it = left(jax.tree.map(jnp.asarray, draws))
    assert np.abs(nothing).max() < 1e-12 < 0.1 < np.abs(all_of_it).mean()


def test_bits_over_a_channel_that_stands_still_fall_as_diversity_says():
    """L-MMSE: OFDM's bits as over one Rayleigh branch, OTFS's with its mean SINR, and steeper from 1e-2 to 1e-4."""
    grid = ResourceGrid(fft_size=16, num_ofdm_symbols=3, cyclic_prefix_length=3, pilot_symbols=(0,))
    links, snrs = 2000, 10 ** (np.array([12.0, 18.0, 24.0]) / 10)
    taps = normal(3, links, 4, 1, 1, 1, 1) / 2
    draws = SampledDraws(
        jnp.complex64(np.broadcast_to(taps, (links, 4, 3, 16, 1, 1))),
        jnp.broadcast_to(np.arange(4) * grid.sample_duration, (links, 4)),
        jnp.zeros((links, 3, 16, 1, 1), jnp.complex64), jnp.complex64(normal(4, links, 3, 16, 1)),
    )  # fmt: skip
    signs = np.random.default_rng(5).choice([-1.0, 1.0], (2, links, 32, 1))
    x = jnp.complex64((signs[0] + 1j * signs[1]) * 0.5**0.5)

    @jax.jit
    def run(no):
        return [phy.sampled_link(x, draws, no=no, grid=grid, waveform=waveform) for waveform in ("otfs", "ofdm")]

    power = np.abs(np.fft.fft(taps[..., 0, 0, 0, 0], 16, axis=1)) ** 2
    rates = {"otfs": [], "ofdm": []}
    for snr in snrs:
        mse = np.mean(1 / (1 + snr * power), axis=1)  # a circulant channel: mean over subcarriers
        for waveform, (x_hat, no_eff) in zip(rates, run(jnp.float32(1 / snr)), strict=True):
            x_hat, no_eff = np.asarray(x_hat), np.asarray(no_eff)
            if waveform == "otfs":
                want = np.broadcast_to((mse / (1 - mse))[:, None, None], no_eff.shape)
                np.testing.assert_allclose(no_eff, want, rtol=2e-4)
            error = np.mean(np.abs(x_hat - x) ** 2 / no_eff, axis=(1, 2)) - 1
            assert abs(error.mean()) < 5 * error.std() / links**0.5  # no_eff is the variance of the error
            wrong = np.mean(np.sign([x_hat.real, x_hat.imag]) != signs, axis=(0, 2, 3))
            expected = np.mean(np.vectorize(math.erfc)(np.sqrt(0.5 / no_eff[:, :, 0]).astype(float)), axis=1) / 2
            rates[waveform].append(expected.mean())
            if snr == snrs[0]:
                assert abs(np.mean(wrong - expected)) < 5 * np.std(wrong - expected) / links**0.5
    gamma = snrs / 2
    np.testing.assert_allclose(rates["ofdm"], (1 - np.sqrt(gamma / (1 + gamma))) / 2, rtol=0.1)
    slopes = {name: -np.diff(np.log(rate)) / np.diff(np.log(snrs)) for name, rate in rates.items()}
    assert rates["otfs"][0] > 1e-2 and rates["otfs"][-1] < 1e-4
    assert np.all(slopes["otfs"] > 1.5) and slopes["otfs"][1] > 2 and np.all(slopes["ofdm"] < 1.1)


def pairwise(eigenvalues, gamma):
    """Mean of Q(sqrt(2 gamma sum lambda |h|^2 / 4)) over h of CN(0, 1/P): Craig's integral, ``[...]``."""
    angles = (np.arange(400) + 0.5) * np.pi / 800
    factors = 1 + gamma * eigenvalues[..., None] / (4 * np.sin(angles) ** 2)
    return np.mean(1 / np.prod(factors, axis=-2), axis=-1) / 2


@pytest.mark.parametrize(("second", "order"), [((1, 1), 2), ((0, 1), 1)])
def test_maximum_likelihood_of_a_small_frame_has_the_order_of_its_worst_pair(second, order):
    """N = M = 2, two paths, BPSK: between bounds of mean pairwise errors (as Surabhi, Augustine & Chockalingam 2019).

    Paths apart in delay and Doppler tell all words apart twice; with Dopplers alone some words differ by a multiple of
    what the other path makes of it: the order is that of the paths until these outweigh the others, and 1 at last.
    """
    grid = ResourceGrid(fft_size=2, num_ofdm_symbols=3, cyclic_prefix_length=1, pilot_symbols=(0,))
    words, cells = np.array(list(itertools.product([-1.0, 1.0], repeat=4))), np.eye(4).reshape(2, 2, 4)
    each = [moved(grid, cells, np.eye(4)[None], (path,)).reshape(4, 4) for path in ((0, 0), second)]  # cells to cells
    apart = words[:, None] - words
    deltas = np.einsum("pij,xyj->xyip", each, apart)
    eigenvalues = np.linalg.eigvalsh(np.einsum("xyip,xyiq->xypq", deltas.conj(), deltas)) / 2
    eigenvalues = np.where(eigenvalues > 1e-9, eigenvalues, 0)
    assert np.count_nonzero(eigenvalues, axis=-1)[~np.eye(16, dtype=bool)].min() == order

    def bounds(gamma):
        errors, bits = pairwise(eigenvalues, gamma), np.count_nonzero(apart, axis=-1)
        np.fill_diagonal(errors, 0)
        return errors.max(axis=1).mean() / 4, np.sum(errors * bits) / (4 * len(words))

    def slope(low, high):
        return np.log(bounds(low)[1] / bounds(high)[1]) / np.log(high / low)

    frames, gamma = 20_000, 10.0
    h, sent = normal(6, frames, 2) / 2**0.5, np.random.default_rng(7).integers(0, 16, frames)
    matrices = np.einsum("fp,pij->fij", h, each)
    on_air = words * phy.qam_points(1)[0]  # bit 0 is 1 there, and 1 is -1
    y = np.einsum("fij,fj->fi", matrices, on_air[sent]) + gamma**-0.5 * normal(8, frames, 4)
    found = phy.exact_detector(jnp.complex64(y), jnp.complex64(matrices), jnp.float32(1 / gamma), 1)
    wrong = np.mean((np.asarray(found.llr).reshape(frames, 4) > 0) != (words[sent] < 0), axis=1)
    wrong, spread = wrong.mean(), 5 * wrong.std() / frames**0.5
    lower, upper = bounds(gamma)
    assert lower - spread < wrong < upper + spread < 0.1
    assert slope(10.0, 30.0) > 1.3 and abs(slope(1e6, 1e7) - order) < 0.05


ROOMY = ResourceGrid(fft_size=16, num_ofdm_symbols=12, cyclic_prefix_length=3, pilot_symbols=())
PILOT = EmbeddedPilot(max_delay=2, max_doppler=2)


@functools.cache
def embedded_both_ways():
    """Two frames whose paths turn by whole cells, noise of 1e-12: what the pilots give and what is got from knowing."""
    gains, slots = normal(1, len(PATHS), ANT, ANT), 180
    x = normal(2, slots, ANT)
    draws = turning(ROOMY, gains, PATHS, frames=2)

    @jax.jit
    def run(x, draws):
        options = dict(no=1e-12, grid=ROOMY, embedded=PILOT)
        return [phy.sampled_link(x, draws, csi=csi, **options) for csi in ("pilots_ls", "additive")]

    with jax.enable_x64(True):
        return x, jax.tree.map(np.asarray, run(jnp.asarray(x), jax.tree.map(jnp.asarray, draws)))


def test_a_pilot_among_the_cells_tells_whole_delays_and_dopplers_exactly():
    x, ((of_pilot, no_eff), (told, _)) = embedded_both_ways()
    np.testing.assert_allclose(of_pilot, told, atol=1e-8)
    np.testing.assert_allclose(told, x, atol=1e-6)
    assert np.all(no_eff < 1e-9)
    # What is heard is the closed form of the gains, at the place of each path and nowhere else.
    gains, cells = normal(1, len(PATHS), ANT, ANT), PILOT.pilots(ROOMY, ANT)
    data = phy.data_cells(ROOMY, PILOT, ANT)
    guard = PILOT.guard(ROOMY, ANT)
    assert guard.sum() == (4 * 2 + 1) * (2 * 3 + 2) and data.size + guard.sum() == 12 * 16
    cells.reshape(-1, ANT)[data] = normal(3, data.size, ANT).real
    heard = moved(ROOMY, cells, gains, PATHS)
    with jax.enable_x64(True):
        y = jnp.asarray(np.fft.ifft(heard, axis=0, norm="ortho"))
        found, _ = PILOT.hear(y, jnp.asarray(1e-12), ROOMY, ANT)
    want = np.zeros((5, 3, ANT, ANT), complex)
    for h, (delay, turns) in zip(gains, PATHS, strict=True):
        for a in range(ANT):
            late = delay + 3 * a + ROOMY.cyclic_prefix_length - delay
            want[turns + 2, delay, a] += h[:, a] * np.exp(2j * np.pi * turns * late / (12 * 19))
    np.testing.assert_allclose(found, want, atol=1e-10)


def test_the_error_of_the_pilot_is_noise_where_paths_are_and_what_passes_the_threshold():
    gains = np.array([0.6, 0.5j, -0.5, 0.4])[:, None, None] * np.ones((1, ANT, ANT))
    clean = np.fft.ifft(moved(ROOMY, PILOT.pilots(ROOMY, ANT), gains, PATHS), axis=0, norm="ortho")
    noise, power = normal(9, 3000, *clean.shape), PILOT.guard(ROOMY, ANT).sum()
    hear = jax.jit(lambda y, no: PILOT.hear(y, no, ROOMY, ANT))
    exact, _ = hear(jnp.complex64(clean), jnp.float32(1e-9))
    for no in (0.3, 0.03):
        found, variance = hear(jnp.complex64(clean + no**0.5 * noise), jnp.full(3000, no, jnp.float32))
        of_draw = np.sum(np.abs(np.asarray(found) - np.asarray(exact)) ** 2, axis=(1, 2, 3)).mean(axis=-1)
        empty = ANT * (5 * 3 - len(PATHS))
        want = (ANT * len(PATHS) + empty * 10 * np.exp(-9.0)) * no / power  # E[e 1(e > 9)] = 10 exp(-9)
        assert abs(of_draw.mean() - want) < 5 * of_draw.std() / len(of_draw) ** 0.5
        np.testing.assert_allclose(variance.mean(), (ANT * len(PATHS) + empty * np.exp(-9.0)) * no / power, rtol=1e-2)


@pytest.mark.parametrize(
    ("changed", "grid", "message"),
    [
        (dict(max_delay=-1), ROOMY, "EmbeddedPilot.max_delay must be an integer >= 0, got -1"),
        (dict(max_doppler=1.5), ROOMY, "EmbeddedPilot.max_doppler must be an integer >= 0, got 1.5"),
        (dict(threshold=-1.0), ROOMY, "EmbeddedPilot.threshold must be >= 0, got -1.0"),
        (dict(max_delay=7), ROOMY, "of 2 embedded pilots takes 12 Dopplers of 23 delays, which leave no data of 12 x"),
        (dict(), ResourceGrid(pilot_symbols=(3,)), r"symbols of data one after the other, .* pilot_symbols \(3,\)"),
        (dict(), ResourceGrid(pilot_symbols=(), guard_carriers=(1, 0)), "63 of 64 used"),
    ],
)
def test_embedded_pilots_that_do_not_fit(changed, grid, message):
    with pytest.raises(ValueError, match=message):
        EmbeddedPilot(**changed).guard(grid, ANT)
