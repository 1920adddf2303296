"""Point clouds that a user's flags say are to be sent, and ``lvm-mtc transmit --clouds``."""

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lvm_mtc.cli.plain import Kind, check_plain, say_groups, transmit_plain, what_arrived, write_moving
from lvm_mtc.data.clouds import list_clouds, load_cloud
from lvm_mtc.report.clouds import CloudPicture, save_cloud_sheet
from lvm_mtc.report.study import CLOUD_METRICS
from lvm_mtc.results.points import Point
from lvm_mtc.schemes import name_of
from lvm_mtc.schemes.loading import CLOUD_WEIGHTS, load_scheme
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.named import plain_contender
from lvm_mtc.sweep.paired import NamedSweep

_TOLD = {"d1_psnr_db": ("D1 PSNR", 2), "chamfer": ("Chamfer", 5)}
KIND = Kind("clouds", "clouds", CLOUD_METRICS, tuple(_TOLD), _TOLD, per_step=8)
_MOST_ROWS = 6


class Clouds(NamedTuple):
    """Clouds to send: ``source`` has ``[B, K, num_points, 3]`` float32; ``labels`` name each, ``[B][K]``."""

    source: Source
    labels: list[list[str]]
    left_out: int

    def __str__(self) -> str:
        groups, num_uavs = self.source.lead()
        return f"{groups} x {num_uavs} clouds" + (f" ({self.left_out} left out)" if self.left_out else "")


def load_cloud_contender(weights: str | os.PathLike | None) -> Contender:
    """A scheme for point clouds from a weights file; None: the shipped one."""
    path = weights or CLOUD_WEIGHTS
    scheme, params = load_scheme(path)
    if scheme.modality != "points":
        raise ValueError(f"{path}: scheme {name_of(scheme)!r} sends {scheme.modality}, and clouds are to be sent")
    return plain_contender(scheme, params)


def read_clouds(path: Path, *, num_points: int, num_uavs: int, limit: int | None = None, seed: int = 0) -> Clouds:
    """Reads a cloud or a folder of clouds as groups of K in their order; the last ones that fill no group are left out.

    Raises:
        ValueError: for what is no cloud, or if no group is left.
    """
    files = list_clouds(path, limit=limit)
    groups = len(files) // num_uavs
    if not groups:
        raise ValueError(f"{path}: there are {len(files)} clouds, and {num_uavs} UAVs need one each")
    taken = files[: groups * num_uavs]
    data = np.stack([load_cloud(file, num_points, seed) for file in taken])
    labels = np.array([file.stem for file in taken]).reshape(groups, num_uavs).tolist()
    return Clouds(Source(data.reshape(groups, num_uavs, num_points, 3)), labels, len(files) - len(taken))


def transmit_clouds(options: argparse.Namespace) -> None:
    """Runs ``lvm-mtc transmit --clouds``; raises ``ValueError`` for wrong input."""
    check_plain(options, KIND)
    contender = load_cloud_contender(options.weights)
    of = dict(num_points=contender.scheme.config.num_points, num_uavs=options.uavs, limit=options.limit)
    clouds = read_clouds(options.clouds, **of, seed=options.seed)
    say_groups(clouds.labels)

    def write(folder: Path, spec: NamedSweep, measured: Sequence[Point]) -> tuple[str, str]:
        points, arrived = what_arrived(spec)
        rows, labels = sheet_rows(spec, clouds, points, arrived)
        title = f"{contender.name}; SNR convention {spec.links[0].convention}"
        save_cloud_sheet(folder / "sheet.png", rows, row_labels=labels, title=title)
        write_moving(folder / "turntable.html", spec, measured, arrived, sum(clouds.labels, []))
        return "sheet.png", "turntable.html"

    transmit_plain(options, KIND, contender, clouds.source, str(clouds), write)


def sheet_rows(
    spec: NamedSweep, clouds: Clouds, points: Sequence[Mapping[str, Any]], arrived: Sequence[Any]
) -> tuple[list[list[CloudPicture]], list[str]]:
    """Original and received clouds at every SNR, at the smallest CSI error, a row a cloud and channel."""
    error = min(spec.csi_error_var)
    views = list(np.ndindex(*clouds.source.lead()))[: max(1, _MOST_ROWS // len(spec.links))]
    rows, names = [], []
    for group, uav in views:
        for link in spec.links:
            row = [CloudPicture(clouds.source.data[group, uav], "original")]
            for at, received in zip(points, arrived, strict=True):
                if at["channel"] == link.label and at["csi_error_var"] == error:
                    row.append(CloudPicture(received[group, uav], f"{at['snr_db']:g} dB"))
            rows.append(row)
            names.append(f"{clouds.labels[group][uav]}\n{link.label}")
    return rows, names
