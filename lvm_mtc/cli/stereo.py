"""Stereo pairs that a user's flags say are to be sent, and ``lvm-mtc transmit --stereo``."""

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lvm_mtc.cli.plain import Kind, check_plain, say_groups, transmit_plain, what_arrived
from lvm_mtc.data.files import check_directory
from lvm_mtc.data.images import list_images, load_image
from lvm_mtc.data.stereo import StereoError, StereoPairs, list_scenes, load_pair, load_stereo
from lvm_mtc.report.figures import Picture, save_sheet
from lvm_mtc.report.study import STEREO_METRICS
from lvm_mtc.results.points import Point
from lvm_mtc.schemes import name_of
from lvm_mtc.schemes.loading import STEREO_WEIGHTS, load_scheme
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.named import plain_contender
from lvm_mtc.sweep.paired import NamedSweep

LONGEST_SIDE = 96
"""Pixels; larger views are scaled down to it."""
_GRID = 16
_TOLD = {"psnr_db": ("PSNR of both views", 2), "ssim": ("SSIM", 3), "overflow": ("overflow", 0)}
KIND = Kind("stereo", "pairs", STEREO_METRICS, ("psnr_db", "ssim"), _TOLD, per_step=4)
_MOST_PAIRS = 2


class Pairs(NamedTuple):
    """Pairs to send: ``source`` has ``[B, K, 2, H, W, 3]`` float32; ``labels`` name each, ``[B][K]``."""

    source: Source
    labels: list[list[str]]
    left_out: int

    def __str__(self) -> str:
        groups, num_uavs = self.source.lead()
        height, width = self.source.data.shape[3:5]
        left_out = f" ({self.left_out} left out)" if self.left_out else ""
        return f"{groups} x {num_uavs} pairs of {width} x {height} pixels{left_out}"


def load_stereo_contender(weights: str | os.PathLike | None, size: tuple[int, int]) -> Contender:
    """A scheme for stereo pairs from a weights file, for views of ``size``; None: the shipped one."""
    path = weights or STEREO_WEIGHTS
    scheme, params = load_scheme(path)
    if scheme.modality != "stereo":
        raise ValueError(f"{path}: scheme {name_of(scheme)!r} sends {scheme.modality}, and stereo pairs are to be sent")
    fitted = dataclasses.replace(scheme, config=dataclasses.replace(scheme.config, size=size))
    return plain_contender(fitted, params)


def read_pairs(path: Path, *, num_uavs: int, limit: int | None = None) -> Pairs:
    """Reads a pair or a folder of pairs as groups of K in their order; the last ones that fill no group are left out.

    Views are scaled down to ``LONGEST_SIDE`` at most and cut to multiples of 16 pixels, all as the first one is.

    Raises:
        ValueError: for what is no pair, or if no group is left.
    """
    check_directory(path, StereoError)
    files = {file.stem: file for file in list_images(path)} if (alone := _is_pair(path)) else {}
    size = _size(path if alone else _first_scene(path))
    loaded = load_pair(files["left"], files["right"], size) if alone else None
    pairs, names = (loaded, (path.name,)) if alone else load_stereo(path, size, limit=limit)
    groups = len(pairs) // num_uavs
    if not groups:
        raise StereoError(f"{path}: there are {len(pairs)} pairs, and {num_uavs} UAVs need one each")
    labels = np.array(names[: groups * num_uavs]).reshape(groups, num_uavs).tolist()
    return Pairs(source_of(pairs, num_uavs), labels, len(pairs) - groups * num_uavs)


def source_of(pairs: StereoPairs, num_uavs: int = 1) -> Source:
    """Groups of K pairs, with what is known of their middle view and disparity as hints."""
    groups = len(pairs) // num_uavs

    def grouped(array: np.ndarray) -> np.ndarray:
        return np.float32(array[: groups * num_uavs]).reshape(groups, num_uavs, *array.shape[1:])

    hints = {} if pairs.disparity is None else {"disparity": grouped(pairs.disparity)}
    hints |= {} if pairs.middle is None else {"middle": grouped(pairs.middle) / 255}
    return Source(grouped(pairs.pictures) / 255, hints)


def transmit_stereo(options: argparse.Namespace) -> None:
    """Runs ``lvm-mtc transmit --stereo``; raises ``ValueError`` for wrong input."""
    check_plain(options, KIND)
    pairs = read_pairs(options.stereo, num_uavs=options.uavs, limit=options.limit)
    say_groups(pairs.labels)
    contender = load_stereo_contender(options.weights, pairs.source.data.shape[3:5])

    def write(folder: Path, spec: NamedSweep, points: Sequence[Point]) -> tuple[str]:
        if (lacking := lack_of_room(points, contender.scheme.config.capacity)) is not None:
            print(f"lvm-mtc: {lacking}", file=sys.stderr)
        rows, labels = sheet_rows(spec, pairs, contender.scheme.config.max_disparity)
        title = f"{contender.name}; SNR convention {spec.links[0].convention}"
        save_sheet(folder / "sheet.png", rows, row_labels=labels, title=title)
        return ("sheet.png",)

    transmit_plain(options, KIND, contender, pairs.source, str(pairs), write)


def lack_of_room(points: Sequence[Point], capacity: int) -> str | None:
    """A line that says how many Gaussians the renderer's tiles had no room for at the worst point; None if none."""
    lost = max(point.metrics["overflow"].mean for point in points)
    if not lost:
        return None
    wanted = f"raise GsScnetConfig.capacity, {capacity}"
    return f"the renderer left out {lost:.1f} Gaussians of a pair, and its views are wrong there: {wanted}"


def sheet_rows(spec: NamedSweep, pairs: Pairs, max_disparity: float) -> tuple[list[list[Picture]], list[str]]:
    """Left and right view, the one half way between and the left disparity at every SNR, at the smallest CSI error."""
    points, arrived = what_arrived(spec)
    error, source = min(spec.csi_error_var), pairs.source
    rows, names = [], []
    for group, uav in list(np.ndindex(*source.lead()))[:_MOST_PAIRS]:
        left, right = source.data[group, uav]
        known = source.hints["disparity"][group, uav, 0] if "disparity" in source.hints else None
        originals = {"left": left, "right": right, "middle": None, "disparity": known}
        for link in spec.links:
            at = [
                (point["snr_db"], got) for point, got in zip(points, arrived, strict=True)
                if point["channel"] == link.label and point["csi_error_var"] == error
            ]  # fmt: skip
            for number, (name, original) in enumerate(originals.items()):
                received = [
                    got["disparity"][group, uav, 0] if name == "disparity" else _view(got["views"][group, uav], number)
                    for _, got in at
                ]
                if any(picture is None for picture in received):
                    continue
                scale = max_disparity if name == "disparity" else 1.0
                captions = ["original" if original is not None else "not known", *(f"{snr:g} dB" for snr, _ in at)]
                shown = [left * 0 + 1 if original is None else original, *received]
                rows.append(
                    [Picture(image=_grey(p, scale), caption=name) for p, name in zip(shown, captions, strict=True)]
                )
                names.append(f"{pairs.labels[group][uav]}, {name}\n{link.label}")
    return rows, names


def _view(views: np.ndarray, number: int) -> np.ndarray | None:
    return views[number] / 255.0 if number < len(views) else None


def _grey(picture: np.ndarray, scale: float) -> np.ndarray:
    return picture if picture.ndim == 3 else np.repeat(picture[..., None] / scale, 3, axis=-1)


def _is_pair(path: Path) -> bool:
    return any(file.stem == "left" and file.is_file() for file in path.iterdir())


def _first_scene(path: Path) -> Path:
    scenes = list_scenes(path)
    if not scenes:
        raise StereoError(f"{path}: holds no pair; expected left.png and right.png, or folders with both")
    return scenes[0]


def _size(folder: Path) -> tuple[int, int]:
    sides = load_image(list_images(folder)[0]).shape[:2]
    scale = min(1.0, LONGEST_SIDE / max(sides))
    height, width = (int(scale * side + 1e-6) // _GRID * _GRID for side in sides)
    if min(height, width) < _GRID:
        found = f"views of {sides[1]} x {sides[0]} pixels"
        raise StereoError(f"{folder}: {found}; expected {_GRID} or more on each side of {LONGEST_SIDE} on the longer")
    return height, width
