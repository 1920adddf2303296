"""Pages in Markdown that people write and numbers fill: tables, and the places that they go to.

A place on the page begins with ``<!-- table: NAME -->`` and ends with ``<!-- end -->``; what stands between is
replaced, so that page and numbers cannot drift apart.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lvm_mtc.results.files import atomic_file


def fill_page(page: str, tables: Mapping[str, str]) -> str:
    """Puts tables, by the name of their place, into these places, which must be exactly theirs, once each."""
    names = re.findall(r"<!-- table: (\w+) -->", page)
    if sorted(names) != sorted(tables) or page.count("<!-- end -->") != len(names):
        raise ValueError(
            f"the page has places for {', '.join(sorted(names)) or 'nothing'}; the tables are "
            f"{', '.join(sorted(tables))}"
        )
    pattern = r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)"
    return re.sub(pattern, lambda m: f"{m[1]}{tables[m[2]]}\n{m[3]}", page, flags=re.DOTALL)


def fill_file(path: Path, tables: Mapping[str, str]) -> None:
    """Fills the page in a file, which changes only when the new page is complete."""
    filled = fill_page(path.read_text(), tables)
    with atomic_file(path) as temporary:
        temporary.write_text(filled)


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table, one cell an entry."""
    lines = (head, ["---"] * len(head), *([str(cell).replace("|", r"\|") for cell in row] for row in rows))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value: float, digits: int = 2) -> str:
    """A number with so many digits after the point, never "-0.00"."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def with_interval(value: Sequence[float | None], digits: int = 2) -> str:
    """A mean and, where there is one, the half width of its interval: "29.10 ± 0.21"; further entries are left out."""
    mean, half_width = value[:2]
    return number(mean, digits) + ("" if half_width is None else f" ± {half_width:.{digits}f}")


def channel_name(kind: str) -> str:
    """A kind of fading in words: "awgn" is AWGN, "tdl_c" TDL C, "rayleigh" Rayleigh; capitals behind a "_"."""
    first, *rest = kind.split("_")
    return " ".join((first.upper() if first in ("awgn", "tdl", "cdl") else first.capitalize(), *map(str.upper, rest)))
