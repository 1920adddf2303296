"""What readers of annotations share: fields of JSON files by name, and entries that cannot be used."""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from pathlib import Path
from typing import Any

from lvm_mtc.data.boxes import Box, clip_to_picture
from lvm_mtc.data.files import check_regular_file
from lvm_mtc.data.rle import Rle

_LOG = logging.getLogger(__name__)
_KINDS = {int: "a whole number", float: "a number", str: "a text", list: "a list", dict: "an object"}


class AnnotationError(ValueError):
    """An annotation that cannot be used. The message is one line: the file, the place, what would be right."""


class LeftOut:
    """Entries of files that cannot be used: ``with left_out: read(entry)`` for every entry, ``report`` at the end.

    An entry that cannot be used raises an AnnotationError that ends in "; expected" and what would be right.

    Args:
        strict: Lets the first such error pass instead.

    Attributes:
        messages: Of the entries that were left out, one line each.
    """

    def __init__(self, strict: bool):
        self.messages: list[str] = []
        self._strict, self._entries = strict, 0

    def __enter__(self):
        self._entries += 1

    def __exit__(self, kind, error, traceback) -> bool:
        if self._strict or not isinstance(error, AnnotationError):
            return False
        self.messages.append(str(error))
        return True

    def report(self, path: Path) -> None:
        """Logs one line (level WARNING) about how many entries of a file or folder were left out and why, if any."""
        if self.messages:
            wanted = Counter(message.rpartition("; expected ")[2] for message in self.messages)
            reasons = ", ".join(f"{reason} ({count})" for reason, count in wanted.most_common())
            _LOG.warning("%s: left out %d of %d entries; expected %s", path, len(self.messages), self._entries, reasons)


def read_json_object(path: Path, max_bytes: int) -> dict[str, Any]:
    """Reads a file of at most ``max_bytes`` that holds one JSON object."""
    check_regular_file(path, AnnotationError)
    size = path.stat().st_size
    if size > max_bytes:
        raise AnnotationError(f"{path}: {size} bytes is too large; expected at most {max_bytes} bytes")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError, OSError) as reason:
        text = " ".join(str(reason).split())
        raise AnnotationError(f"{path}: is not JSON, or cut off ({text}); expected one object") from reason
    if not isinstance(content, dict):
        raise AnnotationError(f"{path}: holds a {type(content).__name__}; expected one object")
    return content


def get_field(content: Any, name: str, kind: type, where: str) -> Any:
    """One field of an object, converted to float where ``kind`` is float.

    Args:
        kind: int, float, str, list or dict; an int is also a float, a bool is neither; numbers must be finite.
        where: File and place, for the message.
    """
    if not isinstance(content, dict):
        raise AnnotationError(f"{where} is {shown(content)}; expected an object with {name!r}")
    if name not in content:
        raise AnnotationError(f"{where} has no {name!r}; expected {_KINDS[kind]} there")
    value = content[name]
    right = _is_number(value) if kind is float else isinstance(value, kind) and not isinstance(value, bool)
    if not right:
        raise AnnotationError(f"{where}: {name!r} is {shown(value)}; expected {_KINDS[kind]}")
    return float(value) if kind is float else value


def get_box(content: Any, height: int, width: int, where: str) -> Box:
    """Field ``bbox``, ``[left, top, width, height]`` as COCO and SA-1B write it, as ``(x, y, w, h)``, centre, pixels.

    Pixel i covers [i, i + 1). A box up to one pixel outside the picture of ``height`` and ``width`` is clipped to it.
    """
    values = get_field(content, "bbox", list, where)
    if len(values) != 4 or not all(_is_number(value) for value in values):
        raise AnnotationError(f"{where}: 'bbox' is {shown(values)}; expected four numbers (left, top, width, height)")
    left, top, w, h = map(float, values)
    try:
        return clip_to_picture(left, top, left + w, top + h, height, width)
    except ValueError as reason:
        raise AnnotationError(f"{where}: 'bbox' {shown(values)} {reason}") from None


def get_mask(content: Any, height: int, width: int, where: str) -> Rle:
    """Field ``segmentation``, run lengths of a mask of the picture's size, which are checked and not unpacked."""
    segmentation, where = get_field(content, "segmentation", dict, where), f"{where}: 'segmentation'"
    size, counts = get_field(segmentation, "size", list, where), segmentation.get("counts")
    if len(size) != 2 or not _are_whole(size):
        raise AnnotationError(f"{where}: 'size' is {shown(size)}; expected height and width")
    if isinstance(counts, list) and _are_whole(counts):
        counts = tuple(counts)
    elif not isinstance(counts, str):
        kind = type(counts).__name__
        raise AnnotationError(f"{where}: 'counts' is a {kind}; expected a text, or a list of whole numbers")
    if size != [height, width]:
        raise AnnotationError(f"{where} is of {size}, not [{height}, {width}]; expected the picture's size")
    return Rle(height, width, counts)


def get_size(content: Any, where: str) -> tuple[int, int]:
    """Fields ``height`` and ``width``, pixels, both whole numbers of at least 1; 640.0 is one."""
    height, width = (get_field(content, name, float, where) for name in ("height", "width"))
    if min(height, width) < 1 or height % 1 or width % 1:
        raise AnnotationError(f"{where}: the size is {width:g} x {height:g}; expected positive whole numbers")
    return int(height), int(width)


def shown(value: Any) -> str:
    """A value as a message quotes it: short, in one line."""
    text = " ".join(repr(value)[:200].split())
    return text if len(text) <= 60 else text[:57] + "..."


def _are_whole(values: list) -> bool:
    return all(isinstance(value, int) and not isinstance(value, bool) for value in values)


def _is_number(value: Any) -> bool:
    """Finite, and no bool."""
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number beyond float's range
        return False
