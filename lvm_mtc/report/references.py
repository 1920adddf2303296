"""What a picture codec could do with ideal channel codes: references for the separation baseline.

They are references for the codec that they are given and say nothing of a learned system, which is no picture codec.
``D(R)`` is the codec's measured mean PSNR over pictures that may have R bits each, payload alone; a picture of which no
encoding fits counts as the mean picture, one without loss as ``LOSSLESS_PSNR_DB``. ``C(H)`` are the bits that a
picture's slots can carry together, the sum of the capacities of its slots. The receiver knows H.

* Outage: the transmitter knows the distribution of H and takes the best fixed rate,
  ``max over R of (1 - P_out(R)) D(R) + P_out(R) D_mean`` with ``P_out(R) = P(C(H) < R)``, power 1 on every antenna.
* Channel known at the transmitter: ``E[D(C(H))]``, power over the antennas by waterfilling in each slot.

Under AWGN both are D(C).
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc import phy
from lvm_mtc.data.picture_codecs import LOSSLESS_PSNR_DB, rate_table
from lvm_mtc.link import LinkConfig, OperatingPoint, Slots, noise_variance
from lvm_mtc.phy.capacity import mimo_capacity, waterfilling_capacity
from lvm_mtc.results.intervals import Interval, student_interval
from lvm_mtc.schemes.separation import digital

# Keys of parts of the draws are numbered from 0; those that the outage rate is chosen on are far from them.
_CHOICE = 2**31 - 1


class RateDistortion(NamedTuple):
    """Mean PSNR of a codec against bits per picture: a staircase.

    Attributes:
        bits: Where it rises, ascending, ``[S]`` int64; the first is 0.
        psnr_db: From there on, ``[S]``, dB; the first is that of the mean picture.
    """

    bits: np.ndarray
    psnr_db: np.ndarray

    def at(self, bits: np.ndarray) -> np.ndarray:
        """D at any number of bits per picture, dB, shape of ``bits``."""
        return self.psnr_db[np.maximum(np.searchsorted(self.bits, bits, side="right") - 1, 0)]


class References(NamedTuple):
    """References at P SNRs.

    Attributes:
        snr_db: ``[P]``, dB under the link's convention.
        outage: Mean PSNR with the best fixed rate, ``[P]``, dB. The rate is chosen on other draws, equally many.
        outage_rate_bits: That rate, bits per picture, ``[P]``.
        outage_probability: Of that rate, ``[P]``.
        known_channel: Mean PSNR where the transmitter knows H, ``[P]``, dB.
        mean_capacity_bits: Mean of C(H) without that knowledge, bits per picture, ``[P]``.
    """

    snr_db: np.ndarray
    outage: Interval
    outage_rate_bits: np.ndarray
    outage_probability: np.ndarray
    known_channel: Interval
    mean_capacity_bits: np.ndarray


def rate_distortion(images: np.ndarray, codec: str, mean_picture: np.ndarray) -> RateDistortion:
    """Measures D(R) on pictures, best fit for each.

    Args:
        images: ``[..., height, width, 3]`` float in [0, 1]; coded at 8 bits.
        codec: ``"jpeg"``, ``"webp"``, ``"avif"`` or ``"heic"`` (extra ``heic``).
        mean_picture: ``[height, width, 3]`` float in [0, 1].
    """
    if images.ndim < 3 or images.shape[-3:] != mean_picture.shape:
        raise ValueError(f"images {images.shape} and mean_picture {mean_picture.shape} must be pictures of one size")
    pictures = images.reshape(-1, *images.shape[-3:])
    rises, start = [], 0.0
    for picture in pictures:
        lost = -10 * np.log10(np.mean((np.float64(picture) - mean_picture) ** 2))
        bytes_of = np.uint8(np.round(np.clip(picture, 0, 1) * 255))
        table = rate_table(bytes_of, codec)
        order = np.lexsort((table.mse, table.payload_bits))
        least = np.maximum(np.minimum.accumulate(table.mse[order]), 10 ** (-LOSSLESS_PSNR_DB / 10))
        best = -10 * np.log10(least)
        # The first step goes from the mean picture to the smallest encoding, even where that is no gain: what is sent
        # is shown.
        rises.append((table.payload_bits[order], np.diff(best, prepend=lost)))
        start += lost
    bits = np.concatenate([of_step for of_step, _ in rises])
    rise = np.concatenate([of_step for _, of_step in rises])
    at = np.unique(bits)
    total = np.zeros(at.size)
    np.add.at(total, np.searchsorted(at, bits), rise)
    psnr_db = (start + np.concatenate([[0.0], np.cumsum(total)])) / len(pictures)
    return RateDistortion(np.concatenate([[0], at]), psnr_db)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _capacities(link: LinkConfig, batch: int, num_uavs: int, num_slots: int, key, snr_db):
    """Bits per picture without and with H at the transmitter, each ``[P, batch, num_uavs]``."""
    draws = digital.draw_pictures(link, batch, num_uavs, num_slots, key)
    index = jnp.asarray(digital.picture_slots(num_uavs, num_slots))
    x = jnp.zeros((batch, *index.shape, link.num_tx_ant), jnp.complex64)
    place = jnp.broadcast_to(index, (batch, *index.shape))
    h = link.carrier.send(link, Slots(x, index=place, total=index.size), draws, OperatingPoint()).h
    if h is None:
        raise ValueError(f"references need a channel for each slot, which {type(link.carrier).__name__} does not tell")
    no = noise_variance(link, OperatingPoint(snr_db=snr_db))
    if link.is_awgn:
        bits = (num_slots * link.num_tx_ant * jnp.log2(1 + 1 / no))[:, None, None]
        return (jnp.broadcast_to(bits, (no.size, batch, num_uavs)),) * 2
    counts = _slots_per_block(link, num_uavs, num_slots, h.shape[2])

    def at_point(no):
        bits = jnp.stack([mimo_capacity(h, no), waterfilling_capacity(h, no, float(link.num_tx_ant))])
        return jnp.sum(bits * counts, axis=-1)

    capacities = jax.lax.map(at_point, no)
    return capacities[:, 0], capacities[:, 1]


def _slots_per_block(link: LinkConfig, num_uavs: int, num_slots: int, num_channels: int) -> np.ndarray:
    """How many slots of each UAV's picture lie in each block, ``[1, 1, num_uavs, num_channels]``."""
    if link.grid is not None:  # a channel for every slot
        return np.ones((1, 1, num_uavs, num_channels), np.float32)
    pilots = link.num_pilots if link.csi.startswith("pilots") else None
    _, length = phy.block_layout(num_uavs * num_slots, link.block_length, pilots)
    blocks = digital.picture_slots(num_uavs, num_slots) // length
    counts = np.stack([np.bincount(of_uav, minlength=num_channels) for of_uav in blocks])
    return np.float32(counts)[None, None]


def picture_capacities(
    link: LinkConfig,
    key: jax.Array,
    *,
    snr_db: Sequence[float],
    num_slots: int,
    num_uavs: int = 1,
    num_draws: int = 2000,
    draws_at_once: int = 100,
) -> tuple[np.ndarray, np.ndarray]:
    """Bits that the slots of a picture can carry together, over independent draws of its channel.

    Args:
        link: The channel; broadcast. Its CSI error and equaliser play no part.
        snr_db: ``[P]``, dB under ``link.convention``.
        num_slots: Slots per picture.
        num_uavs: UAVs that share the time axis one after the other, as their blocks may begin inside a picture.
        num_draws: Draws of groups of ``num_uavs`` channels.
        draws_at_once: Groups in memory together.

    Returns:
        Without H at the transmitter and with it, ``[num_draws * num_uavs, P]`` each.
    """
    if link.topology != "broadcast":
        raise ValueError(f"references need LinkConfig.topology 'broadcast', got {link.topology!r}")
    if num_draws * num_uavs < 2:
        raise ValueError(f"num_draws must be 2 or more for an interval, got {num_draws}")
    snr_db = jnp.asarray(np.atleast_1d(snr_db), jnp.float32)
    size = min(draws_at_once, num_draws)
    parts = []
    for i in range(-(-num_draws // size)):
        part_key = jax.random.fold_in(jax.random.clone(key), i)
        kinds = _capacities(link, size, num_uavs, num_slots, part_key, snr_db)
        parts.append([np.float64(capacity).transpose(1, 2, 0) for capacity in kinds])
    shape = (num_draws * num_uavs, snr_db.size)
    unknown, known = (np.concatenate(of_parts)[:num_draws].reshape(shape) for of_parts in zip(*parts, strict=True))
    return unknown, known


def separation_references(
    curve: RateDistortion,
    link: LinkConfig,
    key: jax.Array,
    *,
    snr_db: Sequence[float],
    num_slots: int,
    num_uavs: int = 1,
    num_draws: int = 2000,
) -> References:
    """Outage and known-channel references; intervals are Student's over channel draws, the pictures are fixed.

    Arguments are those of :func:`picture_capacities`.
    """
    snr_db = np.atleast_1d(np.float64(snr_db))
    sizes = dict(num_slots=num_slots, num_uavs=num_uavs, num_draws=num_draws)
    unknown, known = picture_capacities(link, key, snr_db=snr_db, **sizes)
    # On the reported draws the best rate would look better than any rate is.
    others_key = jax.random.fold_in(jax.random.clone(key), _CHOICE)
    others, _ = picture_capacities(link, others_key, snr_db=snr_db, **sizes)
    lost = curve.psnr_db[0]
    # P_out rises behind a draw's capacity, D does not fall: the best rate is one of the draws' capacities.
    ascending = np.sort(others, axis=0)
    success = 1 - np.arange(len(ascending))[:, None] / len(ascending)
    best = np.argmax(success * curve.at(ascending) + (1 - success) * lost, axis=0)
    rate = np.take_along_axis(ascending, best[None], axis=0)[0]
    shown = np.where(unknown >= rate, curve.at(rate), lost)
    return References(
        snr_db=snr_db,
        outage=student_interval(shown),
        outage_rate_bits=rate,
        outage_probability=np.mean(unknown < rate, axis=0),
        known_channel=student_interval(curve.at(known)),
        mean_capacity_bits=unknown.mean(axis=0),
    )
