"""The site: what its pages are made of, and that every public name has a docstring."""

import dataclasses
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import lvm_mtc
from lvm_mtc.schemes import SCHEMES

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))

import check_site  # noqa: E402
import site_pages  # noqa: E402

ROOMS = ("phy", "link", "schemes", "sweep", "results", "metrics", "zoo", "training", "rendering")


def modules_of(room: str) -> list[ModuleType]:
    """All of a room's, with the room itself."""
    package = importlib.import_module(f"lvm_mtc.{room}")
    parts = pkgutil.walk_packages(getattr(package, "__path__", ()), package.__name__ + ".")
    return [package, *(importlib.import_module(part.name) for part in parts)]


def undocumented(module: ModuleType) -> list[str]:
    """Names of a module, its functions, classes, methods and properties that lack a docstring of their own."""
    missing = [] if inspect.getdoc(module) else [module.__name__]
    for name, thing in site_pages.public_names(module).items():
        if not (inspect.isclass(thing) or inspect.isroutine(thing)):
            continue
        made_up = inspect.isclass(thing) and (thing.__doc__ or "").startswith(f"{thing.__name__}(")
        if not (thing.__doc__ or "").strip() or (
            made_up and (dataclasses.is_dataclass(thing) or hasattr(thing, "_fields"))
        ):
            missing.append(f"{module.__name__}.{name}")
        for member, part in vars(thing).items() if inspect.isclass(thing) else ():
            is_method = inspect.isroutine(part) or isinstance(part, (property, classmethod, staticmethod))
            if is_method and not member.startswith("_") and not inspect.getdoc(getattr(thing, member)):
                missing.append(f"{module.__name__}.{name}.{member}")
    return missing


@pytest.mark.parametrize("room", ROOMS)
def test_public_names_have_docstrings(room):
    modules = modules_of(room)
    assert [name for module in modules for name in undocumented(module)] == []
    assert sum(len(site_pages.public_names(module)) for module in modules) >= 2


def test_missing_docstrings_are_seen():
    made = ModuleType("made", "A module.")
    code = """
import dataclasses, typing
def bare(): ...
class Bare: ...
@dataclasses.dataclass
class Fields:
    x: int = 0
class Row(typing.NamedTuple):
    x: int
class Told:
    "With one."
    def method(self): ...
    @property
    def value(self): return 1
    def _own(self): ...
def told():
    "With one."
"""
    exec(code, vars(made))
    bare = ["bare", "Bare", "Fields", "Row", "Told.method", "Told.value"]
    assert undocumented(made) == [f"made.{name}" for name in bare]


def test_the_api_has_every_room_and_every_scheme():
    pages = {
        page.stem: site_pages.complete(f"api/{page.stem}", page.read_text()) for page in (DOCS / "api").glob("*.md")
    }
    assert set(pages) == {"index", *ROOMS}
    found = {module for text in pages.values() for module in re.findall(r"automodule:: (\S+)", text)}
    for room in ("schemes", "sweep", "results", "metrics"):
        assert {module.__name__ for module in modules_of(room) if site_pages.public_names(module)} <= found
    assert {place.partition(":")[0] for place in SCHEMES.values()} <= found
    assert "| `EQUALIZERS` | `'paper'`, " in pages["phy"] and "| `METRICS` | `'pictures'`" in pages["metrics"]
    # Each thing once: what a package offers is not repeated at the module that has it.
    assert re.search(
        r"automodule:: lvm_mtc.training.checkpoint\n +:members:\n +:exclude-members: .*CheckpointError",
        pages["training"],
    )


def test_the_gallery_has_every_figure_with_its_command():
    text = site_pages.gallery()
    figures = {str(path.relative_to(DOCS)) for path in DOCS.glob("*/*.png")}
    assert set(re.findall(r"\{figure\} (.*)", text)) == figures and len(figures) >= 15
    commands = re.findall(r"^    (.*)$", text, re.MULTILINE)
    assert len(commands) == len(figures)
    assert "python -m experiments.results.page --store docs/results/results.sqlite --out docs" in commands


def test_every_page_stands_in_a_toctree():
    listed = {
        line
        for block in re.findall(r"```\{toctree\}\n(.*?)```", (DOCS / "index.md").read_text(), re.DOTALL)
        for line in block.splitlines()
    }
    pages = {
        page.relative_to(DOCS).with_suffix("").as_posix() for page in (*DOCS.glob("*.md"), *DOCS.glob("notebooks/*.md"))
    }
    assert pages - {"index"} <= listed, "give the new page a line in docs/index.md"


def test_files_of_a_page_are_written_and_run():
    page = "`a.py`:\n\n```python\nx = 1\n```\n\n`b.py`:\n\n```python\nimport a\n```\n\nMore.\n"
    cells = re.findall(r"```\{code-cell\}\n(.*?)```", site_pages.run_files(page), re.DOTALL)
    assert cells == ["%%writefile a.py\nx = 1\n", "%%writefile b.py\nimport a\n", "%run b.py\n"]
    with pytest.raises(ValueError, match="no files"):
        site_pages.run_files("Nothing.")


def test_own_fading_in_a_sweep_is_one_click_from_the_front_page():
    (link,) = re.findall(r"my own fading function in a sweep.*\]\((.*)\)", (DOCS / "index.md").read_text())
    page, anchor = link.split("#")
    assert anchor == "your-own-fading-function"
    assert "## Your own fading function" in (DOCS / page).read_text()


def test_links_that_lead_nowhere_are_found(tmp_path):
    (tmp_path / "a.html").write_text(
        '<p id="here"></p><a href="b.html#there"></a><a href="#here"></a><img src="c.png">'
    )
    (tmp_path / "b.html").write_text(
        '<a href="https://example.org/x"></a><a href="a.html#here"></a><a href="../d.html"></a>'
    )
    assert check_site.broken_links(tmp_path) == ["a.html: b.html#there", "a.html: c.png", "b.html: ../d.html"]
    (tmp_path / "b.html").write_text('<p id="there"></p>')
    (tmp_path / "c.png").write_bytes(b"")
    assert check_site.broken_links(tmp_path) == []
    with pytest.raises(ValueError, match="no pages"):
        check_site.broken_links(tmp_path / "nothing")


def test_notebooks_hold_no_outputs_and_check_what_they_say():
    for page in (DOCS / "notebooks").glob("*.md"):
        text = page.read_text()
        assert (
            text.startswith("---\nfile_format: mystnb\n") and "```{code-cell}" in text and "output" not in text.lower()
        )
        assert "assert " in text, page
    assert {"first_link", "own_channel", "sweep", "tour", "train_on_a_gpu", "figures_of_papers"} <= {
        page.stem for page in (DOCS / "notebooks").glob("*.md")
    }
    cells = site_pages.complete("add_a_scheme", (DOCS / "add_a_scheme.md").read_text())
    assert cells.startswith(site_pages.KERNEL) and "%run study.py" in cells


def test_every_study_of_a_paper_has_a_figure_on_their_page():
    text = (DOCS / "notebooks" / "figures_of_papers.md").read_text()
    studies = {study.name for study in (ROOT / "lvm_mtc" / "schemes").iterdir() if (DOCS / study.name).is_dir()}
    drawn = set(re.findall(r'(?:stored|results)\("(\w+)"', text))
    assert studies <= drawn and drawn <= {folder.name for folder in DOCS.iterdir()}, studies - drawn
    sections = text.split("\n## ")[1:]
    assert all("```{code-cell}" in part and "iffers: " in part for part in sections) and len(sections) >= 14


def test_the_citation_has_this_version():
    assert f"version: {lvm_mtc.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"Version {lvm_mtc.__version__}," in (DOCS / "citation.md").read_text()


def test_the_package_is_a_command():
    command = [sys.executable, "-m", "lvm_mtc"]
    done = subprocess.run([*command, "--version"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, f"lvm-mtc {lvm_mtc.__version__}\n")
    wrong = subprocess.run([*command, "results", "list"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert wrong.returncode == 2 and wrong.stderr.startswith("lvm-mtc: error: ")
