"""Sheets of point clouds, each seen from above one of its corners."""

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from lvm_mtc.report.figures import save_png


class CloudPicture(NamedTuple):
    """One cell of a sheet: ``points [n, 3]`` in the unit ball, the last axis up."""

    points: np.ndarray
    caption: str = ""


def project(points: np.ndarray, azimuth: float = 35, elevation: float = 25) -> np.ndarray:
    """Points ``[n, 3]`` as seen from there, degrees: to the right, up, and towards the eye, ``[n, 3]``; a rotation."""
    a, e = np.radians(azimuth), np.radians(elevation)
    sin_a, cos_a, sin_e, cos_e = np.sin(a), np.cos(a), np.sin(e), np.cos(e)
    right = np.array([-sin_a, cos_a, 0])
    eye = np.array([cos_e * cos_a, cos_e * sin_a, sin_e])
    return np.asarray(points, float) @ np.stack([right, np.cross(eye, right), eye], -1)


def save_cloud_sheet(
    path: str | os.PathLike, rows: Sequence[Sequence[CloudPicture]], *, row_labels: Sequence[str] = (), title: str = ""
) -> None:
    """Draws rows of clouds with captions into a PNG, nearer points darker; it appears only when it is complete."""
    columns = max((len(row) for row in rows), default=0)
    if not columns:
        raise ValueError(f"{path}: no cloud to draw")
    figure = Figure(figsize=(1.7 * columns + 0.5, 1.85 * len(rows) + 0.5), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for number, (axes_row, row) in enumerate(zip(grid, rows, strict=True)):
        for axes in axes_row:
            axes.set(xticks=[], yticks=[], xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), aspect="equal")
        for axes, picture in zip(axes_row, row, strict=False):
            seen = project(picture.points)
            seen = seen[np.argsort(seen[:, 2])]
            axes.scatter(seen[:, 0], seen[:, 1], c=-seen[:, 2], s=1.5, cmap="viridis", vmin=-1, vmax=1, linewidths=0)
            axes.set_xlabel(picture.caption, fontsize=7)
        for axes in axes_row[len(row) :]:
            axes.set_axis_off()
        if row_labels:
            axes_row[0].set_ylabel(row_labels[number], fontsize=7)
    if title:
        figure.suptitle(title, fontsize=9)
    save_png(figure, path)
