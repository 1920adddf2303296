r"""Trains every codec of the comparison on photographs of 96 pixels, one after another, in reduced form.

    python -m experiments.demo.pack_pictures --data ../shared/data --out build/pictures_160.npz
    python -m experiments.results.train_photographs --data build/pictures_160.npz --runs runs
        [--only photographs_witt ...]

All see the same 4,000 crops in the same order, half of them over AWGN and half over 4x4 Rayleigh, SNR uniform between 0
and 14 dB, at CBR 1/6. On one core of a server: WITT takes half an hour, the token codec five minutes, DeepJSCC one.
With a GPU give all of them more: ``lvm-mtc train --config experiments/configs/codecs.py:photographs_witt --set
stages.system.total_steps=N``, and WITT its authors' four stages, ``--set config.codec=witt_high_resolution --set
config.image_size=128 --set config.num_symbols=128``.
"""

import sys
from pathlib import Path

from experiments.results.training_runs import Run, train_runs

RUNS = {
    "photographs_pca": Run("photographs_token", {"start.spread": 1}, trained=False),
    **{f"photographs_{codec}": Run(f"photographs_{codec}", {}) for codec in ("token", "deepjscc", "witt")},
}
"""Name of the run folder to what is trained there."""


def main(arguments: list[str] | None = None) -> int:
    """Trains; returns 0, or the exit status of the first run that fails."""
    return train_runs("results.train_photographs", RUNS, Path("build/pictures_160.npz"), arguments)


if __name__ == "__main__":
    sys.exit(main())
