"""The channel that a ``LinkConfig`` names: slots in, equalised slots out. Every scheme goes through it."""

from typing import Any

import jax
import jax.numpy as jnp

from lvm_mtc import phy
from lvm_mtc.system.config import LinkConfig, OperatingPoint


def draw_slots(keys: jax.Array, link: LinkConfig, batch: int, num_slots: int, total_slots: int) -> phy.LinkDraws:
    """Draws fading, CSI error and noise of unit variance once, for all points of a sweep.

    Args:
        keys: One per UAV, ``[num_uavs]``; the joint topology uses the first.
        link: The link's kind.
        batch: Groups of UAVs that are served apart.
        num_slots: Slots that a receiver hears.
        total_slots: Slots of data on the time axis.
    """
    options = _timing(link, total_slots) | dict(fading=link.sampler(), num_rx_ant=link.num_rx_ant)
    if link.topology == "joint":
        return phy.draw_link(keys[0], (batch,), num_slots, num_tx_ant=keys.shape[0], **options)
    return phy.draw_link(keys, (batch, keys.shape[0]), num_slots, num_tx_ant=link.num_tx_ant, **options)


def send_slots(
    keys: jax.Array,
    x: jax.Array,
    link: LinkConfig,
    point: OperatingPoint,
    *,
    active: jax.Array | None = None,
    slot_index: jax.Array | None = None,
    total_slots: int | None = None,
    draws: phy.LinkDraws | None = None,
) -> phy.LinkOutput:
    """Sends symbols through the link's channel and equalises them.

    Args:
        keys: One per UAV, ``[num_uavs]``; unused with ``draws``.
        x: ``[batch, num_uavs, num_slots, num_tx_ant]`` complex, power 1 per active symbol; under the joint topology
            ``[batch, num_slots, num_uavs]``.
        link: The link's kind.
        point: Of which ``snr_db`` and ``csi_error_var`` are used.
        active: Boolean, shape of ``x``: symbols on air; None: all.
        slot_index: Place of each slot on the time axis, ``x.shape[:-1]`` integer; None: ``arange``.
        total_slots: Slots of data on the time axis; None: as many as ``x`` has.
        draws: From :func:`draw_slots`, for points that share them.

    Returns:
        See ``phy.LinkOutput``.

    Raises:
        ValueError: on shapes that do not fit the link.
    """
    total_slots = x.shape[-2] if total_slots is None else total_slots
    lead = x.shape[:-2]
    receive, keys = (phy.joint, keys[0]) if link.topology == "joint" else (phy.broadcast, keys)
    return receive(
        keys,
        x,
        no=_per_link(noise_variance(link, point), lead),
        csi_error_var=_per_link(point.csi_error_var, lead),
        fading=link.sampler(),
        num_rx_ant=link.num_rx_ant,
        slot_index=slot_index,
        active=active,
        equalizer=link.equalizer,
        draws=draws,
        prior=link.prior(),
        **_timing(link, total_slots),
    )


def noise_variance(link: LinkConfig, point: OperatingPoint) -> jax.Array:
    """Noise variance per complex dimension at a point, linear, shape of ``point.snr_db``."""
    return phy.noise_variance(
        jnp.asarray(point.snr_db, jnp.float32),
        convention=link.convention,
        num_rx_ant=link.num_rx_ant,
        num_tx_ant=link.num_tx_ant,
        fading=link.fading != "awgn",
    )


def _timing(link: LinkConfig, total_slots: int) -> dict:
    return dict(block_length=link.block_length, total_slots=total_slots, csi=link.csi, num_pilots=link.num_pilots)


def _per_link(value: Any, lead: tuple[int, ...]) -> jax.Array:
    """A scalar, ``[batch]`` or ``[batch, num_uavs]`` number for every link of ``lead``."""
    value = jnp.asarray(value, jnp.float32)
    if value.ndim == 1 and len(lead) == 2:
        value = value[:, None]
    return jnp.broadcast_to(value, lead)
