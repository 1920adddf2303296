"""What README and docs/ show works: Python runs, commands parse, names lead to something, files exist."""

import importlib
import pkgutil
import re
import shlex
from pathlib import Path

import pytest

from lvm_mtc.cli.errors import UsageError
from lvm_mtc.cli.parser import build_parser
from lvm_mtc.config import from_dict
from lvm_mtc.training.recipe import Recipe

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs/notebooks").glob("*.md")),
)
TEXT = "\n".join(page.read_text() for page in PAGES)
PYTHON = {
    f"{page.stem} {number}": code
    for page in PAGES
    if page.stem not in ("add_a_scheme", "first_hour")  # their snippets are files, and have tests of their own
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
}
LONG = {
    "README 1", "README 2", "channels 2", "coded 0", "coding 1", "constellation 0", "getting_started 1", "phy 2",
    "zoo 0",
}  # fmt: skip
assert LONG <= PYTHON.keys()
CONSOLE = "\n".join(re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL))
INDENTED = "\n".join(re.findall(r"^    (\S+ .*)$", TEXT, re.MULTILINE))
COMMANDS = sorted(set(re.findall(r"^\$ (.*?)(?:\s+#.*)?$", CONSOLE, re.MULTILINE)))
STUDIES = sorted(set(re.findall(r"^\S*python -m (experiments\..*)$", INDENTED, re.MULTILINE)))
TARGETS = set(re.findall(r"(?:^\$ |^|`)make ([a-z][a-z-]*)(?=[ `\n])", f"{CONSOLE}\n{INDENTED}\n{TEXT}", re.MULTILINE))
CODE = re.findall(r"`([^`\n]+)`", TEXT)
# Dotted names from a package's root, and files from the repository's: a room's, "sweep/plan.py", is one too.
NAMES = sorted({m[0] for m in (re.search(r"\b(?:lvm_mtc|experiments)(?:\.\w+)+", code) for code in CODE) if m})
FILES = sorted({m[0] for m in (re.search(r"[\w/]+/\w+\.(?:py|json)\b", code) for code in CODE) if m})
LINKS = re.compile(r"\]\((?!http)([^)#]+)\)")
PATHS = sorted({page.parent / link for page in PAGES for link in LINKS.findall(page.read_text())})
RENAMED = re.findall(r"^\| .* \| (.*) \|$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
NEW_NAMES = sorted({name for cell in RENAMED for name in re.findall(r"`(?!out\.)([a-z]\w*(?:\.\w+)+)[`(]", cell)})


@pytest.mark.usefixtures("fast_compile")
@pytest.mark.parametrize(
    "code", [pytest.param(code, id=name, marks=(pytest.mark.slow,) * (name in LONG)) for name, code in PYTHON.items()]
)
def test_python(code, tmp_path, monkeypatch, capsys):
    """In this process, where jax is loaded already; what a snippet does not import itself it does not have."""
    monkeypatch.chdir(tmp_path)
    scope = {"__name__": "snippet"}
    exec(compile(code, "snippet", "exec"), scope)
    if "get_config" in scope:
        recipe = from_dict(Recipe, scope["get_config"]())
        assert [stage.name for stage in recipe.trained()] == list(recipe.stages)
    else:
        assert capsys.readouterr().out.count("\n") in (1, 2)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("lvm-mtc")])
def test_commands_parse(command):
    arguments = shlex.split(command)[1:]
    if arguments[0] in ("--version", "--help"):
        with pytest.raises(SystemExit, match="0"):
            build_parser().parse_args(arguments)
    else:
        assert callable(build_parser().parse_args(arguments).run)


def test_a_wrong_command_would_be_seen():
    with pytest.raises(UsageError):
        build_parser().parse_args(["transmit", "--images", "a", "--out", "b", "--snr", "3"])


@pytest.mark.parametrize("command", STUDIES)
def test_studies_have_these_flags(command, capsys):
    module, *arguments = shlex.split(command)
    with pytest.raises(SystemExit):
        importlib.import_module(module).main(["--help"])
    flags = {argument.split("=")[0] for argument in arguments if argument.startswith("--")}
    assert flags <= set(re.findall(r"--[a-z-]+", capsys.readouterr().out))


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_make_targets_exist(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_names_lead_to_something(name):
    assert pkgutil.resolve_name(name) is not None


@pytest.mark.parametrize("name", NEW_NAMES)
def test_new_names_of_the_changelog_lead_to_something(name):
    assert pkgutil.resolve_name(name if name.startswith("experiments.") else f"lvm_mtc.{name}") is not None


@pytest.mark.parametrize("file", FILES)
def test_files_exist(file):
    assert any((ROOT / root / file).exists() for root in ("", "lvm_mtc", "docs"))


def test_the_pages_were_read():
    assert len(PYTHON) >= 7 and len(COMMANDS) >= 20 and len(STUDIES) >= 12 and len(TARGETS) >= 5
    assert len(NAMES) >= 12 and len(FILES) >= 20 and len(PATHS) >= 30 and len(NEW_NAMES) >= 15


def test_the_readme_is_one_page():
    assert len(PAGES[0].read_text().splitlines()) <= 150


@pytest.mark.parametrize("path", PATHS, ids=lambda path: str(path.name))
def test_links_lead_somewhere(path):
    assert path.exists()
