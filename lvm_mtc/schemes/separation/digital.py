"""Coded bits over the channel that a ``LinkConfig`` names: symbols, interleaving, slots, and back to LLRs.

The LLRs are those of the link's equaliser, stream by stream, or of a detector of whole vectors (``DETECTORS``), which
may be told what the decoder has found and run again.

Both ends know two fixed pseudo-random sequences. Bits are scrambled, so that symbols have average power 1 whatever the
payload (a padded one has long runs of zeros). Symbols are interleaved over all slots and streams of the picture: every
code block sees all of its channel.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc import phy
from lvm_mtc.link import Ledger, LinkConfig, OperatingPoint, Slots, uav_keys
from lvm_mtc.phy import coding
from lvm_mtc.phy.mimo import UNBIASED
from lvm_mtc.phy.modulation import qam_llr, qam_map

_SEED = 5


def _sic_llr(y, h_hat, no, bits_per_symbol, *, prior, num_kept):
    return qam_llr(*phy.sic_equalizer(y, h_hat, no, bits_per_symbol, cancellation="mean"), bits_per_symbol)


def _k_best_llr(y, h_hat, no, bits_per_symbol, *, prior, num_kept):
    return phy.k_best_detector(y, h_hat, no, bits_per_symbol, num_kept=num_kept, prior=prior).llr


def _exact_llr(y, h_hat, no, bits_per_symbol, *, prior, num_kept):
    return phy.exact_detector(y, h_hat, no, bits_per_symbol, prior=prior).llr


def _pic_llr(y, h_hat, no, bits_per_symbol, *, prior, num_kept):
    return phy.pic_detector(y, h_hat, no, bits_per_symbol, prior=prior)


DETECTORS = {"linear": None, "sic": _sic_llr, "pic": _pic_llr, "k_best": _k_best_llr, "exact": _exact_llr}
"""Who makes LLRs: the link's equaliser and the demapper, or a detector of vectors from what the link has heard."""
TOLD = ("pic", "k_best", "exact")
"""Those that can be told what the decoder has found."""


def require_digital(link: LinkConfig) -> None:
    """Raises ``ValueError`` unless each picture has streams of its own and a demapper can follow the equaliser."""
    if link.topology not in ("broadcast", "mac"):
        raise ValueError(f"the digital system needs LinkConfig.topology 'broadcast' or 'mac', got {link.topology!r}")
    if link.equalizer not in UNBIASED:
        raise ValueError(
            f"LinkConfig.equalizer {link.equalizer!r} is biased, and the soft demapper expects x_hat = x + error; "
            f"use one of {', '.join(UNBIASED)}"
        )


def scrambling(num_bits: int) -> np.ndarray:
    """The bits that coded bits are added to, modulo 2, ``[num_bits]`` uint8."""
    return coding.scrambling(num_bits, (_SEED, 0))


@functools.lru_cache(maxsize=64)
def symbol_order(num_symbols: int) -> np.ndarray:
    """Which symbol each place on air carries, slot after slot and stream after stream, ``[num_symbols]``."""
    return np.random.default_rng((_SEED, 1)).permutation(num_symbols)


def frame_payload(payload: bytes, num_bits: int) -> np.ndarray:
    """Fills a payload up, ``[num_bits]`` uint8: its bits, of each byte the most significant first, a 1, zeros.

    The receiver so learns the length at the price of one bit.
    """
    bits = np.unpackbits(np.frombuffer(payload, np.uint8))
    if bits.size + 1 > num_bits:
        raise ValueError(f"payload of {bits.size} bits and the bit that ends it do not fit into num_bits {num_bits}")
    return np.concatenate([bits, np.ones(1, np.uint8), np.zeros(num_bits - bits.size - 1, np.uint8)])


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def draw_pictures(link: LinkConfig, batch: int, num_uavs: int, num_slots: int, key: jax.Array):
    """Unit-variance draws for pictures of ``num_slots`` slots each, UAV after UAV on the time axis (or all at once).

    Equal to the token system's for the same key, where its pictures take as many slots.
    """
    keys = uav_keys(key, num_uavs)
    total = num_slots if link.topology == "mac" else num_uavs * num_slots
    return link.carrier.draw(link, keys, batch, num_slots, total, OperatingPoint())


def picture_slots(num_uavs: int, num_slots: int) -> np.ndarray:
    """Places of each UAV's slots on the time axis, ``[num_uavs, num_slots]`` int32."""
    return np.arange(num_uavs * num_slots, dtype=np.int32).reshape(num_uavs, num_slots)


class Arrived(NamedTuple):
    """What came of coded bits.

    Attributes:
        llr: ``log P(bit = 1) - log P(bit = 0)``, of the shape of the bits.
        snr: Measured on the signals, linear under the link's convention; NaN with several fading blocks, over uplinks,
            or where the carrier tells no ``h``.
        heard: For :func:`detect_bits`; None with a detector that is not in ``TOLD``.
    """

    llr: jax.Array
    snr: jax.Array
    heard: phy.Observation | None


@functools.partial(jax.jit, static_argnums=(0, 1), static_argnames=("detector", "num_kept"))
def send_bits(
    link: LinkConfig, bits_per_symbol: int, bits, draws, snr_db, csi_error_var, *, detector="linear", num_kept=16
) -> Arrived:
    """Sends scrambled coded bits ``[batch, num_uavs, num_slots * num_tx_ant * bits_per_symbol]`` through a channel.

    Args:
        link: As :func:`require_digital` wants it.
        bits_per_symbol: 2, 4, 6 or 8.
        bits: Of each picture.
        draws: Of :func:`draw_pictures`.
        snr_db: dB under ``link.convention``; traced.
        csi_error_var: Linear; traced.
        detector: A name in ``DETECTORS``. ``"pic"`` that was told nothing is ``"linear"``.
        num_kept: Of ``"k_best"``.
    """
    batch, num_uavs, num_bits = bits.shape
    num_symbols = num_bits // bits_per_symbol
    order = symbol_order(num_symbols)
    symbols = qam_map(bits, bits_per_symbol)
    x = symbols[..., order].reshape(batch, num_uavs, -1, link.num_tx_ant)
    if link.topology == "mac":
        slots = Slots(_together(x))
    else:
        index = picture_slots(num_uavs, x.shape[2])
        slots = Slots(x, index=jnp.broadcast_to(index, (batch, *index.shape)), total=index.size)
    out = link.carrier.send(link, slots, draws, OperatingPoint(snr_db=snr_db, csi_error_var=csi_error_var))
    if detector != "linear" and out.heard is None:
        raise ValueError(f"detector {detector!r} needs a carrier that gives what it heard, not {link.carrier!r}")
    if detector in ("linear", "pic"):
        back = np.argsort(order)
        x_hat, no_eff = (_of_pictures(a, x.shape).reshape(symbols.shape)[..., back] for a in (out.x_hat, out.no_eff))
        llr = qam_llr(x_hat, no_eff, bits_per_symbol)
    else:
        llr = detect_bits(out.heard, bits_per_symbol, jnp.zeros(bits.shape), detector=detector, num_kept=num_kept)
    return Arrived(llr, _realised_snr(x, out, link), out.heard if detector in TOLD else None)


@functools.partial(jax.jit, static_argnums=(1,), static_argnames=("detector", "num_kept"))
def detect_bits(heard: phy.Observation, bits_per_symbol: int, prior, *, detector: str, num_kept: int = 16) -> jax.Array:
    """Extrinsic LLRs of the bits, ``[batch, num_uavs, num_bits]`` like the LLRs ``prior`` that the detector is told."""
    shape = *prior.shape[:2], -1, bits_per_symbol
    order = symbol_order(prior.shape[-1] // bits_per_symbol)
    slots = prior.reshape(shape)[..., order, :]
    together = heard.y.ndim == 3  # one observation of the streams of all UAVs
    if together:
        slots = jnp.swapaxes(slots, 1, 2)
    llr = DETECTORS[detector](
        *heard, 1.0, bits_per_symbol, prior=slots.reshape(*heard.y.shape[:-1], -1), num_kept=num_kept
    )
    llr = jnp.swapaxes(llr.reshape(slots.shape), 1, 2) if together else llr
    return llr.reshape(shape)[..., np.argsort(order), :].reshape(prior.shape)


def _together(x: jax.Array) -> jax.Array:
    """Streams of one antenna each, ``[batch, num_uavs, num_slots, 1]``, as ``[batch, num_slots, num_uavs]``."""
    return jnp.swapaxes(x[..., 0], 1, 2)


def _of_pictures(a: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return a if a.ndim == 4 else jnp.swapaxes(a, 1, 2).reshape(shape)


def _realised_snr(x: jax.Array, out: phy.LinkOutput, link: LinkConfig) -> jax.Array:
    if link.block_length is not None or link.topology != "broadcast" or out.h is None:
        return jnp.full((), jnp.nan)
    received = x * out.h if link.is_awgn else jnp.sum(out.h * x[..., None, :], axis=-1)
    return phy.db_to_linear(phy.measure_snr_db(x, received, out.y, convention=link.convention))


@functools.partial(jax.jit, static_argnums=(2, 3))
def mutual_information(llr: jax.Array, bits: jax.Array, num_blocks: int, n: int) -> jax.Array:
    """Bits that LLRs tell about the coded bits of each block; a code with more than these fails, whatever it is.

    The realised information density of the channel that the decoder sees, ``sum 1 - log2(1 + exp(-s l))`` with l the
    LLR toward the bit that was sent. A receiver that is wrong about its noise has LLRs of a wrong scale: the best of a
    few s counts. For ``num_blocks`` blocks of ``n`` coded bits, one after the other, ``[..., num_blocks]`` from LLRs
    and scrambled bits ``[..., num_bits]``; it can be negative.
    """
    toward = jnp.where(bits == 1, llr, -llr)[..., : num_blocks * n]
    toward = toward.reshape(*llr.shape[:-1], num_blocks, n)
    told = [n - jnp.sum(jax.nn.softplus(-scale * toward), axis=-1) / jnp.log(2.0) for scale in (1.0, 0.5, 0.25, 0.125)]
    return functools.reduce(jnp.maximum, told)


def picture_ledger(link: LinkConfig, batch: int, num_uavs: int, num_slots: int) -> Ledger:
    """What groups of K pictures cost: symbols, and the pilots and prefix that the token system pays too."""
    slots = jnp.full(batch, float(num_uavs * num_slots))
    ledger = Ledger(**dict.fromkeys(Ledger._fields, jnp.zeros(batch)))
    ledger = ledger._replace(private_uses=slots * link.num_tx_ant, slots=slots)
    if link.topology == "mac":
        ledger = ledger._replace(slots=slots / num_uavs)
    return jax.tree.map(np.asarray, link.carrier.book(link, ledger, num_uavs))
