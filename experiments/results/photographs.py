r"""Measures the codecs trained on photographs into the result store.

    python -m experiments.results.photographs --runs runs --data build/pictures_160.npz

What the store holds already is not computed again; for a run that is not trained one line says so.
"""

import sys
from pathlib import Path

import numpy as np

from experiments.results import sweeps
from experiments.results.train_photographs import RUNS
from experiments.results.training_runs import store_trainings
from experiments.script import STORE, script
from lvm_mtc.results.store import ResultStore
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.sweep.paired import NamedSweep, Pair
from lvm_mtc.sweep.plan import picture_source
from lvm_mtc.sweep.run import Resources

NAME = "photographs, CBR 1/6"
TRAININGS_NAME = "photographs, training"
SIZE, UNITS, EVERY = 96, 8, 2


def load_pictures(data: Path) -> Source:
    """Every second held-out picture of a file of ``pack_pictures.py``, the middle of it, one a group."""
    with np.load(data) as packed:
        pictures = packed["holdout_pictures"][::EVERY]
    margin = (pictures.shape[1] - SIZE) // 2
    middle = np.float32(pictures[:, None, margin : margin + SIZE, margin : margin + SIZE]) / 255
    return picture_source(middle, np.broadcast_to(np.float32([SIZE / 2, SIZE / 2, SIZE, SIZE]), (len(middle), 1, 4)))


def over_snr(runs: Path, data: Path) -> tuple[NamedSweep, list[Pair]]:
    """All codecs over SNR, AWGN and 4x4 Rayleigh."""
    runs_of = {sweeps.TOKEN: "token", sweeps.PCA: "pca", sweeps.DEEPJSCC: "deepjscc", sweeps.WITT: "witt"}
    schemes = sweeps.trained_schemes(runs, {name: f"photographs_{run}" for name, run in runs_of.items()})
    # In the words of the stores that there are.
    about = {"weights": "experiments/train_photographs.py", "box": "none",
             "pictures": "held-out photographs (ImageNet, AID, VOC val), middle 96 pixels of 160"}  # fmt: skip
    fields = sweeps.CODECS | {"pictures_per_step": 10}
    spec = sweeps.make_sweep(NAME, schemes, {1: load_pictures(data)}, about, UNITS, **fields)
    return spec, sweeps.against_others(spec)


@script(runs="folder of train_photographs.py", data="file of pack_pictures.py", store="the result store")
def main(runs: Path = Path("runs"), data: Path = Path("build/pictures_160.npz"), store: Path = STORE) -> None:
    """Measure the codecs trained on photographs."""
    resources = Resources(num_devices=1, items_per_device=len(sweeps.SNR_DB) * UNITS)
    store.parent.mkdir(parents=True, exist_ok=True)
    with ResultStore(store) as results:
        sweeps.store_sweep(*over_snr(runs, data), results, resources)
        store_trainings(TRAININGS_NAME, RUNS, runs, results)


if __name__ == "__main__":
    sys.exit(main())
