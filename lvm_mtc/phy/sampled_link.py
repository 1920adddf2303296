"""OFDM and OTFS over a channel that is sampled in time: doubly selective, with Doppler inside a symbol.

Every symbol has a prefix that covers all delays (OFDM-based OTFS: Farhang et al. 2018). With H(t, f) the channel's
time-varying transfer function, of all paths and whatever their delays, the samples of a symbol behind its prefix are

    y[m] = 1 / sqrt(M) sum_c H(t_m, f_c) exp(j 2 pi f_c m T_s) x[c] + n[m],    n ~ CN(0, no),

for M = ``fft_size`` samples: exact, interference between subcarriers included. For delays of whole samples this is
``y[m] = sum_l h[m, l] s[(m - l) mod M] + n[m]``, a block of the channel for each symbol.

``"ofdm"`` puts its symbols on the subcarriers x; ``"otfs"`` spreads those of all data symbols of a grid with
:func:`isfft`, a unitary transform: delays are the used subcarriers, Dopplers the N symbols of data. So the L-MMSE
estimate in the delay-Doppler domain is that of each symbol by itself, transformed (:func:`block_lmmse`), and the mean
biased error of the two waveforms is the same. All cells of a delay and stream have one error variance in OTFS.

CSI. Under ``additive`` and ``mmse`` the receiver is told H(t, f) of every symbol of data with an error of variance
``csi_error_var``, which stays the same during a symbol and has the delay profile of the channel; pilots take their
place in the grid all the same. ``pilots_lmmse`` estimates every tap from impulses in the pilot symbols
(``impulse_pilots``), ``pilots_ls`` from a pilot among the cells of OTFS (``embedded_pilot``), which all receivers take
out of what they hear, as they know the channel.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lvm_mtc.phy.block_lmmse import block_lmmse
from lvm_mtc.phy.csi import csi_posterior, estimate_csi
from lvm_mtc.phy.delay_doppler import interference_power, isfft
from lvm_mtc.phy.embedded_pilot import EmbeddedPilot
from lvm_mtc.phy.impulse_pilots import estimate_taps, impulse_spectrum, tap_filter
from lvm_mtc.phy.mimo import EQUALIZERS, LMMSE_VARIANTS, unbias
from lvm_mtc.phy.numerics import (
    align,
    ceil_div,
    real_dtype,
    require_at_least,
    require_complex,
    standard_deviation,
    weighted_sum,
)
from lvm_mtc.phy.ofdm_estimate import GridStatistics
from lvm_mtc.phy.paths import Paths, frequency_response
from lvm_mtc.phy.resource_grid import ResourceGrid
from lvm_mtc.phy.sampled_draws import SampledDraws, data_cells

WAVEFORMS = ("ofdm", "otfs")
RECEIVERS = ("block", "one_tap")
SAMPLED_EQUALIZERS = {"block": LMMSE_VARIANTS, "one_tap": tuple(name for name in EQUALIZERS if name != "none")}
"""Names of ``EQUALIZERS`` that a receiver knows."""
SAMPLED_CSI = ("additive", "mmse", "pilots_ls", "pilots_lmmse")
"""CSI models of this link; ``pilots_ls`` with an embedded pilot, ``pilots_lmmse`` with receiver ``"block"``."""


def _tones(grid: ResourceGrid, h: jax.Array) -> jax.Array:
    """What a subcarrier puts on the samples of a symbol, ``[fft_size, num_carriers, 1, 1]`` behind axes for links."""
    cycles = np.outer(np.arange(grid.fft_size), grid.carriers - grid.fft_size // 2) / grid.fft_size
    tones = jnp.asarray(np.exp(2j * np.pi * cycles) / np.sqrt(grid.fft_size), h.dtype)
    return tones.reshape((1,) * (h.ndim - 4) + (*cycles.shape, 1, 1))


def _lifted(number: jax.Array, axes: int) -> jax.Array:
    """A number, or one of each link, with more axes behind."""
    return number if number.ndim == 0 else number.reshape(*number.shape, *(1,) * axes)


def _told(h: jax.Array, draw: jax.Array, s: jax.Array, csi: str, *, robust: bool) -> tuple[jax.Array, jax.Array]:
    """What is used of the estimate of ``h``, ``[..., fft_size, num_carriers, rx, tx]``, and its variance, ``[...]``.

    ``robust`` has the posterior mean and variance, the others the estimate, which they trust: a variance of 0.
    """
    h_hat = estimate_csi(h, jnp.broadcast_to(draw[..., None, :, :, :], h.shape), s, model=csi)
    if not robust:
        return h_hat, jnp.zeros((), s.dtype)
    h_hat, error_var = csi_posterior(h_hat, s) if csi == "additive" else (h_hat, s)
    return h_hat, error_var if error_var.ndim == 0 else error_var[..., 0, 0]


def _block(y: jax.Array, h_hat: jax.Array, level: jax.Array, *, on_delays: bool) -> tuple[jax.Array, jax.Array]:
    """Biased estimates of a symbol's subcarriers or delays from its samples ``[..., m, rx]``, and their errors.

    ``level`` is the variance of what is added to each sample, ``[..., m]``, or to all of them.
    """
    *lead, m, c, rx, tx = h_hat.shape
    if level.ndim > len(lead):
        white = 1 / jnp.sqrt(level)
        y, h_hat = weighted_sum((_lifted(white, 1), y)), weighted_sum((_lifted(white, 3), h_hat))
        level = jnp.ones((), level.dtype)
    if on_delays:
        h_hat = jnp.fft.fft(jnp.fft.ifftshift(h_hat, axes=-3), axis=-3, norm="ortho")
    matrix = jnp.moveaxis(h_hat, -2, -3).reshape(*lead, m * rx, c * tx)
    x_hat, error = block_lmmse(y.reshape(*lead, m * rx), matrix, level)
    return x_hat.reshape(*lead, c, tx), error.reshape(*lead, c, tx)


def _one_tap(y, h_hat, tones, level, error_var, equalizer) -> tuple[jax.Array, jax.Array]:
    """Each subcarrier by itself, with the mean of its channel over the symbol."""
    y = jnp.einsum("...mc,...mi->...ci", jnp.conj(tones[..., 0, 0]), y, precision="highest")
    return EQUALIZERS[equalizer](y, jnp.mean(h_hat, axis=-4), _lifted(level, 1), _lifted(error_var, 1))


class _Symbol(NamedTuple):
    """What a symbol meets, as in the draws, and what it carries on its subcarriers.

    ``known`` is what of that the receiver knows, ``[num_carriers, tx]``; ``pilots`` what they say of the symbol.
    """

    gains: jax.Array
    csi: jax.Array
    noise: jax.Array
    x: jax.Array
    known: jax.Array | None = None
    pilots: Any = None


def _symbols(draws: SampledDraws, places: np.ndarray, x: jax.Array) -> _Symbol:
    """Symbols of all grids at these places, first of axes; they carry ``x [..., num_symbols, num_carriers, tx]``."""

    def first(array: jax.Array, axis: int) -> jax.Array:
        return jnp.moveaxis(jnp.take(array, places, axis), axis, 0)

    return _Symbol(first(draws.gains, -4), first(draws.csi, -4), first(draws.noise, -3), jnp.moveaxis(x, -3, 0))


def _hear(symbol: _Symbol, delays: jax.Array, level: jax.Array, grid: ResourceGrid) -> tuple[jax.Array, jax.Array]:
    """The transfer function of a symbol, and its samples."""
    h = frequency_response(Paths(symbol.gains, delays), grid.frequencies)
    clean = jnp.einsum("...mcij,...cj->...mi", h * _tones(grid, h), symbol.x, precision="highest")
    return h, weighted_sum((1, clean), (standard_deviation(_lifted(level, 2)), symbol.noise))


Estimator = Callable[[Any], tuple[jax.Array, jax.Array]]
"""Of ``_Symbol.pilots``: taps at delays of 0, 1, ... samples, ``[..., num_taps, fft_size, rx, tx]``, and the variance
of the errors of all of them together, ``[..., fft_size]``."""


def _from_impulses(draws, grid, num_grids, level, statistics) -> tuple[Estimator, Any]:
    """From pilot symbols; each symbol of data has the observations of its grid and its correlation with the pilots."""
    *lead, num_tx_ant = draws.noise.shape[:-3] + draws.gains.shape[-1:]
    powers = jnp.asarray(statistics.powers, level.dtype)
    doppler = align("max_doppler", statistics.max_doppler, tuple(lead), 0, level.dtype)
    doppler, noise = (jnp.broadcast_to(a, lead) for a in (doppler, level))
    taps = tap_filter(grid, powers, doppler, noise, num_tx_ant)
    places = (np.arange(num_grids)[:, None] * grid.num_ofdm_symbols + grid.pilot_symbols).reshape(-1)
    x = jnp.asarray(impulse_spectrum(grid, num_tx_ant), draws.gains.dtype).reshape(
        (1,) * (len(lead) + 1) + (-1, num_tx_ant)
    )
    pilots = _symbols(draws, places, jnp.broadcast_to(x, (*(1,) * len(lead), places.size, *x.shape[-2:])))
    y = jax.lax.map(lambda symbol: _hear(symbol, draws.delays, level, grid)[1], pilots)
    observed = weighted_sum((grid.fft_size**-0.5, y[..., taps.rows, :]))
    observed = jnp.moveaxis(observed.reshape(num_grids, -1, *observed.shape[1:]), 1, 1 + len(lead))
    num_data = len(grid.data_symbols)
    return lambda said: estimate_taps(said[0], said[1], taps), (
        jnp.repeat(observed, num_data, axis=0),
        jnp.tile(taps.correlation, (num_grids, *(1,) * (len(lead) + 2))),
    )


def _from_embedded(draws, symbols, grid, num_grids, level, embedded) -> tuple[Estimator, Any]:
    """From a pilot among the data; each symbol has the paths of its frame and how far their Dopplers have turned."""
    lead, num_tx_ant = draws.noise.shape[:-3], draws.gains.shape[-1]
    y = jax.lax.map(lambda symbol: _hear(symbol, draws.delays, level, grid)[1], symbols)
    frames = jnp.moveaxis(y.reshape(num_grids, -1, *y.shape[1:]), 1, -3)
    gains, variance = embedded.hear(frames, jnp.broadcast_to(level, (num_grids, *lead)), grid, num_tx_ant)
    turns = jnp.asarray(embedded.turns(grid), y.dtype)
    variance = jnp.broadcast_to(variance[..., None], (*variance.shape, grid.fft_size))
    gains, variance = (jnp.repeat(a, len(turns), axis=0) for a in (gains, variance))
    return lambda said: (embedded.taps(said[0], said[2], grid), said[1]), (
        gains, variance, jnp.tile(turns, (num_grids, 1))
    )  # fmt: skip


def _require(waveform: str, receiver: str, csi: str, equalizer: str, embedded: EmbeddedPilot | None) -> None:
    for name, value, names in (
        ("waveform", waveform, WAVEFORMS),
        ("receiver", receiver, RECEIVERS),
        ("csi", csi, SAMPLED_CSI),
        ("equalizer", equalizer, SAMPLED_EQUALIZERS.get(receiver, ())),
    ):
        if value not in names:
            raise ValueError(f"unknown {name} {value!r}; known: {', '.join(names)}")
    if waveform == "otfs" and receiver == "one_tap":
        raise ValueError("receiver 'one_tap' is for waveform 'ofdm', got 'otfs'")
    if csi == "pilots_lmmse" and receiver == "one_tap":
        raise ValueError("csi 'pilots_lmmse' is for receiver 'block', got 'one_tap'")
    if embedded is not None and waveform != "otfs":
        raise ValueError(f"an embedded pilot is for waveform 'otfs', got {waveform!r}")
    if (csi == "pilots_ls" and embedded is None) or (csi == "pilots_lmmse" and embedded is not None):
        needs = "needs an embedded pilot" if embedded is None else "has pilot symbols, not an embedded pilot"
        raise ValueError(f"csi {csi!r} {needs}")


def _on_carriers(x, data, num_grids, grid, waveform, embedded) -> tuple[jax.Array, jax.Array | None]:
    """What the symbols of data carry on their subcarriers, and what of it are pilots, symbols first, if any."""
    lead, num_streams = x.shape[:-2], x.shape[-1]
    cells = jnp.pad(x, [(0, 0)] * len(lead) + [(0, num_grids * len(data) - x.shape[-2]), (0, 0)])
    cells = cells.reshape(*lead, num_grids, len(data), num_streams)
    shape, known = (len(grid.data_symbols), grid.num_carriers, num_streams), None
    if embedded is not None:
        empty = jnp.zeros((*lead, num_grids, grid.slots_per_grid, num_streams), x.dtype)
        cells = empty.at[..., data, :].set(cells)
        pilots = jnp.asarray(embedded.pilots(grid, num_streams), x.dtype)
        cells = cells + pilots.reshape((1,) * (len(lead) + 1) + (-1, num_streams))
        known = jnp.tile(isfft(pilots), (num_grids, 1, 1))
    cells = cells.reshape(*lead, num_grids, *shape)
    on_air = isfft(cells) if waveform == "otfs" else cells
    return on_air.reshape(*lead, -1, *shape[1:]), known


def sampled_link(
    x: jax.Array,
    draws: SampledDraws,
    *,
    no: ArrayLike,
    csi_error_var: ArrayLike = 0.0,
    grid: ResourceGrid,
    waveform: str = "otfs",
    receiver: str = "block",
    csi: str = "additive",
    equalizer: str = "robust",
    statistics: GridStatistics | None = None,
    embedded: EmbeddedPilot | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Send whole grids over a sampled channel and equalise them.

    A receiver takes every cell for one of power 1: cells that are empty make its ``no_eff`` too large. ``robust`` knows
    the variance of the CSI error, and with ``one_tap`` the mean power of the interference (:func:`interference_power`);
    ``paper`` and ``unbiased`` know neither.

    Args:
        x: What is on air, ``[..., num_slots, num_streams]`` complex, power 1: cell ``(k, l)`` of grid b is slot ``(b N
            + k) num_carriers + l``, for symbol of data (OTFS: Doppler) k and subcarrier (OTFS: delay) l; with an
            embedded pilot those of its guard are left out. Slots that are left of the last grid are empty. Its leading
            axes broadcast against those of the draws.
        draws: See :func:`~lvm_mtc.phy.draw_sampled`.
        no: Noise variance per complex dimension and sample, linear, > 0; scalar or broadcasting against the leading
            axes of the draws; traced.
        csi_error_var: Variance of the CSI error, linear, >= 0; likewise.
        grid: The resource grid, static.
        waveform: ``"otfs"`` or ``"ofdm"``.
        receiver: ``"block"``: L-MMSE of a whole symbol; ``"one_tap"``, with ``"ofdm"``: each subcarrier by itself, with
            the mean of its channel over the symbol.
        csi: ``"additive"``, ``"mmse"``, with ``embedded`` ``"pilots_ls"`` or, with ``"block"`` and without,
            ``"pilots_lmmse"``.
        equalizer: ``"paper"``, ``"unbiased"`` or ``"robust"``; with ``"one_tap"`` also ``"zf"`` or ``"mf"``.
        statistics: What the receiver knows of the channel: with pilots powers of delays of 0, 1, ... samples, and the
            largest Doppler shift, as with ``one_tap``. None: one tap that stands still.
        embedded: The pilot among the cells of each grid, static; with ``"otfs"``.

    Returns:
        ``x_hat`` and ``no_eff``, ``[..., num_slots, num_streams]``, as in ``phy.LinkOutput``.

    Raises:
        ValueError: on unknown names, or shapes that do not fit.
    """
    require_complex("x", x)
    _require(waveform, receiver, csi, equalizer, embedded)
    statistics = GridStatistics((0.0,), (1.0,)) if statistics is None else statistics
    require_at_least("no", no, 0.0, strict=True)
    require_at_least("csi_error_var", csi_error_var, 0.0)
    lead, num_streams, real = draws.noise.shape[:-3], x.shape[-1], real_dtype(x)
    if num_streams != draws.gains.shape[-1] or x.ndim != len(lead) + 2:
        raise ValueError(f"x {x.shape} must be [..., num_slots, num_streams] for gains {draws.gains.shape}")
    data = data_cells(grid, embedded, num_streams)
    num_slots, num_grids = x.shape[-2], ceil_div(x.shape[-2], len(data))
    if num_grids * grid.num_ofdm_symbols > draws.noise.shape[-3]:
        raise ValueError(f"{num_slots} slots need {num_grids} grids, the draws have {draws.noise.shape[-3]} symbols")
    level = align("no", no, lead, 0, real)
    s = align("csi_error_var", csi_error_var, lead, 2, real)
    places = (np.arange(num_grids)[:, None] * grid.num_ofdm_symbols + grid.data_symbols).reshape(-1)
    on_air, known = _on_carriers(x, data, num_grids, grid, waveform, embedded)
    symbols = _symbols(draws, places, on_air)._replace(known=known)
    interference, estimate = jnp.zeros((), real), None
    if receiver == "one_tap" and equalizer == "robust":
        interference = align("max_doppler", interference_power(statistics.max_doppler, grid), lead, 0, real)
    if csi == "pilots_lmmse":
        estimate, said = _from_impulses(draws, grid, num_grids, level, statistics)
        symbols = symbols._replace(pilots=said)
    elif csi == "pilots_ls":
        estimate, said = _from_embedded(draws, symbols, grid, num_grids, level, embedded)
        symbols = symbols._replace(pilots=said)

    def through(symbol: _Symbol) -> tuple[jax.Array, jax.Array]:
        h, y = _hear(symbol, draws.delays, level, grid)
        tones = _tones(grid, h)
        if estimate is not None:
            used, error_var = estimate(symbol.pilots)
            delays = jnp.broadcast_to(np.arange(used.shape[-4]) * grid.sample_duration, (*lead, used.shape[-4]))
            h_hat = frequency_response(Paths(used, delays), grid.frequencies)
            believed = _lifted(level, 1) + error_var if equalizer == "robust" else level
        else:
            h_hat, error_var = _told(h, symbol.csi, s, csi, robust=equalizer == "robust")
            believed = level + error_var * (num_streams * grid.num_carriers / grid.fft_size)
        if receiver == "one_tap":
            return _one_tap(y, h_hat, tones, level, error_var + interference, equalizer)
        matrix = h_hat * tones
        if symbol.known is not None:
            y = y - jnp.einsum("...mcij,cj->...mi", matrix, symbol.known, precision="highest")
        return _block(y, matrix, believed, on_delays=waveform == "otfs")

    x_hat, no_eff = (jnp.moveaxis(a, 0, -3) for a in jax.lax.map(jax.checkpoint(through), symbols))
    if waveform == "otfs":
        x_hat, no_eff = (a.reshape(*lead, num_grids, -1, *a.shape[-2:]) for a in (x_hat, no_eff))
        x_hat = jnp.fft.fft(x_hat, axis=-3, norm="ortho")
        no_eff = jnp.broadcast_to(jnp.mean(no_eff, axis=-3, keepdims=True), no_eff.shape)
    if receiver == "block" and equalizer != "paper":
        x_hat, no_eff = unbias(x_hat, no_eff, 1 - no_eff)
    x_hat, no_eff = (a.reshape(*lead, num_grids, -1, num_streams)[..., data, :] for a in (x_hat, no_eff))
    x_hat, no_eff = (a.reshape(*lead, -1, num_streams)[..., :num_slots, :] for a in (x_hat, no_eff))
    return x_hat, no_eff
