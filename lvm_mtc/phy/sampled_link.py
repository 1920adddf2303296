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

from lvm_mtc.phy.csi import csi_posterior, estimate_csi
from lvm_mtc.phy.keys import Stream, stream_key
from lvm_mtc.phy.mimo import EQUALIZERS, LMMSE_VARIANTS, unbias
from lvm_mtc.phy.numerics import (
    abs2,
    align,
    ceil_div,
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


def _lower_inverse(factor: jax.Array) -> jax.Array:
    """Inverse of lower triangles ``[..., n, n]``: of small ones on the diagonal, then of twice the size by products."""
    size, halvings = factor.shape[-1], 0
    while ceil_div(size, 2**halvings) > 16:
        halvings += 1
    count, small = 2**halvings, ceil_div(size, 2**halvings)
    lead, missing = factor.shape[:-2], count * small - size
    factor = jnp.pad(factor, [(0, 0)] * len(lead) + [(0, missing)] * 2)
    ends = np.diag(np.arange(count * small) >= size).reshape((1,) * len(lead) + factor.shape[-2:])
    factor = factor + ends.astype(factor.dtype)

    def blocks(row: int, column: int, parts: int) -> jax.Array:
        """Of the ``count`` blocks on the diagonal, in ``parts`` each way, one part."""
        split = factor.reshape(*lead, count, parts, -1, count, parts, small)[..., row, :, :, column, :]
        return jnp.moveaxis(jnp.diagonal(split, axis1=-4, axis2=-2), -1, -3)

    diagonal = blocks(0, 0, 1)
    eye = jnp.broadcast_to(jnp.eye(small, dtype=factor.dtype), diagonal.shape)
    inverse = jax.lax.linalg.triangular_solve(diagonal, eye, left_side=True, lower=True)
    while count > 1:
        count //= 2
        first, second = inverse[..., ::2, :, :], inverse[..., 1::2, :, :]
        below = jnp.matmul(second, jnp.matmul(blocks(1, 0, 2), first, precision="highest"), precision="highest")
        rows = jnp.concatenate([first, jnp.zeros_like(first)], -1), jnp.concatenate([-below, second], -1)
        inverse, small = jnp.concatenate(rows, axis=-2), 2 * small
    return inverse[..., 0, :size, :size]


def block_lmmse(y: jax.Array, h: jax.Array, no: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """Biased L-MMSE estimate ``(H^H H + no I)^-1 H^H y`` by Cholesky, for E[x x^H] = I and any number of streams.

    Args:
        y: ``[..., observations]`` complex.
        h: ``[..., observations, unknowns]`` complex.
        no: Noise variance per complex dimension, linear, > 0; scalar or broadcasting against ``[...]``.

    Returns:
        x_hat: ``[..., unknowns]``.
        mse: Its mean squared error, bias included, ``no [(H^H H + no I)^-1]_ii``, shape of ``x_hat``; the gain of an
            estimate is ``1 - mse``.
    """
    no = align("no", no, h.shape[:-2], 1, real_dtype(h))
    hermitian = jnp.conj(jnp.swapaxes(h, -2, -1))
    eye = jnp.eye(h.shape[-1], dtype=h.dtype).reshape((1,) * (h.ndim - 2) + (h.shape[-1],) * 2)
    gram = jnp.matmul(hermitian, h, precision="highest") + weighted_sum((no if no.ndim == 0 else no[..., None], eye))
    factor = jnp.linalg.cholesky(gram)
    inverse = _lower_inverse(factor)
    matched = jnp.einsum("...ij,...j->...i", hermitian, y, precision="highest")
    half = jnp.einsum("...ij,...j->...i", inverse, matched, precision="highest")
    x_hat = jnp.einsum("...ji,...j->...i", jnp.conj(inverse), half, precision="highest")
    return x_hat, no * jnp.sum(abs2(inverse), axis=-2)


def _tones(grid: ResourceGrid, dtype: jnp.dtype) -> jax.Array:
    """What a subcarrier puts on the samples of a symbol, ``[fft_size, num_carriers, 1, 1]``."""
    cycles = np.outer(np.arange(grid.fft_size), grid.carriers - grid.fft_size // 2) / grid.fft_size
    return jnp.asarray(np.exp(2j * np.pi * cycles) / np.sqrt(grid.fft_size), dtype)[..., None, None]


class _Heard(NamedTuple):
    """What one symbol of data meets, as in the draws, and what it carries on its subcarriers."""

    gains: jax.Array
    csi: jax.Array
    noise: jax.Array
    x: jax.Array


def _of_data(draws: SampledDraws, grid: ResourceGrid, num_grids: int, x: jax.Array) -> _Heard:
    """The symbols of data first of all axes, ``x`` as ``[..., num_symbols, num_carriers, num_streams]``."""
    chosen = (np.arange(num_grids)[:, None] * grid.num_ofdm_symbols + grid.data_symbols).reshape(-1)
    drawn = ((draws.gains, -4), (draws.csi, -4), (draws.noise, -3))
    return _Heard(*(jnp.moveaxis(jnp.take(a, chosen, axis), axis, 0) for a, axis in drawn), jnp.moveaxis(x, -3, 0))


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
    tones, robust = _tones(grid, x.dtype), equalizer == "robust"
    tones = tones.reshape((1,) * len(lead) + tones.shape)
    level = align("no", no, lead, 0, real)
    s = align("csi_error_var", csi_error_var, lead, 2, real)

    def through(symbol: _Heard) -> tuple[jax.Array, jax.Array]:
        h = frequency_response(Paths(symbol.gains, draws.delays), grid.frequencies)
        clean = jnp.einsum("...mcij,...cj->...mi", h * tones, symbol.x, precision="highest")
        deviation = standard_deviation(level if level.ndim == 0 else level[..., None, None])
        y = weighted_sum((1, clean), (deviation, symbol.noise))
        h_hat = estimate_csi(h, jnp.broadcast_to(symbol.csi[..., None, :, :, :], h.shape), s, model=csi)
        error_var = s if robust else jnp.zeros((), real)
        if robust and csi == "additive":
            h_hat, error_var = csi_posterior(h_hat, s)
        error_var = error_var if error_var.ndim == 0 else error_var[..., 0, 0]
        if receiver == "block":
            return _block(y, h_hat * tones, level + error_var * (num_streams * grid.num_carriers / grid.fft_size))
        if robust:
            error_var = error_var + align("max_doppler", interference_power(max_doppler, grid), lead, 0, real)
        of_carrier = jnp.conj(tones[..., 0, 0])
        y = jnp.einsum("...mc,...mi->...ci", of_carrier, y, precision="highest")
        deepest = tuple(a if a.ndim == 0 else a[..., None] for a in (level, error_var))
        return EQUALIZERS[equalizer](y, jnp.mean(h_hat, axis=-4), *deepest)

    def _block(y, h_hat, level):
        if waveform == "otfs":  # columns of subcarriers become those of delays
            h_hat = jnp.fft.fft(jnp.fft.ifftshift(h_hat, axes=-3), axis=-3, norm="ortho")
        m, c, rx, tx = h_hat.shape[-4:]
        matrix = jnp.moveaxis(h_hat, -2, -3).reshape(*lead, m * rx, c * tx)
        both = block_lmmse(y.reshape(*lead, m * rx), matrix, level)
        return tuple(a.reshape(*lead, c, tx) for a in both)

    heard = _of_data(draws, grid, num_grids, on_air)
    x_hat, no_eff = (jnp.moveaxis(a, 0, -3) for a in jax.lax.map(jax.checkpoint(through), heard))
    if waveform == "otfs":
        x_hat, no_eff = (a.reshape(*lead, num_grids, -1, *a.shape[-2:]) for a in (x_hat, no_eff))
        x_hat = jnp.fft.fft(x_hat, axis=-3, norm="ortho")
        no_eff = jnp.broadcast_to(jnp.mean(no_eff, axis=-3, keepdims=True), no_eff.shape)
    if receiver == "block" and equalizer != "paper":
        x_hat, no_eff = unbias(x_hat, no_eff, 1 - no_eff)
    return tuple(a.reshape(*lead, -1, num_streams)[..., :num_slots, :] for a in (x_hat, no_eff))
