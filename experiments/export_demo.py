"""Writes the shipped weights from a finished run of ``experiments/configs/demo.py``.

    python experiments/export_demo.py --run-dir runs/demo --data build/pictures_160.npz

``lvm_mtc/weights/demo.npz`` holds the trained system in float16, ``pca.npz`` the linear patch-wise codec that it
started from; seed, data, recipe and versions are inside each file. ``demo_log.jsonl`` is the log of the last training
step.
"""

import argparse
import json
import runpy
from pathlib import Path

from lvm_mtc import from_dict
from lvm_mtc.training.log import read_log
from lvm_mtc.training.recipe import Recipe, export_linear_codec, export_weights

HERE = Path(__file__).resolve().parent
WEIGHTS = HERE.parent / "lvm_mtc" / "weights"


def main() -> None:
    """Exports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run-dir", type=Path, default=Path("runs/demo"), help="folder of the training run")
    parser.add_argument("--data", type=Path, default=Path("build/pictures_160.npz"), help="packed pictures of the run")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="folder for the weights")
    options = parser.parse_args()
    recipe = from_dict(Recipe, runpy.run_path(str(HERE / "configs" / "demo.py"))["get_config"]())
    export_weights(options.run_dir / "system" / "weights.npz", options.out / "demo.npz")
    export_linear_codec(recipe, options.data, options.out / "pca.npz")
    lines = [json.dumps(record) for record in read_log(options.run_dir / "system" / "log.jsonl")]
    (options.out / "demo_log.jsonl").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
