"""Run the tests of a file against each of its mutants.

    python -m experiments.mutation.measure [--minutes 9] [--only lvm_mtc/phy/csi.py]

A process that has imported what the tests need forks for each mutant, puts the mutant in the file's place and runs the
tests until one fails, those first that noticed most mutants before. Results go to ``docs/mutation/mutants.csv``; a run
that was ended goes on where it was, mutants of functions that have changed are run again, and ``--survivors`` runs
those again that were not noticed, for tests that are new.
"""

import contextlib
import csv
import importlib
import importlib.abc
import importlib.util
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from experiments.mutation.operators import Mutant, mutants_of
from experiments.script import script
from lvm_mtc.results.files import atomic_file

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path("docs/mutation/mutants.csv")
TARGETS = {
    "lvm_mtc/link/ledger.py": ("tests/link/test_ledger.py",),
    "lvm_mtc/phy/csi.py": ("tests/phy/test_csi.py",),
    "lvm_mtc/phy/mimo.py": ("tests/phy/test_mimo.py",),
}
"""File to the tests that have to notice its faults."""
IMPORTED_BEFORE = ("flax.linen", "hypothesis", "jax.test_util", "optax", "PIL.Image", "scipy.stats")
KILLED, SURVIVED, TIMED_OUT, WAITS = "killed", "survived", "timed out", "waits"


class Row(NamedTuple):
    """One mutant's result; ``test`` is what noticed it, "import" where the tests could not even be collected."""

    file: str
    function: str
    mutant: str
    digest: str
    line: int
    status: str
    test: str


def read_rows(path: Path) -> list[Row]:
    """All results, in the order of the file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [Row(**row | {"line": int(row["line"])}) for row in csv.DictReader(file)]


def write_rows(path: Path, rows: list[Row]) -> None:
    """Writes results whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([Row._fields, *rows])


class _Mutated(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):
    """Gives a module another source."""

    def __init__(self, file: Path, source: str):
        self.file, self.source = file, source
        self.name = ".".join(file.relative_to(ROOT).with_suffix("").parts)

    def find_spec(self, fullname, path, target=None):
        return importlib.util.spec_from_loader(fullname, self) if fullname == self.name else None

    def get_filename(self, fullname):
        return str(self.file)

    def get_data(self, path):
        return self.source.encode()

    def path_stats(self, path):
        raise OSError  # no compiled file


class _Watch:
    """Pytest plugin: the best tests first, and which failed."""

    def __init__(self, best: Counter):
        self.best, self.failed = best, ""

    def pytest_collection_modifyitems(self, items):
        items.sort(key=lambda item: -self.best[item.nodeid])

    def pytest_runtest_logreport(self, report):
        if report.failed and not self.failed:
            self.failed = report.nodeid


def run_tests(file: Path, source: str, tests: tuple[str, ...], best: Counter, seconds: float) -> tuple[str, str]:
    """Status and the test that failed, of the tests with another source in the file's place, in a fork."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        with open(os.devnull, "w") as null:
            os.dup2(null.fileno(), 1)
            os.dup2(null.fileno(), 2)
        sys.meta_path.insert(0, _Mutated(file, source))
        watch, status = _Watch(best), 3
        with contextlib.suppress(BaseException):
            import pytest

            chosen = ["-m", "not sionna and not parity"]  # the slow ones, too
            status = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--tb=no", *chosen, *tests], plugins=[watch])
        os.write(writer, f"{int(status)}\n{watch.failed or 'import'}".encode())
        os._exit(0)
    os.close(writer)
    ended = time.monotonic() + seconds
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > ended:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(reader)
            return TIMED_OUT, ""
        time.sleep(0.02)
    with os.fdopen(reader) as pipe:
        status, _, failed = pipe.read().partition("\n")
    return (SURVIVED, "") if status == "0" else (KILLED, failed)


def still_there(rows: list[Row], file: str, mutants: list[Mutant]) -> list[Row]:
    """Rows of other files, and those of this one whose function has not changed since."""
    there = {(mutant.function, mutant.name, mutant.digest) for mutant in mutants}
    return [row for row in rows if row.file != file or (row.function, row.mutant, row.digest) in there]


def _prepare() -> None:
    """Imports what the tests import but the library, under the tests' settings."""
    spec = importlib.util.spec_from_file_location("conftest", ROOT / "tests" / "conftest.py")
    spec.loader.exec_module(sys.modules.setdefault(spec.name, importlib.util.module_from_spec(spec)))
    for name in IMPORTED_BEFORE:
        importlib.import_module(name)
    for name in [name for name in sys.modules if name.partition(".")[0] == "lvm_mtc"]:
        del sys.modules[name]


def measure_file(file: str, out: Path, until: float, *, survivors: bool) -> bool:
    """Runs what is missing of a file's mutants; whether there was time for all."""
    source, tests = (ROOT / file).read_text(), TARGETS[file]
    mutants = mutants_of(source)
    again = (WAITS, SURVIVED, TIMED_OUT) if survivors else (WAITS,)
    rows = [row for row in still_there(read_rows(out), file, mutants) if row.file != file or row.status not in again]
    known = {(row.function, row.mutant) for row in rows if row.file == file}
    left = [mutant for mutant in mutants if (mutant.function, mutant.name) not in known]
    print(f"{file}: {len(mutants)} mutants, {len(left)} to run", flush=True)
    if not left:
        return True
    best = Counter(row.test for row in rows if row.file == file)
    start = time.monotonic()
    status, failed = run_tests(ROOT / file, source, tests, best, 600.0)
    if status != SURVIVED:
        raise ValueError(f"{file}: the tests fail without a mutant ({failed or status})")
    seconds = 30.0 + 5 * (time.monotonic() - start)
    for number, mutant in enumerate(left):
        if time.monotonic() > until:
            return False
        status, failed = run_tests(ROOT / file, mutant.source, tests, best, seconds)
        best[failed] += status == KILLED
        rows.append(Row(file, mutant.function, mutant.name, mutant.digest, mutant.line, status, failed))
        waiting = [Row(file, m.function, m.name, m.digest, m.line, WAITS, "") for m in left[number + 1 :]]
        write_rows(out, sorted([*rows, *waiting]))
        if status != KILLED:
            print(f"{file}:{mutant.line}: {mutant.function}: {mutant.name}: {status}", flush=True)
    return True


@script(
    out="results, a line a mutant",
    only={"choices": TARGETS, "help": "files (default: all)"},
    minutes="begin no mutant after so many",
    survivors="run those again that no test noticed",
)
def main(out: Path = RESULTS, only: tuple[str, ...] = tuple(TARGETS), minutes: float = 9.0, survivors: bool = False):
    """Run the tests of a file against each of its mutants."""
    until = time.monotonic() + 60 * minutes
    _prepare()
    # All files, also where one has no time left: each says what is missing.
    if not all([measure_file(file, out, until, survivors=survivors) for file in only]):
        print("more to run: start it again")


if __name__ == "__main__":
    sys.exit(main())
