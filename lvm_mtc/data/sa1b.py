"""SA-1B: a JSON file for every picture, with boxes and masks without classes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lvm_mtc.data.annotations import AnnotationError, LeftOut, get_box, get_field, get_mask, get_size, read_json_object
from lvm_mtc.data.boxes import Box
from lvm_mtc.data.files import check_directory, check_regular_file, natural_order
from lvm_mtc.data.rle import Rle

MAX_SA1B_BYTES = 100_000_000
"""Largest file that is parsed. Those of SA-1B are below 1 MB."""


class Sa1bObject(NamedTuple):
    """One mask of the picture.

    Attributes:
        box: ``(x, y, w, h)``, centre, pixels; pixel i covers [i, i + 1).
        mask: Run lengths, not unpacked (``decode_rle`` does it).
        predicted_iou: The mask's quality as its maker estimated it, in [0, 1] or a little above.
        stability_score: IoU of the masks at two thresholds, in [0, 1].
    """

    box: Box
    mask: Rle
    predicted_iou: float
    stability_score: float


class Sa1bAnnotation(NamedTuple):
    """One annotation file.

    Attributes:
        name: File name of the picture, which has height x width pixels.
        objects: In the order of the file, possibly none.
        left_out: Why each object that could not be used was left out, one line each.
    """

    name: str
    height: int
    width: int
    objects: tuple[Sa1bObject, ...]
    left_out: tuple[str, ...] = ()


class Sa1bExample(NamedTuple):
    """A picture's file and its annotation."""

    image_path: Path
    annotation: Sa1bAnnotation


def read_sa1b_annotation(path: str | os.PathLike, *, strict: bool = False) -> Sa1bAnnotation:
    """Reads one annotation.

    An object that cannot be used is left out: one with a field that is missing or wrong, a mask of another size than
    the picture, or a box without area or more than one pixel outside the picture. One line of the log says how many and
    why.

    Args:
        path: For example ``sa_000000/sa_1.json``.
        strict: Refuses a file with such an object.

    Raises:
        AnnotationError: if the file is missing, too large or not JSON, or does not say the picture's name and size;
            with ``strict`` at the first object that cannot be used.
    """
    left_out = LeftOut(strict)
    annotation = _read_annotation(Path(path), left_out)
    left_out.report(Path(path))
    return annotation


def _read_annotation(path: Path, left_out: LeftOut) -> Sa1bAnnotation:
    content = read_json_object(path, MAX_SA1B_BYTES)
    image = get_field(content, "image", dict, str(path))
    where = f"{path}: 'image'"
    name = get_field(image, "file_name", str, where)
    if name != Path(name).name or not name or "\\" in name or "\0" in name:
        raise AnnotationError(f"{where}: 'file_name' is {name[:60]!r}; expected a plain file name")
    height, width = get_size(image, where)
    entries = get_field(content, "annotations", list, str(path))
    objects, before = [], len(left_out.messages)
    for index, entry in enumerate(entries):
        with left_out:
            objects.append(_read_object(entry, height, width, f"{path}: annotations[{index}]"))
    return Sa1bAnnotation(name, height, width, tuple(objects), tuple(left_out.messages[before:]))


def load_sa1b(root: str | os.PathLike, *, strict: bool = False) -> list[Sa1bExample]:
    """Lists the pictures of a folder that have an annotation; the pictures themselves are not opened.

    Args:
        root: Folder with ``sa_*.json`` and the pictures beside them.
        strict: Refuses a file with an object that cannot be used, which otherwise is left out as by
            :func:`read_sa1b_annotation`, with one line of the log for the folder.

    Returns:
        One example for every annotation, at least one, in ``natural_order`` of the files.
    """
    root = Path(root)
    check_directory(root, AnnotationError)
    examples, left_out = [], LeftOut(strict)
    for path in sorted(root.glob("sa_*.json"), key=lambda path: natural_order(path.name)):
        annotation = _read_annotation(path, left_out)
        check_regular_file(root / annotation.name, AnnotationError)
        examples.append(Sa1bExample(root / annotation.name, annotation))
    if not examples:
        raise AnnotationError(f"{root}: holds no annotation; expected sa_*.json")
    left_out.report(root)
    return examples


def sa1b_boxes(annotation: Sa1bAnnotation, *, min_area: float = 0.0) -> np.ndarray:
    """Boxes of an annotation, ``[num_objects, 4]`` float64, ``(x, y, w, h)``, centre, pixels.

    Args:
        min_area: Smallest area of a box over that of the picture: SA-1B has parts of objects by the hundred.
    """
    boxes = np.array([item.box for item in annotation.objects], np.float64).reshape(-1, 4)
    return boxes[boxes[:, 2] * boxes[:, 3] >= min_area * annotation.height * annotation.width]


def _read_object(entry: object, height: int, width: int, where: str) -> Sa1bObject:
    box, mask = get_box(entry, height, width, where), get_mask(entry, height, width, where)
    scores = (get_field(entry, name, float, where) for name in ("predicted_iou", "stability_score"))
    return Sa1bObject(box, mask, *scores)
