"""Which modulation and code rate the digital system uses at an operating point, and the scheme that it chooses from."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from lvm_mtc.data.picture_codecs import CODECS, Encoded, best_fit
from lvm_mtc.evaluation import digital
from lvm_mtc.evaluation.metrics import LOSSLESS_PSNR_DB
from lvm_mtc.interop.sionna import coding
from lvm_mtc.system import LinkConfig


class Pair(NamedTuple):
    """A modulation and a code.

    Attributes:
        bits_per_symbol: Of the modulation.
        rate: Nominal code rate.
        blocks: How a picture's coded bits are divided.
    """

    bits_per_symbol: int
    rate: float
    blocks: coding.CodeBlocks


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeparationScheme:
    """A digital system with a fixed number of channel uses per picture.

    Attributes:
        name: In tables and legends.
        codec: ``"jpeg"``, ``"webp"`` or ``"avif"``.
        num_slots: Vector uses of the channel per picture; ``num_slots * num_tx_ant`` complex symbols.
        bits_per_symbol: Modulations to choose from.
        rates: Code rates to choose from, 1/5 to 0.95.
        num_iter: Iterations of the channel decoder.
        check_update: Its rule at the check nodes, see ``coding.decode_payload``.
    """

    name: str
    codec: str
    num_slots: int
    bits_per_symbol: tuple[int, ...] = (2, 4, 6, 8)
    rates: tuple[float, ...] = (1 / 5, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 5 / 6)
    num_iter: int = 20
    check_update: str = "boxplus-phi"

    def __post_init__(self):
        if self.codec not in CODECS:
            raise ValueError(f"SeparationScheme.codec must be one of {', '.join(CODECS)}, got {self.codec!r}")
        for field in ("bits_per_symbol", "rates"):
            if not getattr(self, field):
                raise ValueError(f"SeparationScheme.{field} must name at least one, got {getattr(self, field)!r}")
        self.pairs(1)

    def pairs(self, num_tx_ant: int) -> list[Pair]:
        """All modulation-coding pairs, fewest bits per picture first.

        Raises:
            ValueError: if a code does not exist.
        """
        found = [
            Pair(bits, rate, coding.code_blocks(self.num_slots * num_tx_ant, bits, rate))
            for bits in self.bits_per_symbol
            for rate in self.rates
        ]
        return sorted(found, key=lambda pair: pair.blocks.payload_bits)

    def decode(self, llr: np.ndarray, pair: Pair) -> coding.Decoded:
        """Decodes with this scheme's decoder; as ``coding.decode_payload``."""
        return coding.decode_payload(llr, pair.blocks, num_iter=self.num_iter, check_update=self.check_update)


class Selection(NamedTuple):
    """The pair of each of P operating points, and what it promised.

    Attributes:
        pairs: P pairs.
        psnr_db: Mean PSNR on the selection's pictures and draws, ``[P]``, dB.
        success: Share of the selection's draws that were decoded, ``[P]``.
        num_tried: Pairs that had to be decoded until no other could win, ``[P]``.
    """

    pairs: tuple[Pair, ...]
    psnr_db: np.ndarray
    success: np.ndarray
    num_tried: np.ndarray


def bytes_of(images: np.ndarray) -> np.ndarray:
    """Pictures in [0, 1] as uint8."""
    return np.uint8(np.round(np.clip(images, 0, 1) * 255))


def _psnr_db(images: np.ndarray, shown: np.ndarray) -> np.ndarray:
    error = np.mean((np.float64(images) - np.float64(shown)) ** 2, axis=(-3, -2, -1))
    return np.minimum(-10 * np.log10(np.maximum(error, 1e-12)), LOSSLESS_PSNR_DB)


def fit_pictures(scheme: SeparationScheme, images: np.ndarray, pair: Pair) -> list[Encoded | None]:
    """The best encoding of each picture ``[N, H, W, 3]``, None where nothing fits; one bit ends the frame."""
    return [best_fit(picture, scheme.codec, pair.blocks.payload_bits - 1) for picture in bytes_of(images)]


def flipped(llr: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """LLRs of what was added to ``bits`` modulo 2."""
    return np.where(bits == 1, -llr, llr)


def select_pairs(
    scheme: SeparationScheme,
    images: np.ndarray,
    mean_picture: np.ndarray,
    key: jax.Array,
    link: LinkConfig,
    *,
    snr_db: np.ndarray,
    csi_error_var: np.ndarray,
    num_realisations: int,
    progress: Callable[[], Any] = lambda: None,
) -> Selection:
    """Finds for each operating point the modulation and code rate of largest mean PSNR.

    Whether a transmission is decoded depends on the channel and not on the (scrambled) picture, so the mean PSNR is
    ``p D + (1 - p) D_mean``: p is the share of the channel draws that are decoded, D the mean over all pictures of
    what fits. Random bits are sent once per modulation and draw, and taken for the scrambled codeword of each code in
    turn. Left out are pairs that cannot win: no code can be decoded from LLRs that tell less than its bits
    (``digital.mutual_information``), which bounds p; pairs are tried by falling bound until the best found is above
    all that remain.

    Args:
        scheme: What to choose from.
        images: ``[B, K, height, width, 3]`` float in [0, 1].
        mean_picture: ``[height, width, 3]`` float in [0, 1].
        key: Of the channel draws.
        link: The channel.
        snr_db: ``[P]``, dB under ``link.convention``.
        csi_error_var: ``[P]``, linear.
        num_realisations: Channel realisations; each has ``B K`` independent draws of a picture's channel.
        progress: Called after each point.

    Returns:
        The selection.

    Raises:
        ValueError: if the link is not one for a digital system.
        SionnaUnavailable: without the extra ``sionna``.
    """
    digital.require_digital(link)
    pairs = scheme.pairs(link.num_tx_ant)
    flat = images.reshape(-1, *images.shape[2:])
    lost = _psnr_db(flat, mean_picture)
    gained = [
        np.mean([
            loss if one is None else _psnr_db(picture, one.picture / 255)
            for one, picture, loss in zip(fit_pictures(scheme, flat, pair), flat, lost, strict=True)
        ])
        for pair in pairs
    ]
    rng = np.random.default_rng(np.asarray(jax.random.key_data(jax.random.clone(key))))
    draws = [
        digital.draw_pictures(link, *images.shape[:2], scheme.num_slots, jax.random.fold_in(jax.random.clone(key), i))
        for i in range(num_realisations)
    ]
    num_symbols = scheme.num_slots * link.num_tx_ant
    sent = {
        bits: rng.integers(0, 2, (num_realisations, *images.shape[:2], num_symbols * bits), np.uint8)
        for bits in sorted(set(scheme.bits_per_symbol))
    }
    chosen = []
    for snr, error in zip(np.float32(snr_db), np.float32(csi_error_var), strict=True):
        heard = {
            bits: np.stack([
                digital.send_bits(link, bits, one, draw, snr, error)[0] for one, draw in zip(words, draws, strict=True)
            ]).reshape(-1, words.shape[-1])
            for bits, words in sent.items()
        }
        flat_sent = {bits: words.reshape(-1, words.shape[-1]) for bits, words in sent.items()}
        chosen.append(_best_pair(scheme, pairs, np.array(gained), lost.mean(), heard, flat_sent, rng))
        progress()
    best, psnr_db, success, tried = zip(*chosen, strict=True)
    return Selection(best, np.array(psnr_db), np.array(success), np.array(tried))


def _best_pair(scheme, pairs: list[Pair], gained, lost, heard, sent, rng) -> tuple[Pair, float, float, int]:
    """The pair of one point, its mean PSNR and success, and how many were decoded."""
    hopeful = []
    for pair in pairs:
        blocks, bits = pair.blocks, pair.bits_per_symbol
        told = digital.mutual_information(heard[bits], sent[bits], blocks.num_blocks, blocks.n)
        hopeful.append(np.asarray(told >= blocks.k).all(-1))
    bounds = lost + np.array([words.mean() for words in hopeful]) * (gained - lost)
    best, tried = None, 0
    for i in sorted(range(len(pairs)), key=lambda i: -bounds[i]):  # stable: of equals, the fewest bits
        if best is not None and bounds[i] <= best[1]:
            break
        pair, words = pairs[i], hopeful[i]
        decoded = 0
        if words.any():
            tried += 1
            payload = rng.integers(0, 2, (int(words.sum()), pair.blocks.payload_bits), np.uint8)
            scramble = coding.encode_payload(payload, pair.blocks) ^ sent[pair.bits_per_symbol][words]
            found = scheme.decode(flipped(heard[pair.bits_per_symbol][words], scramble), pair)
            decoded = int((found.valid & (found.payload == payload).all(-1)).sum())
        success = decoded / words.size
        value = lost + success * (gained[i] - lost)
        if best is None or value > best[1]:
            best = (pair, value, success)
    return *best, tried
