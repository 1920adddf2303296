"""A pilot among the delay-Doppler cells of OTFS, in the middle of empty ones, and what it tells of the channel.

Raviteja, Phan & Hong, "Embedded pilot-aided channel estimation for OTFS in delay-Doppler channels", IEEE Trans. Veh.
Technol. 68(5), 2019, with a prefix for each symbol. A path of l samples and k Doppler cells, a cell being one turn in
all N symbols of a frame, moves the pilot from cell (k_p, l_p) to (k_p + k, l_p + l). What is heard there above a
threshold, over the pilot's amplitude, is the path's gain when the pilot passes; what is heard below counts for noise.
That is exact for Dopplers of whole cells. Others leak into all Dopplers (full guard: ``max_doppler=None``), data into
the guard, and a frame's end is taken to go on as its beginning.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.phy.numerics import abs2, require_at_least, require_count
from lvm_mtc.phy.resource_grid import ResourceGrid


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmbeddedPilot:
    """Where the pilots of all antennas stand and which cells stay empty around them; static under ``jit``.

    Antenna a has its pilot ``max_delay + 1`` delays behind that of the one before, so that they are heard one beside
    the other. Each has the power of all cells that an antenna leaves empty, its own among them: a frame has power 1.

    Attributes:
        max_delay: Largest delay that the guard is made for, samples.
        max_doppler: Largest Doppler shift that it is made for, cells; None: all Dopplers of these delays are empty.
        threshold: What counts as heard, times the standard deviation of the noise.

    Raises:
        ValueError: on values outside their domain.
    """

    max_delay: int = 5
    max_doppler: int | None = None
    threshold: float = 3.0

    def __post_init__(self):
        require_count("EmbeddedPilot.max_delay", self.max_delay, 0)
        if self.max_doppler is not None:
            require_count("EmbeddedPilot.max_doppler", self.max_doppler, 0)
        require_at_least("EmbeddedPilot.threshold", self.threshold, 0.0)

    def guard(self, grid: ResourceGrid, num_tx_ant: int) -> np.ndarray:
        """Cells of a frame that carry no data, ``[N, M]`` bool: a rectangle around the first Doppler and delay.

        Raises:
            ValueError: if it leaves no cell for data, or the grid's symbols of data are not one after the other, or
                some subcarriers are unused.
        """
        shape = len(grid.data_symbols), grid.num_carriers
        if grid.num_carriers < grid.fft_size or np.ptp(grid.data_symbols) >= shape[0]:
            raise ValueError(
                "an embedded pilot needs all subcarriers and symbols of data one after the other, got "
                f"{grid.num_carriers} of {grid.fft_size} used and pilot_symbols {grid.pilot_symbols!r}"
            )
        behind, doppler = num_tx_ant * (self.max_delay + 1), np.arange(shape[0])
        reach = shape[0] if self.max_doppler is None else 2 * self.max_doppler
        near = np.minimum(doppler, shape[0] - doppler) <= reach
        late = (np.arange(shape[1]) + self.max_delay) % shape[1] < behind + self.max_delay
        guard = near[:, None] & late
        if guard.all() or behind + self.max_delay > shape[1]:
            raise ValueError(
                f"the guard of {num_tx_ant} embedded pilots takes {near.sum()} Dopplers of {behind + self.max_delay} "
                f"delays, which leave no data of {shape[0]} x {shape[1]}"
            )
        return guard

    def pilots(self, grid: ResourceGrid, num_tx_ant: int) -> np.ndarray:
        """The pilots alone in their frame, ``[N, M, num_tx_ant]`` real."""
        guard, antennas = self.guard(grid, num_tx_ant), np.arange(num_tx_ant)
        cells = np.zeros((*guard.shape, num_tx_ant))
        cells[0, self._delays(num_tx_ant)[0], antennas] = np.sqrt(guard.sum())
        return cells

    def offsets(self, grid: ResourceGrid) -> np.ndarray:
        """Dopplers that are listened to, in cells."""
        num = len(grid.data_symbols)
        if self.max_doppler is None or 2 * self.max_doppler + 1 >= num:
            return np.arange(num) - num // 2
        return np.arange(-self.max_doppler, self.max_doppler + 1)

    def _delays(self, num_tx_ant: int) -> np.ndarray:
        """Delay at which each tap of each antenna is heard, ``[max_delay + 1, num_tx_ant]``."""
        return np.arange(self.max_delay + 1)[:, None] + np.arange(num_tx_ant) * (self.max_delay + 1)

    def hear(self, y: jax.Array, no: jax.Array, grid: ResourceGrid, num_tx_ant: int) -> tuple[jax.Array, jax.Array]:
        """Paths that stand out of the noise.

        Args:
            y: Samples of the symbols of a frame, ``[..., N, M, num_rx_ant]`` complex.
            no: Noise variance per complex dimension, ``[...]``.
            grid: The resource grid.
            num_tx_ant: Pilots.

        Returns:
            gains: Of each Doppler, tap, antenna and receive antenna, 0 below the threshold,
                ``[..., offsets, max_delay + 1, num_tx_ant, num_rx_ant]``.
            variance: Of the errors of all of an antenna's gains that are not 0 together, ``[...]``.
        """
        power = float(self.guard(grid, num_tx_ant).sum())
        heard = jnp.fft.fft(y, axis=-3, norm="ortho")[..., self.offsets(grid), :, :][..., self._delays(num_tx_ant), :]
        lifted = no[..., None, None, None, None]
        above = abs2(heard) > self.threshold**2 * lifted
        variance = no * jnp.mean(jnp.sum(above, axis=(-4, -3, -2)), axis=-1) / power
        return jnp.where(above, heard, 0) * power**-0.5, variance

    def turns(self, grid: ResourceGrid) -> np.ndarray:
        """How far each Doppler has turned from the frame's first symbol to each, ``[N, offsets]`` complex."""
        num = len(grid.data_symbols)
        return np.exp(2j * np.pi * np.outer(np.arange(num), self.offsets(grid)) / num)

    def taps(self, gains: jax.Array, turns: jax.Array, grid: ResourceGrid) -> jax.Array:
        """Taps at the samples of a symbol, ``[..., max_delay + 1, M, num_rx_ant, num_tx_ant]``.

        ``gains`` are those of :meth:`hear`, ``turns [offsets]`` the symbol's.
        """
        per_symbol = grid.fft_size + grid.cyclic_prefix_length
        behind = np.arange(grid.fft_size)[:, None, None] - self._delays(gains.shape[-2])
        cycles = np.multiply.outer(self.offsets(grid), behind) / (len(grid.data_symbols) * per_symbol)
        within = jnp.asarray(np.exp(2j * np.pi * cycles), gains.dtype) * turns.astype(gains.dtype)[:, None, None, None]
        return jnp.einsum("kmla,...klar->...lmra", within, gains, precision="highest")
