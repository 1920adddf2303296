"""Types of flag values: each refuses with what was given and what would be right."""

import argparse
import json
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from lvm_mtc.config import unknown_name_message

_MOST_IN_A_RANGE = 10_000


def number(
    low: float = -math.inf, high: float = math.inf, *, low_open: bool = False, high_open: bool = False
) -> Callable[[str], float]:
    """A finite number in a range.

    Args:
        low: Smallest value.
        high: Largest value.
        low_open: Exclude ``low``.
        high_open: Exclude ``high``.

    Returns:
        Converter for ``argparse``.
    """

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
        too_low = value <= low if low_open else value < low
        too_high = value >= high if high_open else value > high
        if not math.isfinite(value) or too_low or too_high:
            raise argparse.ArgumentTypeError(f"{text} is not {_range(low, high, low_open, high_open)}")
        return value

    return convert


def numbers(low: float = -math.inf, high: float = math.inf) -> Callable[[str], tuple[float, ...]]:
    """A list of different finite numbers with commas between; ``0:20:5`` stands for 0,5,10,15,20.

    Args:
        low: Smallest value.
        high: Largest value.

    Returns:
        Converter for ``argparse``.
    """
    one = number(low, high)

    def convert(text: str) -> tuple[float, ...]:
        parts = [part for given in _parts(text, "0,5,10") for part in _range_of(given, text)]
        return _different([one(part) for part in parts], text)

    return convert


def wholes(low: int, high: int | None = None) -> Callable[[str], tuple[int, ...]]:
    """A list of different whole numbers with commas between.

    Args:
        low: Smallest value.
        high: Largest value; None for no limit.

    Returns:
        Converter for ``argparse``.
    """
    one = whole(low, high)
    return lambda text: _different([one(part) for part in _parts(text, "1,2,5")], text)


def whole(low: int, high: int | None = None) -> Callable[[str], int]:
    """A whole number in a range.

    Args:
        low: Smallest value.
        high: Largest value; None for no limit.

    Returns:
        Converter for ``argparse``.
    """

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


def choice(*known: str) -> Callable[[str], str]:
    """One of some names.

    Args:
        *known: The names.

    Returns:
        Converter for ``argparse``.
    """

    def convert(text: str) -> str:
        if text not in known:
            raise argparse.ArgumentTypeError(unknown_name_message(repr(text), text, known))
        return text

    return convert


def choices(*known: str) -> Callable[[str], tuple[str, ...]]:
    """A list of different names with commas between.

    Args:
        *known: The names.

    Returns:
        Converter for ``argparse``.
    """
    one = choice(*known)
    return lambda text: _different([one(part) for part in _parts(text, ",".join(known[:2]))], text)


def assignment(text: str) -> tuple[str, Any]:
    """``a.b=value``; the value is read as JSON where it is JSON, else as text.

    Args:
        text: Of the flag.

    Returns:
        Dotted name and value.

    Raises:
        argparse.ArgumentTypeError: without a name or an equals sign.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form FIELD=VALUE")
    try:
        return name.strip(), json.loads(value)
    except json.JSONDecodeError:
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
        count = (last - first) / step
    except (ValueError, ArithmeticError):
        raise argparse.ArgumentTypeError(f"{text!r}: {part!r} is not a range such as 0:20:5") from None
    if not 0 <= count < _MOST_IN_A_RANGE:
        raise argparse.ArgumentTypeError(f"{text!r}: the range {part!r} does not lead from its first to its last number"
                                         f" in fewer than {_MOST_IN_A_RANGE} steps")
    return [str(first + i * step) for i in range(int(count) + 1)]


def _different(items: list, text: str) -> tuple:
    if len(set(items)) != len(items):
        raise argparse.ArgumentTypeError(f"{text!r} names a value twice")
    return tuple(items)


def _range(low: float, high: float, low_open: bool, high_open: bool) -> str:
    if math.isinf(low) and math.isinf(high):
        return "a finite number"
    if math.isinf(high):
        return f"a finite number {'>' if low_open else '>='} {low:g}"
    return f"a number in {'(' if low_open else '['}{low:g}, {high:g}{')' if high_open else ']'}"
