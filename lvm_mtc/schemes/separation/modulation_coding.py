"""Which modulation and code rate the digital system uses at an operating point, and the scheme that it chooses from."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from lvm_mtc import phy
from lvm_mtc.data.picture_codecs import CODECS, LOSSLESS_PSNR_DB, Encoded, best_fit
from lvm_mtc.link import LinkConfig
from lvm_mtc.phy import coding
from lvm_mtc.phy.numerics import require_given
from lvm_mtc.schemes.separation import digital

KNOWLEDGE = ("snr", "statistics")


class Pair(NamedTuple):
    """A modulation, a code of a nominal rate, and how a picture's coded bits are divided into its blocks."""

    bits_per_symbol: int
    rate: float
    blocks: coding.CodeBlocks


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeparationScheme:
    """A digital system with a fixed number of channel uses per picture.

    Attributes:
        name: In tables and legends.
        codec: ``"jpeg"``, ``"webp"``, ``"avif"`` or ``"heic"`` (extra ``heic``).
        num_slots: Vector uses of the channel per picture; ``num_slots * num_tx_ant`` complex symbols.
        bits_per_symbol: Modulations to choose from.
        rates: Code rates to choose from, 1/5 to 0.95.
        num_iter: Layered iterations of the channel decoder at most.
        detector: Who makes its LLRs: ``"linear"``, the link's equaliser, ``"sic"``, ``"pic"``, ``"k_best"`` or
            ``"exact"`` (``digital.DETECTORS``).
        num_kept: Vectors that ``"k_best"`` keeps.
        num_detections: Times that the detector runs at most, after the first one told by the decoder what it has
            found; above 1 for ``"pic"``, ``"k_best"`` and ``"exact"``.
        knows: What the transmitter chooses by. ``"snr"``: the nominal SNR, as learned schemes do; one pair serves all
            CSI errors and links that may be. ``"statistics"``: the variance of the CSI error and the fading law too.
    """

    name: str
    codec: str
    num_slots: int
    bits_per_symbol: tuple[int, ...] = (2, 4, 6, 8)
    rates: tuple[float, ...] = (1 / 5, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 5 / 6)
    num_iter: int = 50
    knows: str = "snr"
    detector: str = "linear"
    num_kept: int = 16
    num_detections: int = 1

    def __post_init__(self):
        if self.codec not in CODECS:
            raise ValueError(f"SeparationScheme.codec must be one of {', '.join(CODECS)}, got {self.codec!r}")
        if self.knows not in KNOWLEDGE:
            raise ValueError(f"SeparationScheme.knows must be one of {', '.join(KNOWLEDGE)}, got {self.knows!r}")
        if self.detector not in digital.DETECTORS:
            known = ", ".join(digital.DETECTORS)
            raise ValueError(f"SeparationScheme.detector must be one of {known}, got {self.detector!r}")
        for field in ("num_iter", "num_kept", "num_detections"):
            value = getattr(self, field)
            if isinstance(value, bool) or int(value) != value or value < 1:
                raise ValueError(f"SeparationScheme.{field} must be an integer >= 1, got {value!r}")
        if self.num_detections > 1 and self.detector not in digital.TOLD:
            raise ValueError(
                f"SeparationScheme.num_detections {self.num_detections} needs a detector that can be told what the "
                f"decoder has found, one of {', '.join(digital.TOLD)}, got {self.detector!r}"
            )
        for field in ("bits_per_symbol", "rates"):
            if not getattr(self, field):
                raise ValueError(f"SeparationScheme.{field} must name at least one, got {getattr(self, field)!r}")
        self.pairs(1)

    def pairs(self, num_tx_ant: int) -> list[Pair]:
        """All modulation-coding pairs, fewest bits per picture first; ``ValueError`` if a code does not exist."""
        found = [
            Pair(bits, rate, coding.code_blocks(self.num_slots * num_tx_ant, bits, rate))
            for bits in self.bits_per_symbol
            for rate in self.rates
        ]
        return sorted(found, key=lambda pair: pair.blocks.payload_bits)

    def send(self, link: LinkConfig, bits_per_symbol: int, bits, draws, snr_db, csi_error_var) -> digital.Arrived:
        """Sends bits and detects them, with this scheme's detector; as ``digital.send_bits``."""
        at = draws, np.float32(snr_db), np.float32(csi_error_var)
        first = "linear" if self.detector == "pic" and self.num_detections == 1 else self.detector
        return digital.send_bits(link, bits_per_symbol, bits, *at, detector=first, num_kept=self.num_kept)

    def detect(self, heard: phy.Observation, bits_per_symbol: int, prior) -> np.ndarray:
        """Detects once more; as ``digital.detect_bits``."""
        again = dict(detector=self.detector, num_kept=self.num_kept)
        return np.asarray(digital.detect_bits(heard, bits_per_symbol, np.float32(prior), **again))

    def decode(self, llr: np.ndarray, scramble: np.ndarray, pair: Pair, detect: Callable) -> coding.Decoded:
        """Decodes with this scheme's decoder; as ``coding.decode_payload``.

        Args:
            llr: Of the scrambled bits, ``[words, num_coded_bits]``.
            scramble: What was added to the coded bits modulo 2; broadcasts against ``llr``.
            pair: Of the code.
            detect: Detects the words again, from LLRs of the scrambled bits to extrinsic ones; unused with one
                detection.
        """
        if self.num_detections == 1:
            return coding.decode_payload(flipped(llr, scramble), pair.blocks, num_iter=self.num_iter)
        return coding.decode_iteratively(
            flipped(llr, scramble),
            pair.blocks,
            lambda prior: flipped(detect(flipped(prior, scramble)), scramble),
            num_detections=self.num_detections,
            num_iter=self.num_iter,
        )


class Selection(NamedTuple):
    """The pair of each of P operating points, and what it promised.

    Attributes:
        pairs: P pairs.
        psnr_db: Mean PSNR on the selection's pictures and draws, all that the pair was chosen for, ``[P]``, dB.
        success: Share of the selection's draws that were decoded, ``[P]``.
        num_tried: Pairs that had to be decoded until no other could win, ``[P]``.
    """

    pairs: tuple[Pair, ...]
    psnr_db: np.ndarray
    success: np.ndarray
    num_tried: np.ndarray


def bytes_of(images: np.ndarray) -> np.ndarray:
    """Pictures in [0, 1] as uint8."""
    return np.round(np.clip(images, 0, 1) * 255).astype(np.uint8)


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
    links: Sequence[LinkConfig],
    *,
    snr_db: np.ndarray,
    csi_error_var: np.ndarray,
    num_realisations: int,
    progress: Callable[[], Any] = lambda: None,
) -> Selection:
    """Finds for each operating point the modulation and code rate of largest mean PSNR.

    Points that the transmitter cannot tell apart (``scheme.knows``) have one pair, that of the largest mean over them.
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
        links: The channels that the transmitter may face, which it cannot tell apart.
        snr_db: ``[P]``, dB under the links' convention.
        csi_error_var: ``[P]``, linear.
        num_realisations: Channel realisations; each has ``B K`` independent draws of a picture's channel.
        progress: Called after each point.

    Raises:
        ValueError: if a link is not one for a digital system, or they differ in antennas or convention.
    """
    _check_links(scheme, links)
    num_tx_ant = links[0].num_tx_ant
    pairs = scheme.pairs(num_tx_ant)
    flat = images.reshape(-1, *images.shape[2:])
    lost = _psnr_db(flat, mean_picture)
    gained = [
        np.mean([loss if one is None else _psnr_db(picture, one.picture / 255)
                 for one, picture, loss in zip(fit_pictures(scheme, flat, pair), flat, lost, strict=True)])
        for pair in pairs
    ]  # fmt: skip
    rng = np.random.default_rng(np.asarray(jax.random.key_data(jax.random.clone(key))))
    draws = [
        (
            link,
            digital.draw_pictures(
                link, *images.shape[:2], scheme.num_slots, jax.random.fold_in(jax.random.clone(key), i)
            ),
        )
        for link in links
        for i in range(num_realisations)
    ]
    num_symbols = scheme.num_slots * num_tx_ant
    sent = {
        bits: rng.integers(0, 2, (len(draws), *images.shape[:2], num_symbols * bits), np.uint8)
        for bits in sorted(set(scheme.bits_per_symbol))
    }
    points = list(zip(*(np.asarray(a, np.float32).tolist() for a in (snr_db, csi_error_var)), strict=True))
    groups = {}
    for point in points:
        groups.setdefault(point[0] if scheme.knows == "snr" else point, []).append(point)
    chosen = {}
    for group, members in groups.items():
        heard = {bits: _Heard.of(scheme, bits, words, draws, members) for bits, words in sent.items()}
        flat_sent = {
            bits: np.tile(words.reshape(-1, words.shape[-1]), (len(members), 1)) for bits, words in sent.items()
        }
        chosen[group] = _best_pair(scheme, pairs, np.array(gained), lost.mean(), heard, flat_sent, rng)
        for _ in members:
            progress()
    found = [chosen[point[0] if scheme.knows == "snr" else point] for point in points]
    best, psnr_db, success, tried = zip(*found, strict=True)
    return Selection(best, np.array(psnr_db), np.array(success), np.array(tried))


def _check_links(scheme: SeparationScheme, links: Sequence[LinkConfig]) -> None:
    for link in links:
        digital.require_digital(link)
        for field in ("num_tx_ant", "convention"):
            values = getattr(link, field), getattr(links[0], field)
            if values[0] != values[1]:
                raise ValueError(
                    f"{scheme.name}: one pair for several links needs one LinkConfig.{field}, got {values[1]!r} and "
                    f"{values[0]!r}"
                )


class _Heard(NamedTuple):
    """Words of all draws at all points of a group that have one modulation, ``[points * draws * pictures, num_bits]``.

    Attributes:
        llr: Of the first detection.
        most: LLRs that no detection's can tell more than: with ``num_detections`` > 1 of one that was told everything.
        detect: As ``SeparationScheme.decode`` has it, for all words; None with one detection.
    """

    llr: np.ndarray
    most: np.ndarray
    detect: Callable[[np.ndarray], np.ndarray] | None

    @classmethod
    def of(cls, scheme: SeparationScheme, bits_per_symbol: int, words: np.ndarray, draws: list, points) -> "_Heard":
        shape = words.shape[1:]
        arrived = [
            scheme.send(link, bits_per_symbol, one, draw, *point)
            for point in points
            for one, (link, draw) in zip(words, draws, strict=True)
        ]

        llr = np.stack([one.llr for one in arrived]).reshape(-1, shape[-1])
        if scheme.num_detections == 1:
            return cls(llr, llr, None)

        def detect(prior):
            parts = prior.reshape(-1, *shape)
            found = [
                scheme.detect(require_given("heard", one.heard), bits_per_symbol, p)
                for one, p in zip(arrived, parts, strict=True)
            ]
            return np.stack(found).reshape(prior.shape)

        known = coding.LARGEST_LLR * (2 * np.float32(np.tile(words.reshape(-1, shape[-1]), (len(points), 1))) - 1)
        return cls(llr, detect(known), detect)


def _best_pair(scheme, pairs: list[Pair], gained, lost, heard, sent, rng) -> tuple[Pair, float, float, int]:
    """The pair of one point, its mean PSNR and success, and how many were decoded."""
    hopeful = []
    for pair in pairs:
        blocks, bits = pair.blocks, pair.bits_per_symbol
        told = digital.mutual_information(heard[bits].most, sent[bits], blocks.num_blocks, blocks.n)
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
            of_pair = heard[pair.bits_per_symbol]

            def detect(prior, of_pair=of_pair, words=words):
                whole = np.zeros(of_pair.llr.shape, np.float32)
                whole[words] = prior
                return of_pair.detect(whole)[words]

            found = scheme.decode(of_pair.llr[words], scramble, pair, detect)
            decoded = int((found.valid & (found.payload == payload).all(-1)).sum())
        success = decoded / words.size
        value = lost + success * (gained[i] - lost)
        if best is None or value > best[1]:
            best = (pair, value, success)
    return *require_given("the pair", best), tried
