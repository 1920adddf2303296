"""OTFS and OFDM over a channel that is sampled in time, so that Doppler turns it inside a symbol."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from lvm_mtc import phy
from lvm_mtc.config import require_one_of
from lvm_mtc.link.carrier import ChannelDraws, Link, Slots, draw_each, noise_variance, per_link
from lvm_mtc.link.fading import FLAT_ON_GRID, grid_statistics, path_sampler
from lvm_mtc.link.ledger import Ledger, book_grid
from lvm_mtc.link.ofdm import check_grid, max_doppler_of
from lvm_mtc.link.signal import OperatingPoint


def _check(carrier, link: Link) -> None:
    """As ``Carrier.check``."""
    check_grid(link, carrier)
    name = type(carrier).__name__
    require_one_of("LinkConfig", f"csi of {name}", link.csi, phy.SAMPLED_CSI)
    if link.csi == "pilots_ls" and carrier.embedded is None:
        raise ValueError(f"{name}: LinkConfig.csi 'pilots_ls' needs a pilot among the cells, Otfs.embedded")
    if link.csi == "pilots_lmmse":
        if carrier.embedded is not None:
            raise ValueError("Otfs.embedded is for LinkConfig.csi additive, mmse or pilots_ls, not 'pilots_lmmse'")
        if carrier.receiver != "block" or link.fading not in ("exponential", *FLAT_ON_GRID):
            raise ValueError(
                f"{name}: LinkConfig.csi 'pilots_lmmse' needs receiver 'block' and fading exponential, "
                f"{' or '.join(FLAT_ON_GRID)}, got {carrier.receiver!r} and {link.fading!r}"
            )
        num_taps = carrier.grid.cyclic_prefix_length + 1 if link.fading == "exponential" else 1
        phy.impulse_rows(carrier.grid, num_taps, link.num_tx_ant)
    known = phy.SAMPLED_EQUALIZERS[carrier.receiver]
    if link.equalizer not in known:
        raise ValueError(
            f"{name} with receiver {carrier.receiver!r} needs LinkConfig.equalizer {', '.join(known)}, "
            f"got {link.equalizer!r}"
        )


def _draw(
    carrier, link: Link, keys: jax.Array, batch: int, num_slots: int, total_slots: int, point: OperatingPoint
) -> ChannelDraws:
    """As ``Carrier.draw``; of the point ``k_factor_db``, ``max_doppler`` and ``sight`` are used."""
    num_streams = keys.shape[0] if carrier.topology == "joint" else link.num_tx_ant

    def draw_one(key, numbers):
        numbers = {"max_doppler": carrier.max_doppler, "carrier_frequency": carrier.carrier_frequency} | numbers
        return phy.draw_sampled(
            key,
            (batch,),
            total_slots,
            grid=carrier.grid,
            paths=path_sampler(link, carrier.grid, **numbers),
            statistics=grid_statistics(link, carrier.grid, num_streams, 0.0),
            num_rx_ant=link.num_rx_ant,
            num_tx_ant=num_streams,
            embedded=carrier.embedded,
        )

    numbers = {name: getattr(point, name) for name in ("k_factor_db", "max_doppler", "sight")}
    return draw_each(draw_one, carrier.topology, keys, batch, numbers)


def _send(carrier, link: Link, slots: Slots, draws: ChannelDraws, point: OperatingPoint) -> phy.LinkOutput:
    """As ``Carrier.send``: each receiver hears the grids with all that is on air in them.

    Without ``slots.index`` each has a time axis of its own. Tells neither ``h`` nor ``y``.
    """
    lead = slots.x.shape[:-2]
    doppler = carrier.max_doppler if point.max_doppler is None else point.max_doppler
    x = slots.x if slots.active is None else jnp.where(slots.active, slots.x, 0)
    received = phy.sampled_link(
        x if slots.index is None else _on_air(x, slots, slots.index, len(lead)),
        draws,
        no=per_link(noise_variance(link, point), lead),
        csi_error_var=per_link(point.csi_error_var, lead),
        statistics=grid_statistics(link, carrier.grid, slots.x.shape[-1], per_link(doppler, lead)),
        grid=carrier.grid,
        waveform=carrier.waveform,
        receiver=carrier.receiver,
        csi=link.csi,
        equalizer=link.equalizer,
        embedded=carrier.embedded,
    )
    if slots.index is not None:
        received = (jnp.take_along_axis(a, slots.index[..., None], axis=-2, mode="fill") for a in received)
    x_hat, no_eff = received
    if slots.active is not None:
        x_hat, no_eff = jnp.where(slots.active, x_hat, 0), jnp.where(slots.active, no_eff, 1)
    return phy.LinkOutput(x_hat, no_eff, None, None, None)  # pyright: ignore[reportArgumentType]


def _on_air(x: jax.Array, slots: Slots, index: jax.Array, num_lead: int) -> jax.Array:
    """What the time axis carries, ``[batch, total, streams]``, under broadcast ``[batch, 1, total, streams]``.

    A slot that several UAVs hear has the mean of their copies, which are the same but for gradients.
    """
    batch, num_streams = x.shape[0], x.shape[-1]
    active = jnp.ones(x.shape, bool) if slots.active is None else slots.active
    places = jnp.arange(batch)[:, None], index.reshape(batch, -1)
    air = jnp.zeros((batch, slots.total, num_streams), x.dtype)
    copies = air.real.at[places].add(active.reshape(batch, -1, num_streams).astype(air.real.dtype))
    air = air.at[places].add(x.reshape(batch, -1, num_streams))
    return (air / jnp.maximum(copies, 1)).reshape(batch, *(1,) * (num_lead - 1), slots.total, num_streams)


def _book(carrier, link: Link, ledger: Ledger, num_uavs: int) -> Ledger:
    """As ``Carrier.book``: whole grids, which the symbols begin."""
    cells = phy.data_cells(carrier.grid, carrier.embedded, link.num_tx_ant)
    return book_grid(ledger, carrier.grid, link.num_tx_ant, len(cells))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Otfs:
    """Slots are the delay-Doppler cells of a grid, a prefix for each symbol; L-MMSE over all of them.

    Attributes:
        topology: ``"broadcast"`` or ``"joint"``, as ``Carrier`` has it.
        grid: The resource grid: its used subcarriers are delays, its symbols of data Dopplers.
        embedded: A pilot among the cells, from which LinkConfig.csi ``"pilots_ls"`` estimates; None: no cells for one.
        carrier_frequency: Hz; with ``speed`` it gives the Doppler shift.
        speed: Of the UAVs, m/s.
    """

    waveform: ClassVar[str] = "otfs"
    receiver: ClassVar[str] = "block"
    topology: str = "broadcast"
    grid: phy.ResourceGrid = phy.ResourceGrid()
    embedded: phy.EmbeddedPilot | None = None
    carrier_frequency: float = 3.5e9
    speed: float = 0.0

    max_doppler = property(max_doppler_of)
    draw, send, book = _draw, _send, _book

    def check(self, link: Link) -> None:
        """As ``Carrier.check``."""
        if self.embedded is not None:
            self.embedded.guard(self.grid, link.num_tx_ant)
        _check(self, link)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OfdmIci:
    """Slots are the resource elements of a grid, with interference between subcarriers by Doppler.

    Attributes:
        topology: As in ``Otfs``, like ``grid``, ``carrier_frequency`` and ``speed``.
        receiver: ``"block"``: L-MMSE over all subcarriers of a symbol; ``"one_tap"``: each by itself.
    """

    waveform: ClassVar[str] = "ofdm"
    embedded: ClassVar[None] = None
    topology: str = "broadcast"
    grid: phy.ResourceGrid = phy.ResourceGrid()
    receiver: str = "block"
    carrier_frequency: float = 3.5e9
    speed: float = 0.0

    max_doppler = property(max_doppler_of)
    draw, send, book = _draw, _send, _book

    def check(self, link: Link) -> None:
        """As ``Carrier.check``."""
        require_one_of("OfdmIci", "receiver", self.receiver, phy.RECEIVERS)
        _check(self, link)
