"""Tokens' symbols over the MIMO channel: into slots, through the link, out of slots."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lvm_mtc import phy
from lvm_mtc.models.groups import of_members
from lvm_mtc.system.channel import ChannelDraws, draw_slots, send_slots
from lvm_mtc.system.config import OperatingPoint
from lvm_mtc.system.link_config import LinkConfig
from lvm_mtc.system.timeline import broadcast_slots, joint_slots


class Sent(NamedTuple):
    """Symbols on their way, in aligned order.

    Attributes:
        own: Each token's private symbols, ``[batch, num_uavs, num_tokens, num_symbols]`` complex; average power 1 over
            those that ``private`` sends, the others only serve the comparator's gradient.
        own_gain: ``[batch, num_uavs]``, sent symbols over the encoder's.
        private: Which tokens are sent privately, ``[batch, num_uavs, num_tokens]`` bool.
        common: Public symbols, ``[batch, num_tokens, num_symbols]`` complex; likewise for ``public``.
        common_gain: ``[batch]``.
        public: ``[batch, num_tokens]`` bool.
        weight: ``public`` as float, with the gradient of the soft decision.
        turns: ``[batch, num_uavs, num_tokens]`` int32, the slots in the order in which they are sent
            (``sending_turns`` or ``group_turns`` of ``models``); None: as they stand, which is raster order.
        members: ``[batch, num_uavs, num_tokens]`` bool, whom each slot is, or would be, public for; None: all.
    """

    own: jax.Array
    own_gain: jax.Array
    private: jax.Array
    common: jax.Array
    common_gain: jax.Array
    public: jax.Array
    weight: jax.Array
    turns: jax.Array | None = None
    members: jax.Array | None = None

    @property
    def shared(self) -> jax.Array:
        """Where a UAV listens to the public token, ``[batch, num_uavs, num_tokens]`` bool (1 for all UAVs alike)."""
        return of_members(self.public, self.members)


def in_turn(slots: jax.Array, turns: jax.Array | None) -> jax.Array:
    """Puts aligned slots, ``[batch, num_uavs, num_tokens, ...]``, into the order in which they are sent."""
    if turns is None:
        return slots
    return jnp.take_along_axis(slots, turns.reshape(*turns.shape, *(1,) * (slots.ndim - 3)), axis=2)


def _aligned(sent: jax.Array, turns: jax.Array | None) -> jax.Array:
    """The inverse of :func:`in_turn`."""
    return sent if turns is None else in_turn(sent, jnp.argsort(turns, axis=-1))


def _common_turns(turns: jax.Array | None) -> jax.Array | None:
    """Public slots have the same turn for every UAV."""
    return None if turns is None else turns[:, :1]


def _fill_slots(symbols: jax.Array, sent: jax.Array, num_tx_ant: int) -> tuple[jax.Array, jax.Array]:
    """Symbols of the tokens that are ``sent`` and their activity, as ``[..., slots, num_tx_ant]``."""
    active = jnp.broadcast_to(sent[..., None], symbols.shape)
    x, active = (phy.tokens_to_slots(a, num_tx_ant) for a in (jnp.where(active, symbols, 0), active))
    return tuple(a.reshape(*a.shape[:-3], -1, num_tx_ant) for a in (x, active))


def _empty_slots(x: jax.Array, num_tokens: int, num_symbols: int) -> jax.Array:
    return phy.slots_to_tokens(x.reshape(*x.shape[:-2], num_tokens, -1, x.shape[-1]), num_symbols)


def streams_per_public(link: LinkConfig, num_uavs: int) -> int:
    """Different public symbols that a slot carries."""
    return {"broadcast": link.num_tx_ant, "joint": num_uavs, "mu_mimo": 1}[link.topology]


def num_slots(link: LinkConfig, num_uavs: int, num_tokens: int, num_symbols: int) -> tuple[int, int]:
    """Slots that one UAV's receiver processes, and the longest time axis that a group can need."""
    if link.topology != "broadcast":
        public = phy.slots_per_token(num_symbols, streams_per_public(link, num_uavs))
        return num_tokens * (public + num_symbols), num_tokens * num_symbols
    heard = num_tokens * phy.slots_per_token(num_symbols, link.num_tx_ant)
    return heard, num_uavs * heard


def draw_channel(
    keys: jax.Array,
    link: LinkConfig,
    batch: int,
    num_tokens: int,
    num_symbols: int,
    point: OperatingPoint = OperatingPoint(),
) -> ChannelDraws:
    """Draws fading, CSI error and noise of unit variance once, for all points of a sweep.

    Args:
        keys: One per UAV, ``[num_uavs]``.
        link: The link's kind.
        batch: Groups of pictures.
        num_tokens: Token slots per picture.
        num_symbols: Complex symbols per token.
        point: Of which ``k_factor_db`` and ``max_doppler`` are used.
    """
    return draw_slots(keys, link, batch, *num_slots(link, keys.shape[0], num_tokens, num_symbols), point)


def receive_symbols(
    sent: Sent, key: jax.Array, link: LinkConfig, point: OperatingPoint, draws: ChannelDraws | None = None
) -> tuple[jax.Array, jax.Array, phy.LinkOutput]:
    """Symbols at each UAV after its equaliser.

    Args:
        sent: What the base station sends.
        key: One per UAV, ``[num_uavs]``; the topologies but broadcast use the first.
        link: The link's kind.
        point: Of which ``snr_db`` and ``csi_error_var`` are used.
        draws: From :func:`draw_channel`, for points that share them.

    Returns:
        symbols: ``[batch, num_uavs, num_tokens, num_symbols]`` complex.
        no_eff: What the receiver believes of their error variance, same shape.
        link: The channel's own output.

    Raises:
        ValueError: if the joint topology's stream count is not the number of UAVs, or each UAV is to have an SNR of its
            own where all streams are detected or precoded together, or there are groups.
    """
    _, num_uavs, num_tokens, num_symbols = sent.own.shape
    if link.topology != "broadcast" and sent.members is not None:
        raise ValueError(f"SystemConfig.groups needs LinkConfig.topology 'broadcast', got {link.topology!r}")
    if link.topology == "joint" and link.num_tx_ant != num_uavs:
        raise ValueError(
            f"LinkConfig.num_tx_ant must equal the number of UAVs, {num_uavs}, under topology 'joint', "
            f"got {link.num_tx_ant}"
        )
    if link.topology != "broadcast" and jnp.ndim(point.snr_db) > 1:
        raise ValueError(
            f"OperatingPoint.snr_db per UAV needs LinkConfig.topology 'broadcast', got {link.topology!r} and shape "
            f"{jnp.shape(point.snr_db)}"
        )
    _, total_slots = num_slots(link, num_uavs, num_tokens, num_symbols)
    receive = _receive_broadcast if link.topology == "broadcast" else _receive_together
    return receive(sent, key, link, point, total_slots, draws)


def _receive_broadcast(sent, keys, link, point, total_slots, draws):
    _, _, num_tokens, num_symbols = sent.own.shape
    weight = of_members(sent.weight, sent.members)[..., None]
    symbols = weight * sent.common[:, None] + (1 - weight) * sent.own
    shared = jnp.broadcast_to(sent.shared, sent.private.shape)
    symbols, private, shared = (in_turn(a, sent.turns) for a in (symbols, sent.private, shared))
    x, active = _fill_slots(symbols, private | shared, link.num_tx_ant)
    public = shared.any(axis=1)  # a public token has the same turn for all its members
    slot_index = broadcast_slots(private, public, phy.slots_per_token(num_symbols, link.num_tx_ant), shared)
    out = send_slots(
        keys, x, link, point, active=active, slot_index=slot_index, total_slots=total_slots, draws=draws
    )
    x_hat, no_eff = (
        _aligned(_empty_slots(a, num_tokens, num_symbols), sent.turns) for a in (out.x_hat, out.no_eff)
    )
    return x_hat, no_eff, out


def _receive_together(sent, keys, link, point, total_slots, draws):
    """Private symbols of all UAVs at the same time, stream k for UAV k, behind the public ones."""
    _, num_uavs, num_tokens, num_symbols = sent.own.shape
    streams = streams_per_public(link, num_uavs)
    own, private = (in_turn(a, sent.turns) for a in (sent.own, sent.private))
    public, common = (in_turn(a[:, None], _common_turns(sent.turns))[:, 0] for a in (sent.public, sent.common))
    common, common_active = _fill_slots(common, public, streams)
    if link.topology == "mu_mimo":  # one symbol for all UAVs, of which each hears its own version
        common, common_active = (jnp.repeat(a, num_uavs, axis=-1) for a in (common, common_active))
    own_active = jnp.broadcast_to(private[..., None], own.shape)
    own, own_active = (
        jnp.moveaxis(a.reshape(*a.shape[:2], -1), 1, -1) for a in (jnp.where(own_active, own, 0), own_active)
    )
    slot_index = joint_slots(private, public, phy.slots_per_token(num_symbols, streams), num_symbols)
    out = send_slots(
        keys,
        jnp.concatenate([common, own], axis=1),
        link,
        point,
        active=jnp.concatenate([common_active, own_active], axis=1),
        slot_index=slot_index,
        total_slots=total_slots,
        num_common=common.shape[1],
        draws=draws,
    )

    def split(received):
        public, private = jnp.split(received, [common.shape[1]], axis=1)
        private = _aligned(jnp.moveaxis(private, -1, 1).reshape(sent.own.shape), sent.turns)
        if link.topology == "mu_mimo":
            return _aligned(jnp.moveaxis(public, -1, 1).reshape(sent.own.shape), sent.turns), private
        return _aligned(_empty_slots(public, num_tokens, num_symbols)[:, None], _common_turns(sent.turns)), private

    public, private = split(out.x_hat)
    weight = sent.weight[:, None, :, None]
    symbols = weight * public + (1 - weight) * private
    public, private = split(out.no_eff)
    return symbols, jnp.where(sent.public[:, None, :, None], public, private), out
