"""Writes the shipped weights of the importance codec from a finished run of ``experiments/configs/importance.py``.

    python -m experiments.demo.export_importance --run-dir runs/importance

``lvm_mtc/weights/importance.npz`` holds the linear codec and its networks in float16, with seed, data, recipe and
versions. With ``--linear`` it is the linear codec alone, for which nothing is trained.
"""

import dataclasses
import sys
from pathlib import Path

from experiments.script import CONFIGS, script
from lvm_mtc import from_dict
from lvm_mtc.cli.train import read_config
from lvm_mtc.models.weights import SHIPPED
from lvm_mtc.training.recipe import Recipe, export_start, export_weights


@script(
    run_dir="folder of the training run", data="packed pictures of the run", out="folder for the weights",
    linear="write the linear codec alone",
)  # fmt: skip
def main(
    run_dir: Path = Path("runs/importance"),
    data: Path = Path("build/pictures_160.npz"),
    out: Path = SHIPPED,
    linear: bool = False,
) -> None:
    """Write the shipped weights of the importance codec."""
    if linear:
        recipe = from_dict(Recipe, read_config(CONFIGS / "importance.py", []))
        recipe = dataclasses.replace(recipe, config=recipe.config | {"network": None}, stages={})
        export_start(recipe, data, out / "importance.npz")
    else:
        export_weights(run_dir / "system" / "weights.npz", out / "importance.npz")


if __name__ == "__main__":
    sys.exit(main())
