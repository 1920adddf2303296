"""The separation baseline: picture codec, CRC, 5G LDPC code, QAM, over the channel that the token system goes through.

The transmitter knows the mean SNR and the variance of the CSI error, never H. At each operating point it therefore uses
one modulation and code rate, chosen on other pictures and other channel draws than the reported ones
(``modulation_coding.select_pairs``). Each picture is sent at the best quality that fits. Where nothing fits, or the CRC
fails at the receiver, it shows the training set's mean picture. There is no side information: which pair belongs to
which point is agreed on beforehand, and what the picture's decoder must know is in the payload.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.evaluation import digital, metrics
from lvm_mtc.evaluation.grid import METRICS, chunks_of
from lvm_mtc.evaluation.modulation_coding import (
    Pair,
    Selection,
    SeparationScheme,
    bytes_of,
    fit_pictures,
    flipped,
    select_pairs,
)
from lvm_mtc.evaluation.report import interval
from lvm_mtc.interop.sionna import coding
from lvm_mtc.system import Ledger, LinkConfig

# Keys of chunks of pictures are numbered from 0, as in `grid`; the selection's draws are far from them.
_SELECTION = 2**31 - 1


class SeparationResult(NamedTuple):
    """What a scheme did on a channel; fields that ``GridResult`` has too mean the same. R realisations, P points.

    Attributes:
        scheme: The scheme.
        link: The channel.
        snr_db: ``[P]``, nominal, dB under ``link.convention``.
        csi_error_var: ``[P]``, linear.
        metrics: Name in ``grid.METRICS`` to ``[R, P, B, K]`` float64.
        has_object: ``[B, K]`` bool.
        realised_snr_db: ``[P]``; None with several fading blocks.
        ledger: What each group costs; every entry ``[B]``.
        selection: The pair of each point.
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
    max_pictures: int = 32,
    progress: Callable[[], Any] = lambda: None,
) -> SeparationResult:
    """Chooses modulation and code rate for every point, then sends the pictures over independent realisations.

    Args:
        scheme: The digital system.
        images: ``[B, K, height, width, 3]`` float in [0, 1], B groups of K UAVs' pictures; sent at 8 bits.
        loc: The object's box, ``[B, K, 4]``, as in ``grid.run_grid``.
        key: Equal keys give the channels of ``grid.run_grid``, where the pictures take equally many slots.
        link: The channel; broadcast, with an unbiased equaliser.
        selection_images: Other pictures, ``[B', K, height, width, 3]``.
        mean_picture: Shown where there is nothing else, ``[height, width, 3]`` float in [0, 1].
        snr_db: SNRs, dB under ``link.convention``.
        csi_error_var: Variances of the CSI error, linear; the points are the product with ``snr_db``, SNR fastest.
        num_realisations: Independent channel realisations that are reported.
        num_selection_realisations: And those of the selection.
        max_pictures: As in ``grid.run_grid``.
        progress: Called after each point of the selection and each realisation of each chunk.

    Returns:
        The result.

    Raises:
        ValueError: if there is no point, realisation or picture, shapes do not fit, a reported picture is among the
            selection's, or the link is not one for a digital system.
        SionnaUnavailable: without the extra ``sionna``.
    """
    snr_db, csi_error_var = np.atleast_1d(np.float64(snr_db)), np.atleast_1d(np.float64(csi_error_var))
    _check(scheme, images, loc, link, selection_images, mean_picture, (snr_db, csi_error_var, num_realisations,
                                                                      num_selection_realisations))
    coding.check()
    snr_db, csi_error_var = (np.float32(a).ravel() for a in np.meshgrid(snr_db, csi_error_var))
    selection = select_pairs(
        scheme, selection_images, mean_picture, jax.random.fold_in(jax.random.clone(key), _SELECTION), link,
        snr_db=snr_db, csi_error_var=csi_error_var, num_realisations=num_selection_realisations, progress=progress,
    )
    prepared = {pair: _prepare(scheme, pair, images, loc) for pair in dict.fromkeys(selection.pairs)}
    chunks = []
    for index, (start, stop, size) in enumerate(chunks_of(images.shape[0], max(1, max_pictures // images.shape[1]))):
        take = np.minimum(np.arange(start, start + size), stop - 1)
        _, channel_key = jax.random.split(jax.random.fold_in(jax.random.clone(key), index))  # the other one is masks'
        found = []
        for realisation in range(num_realisations):
            realisation_key = jax.random.fold_in(jax.random.clone(channel_key), realisation)
            draws = digital.draw_pictures(link, size, images.shape[1], scheme.num_slots, realisation_key)
            points = zip(selection.pairs, snr_db, csi_error_var, strict=True)
            found.append([_send(scheme, link, prepared[pair], pair, take, stop - start, draws, *point)
                          for pair, *point in points])
            progress()
        chunks.append(found)
    return _join(scheme, link, snr_db, csi_error_var, images, loc, mean_picture, selection, prepared, chunks)


def _check(scheme, images, loc, link, selection_images, mean_picture, counts):
    snr_db, csi_error_var, num_realisations, num_selection = counts
    if not (snr_db.size and csi_error_var.size and images.size and selection_images.size) or min(counts[2:]) < 1:
        raise ValueError(
            f"run_separation needs SNRs, CSI errors, realisations and pictures for report and selection, got "
            f"{snr_db.size}, {csi_error_var.size}, {num_realisations} and {num_selection}, pictures of shape "
            f"{images.shape} and {selection_images.shape}"
        )
    if images.ndim != 5 or selection_images.shape[1:] != images.shape[1:] or mean_picture.shape != images.shape[2:]:
        raise ValueError(
            f"images {images.shape} must be [B, K, height, width, 3], selection_images {selection_images.shape} and "
            f"mean_picture {mean_picture.shape} must fit them"
        )
    if loc.shape != (*images.shape[:2], 4):
        raise ValueError(f"loc must be [B, K, 4] = {(*images.shape[:2], 4)}, got {loc.shape}")
    digital.require_digital(link)
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
    found = fit_pictures(scheme, images.reshape(-1, *images.shape[2:]), pair)
    room = pair.blocks.payload_bits
    payload = np.stack([digital.frame_payload(b"" if one is None else one.payload, room) for one in found])
    bits = coding.encode_payload(payload, pair.blocks) ^ digital.scrambling(pair.blocks.num_coded_bits)
    nothing = np.zeros(images.shape[2:], np.uint8)
    pictures = np.stack([nothing if one is None else one.picture for one in found]).reshape(images.shape)
    fits = np.array([one is not None for one in found]).reshape(lead)
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
        *(jnp.minimum(values, metrics.LOSSLESS_PSNR_DB) for values in psnr),
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


def _send(scheme, link, prepared: _Prepared, pair: Pair, take, count: int, draws, snr_db, csi_error_var) -> _Received:
    llr, snr = digital.send_bits(link, pair.bits_per_symbol, prepared.bits[take], draws, snr_db, csi_error_var)
    real = take[:count]  # the rest of the chunk pads it
    fits, payload = prepared.fits[real], prepared.payload[real][prepared.fits[real]]
    success = np.zeros(fits.shape, bool)
    if not fits.any():
        return _Received(success, 0, 0, 0, float(snr))
    words = flipped(np.asarray(llr)[:count][fits], digital.scrambling(pair.blocks.num_coded_bits))
    found = scheme.decode(words, pair)
    wrong = found.payload != payload
    right = found.valid & ~wrong.any(-1)
    success[fits] = right
    wrong = np.pad(wrong, [(0, 0), (0, coding.CRC_BITS)]).reshape(len(wrong), pair.blocks.num_blocks, -1).any(-1)
    wrong[:, -1] |= ~found.valid & ~wrong.any(-1)  # an error in the CRC alone
    return _Received(success, int(wrong.sum()), wrong.size, int((found.valid & ~right).sum()), float(snr))


def _join(scheme, link, snr_db, csi_error_var, images, loc, mean_picture, selection, prepared, chunks):
    success = np.concatenate([[[one.success for one in points] for points in found] for found in chunks], axis=2)
    mean_values = _measure(images, loc, np.broadcast_to(mean_picture, images.shape))
    of_point = [prepared[pair] for pair in selection.pairs]
    every = [points for found in chunks for points in found]

    def total(name):
        return np.array([[getattr(one, name) for one in points] for points in every]).sum(0)

    snr = total("snr") / len(every)
    mean_bytes = np.broadcast_to(bytes_of(mean_picture), images.shape)
    return SeparationResult(
        scheme=scheme,
        link=link,
        snr_db=snr_db.astype(np.float64),
        csi_error_var=csi_error_var.astype(np.float64),
        metrics={
            name: np.where(success, np.stack([one.values[name] for one in of_point]), mean_values[name])
            for name in METRICS
        },
        has_object=np.min(loc[..., 2:], axis=-1) > 0,
        realised_snr_db=None if np.isnan(snr).any() else 10 * np.log10(snr),
        ledger=digital.picture_ledger(link, *images.shape[:2], scheme.num_slots),
        selection=selection,
        fits=np.stack([one.fits for one in of_point]),
        success=success,
        block_error_rate=total("wrong_blocks") / np.where(total("num_blocks"), total("num_blocks"), np.nan),
        num_undetected=total("undetected"),
        pictures=np.stack([
            np.where(success[0, i][..., None, None, None], one.pictures, mean_bytes) for i, one in enumerate(of_point)
        ]),
    )


def separation_rows(results: Sequence[SeparationResult]) -> list[dict[str, Any]]:
    """One row a scheme, channel and operating point; columns that ``report.table_rows`` has too mean the same.

    Args:
        results: With two or more realisations.

    Returns:
        Rows for ``table.write_csv``; None where something is not measured.
    """
    rows = []
    for result in results:
        found = {name: interval(result, name) for name in METRICS if name != "mse"}
        num_realisations, _, groups, num_uavs = result.metrics["mse"].shape
        ledger = jax.tree.map(np.mean, result.ledger)
        samples = num_uavs * np.prod(result.pictures.shape[-3:])
        for point, pair in enumerate(result.selection.pairs):
            row = {
                "scheme": result.scheme.name,
                "channel": result.link.fading,
                "snr_convention": result.link.convention,
                "snr_db": result.snr_db[point],
                "realised_snr_db": None if result.realised_snr_db is None else result.realised_snr_db[point],
                "csi_error_var": result.csi_error_var[point],
                "num_realisations": num_realisations,
                "num_pictures": groups * num_uavs,
                "num_uavs": num_uavs,
                "equalizer": result.link.equalizer,
            }
            for name, one in found.items():
                row[name] = None if one is None else one.mean[point]
                row[f"{name}_ci95"] = None if one is None else one.half_width[point]
            rows.append(row | {
                "psnr_of_mean_mse_db": -10 * np.log10(result.metrics["mse"][:, point].mean()),
                "channel_uses": ledger.channel_uses() / num_uavs,
                "slots": ledger.slots / num_uavs,
                "cbr": ledger.channel_uses() / samples,
                "codec": result.scheme.codec,
                "bits_per_symbol": pair.bits_per_symbol,
                "code_rate": pair.rate,
                "payload_bits": pair.blocks.payload_bits,
                "share_that_fits": result.fits[point].mean(),
                "picture_error_rate": _or_none(result.picture_error_rate[point]),
                "block_error_rate": _or_none(result.block_error_rate[point]),
            })
    return rows


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
