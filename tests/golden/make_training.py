"""Writes losses and weights in training.npz anew, for a change of the draws that is wanted; the batches in it stay.

PYTHONPATH=tests/training JAX_DISABLE_MOST_OPTIMIZATIONS=1 python tests/golden/make_training.py
"""

import tempfile
from pathlib import Path

import numpy as np
from recipes import make_recipe, pack
from test_same_as_before import RECIPES, RUNS, sums

from lvm_mtc.models.weights import load_weights
from lvm_mtc.training import read_log
from lvm_mtc.training.recipe import run_stage

FILE = Path(__file__).with_name("training.npz")

if __name__ == "__main__":
    with np.load(FILE) as archive:
        arrays = {name: value for name, value in archive.items() if "/batch/" in name}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, fields in RECIPES.items():
            run_stage(make_recipe(fields), "all", pack(folder), folder / name)
        for name, stage in RUNS:
            run = folder / name / stage
            rows = sums(load_weights(run / "weights.npz")[0])
            losses = [record["loss"] for record in read_log(run / "log.jsonl") if record["event"] == "train"]
            arrays[f"{name}/{stage}/names"], arrays[f"{name}/{stage}/sums"] = list(rows), list(rows.values())
            arrays[f"{name}/{stage}/loss"] = losses
    np.savez_compressed(FILE, **arrays)
