"""What a user's flags say is to be sent: pictures as K UAVs' views, with the object's box in each."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lvm_mtc.cli.parser import UsageError
from lvm_mtc.data import fit_image, list_images, load_image, uav_views
from lvm_mtc.data.boxes import box_in_window, check_box
from lvm_mtc.data.resizing import fit_window
from lvm_mtc.knowledge import annotated, center_prior

TASK_TEXT = ""  # annotations and the prior answer every task alike


class Pictures(NamedTuple):
    """Groups of K views.

    Attributes:
        labels: Name of each group, ``[B]``, all different.
        images: ``[B, K, size, size, 3]`` float32 in [0, 1].
        loc: ``[B, K, 4]`` float32, (x, y, w, h), centre, pixels.
    """

    labels: tuple[str, ...]
    images: np.ndarray
    loc: np.ndarray


def load_pictures(
    path: Path, *, size: int, num_uavs: int, views: str, overlap: float, boxes: Path | None, limit: int | None
) -> Pictures:
    """Reads pictures and turns them into groups of K square views.

    Args:
        path: A folder of pictures, or one picture.
        size: Side of a view, pixels.
        num_uavs: K.
        views: ``"cut"``: K overlapping views of each picture; ``"folder"``: each K pictures are a group.
        overlap: Shared fraction of neighbouring views, with ``"cut"``.
        boxes: JSON file of boxes, or None.
        limit: Take the first so many pictures only.

    Returns:
        The groups.

    Raises:
        UsageError: if the number of pictures is not a multiple of K with ``"folder"``, or the file of boxes is wrong.
        ValueError: for a picture that cannot be used, by name.
    """
    files = [path] if path.is_file() else list_images(path, limit=limit)
    if views == "folder" and len(files) % num_uavs:
        raise UsageError(f"--uavs {num_uavs} does not divide the {len(files)} pictures in {path}: with --views folder "
                         "each K pictures are one group; take a part of them with --limit")
    found = read_boxes(boxes, [file.name for file in files]) if boxes else {}
    labels = _labels(files)
    if views == "cut":
        cut = [_cut(file, num_uavs, overlap, size, found.get(file.name)) for file in files]
        images, loc = np.stack([c.views for c in cut]), np.stack([c.boxes for c in cut])
    else:
        fitted = [_fit(file, size, found.get(file.name)) for file in files]
        images = np.stack([picture for picture, _ in fitted]).reshape(-1, num_uavs, size, size, 3)
        loc = np.stack([box for _, box in fitted]).reshape(-1, num_uavs, 4)
        labels = labels[::num_uavs]
    images = np.float32(images) / 255
    return Pictures(tuple(labels), images, annotated(loc)(images, TASK_TEXT))


def read_boxes(path: Path, names: Sequence[str]) -> dict[str, list[float]]:
    """Reads ``{"picture.jpg": [x, y, w, h]}``.

    Args:
        path: JSON file.
        names: File names of the pictures.

    Returns:
        Boxes by file name; a picture that is not named has none.

    Raises:
        UsageError: if the file is not such JSON, or names a picture that is not there.
    """
    try:
        boxes = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--boxes {path}: is not JSON ({error})") from None
    if not isinstance(boxes, dict):
        raise UsageError(f"--boxes {path}: holds a {type(boxes).__name__}, expected "
                         '{"picture.jpg": [x, y, w, h], ...}')
    for name in boxes:
        if name not in names:
            raise UsageError(f"--boxes {path}: names {name!r}, which is not among the {len(names)} pictures")
    return boxes


def _cut(file: Path, num_uavs: int, overlap: float, size: int, box):
    image = load_image(file)
    try:
        return uav_views(image, num_uavs, overlap, size=size, box=box)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def _fit(file: Path, size: int, box) -> tuple[np.ndarray, np.ndarray]:
    image = load_image(file)
    height, width = image.shape[:2]
    if box is None:
        picture = fit_image(image, size)
        return picture, center_prior()(picture, TASK_TEXT)
    window = np.array(fit_window(height, width, size))
    box = check_box(box, height, width, name=f"{file}: box")
    return fit_image(image, size), box_in_window(box, window, (size, size))[0]


def _labels(files: Sequence[Path]) -> list[str]:
    """Stems, or whole file names where two pictures differ in their suffix only."""
    counts = Counter(file.stem for file in files)
    return [file.stem if counts[file.stem] == 1 else file.name for file in files]
