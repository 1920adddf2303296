"""A store's curves: quality and accuracy over SNR, P_r with its best point, what sharing saves and costs over K."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from lvm_mtc.report.figures import Panel
from lvm_mtc.report.parts import (
    AXIS_LABELS,
    StoreFigure,
    channel_title,
    data_rows,
    finish,
    panel_of,
    require,
    samples_of,
)
from lvm_mtc.report.select import Sample, hold, notes_of, panels_of, series_of, with_metric
from lvm_mtc.results.points import Measured

_PSNR = ("psnr_db", "psnr_inside_db")
_RATES = ("keep_rate_inside", "keep_rate_outside")


def quality(
    samples: Sequence[Sample],
    *,
    name: str,
    title: str,
    metrics: Sequence[str],
    over: str = "snr_db",
    also: Sequence[str] = (),
) -> StoreFigure:
    """Metrics, of which the first must be there, over an axis: a curve a scheme, a row a channel, a column a metric.

    Of the axes in ``also`` every value has a curve.
    """
    free = (over, *also)
    series = series_of(hold(with_metric(samples, metrics[0]), free=free), over)
    require(series, f"points at two {'SNRs' if over == 'snr_db' else f'values of {over}'} or more, all else equal")
    drawn = samples_of(series)
    x_label = "" if over == "snr_db" else AXIS_LABELS.get(over, over)

    def row(key):
        title = "" if over == "snr_db" else channel_title(key, drawn)
        return [panel_of(series, key, over, metric, title=title, x_label=x_label) for metric in metrics]

    panels = [row(key) for key in panels_of(drawn)]
    return finish(name, title, _without_empty_columns(panels), notes_of(drawn, free), data_rows(drawn, metrics))


def best_mask_prob(samples: Sequence[Sample]) -> StoreFigure:
    """PSNR over P_r, the best point of each curve marked; a note where that is the first or the last one."""
    free = ("mask_prob",)
    series = series_of(hold(with_metric(samples, "psnr_db"), free=free), "mask_prob", at_least=3)
    require(series, "points at three P_r or more, all else equal")
    drawn = samples_of(series)
    keys = list(panels_of(drawn))

    def row(key, metrics, title):
        options = dict(title=title, x_label=AXIS_LABELS["mask_prob"])
        return [panel_of(series, key, "mask_prob", metric, **options) for metric in metrics]

    panels = [row(key, _PSNR, channel_title(key, drawn)) for key in keys]
    # What is kept depends neither on the channel nor on the SNR.
    rates = row(keys[0], _RATES, "any channel, any SNR")
    panels = _without_empty_columns([*panels, rates] if any(rates) else panels)
    notes = [
        "Star: the largest mean; where intervals overlap, its place is uncertain. With a budget of patches P_r "
        "sets odds, not rates: see the shares that were kept.",
        *notes_of(drawn, free),
    ]
    rows = data_rows(drawn, (*_PSNR, *_RATES))
    drawing = finish("best_mask_prob", "PSNR over P_r and its best point", panels, notes, rows)
    for axes, panel in zip(drawing.figure.axes, (panel for row in panels for panel in row), strict=True):
        if panel is not None and panel not in rates:
            _mark_best(axes, panel)
    return drawing


def _mark_best(axes: Axes, panel: Panel) -> None:
    at_end = []
    for curve in panel.curves:
        i = max(range(len(curve.mean)), key=lambda i: curve.mean[i])
        x, y = curve.snr_db[i], curve.mean[i]
        axes.plot([x], [y], marker="*", markersize=11, color=curve.color, markeredgecolor="black", linestyle="none")
        axes.annotate(f"{x:g}", (x, y), xytext=(0, 7), textcoords="offset points", ha="center", fontsize=8)
        if i in (0, len(curve.mean) - 1):
            at_end.append(f"no interior optimum: {curve.label}")
    axes.margins(y=0.2)
    if at_end:
        box = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none"}
        axes.text(0.02, 0.03, "\n".join(at_end), transform=axes.transAxes, fontsize=7, va="bottom", bbox=box)


def saving(samples: Sequence[Sample]) -> StoreFigure:
    """Tokens that are public and symbols that are saved, over K, a curve a threshold; below what that costs in PSNR.

    A public token is sent once and not K times, so that sharing saves public_share (K - 1)/K of the token symbols. The
    price is the PSNR at the smallest epsilon less that at the curve's.
    """
    free = ("num_uavs", "epsilon")
    kept = hold(with_metric(samples, "public_share", "psnr_db"), free=free)
    kept = [sample for sample in kept if sample.at.get("num_uavs", 1) > 1 and "epsilon" in sample.at]
    series = series_of(with_saving(kept), "num_uavs")
    require(series, "points at two K or more (of 2 UAVs or more) and at two epsilon or more, all else equal")
    drawn = samples_of(series)
    keys = list(panels_of(drawn))
    saved, lost = ("public_share", "symbols_saved"), [f"{metric}_lost" for metric in _PSNR]

    def row(key, metrics, title):
        options = dict(title=title, x_label=AXIS_LABELS["num_uavs"])
        return [panel_of(series, key, "num_uavs", metric, **options) for metric in metrics]

    # What is public depends neither on the channel nor on the SNR.
    panels = [row(keys[0], saved, "any channel, any SNR"), *(row(key, lost, channel_title(key, drawn)) for key in keys)]
    notes = [
        "Symbols saved: public share x (K - 1)/K, without side information. PSNR lost: against the smallest "
        "epsilon; half widths: root of the sum of both squares (the two share their draws, which as a rule makes "
        "the true ones smaller). Each K has pictures of its own.",
        *notes_of(drawn, free),
    ]
    rows = data_rows(drawn, (*_PSNR, *lost, *saved))
    drawing = finish("saving", "What sharing saves over K, and its price", panels, notes, rows)
    for axes in drawing.figure.axes:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return drawing


def with_saving(samples: Sequence[Sample]) -> list[Sample]:
    """Adds ``symbols_saved`` and, against the point at the smallest epsilon, ``psnr_db_lost`` and its like.

    Points without one at another epsilon, all else equal, are left out.
    """
    groups: dict[tuple, list[Sample]] = {}
    for sample in samples:
        at = sorted((name, value) for name, value in sample.at.items() if name != "epsilon")
        groups.setdefault((sample.convention, *at), []).append(sample)
    completed = []
    for group in groups.values():
        reference = min(group, key=lambda sample: sample.at["epsilon"])
        for sample in group if len(group) > 1 else ():
            mean, _, count = sample.metrics["public_share"]
            more = {"symbols_saved": Measured(mean * (1 - 1 / sample.at["num_uavs"]), None, count)}
            for metric in _PSNR:
                if metric in sample.metrics and metric in reference.metrics:
                    more[f"{metric}_lost"] = _lost(reference.metrics[metric], sample.metrics[metric])
            completed.append(sample._replace(metrics={**sample.metrics, **more}))
    return completed


def _lost(reference: Measured, measured: Measured) -> Measured:
    halves = reference.half_width, measured.half_width
    half_width = None if None in halves or measured is reference else math.hypot(*halves)
    return Measured(reference.mean - measured.mean, half_width, min(reference.count, measured.count))


def _without_empty_columns(panels: list[list[Panel | None]]) -> list[list[Panel | None]]:
    full = [i for i in range(len(panels[0])) if any(row[i] is not None for row in panels)]
    return [[row[i] for i in full] for row in panels]
