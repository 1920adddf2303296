"""``lvm-mtc report``: a result store as one HTML file."""

import argparse
from collections.abc import Callable
from pathlib import Path

from lvm_mtc.cli.outputs import check_new_file


def add_report_parser(commands, make_command: Callable[..., argparse.ArgumentParser]) -> None:
    """Declares the command.

    Args:
        commands: Sub-parsers of the main parser.
        make_command: Of (sub-parsers, name, summary, example), as the other commands are made.
    """
    parser = make_command(commands, "report", "Write a result store's figures, pictures, points and provenance as one "
                          "HTML file that needs no network.", "lvm-mtc report --store sweeps.sqlite --out report.html")
    parser.set_defaults(run=run_report)
    parser.add_argument("--store", type=Path, required=True, metavar="FILE", help="the result store")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the HTML file")
    parser.add_argument("--title", default="", metavar="TEXT", help="of the page (default: the store's name)")
    parser.add_argument("--overwrite", action="store_true", help="replace the file")


def run_report(options: argparse.Namespace) -> None:
    """Runs ``lvm-mtc report``.

    Args:
        options: Of the parser.

    Raises:
        ValueError: if the store cannot be read or has no points, or the file is there already or cannot be written.
    """
    from lvm_mtc.evaluation.store import ResultStore

    check_new_file(options.out, overwrite=options.overwrite)
    with ResultStore(options.store, create=False) as store:
        if options.out.exists() and options.out.samefile(options.store):
            raise ValueError(f"--out {options.out}: is the store itself; name another file")

        from lvm_mtc.evaluation.html_report import write_html_report

        figures = write_html_report(store, options.out, title=options.title)
    for line in figures.skipped:
        print(f"not drawn: {line}")
    print(f"{options.out}: {len(figures.drawn)} figures, {options.out.stat().st_size / 1e6:.1f} MB")
