"""AVIF and LDPC codes at the symbols of the superposed users: taking turns, and superposed QAM with SIC, over AWGN.

Superposed, user 1's stream has the larger share of the power. Each user decodes it with the other stream for noise;
user 2 encodes it again, subtracts it and decodes its own. Share, modulations and rates are chosen at each SNR on other
pictures and other noise. Where nothing fits or a CRC fails, the mean of the training pictures is shown.
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.psnr import psnr_db
from lvm_mtc import phy
from lvm_mtc.data.packing import PackedPictures
from lvm_mtc.data.picture_codecs import best_fit
from lvm_mtc.data.resizing import center_crop
from lvm_mtc.link import LinkConfig
from lvm_mtc.phy import coding
from lvm_mtc.schemes.separation.digital import frame_payload
from lvm_mtc.schemes.separation.modulation_coding import Pair, SeparationScheme, bytes_of, flipped
from lvm_mtc.sweep.separation import run_separation

LINK = LinkConfig(fading="awgn", convention="rx_per_antenna", num_rx_ant=1, num_tx_ant=1)
SHARES = (0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
"""Of the first user, among which the superposed streams choose."""
REALISATIONS, SELECTION_WORDS, SELECTION_PICTURES = 4, 16, 24
_SEED = 11


class Streams(NamedTuple):
    """Two superposed streams: the first one's share of the power, and modulation and code of each."""

    share: float
    pairs: tuple[Pair, Pair]


def scheme_of(num_symbols: int) -> SeparationScheme:
    """The digital system for one picture in so many complex symbols."""
    return SeparationScheme(name="AVIF + LDPC", codec="avif", num_slots=num_symbols)


@functools.lru_cache(maxsize=16)
def _scrambling(num_bits: int, user: int) -> np.ndarray:
    """Of each user another, so that equal pictures are sent as independent symbols."""
    return coding.scrambling(num_bits, (_SEED, user))


def symbols_of(payload: np.ndarray, pair: Pair, user: int) -> np.ndarray:
    """Power-1 symbols of payloads ``[words, payload_bits]``, ``[words, num_symbols]``."""
    bits = coding.encode_payload(payload, pair.blocks)
    return np.asarray(phy.qam_map(bits ^ _scrambling(bits.shape[1], user), pair.bits_per_symbol))


def decode(y: np.ndarray, gain: float, no: float, pair: Pair, user: int) -> coding.Decoded:
    """Decodes ``y = gain x + noise`` of variance ``no``, ``[words, num_symbols]``."""
    llr = np.asarray(phy.qam_llr(np.complex64(y / gain), no / gain**2, pair.bits_per_symbol))
    return coding.decode_payload(flipped(llr, _scrambling(llr.shape[1], user)), pair.blocks)


def superposed(
    payloads: tuple[np.ndarray, np.ndarray], streams: Streams, snr_db: float, rng: np.random.Generator
) -> np.ndarray:
    """Whether each user gets its words from the sum of both streams, ``[2, words]`` bool.

    Args:
        payloads: Of both users, ``[words, payload_bits]`` each.
        streams: How they are sent.
        snr_db: Of both users, dB: the power of a symbol of the sum over the noise's.
        rng: Of the noise, which is each user's own.
    """
    no, gains = 10 ** (-snr_db / 10), np.sqrt([streams.share, 1 - streams.share])
    sent = [symbols_of(*of) for of in zip(payloads, streams.pairs, (0, 1), strict=True)]
    noise = rng.normal(scale=(no / 2) ** 0.5, size=(2, 2, *sent[0].shape))
    y = gains[0] * sent[0] + gains[1] * sent[1] + noise[:, 0] + 1j * noise[:, 1]
    first = [decode(of_user, gains[0], no + gains[1] ** 2, streams.pairs[0], 0) for of_user in y]
    left = y[1] - gains[0] * symbols_of(first[1].payload, streams.pairs[0], 0)
    second = decode(left, gains[1], no, streams.pairs[1], 1)
    found = zip((first[0], second), payloads, strict=True)
    return np.stack([one.valid & (one.payload == payload).all(-1) for one, payload in found])


def choose(scheme: SeparationScheme, gained: np.ndarray, lost: float, snr_db: float, seed: int) -> Streams:
    """The streams of largest mean PSNR, over random words.

    Args:
        scheme: Whose pairs there are.
        gained: Mean PSNR of the selection's pictures that each of ``scheme.pairs(1)`` has room for, dB.
        lost: That of the mean picture.
        snr_db: As :func:`superposed`.
        seed: Of words and noise.
    """
    no, pairs = 10 ** (-snr_db / 10), scheme.pairs(1)
    best = None
    for share in SHARES:
        chosen, values = [], []
        for user, (power, noise) in enumerate([(share, no + 1 - share), (1 - share, no)]):
            limit, found = np.log2(1 + power / noise), None
            for i in sorted(range(len(pairs)), key=lambda i: -gained[i]):
                rate = pairs[i].rate * pairs[i].bits_per_symbol
                if rate > limit or (found is not None and gained[i] <= found[0]):
                    continue
                rng = np.random.default_rng((seed, user))
                payload = rng.integers(0, 2, (SELECTION_WORDS, pairs[i].blocks.payload_bits), np.uint8)
                x = symbols_of(payload, pairs[i], user)
                z = rng.normal(scale=(noise / 2) ** 0.5, size=(2, *x.shape))
                back = decode(power**0.5 * x + z[0] + 1j * z[1], power**0.5, noise, pairs[i], user)
                success = float((back.valid & (back.payload == payload).all(-1)).mean())
                value = lost + success * (gained[i] - lost)
                if found is None or value > found[0]:
                    found = value, pairs[i]
            value, pair = (lost, pairs[0]) if found is None else found
            chosen.append(pair)
            values.append(value)
        if best is None or np.mean(values) > best[0]:
            best = np.mean(values), Streams(share, (chosen[0], chosen[1]))
    return best[1]


def measure(
    pairs: Mapping[str, np.ndarray], packed: PackedPictures, num_symbols: int, snrs_db: tuple[float, ...], seed: int = 0
) -> list[dict[str, Any]]:
    """PSNR of each pair, mean of its users and of realisations of the noise, by kind, SNR and access.

    Args:
        pairs: Kind to ``[pairs, 2, size, size, 3]`` uint8.
        packed: Selection from the pictures held out, and the mean of the others.
        num_symbols: Complex symbols of both users together.
        snrs_db: SNRs of both users, dB.
        seed: Of all noise.
    """
    size = next(iter(pairs.values())).shape[2]
    selection = np.stack([center_crop(picture, size) for picture in packed.holdout_pictures[:SELECTION_PICTURES]])
    mean = np.stack([center_crop(picture, size) for picture in packed.pictures]).mean(0) / 255
    grey, alone, both = bytes_of(mean) / 255, scheme_of(num_symbols // 2), scheme_of(num_symbols)
    lost = float(psnr_db(grey, selection / 255).mean())
    gained = np.array([
        np.mean([psnr_db(grey if one is None else one.picture / 255, picture / 255) for picture in selection
                 for one in [best_fit(picture, "avif", pair.blocks.payload_bits - 1)]])
        for pair in both.pairs(1)
    ])  # fmt: skip
    chosen = {snr_db: choose(both, gained, lost, snr_db, seed) for snr_db in snrs_db}
    rows = []
    for kind, pictures in pairs.items():
        images = np.float32(pictures) / 255
        others = np.float32(selection)[:, None].repeat(2, 1) / 255
        box = np.full((*pictures.shape[:2], 4), size / 2, np.float32)
        turns = run_separation(
            alone, images, box, jax.random.key(seed), LINK, selection_images=others,
            mean_picture=mean, snr_db=snrs_db, num_realisations=REALISATIONS,
        )  # fmt: skip
        for i, snr_db in enumerate(snrs_db):
            streams, rng = chosen[snr_db], np.random.default_rng((seed, i, len(kind)))
            fits = [[best_fit(picture, "avif", pair.blocks.payload_bits - 1) for picture in pictures[:, user]]
                    for user, pair in enumerate(streams.pairs)]  # fmt: skip
            payloads = [
                np.stack([frame_payload(b"" if one is None else one.payload, pair.blocks.payload_bits) for one in of])
                for of, pair in zip(fits, streams.pairs, strict=True)
            ]
            arrived = np.stack([
                psnr_db(np.stack([grey if one is None else one.picture / 255 for one in of]), pictures[:, user] / 255)
                for user, of in enumerate(fits)
            ])  # fmt: skip
            nothing = psnr_db(grey, pictures.swapaxes(0, 1) / 255)
            sent = payloads[0], payloads[1]
            right = np.stack([superposed(sent, streams, snr_db, rng) for _ in range(REALISATIONS)])
            shown = np.where(right, arrived, nothing).mean(0)
            pair = turns.selection.pairs[i]
            rows.append({
                "pair": kind, "snr_db": snr_db,
                "psnr_db": {"turns": np.round(turns.metrics["psnr_db"][:, i].mean((0, 2)), 4).tolist(),
                            "sic": np.round(shown.mean(0), 4).tolist()},
                "users_db": np.round(shown.mean(1), 4).tolist(), "delivered": {
                    "turns": float(turns.success[:, i].mean()), "sic": right.mean((0, 2)).tolist()},
                "turns": [pair.bits_per_symbol, pair.rate], "share": streams.share,
                "sic": [[p.bits_per_symbol, p.rate] for p in streams.pairs],
                "uses": {"turns": float(turns.ledger.channel_uses().mean()), "sic": float(num_symbols)},
            })  # fmt: skip
        print("digital", kind, flush=True)
    return rows
