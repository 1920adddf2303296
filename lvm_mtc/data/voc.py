"""PASCAL VOC: lists of pictures, and annotations in XML."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np

from lvm_mtc.data.images import check_directory, check_regular_file

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

MAX_XML_BYTES = 1_000_000
"""Largest annotation that is parsed. Those of VOC2012 are below 20 kB."""

_EDGES = ("xmin", "ymin", "xmax", "ymax")


class VocError(ValueError):
    """A list or annotation that cannot be used. The message is one line: the file, the reason, what would be right."""


class VocObject(NamedTuple):
    """One annotated object.

    Attributes:
        name: Class name.
        box: ``(x, y, w, h)``, centre, pixels; pixel i covers [i, i + 1).
        difficult: VOC's flag; such objects do not count in its challenge.
    """

    name: str
    box: tuple[float, float, float, float]
    difficult: bool


class VocAnnotation(NamedTuple):
    """One annotation file.

    Attributes:
        height: Picture height, pixels.
        width: Picture width, pixels.
        objects: In the order of the file, possibly none.
    """

    height: int
    width: int
    objects: tuple[VocObject, ...]


class VocExample(NamedTuple):
    """One picture of a VOC split.

    Attributes:
        name: The picture's id.
        image_path: Its file.
        annotation: Its objects.
    """

    name: str
    image_path: Path
    annotation: VocAnnotation


def read_voc_list(path: str | os.PathLike) -> tuple[str, ...]:
    """Reads a list of ``ImageSets/Main``: one picture id a line.

    Args:
        path: The list, for example ``ImageSets/Main/train.txt``.

    Returns:
        The ids, in the order of the file, at least one.

    Raises:
        VocError: if the file is missing or empty, or a line is not one plain id (lists of one class, with a second
            column, included).
    """
    path = Path(path)
    check_regular_file(path, VocError)
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise VocError(f"{path}: cannot be read as text ({error}); expected one picture id a line") from error
    names = []
    for number, line in enumerate(lines, start=1):
        line = line.strip()
        if not line:
            continue
        # An id becomes part of a path, so nothing that could leave the folder is let through.
        if not re.fullmatch(r"[A-Za-z0-9_\-]+", line):
            raise VocError(f"{path}: line {number} is {line[:60]!r}; expected one picture id such as 2007_000063")
        names.append(line)
    if not names:
        raise VocError(f"{path}: names no picture; expected one picture id a line")
    return tuple(names)


def read_voc_annotation(path: str | os.PathLike) -> VocAnnotation:
    """Reads the size and the objects of one annotation.

    VOC counts pixels from 1 and includes both ends, so the left edge is ``xmin - 1`` and the right edge ``xmax``. A
    file with a document type declaration is refused: entities of a few lines can unfold to gigabytes.

    Args:
        path: The XML file.

    Returns:
        Size and objects.

    Raises:
        VocError: if the file is missing, too large, not well-formed or lacks an element, or if a box is reversed or
            outside the picture.
    """
    path = Path(path)
    root = _parse_xml(path)
    if root.tag != "annotation":
        raise VocError(f"{path}: the outermost element is <{root.tag}>; expected <annotation>")
    width, height = (_number(root, f"size/{name}", path) for name in ("width", "height"))
    if width < 1 or height < 1 or width != int(width) or height != int(height):
        raise VocError(f"{path}: the size is {width:g} x {height:g}; expected positive whole numbers")
    objects = tuple(_object(element, width, height, path) for element in root.findall("object"))
    return VocAnnotation(int(height), int(width), objects)


def load_voc(root: str | os.PathLike, split: str = "train") -> list[VocExample]:
    """Lists the pictures of one split with their annotations; the pictures themselves are not opened.

    Args:
        root: Folder with ``ImageSets/Main``, ``Annotations`` and ``JPEGImages``.
        split: Name of a list in ``ImageSets/Main``, without ``.txt``.

    Returns:
        One example for every id, in the order of the list.

    Raises:
        VocError: if a folder, the list, an annotation or a picture is missing or cannot be used.
    """
    root = Path(root)
    for folder in ("ImageSets/Main", "Annotations", "JPEGImages"):
        check_directory(root / folder, VocError)
    if not re.fullmatch(r"[A-Za-z0-9_\-]+", split):
        raise VocError(f"split must be the plain name of a list such as 'train', got {split!r}")
    examples = []
    for name in read_voc_list(root / "ImageSets" / "Main" / f"{split}.txt"):
        image_path = root / "JPEGImages" / f"{name}.jpg"
        check_regular_file(image_path, VocError)
        examples.append(VocExample(name, image_path, read_voc_annotation(root / "Annotations" / f"{name}.xml")))
    return examples


def largest_object(annotation: VocAnnotation) -> VocObject | None:
    """The object whose box has the largest area; the first of equals; None where nothing is annotated.

    Args:
        annotation: One annotation.

    Returns:
        The object, or None.
    """
    if not annotation.objects:
        return None
    return max(annotation.objects, key=lambda item: item.box[2] * item.box[3])


def voc_boxes(annotation: VocAnnotation) -> np.ndarray:
    """All boxes of an annotation as one array.

    Args:
        annotation: One annotation.

    Returns:
        ``[num_objects, 4]`` float64, centre x, centre y, width, height, pixels.
    """
    return np.array([item.box for item in annotation.objects], dtype=np.float64).reshape(-1, 4)


def _parse_xml(path: Path) -> ElementTree.Element:
    check_regular_file(path, VocError)
    size = path.stat().st_size
    if size > MAX_XML_BYTES:
        raise VocError(f"{path}: {size} bytes is too large; expected an annotation of at most {MAX_XML_BYTES} bytes")
    guard = expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise VocError(f"{path}: declares a document type or entities; expected a plain annotation without <!DOCTYPE>")

    guard.StartDoctypeDeclHandler = refuse
    try:
        content = path.read_bytes()
        guard.Parse(content, True)
        return ElementTree.fromstring(content)
    except (expat.ExpatError, ElementTree.ParseError, LookupError, OSError) as error:
        raise VocError(f"{path}: is not well-formed XML ({error}); expected a VOC annotation") from error


def _object(element: ElementTree.Element, width: float, height: float, path: Path) -> VocObject:
    name = (element.findtext("name") or "").strip()
    if not name:
        raise VocError(f"{path}: an <object> has no <name>; expected a class name")
    xmin, ymin, xmax, ymax = edges = [_number(element, f"bndbox/{edge}", path) for edge in _EDGES]
    text = ", ".join(f"{edge}={value:g}" for edge, value in zip(_EDGES, edges, strict=True))
    if xmin > xmax or ymin > ymax:
        raise VocError(f"{path}: the box of {name!r} is reversed ({text}); expected xmin <= xmax and ymin <= ymax")
    if xmin < 1 or ymin < 1 or xmax > width or ymax > height:
        raise VocError(
            f"{path}: the box of {name!r} ({text}) reaches outside the picture of {width:g} x {height:g}; "
            f"expected values from 1 to the width or height"
        )
    left, top = xmin - 1, ymin - 1
    box = ((left + xmax) / 2, (top + ymax) / 2, xmax - left, ymax - top)
    return VocObject(name, box, (element.findtext("difficult") or "0").strip() == "1")


def _number(element: ElementTree.Element, where: str, path: Path) -> float:
    text = element.findtext(where)
    if text is None:
        raise VocError(f"{path}: <{element.tag}> has no <{where}>; expected a number there")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise VocError(f"{path}: <{where}> is {text.strip()[:40]!r}; expected a number")
    return value
