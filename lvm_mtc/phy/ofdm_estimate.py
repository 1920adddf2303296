"""What a receiver knows of the channel on a resource grid: from comb pilots, or by an error model with ageing.

Pilots. In every pilot symbol antenna m sends on the used subcarriers m, m + num_tx_ant, ... with power num_tx_ant, so
that it spends power 1 per subcarrier on average, as in symbols of data. Least squares there gives the antenna's channel
with error variance ``no / num_tx_ant``; from these *observations* :func:`interpolate` and :func:`wiener_estimate` fill
the grid. Every grid is estimated from its own pilots.

Ageing. Under the error models ``additive`` and ``mmse`` the receiver is told, in every pilot symbol, the channel of
every used subcarrier with an error of variance s, and holds it until the next pilot symbol. What it infers for a symbol
dt later follows from ``rho = J0(2 pi max_doppler dt)``: ``aged_posterior`` of ``phy.ofdm_knowledge``.

Statistics that don't match. The Wiener filter is linear whatever the channel does, but its gain and the variance that
it reports are those of the :class:`GridStatistics` it was given. They are exact for any channel with that delay profile
and Doppler spectrum (Gaussian or not). Otherwise, as a rule, too wide is safe and too narrow is not: delays or a
Doppler shift beyond the assumed ones leave an error that the reported variance does not contain and no SNR removes.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lvm_mtc.phy.numerics import abs2, align, ceil_div, real_dtype, require_at_least, standard_deviation, weighted_sum
from lvm_mtc.phy.paths import bessel_j0
from lvm_mtc.phy.resource_grid import ResourceGrid

INTERPOLATIONS = ("nearest", "linear", "hold")


class GridStatistics(NamedTuple):
    """Second moments of a channel that a receiver knows: a delay profile, and the classical Doppler spectrum.

    Attributes:
        delays: Seconds, ``[num_delays]`` or ``[..., num_delays]``.
        powers: Of the delays, linear, sum 1, shape of ``delays`` (either may lack the leading axes).
        max_doppler: Largest Doppler shift, Hz, scalar or ``[...]``; E[h(t + d) h(t)^*] = J0(2 pi max_doppler d).
    """

    delays: ArrayLike | tuple[float, ...]
    powers: ArrayLike | tuple[float, ...]
    max_doppler: ArrayLike = 0.0


def default_statistics(grid: ResourceGrid, num_tx_ant: int) -> GridStatistics:
    """What a receiver assumes that was told nothing: all delays of the prefix equally strong, no Doppler.

    The flat delay profile is the usual robust choice (Edfors et al., OFDM channel estimation by singular value
    decomposition, 1998). A receiver that moves must be told its Doppler shift.

    No more delays are assumed than the comb of an antenna resolves, its pilots in a symbol times the part of the band
    that is in use: beyond, it cannot tell late paths from early ones, and a receiver that thought both possible would
    take half of a flat channel for late paths. Of channels that are longer the receiver must be told, and it then
    knows how ambiguous its pilots are.

    Args:
        grid: The resource grid.
        num_tx_ant: Transmit antennas, which share the pilots.

    Raises:
        ValueError: if there are more antennas than subcarriers.
    """
    pilots = int(_comb(grid.num_carriers, num_tx_ant).exists[-1].sum())
    num_delays = min(grid.cyclic_prefix_length + 1, max(pilots * grid.num_carriers // grid.fft_size, 1))
    return GridStatistics(np.arange(num_delays) * grid.sample_duration, np.full(num_delays, 1 / num_delays))


class _Comb(NamedTuple):
    """Which carriers hold the pilots of each antenna, ``[num_tx_ant, num_pilots]``; the last pilot may be missing."""

    carriers: np.ndarray
    exists: np.ndarray


def _comb(num_carriers: int, num_tx_ant: int) -> _Comb:
    if num_carriers < num_tx_ant:
        raise ValueError(
            f"num_tx_ant {num_tx_ant} exceeds the grid's {num_carriers} used subcarriers: an antenna has no pilot"
        )
    per_antenna = ceil_div(num_carriers, num_tx_ant)
    carriers = np.arange(per_antenna)[None, :] * num_tx_ant + np.arange(num_tx_ant)[:, None]
    return _Comb(np.minimum(carriers, num_carriers - 1), carriers < num_carriers)


def _by_antenna(observations: jax.Array, grid: ResourceGrid, num_tx_ant: int) -> jax.Array:
    """``[..., P, num_carriers, rx]`` to ``[..., P, num_pilots, num_tx_ant, rx]`` with 0 for what is missing."""
    if observations.ndim < 4 or observations.shape[-3:-1] != (len(grid.pilot_symbols), grid.num_carriers):
        raise ValueError(
            f"observations {observations.shape} must be [..., num_grids, {len(grid.pilot_symbols)} pilot symbols, "
            f"{grid.num_carriers} carriers, num_rx_ant]"
        )
    missing = -grid.num_carriers % num_tx_ant
    padded = jnp.pad(observations, [(0, 0)] * (observations.ndim - 2) + [(0, missing), (0, 0)])
    return padded.reshape(*observations.shape[:-2], -1, num_tx_ant, observations.shape[-1])


def observe_pilots(h: jax.Array, draw: jax.Array, no: ArrayLike) -> jax.Array:
    """Least-squares estimates at the comb pilots: on each carrier, the channel of the one antenna that sends there.

    Args:
        h: Channel in the pilot symbols, ``[..., num_grids, pilot_symbols, num_carriers, num_rx_ant, num_tx_ant]``.
        draw: CN(0, 1), shape of ``h``; of each carrier the entries of the sending antenna are used. So the estimate
            equals the one of the error model ``additive`` with s = ``no / num_tx_ant`` there.
        no: Noise variance per complex dimension, linear; scalar or broadcasting against ``[...]``.

    Returns:
        ``h + sqrt(no / num_tx_ant) draw``, ``[..., num_grids, pilot_symbols, num_carriers, num_rx_ant]`` complex.

    Raises:
        ValueError: if shapes do not fit.
    """
    if h.ndim < 5 or draw.shape != h.shape:
        raise ValueError(
            "h must be [..., num_grids, pilot_symbols, num_carriers, num_rx_ant, num_tx_ant] and draw of its shape, "
            f"got {h.shape} and {draw.shape}"
        )
    num_carriers, _, num_tx_ant = h.shape[-3:]
    error_var = align("no", no, h.shape[:-5], 4, real_dtype(h)) / num_tx_ant
    sends = np.arange(num_carriers)[:, None, None] % num_tx_ant == np.arange(num_tx_ant)
    sends = sends.reshape((1,) * (h.ndim - 3) + sends.shape)
    h_own, draw_own = (jnp.sum(jnp.where(sends, array, 0), axis=-1) for array in (h, draw))
    return weighted_sum((1, h_own), (standard_deviation(error_var), draw_own))


def _line_weights(known: np.ndarray, at: np.ndarray, method: str) -> np.ndarray:
    """Weights of the values at ``known`` (ascending) in the value at each of ``at``, ``[at, known]``."""
    weights = np.zeros((at.size, known.size))
    rows = np.arange(at.size)
    if method == "nearest":
        # argmin takes the first of two equally near ones, as Sionna does.
        weights[rows, np.argmin(np.abs(at[:, None] - known), axis=1)] = 1
    elif known.size == 1:
        weights[:] = 1
    else:
        left = np.clip(np.searchsorted(known, at) - 1, 0, known.size - 2)
        fraction = (at - known[left]) / (known[left + 1] - known[left])
        weights[rows, left], weights[rows, left + 1] = 1 - fraction, fraction
    return weights


def _separable_weights(grid: ResourceGrid, num_tx_ant: int, method: str, symbols: np.ndarray):
    """Interpolation weights over time ``[symbols, pilot_symbols]`` and frequency ``[tx, carriers, pilots]``."""
    comb = _comb(grid.num_carriers, num_tx_ant)
    if method == "hold":
        over_time = np.eye(len(grid.pilot_symbols))[grid.held_pilots[symbols]]
    else:
        over_time = _line_weights(np.asarray(grid.pilot_symbols), symbols, method)
    over_frequency = np.zeros((num_tx_ant, grid.num_carriers, comb.carriers.shape[1]))
    for antenna, (carriers, exists) in enumerate(zip(*comb, strict=True)):
        over_frequency[antenna][:, exists] = _line_weights(
            carriers[exists], np.arange(grid.num_carriers), "nearest" if method == "nearest" else "linear"
        )
    return over_time, over_frequency


def _lift(a: jax.Array, ndim: int) -> jax.Array:
    return a.reshape((1,) * (ndim - a.ndim) + a.shape)


def _over_time(weights: jax.Array, values: jax.Array) -> jax.Array:
    """``[..., t, p]`` real times ``[..., num_grids, p, a, b, c]`` to ``[..., num_grids, t, a, b, c]``.

    Pilot symbols are few: a sum of scaled arrays runs several times faster than a matrix product with so thin a matrix.
    """
    terms = []
    for p in range(weights.shape[-1]):
        weight = _lift(weights[..., None, :, p, None, None, None], values.ndim)
        terms.append((weight, jnp.expand_dims(values[..., p, :, :, :], -4)))
    return weighted_sum(*terms)


def _symbols(grid: ResourceGrid, symbols: ArrayLike | None) -> np.ndarray:
    return np.arange(grid.num_ofdm_symbols) if symbols is None else np.asarray(symbols)


def interpolate(
    observations: jax.Array,
    grid: ResourceGrid,
    num_tx_ant: int,
    method: str = "linear",
    *,
    symbols: ArrayLike | None = None,
) -> jax.Array:
    """Fill the grid from estimates at the comb pilots, first over frequency and then over time.

    ``nearest`` and ``linear`` are what Sionna 1.2.2's ``NearestNeighborInterpolator`` and ``LinearInterpolator`` do:
    distances count used subcarriers and symbols (a gap at DC counts as none), ``linear`` extrapolates the outermost two
    pilots, and a single pilot is constant. ``hold`` is linear over frequency and keeps the last pilot symbol at or
    before a symbol (the first one where there is none): else no look into the future.

    Args:
        observations: :func:`observe_pilots`, ``[..., num_grids, pilot_symbols, num_carriers, num_rx_ant]`` complex.
        grid: The resource grid.
        num_tx_ant: Transmit antennas.
        method: A name of ``INTERPOLATIONS``.
        symbols: Which symbols of a grid to fill, static; None: all.

    Returns:
        ``[..., num_grids, symbols, num_carriers, num_rx_ant, num_tx_ant]`` complex.

    Raises:
        ValueError: on an unknown method, shapes that do not fit, or more antennas than subcarriers.
    """
    if method not in INTERPOLATIONS:
        raise ValueError(f"unknown interpolation {method!r}; known: {', '.join(INTERPOLATIONS)}")
    weights = _separable_weights(grid, num_tx_ant, method, _symbols(grid, symbols))
    over_time, over_frequency = (jnp.asarray(w, real_dtype(observations)) for w in weights)
    values = _by_antenna(observations, grid, num_tx_ant)

    def fill(part: jax.Array) -> jax.Array:
        return jnp.einsum("mkj,...pjmr->...pkrm", over_frequency, part, precision="highest")

    return _over_time(over_time, jax.lax.complex(fill(jnp.real(values)), fill(jnp.imag(values))))


class _Basis(NamedTuple):
    """A correlation matrix of pilots ``U diag(eigenvalues) U^H``, and how other elements correlate with its modes."""

    eigenvalues: jax.Array
    modes: jax.Array
    cross: jax.Array


def _basis(among_pilots: jax.Array, with_pilots: jax.Array) -> _Basis:
    # Statistics are constants: the gradient of an eigenbasis does not exist where eigenvalues coincide.
    eigenvalues, modes = jnp.linalg.eigh(jax.lax.stop_gradient(among_pilots))
    cross = jnp.matmul(jax.lax.stop_gradient(with_pilots), modes, precision="highest")
    return _Basis(jnp.maximum(eigenvalues, 0), modes, cross)


def _time_basis(grid: ResourceGrid, symbols: np.ndarray, max_doppler: jax.Array) -> _Basis:
    """``[..., P]``, ``[..., P, P]``, ``[..., symbols, P]`` for max_doppler ``[...]``."""
    pilots = np.asarray(grid.pilot_symbols)

    def correlation(at: np.ndarray) -> jax.Array:
        lags = jnp.asarray((at[:, None] - pilots) * grid.symbol_duration, max_doppler.dtype)
        return bessel_j0(2 * jnp.pi * max_doppler[..., None, None] * lags.reshape((1,) * max_doppler.ndim + lags.shape))

    return _basis(correlation(pilots), correlation(symbols))


def _frequency_basis(grid: ResourceGrid, num_tx_ant: int, delays: jax.Array, powers: jax.Array) -> _Basis:
    """``[..., tx, n]``, ``[..., tx, n, n]``, ``[..., tx, carriers, n]`` for delays and powers ``[..., num_delays]``."""
    comb = _comb(grid.num_carriers, num_tx_ant)
    frequencies = jnp.asarray(grid.frequencies, delays.dtype).reshape((1,) * (delays.ndim - 1) + (-1, 1))
    phase = -2 * jnp.pi * frequencies * delays[..., None, :]
    level = jnp.sqrt(powers)[..., None, :]
    response = jax.lax.complex(level * jnp.cos(phase), level * jnp.sin(phase))
    exists = comb.exists[..., None].reshape((1,) * (delays.ndim - 1) + (*comb.exists.shape, 1))
    pilots = jnp.where(exists, response[..., comb.carriers, :], 0)
    among = jnp.einsum("...jd,...id->...ji", pilots, jnp.conj(pilots), precision="highest")
    return _basis(among, jnp.einsum("...kd,...mjd->...mkj", response, jnp.conj(pilots), precision="highest"))


def _prepared(statistics: GridStatistics, lead: tuple[int, ...], dtype) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Delays and powers of one shape and the Doppler shift, with the rank of ``lead``; size 1 where nothing varies."""
    require_at_least("statistics.max_doppler", statistics.max_doppler, 0.0)
    delays, powers = (jnp.asarray(a, dtype) for a in (statistics.delays, statistics.powers))
    max_doppler = align("statistics.max_doppler", statistics.max_doppler, lead, 0, dtype)
    shape: tuple[int, ...] = ()
    try:
        shape = np.broadcast_shapes(delays.shape, powers.shape)
        fits = len(shape) >= 1 and np.broadcast_shapes(shape[:-1], lead) == tuple(lead)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"statistics.delays {delays.shape} and statistics.powers {powers.shape} must be [..., num_delays] with "
            f"leading axes that broadcast against {tuple(lead)}"
        )
    shape = (1,) * (len(lead) + 1 - len(shape)) + shape
    delays, powers = (jnp.broadcast_to(_lift(a, len(shape)), shape) for a in (delays, powers))
    return delays, powers, _lift(max_doppler, len(lead))


def wiener_estimate(
    observations: jax.Array,
    error_var: ArrayLike,
    grid: ResourceGrid,
    num_tx_ant: int,
    statistics: GridStatistics | None = None,
    *,
    symbols: ArrayLike | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Linear MMSE estimate of the channel on the grid from all its pilots, and its error variance.

    ``r^H (R + s I)^-1 z`` with the correlation R of the channel at the pilots and r of an element with them. R is the
    Kronecker product of a correlation over time and one over frequency and so diagonal in the product of their
    eigenbases: no matrix of all pilots is formed or inverted, and s enters through the eigenvalues alone. For Gaussian
    channels it is the posterior mean. Statistics are constants: no gradient goes through them.

    Args:
        observations: :func:`observe_pilots`, ``[..., num_grids, pilot_symbols, num_carriers, num_rx_ant]`` complex.
        error_var: s, variance of their error, linear; scalar or broadcasting against ``[...]``; traced. Eigenvalues
            plus s are taken to be at least eps times the number of an antenna's pilots: in complex64 and with 32 of
            them, the estimate stops to improve at s = 4e-6.
        grid: The resource grid.
        num_tx_ant: Transmit antennas.
        statistics: What the receiver knows, with leading axes that broadcast against ``[...]``; traced. None:
            :func:`default_statistics`. See the top of this module for statistics that do not match.
        symbols: Which symbols of a grid to fill, static; None: all.

    Returns:
        mean: ``[..., num_grids, symbols, num_carriers, num_rx_ant, num_tx_ant]`` complex.
        variance: Of the error of each entry, linear, the same for all grids and receive antennas,
            ``[..., symbols, num_carriers, num_tx_ant]`` with leading axes of size 1 where neither s nor the statistics
            vary.

    Raises:
        ValueError: on shapes that do not fit, more antennas than subcarriers, or a negative Python number.
    """
    dtype = real_dtype(observations)
    values = _by_antenna(observations, grid, num_tx_ant)
    lead = observations.shape[:-4]
    require_at_least("error_var", error_var, 0.0)
    error_var = _lift(align("error_var", error_var, lead, 3, dtype), len(lead) + 3)
    statistics = default_statistics(grid, num_tx_ant) if statistics is None else statistics
    delays, powers, max_doppler = _prepared(statistics, lead, dtype)
    time = _time_basis(grid, _symbols(grid, symbols), max_doppler)
    frequency = _frequency_basis(grid, num_tx_ant, delays, powers)
    eigenvalues = time.eigenvalues[..., :, None, None] * frequency.eigenvalues[..., None, :, :]
    floor = jnp.finfo(dtype).eps * eigenvalues.shape[-3] * eigenvalues.shape[-1]
    inverse = 1 / jnp.maximum(eigenvalues + error_var, floor)
    mean = _filtered(values, time, frequency, inverse)
    known = jnp.einsum("...ti,...iml->...tml", time.cross**2, inverse, precision="highest")
    known = jnp.einsum("...tml,...mkl->...tkm", known, abs2(frequency.cross), precision="highest")
    return mean, jnp.maximum(jnp.sum(powers, axis=-1)[..., None, None, None] - known, 0)


def _filtered(values: jax.Array, time: _Basis, frequency: _Basis, inverse: jax.Array) -> jax.Array:
    """Into the eigenbases, divided, and out: ``[..., g, P, n, tx, rx]`` to ``[..., g, symbols, carriers, rx, tx]``."""
    modes = jnp.einsum("...mjl,...gpjmr->...gplmr", jnp.conj(frequency.modes), values, precision="highest")
    modes = _over_time(jnp.swapaxes(time.modes, -1, -2), modes)
    weight = jnp.swapaxes(inverse, -1, -2)[..., None, :, :, :, None]
    modes = weighted_sum((weight, modes))
    lines = jnp.einsum("...mkl,...gilmr->...gikrm", frequency.cross, modes, precision="highest")
    return _over_time(time.cross, lines)
