"""Runs of a table of codecs, one after another; what is trained already is left alone, what was killed goes on."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lvm_mtc.cli.train import read_config
from lvm_mtc.config import from_dict
from lvm_mtc.training.recipe import Recipe, export_linear_codec

CONFIGS = Path(__file__).resolve().parent / "configs"


class Run(NamedTuple):
    """One training.

    Attributes:
        config: Name of the file in ``configs``.
        changes: Of its fields, dotted name to value.
        start: Run whose weights it begins with.
        trained: False: the linear patch-wise codec of the config's pictures and shapes, which has no training but
            principal components.
    """

    config: str
    changes: Mapping[str, Any]
    start: str | None = None
    trained: bool = True


def weights_of(runs: Path, name: str) -> Path:
    """File of a run's weights."""
    return runs / name / "system" / "weights.npz"


def command(run: Run, name: str, data: Path, runs: Path) -> list[str]:
    """What trains a run.

    Args:
        run: The run.
        name: Of its folder.
        data: File of packed pictures.
        runs: Folder of the run folders.
    """
    program = [sys.executable, "-c", "from lvm_mtc.cli.entry import run_process; raise SystemExit(run_process())"]
    program += ["train", "--config", str(CONFIGS / f"{run.config}.py"), "--stage", "all", "--data", str(data)]
    program += ["--run-dir", str(runs / name)]
    program += ["--start", str(weights_of(runs, run.start))] if run.start else []
    for field, value in run.changes.items():
        program += ["--set", f"{field}={json.dumps(value)}"]
    return program


def train_runs(table: Mapping[str, Run], data: Path, description: str, arguments: list[str] | None = None) -> int:
    """A script's main function.

    Args:
        table: Name of the run folder to what is trained there, in the order of training.
        data: Where the packed pictures are by default.
        description: One line for ``--help``.
        arguments: Command line without the program's name; None takes the real one.

    Returns:
        0, or the exit status of the first run that fails.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, default=data, help="file of packed pictures (default: %(default)s)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the run folders")
    parser.add_argument("--only", nargs="+", choices=table, default=list(table), metavar="NAME",
                        help=f"of {', '.join(table)} (default: all)")  # fmt: skip
    options = parser.parse_args(arguments)
    for name in options.only:
        run, weights = table[name], weights_of(options.runs, name)
        if weights.exists():
            continue
        print(name, flush=True)
        if not run.trained:
            config = read_config(CONFIGS / f"{run.config}.py", list(run.changes.items()))
            export_linear_codec(from_dict(Recipe, config), options.data, weights)
            continue
        status = subprocess.run(command(run, name, options.data, options.runs), check=False).returncode
        if status:
            return status
    return 0
