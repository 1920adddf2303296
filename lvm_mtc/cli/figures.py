"""``lvm-mtc figures``: the figures of a result store, as pictures and as the data drawn."""

import argparse
import json
from pathlib import Path

import lvm_mtc
from lvm_mtc.cli import names, values
from lvm_mtc.cli.command import add_command, add_flags
from lvm_mtc.cli.stores import SWEEP_FLAG, find_sweep
from lvm_mtc.results.files import RECORD, atomic_directory, check_output_directory
from lvm_mtc.results.store import ResultStore


def add_figures_parser(commands) -> None:
    """Declares the command."""
    summary = "Draw what a result store has the points for, as PNG, SVG and the data as CSV."
    example = (
        "lvm-mtc figures --store sweeps.sqlite --out figures\n  lvm-mtc figures --store sweeps.sqlite --out paper "
    )
    example += "--metrics psnr_db --over num_uavs --at snr_db=10 --width 3.5 --style paper"
    parser = add_command(commands, "figures", summary, example, run_figures)
    needed = {"--store FILE: the result store": Path, "--out DIR: new folder for the figures": Path}
    add_flags(parser, needed, required=True)
    flags = {SWEEP_FLAG + "for all": str, "--overwrite: replace the figures of an earlier run": bool}
    add_flags(parser, flags)
    choices = {
        "--at AXIS=VALUE: only points with this coordinate, or with one of a list, such as num_uavs=[2,4] or "
        'scheme="uniform masking"; may be repeated': values.assignment,
        "--metrics LIST: draw these, a column each, instead of the usual figures": str,
        "--over AXIS: draw over this coordinate instead of the SNR; --at with a list gives a curve a value": str,
        '--label TEXT=WORDS: other words in legends, titles and axes, such as "object first=ours"; may be '
        "repeated": values.assignment,
        "--width INCHES: of a figure, such as 3.5 for a paper's column": values.number("width"),
        "--style = report: report, or paper: serif type, no heading, 300 dots an inch": values.choice(*names.STYLES),
    }
    add_flags(parser.add_argument_group("choices", "What is drawn, and how it looks."), choices)


def run_figures(options: argparse.Namespace) -> None:
    """Runs ``lvm-mtc figures``."""
    check_output_directory(options.out, overwrite=options.overwrite)
    with ResultStore(options.store, create=False) as store:
        from lvm_mtc.report.choices import Choices
        from lvm_mtc.report.store_figures import draw_figures

        metrics = tuple(name.strip() for name in options.metrics.split(",")) if options.metrics else ()
        labels = {old: str(new) for old, new in options.label}
        how = {name: getattr(options, name) for name in ("over", "width", "style")}
        choices = Choices(at=dict(options.at), metrics=metrics, labels=labels, **how)

        with atomic_directory(options.out, overwrite=options.overwrite) as folder:
            key = find_sweep(store, options.sweep).config_hash if options.sweep else None
            figures = draw_figures(store, folder, key, choices)
            record = {
                "program": f"lvm-mtc {lvm_mtc.__version__} figures",
                "store": str(options.store),
                "sweeps": [sweep.config_hash for sweep in store.sweeps() if key in (None, sweep.config_hash)],
                "captions": {drawing.name: drawing.caption for drawing in figures.drawn},
                "skipped": figures.skipped,
            }
            (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    for drawing in figures.drawn:
        print(f"{options.out / drawing.name}.png, .svg, .csv: {drawing.title}")
    for line in figures.skipped:
        print(f"skipped {line}")
