"""The channel that a ``LinkConfig`` names: slots in, equalised slots out. Every scheme goes through it."""

from typing import Any

import jax
import jax.numpy as jnp

from lvm_mtc import phy
from lvm_mtc.interop.sionna import channels
from lvm_mtc.system.config import OperatingPoint
from lvm_mtc.system.fading import flat_prior, flat_sampler, grid_statistics, path_sampler
from lvm_mtc.system.link_config import LinkConfig

ChannelDraws = phy.LinkDraws | phy.OfdmDraws


def draw_slots(
    keys: jax.Array,
    link: LinkConfig,
    batch: int,
    num_slots: int,
    total_slots: int,
    point: OperatingPoint = OperatingPoint(),
) -> ChannelDraws:
    """Draws fading, CSI error and noise of unit variance once, for all points of a sweep.

    Args:
        keys: One per UAV, ``[num_uavs]``; the joint topology uses the first.
        link: The link's kind.
        batch: Groups of UAVs that are served apart.
        num_slots: Slots that a receiver hears.
        total_slots: Slots of data on the time axis.
        point: Of which ``k_factor_db`` and ``max_doppler`` are used.
    """
    numbers = {name: getattr(point, name) for name in ("k_factor_db", "max_doppler")}
    numbers = {name: value for name, value in numbers.items() if value is not None}
    if link.topology == "joint":
        numbers = {name: _per_link(value, (batch,)) for name, value in numbers.items()}
        return _draw(keys[0], link, batch, num_slots, total_slots, keys.shape[0], numbers)
    numbers = {name: _per_link(value, (batch, keys.shape[0])).T for name, value in numbers.items()}

    def draw_one(key, numbers):
        return _draw(key, link, batch, num_slots, total_slots, link.num_tx_ant, numbers)

    return jax.vmap(draw_one, out_axes=1)(keys, numbers)


def _draw(key, link: LinkConfig, batch: int, num_slots: int, total_slots: int, num_streams: int, numbers):
    """The draws of one UAV, or of all that are detected together; ``numbers`` are ``[batch]`` each."""
    antennas = dict(num_rx_ant=link.num_rx_ant, num_tx_ant=num_streams)
    if link.uses_ofdm:
        sampler = path_sampler(link, **numbers)
        return phy.draw_ofdm(
            key, (batch,), num_slots, grid=link.ofdm, paths=sampler, total_slots=total_slots, **antennas
        )
    numbers = {name: value[:, None] for name, value in numbers.items() if name == "k_factor_db"}  # an axis for blocks
    timing = _timing(link, total_slots)
    draws = phy.draw_link(key, (batch,), num_slots, fading=flat_sampler(link, **numbers), **timing, **antennas)
    if link.fading == "sionna_awgn":
        noise_key = phy.stream_key(key, phy.Stream.NOISE)
        draws = draws._replace(noise=channels.awgn(noise_key, jnp.zeros_like(draws.noise), 1.0))
    return draws


def send_slots(
    keys: jax.Array,
    x: jax.Array,
    link: LinkConfig,
    point: OperatingPoint,
    *,
    active: jax.Array | None = None,
    slot_index: jax.Array | None = None,
    total_slots: int | None = None,
    num_common: int = 0,
    draws: ChannelDraws | None = None,
) -> phy.LinkOutput:
    """Sends symbols through the link's channel and equalises them.

    Args:
        keys: One per UAV, ``[num_uavs]``; unused with ``draws``.
        x: ``[batch, num_uavs, num_slots, num_tx_ant]`` complex, power 1 per active symbol; under the joint topology and
            ``mu_mimo`` ``[batch, num_slots, num_uavs]``.
        link: The link's kind.
        point: All its numbers but ``mask_prob`` and ``epsilon``.
        active: Boolean, shape of ``x``: symbols on air; None: all.
        slot_index: Place of each slot on the time axis, ``x.shape[:-1]`` integer; None: ``arange``.
        total_slots: Slots of data on the time axis; None: as many as ``x`` has.
        num_common: Under ``mu_mimo``, how many of the first slots go to all UAVs on one beam.
        draws: From :func:`draw_slots`, for points that share them.

    Returns:
        See ``phy.LinkOutput``.

    Raises:
        ValueError: on shapes that do not fit the link.
    """
    total_slots = x.shape[-2] if total_slots is None else total_slots
    if draws is None:
        draws = draw_slots(keys, link, x.shape[0], x.shape[-2], total_slots, point)
    lead = (x.shape[0], x.shape[-1]) if link.topology == "mu_mimo" else x.shape[:-2]
    options = dict(
        no=_per_link(noise_variance(link, point), lead),
        csi_error_var=_per_link(point.csi_error_var, lead),
        slot_index=slot_index,
        active=active,
        total_slots=total_slots,
        csi=link.csi,
        equalizer=link.equalizer,
        draws=draws,
    )
    if link.uses_ofdm:
        max_doppler = None if point.max_doppler is None else _per_link(point.max_doppler, lead)
        return phy.ofdm_link(
            None,
            x,
            grid=link.ofdm,
            statistics=grid_statistics(link, max_doppler),
            num_rx_ant=link.num_rx_ant,
            interpolation=link.interpolation,
            joint=link.topology == "joint",
            **options,
        )
    # The draws hold the channel: what is left of the fading is whether there is any.
    options |= dict(block_length=link.block_length, num_pilots=link.num_pilots, prior=flat_prior(link))
    if link.topology == "mu_mimo":
        common = jnp.broadcast_to(jnp.arange(x.shape[-2]) < num_common, x.shape[:-1]) if num_common else None
        precoding = dict(method=link.precoding, csi_aware=link.csi_aware, constraint=link.power_constraint)
        return phy.mu_mimo(None, x, num_tx_ant=link.num_tx_ant, common=common, **precoding, **options)
    receive = phy.joint if link.topology == "joint" else phy.broadcast
    return receive(None, x, fading=flat_sampler(link), num_rx_ant=link.num_rx_ant, **options)


def noise_variance(link: LinkConfig, point: OperatingPoint) -> jax.Array:
    """Noise variance per complex dimension at a point, linear, shape of ``point.snr_db``."""
    return phy.noise_variance(
        jnp.asarray(point.snr_db, jnp.float32),
        convention=link.convention,
        num_rx_ant=link.num_rx_ant,
        num_tx_ant=link.num_tx_ant,
        fading=not link.is_awgn,
    )


def _timing(link: LinkConfig, total_slots: int) -> dict:
    return dict(block_length=link.block_length, total_slots=total_slots, csi=link.csi, num_pilots=link.num_pilots)


def _per_link(value: Any, lead: tuple[int, ...]) -> jax.Array:
    """A scalar, ``[batch]`` or ``[batch, num_uavs]`` number for every link of ``lead``."""
    value = jnp.asarray(value, jnp.float32)
    if value.ndim == 1 and len(lead) == 2:
        value = value[:, None]
    return jnp.broadcast_to(value, lead)
