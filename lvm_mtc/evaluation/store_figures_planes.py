"""A store's other figures: PSNR over SNR and CSI error as contours, knowledge bases as bars, theory over simulation."""

import math
import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lvm_mtc.config import from_dict
from lvm_mtc.evaluation.figures import Curve, Panel, snr_label
from lvm_mtc.evaluation.points import Measured
from lvm_mtc.evaluation.store_figures_parts import (
    LABELS,
    StoreFigure,
    channel_title,
    data_rows,
    finish,
    require,
    samples_of,
    wrapped,
)
from lvm_mtc.evaluation.store_figures_select import (
    Missing,
    Sample,
    Series,
    describe,
    held_note,
    hold,
    interval_note,
    panels_of,
    series_of,
    with_metric,
)
from lvm_mtc.evaluation.store_figures_theory import post_detection_mse
from lvm_mtc.system import LinkConfig

_PSNR = ("psnr_db", "psnr_inside_db")
_PLANE = ("snr_db", "csi_error_var")


def contours(samples: Sequence[Sample]) -> StoreFigure:
    """PSNR over the plane of SNR and CSI error: a row a channel and scheme, whole picture and inside the box.

    Args:
        samples: Points.

    Raises:
        Missing: if no scheme has two SNRs at two CSI errors.
    """
    planes = _planes(hold(with_metric(samples, "psnr_db"), free=_PLANE))
    require(planes, "points at two SNRs and two CSI errors or more, all else equal")
    drawn = samples_of(planes)
    metrics = [metric for metric in _PSNR if any(metric in sample.metrics for sample in drawn)]
    widths = [s.metrics[m].half_width for s in drawn for m in metrics if m in s.metrics]
    widest = max((width for width in widths if width is not None), default=None)
    caption = " ".join(note for note in (
        "Dots: points that were simulated; between them lines are interpolated.", held_note(drawn, free=_PLANE),
        interval_note(drawn),
        "" if widest is None else f"Largest half width: {widest:.2g} dB.") if note)
    title = "PSNR over SNR and CSI error"
    figure = Figure(figsize=(5.2 * len(metrics), 3.3 * len(planes) + 1.2), layout="constrained")
    grid = figure.subplots(len(planes), len(metrics), squeeze=False)
    for column, metric in zip(grid.T, metrics, strict=True):
        means = [sample.metrics[metric].mean for sample in drawn if metric in sample.metrics]
        levels = MaxNLocator(10).tick_values(min(means), max(means))
        filled = [_contour(axes, plane, metric, levels) for axes, plane in zip(column, planes, strict=True)]
        bar = figure.colorbar(next(one for one in filled if one is not None), ax=column, aspect=20 * len(planes))
        bar.set_label(LABELS[metric], fontsize=8)
        bar.ax.tick_params(labelsize=7)
    figure.suptitle(f"{title}\n{wrapped(caption, len(metrics))}", fontsize=9)
    return StoreFigure("csi_contours", title, caption, figure, data_rows(drawn, metrics))


def _planes(samples: Sequence[Sample]) -> list[Series]:
    """Samples that differ in SNR and CSI error only, two values or more of each."""
    groups: dict[tuple, list[Sample]] = {}
    for sample in samples:
        if all(axis in sample.at for axis in _PLANE):
            at = {name: value for name, value in sample.at.items() if name not in _PLANE}
            groups.setdefault((*sample.panel, *sorted(at.items())), []).append(sample)
    planes = [group for group in groups.values() if all(len({s.at[axis] for s in group}) > 1 for axis in _PLANE)]
    several = len({group[0].at["sweep"] for group in planes}) > 1
    found = []
    for group in planes:
        at = group[0].at
        parts = [channel_title(group[0].panel), *(str(at[name]) for name in ("scheme", "knowledge_base") if name in at)]
        found.append(Series(", ".join([*parts, describe("sweep", at["sweep"])] if several else parts), group))
    return sorted(found, key=lambda one: (*one.samples[0].panel, one.label))


def _contour(axes: Axes, plane: Series, metric: str, levels: Sequence[float]) -> ContourSet | None:
    values = {(s.at["csi_error_var"], s.at["snr_db"]): s.metrics[metric].mean for s in plane.samples
              if metric in s.metrics}
    errors, snr_db = (sorted({at[i] for at in values}) for i in (0, 1))
    if len(snr_db) < 2 or len(errors) < 2:
        axes.set_axis_off()
        return None
    table = np.ma.masked_invalid([[values.get((error, snr), math.nan) for snr in snr_db] for error in errors])
    # By the error's standard deviation, for variances are seldom evenly spread.
    height = np.sqrt(errors)
    filled = axes.contourf(snr_db, height, table, levels=levels, alpha=0.6)
    lines = axes.contour(snr_db, height, table, levels=levels, colors="black", linewidths=0.7)
    axes.clabel(lines, fontsize=8, fmt="%g")
    axes.plot([snr for _, snr in values], [math.sqrt(error) for error, _ in values], ".", color="black", markersize=4,
              clip_on=False)
    axes.set_yticks(height, [f"{error:g}" for error in errors])
    axes.set_title(plane.label, fontsize=9)
    axes.set_xlabel(snr_label(plane.samples[0].convention), fontsize=8)
    axes.set_ylabel("variance of the CSI error, linear (by its root)", fontsize=8)
    axes.tick_params(labelsize=8)
    return filled


def knowledge_bases(samples: Sequence[Sample]) -> StoreFigure:
    """What the picture is worth with each knowledge base, as bars from 0 on; a row a channel.

    Args:
        samples: Points; those with a coordinate ``knowledge_base`` are drawn.

    Raises:
        Missing: if no channel has two knowledge bases.
    """
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
    title = "Knowledge bases"
    caption = " ".join(note for note in (held_note(kept, free=()), interval_note(kept)) if note)
    figure = Figure(figsize=(5.2 * len(metrics), 3.1 * len(panels) + 1.2), layout="constrained")
    grid = figure.subplots(len(panels), len(metrics), squeeze=False)
    for row, (key, group) in zip(grid, panels.items(), strict=True):
        series = series_of(group, "knowledge_base", at_least=1)
        for axes, metric in zip(row, metrics, strict=True):
            _bars(axes, series, names, metric)
            axes.set_title(channel_title(key, kept), fontsize=9)
    handles = {label: handle for axes in grid.flat
               for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2, fontsize=8)
    figure.suptitle(f"{title}\n{wrapped(caption, len(metrics))}", fontsize=9)
    return StoreFigure("knowledge_bases", title, caption, figure, data_rows(kept, metrics))


def _bars(axes, series: Sequence[Series], names: Sequence[str], metric: str) -> None:
    width = 0.8 / len(series)
    for i, one in enumerate(series):
        shown = Series(one.label, [sample for sample in one.samples if metric in sample.metrics])
        at = [names.index(str(name)) + (i - (len(series) - 1) / 2) * width for name in shown.x("knowledge_base")]
        bars = axes.bar(at, shown.mean(metric), width, yerr=shown.half_width(metric), label=one.label, color=f"C{i}",
                        capsize=3, error_kw={"linewidth": 1})
        digits = "%.3f" if metric == "accuracy" else "%.1f"
        axes.bar_label(bars, fmt=digits, fontsize=7, label_type="center", color="white")
    axes.set_ylabel(LABELS[metric], fontsize=8)
    axes.tick_params(labelsize=8)
    room = 70 // len(names)  # characters below a bar
    axes.set_xticks(range(len(names)), ["\n".join(textwrap.wrap(name, room)) for name in names], fontsize=7)


def analytic_mse(samples: Sequence[Sample]) -> StoreFigure:
    """Mean squared error after detection, of the analytic expression and as it was simulated; a row a channel.

    Args:
        samples: Points; the link's configuration stands in their sweep's, under ``links``.

    Raises:
        Missing: if no point has ``nmse_symbols`` over a link that the expression covers.
    """
    kept = hold(with_metric(samples, "nmse_symbols"), free=_PLANE)
    series = series_of(_one_scheme(kept), "snr_db")
    require(series, "nmse_symbols at two SNRs or more, all else equal")
    rows, panels, reasons = [], [], []
    for key, group in panels_of(samples_of(series)).items():
        # series_of sees the whole figure; the curves of a panel are its own, by CSI error.
        own = [one for one in series if one.samples[0].panel == key]
        try:
            link = _link(group[0])
            theory = [_analytic(one, link) for one in own]
        except ValueError as error:
            reasons.append(f"{channel_title(key)}: {error}")
            continue
        curves = []
        for i, (one, computed) in enumerate(zip(own, theory, strict=True)):
            style = dict(convention=key[0], snr_db=one.x("snr_db"), color=f"C{i}")
            name = describe("csi_error_var", one.samples[0].at.get("csi_error_var", 0))
            curves.append(Curve(label=f"{name}, analytic", mean=computed.mean("analytic_mse"), marker="",
                                half_width=computed.half_width("analytic_mse"), **style))
            curves.append(Curve(label=f"{name}, simulated", mean=one.mean("nmse_symbols"), linestyle="none",
                                half_width=one.half_width("nmse_symbols"), **style))
            rows += data_rows(one.samples, ("nmse_symbols",)) + data_rows(computed.samples, ("analytic_mse",))
        panels.append([Panel(title=f"{channel_title(key)}, {link.equalizer} equaliser, {link.csi} CSI",
                             y_label="MSE per symbol of power 1, linear", curves=curves)])
    if not panels:
        raise Missing("; ".join(reasons))
    shown = samples_of(series)
    schemes = " or ".join(sorted({str(sample.at.get("scheme", "of no name")) for sample in shown}))
    notes = [f"Simulated: nmse_symbols of the scheme {schemes}. Analytic: no symbol is sent; bands: 95 % of its mean "
             "over channels.", *reasons, held_note(shown, free=_PLANE), interval_note(shown)]
    found = finish("analytic_mse", "Error after detection, analytic and simulated", panels, notes, rows)
    for axes in found.figure.axes:
        axes.set_yscale("log")
    return found


def _one_scheme(samples: Sequence[Sample]) -> list[Sample]:
    """Of each channel the scheme that comes first: what is sent makes no difference to the mean."""
    found = []
    for group in panels_of(samples).values():
        first = min((str(sample.at.get("scheme", "")), sample.at["sweep"]) for sample in group)
        found += [sample for sample in group if (str(sample.at.get("scheme", "")), sample.at["sweep"]) == first]
    return found


def _link(sample: Sample) -> LinkConfig:
    if sample.link is None:
        raise ValueError("its sweep's configuration does not hold the link")
    return from_dict(LinkConfig, sample.link, where="links")


def _analytic(one: Series, link: LinkConfig) -> Series:
    """The same points with ``analytic_mse``."""
    found = post_detection_mse(link, one.x("snr_db"), [s.at.get("csi_error_var", 0.0) for s in one.samples])
    return Series(one.label, [
        sample._replace(metrics={"analytic_mse": Measured(float(mse), 1.96 * float(error), found.num_channels)})
        for sample, mse, error in zip(one.samples, found.mse, found.standard_error, strict=True)])
