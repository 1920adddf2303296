"""Tables of docs/video.md about how the codec's frames look, from the store of ``experiments.video.perceptual``."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.stores import read_points
from experiments.video.measure import CLIPS, FULL
from experiments.video.perceptual import BITS, BUDGET_SNR_DB, LONGER, MILD, NAME, PERCEPTUAL, RATE, SHARES
from lvm_mtc.data.video_codecs import CODECS
from lvm_mtc.report.pages import channel_name, number, table, with_interval
from lvm_mtc.results.intervals import student_interval
from lvm_mtc.results.points import Point
from lvm_mtc.results.store import ResultStore
from lvm_mtc.sweep.paired import find_sweep

_SCHEMES = (FULL, PERCEPTUAL, MILD, LONGER)
_NONE = ["none fits", ""]
Points = Mapping[tuple, Point]


class Looks(NamedTuple):
    """What was measured.

    Attributes:
        points: By clip, scheme, channel, SNR and rate.
        bits: By clip, codec, SNR and share of the uses, over AWGN, where there is one.
    """

    points: Points
    bits: Points


def read_looks(store: ResultStore) -> Looks | None:
    """What a store holds of it; None if it was not measured."""
    if find_sweep(store, f"{NAME}, {FULL}") is None:
        return None
    points, bits = {}, {}
    for scheme in _SCHEMES:
        for p in read_points(store, f"{NAME}, {scheme}", "video"):
            points[p.coordinates["clip"], scheme, p.coordinates["channel"], p.snr_db, p.coordinates["rate"]] = p
    for share in SHARES:
        name = f"{BITS}, {share:g}"
        for p in read_points(store, name, "video") if find_sweep(store, name) else ():
            bits[p.coordinates["clip"], p.coordinates["scheme"], p.snr_db, share] = p
    return Looks(points, bits)


def of_clips(points: Points, metric: str, scheme: str, channel: str, snr_db: float) -> np.ndarray:
    """Means of a metric, clip by clip, ``[6]``."""
    return np.array([points[clip, scheme, channel, snr_db, 1.0].metrics[metric].mean for clip in CLIPS])


def _paired(values: np.ndarray, digits: int) -> str:
    """Mean over clips with its interval."""
    interval = student_interval(values)
    return with_interval((float(interval.mean), float(interval.half_width)), digits)


def _places(looks: Looks) -> Iterator[tuple[tuple[str, float], list[str]]]:
    """Channels and SNRs, with the first cells of each one's line."""
    for channel, snr_db in sorted({key[2:4] for key in looks.points}):
        yield (channel, snr_db), [channel_name(channel), f"{snr_db:g}"]


def _each(looks: Looks, metric: str, place: tuple, digits: int, scale: float = 1.0) -> list[str]:
    """Means over clips of a metric, scheme by scheme; nothing where a scheme was not measured."""
    return [
        number(scale * of_clips(looks.points, metric, scheme, *place).mean(), digits)
        if (CLIPS[0], scheme, *place, 1.0) in looks.points else ""
        for scheme in _SCHEMES
    ]  # fmt: skip


def distances(looks: Looks) -> str:
    """ST-LPIPS and PSNR of the networks, and what the perceptual one changes, clip by clip."""
    rows = []
    for place, first in _places(looks):
        cells = _each(looks, "perceptual", place, 3)
        own = of_clips(looks.points, "perceptual", PERCEPTUAL, *place)
        for other, told in ((FULL, cells[0]), (LONGER, cells[3])):
            less = own / of_clips(looks.points, "perceptual", other, *place) - 1 if told else None
            cells.append("" if less is None else _paired(100 * less, 1))
        psnr = (of_clips(looks.points, "psnr_db", scheme, *place) for scheme in (PERCEPTUAL, FULL))
        rows.append((*first, *cells, *_each(looks, "psnr_db", place, 2), _paired(np.subtract(*psnr), 2)))
    named = [scheme.removeprefix("pvsc, ") for scheme in _SCHEMES]
    head = ["channel", "SNR, dB", *(f"ST-LPIPS, {name}" for name in named)]
    head += ["perceptual less pvsc, %", "less longer, %", *(f"PSNR, {name}, dB" for name in named), "less pvsc, dB"]
    return table(head, rows)


def structure(looks: Looks) -> str:
    """SSIM and flicker of the networks, means over clips."""
    rows = [
        (*first, *_each(looks, "ssim", place, 3), *_each(looks, "flicker", place, 2, 1e4))
        for place, first in _places(looks)
    ]
    named = [scheme.removeprefix("pvsc, ") for scheme in _SCHEMES]
    head = *(f"SSIM, {name}" for name in named), *(f"flicker, {name}, 1e-4" for name in named)
    return table(("channel", "SNR, dB", *head), rows)


def uses_at(curve: Sequence[tuple[float, float]], wanted: float) -> tuple[float, bool]:
    """Uses at which a curve of (uses, distance) has a distance, and whether it lies on the curve.

    Linear in the logarithms; beyond its ends the end is taken.
    """
    uses, distance = np.log(sorted(curve)).T
    distance = np.minimum.accumulate(distance)
    at = np.interp(np.log(wanted), distance[::-1], uses[::-1])
    return float(np.exp(at)), bool(distance[-1] <= np.log(wanted) <= distance[0])


def _seen(point: Point) -> tuple[float, float]:
    """Uses of a frame, side information included, and ST-LPIPS."""
    return point.metrics["uses"].mean, point.metrics["perceptual"].mean


def savings(looks: Looks) -> str:
    """Uses at equal ST-LPIPS over AWGN: the perceptual network against the shipped one, x264 and x265 against it."""
    rows = []
    for snr_db in BUDGET_SNR_DB:
        saved, on_curve, needed, bound = [], 0, {codec: [] for codec in CODECS}, dict.fromkeys(CODECS, 0)
        for clip in CLIPS:
            own = [_seen(looks.points[clip, PERCEPTUAL, "awgn", snr_db, rate]) for rate in (RATE, 1.0)]
            full_uses, full = _seen(looks.points[clip, FULL, "awgn", snr_db, 1.0])
            uses, inside = uses_at(own, full)
            saved.append(100 * (1 - uses / full_uses))
            on_curve += inside
            for codec in CODECS:
                found = [looks.bits.get((clip, codec, snr_db, share)) for share in SHARES]
                curve = [_seen(p) for p in found if p is not None]
                if not curve:
                    continue
                uses, inside = uses_at(curve, own[-1][1])
                needed[codec].append(100 * uses / own[-1][0])
                bound[codec] += not inside
        cells = [_paired(np.array(saved), 0), f"{on_curve} of {len(CLIPS)}"]
        for codec in CODECS:
            every = len(needed[codec]) == len(CLIPS)
            cells += [_paired(np.array(needed[codec]), 0), f"{bound[codec]} of {len(CLIPS)}"] if every else _NONE
        rows.append((f"{snr_db:g}", *cells))
    head = ["SNR, dB", "perceptual saves over pvsc, %", "on its curve"]
    for codec in CODECS:
        head += [f"{codec} needs, %", f"{codec}, an end of its curve"]
    return table(head, rows)


def tables(looks: Looks) -> dict[str, str]:
    """By the name of their place on the page."""
    return {"looks": distances(looks), "looks_more": structure(looks), "savings": savings(looks)}
