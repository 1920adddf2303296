"""COCO: one JSON file with all pictures, classes and objects of a split ("instances")."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lvm_mtc.data.json_fields import get_corner_box, get_field, get_size, read_json_object
from lvm_mtc.data.rle import Rle, RleError, parse_rle

MAX_COCO_BYTES = 2_000_000_000
"""Largest file that is parsed. ``instances_train2017.json`` has 0.47 GB."""


class CocoError(ValueError):
    """An annotation file that cannot be used. The message is one line: the file, the place, what would be right."""


class CocoObject(NamedTuple):
    """One annotated object.

    Attributes:
        label: Index into ``CocoAnnotations.classes``.
        box: ``(x, y, w, h)``, centre, pixels; pixel i covers [i, i + 1).
        crowd: One annotation for many objects; such boxes do not count in COCO's challenge.
        mask: The object's mask where the file has it as run lengths, else None (COCO has polygons for most).
    """

    label: int
    box: tuple[float, float, float, float]
    crowd: bool
    mask: Rle | None


class CocoPicture(NamedTuple):
    """One picture.

    Attributes:
        name: File name, as the file gives it.
        height: Pixels.
        width: Pixels.
        objects: In the order of the file, possibly none.
    """

    name: str
    height: int
    width: int
    objects: tuple[CocoObject, ...]


class CocoAnnotations(NamedTuple):
    """A split.

    Attributes:
        classes: Names, in the order of their ids (COCO's ids have gaps: labels do not).
        pictures: In the order of the file.
    """

    classes: tuple[str, ...]
    pictures: tuple[CocoPicture, ...]


def read_coco(path: str | os.PathLike) -> CocoAnnotations:
    """Reads an "instances" file.

    Args:
        path: For example ``annotations/instances_val2017.json``.

    Returns:
        All pictures with their objects.

    Raises:
        CocoError: if the file is missing, too large or not JSON, a field is missing or wrong, an id comes twice, an
            object belongs to no picture or class, or a box has no area or lies outside its picture.
    """
    path = Path(path)
    content = read_json_object(path, CocoError, MAX_COCO_BYTES)
    labels, classes = _read_classes(content, path)
    pictures: dict[int, tuple[str, int, int]] = {}
    for index, entry in enumerate(_entries(content, "images", path)):
        where = f"{path}: images[{index}]"
        name = get_field(entry, "file_name", str, where, CocoError)
        _add(pictures, entry, (_plain_name(name, where), *get_size(entry, where, CocoError)), where)
    objects: dict[int, list[CocoObject]] = {picture: [] for picture in pictures}
    for index, entry in enumerate(_entries(content, "annotations", path)):
        where = f"{path}: annotations[{index}]"
        picture, category = (get_field(entry, name, int, where, CocoError) for name in ("image_id", "category_id"))
        if picture not in pictures:
            raise CocoError(f"{where}: 'image_id' is {picture}; expected the id of one of {len(pictures)} images")
        if category not in labels:
            raise CocoError(f"{where}: 'category_id' is {category}; expected the id of one of {len(labels)} categories")
        objects[picture].append(_read_object(entry, labels[category], *pictures[picture][1:], where))
    return CocoAnnotations(
        classes, tuple(CocoPicture(*parts, tuple(objects[key])) for key, parts in pictures.items())
    )


def coco_boxes(picture: CocoPicture, *, crowds: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Boxes and labels of a picture as arrays.

    Args:
        picture: The picture.
        crowds: Whether to take the boxes of crowds too.

    Returns:
        boxes: ``[num_objects, 4]`` float64, ``(x, y, w, h)``, centre, pixels.
        labels: ``[num_objects]`` int64.
    """
    taken = [item for item in picture.objects if crowds or not item.crowd]
    boxes = np.array([item.box for item in taken], np.float64).reshape(-1, 4)
    return boxes, np.array([item.label for item in taken], np.int64)


def _read_classes(content: dict[str, Any], path: Path) -> tuple[dict[int, int], tuple[str, ...]]:
    names: dict[int, str] = {}
    for index, entry in enumerate(_entries(content, "categories", path)):
        where = f"{path}: categories[{index}]"
        _add(names, entry, get_field(entry, "name", str, where, CocoError), where)
    ids = sorted(names)
    return {key: label for label, key in enumerate(ids)}, tuple(names[key] for key in ids)


def _entries(content: dict[str, Any], name: str, path: Path) -> list:
    return get_field(content, name, list, str(path), CocoError)


def _add(known: dict[int, Any], entry: Any, value: Any, where: str) -> None:
    key = get_field(entry, "id", int, where, CocoError)
    if key in known:
        raise CocoError(f"{where}: 'id' {key} comes a second time; expected each once")
    known[key] = value


def _plain_name(name: str, where: str) -> str:
    # A name becomes part of a path, so nothing that could leave the folder is let through.
    parts = name.replace("\\", "/").split("/")
    if not name or name.startswith(("/", "\\")) or ".." in parts or "\0" in name or ":" in parts[0]:
        raise CocoError(f"{where}: 'file_name' is {name[:60]!r}; expected a path below the picture folder")
    return name


def _read_object(entry: dict[str, Any], label: int, height: int, width: int, where: str) -> CocoObject:
    box = get_corner_box(entry, "bbox", height, width, where, CocoError)
    mask = None
    segmentation = entry.get("segmentation")
    if isinstance(segmentation, dict):
        size = get_field(segmentation, "size", list, f"{where}: 'segmentation'", CocoError)
        try:
            mask = parse_rle(size, segmentation.get("counts"))
        except RleError as error:
            raise CocoError(f"{where}: 'segmentation': {error}") from None
        if (mask.height, mask.width) != (height, width):
            raise CocoError(f"{where}: 'segmentation' is of {size}; expected the picture's [{height}, {width}]")
    return CocoObject(label, box, bool(entry.get("iscrowd", 0)), mask)
