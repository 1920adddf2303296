"""SA-1B: a JSON file for every picture, with boxes and masks without classes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lvm_mtc.data.images import check_directory, check_regular_file
from lvm_mtc.data.json_fields import get_corner_box, get_field, get_size, read_json_object
from lvm_mtc.data.rle import Rle, RleError, parse_rle

MAX_SA1B_BYTES = 100_000_000
"""Largest file that is parsed. Those of SA-1B are below 1 MB."""


class Sa1bError(ValueError):
    """An annotation that cannot be used. The message is one line: the file, the place, what would be right."""


class Sa1bObject(NamedTuple):
    """One mask of the picture.

    Attributes:
        box: ``(x, y, w, h)``, centre, pixels; pixel i covers [i, i + 1).
        mask: Run lengths, not unpacked (``decode_rle`` does it).
        predicted_iou: The mask's quality as its maker estimated it, in [0, 1] or a little above.
        stability_score: IoU of the masks at two thresholds, in [0, 1].
    """

    box: tuple[float, float, float, float]
    mask: Rle
    predicted_iou: float
    stability_score: float


class Sa1bAnnotation(NamedTuple):
    """One annotation file.

    Attributes:
        name: File name of the picture.
        height: Picture height, pixels.
        width: Picture width, pixels.
        objects: In the order of the file, possibly none.
    """

    name: str
    height: int
    width: int
    objects: tuple[Sa1bObject, ...]


class Sa1bExample(NamedTuple):
    """A picture's file and its annotation."""

    image_path: Path
    annotation: Sa1bAnnotation


def read_sa1b_annotation(path: str | os.PathLike) -> Sa1bAnnotation:
    """Reads one annotation.

    Args:
        path: For example ``sa_000000/sa_1.json``.

    Returns:
        The picture's size and objects.

    Raises:
        Sa1bError: if the file is missing, too large or not JSON, a field is missing or wrong, a mask has another size
            than the picture, or a box has no area or lies outside the picture.
    """
    path = Path(path)
    content = read_json_object(path, Sa1bError, MAX_SA1B_BYTES)
    image = get_field(content, "image", dict, str(path), Sa1bError)
    where = f"{path}: 'image'"
    name = get_field(image, "file_name", str, where, Sa1bError)
    if name != Path(name).name or not name or "\\" in name or "\0" in name:
        raise Sa1bError(f"{where}: 'file_name' is {name[:60]!r}; expected a plain file name")
    height, width = get_size(image, where, Sa1bError)
    entries = get_field(content, "annotations", list, str(path), Sa1bError)
    objects = (
        _read_object(entry, height, width, f"{path}: annotations[{index}]") for index, entry in enumerate(entries)
    )
    return Sa1bAnnotation(name, height, width, tuple(objects))


def load_sa1b(root: str | os.PathLike) -> list[Sa1bExample]:
    """Lists the pictures of a folder that have an annotation; the pictures themselves are not opened.

    Args:
        root: Folder with ``sa_*.json`` and the pictures beside them.

    Returns:
        One example for every annotation, sorted by file name.

    Raises:
        Sa1bError: if the folder or a picture is missing, there is no annotation, or one cannot be used.
    """
    root = Path(root)
    check_directory(root, Sa1bError)
    examples = []
    for path in sorted(root.glob("sa_*.json")):
        annotation = read_sa1b_annotation(path)
        check_regular_file(root / annotation.name, Sa1bError)
        examples.append(Sa1bExample(root / annotation.name, annotation))
    if not examples:
        raise Sa1bError(f"{root}: holds no annotation; expected sa_*.json")
    return examples


def sa1b_boxes(annotation: Sa1bAnnotation, *, min_area: float = 0.0) -> np.ndarray:
    """Boxes of an annotation as one array.

    Args:
        annotation: One annotation.
        min_area: Smallest area of a box over that of the picture: SA-1B has parts of objects by the hundred.

    Returns:
        ``[num_objects, 4]`` float64, ``(x, y, w, h)``, centre, pixels.
    """
    boxes = np.array([item.box for item in annotation.objects], np.float64).reshape(-1, 4)
    return boxes[boxes[:, 2] * boxes[:, 3] >= min_area * annotation.height * annotation.width]


def _read_object(entry: object, height: int, width: int, where: str) -> Sa1bObject:
    box = get_corner_box(entry, "bbox", height, width, where, Sa1bError)
    segmentation = get_field(entry, "segmentation", dict, where, Sa1bError)
    size = get_field(segmentation, "size", list, f"{where}: 'segmentation'", Sa1bError)
    try:
        mask = parse_rle(size, segmentation.get("counts"))
    except RleError as error:
        raise Sa1bError(f"{where}: 'segmentation': {error}") from None
    if (mask.height, mask.width) != (height, width):
        raise Sa1bError(f"{where}: 'segmentation' is of {size}; expected the picture's [{height}, {width}]")
    scores = (get_field(entry, name, float, where, Sa1bError) for name in ("predicted_iou", "stability_score"))
    return Sa1bObject(box, mask, *scores)
