"""Mutants: which faults there are, that they reach the tests, and that the page says what was measured."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.mutation.measure import KILLED, SURVIVED, TARGETS, Row, read_rows, still_there, write_rows
from experiments.mutation.operators import mutants_of
from experiments.mutation.page import read_reasons, tables
from lvm_mtc.report.pages import fill_page

ROOT = Path(__file__).resolve().parents[2]
SOURCE = '''"""A file."""
LIMIT: int | None = 3


@decorated(static=1)
def f(x: int | float, low=0.0) -> "int | float":
    """Says 1 + 1."""
    check(x)
    if x is None or x < low:
        raise ValueError(f"low {low + 1} " "text")
    return np.conj(x) * 2 if x[..., -1].any() else "a"
'''
NAMES = {
    "3 → 4", "0.0 → 1.0", "check(x) → pass", "x is None or x < low → True", "x is None or x < low → False",
    "x is None or x < low → x is None and x < low", "x is None or x < low → x is None",
    "x is None or x < low → x < low", "x is None → x is not None", "x < low → x <= low", "x < low → x >= low",
    "raise ValueError(f'low {low + 1} text') → pass", "np.conj(x) * 2 → np.conj(x) / 2", "np.conj(x) → x", "2 → 3",
    "-1 → -2", "x[..., -1].any() → x[..., -1].all()", "'a' → 'aXX'",
    "np.conj(x) * 2 if x[..., -1].any() else 'a' → np.conj(x) * 2",
    "np.conj(x) * 2 if x[..., -1].any() else 'a' → 'a'",
}  # fmt: skip


def test_mutants_are_single_faults_outside_of_annotations_texts_and_decorators():
    found = mutants_of(SOURCE)
    assert {mutant.name for mutant in found} == NAMES and len(found) == len(NAMES)
    for mutant in found:
        changed = ast.dump(ast.parse(mutant.source))
        assert changed != ast.dump(ast.parse(SOURCE)), mutant.name
        different = sum(a != b for a, b in zip(mutant.source.splitlines(), SOURCE.splitlines(), strict=False))
        assert different == 1, mutant.name


def test_results_outlive_annotations_but_not_changes_of_the_function():
    rows = [Row("a.py", m.function, m.name, m.digest, m.line, KILLED, "t") for m in mutants_of(SOURCE)]
    retyped = SOURCE.replace("x: int | float,", "x: float,").replace("Says 1 + 1.", "Says.")
    assert still_there(rows, "a.py", mutants_of(retyped)) == rows
    left = still_there(rows, "a.py", mutants_of(SOURCE.replace("check(x)", "check(x, x)")))
    assert [row.mutant for row in left] == ["3 → 4"]
    assert still_there(rows, "b.py", []) == rows


@pytest.mark.slow
def test_mutants_reach_the_tests(tmp_path):
    (tmp_path / "test_it.py").write_text(
        "from lvm_mtc.results.hashing import params_hash\n"
        "def test_ok(): pass\n"
        "def test_bytes(): assert params_hash({'a': 1}) != params_hash({'a': 2})\n"
    )
    code = f"""
from collections import Counter
from pathlib import Path
from experiments.mutation.measure import run_tests
file = Path({str(ROOT / "lvm_mtc/results/hashing.py")!r})
source = file.read_text()
mutant = source.replace("digest.update(np.ascontiguousarray(leaf).tobytes())", "pass")
assert mutant != source
for text in (source, mutant, "import nothing_of_this_name"):
    print(run_tests(file, text, ({str(tmp_path / "test_it.py")!r},), Counter(), 60.0))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    whole, mutant, broken = map(ast.literal_eval, done.stdout.splitlines())
    assert whole == (SURVIVED, "")
    assert mutant[0] == KILLED and mutant[1].endswith("test_it.py::test_bytes")
    assert broken == (KILLED, "import")


def test_page_and_results_agree(tmp_path):
    rows = read_rows(ROOT / "docs" / "mutation" / "mutants.csv")
    reasons = read_reasons(ROOT / "docs" / "mutation" / "explained.csv")
    page = (ROOT / "docs" / "mutation.md").read_text()
    assert fill_page(page, tables(rows, reasons)) == page and {row.file for row in rows} == set(TARGETS)
    write_rows(tmp_path / "rows.csv", rows)
    assert read_rows(tmp_path / "rows.csv") == rows
    alive = next(row for row in rows if (row.file, row.function, row.mutant) in reasons)
    with pytest.raises(ValueError, match="does not survive"):
        tables([row for row in rows if row != alive], reasons)
