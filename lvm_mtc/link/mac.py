"""The uplink: devices of one antenna each, and one receiver."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from lvm_mtc import phy
from lvm_mtc.config import require_one_of
from lvm_mtc.link.carrier import ChannelDraws, Link, Slots, noise_variance, per_link, send_options
from lvm_mtc.link.fading import flat_prior, flat_sampler
from lvm_mtc.link.ledger import Ledger, book_pilots
from lvm_mtc.link.signal import OperatingPoint
from lvm_mtc.link.single_carrier import check_flat, draw_flat
from lvm_mtc.phy.numerics import complex_normal

ACCESSES = ("superposed", "orthogonal")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mac:
    """All devices send to one receiver, which detects their streams jointly; flat fading on a single carrier.

    Stream k is device k's. Each has the average power that its SNR says (``OperatingPoint.snr_db`` may be per device)
    over the slots of the group, under either access. Public frames are sent by all devices, each its share of the
    symbols, as if they agreed on them.

    Attributes:
        access: ``"superposed"``: at the same time; ``"orthogonal"``: one after the other, K slots for one, with K times
            the power.
        block_length: As in ``SingleCarrier``; a coherence block is as long under either access.
        num_pilots: Pilots of each device and block, in which all send; at least K.
    """

    topology: ClassVar[str] = "mac"
    access: str = "superposed"
    block_length: int | None = None
    num_pilots: int | None = None

    def check(self, link: Link) -> None:
        """As ``Carrier.check``."""
        require_one_of("Mac", "access", self.access, ACCESSES)
        if link.num_tx_ant != 1:
            raise ValueError(
                f"LinkConfig.num_tx_ant must be 1 under topology 'mac' (one antenna a device), got {link.num_tx_ant}: "
                "on the command line --channel rayleigh --link topology=mac --link num_tx_ant=1"
            )
        if link.is_awgn:
            raise ValueError(f"LinkConfig.topology 'mac' needs flat fading, got {link.fading!r}")
        check_flat(link, self)
        if link.equalizer == "none":
            raise ValueError("LinkConfig.equalizer 'none' does not go with topology 'mac': it separates no devices")

    def draw(
        self, link: Link, keys: jax.Array, batch: int, num_slots: int, total_slots: int, point: OperatingPoint
    ) -> ChannelDraws:
        """As ``Carrier.draw``; of the point ``k_factor_db`` is used."""
        turns = self._turns(keys.shape[0])
        channels = draw_flat(self, link, keys, batch, 1, total_slots * turns, point)
        noise_key = phy.stream_key(keys[0], phy.Stream.NOISE)
        return channels._replace(noise=complex_normal(noise_key, (batch, num_slots * turns), (link.num_rx_ant,)))

    def send(self, link: Link, slots: Slots, draws: ChannelDraws, point: OperatingPoint) -> phy.LinkOutput:
        """As ``Carrier.send``."""
        batch, num_slots, num_devices = slots.x.shape
        turns = self._turns(num_devices)
        noise = per_link(noise_variance(link, point), (batch, num_devices))
        no = jnp.max(noise, axis=-1)
        power = jnp.where(noise > 0, no[:, None] / jnp.where(noise > 0, noise, 1), 1)
        slots = _in_turns(slots, turns)
        options: dict[str, Any] = send_options(link, slots, draws, point, (batch, num_devices)) | {"no": no}
        out = phy.mac(
            None,
            slots.x,
            power=turns * power,
            pilot_power=power,
            fading=flat_sampler(link),
            num_rx_ant=link.num_rx_ant,
            block_length=self.block_length,
            num_pilots=self.num_pilots,
            prior=flat_prior(link),
            **options,
        )
        if turns == 1:
            return out

        def own(a):  # of device k in its turn
            return jnp.diagonal(a.reshape(batch, num_slots, turns, turns), axis1=-2, axis2=-1)

        return out._replace(x_hat=own(out.x_hat), no_eff=own(out.no_eff), heard=_apart(out.heard, num_devices))

    def book(self, link: Link, ledger: Ledger, num_uavs: int) -> Ledger:
        """As ``Carrier.book``; a slot has power K under either access, and a symbol of one device alone K uses."""
        turns = self._turns(num_uavs)
        paid = {name: turns * getattr(ledger, name) for name in ("private_uses", "public_uses", "slots")}
        return book_pilots(ledger._replace(**paid), self.num_pilots or 0, num_uavs, self.block_length)

    def _turns(self, num_devices: int) -> int:
        return num_devices if self.access == "orthogonal" else 1


def _in_turns(slots: Slots, turns: int) -> Slots:
    """Every slot as ``turns`` slots, in each of which one stream is on air."""
    if turns == 1:
        return slots
    batch, num_slots, num_devices = slots.x.shape
    shape = batch, num_slots, turns, num_devices
    alone = jnp.eye(turns, dtype=bool).reshape(1, 1, turns, turns)
    active = alone if slots.active is None else alone & slots.active[:, :, None]
    active = jnp.broadcast_to(active, shape).reshape(batch, -1, num_devices)
    x = jnp.broadcast_to(slots.x[:, :, None], shape).reshape(active.shape)
    index = None
    if slots.index is not None:
        index = (slots.index[..., None] * turns + jnp.arange(turns).reshape(1, 1, -1)).reshape(batch, -1)
    return Slots(x, active, index, None if slots.total is None else turns * slots.total)


def _apart(heard: phy.Observation | None, num_devices: int) -> phy.Observation | None:
    """What was heard of each device in its turns, ``[batch, num_devices, num_slots, ...]`` with one column."""
    if heard is None:
        return None
    y, h = heard
    y = jnp.swapaxes(y.reshape(y.shape[0], -1, num_devices, y.shape[-1]), 1, 2)
    if h.shape[1] == 1:
        h = jnp.broadcast_to(h, (h.shape[0], num_devices, *h.shape[2:]))
    h = h.reshape(h.shape[0], -1, num_devices, *h.shape[2:])
    return phy.Observation(y, jnp.moveaxis(jnp.diagonal(h, axis1=2, axis2=-1), -1, 1)[..., None])
