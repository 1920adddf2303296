"""Streams in the order of their quality, which each UAV feeds back: stream 0 goes to its best antenna."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from lvm_mtc import phy
from lvm_mtc.config import require_count
from lvm_mtc.link.carrier import ChannelDraws, Link, Slots, of_carrier
from lvm_mtc.link.ledger import Ledger
from lvm_mtc.link.scene import Scene
from lvm_mtc.link.signal import OperatingPoint
from lvm_mtc.link.single_carrier import SingleCarrier


def order_bits(count: int) -> int:
    """Bits that an order of so many things takes, ceil(log2 count!)."""
    return math.ceil(math.log2(math.factorial(count)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class RankedStreams:
    """A carrier on whose stream i the i-th best transmit antenna sends.

    A receiver ranks the antennas by the mean over its slots of the error that its equaliser leaves of a symbol,
    ``no_eff / (1 + no_eff)``, and feeds the order of a transmission back, error-free and booked: all that the base
    station ever knows of the channel.

    Attributes:
        carrier: What carries the symbols, of topology ``"broadcast"``; its frames must be private.
        age: 0: the order is that of the slots themselves, which no feedback can know of a channel that moves: a bound.
            Else that of so many slots before them, on a carrier whose channel moves; whole grids on a resource grid.
    """

    carrier: Any = SingleCarrier()
    age: int = 0

    topology = of_carrier("topology", "broadcast")
    takes_power = of_carrier("takes_power", False)
    block_length = of_carrier("block_length", None)
    num_pilots = of_carrier("num_pilots", None)
    grid = of_carrier("grid", None)
    private_only = True
    """Frames for several UAVs would need one order for all of them."""

    def check(self, link: Link) -> None:
        """As ``Carrier.check``."""
        require_count("RankedStreams", "age", self.age, least=0)
        if self.topology != "broadcast" or isinstance(self.carrier, Scene):
            got = f"{type(self.carrier).__name__} with {self.topology!r}"
            raise ValueError(f"RankedStreams.carrier must have topology 'broadcast' and be no Scene, got {got}")
        if link.num_tx_ant < 2:
            raise ValueError(f"RankedStreams needs LinkConfig.num_tx_ant >= 2, got {link.num_tx_ant}")
        if getattr(self.carrier, "embedded", None) is not None:
            raise ValueError("RankedStreams.carrier must have no embedded pilot: ranking would count its empty cells")
        if self.grid is not None and self.age % self.grid.slots_per_grid:
            raise ValueError(
                f"RankedStreams.age must be a multiple of the grid's {self.grid.slots_per_grid} slots, got {self.age}"
            )
        if self.age and self.grid is None:
            raise ValueError(f"RankedStreams.age {self.age} needs a resource grid: there the channel moves")
        self.carrier.check(self._within(link))

    def draw(
        self, link: Link, keys: jax.Array, batch: int, num_slots: int, total_slots: int, point: OperatingPoint
    ) -> ChannelDraws:
        """As ``Carrier.draw``: the slots of the ranking come first."""
        return self.carrier.draw(self._within(link), keys, batch, num_slots + self.age, total_slots + self.age, point)

    def send(self, link: Link, slots: Slots, draws: ChannelDraws, point: OperatingPoint) -> phy.LinkOutput:
        """As ``Carrier.send``; tells neither ``h`` nor ``y``, for their antennas are in another order."""
        within, send = self._within(link), self.carrier.send
        seen = slots._replace(x=jnp.zeros_like(slots.x))
        if self.age:
            lead = slots.x.shape[:2]
            index = jnp.broadcast_to(jnp.arange(self.age), (*lead, self.age))
            seen = Slots(jnp.zeros((*lead, self.age, slots.x.shape[-1]), slots.x.dtype), None, index, self.age)
            later = jnp.broadcast_to(jnp.arange(slots.x.shape[-2]), slots.x.shape[:-1])
            total = slots.x.shape[-2] if slots.total is None else slots.total
            index = self.age + (later if slots.index is None else slots.index)
            slots = slots._replace(index=index, total=total + self.age)
        order = _ranking(send(within, seen, draws, point).no_eff, seen.active)[:, :, None]
        antenna_of, stream_of = order, jnp.argsort(order, axis=-1)
        sent = slots._replace(x=_along(slots.x, stream_of))
        if slots.active is not None:
            sent = sent._replace(active=_along(slots.active, stream_of))
        output = send(within, sent, draws, point)
        x_hat, no_eff = (_along(a, antenna_of) for a in (output.x_hat, output.no_eff))
        return output._replace(x_hat=x_hat, no_eff=no_eff, h=None, y=None)

    def book(self, link: Link, ledger: Ledger, num_uavs: int) -> Ledger:
        """As ``Carrier.book``: and the order of each UAV."""
        ledger = self.carrier.book(self._within(link), ledger, num_uavs)
        bits = num_uavs * order_bits(link.num_tx_ant)
        return ledger._replace(side_information_bits=ledger.side_information_bits + bits)

    def _within(self, link: Link) -> Link:
        return dataclasses.replace(link, carrier=self.carrier)


def _ranking(no_eff: jax.Array, active: jax.Array | None) -> jax.Array:
    """Antennas from best to worst, ``[batch, num_uavs, num_tx_ant]``, of ``[batch, num_uavs, num_slots, num_tx_ant]``.

    A slot that is not sent tells nothing.
    """
    error = no_eff / (1 + no_eff)
    if active is not None:
        heard = jnp.any(active, axis=-1, keepdims=True)
        error = jnp.where(heard, error, 0) / jnp.maximum(jnp.sum(heard, axis=-2, keepdims=True), 1)
    return jnp.argsort(jax.lax.stop_gradient(jnp.sum(error, axis=-2)), axis=-1)


def _along(a: jax.Array, order: jax.Array) -> jax.Array:
    return jnp.take_along_axis(a, jnp.broadcast_to(order, a.shape), axis=-1)
