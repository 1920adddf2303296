"""What the results page's sections on whole-picture codecs share: tables of levels, differences and trainings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from results_cifar10 import PCA_SPREAD, SEPARATION, UNSPREAD
from results_codecs import DEEPJSCC, PCA, TOKEN, WITT
from results_parts import (
    CHANNELS,
    Drawing,
    curve_of,
    data_rows,
    digits_of,
    draw,
    excludes_zero,
    series,
    table,
    text_of,
)

from lvm_mtc.evaluation.figures import Panel
from lvm_mtc.evaluation.paired_sweep import PREFIX
from lvm_mtc.evaluation.points import Point

COLOURS = {TOKEN: "C0", UNSPREAD: "C9", DEEPJSCC: "C1", WITT: "C2", PCA: "C7", PCA_SPREAD: "C8", SEPARATION: "C3"}


def trainings_table(points: Sequence[Point], runs: Iterable[str], script: str) -> str:
    """A row a training, what it cost and where it ended, below some words.

    Args:
        points: Of ``results_training.store_trainings``.
        runs: Names of runs in the order of the rows; those without points have none.
        script: What trained them.
    """
    rows = []
    for run in runs:
        of = series(points, "num_pictures", run=run)
        if not of:
            continue
        last = list(of.values())[-1]
        rows.append((f"`{run}`", f"{last.ledger['num_parameters']:,}", f"{last.coordinates['num_pictures']:,}",
                     f"{last.ledger['learning_rate']:g}",
                     " / ".join(f"{last.metrics[name].mean:.2f}" for name in sorted(last.metrics) if "psnr" in name),
                     f"{last.metrics['pictures_per_second'].mean:.0f}"))  # fmt: skip
    head = ("run", "parameters", "pictures seen", "learning rate", "PSNR at the end of the training, dB",
            "pictures/s at the end")  # fmt: skip
    devices = ", ".join(dict.fromkeys(point.device for point in points))
    return f"""Trainings, by the name of their run in `{script}`; PSNR over AWGN / Rayleigh of the
pictures that were being trained on, mean over the SNRs drawn. Device: {devices}. Other work ran on the same two cores,
so the speeds are no benchmark.

{table(head, rows)}"""


def levels_table(points: Sequence[Point]) -> str:
    """PSNR and SSIM of every codec over SNR, a table."""
    schemes = list(dict.fromkeys(point.coordinates["scheme"] for point in points))
    rows = [
        (name, scheme, metric_name,
         *(text_of(point.metrics[metric], digits_of(metric))
           for point in series(points, "snr_db", scheme=scheme, channel=channel).values()))
        for channel, name in CHANNELS.items() for metric, metric_name in (("psnr_db", "PSNR, dB"), ("ssim", "SSIM"))
        for scheme in schemes
    ]  # fmt: skip
    snrs = sorted({point.snr_db for point in points})
    return table(("channel", "codec", "", *(f"{snr:g} dB" for snr in snrs)), rows)


def verdict(gains: Sequence[Point]) -> str:
    """Where our codec is better, worse or neither, by paired intervals of the PSNR."""
    lines = []
    for name in dict.fromkeys(point.coordinates["scheme"] for point in gains):
        for channel, called in (CHANNELS | {"rayleigh_magnitude": "real magnitude"}).items():
            of = series(gains, "snr_db", scheme=name, channel=channel)
            if not of:
                continue
            texts = [f"{snr:g} dB: {text_of(point.metrics[PREFIX + 'psnr_db'])}" for snr, point in of.items()]
            lines.append(f"* {name}, {called}: {_summary(list(of.values()))} ({'; '.join(texts)}).")
    return "Paired differences of PSNR in dB:\n\n" + "\n".join(lines)


def _summary(points: Sequence[Point]) -> str:
    values = [point.metrics[PREFIX + "psnr_db"] for point in points]
    better, worse = (sum(excludes_zero(v) and sign * v.mean > 0 for v in values) for sign in (1, -1))
    if better == len(values):
        return "**better at every SNR**"
    if worse == len(values):
        return "**worse at every SNR**"
    return f"better at {better}, worse at {worse} of {len(values)} SNRs"


def quality_drawing(name: str, called: str, title: str, points: Sequence[Point]) -> Drawing:
    """PSNR and SSIM over SNR, both channels.

    Args:
        name: Of the figure's file.
        called: Its caption.
        title: Above it; what the bands are is added.
        points: Rows of the sweep.
    """
    schemes = list(dict.fromkeys(point.coordinates["scheme"] for point in points))
    panels = [
        [Panel(title=called, y_label=label,
               curves=[curve_of(series(points, "snr_db", scheme=scheme, channel=channel), metric, scheme,
                                COLOURS[scheme]) for scheme in schemes])
         for channel, called in CHANNELS.items()]
        for metric, label in (("psnr_db", "PSNR (dB)"), ("ssim", "SSIM"))
    ]  # fmt: skip
    rows = data_rows(points, ("psnr_db", "ssim"), ("scheme", "channel", "snr_db"))
    return Drawing(name, called, draw(panels, f"{title}; bands: 95 %, over pictures and channels"), rows)
