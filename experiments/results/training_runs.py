"""Runs of a table of codecs: trained one after another, and their learning curves as points of the result store."""

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from experiments.linear import linear
from experiments.script import CONFIGS, parser_of
from lvm_mtc.cli.train import read_config
from lvm_mtc.config import from_dict
from lvm_mtc.models.weights import flatten_params, load_weights
from lvm_mtc.results.points import Measured, Point
from lvm_mtc.results.store import ResultStore
from lvm_mtc.training import read_log
from lvm_mtc.training.recipe import Recipe, export_start

WHAT = "means over the pictures of a part of a training, at the SNRs that it drew"
PARTS = 16
"""Points of a learning curve."""


class Run(NamedTuple):
    """One training: a codec of ``configs/codecs.py`` with changes, dotted name to value, from the weights of a run.

    Where not ``trained``, it is the linear patch-wise codec of the config's pictures and shapes, which has no training
    but principal components.
    """

    config: str
    changes: Mapping[str, Any]
    start: str | None = None
    trained: bool = True


def weights_of(runs: Path, name: str) -> Path:
    """File of a run's weights."""
    return runs / name / "system" / "weights.npz"


def config_of(run: Run) -> Path:
    """What the command line names as the run's configuration."""
    return CONFIGS / f"codecs.py:{run.config}"


def command(run: Run, name: str, data: Path, runs: Path) -> list[str]:
    """What trains a run in the folder ``name`` among its ``runs``, with a file of packed pictures."""
    program = [sys.executable, "-c", "from lvm_mtc.cli.entry import run_process; raise SystemExit(run_process())"]
    program += ["train", "--config", str(config_of(run)), "--stage", "all", "--data", str(data)]
    program += ["--run-dir", str(runs / name)]
    program += ["--start", str(weights_of(runs, run.start))] if run.start else []
    for field, value in run.changes.items():
        program += ["--set", f"{field}={json.dumps(value)}"]
    return program


def train_runs(module: str, table: Mapping[str, Run], data: Path, arguments: list[str] | None = None) -> int:
    """A script's main function: what is trained already is left alone, what was killed goes on.

    ``table`` has the name of the run folder to what is trained there, in the order of training, and ``data`` the packed
    pictures' place by default. Returns 0, or the exit status of the first run that fails.
    """
    parser = parser_of(module, "Train the codecs of a comparison, one after another.")
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
            config = read_config(config_of(run), list(run.changes.items()))
            export_start(linear(from_dict(Recipe, config)), options.data, weights)
            continue
        status = subprocess.run(command(run, name, options.data, options.runs), check=False).returncode
        if status:
            return status
    return 0


def store_trainings(name: str, table: Mapping[str, Run], runs: Path, store: ResultStore) -> int:
    """Writes the learning curves of a table's finished runs as the points of a sweep; returns how many are new.

    Raises:
        StoreError: if the store holds other numbers of a run.
    """
    key = store.register({"name": name, "what": WHAT})
    finished = [run for run in table if table[run].trained and weights_of(runs, run).exists()]
    return store.add(point for run in finished for point in _points(key, runs, run, table[run].changes))


def _points(key: str, runs: Path, name: str, changes: Mapping[str, Any]) -> Iterator[Point]:
    records = read_log(runs / name / "system" / "log.jsonl")
    start = next(record for record in records if record["event"] == "start")
    lines = [record for record in records if record["event"] == "train"]
    params, about = load_weights(weights_of(runs, name))
    batch, low, high = start["config"]["batch_size"], *start["run"]["ranges"]["snr_db"]
    convention = changes.get("scenarios", [{"link": {"convention": "rx_per_antenna"}}])[0]["link"].get(
        "convention", "esno")  # fmt: skip
    ledger = {"num_parameters": sum(leaf.size for leaf in flatten_params(params).values()),
              "learning_rate": start["config"]["optimizer"]["learning_rate"]}  # fmt: skip
    size = -(-len(lines) // PARTS)
    for first in range(0, len(lines), size):
        part = lines[first : first + size]
        names = [name for name in part[0] if name.startswith("psnr_") or name == "pictures_per_second"]
        means = {name: Measured(statistics.mean(line[name] for line in part), None, len(part)) for name in names}
        yield Point(
            config_hash=key, coordinates={"run": name, "num_pictures": part[-1]["step"] * batch}, seed=about["seed"],
            snr_convention=convention, snr_db=(low + high) / 2, metrics=means, ledger=ledger,
            device=about["device"], versions=about["versions"],
        )  # fmt: skip
