"""Simultaneous private streams, precoded at the base station: one stream and one receive antenna a UAV."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from lvm_mtc import phy
from lvm_mtc.config import require_one_of
from lvm_mtc.link.carrier import ChannelDraws, Link, Slots, send_options
from lvm_mtc.link.fading import flat_prior
from lvm_mtc.link.ledger import Ledger, book_pilots
from lvm_mtc.link.signal import OperatingPoint
from lvm_mtc.link.single_carrier import check_flat, draw_flat

_NEEDS = "on the command line --channel rayleigh --convention esno --link topology=mu_mimo --link num_rx_ant=1"


@dataclasses.dataclass(frozen=True, kw_only=True)
class MuMimo:
    """Private streams at the same time, precoded; flat fading on a single carrier.

    Attributes:
        block_length: As in ``SingleCarrier``, like ``num_pilots``, which serve the base station.
        precoding: ``"rzf"``, ``"zf"`` or ``"mf"``.
        csi_aware: The precoder knows the variance of its CSI error.
        power_constraint: ``"total"`` or ``"per_antenna"``.
        demodulation: How the UAVs know the gains of the beams: ``"pilots"``, measured in 2 K slots of each block, K for
            the private beams and K for the common one; ``"genie"``, exactly and for nothing.
    """

    topology: ClassVar[str] = "mu_mimo"
    block_length: int | None = None
    num_pilots: int | None = None
    precoding: str = "rzf"
    csi_aware: bool = True
    power_constraint: str = "total"
    demodulation: str = "pilots"

    def check(self, link: Link) -> None:
        """As ``Carrier.check``."""
        require_one_of("MuMimo", "precoding", self.precoding, phy.PRECODINGS)
        require_one_of("MuMimo", "power_constraint", self.power_constraint, phy.POWER_CONSTRAINTS)
        require_one_of("MuMimo", "demodulation", self.demodulation, phy.DEMODULATIONS)
        if link.num_rx_ant != 1:
            raise ValueError(
                f"LinkConfig.num_rx_ant must be 1 under topology 'mu_mimo' (one stream a UAV), got {link.num_rx_ant}: "
                + _NEEDS
            )
        if link.is_awgn:
            raise ValueError(f"LinkConfig.topology 'mu_mimo' needs flat fading, got {link.fading!r}")
        check_flat(link, self)
        if link.equalizer == "none":
            raise ValueError(
                "LinkConfig.equalizer 'none' does not go with topology 'mu_mimo', where every UAV divides by the gain "
                "of its beam"
            )
        if link.convention != "esno":
            got = f"got {link.convention!r}: {_NEEDS}"
            raise ValueError(f"LinkConfig.convention must be 'esno' under topology 'mu_mimo', {got}")

    def draw(
        self, link: Link, keys: jax.Array, batch: int, num_slots: int, total_slots: int, point: OperatingPoint
    ) -> ChannelDraws:
        """As ``Carrier.draw``; of the point ``k_factor_db`` is used."""
        pilots = self._demodulation_slots(keys.shape[0])
        return draw_flat(self, link, keys, batch, num_slots, total_slots, point, pilots)

    def send(self, link: Link, slots: Slots, draws: ChannelDraws, point: OperatingPoint) -> phy.MuMimoOutput:
        """As ``Carrier.send``."""
        batch, num_slots, num_uavs = slots.x.shape
        common = jnp.broadcast_to(jnp.arange(num_slots) < slots.num_common, (batch, num_slots))
        options = send_options(link, slots, draws, point, (batch, num_uavs))
        return phy.mu_mimo(
            None,
            slots.x,
            num_tx_ant=link.num_tx_ant,
            common=common,
            method=self.precoding,
            csi_aware=self.csi_aware,
            constraint=self.power_constraint,
            demodulation=self.demodulation,
            tx_csi_error_var=options.pop("csi_error_var"),
            block_length=self.block_length,
            num_pilots=self.num_pilots,
            prior=flat_prior(link),
            **options,
        )

    def book(self, link: Link, ledger: Ledger, num_uavs: int) -> Ledger:
        """As ``Carrier.book``: a slot of pilots has the power of one of data, K."""
        pilots = (self.num_pilots or 0) + self._demodulation_slots(num_uavs)
        return book_pilots(ledger, pilots, num_uavs, self.block_length)

    def _demodulation_slots(self, num_uavs: int) -> int:
        return 2 * num_uavs if self.demodulation == "pilots" else 0
