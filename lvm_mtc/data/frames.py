"""Real overlapping drone frames, neighbours by their GPS positions."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lvm_mtc.data.boxes import center_prior
from lvm_mtc.data.files import check_directory, check_regular_file
from lvm_mtc.data.images import load_image
from lvm_mtc.data.resizing import check_size, fit_image

METRES_PER_DEGREE = 111_320.0
"""One degree of latitude, on the sphere of 6,378 km. A survey spans some hundred metres: the sphere is enough."""

MAX_POSITIONS_BYTES = 10_000_000


class FramesError(ValueError):
    """Frames or positions that cannot be used. The message is one line: the file, the reason, what would be right."""


class FramePosition(NamedTuple):
    """Where the frame of one file was taken: latitude and longitude in degrees, altitude in metres."""

    file: str
    lat: float
    lon: float
    alt: float


class UavFrames(NamedTuple):
    """K neighbouring frames of one survey.

    Attributes:
        views: ``[K, size, size, 3]`` uint8, the centred square of each frame.
        boxes: ``[K, 4]`` float32, the centre prior, centre x, centre y, width, height, pixels of the view.
        positions: ``[K, 3]`` float64, metres east, north and up of the first frame.
    """

    names: tuple[str, ...]
    views: np.ndarray
    boxes: np.ndarray
    positions: np.ndarray


def load_frames(directory: str | os.PathLike, num_uavs: int, *, size: int, start: str | None = None) -> UavFrames:
    """Loads K frames that were taken close to one another: one true multi-UAV picture.

    The frames are ``start`` and the K - 1 nearest to it on the ground, nearest first. Neighbours of a survey overlap as
    its planner chose; this function does not measure how much.

    Args:
        directory: Folder with the frames and ``positions.json``: a list of ``{"file", "lat", "lon", "alt"}`` in degrees
            and metres.
        num_uavs: K, from 1 to the number of frames.
        size: Side of the views, pixels.
        start: File name of the first frame; None takes the one whose K - 1 neighbours are nearest.

    Raises:
        FramesError: if the folder or ``positions.json`` is missing or garbled, there are fewer than K frames, or
            ``start`` is not among them.
    """
    directory = Path(directory)
    if isinstance(num_uavs, bool) or not isinstance(num_uavs, (int, np.integer)) or num_uavs < 1:
        raise ValueError(f"num_uavs must be a positive integer, got {num_uavs!r}")
    size = check_size(size)[0]
    check_directory(directory, FramesError)
    positions = read_positions(directory / "positions.json")
    if len(positions) < num_uavs:
        raise FramesError(f"{directory}: positions.json names {len(positions)} frames; expected at least {num_uavs}")
    chosen = neighbours(positions, num_uavs, start=start)
    views = np.stack([fit_image(load_image(directory / position.file), size) for position in chosen])
    boxes = np.tile(center_prior(size, size).astype(np.float32), (num_uavs, 1))
    return UavFrames(tuple(position.file for position in chosen), views, boxes, local_metres(chosen))


def read_positions(path: str | os.PathLike) -> list[FramePosition]:
    """Reads ``positions.json``: one position for every frame, in the order of the file, at least one.

    Raises:
        FramesError: if the file is missing or not JSON, or an entry lacks a value, has one out of range, names a file
            outside the folder, or names one twice.
    """
    path = Path(path)
    check_regular_file(path, FramesError)
    if path.stat().st_size > MAX_POSITIONS_BYTES:
        raise FramesError(f"{path}: is too large; expected at most {MAX_POSITIONS_BYTES} bytes")
    try:
        entries = json.loads(path.read_bytes())  # bytes, so that a byte-order mark is understood
    except (ValueError, OSError, RecursionError) as error:
        raise FramesError(f"{path}: is not JSON ({error}); expected a list of frame positions") from error
    if not isinstance(entries, list) or not entries:
        raise FramesError(f"{path}: holds no list of frames; expected [{{'file', 'lat', 'lon', 'alt'}}, ...]")
    positions = [_position(entry, index, path) for index, entry in enumerate(entries)]
    file, count = Counter(position.file for position in positions).most_common(1)[0]
    if count > 1:
        raise FramesError(f"{path}: names {file!r} twice; expected every frame once")
    return positions


def neighbours(positions: list[FramePosition], num_uavs: int, *, start: str | None = None) -> list[FramePosition]:
    """Picks one frame and the K - 1 nearest to it on the ground, by rising distance, equal ones in the order given.

    ``start`` is the file name of the first frame; None takes the one whose K - 1 neighbours are nearest (least sum).
    """
    ground = local_metres(positions)[:, :2]
    distance = np.linalg.norm(ground[:, None] - ground[None], axis=-1)
    order = np.argsort(distance, axis=1, kind="stable")
    if start is None:
        index = int(np.argmin(np.sort(distance, axis=1)[:, :num_uavs].sum(axis=1)))
    else:
        names = [position.file for position in positions]
        if start not in names:
            raise FramesError(f"start {start!r} is not in positions.json; expected one of {names[0]} to {names[-1]}")
        index = names.index(start)
    # Two frames at one point are at distance 0 of each other: the first must still come first.
    picked = [index] + [int(other) for other in order[index] if other != index]
    return [positions[other] for other in picked[:num_uavs]]


def local_metres(positions: list[FramePosition]) -> np.ndarray:
    """Metres east, north and up of the first position, ``[num_positions, 3]`` float64.

    Equirectangular: east is scaled by the cosine of the first latitude. Exact to 1e-4 within a kilometre.
    """
    values = np.array([position[1:] for position in positions], dtype=np.float64)
    offset = values - values[0]
    # A survey across the date line is some metres wide, not 360 degrees.
    east = (offset[:, 1] + 180) % 360 - 180
    scale = METRES_PER_DEGREE * math.cos(math.radians(values[0, 0]))
    return np.stack([east * scale, offset[:, 0] * METRES_PER_DEGREE, offset[:, 2]], axis=-1)


def _position(entry: object, index: int, path: Path) -> FramePosition:
    if not isinstance(entry, dict):
        raise FramesError(f"{path}: entry {index} is no object; expected {{'file', 'lat', 'lon', 'alt'}}")
    file = entry.get("file")
    # The name becomes part of a path, so it must stay in the folder.
    if not isinstance(file, str) or not file or file != os.path.basename(file) or file in (".", ".."):
        raise FramesError(f"{path}: entry {index} has file {file!r}; expected the name of a picture in this folder")
    numbers = []
    for name, bound in (("lat", 90.0), ("lon", 180.0), ("alt", 1e5)):
        value = entry.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= bound:
            wanted = f"a number in [-{bound:g}, {bound:g}]"
            raise FramesError(f"{path}: entry {index} ({file}) has {name} {value!r}; expected {wanted}")
        numbers.append(float(value))
    return FramePosition(file, *numbers)
