"""The results page's section on P_r: its optimum, constant, scale-aware and with every patch drawn by itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from results_masking import (
    BERNOULLI,
    DRAWN,
    ENDS,
    MASK_PROB,
    OBJECT,
    OVER_CONSTANT,
    SCALE_AWARE,
    minus_end,
)
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

from lvm_mtc.evaluation.figures import Curve, Panel
from lvm_mtc.evaluation.paired_sweep import PREFIX, differences_name
from lvm_mtc.evaluation.points import Point
from lvm_mtc.evaluation.store import ResultStore

COLOURS = {OBJECT: "C0", SCALE_AWARE: "C2", DRAWN: "C3"}
P_R = "P_r, probability of masking a patch of the object"


class Optimum(NamedTuple):
    """Where a metric is largest along P_r.

    Attributes:
        mask_prob: The place.
        interior: True or False; None where the largest mean is inside the range, but an end cannot be told from it.
    """

    mask_prob: float
    interior: bool | None


def optimum(points: Mapping[float, Point], minus_ends: Sequence[Mapping[float, Point]], metric: str) -> Optimum:
    """Finds it; interior is what both ends' paired intervals say, not the largest mean alone.

    Args:
        points: P_r to point.
        minus_ends: For either end, P_r to the difference between the point there and at that end.
        metric: Larger is better.
    """
    best = max(points, key=lambda mask_prob: points[mask_prob].metrics[metric].mean)
    if best in (min(points), max(points)):
        return Optimum(best, False)
    sure = all(excludes_zero(of[best].metrics[PREFIX + metric]) for of in minus_ends)
    return Optimum(best, True if sure else None)


def mask_prob_section(store: ResultStore) -> Section:
    """P_r with its optimum, constant, scale-aware and with every patch drawn (Fig. 10).

    Args:
        store: The store.

    Raises:
        Missing: if the store lacks the rows.
    """
    points, differences, drawn = read(store, MASK_PROB), read(store, differences_name(MASK_PROB)), read(
        store, BERNOULLI)  # fmt: skip
    snr = same(point.snr_db for point in points)
    drawings = (_mask_prob_drawing(points, snr), _difference_drawing(differences, snr), _trade_drawing(points, snr),
                _drawn_drawing(points, drawn))  # fmt: skip
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
    return {scheme: series(points, "mask_prob", scheme=scheme, channel=channel) for scheme in (OBJECT, SCALE_AWARE)}


def _minus_ends(differences: Sequence[Point], scheme: str, channel: str) -> list[dict[float, Point]]:
    return [series(differences, "mask_prob", scheme=minus_end(scheme, end), channel=channel) for end in ENDS]


def _mask_prob_table(points: Sequence[Point], differences: Sequence[Point]) -> str:
    rows = []
    for channel, name in CHANNELS.items():
        of = _curves_over(points, channel)
        over = series(differences, "mask_prob", scheme=OVER_CONSTANT, channel=channel)
        for mask_prob, point in of[OBJECT].items():
            aware = of[SCALE_AWARE][mask_prob]
            rows.append((name, f"{mask_prob:g}", kept_shares(point), kept_shares(aware),
                         *(text_of(one.metrics[metric], digits_of(metric)) for metric in (PSNR, SSIM, "psnr_db")
                           for one in (point, aware)),
                         text_of(over[mask_prob].metrics[PREFIX + PSNR])))  # fmt: skip
    head = ("channel", "P_r", "kept in/out", "scale-aware", *(f"{what}{kind}" for what in (
        "PSNR inside, dB", "SSIM inside", "PSNR, whole picture, dB") for kind in ("", ": scale-aware")),
        "PSNR inside: scale-aware less constant")  # fmt: skip
    return table(head, rows)


def _optima(points: Sequence[Point], differences: Sequence[Point]):
    for channel, name in CHANNELS.items():
        for scheme, of in _curves_over(points, channel).items():
            ends = _minus_ends(differences, scheme, channel)
            for metric in (PSNR, SSIM, "psnr_db", "ssim"):
                yield name, scheme, metric, of, ends, optimum(of, ends, metric)


def _optima_table(points: Sequence[Point], differences: Sequence[Point]) -> str:
    words = {True: "yes", False: "**no**: an end of the range", None: "not told apart from an end"}
    rows = []
    for name, scheme, metric, of, ends, found in _optima(points, differences):
        digits = digits_of(metric)
        # A point less itself has no row.
        less = [text_of(end[found.mask_prob].metrics[PREFIX + metric], digits) if found.mask_prob in end else "-"
                for end in ends]  # fmt: skip
        rows.append((name, scheme, LABELS[metric], f"{found.mask_prob:g}",
                     text_of(of[found.mask_prob].metrics[metric], digits), *less, words[found.interior]))  # fmt: skip
    head = ("channel", "P_r is", "metric", "largest at P_r", "there", *(f"more than at {end:g}" for end in ENDS),
            "interior optimum")  # fmt: skip
    return table(head, [(row[0], {OBJECT: "constant", SCALE_AWARE: "scale-aware"}[row[1]], *row[2:]) for row in rows])


def _optima_verdict(points: Sequence[Point], differences: Sequence[Point]) -> str:
    lines: dict[str, list[Optimum]] = {}
    for *_, metric, _, _, found in _optima(points, differences):
        lines.setdefault(metric, []).append(found)
    said = []
    for metric, of in lines.items():
        places = ", ".join(f"{value:g}" for value in sorted({found.mask_prob for found in of}))
        sure = sum(found.interior is True for found in of)
        said.append(f"* {LABELS[metric]}: an interior optimum in {sure} of {len(of)} curves; largest at P_r = "
                    f"{places}.")
    return "\n".join(said)


def _mask_prob_drawing(points: Sequence[Point], snr: str) -> Drawing:
    def panel(metric, channel):
        curves = [curve_of(of, metric, scheme, COLOURS[scheme]) for scheme, of in _curves_over(points, channel).items()]
        return Panel(title=f"{CHANNELS[channel]}, {snr} dB", y_label=LABELS[metric], curves=curves, x_label=P_R)

    metrics = PSNR, SSIM, "psnr_db"
    figure = draw([[panel(metric, channel) for channel in CHANNELS] for metric in metrics],
                  "P_r at equal channel uses; star: largest mean; bands: 95 %, over pictures and channels",
                  best=True)  # fmt: skip
    return Drawing("mask_prob", "Quality over P_r at equal channel uses", figure,
                   data_rows(points, (*metrics, "keep_rate_inside", "keep_rate_outside"),
                             ("scheme", "channel", "mask_prob")))  # fmt: skip


def _difference_drawing(differences: Sequence[Point], snr: str) -> Drawing:
    """Paired, for the bands of the means are those of the pictures and hide what P_r does."""
    metrics = PSNR, "psnr_db"

    def panel(metric, channel):
        curves = [curve_of(_minus_ends(differences, scheme, channel)[1], PREFIX + metric, scheme, COLOURS[scheme])
                  for scheme in (OBJECT, SCALE_AWARE)]  # fmt: skip
        return Panel(title=f"{CHANNELS[channel]}, {snr} dB", y_label=f"{LABELS[metric]}, less at {ENDS[1]:g}",
                     curves=curves, x_label=P_R)  # fmt: skip

    panels = [[panel(metric, channel) for channel in CHANNELS] for metric in metrics]
    figure = draw(panels, f"Paired differences to P_r = {ENDS[1]:g}", differences=sum(panels, []))
    wanted = {minus_end(scheme, ENDS[1]) for scheme in (OBJECT, SCALE_AWARE)}
    rows = data_rows([point for point in differences if point.coordinates["scheme"] in wanted],
                     [PREFIX + metric for metric in metrics], ("scheme", "channel", "mask_prob"))  # fmt: skip
    return Drawing("mask_prob_differences", f"Paired differences to P_r = {ENDS[1]:g}", figure, rows)


def _trade_drawing(points: Sequence[Point], snr: str) -> Drawing:
    def panel(channel):
        curves = []
        for scheme, of in _curves_over(points, channel).items():
            outside = {point.metrics["psnr_background_db"].mean: point for point in of.values()}
            curves.append(curve_of(outside, PSNR, scheme, COLOURS[scheme]))
        # The bands of neighbours lie over each other: both are the pictures'.
        curves = [dataclasses.replace(curve, half_width=None) for curve in curves]
        return Panel(title=f"{CHANNELS[channel]}, {snr} dB", y_label=LABELS[PSNR], curves=curves,
                     x_label=LABELS["psnr_background_db"])  # fmt: skip

    figure = draw([[panel(channel) for channel in CHANNELS]],
                  "Inside against outside the box; points: P_r, rising to the right")  # fmt: skip
    rows = data_rows(points, (PSNR, "psnr_background_db"), ("scheme", "channel", "mask_prob"))
    return Drawing("mask_prob_trade", "PSNR inside against outside the box", figure, rows)


def _drawn_table(points: Sequence[Point], drawn: Sequence[Point]) -> str:
    rows = []
    for channel, name in CHANNELS.items():
        budget = series(points, "mask_prob", scheme=OBJECT, channel=channel)
        for mask_prob, point in series(drawn, "mask_prob", channel=channel).items():
            rows.append((name, f"{mask_prob:g}", kept_shares(point), *(
                text for one in (point, budget[mask_prob])
                for text in (f"{one.metrics['cbr'].mean:.4f}", text_of(one.metrics[PSNR]),
                             text_of(one.metrics["psnr_db"])))))  # fmt: skip
    head = ("channel", "P_r", "kept in/out", *(f"{kind}: {what}" for kind in ("drawn", "budget")
                                               for what in ("CBR", "PSNR inside, dB", "PSNR, whole picture, dB")))
    return table(head, rows)


def _drawn_drawing(points: Sequence[Point], drawn: Sequence[Point]) -> Drawing:
    def over_cbr(of: Mapping[float, Point], metric: str, scheme: str, line: str) -> Curve:
        by_cbr = {point.metrics["cbr"].mean: point for point in of.values()}
        if len(by_cbr) == 1:  # a budget: one place, several P_r
            curve = curve_of(of, metric, "a budget", COLOURS[OBJECT], "none")
            return Curve(label=curve.label, convention=curve.convention, snr_db=list(by_cbr) * len(of),
                         mean=curve.mean, color=curve.color, linestyle="none", marker="s")  # fmt: skip
        return curve_of(by_cbr, metric, "every patch drawn", COLOURS[scheme], line)

    def panel(metric, channel):
        chosen = series(drawn, "mask_prob", channel=channel)
        budget = series(points, "mask_prob", scheme=OBJECT, channel=channel)
        curves = [over_cbr(chosen, metric, DRAWN, "-"),
                  over_cbr({p: budget[p] for p in chosen}, metric, OBJECT, "none")]  # fmt: skip
        return Panel(title=f"{CHANNELS[channel]}, P_r = {', '.join(f'{p:g}' for p in chosen)}",
                     y_label=LABELS[metric], curves=curves, x_label="CBR, mean over pictures")  # fmt: skip

    metrics = PSNR, "psnr_db"
    figure = draw([[panel(metric, channel) for channel in CHANNELS] for metric in metrics],
                  "Every patch drawn by itself, against its channel uses")  # fmt: skip
    rows = data_rows([*drawn, *(point for point in points if point.coordinates["scheme"] == OBJECT)],
                     ("cbr", *metrics), ("scheme", "channel", "mask_prob"))  # fmt: skip
    return Drawing("mask_prob_drawn", "Quality over CBR where every patch is drawn", figure, rows)
