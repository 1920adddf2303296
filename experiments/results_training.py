"""The trainings behind the CIFAR-10 tables as points of the result store: what was seen, how fast, what was reached."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from train_cifar10 import RUNS
from training_runs import weights_of

from lvm_mtc.evaluation.points import Measured, Point
from lvm_mtc.evaluation.store import ResultStore
from lvm_mtc.models.weights import flatten_params, load_weights
from lvm_mtc.training import read_log

NAME = "CIFAR-10, training"
CONFIG = {"name": NAME, "what": "means over the pictures of a part of a training, at the SNRs that it drew"}
PARTS = 16
"""Points of a learning curve."""


def store_trainings(runs: Path, store: ResultStore) -> int:
    """Writes the learning curves of all finished runs.

    Args:
        runs: Folder of the run folders.
        store: Where they go.

    Returns:
        How many points are new.

    Raises:
        StoreError: if the store holds other numbers of a run.
    """
    key = store.register(CONFIG)
    return store.add(point for name in RUNS if weights_of(runs, name).exists() for point in _points(key, runs, name))


def _points(key: str, runs: Path, name: str) -> Iterator[Point]:
    records = read_log(runs / name / "system" / "log.jsonl")
    start = next(record for record in records if record["event"] == "start")
    lines = [record for record in records if record["event"] == "train"]
    params, about = load_weights(weights_of(runs, name))
    batch, low, high = start["config"]["batch_size"], *start["run"]["objective"]["snr_db"]
    convention = RUNS[name].changes.get("scenarios", [{"link": {"convention": "rx_per_antenna"}}])[0]["link"].get(
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
