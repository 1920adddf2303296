"""Writes the weights of trained answerers as they ship, in half precision.

    python -m experiments.fa_semcom.export --runs runs/fa

They say which scheme they are for, their recipe, seed and data, and the versions that made them.
"""

import sys
from pathlib import Path

from experiments.script import script
from lvm_mtc.models.weights import SHIPPED
from lvm_mtc.schemes.loading import load_scheme
from lvm_mtc.training.recipe import export_weights

FILES = {"noisy": "fa_semcom.npz", "clean": "fa_semcom_clean.npz", "levels": "fa_semcom_levels.npz"}
"""Recipe of ``experiments/configs/fa_semcom.py`` to file."""


@script(
    runs="folder with a run folder a recipe (default: %(default)s)", out="folder to write to (default: %(default)s)"
)
def main(runs: Path = Path("runs/fa"), out: Path = SHIPPED) -> None:
    """Write the answerers' weights as they ship."""
    for name, file in FILES.items():
        export_weights(runs / name / "system" / "weights.npz", out / file)
        load_scheme(out / file)
        print(f"{out / file}: {(out / file).stat().st_size / 2**20:.2f} MiB")


if __name__ == "__main__":
    sys.exit(main())
