"""Annotation files in JSON: reading them, and naming what is missing or wrong in them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from lvm_mtc.data.images import check_regular_file

_KINDS = {int: "a whole number", float: "a number", str: "a text", list: "a list", dict: "an object"}


def read_json_object(path: Path, error: type[ValueError], max_bytes: int) -> dict[str, Any]:
    """Reads a file that holds one JSON object.

    Args:
        path: The file.
        error: What to raise.
        max_bytes: Largest file that is parsed.

    Returns:
        The object.

    Raises:
        ValueError: of type ``error``, in one line, if the file is missing, larger, no JSON or no object.
    """
    check_regular_file(path, error)
    size = path.stat().st_size
    if size > max_bytes:
        raise error(f"{path}: {size} bytes is too large; expected at most {max_bytes} bytes")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError, OSError) as reason:
        text = " ".join(str(reason).split())
        raise error(f"{path}: is not JSON, or cut off ({text}); expected one object") from reason
    if not isinstance(content, dict):
        raise error(f"{path}: holds a {type(content).__name__}; expected one object")
    return content


def get_field(content: Any, name: str, kind: type, where: str, error: type[ValueError]) -> Any:
    """One field of an object.

    Args:
        content: The object.
        name: The field's name.
        kind: int, float, str, list or dict; an int is also a float, a bool is neither; numbers must be finite.
        where: File and place, for the message.
        error: What to raise.

    Returns:
        The value, converted to float where ``kind`` is float.

    Raises:
        ValueError: of type ``error``, in one line, if ``content`` is no object, or the field is missing or of another
            kind.
    """
    if not isinstance(content, dict):
        raise error(f"{where} is {shown(content)}; expected an object with {name!r}")
    if name not in content:
        raise error(f"{where} has no {name!r}; expected {_KINDS[kind]} there")
    value = content[name]
    right = _is_number(value) if kind is float else isinstance(value, kind) and not isinstance(value, bool)
    if not right:
        raise error(f"{where}: {name!r} is {shown(value)}; expected {_KINDS[kind]}")
    return float(value) if kind is float else value


def get_corner_box(
    content: Any, name: str, height: int, width: int, where: str, error: type[ValueError]
) -> tuple[float, float, float, float]:
    """A box ``[left, top, width, height]``, as COCO and SA-1B write it, clipped to the picture.

    Args:
        content: The object that has the box.
        name: The field's name.
        height: Picture height, pixels.
        width: Picture width, pixels.
        where: File and place, for the message.
        error: What to raise.

    Returns:
        ``(x, y, w, h)``, centre, pixels; pixel i covers [i, i + 1).

    Raises:
        ValueError: of type ``error``, if it is no four finite numbers, has no area, or reaches outside the picture by
            more than one pixel (the published files round).
    """
    values = get_field(content, name, list, where, error)
    if len(values) != 4 or not all(_is_number(value) for value in values):
        raise error(f"{where}: {name!r} is {shown(values)}; expected four numbers (left, top, width, height)")
    left, top, w, h = map(float, values)
    if w <= 0 or h <= 0:
        raise error(f"{where}: {name!r} is {shown(values)}; expected a width and height above 0")
    right, bottom = left + w, top + h
    if left < -1 or top < -1 or right > width + 1 or bottom > height + 1:
        raise error(f"{where}: {name!r} {shown(values)} reaches outside the picture of {width} x {height} pixels")
    left, top, right, bottom = max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height))
    if right <= left or bottom <= top:
        raise error(f"{where}: {name!r} {shown(values)} lies outside the picture of {width} x {height} pixels")
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top


def get_size(content: Any, where: str, error: type[ValueError]) -> tuple[int, int]:
    """Fields ``height`` and ``width``, both at least 1, pixels."""
    height, width = (get_field(content, name, int, where, error) for name in ("height", "width"))
    if height < 1 or width < 1:
        raise error(f"{where}: the size is {width} x {height}; expected positive whole numbers")
    return height, width


def shown(value: Any) -> str:
    """A value as a message quotes it: short, in one line."""
    text = " ".join(repr(value)[:200].split())
    return text if len(text) <= 60 else text[:57] + "..."


def _is_number(value: Any) -> bool:
    """Finite, and no bool."""
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number beyond float's range
        return False
