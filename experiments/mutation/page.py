"""The page about mutants: how many the tests notice, and why each of the others changes nothing that a test could see.

    python -m experiments.mutation.page

Fills the tables of ``docs/mutation.md`` from ``docs/mutation/mutants.csv``.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.mutation.explained import EXPLAINED
from experiments.mutation.measure import KILLED, RESULTS, TARGETS, WAITS, Row, read_rows
from experiments.script import script
from lvm_mtc.report.pages import fill_file, table

PAGE = Path("docs/mutation.md")


def tables(rows: Sequence[Row]) -> dict[str, str]:
    """Markdown tables by the name of their place.

    Args:
        rows: All results.

    Raises:
        ValueError: if a surviving mutant has no explanation, or an explained one does not survive.
    """
    alive = {(row.file, row.function, row.mutant): row for row in rows if row.status not in (KILLED, WAITS)}
    wrong = [*(alive.keys() - EXPLAINED.keys()), *(EXPLAINED.keys() - alive.keys())]
    if wrong:
        raise ValueError(
            "survives without an explanation, or is explained and does not survive: {}: {}: {}".format(*wrong[0])
        )
    return {"files": _files(rows), "survivors": _survivors(alive)}


def _files(rows: Sequence[Row]) -> str:
    lines = []
    for file, tests in TARGETS.items():
        own = [row for row in rows if row.file == file]
        run = [row for row in own if row.status != WAITS]
        killed = sum(row.status == KILLED for row in run)
        share = f"{100 * killed / len(run):.1f} %" if run else "-"
        lines.append((f"`{file}`", ", ".join(tests), len(own), len(run), killed, len(run) - killed, share))
    return table(("file", "tests", "mutants", "run", "noticed", "not noticed", "share"), lines)


def _survivors(alive: Mapping[tuple[str, str, str], Row]) -> str:
    lines = []
    for key, row in sorted(alive.items(), key=lambda item: (item[1].file, item[1].line)):
        lines.append((f"`{row.file}`", f"`{row.function or 'top'}`", f"`{row.mutant}`", EXPLAINED[key]))
    return table(("file", "function", "mutant", "why nothing notices"), lines)


@script(results="results, a line a mutant", page="the page")
def main(results: Path = RESULTS, page: Path = PAGE):
    """Fill the tables of the page about mutants."""
    fill_file(page, tables(read_rows(results)))


if __name__ == "__main__":
    sys.exit(main())
