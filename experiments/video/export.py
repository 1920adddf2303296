"""Writes the weights of a trained video codec as they ship, in half precision.

    python -m experiments.video.export --weights runs/pvsc/system/weights.npz
    python -m experiments.video.export --data build/clips.npz --out linear.npz

With packed clips it is the linear codec that training starts from.

They say which scheme they are for, their recipe, seed and data, and the versions that made them.
"""

import sys
from pathlib import Path

from experiments.script import CONFIGS, script
from lvm_mtc import from_dict
from lvm_mtc.cli.train import read_config
from lvm_mtc.schemes.loading import CLIP_WEIGHTS, load_scheme
from lvm_mtc.training.recipe import Recipe, export_start, export_weights


@script(
    weights="of the last stage (default: %(default)s)", data="packed clips to fit the linear codec to instead",
    out="the file to write (default: %(default)s)",
)  # fmt: skip
def main(
    weights: Path = Path("runs/pvsc/system/weights.npz"), data: Path | None = None, out: Path = CLIP_WEIGHTS
) -> None:
    """Write the video codec's weights as they ship."""
    if data is not None:
        recipe = from_dict(Recipe, read_config(CONFIGS / "pvsc.py:linear", []))
        weights = out.with_suffix(".start.npz")
        export_start(recipe, data, weights)
    export_weights(weights, out)
    if data is not None:
        weights.unlink()
    scheme, _ = load_scheme(out)
    print(f"{out}: {scheme.config}, {out.stat().st_size / 2**20:.2f} MiB")


if __name__ == "__main__":
    sys.exit(main())
