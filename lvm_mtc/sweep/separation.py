"""The separation baseline: picture codec, CRC, 5G LDPC code, QAM, over the channel that the token system goes through.

The transmitter knows the mean SNR, as learned schemes do, and never H. At each SNR it uses one modulation and code rate
for all CSI errors and all links that it may be on, chosen on other pictures and other channel draws than the reported
ones (``modulation_coding.select_pairs``); with ``SeparationScheme(knows="statistics")`` it knows both too.
Each picture is sent at the best quality that fits. Where nothing fits, or the CRC fails at the receiver, it shows the
training set's mean picture. There is no side information: which pair belongs to which point is agreed on beforehand,
and what the picture's decoder must know is in the payload.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.data.batches import chunks_of
from lvm_mtc.data.picture_codecs import LOSSLESS_PSNR_DB
from lvm_mtc.link import Ledger, LinkConfig
from lvm_mtc.metrics import pictures as metrics
from lvm_mtc.phy import coding
from lvm_mtc.results.intervals import Interval, student_interval
from lvm_mtc.results.points import Measured, Point
from lvm_mtc.schemes.separation import digital, modulation_coding
from lvm_mtc.schemes.separation.modulation_coding import Pair, Selection, SeparationScheme, bytes_of
from lvm_mtc.sweep.rows import versions

METRICS = ("psnr_db", "psnr_inside_db", "psnr_background_db", "ssim", "ssim_inside", "mse")
# Keys of chunks of pictures are numbered from 0, as in a sweep; the selection's draws are far from them.
_SELECTION = 2**31 - 1


class SeparationResult(NamedTuple):
    """What a scheme did on a channel; R realisations, P points.

    Attributes:
        snr_db: ``[P]``, nominal, dB under ``link.convention``.
        csi_error_var: ``[P]``, linear.
        metrics: Name in ``METRICS`` to ``[R, P, B, K]`` float64.
        has_object: ``[B, K]`` bool.
        realised_snr_db: ``[P]``; None with several fading blocks.
        ledger: What each group costs; every entry ``[B]``.
        fits: Whether a picture has an encoding that fits, ``[P, B, K]`` bool.
        success: Whether the receiver shows that encoding, ``[R, P, B, K]`` bool.
        block_error_rate: Of the code blocks of pictures that fit, ``[P]``; NaN where none fits.
        num_undetected: Wrong pictures whose CRC held, ``[P]``; they count as undecodable.
        pictures: ``[P, B, K, height, width, 3]`` uint8, shown in the first realisation.
    """

    scheme: SeparationScheme
    link: LinkConfig
    snr_db: np.ndarray
    csi_error_var: np.ndarray
    metrics: dict[str, np.ndarray]
    has_object: np.ndarray
    realised_snr_db: np.ndarray | None
    ledger: Ledger
    selection: Selection
    fits: np.ndarray
    success: np.ndarray
    block_error_rate: np.ndarray
    num_undetected: np.ndarray
    pictures: np.ndarray

    @property
    def picture_error_rate(self) -> np.ndarray:
        """Share of the pictures that fit and are not shown, ``[P]``; NaN where none fits."""
        sent = self.success.shape[0] * self.fits.sum((1, 2))
        lost = sent - self.success.sum((0, 2, 3))
        return np.where(sent > 0, lost / np.maximum(sent, 1), np.nan)


def run_separation(
    scheme: SeparationScheme,
    images: np.ndarray,
    loc: np.ndarray,
    key: jax.Array,
    link: LinkConfig,
    *,
    selection_images: np.ndarray,
    mean_picture: np.ndarray,
    snr_db: Sequence[float],
    csi_error_var: Sequence[float] = (0.0,),
    num_realisations: int,
    num_selection_realisations: int = 4,
    selection_links: Sequence[LinkConfig] = (),
    max_pictures: int = 32,
    progress: Callable[[], Any] = lambda: None,
) -> SeparationResult:
    """Chooses modulation and code rate for every point, then sends the pictures over independent realisations.

    Args:
        images: ``[B, K, height, width, 3]`` float in [0, 1], B groups of K UAVs' pictures; sent at 8 bits.
        loc: The object's box, ``[B, K, 4]``, as in ``picture_source``.
        key: Equal keys give the channels of a sweep of one scheme whose pictures take equally many slots.
        link: The channel; broadcast, with an unbiased equaliser.
        selection_images: Other pictures, ``[B', K, height, width, 3]``.
        mean_picture: Shown where there is nothing else, ``[height, width, 3]`` float in [0, 1].
        snr_db: SNRs, dB under ``link.convention``.
        csi_error_var: Variances of the CSI error, linear; the points are the product with ``snr_db``, SNR fastest.
        num_realisations: Independent channel realisations that are reported.
        selection_links: All links that the transmitter may be on, where it does not know which; none: ``link`` alone.
        max_pictures: Pictures that are in memory together; groups are never split.
        progress: Called after each point of the selection and each realisation of each chunk.

    Raises:
        ValueError: if a transmitter that knows its link is given others, or as the messages say.
    """
    snr_db, csi_error_var = (np.float32(a).ravel() for a in np.meshgrid(np.float64(snr_db), np.float64(csi_error_var)))
    counts = num_realisations, num_selection_realisations
    if not (snr_db.size and images.size and selection_images.size) or min(counts) < 1:
        got = f"{snr_db.size} points, {counts} realisations, pictures {images.shape} and {selection_images.shape}"
        needed = "SNRs, CSI errors, realisations and pictures for report and selection"
        raise ValueError(f"run_separation needs {needed}, got {got}")
    _check(scheme, images, loc, link, selection_links, selection_images, mean_picture)
    points = dict(snr_db=snr_db, csi_error_var=csi_error_var)
    selection_key = jax.random.fold_in(jax.random.clone(key), _SELECTION)
    drawn = dict(num_realisations=num_selection_realisations, progress=progress)
    pictures = selection_images, mean_picture
    links = selection_links or (link,)
    selection = modulation_coding.select_pairs(scheme, *pictures, selection_key, links, **points, **drawn)
    prepared = {pair: _prepare(scheme, pair, images, loc) for pair in dict.fromkeys(selection.pairs)}
    chunks = []
    for index, (start, stop, size) in enumerate(chunks_of(images.shape[0], max(1, max_pictures // images.shape[1]))):
        take = np.minimum(np.arange(start, start + size), stop - 1)
        _, channel_key = jax.random.split(jax.random.fold_in(jax.random.clone(key), index))  # the other one is masks'
        realisations = []
        for realisation in range(num_realisations):
            realisation_key = jax.random.fold_in(jax.random.clone(channel_key), realisation)
            draws = digital.draw_pictures(link, size, images.shape[1], scheme.num_slots, realisation_key)
            sent = (scheme, link, prepared, take, stop - start, draws)
            realisations.append([_send(*sent, *at) for at in zip(selection.pairs, *points.values(), strict=True)])
            progress()
        chunks.append(realisations)
    success = np.concatenate([[[one.success for one in points] for points in chunk] for chunk in chunks], axis=2)
    mean_values = _measure(images, loc, np.broadcast_to(mean_picture, images.shape))
    sent = [prepared[pair] for pair in selection.pairs]
    every = [points for chunk in chunks for points in chunk]

    def total(name):
        return np.array([[getattr(one, name) for one in points] for points in every]).sum(0)

    snr, num_blocks = total("snr") / len(every), total("num_blocks")
    mean_bytes = np.broadcast_to(bytes_of(mean_picture), images.shape)
    arrived = zip(success[0], sent, strict=True)
    return SeparationResult(
        scheme=scheme,
        link=link,
        snr_db=snr_db.astype(np.float64),
        csi_error_var=csi_error_var.astype(np.float64),
        metrics={name: np.where(success, [one.values[name] for one in sent], mean_values[name]) for name in METRICS},
        has_object=np.min(loc[..., 2:], axis=-1) > 0,
        realised_snr_db=None if np.isnan(snr).any() else 10 * np.log10(snr),
        ledger=digital.picture_ledger(link, *images.shape[:2], scheme.num_slots),
        selection=selection,
        fits=np.stack([one.fits for one in sent]),
        success=success,
        block_error_rate=total("wrong_blocks") / np.where(num_blocks, num_blocks, np.nan),
        num_undetected=total("undetected"),
        pictures=np.stack([np.where(right[..., None, None, None], one.pictures, mean_bytes) for right, one in arrived]),
    )


def _check(scheme, images, loc, link, selection_links, selection_images, mean_picture):
    if images.ndim != 5 or selection_images.shape[1:] != images.shape[1:] or mean_picture.shape != images.shape[2:]:
        others = f"selection_images {selection_images.shape} and mean_picture {mean_picture.shape} must fit them"
        raise ValueError(f"images {images.shape} must be [B, K, height, width, 3], {others}")
    if loc.shape != (*images.shape[:2], 4):
        raise ValueError(f"loc must be [B, K, 4] = {(*images.shape[:2], 4)}, got {loc.shape}")
    digital.require_digital(link)
    if scheme.knows == "statistics" and selection_links:
        raise ValueError(
            f"{scheme.name} knows its link (SeparationScheme.knows 'statistics'): it needs no selection_links"
        )
    scheme.pairs(link.num_tx_ant)
    seen = {picture.tobytes() for picture in bytes_of(selection_images).reshape(-1, *images.shape[2:])}
    both = sum(picture.tobytes() in seen for picture in bytes_of(images).reshape(-1, *images.shape[2:]))
    if both:
        raise ValueError(f"{both} of the reported images are among selection_images: they must be other pictures")


class _Prepared(NamedTuple):
    """All pictures under one pair, leading axes ``[B, K]``."""

    fits: np.ndarray
    payload: np.ndarray
    bits: np.ndarray
    pictures: np.ndarray
    values: dict[str, np.ndarray]


def _prepare(scheme: SeparationScheme, pair: Pair, images: np.ndarray, loc: np.ndarray) -> _Prepared:
    lead = images.shape[:2]
    encodings = modulation_coding.fit_pictures(scheme, images.reshape(-1, *images.shape[2:]), pair)
    room = pair.blocks.payload_bits
    payload = np.stack([digital.frame_payload(b"" if found is None else found.payload, room) for found in encodings])
    bits = coding.encode_payload(payload, pair.blocks) ^ digital.scrambling(pair.blocks.num_coded_bits)
    nothing = np.zeros(images.shape[2:], np.uint8)
    pictures = np.stack([nothing if found is None else found.picture for found in encodings]).reshape(images.shape)
    fits = np.array([found is not None for found in encodings]).reshape(lead)
    shaped = (payload.reshape(*lead, -1), bits.reshape(*lead, -1))
    return _Prepared(fits, *shaped, pictures, _measure(images, loc, pictures / 255))


def _measure(images: np.ndarray, loc: np.ndarray, shown: np.ndarray) -> dict[str, np.ndarray]:
    values = _measured(*(jnp.asarray(a, jnp.float32) for a in (images, loc, shown)))
    return {name: np.float64(value) for name, value in zip(METRICS, values, strict=True)}


@jax.jit
def _measured(images, loc, shown):
    inside = metrics.box_mask(loc, *images.shape[2:4])
    psnr = (metrics.psnr(images, shown, where) for where in (None, inside, ~inside))
    return (
        *(jnp.minimum(values, LOSSLESS_PSNR_DB) for values in psnr),
        metrics.ssim(images, shown),
        metrics.ssim(images, shown, inside),
        metrics.mse(images, shown),
    )


class _Received(NamedTuple):
    """One point, realisation and chunk."""

    success: np.ndarray
    wrong_blocks: int
    num_blocks: int
    undetected: int
    snr: float


def _send(scheme, link, of_pairs, take, count: int, draws, pair: Pair, snr_db, csi_error_var) -> _Received:
    prepared: _Prepared = of_pairs[pair]
    bits = prepared.bits[take]
    arrived = scheme.send(link, pair.bits_per_symbol, bits, draws, snr_db, csi_error_var)
    real = take[:count]  # the rest of the chunk pads it
    fits, payload = prepared.fits[real], prepared.payload[real][prepared.fits[real]]
    success = np.zeros(fits.shape, bool)
    if not fits.any():
        return _Received(success, 0, 0, 0, float(arrived.snr))

    def detect(prior):
        whole = np.zeros(bits.shape, np.float32)
        whole[:count][fits] = prior
        return scheme.detect(arrived.heard, pair.bits_per_symbol, whole)[:count][fits]

    scramble = digital.scrambling(pair.blocks.num_coded_bits)
    decoded = scheme.decode(np.asarray(arrived.llr)[:count][fits], scramble, pair, detect)
    wrong = decoded.payload != payload
    right = decoded.valid & ~wrong.any(-1)
    success[fits] = right
    crc_bits = coding.crc_length(pair.blocks.crc)
    wrong = np.pad(wrong, [(0, 0), (0, crc_bits)]).reshape(len(wrong), pair.blocks.num_blocks, -1).any(-1)
    wrong[:, -1] |= ~decoded.valid & ~wrong.any(-1)  # an error in the CRC alone
    return _Received(success, int(wrong.sum()), wrong.size, int((decoded.valid & ~right).sum()), float(arrived.snr))


def separation_points(result: SeparationResult, config_hash: str, seed: int) -> list[Point]:
    """What a store holds of a result, under its sweep's key: a point an operating point, as a sweep has them.

    Costs are those of a picture; modulation, code rate and payload stand beside them, and what became of the pictures
    beside the metrics: the share that fits, and of those the share that is not shown and of their wrong code blocks.
    """
    num_realisations, num_points, groups, num_uavs = result.metrics["mse"].shape
    ledger = {name: float(np.mean(value)) / num_uavs for name, value in result.ledger._asdict().items()}
    uses = float(np.mean(result.ledger.channel_uses())) / num_uavs
    intervals = {name: interval(result, name) for name in METRICS}
    rates = {
        "psnr_of_mean_mse_db": -10 * np.log10(result.metrics["mse"].mean(axis=(0, 2, 3))),
        "cbr": np.full(num_points, uses / np.prod(result.pictures.shape[-3:])),
        "share_that_fits": result.fits.mean(axis=(1, 2)),
        "picture_error_rate": result.picture_error_rate,
        "block_error_rate": result.block_error_rate,
    }

    def point(number: int, pair: Pair) -> Point:
        metrics = {name: Measured(values[number], None, groups) for name, values in rates.items()}
        for name, found in intervals.items():
            if found is not None:
                metrics[name] = Measured(found.mean[number], found.half_width[number], num_realisations)
        at = {"num_uavs": num_uavs, "seed": seed, "scheme": result.scheme.name, "channel": result.link.label}
        return Point(
            config_hash=config_hash,
            coordinates=at | {"csi_error_var": result.csi_error_var[number], "snr_db": result.snr_db[number]},
            seed=seed,
            snr_convention=result.link.convention,
            snr_db=result.snr_db[number],
            realised_snr_db=None if result.realised_snr_db is None else result.realised_snr_db[number],
            metrics={name: measured for name, measured in metrics.items() if np.isfinite(measured.mean)},
            ledger=ledger
            | {"channel_uses": uses, "num_pictures": groups * num_uavs, "num_groups": groups}
            | {"codec": result.scheme.codec, "bits_per_symbol": pair.bits_per_symbol, "code_rate": pair.rate}
            | {"payload_bits": pair.blocks.payload_bits},
            device=jax.devices()[0].device_kind,
            versions=versions(),
        )

    return [point(number, pair) for number, pair in enumerate(result.selection.pairs)]


def interval(result: SeparationResult, metric: str) -> Interval | None:
    """Student's interval of a metric's mean over pictures, realisations being units; arrays of ``[P]``.

    None where no view has the object, or no picture a background.
    """
    values = result.metrics[metric]
    counts = np.ones(result.has_object.shape, bool)
    if "inside" in metric or "background" in metric:
        counts = result.has_object & ~np.isnan(values[0, 0])
    return student_interval(values[:, :, counts].mean(axis=-1)) if counts.any() else None
