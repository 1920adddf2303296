"""PASCAL VOC: lists of pictures, and annotations in XML."""

from __future__ import annotations

import codecs
import math
import os
import re
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np

from lvm_mtc.data.annotations import AnnotationError, LeftOut
from lvm_mtc.data.boxes import Box, clip_to_picture
from lvm_mtc.data.files import check_directory, check_regular_file
from lvm_mtc.data.images import SUFFIXES

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

MAX_XML_BYTES = 1_000_000
"""Largest annotation that is parsed. Those of VOC2012 are below 20 kB."""

# Python's codecs of several bytes a letter in which annotations are written; GB 18030 reads the two it grew out of.
_MULTI_BYTE = {
    "gb2312": "gb18030", "gbk": "gb18030", "gb18030": "gb18030", "big5": "big5", "big5hkscs": "big5hkscs",
    "cp950": "cp950", "shift_jis": "shift_jis", "cp932": "cp932", "euc_jp": "euc_jp", "iso2022_jp": "iso2022_jp",
    "euc_kr": "euc_kr", "cp949": "cp949",
}  # fmt: skip

_EDGES = ("xmin", "ymin", "xmax", "ymax")


class VocObject(NamedTuple):
    """One annotated object.

    Attributes:
        box: ``(x, y, w, h)``, centre, pixels; pixel i covers [i, i + 1).
        difficult: VOC's flag; such objects do not count in its challenge.
    """

    name: str
    box: Box
    difficult: bool


class VocAnnotation(NamedTuple):
    """One annotation file of a picture of height x width pixels.

    Attributes:
        objects: In the order of the file, possibly none.
        left_out: Why each object that could not be used was left out, one line each.
    """

    height: int
    width: int
    objects: tuple[VocObject, ...]
    left_out: tuple[str, ...] = ()


class VocExample(NamedTuple):
    """One picture of a VOC split; its name is the id in the list."""

    name: str
    image_path: Path
    annotation: VocAnnotation


def read_voc_list(path: str | os.PathLike) -> tuple[str, ...]:
    """Reads a list of ``ImageSets/Main``: one picture id a line, at least one, in the order of the file.

    An id is a name of a file without its folder and suffix, in which dots and spaces may stand. Lists of one class,
    with 1 or -1 in a second column, are refused.
    """
    path = Path(path)
    check_regular_file(path, AnnotationError)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AnnotationError(f"{path}: cannot be read as text ({error}); expected one picture id a line") from error
    names = []
    for number, line in enumerate(map(str.strip, lines), start=1):
        if line and (not _is_plain_name(line) or re.search(r"\s(-1|\s[01])$", line)):
            wanted = "one picture id such as 2007_000063"
            raise AnnotationError(f"{path}: line {number} is {line[:60]!r}; expected {wanted}")
        names += [line] if line else []
    if not names:
        raise AnnotationError(f"{path}: names no picture; expected one picture id a line")
    return tuple(names)


def read_voc_annotation(path: str | os.PathLike, *, strict: bool = False) -> VocAnnotation:
    """Reads the size and the objects of one annotation.

    VOC counts pixels from 1 and includes both ends, so the left edge is ``xmin - 1`` and the right edge ``xmax``. Boxes
    of programs that count otherwise reach up to one pixel outside the picture and are clipped to it. An object that
    cannot be used is left out: one that lacks an element, or whose box is reversed or further outside. One line of the
    log says how many and why. A file with a document type declaration is refused: entities of a few lines can unfold to
    gigabytes.

    Args:
        strict: Refuses a file with such an object, or with a box that leaves the picture at all.

    Raises:
        AnnotationError: if the file is missing, too large, not well-formed or does not say the picture's size; with
            ``strict`` at the first object that cannot be used.
    """
    left_out = LeftOut(strict)
    annotation = _read_annotation(Path(path), left_out, 0.0 if strict else 1.0)
    left_out.report(Path(path))
    return annotation


def _read_annotation(path: Path, left_out: LeftOut, slack: float) -> VocAnnotation:
    root = _parse_xml(path)
    if root.tag != "annotation":
        raise AnnotationError(f"{path}: the outermost element is <{root.tag}>; expected <annotation>")
    width, height = (_number(root, f"size/{name}", path) for name in ("width", "height"))
    if width < 1 or height < 1 or width != int(width) or height != int(height):
        raise AnnotationError(f"{path}: the size is {width:g} x {height:g}; expected positive whole numbers")
    objects, before = [], len(left_out.messages)
    for element in root.findall("object"):
        with left_out:
            objects.append(_object(element, width, height, path, slack))
    return VocAnnotation(int(height), int(width), tuple(objects), tuple(left_out.messages[before:]))


def load_voc(root: str | os.PathLike, split: str = "train", *, strict: bool = False) -> list[VocExample]:
    """Lists the pictures of one split with their annotations; the pictures themselves are not opened.

    Args:
        root: Folder with ``ImageSets/Main``, ``Annotations`` and ``JPEGImages``, whose pictures may have any suffix
            that :func:`lvm_mtc.data.list_images` knows.
        split: Name of a list in ``ImageSets/Main``, without ``.txt``.
        strict: As in :func:`read_voc_annotation`; one line of the log speaks for the whole split.

    Returns:
        One example for every id, in the order of the list.

    Raises:
        AnnotationError: if a folder, the list, an annotation or a picture is missing or cannot be used.
    """
    root = Path(root)
    for folder in ("ImageSets/Main", "Annotations", "JPEGImages"):
        check_directory(root / folder, AnnotationError)
    if not _is_plain_name(split):
        raise AnnotationError(f"split must be the plain name of a list such as 'train', got {split!r}")
    names = read_voc_list(root / "ImageSets" / "Main" / f"{split}.txt")
    files = sorted((root / "JPEGImages").iterdir(), key=lambda path: (path.suffix == ".jpg", path.name))
    pictures = {path.stem: path for path in files if path.suffix.lower() in SUFFIXES}  # .jpg goes before others
    examples, left_out = [], LeftOut(strict)
    for name in names:
        image_path = pictures.get(name, root / "JPEGImages" / f"{name}.jpg")
        check_regular_file(image_path, AnnotationError)
        annotation = _read_annotation(root / "Annotations" / f"{name}.xml", left_out, 0.0 if strict else 1.0)
        examples.append(VocExample(name, image_path, annotation))
    left_out.report(root)
    return examples


def largest_object(annotation: VocAnnotation) -> VocObject | None:
    """The object whose box has the largest area; the first of equals; None where nothing is annotated."""
    if not annotation.objects:
        return None
    return max(annotation.objects, key=lambda item: item.box[2] * item.box[3])


def voc_boxes(annotation: VocAnnotation) -> np.ndarray:
    """All boxes of an annotation, ``[num_objects, 4]`` float64, centre x, centre y, width, height, pixels."""
    return np.array([item.box for item in annotation.objects], dtype=np.float64).reshape(-1, 4)


def _parse_xml(path: Path) -> ElementTree.Element:
    check_regular_file(path, AnnotationError)
    size = path.stat().st_size
    if size > MAX_XML_BYTES:
        raise AnnotationError(f"{path}: {size} bytes is too large; expected at most {MAX_XML_BYTES} bytes")

    def refuse(*_: object) -> None:
        raise AnnotationError(f"{path}: declares a document type or entities; expected none (<!DOCTYPE>)")

    try:
        content, encoding = path.read_bytes(), None
        declared = re.match(rb"\s*<\?xml[^>]*?encoding\s*=\s*[\"']([A-Za-z0-9._-]+)", content)
        if declared and (codec := codecs.lookup(declared[1].decode()).name) in _MULTI_BYTE:  # beyond what expat knows
            content, encoding = content.decode(_MULTI_BYTE[codec]).encode(), "utf-8"
        guard = expat.ParserCreate(encoding)
        guard.StartDoctypeDeclHandler = refuse
        guard.Parse(content, True)
        return ElementTree.fromstring(content, ElementTree.XMLParser(encoding=encoding))
    except AnnotationError:
        raise
    except (expat.ExpatError, ElementTree.ParseError, LookupError, OSError, ValueError) as error:
        raise AnnotationError(f"{path}: is not well-formed XML ({error}); expected a VOC annotation") from error


def _is_plain_name(name: str) -> bool:
    # It becomes part of a path, so nothing that could leave the folder is let through.
    return name not in ("", ".", "..") and not re.search(r"[/\\:\x00-\x1f\x7f]", name)


def _object(element: ElementTree.Element, width: float, height: float, path: Path, slack: float) -> VocObject:
    name = (element.findtext("name") or "").strip()
    if not name:
        raise AnnotationError(f"{path}: an <object> has no <name>; expected a class name")
    xmin, ymin, xmax, ymax = edges = [_number(element, f"bndbox/{edge}", path) for edge in _EDGES]
    text = ", ".join(f"{edge}={value:g}" for edge, value in zip(_EDGES, edges, strict=True))
    if xmin > xmax or ymin > ymax:
        raise AnnotationError(f"{path}: the box of {name!r} is reversed ({text}); expected xmin <= xmax, ymin <= ymax")
    try:
        box = clip_to_picture(xmin - 1, ymin - 1, xmax, ymax, height, width, slack)
    except ValueError as reason:
        raise AnnotationError(f"{path}: the box of {name!r} ({text}) {reason}") from None
    return VocObject(name, box, (element.findtext("difficult") or "0").strip() == "1")


def _number(element: ElementTree.Element, where: str, path: Path) -> float:
    text = element.findtext(where)
    if text is None:
        raise AnnotationError(f"{path}: <{element.tag}> has no <{where}>; expected a number there")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise AnnotationError(f"{path}: <{where}> is {text.strip()[:40]!r}; expected a number")
    return value
