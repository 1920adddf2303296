"""The results page's sections on masking: object first against uniform masking over SNR, and P_r and its optimum."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from experiments.results import parts
from experiments.results.measure import (
    BERNOULLI,
    DRAWN,
    ENDS,
    GAIN,
    MASK_PROB,
    OBJECT,
    OVER_CONSTANT,
    SCALE_AWARE,
    SNR,
    UNIFORM,
    minus_end,
)
from experiments.results.parts import CHANNELS, LABELS, PSNR, SSIM, Drawing, Section, cell, curve_of, series
from lvm_mtc.report.figures import Curve, Panel
from lvm_mtc.report.pages import table
from lvm_mtc.results.points import Point
from lvm_mtc.results.store import ResultStore
from lvm_mtc.sweep.paired import PREFIX

COLOURS = {OBJECT: "C0", UNIFORM: "C1", SCALE_AWARE: "C2", DRAWN: "C3", GAIN: "C4"}
LINES = {"awgn": "-", "rayleigh": "--"}
SIZES_AT_DB = 10.0
KINDS = {OBJECT: "constant", SCALE_AWARE: "scale-aware"}
P_R = "P_r, probability of masking a patch of the object"
AXES = ("scheme", "channel", "mask_prob")


def snr_section(store: ResultStore) -> Section:
    """Object first against uniform masking over SNR (Fig. 9)."""
    points, gains = parts.read_both(store, SNR, scheme=GAIN)
    over_snr = {scheme: {channel: series(points, "snr_db", scheme=scheme, channel=channel) for channel in CHANNELS}
                for scheme in (OBJECT, UNIFORM)}  # fmt: skip
    over_snr[GAIN] = {channel: series(gains, "snr_db", channel=channel) for channel in CHANNELS}
    rows = [
        (name, f"{snr:g}", *(cell(over_snr[scheme][channel][snr], prefix + metric) for metric in (PSNR, SSIM)
                             for scheme, prefix in ((OBJECT, ""), (UNIFORM, ""), (GAIN, PREFIX))))
        for channel, name in CHANNELS.items() for snr in over_snr[GAIN][channel]
    ]  # fmt: skip
    head = ("channel", "SNR, dB", *(f"{what}: {side}" for what in ("PSNR, dB", "SSIM")
                                    for side in ("object first", "uniform", "difference")))  # fmt: skip
    kept = [f"{scheme} {parts.kept_shares(next(iter(over_snr[scheme]['awgn'].values())))}"
            for scheme in (OBJECT, UNIFORM)]  # fmt: skip
    uses = parts.same(point.ledger["channel_uses"] for point in points)
    rates = parts.same(point.metrics["cbr"].mean for point in points)
    drawing = _snr_drawing(over_snr)
    text = f"""The paper's Fig. 9: ETC masks the object's patches with P_r = 0.25 and the others with 0.75, MAE masks
all with 0.5. Both keep the same number of patches, {uses} channel uses a picture (CBR {rates}), and go through
the same networks, which met P_r from 0.1 to 0.5 in their training, and none of these pictures. Share of the patches
kept inside/outside the box: {", ".join(kept)}. Inside the box of the object:

{table(head, rows)}

{verdict(gains)}

{drawing.link}

What that is worth depends on the object's size, for a budget that is larger than the object keeps it whole, and it is
paid for outside the box. Differences at {SIZES_AT_DB:g} dB, object first less uniform masking:

{_sizes(gains)}"""
    return Section(text, (drawing,))


def verdict(gains: Sequence[Point]) -> str:
    """What the paired intervals say, in a sentence a metric."""
    lines = []
    for metric in (PSNR, SSIM):
        name = PREFIX + metric
        better, _ = parts.better_and_worse(point.metrics[name] for point in gains)
        lowest = min(gains, key=lambda point, name=name: point.metrics[name].mean - point.metrics[name].half_width)
        where = "at every SNR on both channels" if better == len(gains) else f"at {better} of {len(gains)} points"
        lines.append(
            f"* **{LABELS[metric]}: object first is better {where}**, with paired intervals that exclude "
            f"zero. The one that reaches lowest is {cell(lowest, name)}."
        )
    return "\n".join(lines)


def _sizes(gains: Sequence[Point]) -> str:
    columns = {PSNR: "PSNR inside, dB", f"{PSNR}_small": "box below 1/16 of the picture",
               f"{PSNR}_medium": "1/16 to 1/4", f"{PSNR}_large": "above 1/4", "psnr_background_db": "PSNR outside, dB",
               "psnr_db": "PSNR, whole picture, dB", "ssim": "SSIM, whole picture"}  # fmt: skip
    at = {name: series(gains, "snr_db", channel=channel)[SIZES_AT_DB] for channel, name in CHANNELS.items()}
    rows = [(name, *(cell(point, PREFIX + metric) for metric in columns)) for name, point in at.items()]
    return table(("channel", *columns.values()), rows)


def _snr_drawing(over_snr: Mapping[str, Mapping[str, Mapping[float, Point]]]) -> Drawing:
    def panel(title, label, metric, *schemes):
        curves = [curve_of(over_snr[scheme][channel], metric, f"{scheme}, {name}", COLOURS[scheme], LINES[channel])
                  for scheme in schemes for channel, name in CHANNELS.items()]  # fmt: skip
        return Panel(title=title, y_label=label, curves=curves)

    metrics = PSNR, SSIM
    levels = [panel("", LABELS[metric], metric, OBJECT, UNIFORM) for metric in metrics]
    gains = [panel("paired difference", f"gain: {LABELS[metric]}", PREFIX + metric, GAIN) for metric in metrics]
    title = "Inside the box of the object, at equal channel uses; bands: 95 %, over pictures and channels"
    points = [point for of in over_snr.values() for channel in of.values() for point in channel.values()]
    rows = parts.data_rows(points, (*metrics, PREFIX + PSNR, PREFIX + SSIM), ("scheme", "channel", "snr_db"))
    return Drawing("masking_over_snr", "Object first against uniform masking over SNR",
                   parts.draw((levels, gains), title, differences=gains), rows)  # fmt: skip


class Optimum(NamedTuple):
    """Where a metric is largest along P_r.

    ``interior`` is None where the largest mean is inside the range, but an end cannot be told from it.
    """

    mask_prob: float
    interior: bool | None


def optimum(points: Mapping[float, Point], minus_ends: Sequence[Mapping[float, Point]], metric: str) -> Optimum:
    """Finds it; interior is what both ends' paired intervals say, not the largest mean alone.

    ``minus_ends`` has, for either end, P_r to the difference between the point there and at that end.
    """
    best = max(points, key=lambda mask_prob: points[mask_prob].metrics[metric].mean)
    if best in (min(points), max(points)):
        return Optimum(best, False)
    sure = all(parts.excludes_zero(of[best].metrics[PREFIX + metric]) for of in minus_ends)
    return Optimum(best, True if sure else None)


def mask_prob_section(store: ResultStore) -> Section:
    """P_r with its optimum, constant, scale-aware and with every patch drawn (Fig. 10)."""
    points, differences = parts.read_both(store, MASK_PROB)
    drawn = parts.read(store, BERNOULLI)
    snr = parts.same(point.snr_db for point in points)
    drawings = (_levels(points, snr), _minus_end(differences, snr), _trade(points, snr), _drawn(points, drawn))
    text = f"""The paper's Fig. 10, at {snr} dB and equal channel uses: the number of patches that are kept is fixed,
and P_r sets odds, not rates (0.5 is uniform masking). "Scale-aware" takes P_r from the object's share a of the picture,
2/3 P_r (1 + a), which at P_r = 0.3 is the paper's range, 0.2 to 0.4. The shares that were really kept, inside and
outside the box, stand beside P_r.

{_mask_prob_table(points, differences)}

{drawings[0].link}

Where each curve is largest, and by how much it is larger there than at the ends of the range, paired:

{_optima_table(points, differences)}

{_optima_verdict(points, differences)}

The places are chosen by the same data, so a difference that just leaves its interval counts for little.

{drawings[1].link}

The scale-aware P_r of an object below half the picture is smaller than the constant one of the same name, so the last
column of the first table compares two places on a trade-off too. Inside against outside the box tells the schedule from
another P_r, without intervals:

{drawings[2].link}

### Every patch drawn by itself

With `masking="bernoulli"`, the paper's Eq. 15 taken literally, nothing holds the number of patches: it follows from
P_r and the object's size, so that the channel uses differ from picture to picture, and their mean moves with P_r. The
budget's points stand beside it at theirs.

{_drawn_table(points, drawn)}

{drawings[3].link}"""
    return Section(text, drawings)


def _curves_over(points: Sequence[Point], channel: str) -> dict[str, dict[float, Point]]:
    return {scheme: series(points, "mask_prob", scheme=scheme, channel=channel) for scheme in KINDS}


def _panel(channel: str, snr: str, y_label: str, curves: Sequence[Curve], x_label: str = P_R) -> Panel:
    return Panel(title=f"{CHANNELS[channel]}, {snr} dB", y_label=y_label, curves=curves, x_label=x_label)


def _minus_ends(differences: Sequence[Point], scheme: str, channel: str) -> list[dict[float, Point]]:
    return [series(differences, "mask_prob", scheme=minus_end(scheme, end), channel=channel) for end in ENDS]


def _mask_prob_table(points: Sequence[Point], differences: Sequence[Point]) -> str:
    columns, rows = {PSNR: "PSNR inside, dB", SSIM: "SSIM inside", "psnr_db": "PSNR, whole picture, dB"}, []
    for channel, name in CHANNELS.items():
        of = _curves_over(points, channel)
        over = series(differences, "mask_prob", scheme=OVER_CONSTANT, channel=channel)
        for mask_prob, difference in over.items():
            pair = of[OBJECT][mask_prob], of[SCALE_AWARE][mask_prob]
            rows.append((name, f"{mask_prob:g}", *map(parts.kept_shares, pair),
                         *(cell(point, metric) for metric in columns for point in pair),
                         cell(difference, PREFIX + PSNR)))  # fmt: skip
    head = ("channel", "P_r", "kept in/out", "scale-aware",
            *(f"{what}{kind}" for what in columns.values() for kind in ("", ": scale-aware")),
            "PSNR inside: scale-aware less constant")  # fmt: skip
    return table(head, rows)


def _optima(points: Sequence[Point], differences: Sequence[Point]) -> Iterator[tuple]:
    for channel, name in CHANNELS.items():
        for scheme, of in _curves_over(points, channel).items():
            ends = _minus_ends(differences, scheme, channel)
            for metric in (PSNR, SSIM, "psnr_db", "ssim"):
                yield name, scheme, metric, of, ends, optimum(of, ends, metric)


def _optima_table(points: Sequence[Point], differences: Sequence[Point]) -> str:
    words = {True: "yes", False: "**no**: an end of the range", None: "not told apart from an end"}
    rows = []
    for name, scheme, metric, of, ends, (best, interior) in _optima(points, differences):
        # A point less itself has no row.
        less = [cell(end[best], PREFIX + metric) if best in end else "-" for end in ends]
        rows.append((name, KINDS[scheme], LABELS[metric], f"{best:g}", cell(of[best], metric), *less, words[interior]))
    head = ("channel", "P_r is", "metric", "largest at P_r", "there", *(f"more than at {end:g}" for end in ENDS),
            "interior optimum")  # fmt: skip
    return table(head, rows)


def _optima_verdict(points: Sequence[Point], differences: Sequence[Point]) -> str:
    optima: dict[str, list[Optimum]] = {}
    for *_, metric, _, _, best in _optima(points, differences):
        optima.setdefault(metric, []).append(best)
    lines = []
    for metric, of in optima.items():
        places = ", ".join(f"{value:g}" for value in sorted({best.mask_prob for best in of}))
        sure = sum(best.interior is True for best in of)
        lines.append(
            f"* {LABELS[metric]}: an interior optimum in {sure} of {len(of)} curves; largest at P_r = {places}."
        )
    return "\n".join(lines)


def _levels(points: Sequence[Point], snr: str) -> Drawing:
    def panel(metric, channel):
        curves = [curve_of(of, metric, scheme, COLOURS[scheme]) for scheme, of in _curves_over(points, channel).items()]
        return _panel(channel, snr, LABELS[metric], curves)

    metrics = PSNR, SSIM, "psnr_db"
    title = "P_r at equal channel uses; star: largest mean; bands: 95 %, over pictures and channels"
    figure = parts.draw(parts.grid(metrics, panel), title, best=True)
    rows = parts.data_rows(points, (*metrics, "keep_rate_inside", "keep_rate_outside"), AXES)
    return Drawing("mask_prob", "Quality over P_r at equal channel uses", figure, rows)


def _minus_end(differences: Sequence[Point], snr: str) -> Drawing:
    """Paired, for the bands of the means are those of the pictures and hide what P_r does."""

    def panel(metric, channel):
        curves = [curve_of(_minus_ends(differences, scheme, channel)[1], PREFIX + metric, scheme, COLOURS[scheme])
                  for scheme in KINDS]  # fmt: skip
        return _panel(channel, snr, f"{LABELS[metric]}, less at {ENDS[1]:g}", curves)

    metrics, title = (PSNR, "psnr_db"), f"Paired differences to P_r = {ENDS[1]:g}"
    panels = parts.grid(metrics, panel)
    wanted = {minus_end(scheme, ENDS[1]) for scheme in KINDS}
    rows = parts.data_rows([point for point in differences if point.coordinates["scheme"] in wanted],
                           [PREFIX + metric for metric in metrics], AXES)  # fmt: skip
    return Drawing("mask_prob_differences", title, parts.draw(panels, title, differences=sum(panels, [])), rows)


def _trade(points: Sequence[Point], snr: str) -> Drawing:
    def panel(metric, channel):
        curves = []
        for scheme, of in _curves_over(points, channel).items():
            outside = {point.metrics["psnr_background_db"].mean: point for point in of.values()}
            # The bands of neighbours lie over each other: both are the pictures'.
            curves.append(dataclasses.replace(curve_of(outside, metric, scheme, COLOURS[scheme]), half_width=None))
        return _panel(channel, snr, LABELS[metric], curves, LABELS["psnr_background_db"])

    figure = parts.draw(parts.grid([PSNR], panel), "Inside against outside the box; points: P_r, rising to the right")
    rows = parts.data_rows(points, (PSNR, "psnr_background_db"), AXES)
    return Drawing("mask_prob_trade", "PSNR inside against outside the box", figure, rows)


def _drawn_table(points: Sequence[Point], drawn: Sequence[Point]) -> str:
    rows = []
    for channel, name in CHANNELS.items():
        budget = series(points, "mask_prob", scheme=OBJECT, channel=channel)
        for mask_prob, point in series(drawn, "mask_prob", channel=channel).items():
            rows.append((name, f"{mask_prob:g}", parts.kept_shares(point), *(
                text for of in (point, budget[mask_prob])
                for text in (f"{of.metrics['cbr'].mean:.4f}", cell(of, PSNR), cell(of, "psnr_db")))))  # fmt: skip
    head = ("channel", "P_r", "kept in/out", *(f"{kind}: {what}" for kind in ("drawn", "budget") for what in (
        "CBR", "PSNR inside, dB", "PSNR, whole picture, dB")))  # fmt: skip
    return table(head, rows)


def _drawn(points: Sequence[Point], drawn: Sequence[Point]) -> Drawing:
    def panel(metric, channel):
        chosen = series(drawn, "mask_prob", channel=channel)
        budget = series(points, "mask_prob", scheme=OBJECT, channel=channel)
        by_cbr = {point.metrics["cbr"].mean: point for point in chosen.values()}
        # A budget is one place for several P_r.
        place = curve_of({p: budget[p] for p in chosen}, metric, "a budget", COLOURS[OBJECT], "none")
        at_budget = [budget[p].metrics["cbr"].mean for p in chosen]
        place = dataclasses.replace(place, snr_db=at_budget, half_width=None, marker="s")
        return Panel(title=f"{CHANNELS[channel]}, P_r = {', '.join(f'{p:g}' for p in chosen)}", y_label=LABELS[metric],
                     curves=[curve_of(by_cbr, metric, "every patch drawn", COLOURS[DRAWN]), place],
                     x_label="CBR, mean over pictures")  # fmt: skip

    metrics = PSNR, "psnr_db"
    figure = parts.draw(parts.grid(metrics, panel), "Every patch drawn by itself, against its channel uses")
    constant = [point for point in points if point.coordinates["scheme"] == OBJECT]
    rows = parts.data_rows([*drawn, *constant], ("cbr", *metrics), AXES)
    return Drawing("mask_prob_drawn", "Quality over CBR where every patch is drawn", figure, rows)
