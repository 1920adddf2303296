"""Everything random in a link that is sampled in time, and which cells of a grid carry its data."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from lvm_mtc.phy.embedded_pilot import EmbeddedPilot
from lvm_mtc.phy.keys import Stream, stream_key
from lvm_mtc.phy.numerics import ceil_div, require_count, weighted_sum
from lvm_mtc.phy.ofdm import PathSampler
from lvm_mtc.phy.ofdm_estimate import GridStatistics
from lvm_mtc.phy.paths import Paths, frequency_response
from lvm_mtc.phy.resource_grid import ResourceGrid


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
    embedded: EmbeddedPilot | None = None,
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
        embedded: As in :func:`sampled_link`.
        dtype: Complex dtype.

    Raises:
        ValueError: on counts that do not fit.
    """
    require_count("num_rx_ant", num_rx_ant)
    require_count("num_tx_ant", num_tx_ant)
    require_count("num_slots", num_slots)
    num_grids = ceil_div(num_slots, len(data_cells(grid, embedded, num_tx_ant)))
    lead, num_symbols = tuple(batch_shape), num_grids * grid.num_ofdm_symbols
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


def data_cells(grid: ResourceGrid, embedded: EmbeddedPilot | None, num_tx_ant: int) -> np.ndarray:
    """Cells of a frame that slots of data fill, in their order; cell ``(k, l)`` is ``k num_carriers + l``."""
    if embedded is None:
        return np.arange(grid.slots_per_grid)
    return np.flatnonzero(~embedded.guard(grid, num_tx_ant))
