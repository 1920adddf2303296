"""Points of a store that compare a few contenders: table rows, curves, and all that a result folder holds."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lvm_mtc.config import to_dict
from lvm_mtc.link import LinkConfig
from lvm_mtc.report.figures import Curve, Panel, save_curves, save_sheet
from lvm_mtc.report.parts import LABELS, LINESTYLES, curve_of
from lvm_mtc.report.select import Sample, Series
from lvm_mtc.report.sheet import sheet_rows, write_pictures
from lvm_mtc.report.shown import Shown
from lvm_mtc.results.points import Point
from lvm_mtc.results.table import write_csv
from lvm_mtc.schemes.scheme import Masking
from lvm_mtc.sweep.contender import Contender

METRICS = ("psnr_db", "psnr_inside_db", "psnr_background_db", "ssim", "ssim_inside", "mse")
"""What a study measures; all but the last have columns with their intervals."""
TEXT_METRICS = ("bleu1", "bleu2", "bleu4", "word_error_rate")
"""What is measured of sentences."""
CLIP_METRICS = ("psnr_db", "ssim", "flicker")
"""What is measured of clips."""
CLOUD_METRICS = ("d1_psnr_db", "chamfer", "hausdorff")
"""What is measured of point clouds."""
STEREO_METRICS = ("psnr_db", "ssim", "overflow")
"""What is measured of stereo pairs whose middle view and disparity nobody knows."""
QUESTION_METRICS = ("accuracy", "bit_error_rate", "bit_error_rate_top")
"""What is measured of answers to questions."""
_PANELS = ("psnr_db", "psnr_inside_db", "ssim", "ssim_inside")
_COSTS = ("channel_uses", "pilot_uses", "prefix_uses", "idle_uses", "slots", "side_information_bits")
INTERVAL_NOTE = (
    "95 % Student intervals over independent channel realisations; the pictures and their masks are fixed. "
    "Received pictures are clipped to [0, 1]."
)


def table_rows(points: Sequence[Point], links: Sequence[LinkConfig]) -> list[dict[str, Any]]:
    """Rows for ``table.write_csv``, one a point with ``METRICS``; None where something is not measured.

    Costs are those of a picture; side information is booked as error-free at one bit per channel use (QPSK, rate 1/2).
    """
    equalizers = {link.label: link.equalizer for link in links}
    return [_row(point, equalizers[point.coordinates["channel"]]) for point in points]


def plain_rows(
    points: Sequence[Point], links: Sequence[LinkConfig], metrics: Sequence[str], count: str
) -> list[dict[str, Any]]:
    """As :func:`table_rows`, of what are no pictures; ``count`` is what the number of sources is called."""
    equalizers = {link.label: link.equalizer for link in links}
    return [
        _measured(point, equalizers[point.coordinates["channel"]], metrics, count)
        | {name: point.ledger[name] for name in _COSTS}
        for point in points
    ]


def _measured(point: Point, equalizer: str, metrics: Sequence[str], count: str) -> dict[str, Any]:
    """Where a point lies and what was measured; ``count`` is what the number of sources is called."""
    at, ledger = point.coordinates, point.ledger
    row = {name: at[name] for name in ("scheme", "channel")}
    row |= {"snr_convention": point.snr_convention, "snr_db": at["snr_db"], "realised_snr_db": point.realised_snr_db}
    row |= {"csi_error_var": at["csi_error_var"], "num_realisations": point.metrics[metrics[0]].count}
    row |= {count: ledger["num_pictures"], "num_uavs": at["num_uavs"]}
    row |= {name: ledger[name] for name in ("num_rx_ant", "num_tx_ant")}
    row |= {"equalizer": equalizer, "prefix_energy_db": ledger["prefix_energy_db"]}
    for metric in metrics:
        measured = point.metrics.get(metric)
        row[metric] = None if measured is None else measured.mean
        row[f"{metric}_ci95"] = None if measured is None else measured.half_width
    return row


def _row(point: Point, equalizer: str) -> dict[str, Any]:
    at, ledger = point.coordinates, point.ledger
    mean = {name: measured.mean for name, measured in point.metrics.items()}
    masks = ledger["kept_patches"] is not None
    return (
        _measured(point, equalizer, METRICS[:-1], "num_pictures")
        | {"psnr_of_mean_mse_db": mean.get("psnr_of_mean_mse_db")}
        | {name: ledger[name] for name in _COSTS}
        | {name: mean[name] for name in ("cbr", "cbr_with_side_information")}
        | {name: ledger[name] for name in ("kept_patches", "num_patches")}
        | {"mask_prob": at["mask_prob"] if masks else None}
        | {name: mean.get(name) for name in ("keep_rate_inside", "keep_rate_outside")}
        | {"epsilon": at["epsilon"] if masks else None, "public_share": mean["public_share"]}
    )


def curve_panels(
    points: Sequence[Point], links: Sequence[LinkConfig], metrics: Sequence[str] = _PANELS
) -> list[list[Panel]]:
    """Panels of metrics against SNR: a row a metric, a column a CSI error; colours are schemes, lines channels.

    AWGN and fading share axes under ``rx_per_antenna`` only. Under the other conventions a fading channel with several
    receive antennas collects more power than AWGN at the same SNR, and each gets a column of its own. The points are of
    one K, seed and SNR convention, and each scheme has one value of every knob.
    """
    groups: dict[tuple, list[Sample]] = {}
    for point in points:
        key = tuple(point.coordinates[axis] for axis in ("scheme", "channel", "csi_error_var"))
        groups.setdefault(key, []).append(Sample(point.coordinates, point.snr_convention, point.metrics, {}))
    schemes, channels = list(dict.fromkeys(scheme for scheme, *_ in groups)), [link.label for link in links]
    errors = sorted({error for *_, error in groups})

    def curves(metric: str, shown: Sequence[str], error: float) -> Iterator[Curve | None]:
        for (scheme, channel, its_error), samples in groups.items():
            if channel in shown and its_error == error:
                ascending = sorted(samples, key=lambda sample: sample.at["snr_db"])
                linestyle = LINESTYLES[channels.index(channel) % len(LINESTYLES)]
                style = dict(color=f"C{schemes.index(scheme)}", linestyle=linestyle)
                yield curve_of(Series(f"{scheme}, {channel}", ascending), "snr_db", metric, **style)

    columns = {"": channels}
    if links[0].convention != "rx_per_antenna":
        kinds = {"AWGN, ": True, "fading, ": False}
        columns = {title: [link.label for link in links if link.is_awgn is kind] for title, kind in kinds.items()}

    def panel(metric: str, title: str, error: float) -> Panel:
        drawn = [curve for curve in curves(metric, columns[title], error) if curve is not None]
        return Panel(title=f"{title}CSI error variance {error:g}", y_label=LABELS[metric], curves=drawn)

    places = [(title, error) for title, shown in columns.items() if shown for error in errors]
    rows = [[panel(metric, *place) for place in places] for metric in metrics]
    return [row for row in rows if any(panel.curves for panel in row)]


def write_report(
    folder: str | os.PathLike,
    points: Sequence[Point],
    shown: Shown,
    loc: np.ndarray,
    labels: Sequence[str],
    *,
    links: Sequence[LinkConfig],
    title: str,
) -> None:
    """Writes ``table.csv``, ``curves.png``, ``sheet.png`` and ``pictures/`` into a folder.

    Args:
        folder: An existing folder.
        points: In the order of rows and legends.
        shown: Pictures of the scheme that is on the sheet and in the picture files.
        loc: As in :func:`sheet_rows`, and so are the labels.
    """
    folder, first = Path(folder), shown.points[0]
    write_csv(folder / "table.csv", table_rows(points, links))
    save_curves(folder / "curves.png", curve_panels(points, links), title=title, footnote=INTERVAL_NOTE)
    rows, names = sheet_rows(shown, loc, labels)
    error = min(at["csi_error_var"] for at in shown.points)
    heading = f"{first['scheme']}; SNR convention {links[0].convention}; CSI error {error:g}"
    save_sheet(folder / "sheet.png", rows, row_labels=names, title=heading)
    write_pictures(folder / "pictures", shown, labels)


def describe(contenders: Sequence[Contender], links: Sequence[LinkConfig]) -> Mapping[str, Any]:
    """What a table does not say: links, systems and the rule of P_r in full, for ``lvm-mtc-result.json``."""
    return {
        "links": {link.label: link.described() for link in links},
        "systems": {contender.name: to_dict(contender.scheme.config) for contender in contenders},
        "masking": {
            contender.name: {"mask_prob": contender.knobs["mask_prob"], "scale_aware": contender.scheme.scale_aware}
            for contender in contenders
            if isinstance(contender.scheme, Masking)
        },
        "intervals": INTERVAL_NOTE,
    }
