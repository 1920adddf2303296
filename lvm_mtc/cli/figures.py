"""``lvm-mtc figures``: the figures of a result store, as pictures and as the data drawn."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path


def add_figures_parser(commands, make_command: Callable[..., argparse.ArgumentParser]) -> None:
    """Declares the command.

    Args:
        commands: Sub-parsers of the main parser.
        make_command: Of (sub-parsers, name, summary, example), as the other commands are made.
    """
    parser = make_command(commands, "figures", "Draw what a result store has the points for, as PNG, SVG and the data "
                          "as CSV.", "lvm-mtc figures --store sweeps.sqlite --out figures")
    parser.set_defaults(run=run_figures)
    parser.add_argument("--store", type=Path, required=True, metavar="FILE", help="the result store")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder for the figures")
    parser.add_argument("--overwrite", action="store_true", help="replace the figures of an earlier run")


def run_figures(options: argparse.Namespace) -> None:
    """Runs ``lvm-mtc figures``.

    Args:
        options: Of the parser.

    Raises:
        ValueError: if the store cannot be read or nothing can be drawn, or the folder cannot be written.
    """
    import lvm_mtc
    from lvm_mtc.evaluation.files import RECORD, atomic_directory, check_output_directory
    from lvm_mtc.evaluation.store import ResultStore

    check_output_directory(options.out, overwrite=options.overwrite)
    with ResultStore(options.store, create=False) as store:
        from lvm_mtc.evaluation.store_figures import draw_figures

        with atomic_directory(options.out, overwrite=options.overwrite) as folder:
            figures = draw_figures(store, folder)
            record = {
                "program": f"lvm-mtc {lvm_mtc.__version__} figures", "store": str(options.store),
                "sweeps": [sweep.config_hash for sweep in store.sweeps()],
                "captions": {one.name: one.caption for one in figures.drawn}, "skipped": figures.skipped,
            }
            (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    for one in figures.drawn:
        print(f"{options.out / one.name}.png, .svg, .csv: {one.title}")
    for line in figures.skipped:
        print(f"skipped {line}")
