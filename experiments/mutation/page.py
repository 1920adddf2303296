"""The page about mutants: how many the tests notice, and why each of the others changes nothing that a test could see.

    python -m experiments.mutation.page

Fills the tables of ``docs/mutation.md`` from ``docs/mutation/mutants.csv``.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.mutation.explained import EXPLAINED
from experiments.mutation.measure import KILLED, RESULTS, TARGETS, Row, read_rows
from experiments.mutation.operators import mutants_of
from experiments.script import script
from lvm_mtc.report.pages import fill_file, table

PAGE = Path("docs/mutation.md")


def tables(rows: Sequence[Row], sizes: Mapping[str, int]) -> dict[str, str]:
    """Markdown tables by the name of their place.

    Args:
        rows: All results.
        sizes: Mutants that each file has.

    Raises:
        ValueError: if a surviving mutant has no explanation, or an explained one does not survive.
    """
    alive = {(row.file, row.function, row.mutant): row for row in rows if row.status != KILLED}
    wrong = [*(alive.keys() - EXPLAINED.keys()), *(EXPLAINED.keys() - alive.keys())]
    if wrong:
        raise ValueError(
            "survives without an explanation, or is explained and does not survive: {}: {}: {}".format(*wrong[0])
        )
    return {"files": _files(rows, sizes), "survivors": _survivors(alive)}


def _files(rows: Sequence[Row], sizes: Mapping[str, int]) -> str:
    lines = []
    for file, size in sizes.items():
        own = [row for row in rows if row.file == file]
        killed = sum(row.status == KILLED for row in own)
        share = f"{100 * killed / len(own):.1f} %" if own else "-"
        lines.append((f"`{file}`", ", ".join(TARGETS[file]), size, len(own), killed, len(own) - killed, share))
    return table(("file", "tests", "mutants", "run", "noticed", "not noticed", "share"), lines)


def _survivors(alive: Mapping[tuple[str, str, str], Row]) -> str:
    lines = []
    for key, row in sorted(alive.items(), key=lambda item: (item[1].file, item[1].line)):
        lines.append((f"`{row.file}`", f"`{row.function or 'top'}`", f"`{row.mutant}`", EXPLAINED[key]))
    return table(("file", "function", "mutant", "why nothing notices"), lines)


@script(results="results, a line a mutant", page="the page")
def main(results: Path = RESULTS, page: Path = PAGE):
    """Fill the tables of the page about mutants."""
    sizes = {file: len(mutants_of(Path(file).read_text())) for file in TARGETS}
    fill_file(page, tables(read_rows(results), sizes))


if __name__ == "__main__":
    sys.exit(main())
