"""Writes the shipped weights from a finished run of ``experiments/configs/demo.py``.

    python -m experiments.demo.export --run-dir runs/demo --data build/pictures_160.npz

``lvm_mtc/weights/demo.npz`` holds the trained system in float16, ``pca.npz`` the linear patch-wise codec that it
started from; seed, data, recipe and versions are inside each file. ``demo_log.jsonl`` is the log of the last training
step.
"""

import dataclasses
import json
import sys
from pathlib import Path

from experiments.script import CONFIGS, script
from lvm_mtc import from_dict
from lvm_mtc.cli.train import read_config
from lvm_mtc.models.weights import SHIPPED
from lvm_mtc.training.log import read_log
from lvm_mtc.training.recipe import Recipe, export_start, export_weights


@script(run_dir="folder of the training run", data="packed pictures of the run", out="folder for the weights")
def main(run_dir: Path = Path("runs/demo"), data: Path = Path("build/pictures_160.npz"), out: Path = SHIPPED) -> None:
    """Write the shipped weights from a finished run."""
    recipe = from_dict(Recipe, read_config(CONFIGS / "demo.py", []))
    export_weights(run_dir / "system" / "weights.npz", out / "demo.npz")
    # No network but the linear path: all start and no training.
    plain = {"variant": "linear", "linear_path": True, "receiver": "wiener", "power_allocation": False}
    linear = dataclasses.replace(recipe, config=recipe.config | plain)
    export_start(linear, data, out / "pca.npz")
    lines = [json.dumps(record) for record in read_log(run_dir / "system" / "log.jsonl")]
    (out / "demo_log.jsonl").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
