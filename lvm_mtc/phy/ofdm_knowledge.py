"""What the receiver of a link over a resource grid knows of the channel, on the slots that it hears."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lvm_mtc.phy.csi import csi_posterior, estimate_csi
from lvm_mtc.phy.numerics import align, fit, real_dtype, require_at_least, weighted_sum
from lvm_mtc.phy.ofdm_estimate import GridStatistics, interpolate, observe_pilots, wiener_estimate
from lvm_mtc.phy.paths import bessel_j0
from lvm_mtc.phy.resource_grid import ResourceGrid


def at_places(array: jax.Array, index: jax.Array | np.ndarray, axis: int) -> jax.Array:
    """Entries of a (negative) axis at an index that all links share, or that has the array's axes up to that one.

    A place beyond the axis gives NaN.
    """
    if index.ndim == 1:
        return jnp.take(array, index, axis=axis, mode="fill")
    return jnp.take_along_axis(array, index.reshape(index.shape + (1,) * (-axis - 1)), axis=axis, mode="fill")


class SlotPlaces(NamedTuple):
    """Which elements of data a link hears: one index for all links, ``[num_slots]``, or ``[..., num_slots]``."""

    grid: ResourceGrid
    num_grids: int
    element: jax.Array | np.ndarray

    def symbol(self) -> jax.Array | np.ndarray:
        """Which symbol of data of its grid each slot lies in."""
        return (self.element // self.grid.num_carriers) % len(self.grid.data_symbols)

    def in_grid(self) -> jax.Array | np.ndarray:
        """Place of each slot among the elements of its grid."""
        return self.element % self.grid.slots_per_grid

    def held_pilot(self) -> jax.Array | np.ndarray:
        """Place of the last pilot element before each slot among the pilot elements of all grids."""
        grid = self.grid
        pilot = np.arange(self.num_grids)[:, None] * len(grid.pilot_symbols) + grid.held_pilots[grid.data_symbols]
        table = pilot[..., None] * grid.num_carriers + np.arange(grid.num_carriers)
        if isinstance(self.element, np.ndarray):
            return table.reshape(-1)[self.element]
        return jnp.take(table.reshape(-1), self.element, mode="fill", fill_value=np.iinfo(np.int32).max)


def place_slots(x: jax.Array, grid: ResourceGrid, total_slots: int | None, slot_index: jax.Array | None) -> SlotPlaces:
    """Where the slots of a signal lie on the grids.

    Args:
        x: What is sent, ``[..., num_slots, num_streams]``.
        grid: The resource grid.
        total_slots: Slots of data on the time axis; None: ``num_slots``.
        slot_index: Integer place of each slot on that axis, ``[..., num_slots]``; None: ``arange``.

    Raises:
        ValueError: if lengths, shapes or dtypes do not fit.
    """
    *lead, num_slots, _ = x.shape
    if slot_index is None:
        if total_slots is not None and total_slots < num_slots:
            raise ValueError(f"total_slots {total_slots} is less than the {num_slots} slots of x {x.shape}")
        return SlotPlaces(grid, grid.num_grids(num_slots if total_slots is None else total_slots), np.arange(num_slots))
    if total_slots is None:
        raise ValueError("slot_index needs total_slots, got None")
    slot_index = jnp.asarray(slot_index)
    if not jnp.issubdtype(slot_index.dtype, jnp.integer):
        raise ValueError(f"slot_index must be integer, got {slot_index.dtype}")
    return SlotPlaces(grid, grid.num_grids(total_slots), fit("slot_index", slot_index, (*lead, num_slots), jnp.int32))


def aged_posterior(
    h_hat: jax.Array, csi_error_var: ArrayLike, rho: jax.Array, *, model: str = "additive"
) -> tuple[jax.Array, jax.Array]:
    """What an estimate of a Rayleigh channel says about that channel some time later.

    The channel's correlation with the one that was estimated is rho, J0(2 pi max_doppler dt) for the classical Doppler
    spectrum. Under ``additive`` the posterior has mean ``rho h_hat / (1 + s)`` and variance ``1 - rho^2 / (1 + s)``,
    under ``mmse`` mean ``rho h_hat`` and variance ``1 - rho^2 (1 - s)``. Exact for unit-power Gaussian channels, the
    linear MMSE estimate for others. Each element is treated by itself.

    Args:
        h_hat: Estimate, ``[..., num_rx_ant, num_tx_ant]`` complex.
        csi_error_var: s, linear; scalar or broadcasting against ``[...]``.
        rho: Real correlation coefficient, broadcasting against ``[...]`` with the same rank.
        model: ``additive`` or ``mmse``; see ``phy.csi``.

    Returns:
        mean: Shape of ``h_hat``.
        variance: Of each entry, linear, ``[...]`` with size 1 where nothing varies.

    Raises:
        ValueError: on an unknown model or shapes that do not fit.
    """
    if model not in ("additive", "mmse"):
        raise ValueError(f"unknown CSI error model {model!r}; known: additive, mmse")
    if model == "additive":
        mean, variance = csi_posterior(h_hat, csi_error_var)
    else:
        mean, variance = h_hat, align("csi_error_var", csi_error_var, h_hat.shape[:-2], 0, real_dtype(h_hat))
    # Not as 1 - rho^2 (1 - variance): a small variance would drown in the rounding of 1.
    variance = jnp.maximum(1 - rho**2, 0) + rho**2 * variance
    return weighted_sum((rho[..., None, None], mean)), variance


class Knowledge(NamedTuple):
    """What a receiver knows on the slots that it hears.

    Attributes:
        h_hat: What its estimator returned, ``[..., num_slots, num_rx_ant, num_tx_ant]``.
        used: What it works with: the posterior mean if it is ``robust``, else ``h_hat``.
        error_var: Variance that it believes each entry of ``used`` to be wrong by, averaged over the streams;
            ``[..., num_slots]`` or scalar.
    """

    h_hat: jax.Array
    used: jax.Array
    error_var: jax.Array


def know_when_told(
    h_pilots: jax.Array,
    draw: jax.Array,
    places: SlotPlaces,
    csi_error_var: ArrayLike,
    *,
    csi: str,
    robust: bool,
    statistics: GridStatistics | None,
) -> Knowledge:
    """The error models: an estimate of every subcarrier of every pilot symbol, held until the next one.

    Args:
        h_pilots: Channel in the pilot symbols,
            ``[..., num_grids, pilot_symbols, num_carriers, num_rx_ant, num_tx_ant]`` complex.
        draw: CN(0, 1), shape of ``h_pilots``.
        places: Which slots the receiver hears.
        csi_error_var: s, linear; scalar or broadcasting against ``[...]``.
        csi: ``additive`` or ``mmse``.
        robust: Whether the posterior is wanted.
        statistics: Of which ``max_doppler`` is used; None: 0.
    """
    lead, grid, real = h_pilots.shape[:-5], places.grid, real_dtype(h_pilots)
    s = csi_error_var if np.ndim(csi_error_var) == 0 else align("csi_error_var", csi_error_var, lead, 3, real)
    h_hat = estimate_csi(h_pilots, draw, s, model=csi)
    h_hat = at_places(h_hat.reshape(*lead, -1, *h_hat.shape[-2:]), places.held_pilot(), -3)
    if not robust:
        return Knowledge(h_hat, h_hat, jnp.zeros((), real))
    max_doppler = 0.0 if statistics is None else statistics.max_doppler
    require_at_least("statistics.max_doppler", max_doppler, 0.0)
    data = grid.data_symbols
    age = (data - np.asarray(grid.pilot_symbols)[grid.held_pilots[data]]) * grid.symbol_duration
    angular = 2 * jnp.pi * align("statistics.max_doppler", max_doppler, lead, 1, real)
    rho = bessel_j0(angular * jnp.asarray(age, real).reshape((1,) * max(angular.ndim - 1, 0) + (-1,)))
    rho = at_places(jnp.broadcast_to(rho, (*lead, data.size)), places.symbol(), -1)
    used, error_var = aged_posterior(h_hat, align("csi_error_var", csi_error_var, lead, 1, real), rho, model=csi)
    return Knowledge(h_hat, used, error_var)


def know_from_pilots(
    h_pilots: jax.Array,
    draw: jax.Array,
    places: SlotPlaces,
    no: ArrayLike,
    stream_weights: jax.Array | None,
    *,
    csi: str,
    interpolation: str,
    robust: bool,
    statistics: GridStatistics | None,
) -> Knowledge:
    """Estimates from the comb pilots.

    Args:
        h_pilots: Channel in the pilot symbols,
            ``[..., num_grids, pilot_symbols, num_carriers, num_rx_ant, num_tx_ant]`` complex.
        draw: CN(0, 1), shape of ``h_pilots``.
        places: Which slots the receiver hears.
        no: Noise variance per complex dimension, linear; scalar or broadcasting against ``[...]``.
        stream_weights: How much each stream's error counts, sum 1, ``[..., num_slots, num_tx_ant]``; None: equally.
        csi: ``pilots_ls`` or ``pilots_lmmse``.
        interpolation: A name of ``INTERPOLATIONS``, for ``pilots_ls``.
        robust: Whether the posterior is wanted.
        statistics: For the posterior.
    """
    lead, (num_rx_ant, num_tx_ant) = h_pilots.shape[:-5], h_pilots.shape[-2:]
    grid, data, real = places.grid, places.grid.data_symbols, real_dtype(h_pilots)
    observations = observe_pilots(h_pilots, draw, no)

    def on_slots(estimate: jax.Array) -> jax.Array:
        return at_places(estimate.reshape(*lead, -1, num_rx_ant, num_tx_ant), places.element, -3)

    h_hat = None
    if csi == "pilots_ls":
        h_hat = on_slots(interpolate(observations, grid, num_tx_ant, interpolation, symbols=data))
        if not robust:
            return Knowledge(h_hat, h_hat, jnp.zeros((), real))
    pilot_error_var = jnp.asarray(no, real) / num_tx_ant
    mean, variance = wiener_estimate(observations, pilot_error_var, grid, num_tx_ant, statistics, symbols=data)
    mean = on_slots(mean)
    variance = variance.reshape(*variance.shape[:-3], -1, num_tx_ant)
    if stream_weights is None:
        variance = jnp.broadcast_to(jnp.mean(variance, axis=-1), (*lead, grid.slots_per_grid))
        error_var = at_places(variance, places.in_grid(), -1)
    else:
        variance = jnp.broadcast_to(variance, (*lead, grid.slots_per_grid, num_tx_ant))
        error_var = jnp.sum(at_places(variance, places.in_grid(), -2) * stream_weights, axis=-1)
    return Knowledge(mean if h_hat is None else h_hat, mean, error_var)
