"""The OFDM resource grid: which resource element carries what, when, and what pilots and cyclic prefix cost."""

import dataclasses
import functools

import numpy as np

from lvm_mtc.phy.numerics import ceil_div, require_count


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResourceGrid:
    """A grid of OFDM symbols and subcarriers that repeats in time; static under ``jit``.

    Pilot symbols hold pilots on every used subcarrier, antenna m on subcarriers m, m + num_tx_ant, ... (a comb); all
    other symbols hold data on every used subcarrier. A *slot* of data is one resource element over all streams.

    Attributes:
        fft_size: Subcarriers, guards and DC included; the sampling rate is ``fft_size * subcarrier_spacing``.
        num_ofdm_symbols: OFDM symbols of a grid.
        cyclic_prefix_length: Samples of the prefix of every symbol.
        subcarrier_spacing: Hz.
        pilot_symbols: Which symbols of the grid hold pilots, ascending; none only for OTFS with an embedded pilot.
        guard_carriers: Unused subcarriers at the lower and the upper edge.
        dc_null: Whether the subcarrier at frequency 0 is unused.

    Raises:
        ValueError: on counts outside their domain, or a grid without data.
    """

    fft_size: int = 64
    num_ofdm_symbols: int = 14
    cyclic_prefix_length: int = 16
    subcarrier_spacing: float = 30e3
    pilot_symbols: tuple[int, ...] = (2, 11)
    guard_carriers: tuple[int, int] = (0, 0)
    dc_null: bool = False

    def __post_init__(self):
        # Lists, as a configuration file has them, would make the grid unhashable and so unfit for a static argument.
        object.__setattr__(self, "pilot_symbols", tuple(self.pilot_symbols))
        object.__setattr__(self, "guard_carriers", tuple(self.guard_carriers))
        require_count("ResourceGrid.fft_size", self.fft_size, 2)
        require_count("ResourceGrid.num_ofdm_symbols", self.num_ofdm_symbols, 2)
        require_count("ResourceGrid.cyclic_prefix_length", self.cyclic_prefix_length, 0)
        if self.cyclic_prefix_length > self.fft_size:
            raise ValueError(
                f"ResourceGrid.cyclic_prefix_length {self.cyclic_prefix_length} exceeds fft_size {self.fft_size}"
            )
        if not 1e-12 <= self.subcarrier_spacing <= 1e12:
            raise ValueError(
                f"ResourceGrid.subcarrier_spacing must lie in [1e-12, 1e12] Hz, got {self.subcarrier_spacing!r}"
            )
        pilots = self.pilot_symbols
        for symbol in pilots:
            require_count("ResourceGrid.pilot_symbols", symbol, 0)
        if list(pilots) != sorted(set(pilots)) or any(symbol >= self.num_ofdm_symbols for symbol in pilots):
            raise ValueError(
                f"ResourceGrid.pilot_symbols must be ascending numbers in 0 ... {self.num_ofdm_symbols - 1}, got "
                f"{pilots!r}"
            )
        if len(pilots) == self.num_ofdm_symbols:
            raise ValueError(f"ResourceGrid.pilot_symbols {pilots!r} leave no symbol for data")
        for guard in self.guard_carriers:
            require_count("ResourceGrid.guard_carriers", guard, 0)
        if len(self.guard_carriers) != 2 or self.num_carriers < 1:
            raise ValueError(
                f"ResourceGrid.guard_carriers {self.guard_carriers!r} must be two numbers >= 0 that leave a subcarrier "
                f"of fft_size {self.fft_size}"
            )

    @functools.cached_property
    def carriers(self) -> np.ndarray:
        """Used subcarriers, ascending, as indices into ``-fft_size/2 ... fft_size/2 - 1``, ``[num_carriers]``."""
        low, high = self.guard_carriers
        used = np.arange(low, self.fft_size - high)
        return used[used != self.fft_size // 2] if self.dc_null else used

    @property
    def num_carriers(self) -> int:
        """Used subcarriers."""
        return self.carriers.size

    @property
    def frequencies(self) -> np.ndarray:
        """Frequencies of the used subcarriers relative to the carrier, Hz, ``[num_carriers]`` float64."""
        return (self.carriers - self.fft_size // 2) * self.subcarrier_spacing

    @property
    def data_symbols(self) -> np.ndarray:
        """Symbols of a grid that hold data, ascending."""
        return np.setdiff1d(np.arange(self.num_ofdm_symbols), self.pilot_symbols)

    @property
    def slots_per_grid(self) -> int:
        """Slots of data that one grid carries."""
        return len(self.data_symbols) * self.num_carriers

    @property
    def held_pilots(self) -> np.ndarray:
        """The last pilot symbol at or before each symbol, as an index into ``pilot_symbols``, ``[num_ofdm_symbols]``.

        Symbols before the first pilot symbol of the grid get the first one.
        """
        last = np.searchsorted(self.pilot_symbols, np.arange(self.num_ofdm_symbols), side="right") - 1
        return np.maximum(last, 0)

    @property
    def sample_duration(self) -> float:
        """Duration of a time sample, seconds."""
        return 1 / (self.fft_size * self.subcarrier_spacing)

    @property
    def symbol_duration(self) -> float:
        """Duration of an OFDM symbol with its prefix, seconds."""
        return (self.fft_size + self.cyclic_prefix_length) * self.sample_duration

    @property
    def prefix_duration(self) -> float:
        """Duration of the cyclic prefix, seconds: the largest delay without interference between symbols."""
        return self.cyclic_prefix_length * self.sample_duration

    @property
    def prefix_factor(self) -> float:
        """Samples, and energy, of a symbol with its prefix over those without: ``1 + N_cp / N_fft``."""
        return 1 + self.cyclic_prefix_length / self.fft_size

    def require_within_prefix(self, max_delay: float, name: str = "max_delay") -> None:
        """Raise ``ValueError`` if a path would outlast the cyclic prefix.

        The frequency-domain model of the link has no interference between symbols and subcarriers; it is exact for a
        channel that stands still during a symbol and whose delays the prefix covers.

        Args:
            max_delay: Largest delay, seconds; a Python number.
            name: What the delay is called, for the message.

        Raises:
            ValueError: if ``max_delay`` is NaN, negative or longer than the prefix (by more than rounding).
        """
        if not 0 <= max_delay <= self.prefix_duration * (1 + 1e-9):
            raise ValueError(
                f"{name} must lie between 0 and the cyclic prefix's {self.prefix_duration:.4g} s "
                f"({self.cyclic_prefix_length} samples), got {max_delay:.4g} s"
            )

    def require_pilots(self) -> None:
        """Raise ``ValueError`` if no symbol holds pilots."""
        if not self.pilot_symbols:
            raise ValueError("ResourceGrid.pilot_symbols () is for OTFS with an embedded pilot; here pilots are needed")

    def num_grids(self, num_slots: int) -> int:
        """Grids that carry ``num_slots`` slots of data; the last one may be partly empty."""
        require_count("num_slots", num_slots)
        return ceil_div(num_slots, self.slots_per_grid)

    def symbol_times(self, num_grids: int) -> np.ndarray:
        """When each symbol of consecutive grids starts, seconds, ``[num_grids * num_ofdm_symbols]`` float64."""
        return np.arange(num_grids * self.num_ofdm_symbols) * self.symbol_duration

    def slot_elements(self, num_grids: int) -> tuple[np.ndarray, np.ndarray]:
        """Where the slots of data lie: subcarrier after subcarrier, then symbol after symbol.

        Returns:
            symbols: Index into the symbols of all grids, ``[num_grids * slots_per_grid]``.
            carriers: Index into ``carriers``, same shape.
        """
        first = np.arange(num_grids)[:, None] * self.num_ofdm_symbols
        symbols = (first + self.data_symbols).reshape(-1)
        return np.repeat(symbols, self.num_carriers), np.tile(np.arange(self.num_carriers), symbols.size)
