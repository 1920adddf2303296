"""Writes the weights of a trained codec of point clouds as they ship, in half precision.

    python -m experiments.point_clouds.export --weights runs/point_clouds/system/weights.npz

They say which scheme they are for, their recipe, seed and data, and the versions that made them.
"""

import sys
from pathlib import Path

from experiments.script import script
from lvm_mtc.cli.clouds import load_cloud_contender
from lvm_mtc.schemes.loading import CLOUD_WEIGHTS
from lvm_mtc.training.recipe import export_weights


@script(weights="of the last stage (default: %(default)s)", out="the file to write (default: %(default)s)")
def main(weights: Path = Path("runs/point_clouds/system/weights.npz"), out: Path = CLOUD_WEIGHTS) -> None:
    """Write the codec's weights as they ship."""
    load_cloud_contender(weights)
    export_weights(weights, out)
    print(f"{out}: {load_cloud_contender(out).name}, {out.stat().st_size / 2**20:.2f} MiB")


if __name__ == "__main__":
    sys.exit(main())
