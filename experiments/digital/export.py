"""Writes the shipped weights of the progressive codec from a finished run of ``experiments/configs/progressive.py``.

    python -m experiments.digital.export --run-dir runs/progressive --data build/pictures_160.npz

``lvm_mtc/weights/progressive.npz`` holds networks and codebooks in float16, with seed, data, recipe and versions. How
often each code is used is counted on crops of the training pictures, for receivers of soft bits.
"""

import sys
from pathlib import Path

from experiments.script import script
from lvm_mtc.models.weights import SHIPPED, load_weights, save_weights
from lvm_mtc.schemes.loading import load_scheme
from lvm_mtc.training.pictures import load_pictures


@script(run_dir="folder of the training run", data="packed pictures of the run", out="folder for the weights")
def main(
    run_dir: Path = Path("runs/progressive"), data: Path = Path("build/pictures_160.npz"), out: Path = SHIPPED
) -> None:
    """Write the shipped weights of the progressive codec."""
    source = run_dir / "codec" / "weights.npz"
    scheme, params = load_scheme(source)
    _, metadata = load_weights(source)
    counted = scheme.with_use(params, load_pictures(data), metadata["seed"])
    save_weights(out / "progressive.npz", counted, metadata, dtype="float16")


if __name__ == "__main__":
    sys.exit(main())
