"""COCO: one JSON file with all pictures, classes and objects of a split ("instances")."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lvm_mtc.data.annotations import AnnotationError, LeftOut, get_box, get_field, get_mask, get_size, read_json_object
from lvm_mtc.data.boxes import Box
from lvm_mtc.data.rle import Rle

MAX_COCO_BYTES = 2_000_000_000
"""Largest file that is parsed. ``instances_train2017.json`` has 0.47 GB."""


class CocoObject(NamedTuple):
    """One annotated object.

    Attributes:
        label: Index into ``CocoAnnotations.classes``.
        box: ``(x, y, w, h)``, centre, pixels; pixel i covers [i, i + 1).
        crowd: One annotation for many objects; such boxes do not count in COCO's challenge.
        mask: The object's mask where the file has it as run lengths, else None (COCO has polygons for most).
    """

    label: int
    box: Box
    crowd: bool
    mask: Rle | None


class CocoPicture(NamedTuple):
    """One picture of height x width pixels, under the file's name for it, and its objects in the file's order."""

    name: str
    height: int
    width: int
    objects: tuple[CocoObject, ...]


class CocoAnnotations(NamedTuple):
    """A split.

    Attributes:
        classes: Names, in the order of their ids (COCO's ids have gaps: labels do not).
        pictures: In the order of the file.
        left_out: Why each entry that could not be used was left out, one line each.
    """

    classes: tuple[str, ...]
    pictures: tuple[CocoPicture, ...]
    left_out: tuple[str, ...] = ()


def read_coco(path: str | os.PathLike, *, strict: bool = False) -> CocoAnnotations:
    """Reads an "instances" file.

    An entry that cannot be used is left out: a picture, class or object with a field that is missing or wrong, or an id
    that was there before; an object of no picture or class that is left; a box without area, or more than one pixel
    outside its picture (published files hold a few). One line of the log says how many and why.

    Args:
        path: For example ``annotations/instances_val2017.json``.
        strict: Refuses a file with such an entry.

    Raises:
        AnnotationError: if the file is missing, too large or not JSON, or lacks one of its three lists; with ``strict``
            at the first entry that cannot be used.
    """
    path = Path(path)
    content = read_json_object(path, MAX_COCO_BYTES)
    left_out = LeftOut(strict)
    labels, classes = _read_classes(content, path, left_out)
    pictures: dict[int, tuple[str, int, int]] = {}
    for index, entry in enumerate(_entries(content, "images", path)):
        where = f"{path}: images[{index}]"
        with left_out:
            name = get_field(entry, "file_name", str, where)
            _add(pictures, entry, (_plain_name(name, where), *get_size(entry, where)), where)
    objects: dict[int, list[CocoObject]] = {picture: [] for picture in pictures}
    for index, entry in enumerate(_entries(content, "annotations", path)):
        where = f"{path}: annotations[{index}]"
        with left_out:
            picture, category = (get_field(entry, name, int, where) for name in ("image_id", "category_id"))
            wanted = "expected the id of one of"
            if picture not in pictures:
                raise AnnotationError(f"{where}: 'image_id' is {picture}; {wanted} {len(pictures)} images")
            if category not in labels:
                raise AnnotationError(f"{where}: 'category_id' is {category}; {wanted} {len(labels)} categories")
            objects[picture].append(_read_object(entry, labels[category], *pictures[picture][1:], where))
    left_out.report(path)
    with_objects = tuple(CocoPicture(*parts, tuple(objects[key])) for key, parts in pictures.items())
    return CocoAnnotations(classes, with_objects, tuple(left_out.messages))


def coco_boxes(picture: CocoPicture, *, crowds: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Boxes ``[num_objects, 4]`` float64, centre, pixels, and labels ``[num_objects]`` int64; crowds only if asked."""
    taken = [item for item in picture.objects if crowds or not item.crowd]
    boxes = np.array([item.box for item in taken], np.float64).reshape(-1, 4)
    return boxes, np.array([item.label for item in taken], np.int64)


def _read_classes(content: dict[str, Any], path: Path, left_out: LeftOut) -> tuple[dict[int, int], tuple[str, ...]]:
    names: dict[int, str] = {}
    for index, entry in enumerate(_entries(content, "categories", path)):
        where = f"{path}: categories[{index}]"
        with left_out:
            _add(names, entry, get_field(entry, "name", str, where), where)
    ids = sorted(names)
    return {key: label for label, key in enumerate(ids)}, tuple(names[key] for key in ids)


def _entries(content: dict[str, Any], name: str, path: Path) -> list:
    return get_field(content, name, list, str(path))


def _add(known: dict[int, Any], entry: Any, value: Any, where: str) -> None:
    key = get_field(entry, "id", int, where)
    if key in known:
        raise AnnotationError(f"{where}: 'id' {key} comes a second time; expected each once")
    known[key] = value


def _plain_name(name: str, where: str) -> str:
    # A name becomes part of a path, so nothing that could leave the folder is let through.
    parts = name.replace("\\", "/").split("/")
    if not name or name.startswith(("/", "\\")) or ".." in parts or "\0" in name or ":" in parts[0]:
        raise AnnotationError(f"{where}: 'file_name' is {name[:60]!r}; expected a path below the picture folder")
    return name


def _read_object(entry: dict[str, Any], label: int, height: int, width: int, where: str) -> CocoObject:
    box = get_box(entry, height, width, where)
    mask = get_mask(entry, height, width, where) if isinstance(entry.get("segmentation"), dict) else None
    return CocoObject(label, box, bool(entry.get("iscrowd", 0)), mask)
