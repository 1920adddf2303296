"""Tables of results as CSV."""

import csv
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lvm_mtc.results.files import atomic_file


def write_csv(path: str | os.PathLike, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows as CSV, numbers with 6 significant digits; the file appears only when it is complete.

    Args:
        path: The file; an older one is replaced.
        rows: One mapping a row, all with the same keys in the same order, which become the header. None is written as
            an empty cell: not measured, not applicable.
    """
    if not rows:
        raise ValueError(f"{path}: no rows to write")
    columns = list(rows[0])
    for number, row in enumerate(rows):
        if list(row) != columns:
            raise ValueError(f"{path}: row {number} has columns {list(row)}, the first row has {columns}")
    with atomic_file(path) as temporary:
        write_table(temporary, {column: [row[column] for row in rows] for column in columns}, _cell)


def write_table(path: Path, columns: Mapping[str, Sequence[Any]], cell: Callable[[Any], Any]) -> None:
    """Writes columns of one length as CSV, each value as ``cell`` gives it."""
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(map(cell, row) for row in zip(*columns.values(), strict=True))


def read_csv(path: str | os.PathLike) -> list[dict[str, Any]]:
    """Reads what ``write_csv`` wrote: numbers as float, empty cells as None, the rest as text."""
    with open(path, newline="", encoding="utf-8") as stream:
        return [{key: _value(text) for key, text in row.items()} for row in csv.DictReader(stream)]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    number = float(value)
    return str(int(number)) if math.isfinite(number) and number == int(number) else f"{number:.6g}"


def _value(text: str) -> Any:
    if text == "":
        return None
    try:
        return float(text)
    except ValueError:
        return text
