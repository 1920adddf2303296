"""The results page's section on object first against uniform masking over SNR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from results_masking import GAIN, OBJECT, SNR, UNIFORM
from results_parts import (
    CHANNELS,
    LABELS,
    PSNR,
    SSIM,
    Drawing,
    Section,
    curve_of,
    data_rows,
    digits_of,
    draw,
    excludes_zero,
    kept_shares,
    read,
    same,
    series,
    table,
    text_of,
)

from lvm_mtc.evaluation.figures import Panel
from lvm_mtc.evaluation.paired_sweep import PREFIX, differences_name
from lvm_mtc.evaluation.points import Point
from lvm_mtc.evaluation.store import ResultStore

COLOURS = {OBJECT: "C0", UNIFORM: "C1", GAIN: "C4"}
LINES = {"awgn": "-", "rayleigh": "--"}
SIZES_AT_DB = 10.0


def snr_section(store: ResultStore) -> Section:
    """Object first against uniform masking over SNR (Fig. 9).

    Args:
        store: The store.

    Raises:
        Missing: if the store lacks the rows.
    """
    points, gains = read(store, SNR), read(store, differences_name(SNR), scheme=GAIN)
    found = {scheme: {channel: series(points, "snr_db", scheme=scheme, channel=channel) for channel in CHANNELS}
             for scheme in (OBJECT, UNIFORM)}  # fmt: skip
    found[GAIN] = {channel: series(gains, "snr_db", channel=channel) for channel in CHANNELS}
    rows = [
        (name, f"{snr:g}", *(text_of(found[scheme][channel][snr].metrics[prefix + metric], digits_of(metric))
                             for metric in (PSNR, SSIM)
                             for scheme, prefix in ((OBJECT, ""), (UNIFORM, ""), (GAIN, PREFIX))))
        for channel, name in CHANNELS.items() for snr in found[GAIN][channel]
    ]  # fmt: skip
    head = ("channel", "SNR, dB", *(f"{what}: {side}" for what in ("PSNR, dB", "SSIM")
                                    for side in ("object first", "uniform", "difference")))  # fmt: skip
    kept = [f"{scheme} {kept_shares(one)}" for scheme in (OBJECT, UNIFORM)
            for one in [next(iter(found[scheme]["awgn"].values()))]]  # fmt: skip
    rates = {point.metrics["cbr"].mean for point in points}
    uses = same(point.ledger["channel_uses"] for point in points)
    text = f"""The paper's Fig. 9: ETC masks the object's patches with P_r = 0.25 and the others with 0.75, MAE masks
all with 0.5. Both keep the same number of patches, {uses} channel uses a picture (CBR {same(rates)}), and go through
the same networks, which met P_r from 0.1 to 0.5 in their training, and none of these pictures. Share of the patches
kept inside/outside the box: {", ".join(kept)}. Inside the box of the object:

{table(head, rows)}

{verdict(gains)}

{{figure}}

What that is worth depends on the object's size, for a budget that is larger than the object keeps it whole, and it is
paid for outside the box. Differences at {SIZES_AT_DB:g} dB, object first less uniform masking:

{_sizes(gains)}"""
    drawing = _snr_drawing(found)
    return Section(text.replace("{figure}", drawing.link), (drawing,))


def verdict(gains: Sequence[Point]) -> str:
    """What the paired intervals say, in a sentence a metric."""
    lines = []
    for metric in (PSNR, SSIM):
        values = [point.metrics[PREFIX + metric] for point in gains]
        better = sum(excludes_zero(value) and value.mean > 0 for value in values)
        least = min(values, key=lambda value: value.mean - value.half_width)
        where = "at every SNR on both channels" if better == len(values) else f"at {better} of {len(values)} points"
        lines.append(f"* **{LABELS[metric]}: object first is better {where}**, with paired intervals that exclude "
                     f"zero. The one that reaches lowest is {text_of(least, digits_of(metric))}.")
    return "\n".join(lines)


def _sizes(gains: Sequence[Point]) -> str:
    metrics = {"inside": PSNR, "small": f"{PSNR}_small", "medium": f"{PSNR}_medium", "large": f"{PSNR}_large",
               "outside": "psnr_background_db", "whole picture": "psnr_db", "SSIM, whole picture": "ssim"}  # fmt: skip
    rows = [(name, *(text_of(point.metrics[PREFIX + metric], digits_of(metric)) for metric in metrics.values()))
            for channel, name in CHANNELS.items()
            for point in [series(gains, "snr_db", channel=channel)[SIZES_AT_DB]]]  # fmt: skip
    head = ("channel", "PSNR inside, dB", "box below 1/16 of the picture", "1/16 to 1/4", "above 1/4",
            "PSNR outside, dB", "PSNR, whole picture, dB", "SSIM, whole picture")  # fmt: skip
    return table(head, rows)


def _snr_drawing(found: Mapping[str, Mapping[str, Mapping[float, Point]]]) -> Drawing:
    def curves(metric, prefix, schemes):
        return [curve_of(found[scheme][channel], prefix + metric, f"{scheme}, {name}", COLOURS[scheme],
                         LINES[channel])
                for scheme in schemes for channel, name in CHANNELS.items()]  # fmt: skip

    levels = [Panel(title="", y_label=LABELS[metric], curves=curves(metric, "", (OBJECT, UNIFORM)))
              for metric in (PSNR, SSIM)]  # fmt: skip
    gains = [Panel(title="paired difference", y_label=f"gain: {LABELS[metric]}", curves=curves(metric, PREFIX, (GAIN,)))
             for metric in (PSNR, SSIM)]  # fmt: skip
    title = "Inside the box of the object, at equal channel uses; bands: 95 %, over pictures and channels"
    figure = draw((levels, gains), title, differences=gains)
    points = [point for of in found.values() for channel in of.values() for point in channel.values()]
    rows = data_rows(points, (PSNR, SSIM, PREFIX + PSNR, PREFIX + SSIM), ("scheme", "channel", "snr_db"))
    return Drawing("masking_over_snr", "Object first against uniform masking over SNR", figure, rows)
