"""Trainings as points of the result store: what was seen, how fast, what was reached."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from training_runs import Run, weights_of

from lvm_mtc.evaluation.points import Measured, Point
from lvm_mtc.evaluation.store import ResultStore
from lvm_mtc.models.weights import flatten_params, load_weights
from lvm_mtc.training import read_log

WHAT = "means over the pictures of a part of a training, at the SNRs that it drew"
PARTS = 16
"""Points of a learning curve."""


def store_trainings(name: str, table: Mapping[str, Run], runs: Path, store: ResultStore) -> int:
    """Writes the learning curves of all finished runs.

    Args:
        name: Of the sweep that their points make.
        table: Name of the run folder to what was trained there.
        runs: Folder of the run folders.
        store: Where they go.

    Returns:
        How many points are new.

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
    batch, low, high = start["config"]["batch_size"], *start["run"]["objective"]["snr_db"]
    convention = changes.get("scenarios", [{"link": {"convention": "rx_per_antenna"}}])[0]["link"].get(
        "convention", "esno")  # fmt: skip
    ledger = {"num_parameters": sum(leaf.size for leaf in flatten_params(params).values()),
              "learning_rate": start["config"]["optimizer"]["learning_rate"]}  # fmt: skip
    size = -(-len(lines) // PARTS)
    for first in range(0, len(lines), size):
        part = lines[first : first + size]
        yield Point(
            config_hash=key, coordinates={"run": name, "num_pictures": part[-1]["step"] * batch}, seed=about["seed"],
            snr_convention=convention, snr_db=(low + high) / 2, metrics=_means(part), ledger=ledger,
            device=about["device"], versions=about["versions"],
        )  # fmt: skip


def _means(part: list[Mapping[str, Any]]) -> dict[str, Measured]:
    names = [name for name in part[0] if name.startswith("psnr_") or name == "pictures_per_second"]
    return {name: Measured(statistics.mean(line[name] for line in part), None, len(part)) for name in names}
