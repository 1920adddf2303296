"""What all parts of the study share: a frame, its channel, the waveforms and their receivers, and where to measure."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lvm_mtc.link import LinkConfig, OfdmIci, OperatingPoint, Otfs, Slots
from lvm_mtc.phy import SPEED_OF_LIGHT, EmbeddedPilot, ResourceGrid, data_cells

GRID = ResourceGrid(
    fft_size=32, num_ofdm_symbols=33, cyclic_prefix_length=5, subcarrier_spacing=120e3, pilot_symbols=(0,)
)
CARRIER_FREQUENCY, DELAY_SPREAD = 28e9, 3e-7
CARRIERS = {"otfs": Otfs(grid=GRID), "block": OfdmIci(grid=GRID), "one_tap": OfdmIci(grid=GRID, receiver="one_tap")}
_BARE = dataclasses.replace(GRID, pilot_symbols=())
ESTIMATES = {
    "told": ("additive", CARRIERS["otfs"]),
    "impulses": ("pilots_lmmse", Otfs(grid=dataclasses.replace(GRID, pilot_symbols=tuple(range(0, 33, 4))))),
    "full": ("pilots_ls", Otfs(grid=_BARE, embedded=EmbeddedPilot(max_delay=5))),
    "reduced": ("pilots_ls", Otfs(grid=_BARE, embedded=EmbeddedPilot(max_delay=5, max_doppler=5))),
}
"""What OTFS knows of the channel, and from which pilots; all in frames of as many samples."""
SPEEDS_KMH = 0.0, 50.0, 125.0, 250.0, 500.0, 750.0, 1000.0
SNRS_DB = 0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0
AT_ONCE = 10


class SetOut(NamedTuple):
    """Where something is measured."""

    speed_kmh: float
    snr_db: float

    @property
    def doppler(self) -> float:
        """Largest Doppler shift, Hz."""
        return self.speed_kmh / 3.6 * CARRIER_FREQUENCY / SPEED_OF_LIGHT

    @property
    def point(self) -> OperatingPoint:
        """For a link."""
        return OperatingPoint(snr_db=jnp.float32(self.snr_db), max_doppler=jnp.float32(self.doppler))

    def described(self) -> dict[str, float]:
        """Fields of a row."""
        return {"speed_kmh": self.speed_kmh, "snr_db": self.snr_db, "doppler": self.doppler / GRID.subcarrier_spacing}


def link_of(carrier: Any, antennas: int = 1, csi: str = "additive") -> LinkConfig:
    """A link over the channel of the study."""
    return LinkConfig(
        fading="exponential", delay_spread=DELAY_SPREAD, num_rx_ant=antennas, num_tx_ant=antennas, csi=csi,
        carrier=carrier,
    )  # fmt: skip


def slots_of(link: LinkConfig) -> int:
    """Slots of data in a frame."""
    return len(data_cells(link.carrier.grid, link.carrier.embedded, link.num_tx_ant))


def cells(link: LinkConfig, x: jax.Array, key: jax.Array, point: OperatingPoint) -> tuple[jax.Array, jax.Array]:
    """Frames ``[batch, 1, slots, antennas]`` through a link: what is estimated, and with what error variance."""
    draws = link.carrier.draw(link, key[None], len(x), x.shape[2], x.shape[2], point)
    return link.carrier.send(link, Slots(x), draws, point)[:2]


def setup(speed: float, snr_db: float, num_frames: int, num_pictures: int, seed: int) -> dict[str, Any]:
    """What a page says of all this."""
    return {
        "speed_kmh": speed, "snr_db": snr_db, "frames": num_frames, "pictures": num_pictures, "seed": seed,
        "delays": GRID.num_carriers, "dopplers": len(GRID.data_symbols), "taps": GRID.cyclic_prefix_length + 1,
        "delay_spread_s": DELAY_SPREAD, "carrier_frequency_hz": CARRIER_FREQUENCY,
        "subcarrier_spacing_hz": GRID.subcarrier_spacing, "prefix": GRID.cyclic_prefix_length,
    }  # fmt: skip
