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

CSI. The receiver is told H(t, f) of every symbol of data with an error of variance ``csi_error_var``, which stays the
same during a symbol and has the delay profile of the channel; pilots take their place in the grid all the same.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from lvm_mtc.phy.block_lmmse import block_lmmse
from lvm_mtc.phy.csi import csi_posterior, estimate_csi
from lvm_mtc.phy.keys import Stream, stream_key
from lvm_mtc.phy.mimo import EQUALIZERS, LMMSE_VARIANTS, unbias
from lvm_mtc.phy.numerics import (
    align,
    real_dtype,
    require_at_least,
    require_complex,
    require_count,
    standard_deviation,
    weighted_sum,
)
from lvm_mtc.phy.ofdm import PathSampler
from lvm_mtc.phy.ofdm_estimate import GridStatistics
from lvm_mtc.phy.paths import Paths, bessel_j0, frequency_response
from lvm_mtc.phy.resource_grid import ResourceGrid

WAVEFORMS = ("ofdm", "otfs")
RECEIVERS = ("block", "one_tap")
SAMPLED_EQUALIZERS = {"block": LMMSE_VARIANTS, "one_tap": tuple(name for name in EQUALIZERS if name != "none")}
"""Names of ``EQUALIZERS`` that a receiver knows."""
TOLD = ("additive", "mmse")
"""CSI models of this link."""


def isfft(x: jax.Array) -> jax.Array:
    """Delay-Doppler to time-frequency, ``X_tf = F_M X_dd F_N^H``, unitary; subcarriers ascend, as in ``ofdm_modulate``.

    Args:
        x: ``[..., N Dopplers, M delays, num_streams]`` complex.

    Returns:
        ``[..., N symbols, M subcarriers, num_streams]``.
    """
    return jnp.fft.fftshift(jnp.fft.fft(jnp.fft.ifft(x, axis=-3, norm="ortho"), axis=-2, norm="ortho"), axes=-2)


def sfft(x: jax.Array) -> jax.Array:
    """Inverse of :func:`isfft`."""
    return jnp.fft.fft(jnp.fft.ifft(jnp.fft.ifftshift(x, axes=-2), axis=-2, norm="ortho"), axis=-3, norm="ortho")


def interference_power(max_doppler: ArrayLike, grid: ResourceGrid) -> jax.Array:
    """Power, of 1, that Doppler moves from a subcarrier to the others: ``1 - E|mean over a symbol of h(t)|^2``.

    For the classical spectrum, all M subcarriers in use; near 0 it is ``(pi max_doppler M T_s)^2 / 6`` (Li & Cimini
    2001). ``max_doppler`` is in Hz, of any shape; the result has that shape.
    """
    m = grid.fft_size
    lags = np.arange(m)
    weights = np.where(lags == 0, m, 2.0 * (m - lags)) / m**2
    angular = 2 * jnp.pi * jnp.asarray(max_doppler, jnp.result_type(float)) * grid.sample_duration
    gone = 1 - bessel_j0(angular[..., None] * jnp.asarray(lags, angular.dtype).reshape((1,) * angular.ndim + (m,)))
    return jnp.sum(gone * jnp.asarray(weights, angular.dtype).reshape((1,) * angular.ndim + (m,)), axis=-1)


class SampledDraws(NamedTuple):
    """Everything random in such a link, at unit variance, in all symbols of its grids.

    Attributes:
        gains: Of the paths, ``[..., num_paths, num_symbols, fft_size, num_rx_ant, num_tx_ant]`` complex, at every
            sample behind the prefix.
        delays: Seconds, ``[..., num_paths]``.
        csi: Behind the estimation error, entries CN(0, 1),
            ``[..., num_symbols, num_carriers, num_rx_ant, num_tx_ant]``.
        noise: CN(0, 1), ``[..., num_symbols, fft_size, num_rx_ant]``.
    """

    gains: jax.Array
    delays: jax.Array
    csi: jax.Array
    noise: jax.Array


def draw_sampled(
    key: jax.Array,
    batch_shape: tuple[int, ...],
    num_slots: int,
    *,
    grid: ResourceGrid,
    paths: PathSampler,
    statistics: GridStatistics,
    num_rx_ant: int,
    num_tx_ant: int,
    dtype: DTypeLike = jnp.complex64,
) -> SampledDraws:
    """Draw everything random in a sampled link once, for any number of operating points.

    Args:
        key: Typed key, scalar.
        batch_shape: Leading axes.
        num_slots: Slots of data on the time axis, which whole grids carry.
        grid: The resource grid.
        paths: Sampler of ``phy.paths`` with its numbers bound; it is asked for every sample, prefixes included.
        statistics: Delay profile of the estimation error.
        num_rx_ant: Receive antennas.
        num_tx_ant: Streams of a slot.
        dtype: Complex dtype.

    Raises:
        ValueError: on counts that do not fit.
    """
    require_count("num_rx_ant", num_rx_ant)
    require_count("num_tx_ant", num_tx_ant)
    lead, num_symbols = tuple(batch_shape), grid.num_grids(num_slots) * grid.num_ofdm_symbols
    per_symbol = grid.fft_size + grid.cyclic_prefix_length
    gains, delays = paths(
        stream_key(key, Stream.FADING),
        lead,
        times=np.arange(num_symbols * per_symbol) * grid.sample_duration,
        num_rx_ant=num_rx_ant,
        num_tx_ant=num_tx_ant,
        dtype=dtype,
    )
    gains = gains.reshape(*gains.shape[:-3], num_symbols, per_symbol, num_rx_ant, num_tx_ant)
    profile = jnp.asarray(statistics.powers, jnp.finfo(dtype).dtype)
    profile = profile.reshape((1,) * (len(lead) + 1 - profile.ndim) + (*profile.shape, 1, 1, 1))
    shape = (*lead, profile.shape[-4], num_symbols, num_rx_ant, num_tx_ant)
    error = weighted_sum((jnp.sqrt(profile), jax.random.normal(stream_key(key, Stream.CSI), shape, dtype)))
    places = jnp.broadcast_to(jnp.asarray(statistics.delays, profile.dtype), shape[:-3])
    return SampledDraws(
        gains=gains[..., grid.cyclic_prefix_length :, :, :],
        delays=delays,
        csi=frequency_response(Paths(error, places), grid.frequencies),
        noise=jax.random.normal(stream_key(key, Stream.NOISE), (*lead, num_symbols, grid.fft_size, num_rx_ant), dtype),
    )


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
    """Biased estimates of a symbol's subcarriers or delays from its samples ``[..., m, rx]``, and their errors."""
    if on_delays:
        h_hat = jnp.fft.fft(jnp.fft.ifftshift(h_hat, axes=-3), axis=-3, norm="ortho")
    *lead, m, c, rx, tx = h_hat.shape
    matrix = jnp.moveaxis(h_hat, -2, -3).reshape(*lead, m * rx, c * tx)
    return tuple(a.reshape(*lead, c, tx) for a in block_lmmse(y.reshape(*lead, m * rx), matrix, level))


def _one_tap(y, h_hat, tones, level, error_var, equalizer) -> tuple[jax.Array, jax.Array]:
    """Each subcarrier by itself, with the mean of its channel over the symbol."""
    y = jnp.einsum("...mc,...mi->...ci", jnp.conj(tones[..., 0, 0]), y, precision="highest")
    return EQUALIZERS[equalizer](y, jnp.mean(h_hat, axis=-4), _lifted(level, 1), _lifted(error_var, 1))


class _Symbol(NamedTuple):
    """What one symbol of data meets, as in the draws, and what it carries on its subcarriers."""

    gains: jax.Array
    csi: jax.Array
    noise: jax.Array
    x: jax.Array


def _of_data(draws: SampledDraws, grid: ResourceGrid, num_grids: int, x: jax.Array) -> _Symbol:
    """The symbols of data first of all axes, ``x`` as ``[..., num_symbols, num_carriers, num_streams]``."""
    chosen = (np.arange(num_grids)[:, None] * grid.num_ofdm_symbols + grid.data_symbols).reshape(-1)
    drawn = ((draws.gains, -4), (draws.csi, -4), (draws.noise, -3))
    return _Symbol(*(jnp.moveaxis(jnp.take(a, chosen, axis), axis, 0) for a, axis in drawn), jnp.moveaxis(x, -3, 0))


def _require(waveform: str, receiver: str, csi: str, equalizer: str) -> None:
    for name, value, names in (
        ("waveform", waveform, WAVEFORMS),
        ("receiver", receiver, RECEIVERS),
        ("csi", csi, TOLD),
        ("equalizer", equalizer, SAMPLED_EQUALIZERS.get(receiver, ())),
    ):
        if value not in names:
            raise ValueError(f"unknown {name} {value!r}; known: {', '.join(names)}")
    if waveform == "otfs" and receiver == "one_tap":
        raise ValueError("receiver 'one_tap' is for waveform 'ofdm', got 'otfs'")


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
    max_doppler: ArrayLike = 0.0,
) -> tuple[jax.Array, jax.Array]:
    """Send whole grids over a sampled channel and equalise them.

    A receiver takes every cell for one of power 1: cells that are empty make its ``no_eff`` too large. ``robust`` knows
    the variance of the CSI error, and with ``one_tap`` the mean power of the interference (:func:`interference_power`);
    ``paper`` and ``unbiased`` know neither.

    Args:
        x: What is on air, ``[..., num_slots, num_streams]`` complex, power 1: cell ``(k, l)`` of grid b is slot ``(b N
            + k) num_carriers + l``, for symbol of data (OTFS: Doppler) k and subcarrier (OTFS: delay) l. Slots that are
            left of the last grid are empty. Its leading axes broadcast against those of the draws.
        draws: See :func:`draw_sampled`.
        no: Noise variance per complex dimension and sample, linear, > 0; scalar or broadcasting against the leading
            axes of the draws; traced.
        csi_error_var: Variance of the CSI error, linear, >= 0; likewise.
        grid: The resource grid, static.
        waveform: ``"otfs"`` or ``"ofdm"``.
        receiver: ``"block"``: L-MMSE of a whole symbol; ``"one_tap"``, with ``"ofdm"``: each subcarrier by itself, with
            the mean of its channel over the symbol.
        csi: ``"additive"`` or ``"mmse"``.
        equalizer: ``"paper"``, ``"unbiased"`` or ``"robust"``; with ``"one_tap"`` also ``"zf"`` or ``"mf"``.
        max_doppler: Largest Doppler shift, Hz, for ``robust`` with ``one_tap``; like ``no``.

    Returns:
        ``x_hat`` and ``no_eff``, ``[..., num_slots, num_streams]``, as in ``phy.LinkOutput``.

    Raises:
        ValueError: on unknown names, or shapes that do not fit.
    """
    require_complex("x", x)
    _require(waveform, receiver, csi, equalizer)
    require_at_least("no", no, 0.0, strict=True)
    require_at_least("csi_error_var", csi_error_var, 0.0)
    lead, num_streams, real = draws.noise.shape[:-3], x.shape[-1], real_dtype(x)
    num_slots, num_grids = x.shape[-2], grid.num_grids(x.shape[-2])
    if num_streams != draws.gains.shape[-1] or x.ndim != len(lead) + 2:
        raise ValueError(f"x {x.shape} must be [..., num_slots, num_streams] for gains {draws.gains.shape}")
    if num_grids * grid.num_ofdm_symbols > draws.noise.shape[-3]:
        raise ValueError(f"{num_slots} slots need {num_grids} grids, the draws have {draws.noise.shape[-3]} symbols")
    empty = num_grids * grid.slots_per_grid - num_slots
    cells = jnp.pad(x, [(0, 0)] * len(lead) + [(0, empty), (0, 0)])
    cells = cells.reshape(*x.shape[:-2], num_grids, -1, grid.num_carriers, num_streams)
    on_air = isfft(cells) if waveform == "otfs" else cells
    on_air = on_air.reshape(*x.shape[:-2], -1, grid.num_carriers, num_streams)
    level = align("no", no, lead, 0, real)
    s = align("csi_error_var", csi_error_var, lead, 2, real)
    interference = jnp.zeros((), real)
    if receiver == "one_tap" and equalizer == "robust":
        interference = align("max_doppler", interference_power(max_doppler, grid), lead, 0, real)

    def through(symbol: _Symbol) -> tuple[jax.Array, jax.Array]:
        h = frequency_response(Paths(symbol.gains, draws.delays), grid.frequencies)
        tones = _tones(grid, h)
        clean = jnp.einsum("...mcij,...cj->...mi", h * tones, symbol.x, precision="highest")
        y = weighted_sum((1, clean), (standard_deviation(_lifted(level, 2)), symbol.noise))
        h_hat, error_var = _told(h, symbol.csi, s, csi, robust=equalizer == "robust")
        if receiver == "one_tap":
            return _one_tap(y, h_hat, tones, level, error_var + interference, equalizer)
        level_of_block = level + error_var * (num_streams * grid.num_carriers / grid.fft_size)
        return _block(y, h_hat * tones, level_of_block, on_delays=waveform == "otfs")

    symbols = _of_data(draws, grid, num_grids, on_air)
    x_hat, no_eff = (jnp.moveaxis(a, 0, -3) for a in jax.lax.map(jax.checkpoint(through), symbols))
    if waveform == "otfs":
        x_hat, no_eff = (a.reshape(*lead, num_grids, -1, *a.shape[-2:]) for a in (x_hat, no_eff))
        x_hat = jnp.fft.fft(x_hat, axis=-3, norm="ortho")
        no_eff = jnp.broadcast_to(jnp.mean(no_eff, axis=-3, keepdims=True), no_eff.shape)
    if receiver == "block" and equalizer != "paper":
        x_hat, no_eff = unbias(x_hat, no_eff, 1 - no_eff)
    return tuple(a.reshape(*lead, -1, num_streams)[..., :num_slots, :] for a in (x_hat, no_eff))
