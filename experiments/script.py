"""What the studies' scripts have in common: one line for an error, and a file of results with its figures and page."""

import argparse
import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lvm_mtc.report.pages import fill_file
from lvm_mtc.results.files import atomic_file

CONFIGS = Path(__file__).resolve().parent / "configs"
DATA = Path(os.environ.get("LVM_MTC_DATA", "../shared/data"))
STORE = Path("docs/results/results.sqlite")
"""Defaults of ``--data`` and ``--store``; scripts run from the repository's root."""
PAGE_ONLY = "figures and tables from the old results.json"
"""What ``--page-only`` is."""


def parser_of(module: str, description: str) -> argparse.ArgumentParser:
    """Parser of ``python -m experiments.<module>``."""
    return argparse.ArgumentParser(prog=f"python -m experiments.{module}", description=description)


def run(
    parser: argparse.ArgumentParser, work: Callable[[argparse.Namespace], Any], arguments: list[str] | None = None
) -> int:
    """Does a script's work with its options; returns the exit status: 0, or 2 after one line on stderr.

    ``arguments`` is the command line without the program's name; None takes the real one.
    """
    options = parser.parse_args(arguments)
    try:
        work(options)
    except (ValueError, OSError, ImportError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    return 0


def script(**helps: str | Mapping[str, Any]) -> Callable[[Callable[..., Any]], Callable[..., int]]:
    """Makes a script's main function of a function: its parameters are the flags, its docstring says what it does.

    A flag has the type of its default, or the annotated one where that is None; a tuple takes several words. ``helps``
    has a line for each flag, or what else ``add_argument`` is to know. The main function is called as :func:`run` with
    the arguments alone.
    """

    def decorate(work: Callable[..., Any]) -> Callable[..., int]:
        parser = parser_of(sys.modules[work.__module__].__spec__.name.removeprefix("experiments."), work.__doc__)
        for name, parameter in inspect.signature(work, eval_str=True).parameters.items():
            default = parameter.default
            if default is False:
                more = {"action": "store_true"}
            elif isinstance(default, tuple):
                more = {"nargs": "+"}
            else:
                more = {"type": parameter.annotation.__args__[0] if default is None else type(default)}
            more |= {"help": helps[name]} if isinstance(helps[name], str) else helps[name]
            parser.add_argument(f"--{name.replace('_', '-')}", default=default, **more)
        return lambda arguments=None: run(parser, lambda options: work(**vars(options)), arguments)

    return decorate


def study(
    out: Path,
    page_only: bool,
    measure: Callable[[], Mapping[str, Any]],
    tables: Callable[[Mapping[str, Any]], Mapping[str, str]],
    draw: Callable[[Mapping[str, Any], Path], Any] = lambda results, out: None,
) -> None:
    """Measures into ``results.json``, from which alone a study draws its figures and fills its page.

    Args:
        out: Folder of the study, which is made; the page is beside it, ``out``.md, and need not be there.
        page_only: Leave the measuring out.
        measure: Gives plain values for JSON.
        tables: Gives Markdown by the name of its place on the page; it is printed too.
        draw: Writes figures and other files into the folder.
    """
    file = out / "results.json"
    if not page_only:
        results = measure()
        out.mkdir(parents=True, exist_ok=True)
        with atomic_file(file) as temporary:
            temporary.write_text(as_json(results))
    results = json.loads(file.read_text())
    draw(results, out)
    fill_page(out, tables(results))


def as_json(results: Any) -> str:
    """Indented, but with each list of numbers in one line."""
    text = json.dumps(results, indent=1)
    return re.sub(r"\[\n([\s\d.eE+\-,]*)\]", lambda of: f"[{' '.join(of[1].split())}]", text) + "\n"


def rounded(results: Any, digits: int = 6) -> Any:
    """Plain values for JSON, with so many digits of every number that is not whole."""
    return json.loads(json.dumps(results), parse_float=lambda text: float(f"{float(text):.{digits}g}"))


def fill_page(out: Path, tables: Mapping[str, str]) -> None:
    """Fills the page beside a study's folder, ``out``.md, which need not be there, and prints the tables.

    ``tables`` are Markdown by the name of their place.
    """
    if (page := out.with_suffix(".md")).exists():
        fill_file(page, tables)
    print("\n\n".join(tables.values()))
