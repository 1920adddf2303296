"""Parts of the site that are made from other files: the API pages, the gallery, links that leave docs/.

Plain text in, plain text out; ``conf.py`` hands each page's text through :func:`complete`.
"""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from lvm_mtc.report.html import write_html_report
from lvm_mtc.results.store import ResultStore

DOCS = Path(__file__).resolve().parent
FIGURE = re.compile(r"^!\[(.*)\]\((.*\.png)\)$", re.MULTILINE)
COMMAND = re.compile(r"^ {4}((?:\w+=\S+ )*\S*python -m experiments\..*)$", re.MULTILINE)

KERNEL = "---\nfile_format: mystnb\nkernelspec:\n  name: python3\n  display_name: Python 3\n---\n\n"


def complete(name: str, text: str) -> str:
    """A page as the site has it.

    Args:
        name: The page, as Sphinx names it: ``"api/phy"``.
        text: Of its file.
    """
    text = re.sub(r"^<!-- file: (.*) -->$", lambda found: repository_file(found[1]), text, flags=re.MULTILINE)
    text = text.replace("](../CHANGELOG.md)", "](changelog.md)")
    text = re.sub(r"^<!-- api: (.*) -->$", lambda found: api(found[1].split()), text, flags=re.MULTILINE)
    text = text.replace("<!-- gallery -->", gallery()) if name == "gallery" else text
    return run_files(text) if name == "add_a_scheme" else text


def write_front_report(site: Path) -> None:
    """The report that the front page opens, ``front.html`` in a built site."""
    with ResultStore(DOCS / "front" / "front.sqlite", create=False) as store:
        write_html_report(store, site / "front.html", title="Every scheme with weights, over the same links")


def repository_file(name: str) -> str:
    """A file beside docs/ without its title, with links as a page has them."""
    text = (DOCS.parent / name).read_text().split("\n", 1)[1]
    return text.replace("](docs/", "](").replace("](CHANGELOG.md)", "](changelog.md)")


def run_files(text: str) -> str:
    """A page of files as a notebook: each Python block is written under the name before it, and the last one is run."""
    text, count = re.subn(r"`(\w+\.py)`:\n\n```python\n", r"`\1`:\n\n```{code-cell}\n%%writefile \1\n", text)
    names = re.findall(r"^%%writefile (.*)$", text, re.MULTILINE)
    if not count:
        raise ValueError("the page has no files to run")
    place = text.index("```\n", text.index(f"%%writefile {names[-1]}")) + len("```\n")
    return KERNEL + text[:place] + f"\n```{{code-cell}}\n%run {names[-1]}\n```\n" + text[place:]


def modules(names: list[str]) -> list[ModuleType]:
    """Modules by name; ``"lvm_mtc.results.*"`` stands for the package and those of its modules with public names."""
    found = []
    for name in names:
        package = importlib.import_module(name.removesuffix(".*"))
        found.append(package)
        if name.endswith(".*"):
            parts = pkgutil.walk_packages(package.__path__, package.__name__ + ".")
            parts = (importlib.import_module(part.name) for part in parts)
            offered = set(getattr(package, "__all__", ()))
            found += [part for part in parts if set(public_names(part)) - offered]
    return found


def public_names(module: ModuleType) -> dict[str, object]:
    """What a module offers: ``__all__``, or else the functions and classes that it defines, by name."""
    if hasattr(module, "__all__"):
        return {name: getattr(module, name) for name in module.__all__}
    return {
        name: thing
        for name, thing in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(thing) or inspect.isroutine(thing))
        and thing.__module__ == module.__name__
    }


def api(names: list[str]) -> str:
    """Sections of an API page, one a module."""
    found = modules(names)
    return "\n".join(section(module, offered_by_another(module, found)) for module in found)


def offered_by_another(module: ModuleType, found: list[ModuleType]) -> set[str]:
    """Names of a module that its package offers, on the same page."""
    packages = [other for other in found if module.__name__.startswith(other.__name__ + ".")]
    return {name for package in packages for name in getattr(package, "__all__", ())}


def section(module: ModuleType, elsewhere: set[str]) -> str:
    """A module's part of an API page: its docstring, constants that it names in ``__all__``, functions and classes."""
    name, offered = module.__name__, public_names(module)
    options = f"   :exclude-members: {', '.join(sorted(elsewhere))}\n" if elsewhere else ""
    text = f"## `{name}`\n\n```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n{options}```\n"
    constants = {key: value for key, value in offered.items() if not callable(value) and not inspect.ismodule(value)}
    if constants:
        text += "\n### Constants\n\n| name | value |\n|---|---|\n"
        text += "".join(f"| `{key}` | {_shown(value)} |\n" for key, value in constants.items())
    return text


def _shown(value: object) -> str:
    is_many = isinstance(value, (Mapping, tuple, list, set, frozenset))
    return ", ".join(f"`{one!r}`" for one in value) if is_many else f"`{value!r}`"


def gallery() -> str:
    """Every figure of the pages, with the command that draws it: the last one of its page."""
    sections = []
    for page in sorted(DOCS.glob("*.md")):
        text = page.read_text()
        figures = [(caption, file) for caption, file in FIGURE.findall(text) if file.startswith(f"{page.stem}/")]
        commands = COMMAND.findall(text)
        if figures and not commands:
            raise ValueError(f"{page.name} has figures and no command that draws them")
        if figures:
            title = text.splitlines()[0].removeprefix("# ")
            sections.append(f"## {title}\n\nFrom the page [{title}]({page.name}), which has the numbers.\n")
            shown = "```{{figure}} {1}\n:alt: {0}\n\n{0}\n```\n\n    {2}\n"
            sections += [shown.format(*figure, commands[-1]) for figure in figures]
    return "\n".join(sections)


def skip_member(app, what, name, thing, skip, options) -> bool | None:
    """Leaves out a named tuple's fields, which its docstring describes."""
    return True if type(thing).__name__ == "_tuplegetter" else None


def plain_docstring(app, what, name, thing, options, lines: list[str]) -> None:
    """Keeps E|h|^2 from being read as a substitution, and makes a list of several things that are returned."""
    lines[:] = [re.sub(r"(``.*?``)|\|", lambda found: found[1] or r"\|", line) for line in lines]
    if "Returns:" not in lines:
        return
    start = lines.index("Returns:") + 1
    for i in range(start, len(lines)):
        if lines[i] and not lines[i].startswith("    "):
            break
        shifted = lines[i].removeprefix("  ") if lines[i].startswith(" " * 8) else lines[i]
        lines[i] = re.sub(r"^    (\w+): ", r"    * ``\1``: ", shifted)
