"""A resource grid of OFDM symbols: frequency-selective, moving channels, with pilots and a prefix of its own."""

import dataclasses

import jax

from lvm_mtc import phy
from lvm_mtc.config import require_number, require_one_of
from lvm_mtc.interop.sionna.profiles import unit_profile
from lvm_mtc.link.carrier import ChannelDraws, Link, Slots, draw_each, per_link, send_options
from lvm_mtc.link.fading import FLAT_ON_GRID, grid_statistics, has_profile, path_sampler
from lvm_mtc.link.ledger import Ledger, book_grid
from lvm_mtc.link.recorded import RecordedChannel
from lvm_mtc.link.signal import OperatingPoint
from lvm_mtc.link.single_carrier import check_antennas


def max_doppler_of(carrier) -> float:
    """Largest Doppler shift of a carrier's speed, Hz."""
    return carrier.speed * carrier.carrier_frequency / phy.SPEED_OF_LIGHT


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ofdm:
    """Slots are the resource elements of a grid.

    Attributes:
        topology: ``"broadcast"`` or ``"joint"``, as ``Carrier`` has it.
        grid: The resource grid.
        interpolation: Of least-squares pilots: ``"linear"``, ``"nearest"`` or ``"hold"``, which ages.
        carrier_frequency: Hz; with ``speed`` it gives the Doppler shift.
        speed: Of the UAVs, m/s.
    """

    topology: str = "broadcast"
    grid: phy.ResourceGrid = phy.ResourceGrid()
    interpolation: str = "linear"
    carrier_frequency: float = 3.5e9
    speed: float = 0.0

    max_doppler = property(max_doppler_of)

    @property
    def takes_power(self) -> bool:
        """As ``Carrier.takes_power``: where each receiver has slots of its own."""
        return self.topology == "broadcast"

    def check(self, link: Link) -> None:
        """As ``Carrier.check``."""
        require_one_of("Ofdm", "interpolation", self.interpolation, phy.INTERPOLATIONS)
        check_grid(link, self)

    def draw(
        self, link: Link, keys: jax.Array, batch: int, num_slots: int, total_slots: int, point: OperatingPoint
    ) -> ChannelDraws:
        """As ``Carrier.draw``; of the point ``k_factor_db``, ``max_doppler`` and ``sight`` are used."""
        num_streams = keys.shape[0] if self.topology == "joint" else link.num_tx_ant

        def draw_one(key, numbers):
            numbers = {"max_doppler": self.max_doppler, "carrier_frequency": self.carrier_frequency} | numbers
            return phy.draw_ofdm(
                key,
                (batch,),
                num_slots,
                grid=self.grid,
                paths=path_sampler(link, self.grid, **numbers),
                total_slots=total_slots,
                num_rx_ant=link.num_rx_ant,
                num_tx_ant=num_streams,
            )

        numbers = {name: getattr(point, name) for name in ("k_factor_db", "max_doppler", "sight")}
        return draw_each(draw_one, self.topology, keys, batch, numbers)

    def send(self, link: Link, slots: Slots, draws: ChannelDraws, point: OperatingPoint) -> phy.LinkOutput:
        """As ``Carrier.send``."""
        lead = slots.x.shape[:-2]
        max_doppler = self.max_doppler if point.max_doppler is None else per_link(point.max_doppler, lead)
        return phy.ofdm_link(
            None,
            slots.x,
            grid=self.grid,
            statistics=grid_statistics(link, self.grid, slots.x.shape[-1], max_doppler),
            num_rx_ant=link.num_rx_ant,
            interpolation=self.interpolation,
            joint=self.topology == "joint",
            **send_options(link, slots, draws, point, lead),
        )

    def book(self, link: Link, ledger: Ledger, num_uavs: int) -> Ledger:
        """As ``Carrier.book``: whole grids, which the symbols begin."""
        return book_grid(ledger, self.grid, link.num_tx_ant)


def check_grid(link: Link, carrier) -> None:
    """Raises for what a carrier with a resource grid and a speed cannot serve."""
    name = type(carrier).__name__
    require_one_of(name, "topology", carrier.topology, ("broadcast", "joint"))
    require_number(name, "speed", carrier.speed, 0.0, most=phy.SPEED_OF_LIGHT)
    require_number(name, "carrier_frequency", carrier.carrier_frequency, 0.0, most=1e12, strict=True)
    check_antennas(link)
    if not (link.is_selective or link.fading in FLAT_ON_GRID or callable(link.fading)):
        raise ValueError(
            f"{name} carries frequency-selective fading, {' and '.join(FLAT_ON_GRID)}, not {link.fading!r}"
        )
    if getattr(carrier, "embedded", None) is None:
        carrier.grid.require_pilots()
    if link.num_tx_ant > carrier.grid.num_carriers:
        raise ValueError(
            f"LinkConfig.num_tx_ant {link.num_tx_ant} antennas can't have pilots on {carrier.grid.num_carriers} "
            "subcarriers"
        )
    if link.rx_corr or link.tx_corr:
        raise ValueError("LinkConfig.rx_corr and tx_corr act on flat fading, not on a resource grid")
    if link.fading == "exponential":
        largest = phy.largest_delay_spread(carrier.grid.cyclic_prefix_length + 1, carrier.grid.sample_duration)
        if link.delay_spread > largest:
            raise ValueError(
                f"LinkConfig.delay_spread must be at most {largest:.4g} s, which is all that the taps within the "
                f"cyclic prefix can have, got {link.delay_spread!r}"
            )
    elif isinstance(link.fading, RecordedChannel):
        link.fading.check_antennas(link.num_rx_ant, link.num_tx_ant)
        carrier.grid.require_within_prefix(
            float(link.fading.delays.max()), f"the longest delay of {link.fading.name!r}"
        )
    elif has_profile(link.fading):
        longest = float(unit_profile(link.fading)[0].max()) * link.delay_spread
        what = f"LinkConfig.delay_spread {link.delay_spread!r}: the longest delay of {link.fading!r}"
        carrier.grid.require_within_prefix(longest, what)
