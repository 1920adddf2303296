"""``lvm-mtc report``: a result store as one HTML file."""

import argparse
from pathlib import Path

from lvm_mtc.cli.command import add_command, add_flags
from lvm_mtc.cli.outputs import check_new_file
from lvm_mtc.results.store import ResultStore


def add_report_parser(commands) -> None:
    """Declares the command."""
    summary = "Write a result store's figures, pictures, points and provenance as one HTML file that needs no network."
    example = "lvm-mtc report --store sweeps.sqlite --out report.html"
    parser = add_command(commands, "report", summary, example, run_report)
    add_flags(parser, {"--store FILE: the result store": Path, "--out FILE: the HTML file": Path}, required=True)
    title = "--title TEXT = : of the page (default: the store's name)"
    add_flags(parser, {title: str, "--overwrite: replace the file": bool})


def run_report(options: argparse.Namespace) -> None:
    """Runs ``lvm-mtc report``."""
    check_new_file(options.out, overwrite=options.overwrite, store=options.store)
    with ResultStore(options.store, create=False) as store:
        from lvm_mtc.report.html import write_html_report

        figures = write_html_report(store, options.out, title=options.title)
    for line in figures.skipped:
        print(f"not drawn: {line}")
    print(f"{options.out}: {len(figures.drawn)} figures, {options.out.stat().st_size / 1e6:.1f} MB")
