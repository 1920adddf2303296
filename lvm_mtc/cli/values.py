"""Types of flag values for ``argparse``: each refuses with what was given and what would be right."""

import argparse
import json
import math
import struct
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

from lvm_mtc.config import unknown_name_message

_MOST_IN_A_RANGE = 10_000


class Range(NamedTuple):
    """Finite numbers from ``low`` to ``high`` that lie there in single precision too, in which programs compute.

    ``low`` itself and ``high`` are excluded where they are open.
    """

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False

    def fault(self, value: float) -> str:
        """Why a number is none of these, as in "not a number in [0, 1)"; empty if it is one."""
        if not self._holds(value):
            return f"not {self}"
        return "" if self._holds(single(value)) else f"not {self} in single precision"

    def _holds(self, value: float) -> bool:
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return math.isfinite(value) and above and below

    def __str__(self) -> str:
        if math.isinf(self.low) and math.isinf(self.high):
            return "a finite number"
        if math.isinf(self.high):
            return f"a finite number {'>' if self.low_open else '>='} {self.low:g}"
        return f"a number in {'(['[not self.low_open]}{self.low:g}, {self.high:g}{')]'[not self.high_open]}"


def single(value: float) -> float:
    """A number rounded to single precision; infinite where it is too large for that."""
    try:
        return struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)


RANGES = {
    "snr_db": Range(-50, 100),
    "csi_error_var": Range(0, 1e6),
    "mask_prob": Range(0, 1, low_open=True, high_open=True),
    "alpha": Range(0, 1),
    "beta": Range(0, 8),
    "epsilon": Range(0),
    "keep": Range(0, 1, low_open=True),
    "importance_db": Range(0, 60),
    "overlap": Range(0, 1, high_open=True),
    "above_zero": Range(0, low_open=True),
    "carrier": Range(0.5e9, 100e9),
    "width": Range(1, 100),
}
"""What flags and the file of a sweep allow."""


def number(name: str) -> Callable[[str], float]:
    """Converts a number of one of ``RANGES``."""

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
        if fault := RANGES[name].fault(value):
            raise argparse.ArgumentTypeError(f"{text} is {fault}")
        return value

    return convert


def numbers(name: str) -> Callable[[str], tuple[float, ...]]:
    """Converts numbers of one of ``RANGES``, different in single precision; ``0:20:5`` stands for 0,5,10,15,20."""
    convert_one = number(name)

    def convert(text: str) -> tuple[float, ...]:
        numbers = [convert_one(part) for given in _parts(text, "0,5,10") for part in _range_of(given, text)]
        _different([single(value) for value in numbers], text)
        return tuple(numbers)

    return convert


def wholes(low: int, high: int | None = None) -> Callable[[str], tuple[int, ...]]:
    """Converts a list of different whole numbers with commas between; ``high`` None: without limit."""
    convert_one = whole(low, high)
    return lambda text: _different([convert_one(part) for part in _parts(text, "1,2,5")], text)


def whole(low: int, high: int | None = None) -> Callable[[str], int]:
    """Converts a whole number in a range; ``high`` None: without limit."""

    def convert(text: str) -> int:
        wanted = f"a whole number >= {low}" if high is None else f"a whole number in {low} ... {high}"
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}") from None
        if value < low or (high is not None and value > high):
            raise argparse.ArgumentTypeError(f"{text} is not {wanted}")
        return value

    return convert


def picture_size(text: str) -> str:
    """A size of pictures: ``codec``, ``native``, a side ``N`` or height and width ``HxW``, 16 pixels or more."""
    sides = text.split("x")
    if text not in ("codec", "native") and not (len(sides) <= 2 and all(_is_side(side) for side in sides)):
        raise argparse.ArgumentTypeError(f"{text!r} is not codec, native, or pixels as N or HxW, 16 to 8192 each")
    return text


def _is_side(text: str) -> bool:
    return text.isascii() and text.isdigit() and 16 <= int(text[:9]) <= 8192


def choice(*known: str) -> Callable[[str], str]:
    """Converts one of the known names."""

    def convert(text: str) -> str:
        if text not in known:
            raise argparse.ArgumentTypeError(unknown_name_message(repr(text), text, known))
        return text

    return convert


def choices(*known: str) -> Callable[[str], tuple[str, ...]]:
    """Converts a list of different known names with commas between."""
    convert_one = choice(*known)
    return lambda text: _different([convert_one(part) for part in _parts(text, ",".join(known[:2]))], text)


def assignment(text: str) -> tuple[str, Any]:
    """Converts ``a.b=value`` to dotted name and value, which is read as JSON where it is JSON, else as text."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form FIELD=VALUE")
    try:
        return name.strip(), json.loads(value)
    except (ValueError, RecursionError):
        return name.strip(), value


def _parts(text: str, example: str) -> list[str]:
    parts = [part.strip() for part in text.split(",")]
    if "" in parts:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list such as {example}")
    return parts


def _range_of(part: str, text: str) -> list[str]:
    """``first:last:step`` as the numbers that it stands for; anything else as it is."""
    if ":" not in part:
        return [part]
    try:
        first, last, step = (Decimal(number) for number in part.split(":"))
        count = float((last - first) / step)
    except (ValueError, ArithmeticError):
        count = math.nan
    if not math.isfinite(count):
        raise argparse.ArgumentTypeError(f"{text!r}: {part!r} is not a range such as 0:20:5")
    if not 0 <= count < _MOST_IN_A_RANGE:
        raise argparse.ArgumentTypeError(
            f"{text!r}: the range {part!r} does not lead from its first to its last number"
            f" in fewer than {_MOST_IN_A_RANGE} steps"
        )
    return [str(first + i * step) for i in range(int((last - first) / step) + 1)]


def _different(items: list, text: str) -> tuple:
    if len(set(items)) != len(items):
        raise argparse.ArgumentTypeError(f"{text!r} names a value twice")
    return tuple(items)
