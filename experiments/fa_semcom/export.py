"""Writes the weights of trained answerers in half precision: one ships, its controls stand beside this file.

    python -m experiments.fa_semcom.export --runs runs/fa

They say which scheme they are for, their recipe, seed and data, and the versions that made them.
"""

import sys
from pathlib import Path

from experiments.script import script
from lvm_mtc.schemes.loading import QUESTION_WEIGHTS, load_scheme
from lvm_mtc.training.recipe import export_weights

FILES = {"noisy": QUESTION_WEIGHTS} | {name: Path(__file__).with_name(f"{name}.npz") for name in ("clean", "levels")}
"""Recipe of ``experiments/configs/fa_semcom.py`` to file."""


@script(runs="folder with a run folder a recipe (default: %(default)s)")
def main(runs: Path = Path("runs/fa")) -> None:
    """Write the answerers' weights to their places."""
    for name, file in FILES.items():
        export_weights(runs / name / "system" / "weights.npz", file)
        load_scheme(file)
        print(f"{file}: {file.stat().st_size / 2**20:.2f} MiB")


if __name__ == "__main__":
    sys.exit(main())
