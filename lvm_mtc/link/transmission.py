"""Frames over a link: into slots, through the carrier, out of slots; and what that costs."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lvm_mtc import phy
from lvm_mtc.link.carrier import ChannelDraws, Slots
from lvm_mtc.link.config import LinkConfig
from lvm_mtc.link.fading import error_exponent
from lvm_mtc.link.ledger import Ledger, book_frames
from lvm_mtc.link.signal import Frames, OperatingPoint, Received, Signal, heard_by, in_turn, out_of_turn
from lvm_mtc.link.timeline import broadcast_slots, joint_slots


class Through(NamedTuple):
    """What a link tells of a transmission besides what the UAVs get.

    Attributes:
        snr: Measured on the signals that were really sent, linear, under the link's convention; NaN where it is not
            measured: another topology than broadcast, several coherence blocks, streams that are silent, or a carrier
            that tells no ``h``.
        nmse_symbols: Of the equalised symbols, ``[batch, num_uavs]``; NaN but under broadcast, and where its mean over
            channels is infinite (``error_exponent``).
    """

    snr: jax.Array
    nmse_symbols: jax.Array


def draw(
    link: LinkConfig,
    keys: jax.Array,
    batch: int,
    num_frames: int,
    num_symbols: int,
    point: OperatingPoint = OperatingPoint(),
) -> ChannelDraws:
    """Draws fading, CSI error and noise of unit variance once, for all points of a sweep.

    ``keys`` are one per UAV (the joint topology uses the first), ``batch`` are groups of UAVs that are served apart,
    with ``num_frames`` of ``num_symbols`` a UAV at most. Of the point ``k_factor_db`` and ``max_doppler`` are used.
    """
    slots = num_slots(link, keys.shape[0], num_frames, num_symbols)
    return link.carrier.draw(link, keys, batch, *slots, point)


def send(
    link: LinkConfig, signal: Signal, draws: ChannelDraws, point: OperatingPoint
) -> tuple[Received, phy.LinkOutput]:
    """Sends a signal and gives what each UAV has after its equaliser, and the carrier's own output.

    Of the point ``snr_db``, ``csi_error_var`` and ``max_doppler`` are used.
    """
    num_uavs = signal.private.symbols.shape[1]
    if signal.power is not None and signal.public is not None:
        raise ValueError("Signal.power is for private frames, and this signal has public ones")
    if signal.public is not None and getattr(link.carrier, "private_only", False):
        raise ValueError(f"{type(link.carrier).__name__} is for private frames, and this signal has public ones")
    amplitudes = _as_amplitudes(link, signal)
    if signal.power is not None and amplitudes is not signal:
        # Its equalisers take every symbol for one of power 1: exact with one antenna and perfect CSI.
        received, output = send(link, amplitudes, draws, point)
        power = signal.power[..., None]
        return Received(received.symbols / jnp.sqrt(power), received.no_eff / power), output
    if link.topology == "broadcast":
        return _send_broadcast(link, signal, draws, point)
    got = f"got {link.topology!r}"
    if signal.audience is not None:
        raise ValueError(f"public frames for some of the UAVs (LvmMtcConfig.groups) need topology 'broadcast', {got}")
    if link.topology == "joint" and link.num_tx_ant != num_uavs:
        wanted = f"the number of UAVs, {num_uavs}, under topology 'joint'"
        raise ValueError(f"LinkConfig.num_tx_ant must equal {wanted}, got {link.num_tx_ant}")
    if jnp.ndim(point.snr_db) > 1 and link.topology != "mac":
        got = f"{got} and shape {jnp.shape(point.snr_db)}"
        raise ValueError(f"OperatingPoint.snr_db per UAV needs LinkConfig.topology 'broadcast', {got}")
    return _send_together(link, signal, draws, point)


def book(link: LinkConfig, signal: Signal) -> Ledger:
    """What a signal costs on a link, side information left out."""
    num_uavs, num_symbols = signal.private.symbols.shape[1], signal.private.symbols.shape[-1]
    streams, joint = streams_per_public(link, num_uavs), link.topology != "broadcast"
    uses_per_slot = num_uavs if link.topology == "mu_mimo" else streams
    ledger = book_frames(
        signal.private.sent, _public(signal).sent, num_symbols, streams, joint=joint, uses_per_slot=uses_per_slot
    )
    return link.carrier.book(link, ledger, num_uavs)


def measure(link: LinkConfig, signal: Signal, output: phy.LinkOutput) -> Through:
    """What became of a signal's symbols."""
    if link.topology != "broadcast":
        return Through(jnp.float32(jnp.nan), jnp.full(signal.private.symbols.shape[:2], jnp.nan))
    signal = _as_amplitudes(link, signal)
    symbols, on_air = signal.private
    if signal.public is not None:
        symbols = jnp.where(signal.shared[..., None], signal.public.symbols[:, None], symbols)
        on_air = signal.shared | on_air
    symbols, on_air = (in_turn(a, signal.turns) for a in (symbols, on_air[..., None]))
    x = phy.tokens_to_slots(jnp.where(on_air, symbols, 0), link.num_tx_ant)
    x = x.reshape(*x.shape[:2], -1, link.num_tx_ant)
    estimate = jnp.where(x == 0, 0, output.x_hat)
    error, power = (jnp.sum(jnp.abs(a) ** 2, axis=(-2, -1)) for a in (estimate - x, x))
    nmse = error / power if error_exponent(link) > 1 else jnp.full_like(power, jnp.nan)
    if output.h is None or link.block_length is not None or symbols.shape[-1] % link.num_tx_ant:
        return Through(jnp.float32(jnp.nan), nmse)
    if signal.power is not None:
        x = x * jnp.sqrt(_of_slots(in_turn(signal.power, signal.turns), symbols.shape[-1], link.num_tx_ant))[..., None]
    # One H for the whole picture, or on a resource grid one for each slot.
    clean = x * output.h if link.is_awgn else jnp.sum(output.h * x[..., None, :], axis=-1)
    snr = phy.db_to_linear(phy.measure_snr_db(x, clean, output.y, convention=link.convention))
    return Through(jnp.where(on_air.all(), snr, jnp.nan), nmse)


def streams_per_public(link: LinkConfig, num_uavs: int) -> int:
    """Different public symbols that a slot carries."""
    return {"broadcast": link.num_tx_ant, "joint": num_uavs, "mac": num_uavs, "mu_mimo": 1}[link.topology]


def num_slots(link: LinkConfig, num_uavs: int, num_frames: int, num_symbols: int) -> tuple[int, int]:
    """Slots that one UAV's receiver processes, and the longest time axis that a group can need."""
    if link.topology != "broadcast":
        public = phy.slots_per_token(num_symbols, streams_per_public(link, num_uavs))
        return num_frames * (public + num_symbols), num_frames * num_symbols
    heard = num_frames * phy.slots_per_token(num_symbols, link.num_tx_ant)
    return heard, num_uavs * heard


def _public(signal: Signal) -> Frames:
    """The public frames; silent ones where there are none."""
    if signal.public is not None:
        return signal.public
    private = signal.private
    return Frames(jnp.zeros_like(private.symbols[:, 0]), jnp.zeros_like(private.sent[:, 0]))


def _weight(signal: Signal) -> jax.Array:
    return _public(signal).sent.astype(jnp.float32) if signal.soft is None else signal.soft


def _fill_slots(symbols: jax.Array, sent: jax.Array, num_tx_ant: int) -> tuple[jax.Array, jax.Array]:
    """Symbols of the frames that are ``sent`` and their activity, as ``[..., slots, num_tx_ant]``."""
    active = jnp.broadcast_to(sent[..., None], symbols.shape)
    x, active = (phy.tokens_to_slots(a, num_tx_ant) for a in (jnp.where(active, symbols, 0), active))
    x, active = (a.reshape(*a.shape[:-3], -1, num_tx_ant) for a in (x, active))
    return x, active


def _of_slots(frames: jax.Array, num_symbols: int, num_tx_ant: int) -> jax.Array:
    """A number of each frame for each of its slots, ``[..., slots]``."""
    return jnp.repeat(frames, phy.slots_per_token(num_symbols, num_tx_ant), axis=-1)


def _as_amplitudes(link: LinkConfig, signal: Signal) -> Signal:
    """The signal as it is; for carriers that cannot use its power, with that power in the symbols."""
    if signal.power is None or getattr(link.carrier, "takes_power", False):
        return signal
    symbols = signal.private.symbols * jnp.sqrt(signal.power)[..., None]
    return signal._replace(private=signal.private._replace(symbols=symbols), power=None)


def _empty_slots(x: jax.Array, num_frames: int, num_symbols: int) -> jax.Array:
    return phy.slots_to_tokens(x.reshape(*x.shape[:-2], num_frames, -1, x.shape[-1]), num_symbols)


def _send_broadcast(link, signal, draws, point):
    num_uavs, num_frames, num_symbols = signal.private.symbols.shape[1:]
    public = _public(signal)
    weight = heard_by(_weight(signal), signal.audience)[..., None]
    symbols = weight * public.symbols[:, None] + (1 - weight) * signal.private.symbols
    shared = jnp.broadcast_to(heard_by(public.sent, signal.audience), signal.private.sent.shape)
    symbols, private, shared = (in_turn(a, signal.turns) for a in (symbols, signal.private.sent, shared))
    power = signal.power
    if power is not None:
        power = _of_slots(in_turn(power, signal.turns), num_symbols, link.num_tx_ant)
    x, active = _fill_slots(symbols, private | shared, link.num_tx_ant)
    per_frame = phy.slots_per_token(num_symbols, link.num_tx_ant)
    # A public frame has the same turn for all who hear it.
    index = broadcast_slots(private, shared.any(axis=1), per_frame, shared)
    _, total = num_slots(link, num_uavs, num_frames, num_symbols)
    output = link.carrier.send(link, Slots(x, active, index, total, power=power), draws, point)
    both = (_empty_slots(a, num_frames, num_symbols) for a in (output.x_hat, output.no_eff))
    return Received(*(out_of_turn(a, signal.turns) for a in both)), output


def _send_together(link, signal, draws, point):
    """Private symbols of all UAVs at the same time, stream k for UAV k, behind the public ones."""
    num_uavs, num_frames, num_symbols = signal.private.symbols.shape[1:]
    streams = streams_per_public(link, num_uavs)
    public_turns = None if signal.turns is None else signal.turns[:, :1]  # the same for every UAV
    own, private = (in_turn(a, signal.turns) for a in signal.private)
    common, public = (in_turn(a[:, None], public_turns)[:, 0] for a in _public(signal))
    common, common_active = _fill_slots(common, public, streams)
    if link.topology == "mu_mimo":  # one symbol for all UAVs, of which each hears its own version
        common, common_active = (jnp.repeat(a, num_uavs, axis=-1) for a in (common, common_active))
    own_active = jnp.broadcast_to(private[..., None], own.shape)
    own = jnp.where(own_active, own, 0)
    own, own_active = (jnp.moveaxis(a.reshape(*a.shape[:2], -1), 1, -1) for a in (own, own_active))
    slots = Slots(
        x=jnp.concatenate([common, own], axis=1),
        active=jnp.concatenate([common_active, own_active], axis=1),
        index=joint_slots(private, public, phy.slots_per_token(num_symbols, streams), num_symbols),
        total=num_slots(link, num_uavs, num_frames, num_symbols)[1],
        num_common=common.shape[1],
    )
    output = link.carrier.send(link, slots, draws, point)

    def split(received):
        public, private = jnp.split(received, [common.shape[1]], axis=1)
        shape = signal.private.symbols.shape
        private = out_of_turn(jnp.moveaxis(private, -1, 1).reshape(shape), signal.turns)
        if link.topology == "mu_mimo":
            return out_of_turn(jnp.moveaxis(public, -1, 1).reshape(shape), signal.turns), private
        return out_of_turn(_empty_slots(public, num_frames, num_symbols)[:, None], public_turns), private

    public, private = split(output.x_hat)
    weight = _weight(signal)[:, None, :, None]
    symbols = weight * public + (1 - weight) * private
    public, private = split(output.no_eff)
    return Received(symbols, jnp.where(_public(signal).sent[:, None, :, None], public, private)), output
