"""Flat fading on a single carrier: a matrix for each coherence block."""

import dataclasses

import jax
import jax.numpy as jnp

from lvm_mtc import phy
from lvm_mtc.config import require_count, require_number, require_one_of
from lvm_mtc.interop.sionna import channels
from lvm_mtc.link.carrier import ChannelDraws, Link, Slots, draw_each, send_options
from lvm_mtc.link.fading import flat_prior, flat_sampler
from lvm_mtc.link.ledger import Ledger, book_pilots
from lvm_mtc.link.signal import OperatingPoint


def draw_flat(
    carrier,
    link: Link,
    keys: jax.Array,
    batch: int,
    num_slots: int,
    total_slots: int,
    point: OperatingPoint,
    demodulation_slots: int = 0,
) -> ChannelDraws:
    """As ``Carrier.draw``, with ``block_length`` and ``num_pilots``; of the point ``k_factor_db`` and ``sight``."""

    def draw_one(key, numbers):
        numbers = jax.tree.map(lambda value: value[:, None], numbers)  # an axis for blocks
        draws = phy.draw_link(
            key,
            (batch,),
            num_slots,
            fading=flat_sampler(link, **numbers),
            block_length=carrier.block_length,
            total_slots=total_slots,
            csi=link.csi,
            num_pilots=carrier.num_pilots,
            demodulation_slots=demodulation_slots,
            num_rx_ant=link.num_rx_ant,
            num_tx_ant=keys.shape[0] if carrier.topology == "joint" else link.num_tx_ant,
        )
        if link.fading == "sionna_awgn":
            noise_key = phy.stream_key(key, phy.Stream.NOISE)
            draws = draws._replace(noise=channels.awgn(noise_key, jnp.zeros_like(draws.noise), 1.0))
        return draws

    numbers = {"k_factor_db": point.k_factor_db, "sight": point.sight}
    return draw_each(draw_one, carrier.topology, keys, batch, numbers)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SingleCarrier:
    """Flat fading on a single carrier.

    Attributes:
        topology: ``"broadcast"`` or ``"joint"``, as ``Carrier`` has it.
        block_length: Slots over which H stays the same, pilots included; None: the whole picture.
        num_pilots: Pilots per antenna and block, with the pilot-based estimates.
        block_doppler: Largest Doppler shift times the time from block to block, >= 0; Rayleigh or Rician fading then
            moves on from block to block with the autocorrelation J0(2 pi block_doppler n), a line of sight with a shift
            of its own. None: the blocks fade independently.
    """

    topology: str = "broadcast"
    block_length: int | None = None
    num_pilots: int | None = None
    block_doppler: float | None = None

    draw = draw_flat

    @property
    def takes_power(self) -> bool:
        """As ``Carrier.takes_power``: where each receiver has slots of its own."""
        return self.topology == "broadcast"

    def check(self, link: Link) -> None:
        """As ``Carrier.check``."""
        require_one_of("SingleCarrier", "topology", self.topology, ("broadcast", "joint"))
        check_antennas(link)
        check_flat(link, self)
        if self.block_doppler is not None:
            check_moving(link, self, self.block_doppler)

    def send(self, link: Link, slots: Slots, draws: ChannelDraws, point: OperatingPoint) -> phy.LinkOutput:
        """As ``Carrier.send``."""
        # The draws hold the channel: what is left of the fading is whether there is any.
        receive = phy.joint if self.topology == "joint" else phy.broadcast
        return receive(
            None,
            slots.x,
            fading=flat_sampler(link),
            num_rx_ant=link.num_rx_ant,
            block_length=self.block_length,
            num_pilots=self.num_pilots,
            prior=flat_prior(link),
            **send_options(link, slots, draws, point, slots.x.shape[:-2]),
        )

    def book(self, link: Link, ledger: Ledger, num_uavs: int) -> Ledger:
        """As ``Carrier.book``."""
        return book_pilots(ledger, self.num_pilots or 0, link.num_tx_ant, self.block_length)


def check_antennas(link: Link) -> None:
    """Raises where a receiver needs as many antennas as there are streams, or more."""
    counts = f"got {link.num_rx_ant} and {link.num_tx_ant}"
    if link.is_awgn and link.num_rx_ant != link.num_tx_ant:
        raise ValueError(
            f"AWGN is parallel 1x1 links: LinkConfig.num_rx_ant must equal num_tx_ant, {counts}; for one antenna each "
            "num_rx_ant=1, num_tx_ant=1"
        )
    if link.num_rx_ant < link.num_tx_ant and link.equalizer == "zf":
        raise ValueError(f"LinkConfig.equalizer 'zf' needs num_rx_ant >= num_tx_ant, {counts}")
    if link.num_rx_ant != link.num_tx_ant and link.equalizer == "none":
        raise ValueError(f"LinkConfig.equalizer 'none' needs num_rx_ant == num_tx_ant, {counts}")


def check_moving(link: Link, carrier: SingleCarrier, doppler: float) -> None:
    """Raises where blocks cannot fade on from one another."""
    require_number("SingleCarrier", "block_doppler", doppler, 0.0)
    if link.fading not in ("rayleigh", "rician") or link.rx_corr or link.tx_corr:
        raise ValueError(
            f"SingleCarrier.block_doppler {carrier.block_doppler!r}: uncorrelated Rayleigh and Rician fading move from "
            f"block to block, not {link.fading!r} with rx_corr {link.rx_corr!r} and tx_corr {link.tx_corr!r}"
        )
    if carrier.block_length is None:
        raise ValueError(f"SingleCarrier.block_doppler {carrier.block_doppler!r} needs a block_length")


def check_flat(link: Link, carrier) -> None:
    """Raises for fading that depends on the frequency, and blocks and pilots that do not fit each other or the CSI."""
    block_length, num_pilots, carrier = carrier.block_length, carrier.num_pilots, type(carrier).__name__
    if link.is_selective:
        raise ValueError(f"{carrier}: fading {link.fading!r} is frequency-selective and needs a resource grid (Ofdm)")
    if block_length is not None:
        require_count(carrier, "block_length", block_length)
    if not link.csi.startswith("pilots"):
        if num_pilots is not None:
            raise ValueError(
                f"{carrier}.num_pilots {num_pilots!r} goes with csi 'pilots_ls' or 'pilots_lmmse', not {link.csi!r}"
            )
        return
    if num_pilots is None:
        raise ValueError(f"LinkConfig.csi {link.csi!r} needs {carrier}.num_pilots")
    require_count(carrier, "num_pilots", num_pilots, link.num_tx_ant)
    if block_length is not None and block_length < num_pilots + 1:
        raise ValueError(f"{carrier}.block_length {block_length} is shorter than num_pilots + 1 = {num_pilots + 1}")
