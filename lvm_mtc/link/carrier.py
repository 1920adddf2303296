"""What a carrier is: it takes slots of symbols through a channel and books what that costs beside them."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from lvm_mtc import phy
from lvm_mtc.link.ledger import Ledger
from lvm_mtc.link.signal import OperatingPoint

ChannelDraws = Any
"""What a carrier's ``draw`` gives: a pytree of arrays of unit variance."""
Link = Any
"""The ``LinkConfig`` that a carrier belongs to (its file imports this one)."""


class Slots(NamedTuple):
    """Symbols in their places.

    Attributes:
        x: ``[batch, num_uavs, num_slots, num_tx_ant]`` complex, power 1 per active symbol; where all UAVs' streams
            share the slots, ``[batch, num_slots, num_uavs]``.
        active: Symbols on air, bool, shape of ``x``; None: all.
        index: Place of each slot on the time axis, ``x.shape[:-1]`` integer; None: ``arange``.
        total: Slots of data on the time axis; None: as many as ``x`` has.
        num_common: How many of the first slots go to all UAVs on one beam, where they share slots.
        power: Of each slot, which its receiver knows, ``x.shape[:-1]``; None: 1. Carriers that do not know what to do
            with it (``takes_power``) never get it.
    """

    x: jax.Array
    active: jax.Array | None = None
    index: jax.Array | None = None  # pyright: ignore[reportIncompatibleMethodOverride]
    total: int | None = None
    num_common: int = 0
    power: jax.Array | None = None


class Carrier(Protocol):
    """A frozen dataclass, static under ``jit``; its methods are pure.

    Attributes:
        topology: Who detects: ``"broadcast"``, each UAV its own slots; ``"joint"``, one receiver all streams, of which
            stream k is UAV k's; ``"mu_mimo"``, UAV k its own of the streams that share a slot; ``"mac"``, the base
            station the streams of all UAVs.
        takes_power: Whether its receivers use ``Slots.power``; may be left out, False. Others send frames of unequal
            power as symbols of unequal amplitude and equalise as for power 1.
        private_only: Whether it refuses public frames; may be left out, False.
    """

    topology: str
    takes_power: bool
    private_only: bool

    def check(self, link: Link) -> None:
        """Raises ``ValueError`` for a link that this carrier cannot serve."""
        ...

    def draw(
        self, link: Link, keys: jax.Array, batch: int, num_slots: int, total_slots: int, point: OperatingPoint
    ) -> ChannelDraws:
        """Draws all that is random, of unit variance, once for all points of a sweep; keys ``[num_uavs]``."""
        ...

    def send(self, link: Link, slots: Slots, draws: ChannelDraws, point: OperatingPoint) -> phy.LinkOutput:
        """Sends and equalises; ``x_hat`` and ``no_eff`` have the shape of ``slots.x``.

        The other entries only serve to measure the SNR and may be None, but ``h`` and ``y`` only together.
        """
        ...

    def book(self, link: Link, ledger: Ledger, num_uavs: int) -> Ledger:
        """Adds pilots, prefix and idle elements to what the symbols cost."""
        ...


def noise_variance(link: Link, point: OperatingPoint) -> jax.Array:
    """Noise variance per complex dimension at a point, linear, shape of ``point.snr_db``."""
    return phy.noise_variance(
        jnp.asarray(point.snr_db, jnp.float32),
        convention=link.convention,
        num_rx_ant=link.num_rx_ant,
        num_tx_ant=link.num_tx_ant,
        fading=not link.is_awgn,
    )


def per_link(value: Any, lead: tuple[int, ...]) -> jax.Array:
    """A scalar, ``[batch]`` or ``[batch, num_uavs]`` number for every link of ``lead``; arrays may have more axes."""
    value = jnp.asarray(value, jnp.float32)
    if value.ndim == 1 and len(lead) == 2:
        value = value[:, None]
    return jnp.broadcast_to(value, (*lead, *value.shape[len(lead) :]))


def send_options(link: Link, slots: Slots, draws: ChannelDraws, point: OperatingPoint, lead: tuple[int, ...]) -> dict:
    """Arguments that all of ``phy``'s links take."""
    known_power = {} if slots.power is None else {"power": slots.power}
    return known_power | dict(
        no=per_link(noise_variance(link, point), lead),
        csi_error_var=per_link(point.csi_error_var, lead),
        slot_index=slots.index,
        active=slots.active,
        total_slots=slots.x.shape[-2] if slots.total is None else slots.total,
        csi=link.csi,
        equalizer=link.equalizer,
        draws=draws,
    )


def of_carrier(name: str, otherwise: Any) -> Any:
    """A property of a carrier around another one: that one's, or else ``otherwise``."""
    return property(lambda self: getattr(self.carrier, name, otherwise), doc=f"``{name}`` of the carrier.")


def draw_each(draw_one: Callable, topology: str, keys: jax.Array, batch: int, numbers: dict[str, Any]) -> ChannelDraws:
    """Draws of every UAV, or under the joint topology of the one receiver, which has the first key.

    ``draw_one`` makes of a key and the point's ``numbers`` that are not None, ``[batch]`` each, draws with the leading
    axis ``batch``.
    """
    numbers = {name: value for name, value in numbers.items() if value is not None}
    if topology == "joint":
        return draw_one(keys[0], {name: per_link(value, (batch,)) for name, value in numbers.items()})
    numbers = jax.tree.map(lambda value: jnp.swapaxes(per_link(value, (batch, keys.shape[0])), 0, 1), numbers)
    return jax.vmap(draw_one, out_axes=1)(keys, numbers)
