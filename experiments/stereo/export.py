"""Writes the weights of a trained stereo codec as they ship, in half precision.

    python -m experiments.stereo.export --weights runs/gs_scnet/joint/weights.npz

They say which scheme they are for, their recipe, seed and data, and the versions that made them.
"""

import sys
from pathlib import Path

from experiments.script import script
from lvm_mtc.schemes.loading import STEREO_WEIGHTS, load_scheme
from lvm_mtc.training.recipe import export_weights


@script(weights="of the last stage (default: %(default)s)", out="the file to write (default: %(default)s)")
def main(weights: Path = Path("runs/gs_scnet/joint/weights.npz"), out: Path = STEREO_WEIGHTS) -> None:
    """Write the stereo codec's weights as they ship."""
    export_weights(weights, out)
    scheme, _ = load_scheme(out)
    print(f"{out}: {scheme.config}, {out.stat().st_size / 2**20:.2f} MiB")


if __name__ == "__main__":
    sys.exit(main())
