"""Grid results as table rows and curves, and everything that a result folder holds."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lvm_mtc.config import to_dict
from lvm_mtc.evaluation.figures import Curve, Panel, save_curves, save_sheet
from lvm_mtc.evaluation.grid import GridResult
from lvm_mtc.evaluation.intervals import Interval, paired_difference, student_interval
from lvm_mtc.evaluation.sheet import sheet_rows, write_pictures
from lvm_mtc.evaluation.table import write_csv
from lvm_mtc.system import ScaleAware

# Metric, name of its columns and panels, where it is averaged.
_COLUMNS = ("psnr_db", "psnr_inside_db", "psnr_background_db", "ssim", "ssim_inside")
_PANELS = {
    "psnr_db": "PSNR, whole picture (dB)",
    "psnr_inside_db": "PSNR, inside the box (dB)",
    "ssim": "SSIM, whole picture",
    "ssim_inside": "SSIM, inside the box",
}
_LINESTYLES = ("-", "--", ":", "-.")
INTERVAL_NOTE = (
    "95 % Student intervals over independent channel realisations; the pictures and their masks are fixed. "
    "Received pictures are clipped to [0, 1]."
)


def per_realisation(result: GridResult, metric: str) -> np.ndarray | None:
    """Mean of a metric over the pictures, for each realisation.

    Args:
        result: Of the grid.
        metric: Name in ``grid.METRICS``; those inside the box and in the background leave out views without the object.

    Returns:
        ``[R, P]``, or None where no view has the object or no picture has a background.
    """
    values = result.metrics[metric]
    if "inside" in metric or "background" in metric:
        counts = result.has_object & ~np.isnan(values[0, 0])
        if not counts.any():
            return None
        return values[:, :, counts].mean(axis=-1)
    return values.mean(axis=(-2, -1))


def interval(result: GridResult, metric: str) -> Interval | None:
    """Student's interval of ``per_realisation``.

    Args:
        result: Of the grid, with two or more realisations.
        metric: Name in ``grid.METRICS``.

    Returns:
        Arrays of ``[P]``, or None as ``per_realisation``.

    Raises:
        ValueError: with fewer than two realisations.
    """
    values = per_realisation(result, metric)
    return None if values is None else student_interval(values)


def gain(result: GridResult, baseline: GridResult, metric: str) -> Interval | None:
    """Paired difference of two schemes on the same channel draws.

    Args:
        result: One scheme.
        baseline: The other, on the same link, points and key.
        metric: Name in ``grid.METRICS``.

    Returns:
        Interval of ``result - baseline``, arrays of ``[P]``; None as ``per_realisation``.

    Raises:
        ValueError: if the links differ, or the points.
    """
    if result.link != baseline.link or not np.array_equal(result.snr_db, baseline.snr_db):
        raise ValueError(f"gain: {result.scheme.name!r} and {baseline.scheme.name!r} must share link and points")
    a, b = per_realisation(result, metric), per_realisation(baseline, metric)
    return None if a is None or b is None else paired_difference(a, b)


def table_rows(results: Sequence[GridResult]) -> list[dict[str, Any]]:
    """One row a scheme, channel and operating point.

    Args:
        results: Of the grid, with two or more realisations.

    Returns:
        Rows for ``table.write_csv``; None where something is not measured.
    """
    rows = []
    for result in results:
        intervals = {metric: interval(result, metric) for metric in _COLUMNS}
        mean_mse = result.metrics["mse"].mean(axis=(0, 2, 3))
        for point in range(len(result.snr_db)):
            row = _point_columns(result, point)
            for metric, found in intervals.items():
                row[metric] = None if found is None else found.mean[point]
                row[f"{metric}_ci95"] = None if found is None else found.half_width[point]
            row["psnr_of_mean_mse_db"] = -10 * np.log10(mean_mse[point])
            rows.append(row | _cost_columns(result))
    return rows


def _point_columns(result: GridResult, point: int) -> dict[str, Any]:
    realised = result.realised_snr_db
    num_realisations, _, groups, num_uavs = result.metrics["mse"].shape
    return {
        "scheme": result.scheme.name,
        "channel": result.link.fading,
        "snr_convention": result.link.convention,
        "snr_db": result.snr_db[point],
        "realised_snr_db": None if realised is None else realised[point],
        "csi_error_var": result.csi_error_var[point],
        "num_realisations": num_realisations,
        "num_pictures": groups * num_uavs,
        "num_uavs": num_uavs,
        "num_rx_ant": result.link.num_rx_ant,
        "num_tx_ant": result.link.num_tx_ant,
        "equalizer": result.link.equalizer,
        # The SNR counts the energy of a symbol without its cyclic prefix; this much more is sent.
        "prefix_energy_db": 10 * np.log10(result.link.ofdm.prefix_factor) if result.link.uses_ofdm else 0.0,
    }


def _cost_columns(result: GridResult) -> dict[str, Any]:
    config = result.scheme.system.config
    num_uavs = result.mask.shape[1]
    samples = num_uavs * config.image_size**2 * 3
    ledger = jax.tree.map(np.mean, result.ledger)
    uses, bits = ledger.channel_uses(), ledger.side_information_bits
    return {
        # Side information is booked as error-free at one bit per channel use (QPSK, rate 1/2).
        "channel_uses": uses / num_uavs,
        "pilot_uses": ledger.pilot_uses / num_uavs,
        "prefix_uses": ledger.prefix_uses / num_uavs,
        "idle_uses": ledger.idle_uses / num_uavs,
        "slots": ledger.slots / num_uavs,
        "side_information_bits": bits / num_uavs,
        "cbr": uses / samples,
        "cbr_with_side_information": (uses + bits) / samples,
        "kept_patches": config.capacity,
        "num_patches": config.num_patches,
        "mask_prob": result.scheme.mask_prob,
        "keep_rate_inside": _mean(result.keep_rate_inside[result.has_object]),
        "keep_rate_outside": _mean(result.keep_rate_outside),
        "epsilon": result.scheme.epsilon,
        "public_share": result.public_share.mean(),
    }


def _mean(values: np.ndarray) -> float | None:
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else None


def curve_panels(results: Sequence[GridResult]) -> list[list[Panel]]:
    """Panels of PSNR and SSIM against SNR: a row a metric, a column a CSI error; colours are schemes, lines channels.

    AWGN and fading share axes under ``rx_per_antenna`` only. Under the other conventions a fading channel with several
    receive antennas collects more power than AWGN at the same SNR, and each gets a column of its own.

    Args:
        results: Of the grid, with two or more realisations, all over the same points.

    Returns:
        Rows of panels for ``figures.save_curves``, which refuses SNR conventions that differ.
    """
    errors = sorted({float(v) for result in results for v in result.csi_error_var})
    panels = []
    for metric, label in _PANELS.items():
        found = [(result, interval(result, metric)) for result in results]
        if all(values is None for _, values in found):
            continue
        columns = [(error, group) for group in _axis_groups(results) for error in errors]
        panels.append([_panel(found, metric_label=label, error=error, group=group) for error, group in columns])
    return panels


def _axis_groups(results: Sequence[GridResult]) -> list[tuple[str, set[str]]]:
    """Title and fading names of the channels that may share axes."""
    awgn, fading = ({link.fading for link in (result.link for result in results) if link.is_awgn is kind}
                    for kind in (True, False))
    if {result.link.convention for result in results} == {"rx_per_antenna"}:
        return [("", awgn | fading)]
    groups = [("AWGN, ", awgn), ("fading, ", fading)]
    return [(title, names) for title, names in groups if any(result.link.fading in names for result in results)]


def _panel(found, *, metric_label: str, error: float, group: tuple[str, set[str]]) -> Panel:
    schemes = list(dict.fromkeys(result.scheme.name for result, _ in found))
    links = list(dict.fromkeys(result.link for result, _ in found))
    curves = []
    for result, values in found:
        if values is None or result.link.fading not in group[1]:
            continue
        at = np.flatnonzero(np.isclose(result.csi_error_var, error))
        at = at[np.argsort(result.snr_db[at])]
        curves.append(Curve(
            label=f"{result.scheme.name}, {result.link.fading}",
            convention=result.link.convention,
            snr_db=result.snr_db[at],
            mean=values.mean[at],
            half_width=values.half_width[at],
            color=f"C{schemes.index(result.scheme.name)}",
            linestyle=_LINESTYLES[links.index(result.link) % len(_LINESTYLES)],
        ))
    return Panel(title=f"{group[0]}CSI error variance {error:g}", y_label=metric_label, curves=curves)


def write_report(
    folder: str | os.PathLike,
    results: Sequence[GridResult],
    images: np.ndarray,
    loc: np.ndarray,
    labels: Sequence[str],
    *,
    title: str,
) -> None:
    """Writes ``table.csv``, ``curves.png``, ``sheet.png`` and ``pictures/`` into a folder.

    Args:
        folder: An existing folder.
        results: Of the grid; the first scheme is the one on the sheet and in the picture files.
        images: ``[B, K, height, width, 3]`` float in [0, 1].
        loc: ``[B, K, 4]``.
        labels: Name of each group, ``[B]``.
        title: Of the figures.
    """
    folder = Path(folder)
    write_csv(folder / "table.csv", table_rows(results))
    save_curves(folder / "curves.png", curve_panels(results), title=title, footnote=INTERVAL_NOTE)
    shown = [result for result in results if result.scheme.name == results[0].scheme.name]
    rows, names = sheet_rows(shown, images, loc, labels)
    convention = shown[0].link.convention
    save_sheet(folder / "sheet.png", rows, row_labels=names,
               title=f"{shown[0].scheme.name}; SNR convention {convention}; CSI error {shown[0].csi_error_var.min():g}")
    write_pictures(folder / "pictures", shown, images, labels)


def describe(results: Sequence[GridResult]) -> Mapping[str, Any]:
    """What a table does not say: links, systems and the rule of P_r in full, for ``lvm-mtc-result.json``.

    Args:
        results: Of the grid.

    Returns:
        Nested dicts of plain values.
    """
    return {
        "links": {result.link.fading: to_dict(result.link) for result in results},
        "systems": {result.scheme.name: to_dict(result.scheme.system.config) for result in results},
        "masking": {
            result.scheme.name: {
                "mask_prob": result.scheme.mask_prob,
                "scale_aware": isinstance(result.scheme.system, ScaleAware),
            }
            for result in results
        },
        "intervals": INTERVAL_NOTE,
    }
