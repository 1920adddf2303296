"""A store's other figures: PSNR over SNR and CSI error as contours, knowledge bases as bars, theory over simulation."""

import math
import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lvm_mtc.link import LinkConfig
from lvm_mtc.link.fading import acts
from lvm_mtc.report.figures import Panel, add_legend, snr_label
from lvm_mtc.report.parts import (
    LABELS,
    StoreFigure,
    channel_title,
    curve_of,
    data_rows,
    finish,
    require,
    samples_of,
    titled,
)
from lvm_mtc.report.select import (
    Missing,
    Sample,
    Series,
    describe,
    hold,
    notes_of,
    panels_of,
    series_of,
    with_metric,
)
from lvm_mtc.report.theory import post_detection_mse
from lvm_mtc.results.points import Measured

_PSNR = ("psnr_db", "psnr_inside_db")
_PLANE = ("snr_db", "csi_error_var")
_MARGIN, _SHORTEST = 0.08, 0.15  # of the axes: labels keep off their edge, and lines that are shorter have none


def contours(samples: Sequence[Sample]) -> StoreFigure:
    """PSNR over the plane of SNR and CSI error: a row a channel and scheme, whole picture and inside the box."""
    planes = _planes(hold(with_metric(samples, "psnr_db"), free=_PLANE))
    require(planes, "points at two SNRs and two CSI errors or more, all else equal")
    drawn = samples_of(planes)
    metrics = [metric for metric in _PSNR if any(metric in sample.metrics for sample in drawn)]
    widths = [s.metrics[m].half_width for s in drawn for m in metrics if m in s.metrics]
    widest = max((width for width in widths if width is not None), default=None)
    notes = [
        "Dots: points that were simulated; between them lines are interpolated.",
        *notes_of(drawn, _PLANE),
        "" if widest is None else f"Largest half width: {widest:.2g} dB.",
    ]
    figure = Figure(figsize=(5.2 * len(metrics), 3.3 * len(planes) + 1.2), layout="constrained")
    grid = figure.subplots(len(planes), len(metrics), squeeze=False)
    for column, metric in zip(grid.T, metrics, strict=True):
        means = [sample.metrics[metric].mean for sample in drawn if metric in sample.metrics]
        levels = MaxNLocator(10).tick_values(min(means), max(means))
        filled = [_contour(axes, plane, metric, levels) for axes, plane in zip(column, planes, strict=True)]
        shown = next(contour for contour in filled if contour is not None)
        bar = figure.colorbar(shown, ax=column, aspect=20 * len(planes))
        bar.set_label(LABELS[metric], fontsize=8)
        bar.ax.tick_params(labelsize=7)
    title, rows = "PSNR over SNR and CSI error", data_rows(drawn, metrics)
    return titled("csi_contours", title, figure, len(metrics), notes, rows)


def _planes(samples: Sequence[Sample]) -> list[Series]:
    """Samples that differ in SNR and CSI error only, two values or more of each."""
    groups: dict[tuple, list[Sample]] = {}
    for sample in samples:
        if all(axis in sample.at for axis in _PLANE):
            at = {name: value for name, value in sample.at.items() if name not in _PLANE}
            groups.setdefault((*sample.panel, *sorted(at.items())), []).append(sample)
    planes = [group for group in groups.values() if all(len({s.at[axis] for s in group}) > 1 for axis in _PLANE)]
    several = len({group[0].at["sweep"] for group in planes}) > 1
    series = []
    for group in planes:
        at = group[0].at
        parts = [channel_title(group[0].panel), *(str(at[name]) for name in ("scheme", "knowledge_base") if name in at)]
        series.append(Series(", ".join(filter(None, [*parts, at["sweep"]]) if several else parts), group))
    return sorted(series, key=lambda plane: (*plane.samples[0].panel, plane.label))


def _contour(axes: Axes, plane: Series, metric: str, levels: Sequence[float]) -> ContourSet | None:
    values = {
        (s.at["csi_error_var"], s.at["snr_db"]): s.metrics[metric].mean for s in plane.samples if metric in s.metrics
    }
    errors, snr_db = (sorted({at[i] for at in values}) for i in (0, 1))
    if len(snr_db) < 2 or len(errors) < 2:
        axes.set_axis_off()
        return None
    table = np.ma.masked_invalid([[values.get((error, snr), math.nan) for snr in snr_db] for error in errors])
    # By the error's standard deviation, for variances are seldom evenly spread.
    height = np.sqrt(errors)
    filled = axes.contourf(snr_db, height, table, levels=levels, alpha=0.6)
    lines = axes.contour(snr_db, height, table, levels=levels, colors="black", linewidths=0.7)
    axes.clabel(lines, fontsize=8, fmt="%g", manual=_inside(axes, lines))
    places = [snr for _, snr in values], [math.sqrt(error) for error, _ in values]
    axes.plot(*places, ".", color="black", markersize=4, clip_on=False)
    axes.set_yticks(height, [f"{error:g}" for error in errors])
    axes.set_title(plane.label, fontsize=9)
    axes.set_xlabel(snr_label(plane.samples[0].convention), fontsize=8)
    axes.set_ylabel("variance of the CSI error, linear (by its root)", fontsize=8)
    axes.tick_params(labelsize=8)
    return filled


def _inside(axes: Axes, lines: ContourSet) -> list[np.ndarray]:
    """Where labels of contour lines stand: half way along each line, unless that is near the axes' edge."""
    low, high = (np.array([axes.get_xlim()[i], axes.get_ylim()[i]]) for i in (0, 1))
    places = []
    for line in (line for level in lines.allsegs for line in level if len(line) > 1):
        at = (line - low) / (high - low)
        length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(at, axis=0).T))])
        middle = np.array([np.interp(length[-1] / 2, length, column) for column in at.T])
        if length[-1] > _SHORTEST and (middle > _MARGIN).all() and (middle < 1 - _MARGIN).all():
            places.append(low + middle * (high - low))
    return places


def knowledge_bases(samples: Sequence[Sample]) -> StoreFigure:
    """What the picture is worth with each knowledge base, as bars from 0 on; a row a channel."""
    named = [sample for sample in samples if "knowledge_base" in sample.at]
    if not named:
        raise Missing("no point has a coordinate knowledge_base")
    metrics = [metric for metric in (*_PSNR, "accuracy") if any(metric in sample.metrics for sample in named)]
    require(metrics, "psnr_db, psnr_inside_db or accuracy at its points with a knowledge_base")
    kept = hold(named, free=())
    names = sorted({str(sample.at["knowledge_base"]) for sample in kept})
    if len(names) < 2:
        raise Missing(f"all its points have the knowledge base {names[0]}: there is nothing to compare")
    panels = panels_of(kept)
    figure = Figure(figsize=(5.2 * len(metrics), 3.1 * len(panels) + 1.2), layout="constrained")
    grid = figure.subplots(len(panels), len(metrics), squeeze=False)
    for row, (key, group) in zip(grid, panels.items(), strict=True):
        series = series_of(group, "knowledge_base", at_least=1)
        for axes, metric in zip(row, metrics, strict=True):
            _bars(axes, series, names, metric)
            axes.set_title(channel_title(key, kept), fontsize=9)
    add_legend(figure)
    notes, rows = notes_of(kept, ()), data_rows(kept, metrics)
    return titled("knowledge_bases", "Knowledge bases", figure, len(metrics), notes, rows)


def _bars(axes, series: Sequence[Series], names: Sequence[str], metric: str) -> None:
    width = 0.8 / len(series)
    for i, line in enumerate(series):
        shown = Series(line.label, [sample for sample in line.samples if metric in sample.metrics])
        at = [names.index(str(name)) + (i - (len(series) - 1) / 2) * width for name in shown.x("knowledge_base")]
        style = dict(label=line.label, color=f"C{i}", capsize=3, error_kw={"linewidth": 1})
        bars = axes.bar(at, shown.mean(metric), width, yerr=shown.half_width(metric), **style)
        digits = "%.3f" if metric == "accuracy" else "%.1f"
        axes.bar_label(bars, fmt=digits, fontsize=7, label_type="center", color="white")
    axes.set_ylabel(LABELS[metric], fontsize=8)
    axes.tick_params(labelsize=8)
    room = 70 // len(names)  # characters below a bar
    axes.set_xticks(range(len(names)), ["\n".join(textwrap.wrap(name, room)) for name in names], fontsize=7)


def analytic_mse(samples: Sequence[Sample]) -> StoreFigure:
    """Mean squared error after detection, of the analytic expression and as it was simulated; a row a channel."""
    kept = hold(with_metric(samples, "nmse_symbols"), free=_PLANE)
    series = series_of(_one_scheme(kept), "snr_db")
    require(series, "nmse_symbols at two SNRs or more, all else equal")
    rows, panels, reasons = [], [], []
    for key, group in panels_of(samples_of(series)).items():
        # series_of sees the whole figure; the curves of a panel are its own, by CSI error.
        own = [line for line in series if line.samples[0].panel == key]
        try:
            link = _link(group[0])
            theory = [_analytic(line, link) for line in own]
        except ValueError as error:
            reasons.append(f"{channel_title(key)}: {error}")
            continue
        curves = []
        for i, (line, computed) in enumerate(zip(own, theory, strict=True)):
            name = describe("csi_error_var", line.samples[0].at.get("csi_error_var", 0))
            analytic = computed._replace(label=f"{name}, analytic")
            simulated = line._replace(label=f"{name}, simulated")
            curves.append(curve_of(analytic, "snr_db", "analytic_mse", color=f"C{i}", marker=""))
            curves.append(curve_of(simulated, "snr_db", "nmse_symbols", color=f"C{i}", linestyle="none"))
            rows += data_rows(line.samples, ("nmse_symbols",)) + data_rows(computed.samples, ("analytic_mse",))
        title = f"{channel_title(key)}, {link.equalizer} equaliser, {link.csi} CSI"
        panels.append([Panel(title=title, y_label="MSE per symbol of power 1, linear", curves=curves)])
    if not panels:
        raise Missing("; ".join(reasons))
    shown = samples_of(series)
    schemes = " or ".join(sorted({str(sample.at.get("scheme", "of no name")) for sample in shown}))
    notes = [
        f"Simulated: nmse_symbols of the scheme {schemes}. Analytic: no symbol is sent; bands: 95 % of its mean "
        "over channels.",
        *reasons,
        *notes_of(shown, _PLANE),
    ]
    drawing = finish("analytic_mse", "Error after detection, analytic and simulated", panels, notes, rows)
    for axes in drawing.figure.axes:
        axes.set_yscale("log")
    return drawing


def _one_scheme(samples: Sequence[Sample]) -> list[Sample]:
    """Of each channel the scheme that comes first: what is sent makes no difference to the mean."""

    def name(sample: Sample) -> tuple[str, str]:
        return str(sample.at.get("scheme", "")), sample.at["sweep"]

    kept = []
    for group in panels_of(samples).values():
        first = min(map(name, group))
        kept += [sample for sample in group if name(sample) == first]
    return kept


def _link(sample: Sample) -> LinkConfig:
    if sample.link is None:
        raise ValueError("its sweep's configuration does not hold the link")
    if "carrier" in sample.link or not isinstance(sample.link.get("fading", ""), str):
        raise ValueError("its fading or its carrier is of the user's own code")
    if "scene" in sample.link:
        raise ValueError("its UAVs have SNRs of their own")
    # Older stores hold fields that had no effect.
    fading = sample.link.get("fading", "")
    return LinkConfig.of(**{name: value for name, value in sample.link.items() if acts(name, fading)})


def _analytic(series: Series, link: LinkConfig) -> Series:
    """The same points with ``analytic_mse``."""
    theory = post_detection_mse(link, series.x("snr_db"), [s.at.get("csi_error_var", 0.0) for s in series.samples])
    samples = []
    for sample, mse, error in zip(series.samples, theory.mse, theory.standard_error, strict=True):
        half_width = None if np.isnan(error) else 1.96 * float(error)
        measured = Measured(float(mse), half_width, theory.num_channels)
        samples.append(sample._replace(metrics={"analytic_mse": measured}))
    return Series(series.label, samples)
