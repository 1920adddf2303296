r"""Measures the codecs trained on photographs into the result store.

    python experiments/results_photographs.py --runs runs --data build/pictures_160.npz

What the store holds already is not computed again; for a run that is not trained one line says so.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from results_codecs import DEEPJSCC, PCA, SNR_DB, TOKEN, WITT, against_others, codec_sweep, trained_schemes
from results_training import store_trainings
from train_photographs import RUNS

from lvm_mtc.evaluation.paired_sweep import NamedSweep, Pair, run_paired_sweep
from lvm_mtc.evaluation.store import ResultStore
from lvm_mtc.evaluation.sweep import Resources
from lvm_mtc.evaluation.sweep_plan import Pictures

NAME = "photographs, CBR 1/6"
TRAININGS_NAME = "photographs, training"
SIZE, UNITS, EVERY = 96, 8, 2


def load_pictures(data: Path) -> Pictures:
    """Every second held-out picture, the middle of it, one a group.

    Args:
        data: File of ``pack_pictures.py``.
    """
    with np.load(data) as packed:
        pictures = packed["holdout_pictures"][::EVERY]
    margin = (pictures.shape[1] - SIZE) // 2
    middle = np.float32(pictures[:, None, margin : margin + SIZE, margin : margin + SIZE]) / 255
    return Pictures(middle, np.broadcast_to(np.float32([SIZE / 2, SIZE / 2, SIZE, SIZE]), (len(middle), 1, 4)))


def over_snr(runs: Path, data: Path) -> tuple[NamedSweep, list[Pair]]:
    """All codecs over SNR, AWGN and 4x4 Rayleigh.

    Args:
        runs: Folder of the trained runs.
        data: File of ``pack_pictures.py``.
    """
    of = {name: f"photographs_{run}" for name, run in
          ((TOKEN, "token"), (PCA, "pca"), (DEEPJSCC, "deepjscc"), (WITT, "witt"))}  # fmt: skip
    about = {"weights": "experiments/train_photographs.py", "box": "none",
             "pictures": "held-out photographs (ImageNet, AID, VOC val), middle 96 pixels of 160"}  # fmt: skip
    spec = codec_sweep(NAME, trained_schemes(runs, of), load_pictures(data), about, UNITS, pictures_per_step=10)
    return spec, against_others(spec)


def main(arguments: list[str] | None = None) -> int:
    """Measures; returns the exit status: 0, or 2 after one line on stderr."""
    parser = argparse.ArgumentParser(description="Measure the codecs trained on photographs.")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of train_photographs.py")
    parser.add_argument("--data", type=Path, default=Path("build/pictures_160.npz"), help="file of pack_pictures.py")
    parser.add_argument("--store", type=Path, default=Path("docs/results/results.sqlite"), help="the result store")
    options = parser.parse_args(arguments)
    resources = Resources(num_devices=1, items_per_device=len(SNR_DB) * UNITS)
    try:
        options.store.parent.mkdir(parents=True, exist_ok=True)
        with ResultStore(options.store) as store:
            run_paired_sweep(*over_snr(options.runs, options.data), store, resources=resources,
                             progress=lambda done, of: print(f"{NAME}: {done} of {of} points", flush=True))  # fmt: skip
            store_trainings(TRAININGS_NAME, RUNS, options.runs, store)
    except (ValueError, OSError) as error:
        print(f"results_photographs: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
