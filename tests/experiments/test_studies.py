"""Every study stands for itself, and its scripts run as modules and fail in one line."""

import ast
import importlib
import json
from pathlib import Path

import pytest

from experiments.script import PAGE_ONLY, parser_of, run, script, study

ROOT = Path(__file__).resolve().parents[2] / "experiments"
FILES = [path for path in sorted(ROOT.rglob("*.py")) if "__pycache__" not in path.parts]
SHARED = [[path.stem] for path in ROOT.glob("*.py")]
SCRIPTS = [path for path in FILES if "__main__" in path.read_text()]


def strangers(source, study):
    """What a file of a study imports from another one, and ``sys.path`` where it is touched."""
    wrong = []
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        ours = [name for name in names if name.split(".")[0] == "experiments"]
        wrong += [name for name in ours if name.split(".")[1:2] not in ([study], *SHARED)]
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.path":
            wrong.append("sys.path")
    return wrong


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_study_imports_from_a_stranger(path):
    assert strangers(path.read_text(), path.parent.name) == []


def test_a_stranger_is_seen():
    source = "import sys\nfrom experiments.audit.page import tables\nimport experiments.script\nsys.path.insert(0, 'x')"
    assert strangers(source, "results") == ["experiments.audit.page", "sys.path"]
    assert strangers(source, "audit") == ["sys.path"]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_scripts_say_what_they_take_and_how_they_are_called(path, capsys):
    module = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(module).main(["--help"])
    assert ended.value.code == 0 and f"usage: python -m {module} [-h]" in capsys.readouterr().out


def test_an_error_is_one_line_and_the_status_2(capsys):
    def fail(options):
        raise ValueError("the reason")

    assert run(parser_of("some.script", ""), fail, []) == 2
    assert capsys.readouterr().err == "python -m experiments.some.script: the reason\n"
    assert run(parser_of("some.script", ""), lambda options: None, []) == 0


def test_flags_are_the_parameters(capsys):
    @script(words={"choices": ["a", "b"], "help": "some"}, number="one", much_more="yes or no")
    def main(words: tuple[str, ...] = ("a",), number: int | None = None, much_more: bool = False) -> None:
        """Prints them."""
        print(words, number, much_more)

    assert main([]) == 0 and capsys.readouterr().out == "('a',) None False\n"
    assert main(["--words", "b", "a", "--number", "3", "--much-more"]) == 0
    assert capsys.readouterr().out == "['b', 'a'] 3 True\n"
    with pytest.raises(SystemExit, match="2"):
        main(["--number", "x"])


def test_a_study_fills_its_page_from_its_file_of_results(tmp_path, capsys):
    @script(out="folder", page_only=PAGE_ONLY)
    def main(out: Path = tmp_path / "study", page_only: bool = False) -> None:
        """Does it."""
        drawn.clear()
        study(
            out, page_only, lambda: {"number": 3}, lambda results: {"numbers": str(results["number"])},
            lambda results, folder: drawn.append(folder),
        )  # fmt: skip

    drawn, page = [], tmp_path / "study.md"
    assert main(["--page-only"]) == 2 and "results.json" in capsys.readouterr().err and not drawn
    page.write_text("<!-- table: numbers -->\n<!-- end -->\n")
    assert main([]) == 0 and drawn == [tmp_path / "study"] and capsys.readouterr().out == "3\n"
    assert "3" in page.read_text()
    file = tmp_path / "study" / "results.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"number": 4}))
    assert main(["--page-only"]) == 0 and "4" in page.read_text()
    page.unlink()
    assert main(["--page-only"]) == 0 and capsys.readouterr().out.endswith("4\n")
