r"""Measures the codecs trained on CIFAR-10 into the result store: quality, accuracy, the price of a wrong estimate.

    python experiments/results_cifar10.py --runs runs --data build/cifar10.npz --weights ../shared/data/weights

What the store holds already is not computed again. The separation baseline needs the extra ``sionna``; where it is
missing, or a run is not trained, one line says so and the rest goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from results_codecs import (
    CONVENTION,
    DEEPJSCC,
    LINKS,
    PCA,
    SNR_DB,
    TOKEN,
    WITT,
    against_others,
    codec_sweep,
    trained_schemes,
)
from results_masking import pairs_by
from results_training import store_trainings
from train_cifar10 import RUNS

from lvm_mtc import LinkConfig
from lvm_mtc.evaluation.grid import Scheme
from lvm_mtc.evaluation.intervals import student_interval
from lvm_mtc.evaluation.judges import Judge, accuracy_judge
from lvm_mtc.evaluation.paired_sweep import NamedSweep, Pair, run_paired_sweep
from lvm_mtc.evaluation.points import Measured, Point
from lvm_mtc.evaluation.store import ResultStore
from lvm_mtc.evaluation.sweep import Resources
from lvm_mtc.evaluation.sweep_plan import Pictures
from lvm_mtc.evaluation.sweep_rows import versions
from lvm_mtc.interop.cifar_weights import load_cifar_resnet
from lvm_mtc.models.cifar_resnet import CifarResNet

UNSPREAD, PCA_SPREAD = "token codec, not spread", "linear PCA, spread"
TRAININGS = "trainings"
SEPARATION, CLEAN = "WebP, LDPC and QAM", "not sent"
LONG = ", ten times the pictures"
CSI_ERROR_VAR = (0.0, 0.003, 0.01, 0.03, 0.1, 0.3)
CSI_SNR_DB = (4.0, 10.0, 16.0)
UNITS, TEST_PICTURES, RESNETS = 4, 500, (20, 56)
EQUALIZERS = ("paper", "unbiased", "robust")
RESOURCES = Resources(num_devices=1, items_per_device=len(SNR_DB) * UNITS)


class Rate(NamedTuple):
    """The runs of one bandwidth ratio: the number of symbols in ``train_cifar10.RUNS``."""

    cbr: str
    token: int
    picture: int


RATES = (Rate("1/3", 64, 16), Rate("1/6", 32, 8), Rate("1/12", 16, 4))


def quality_name(cbr: str) -> str:
    """Name of the sweep of a bandwidth ratio."""
    return f"CIFAR-10, CBR {cbr}"


TRAININGS_NAME = "CIFAR-10, training"
LONG_NAME, MAGNITUDE, ACCURACY = f"CIFAR-10, CBR 1/3{LONG}", "CIFAR-10, witt_rayleigh", "CIFAR-10, accuracy"


def csi_name(equalizer: str) -> str:
    """Name of the sweep over CSI error with an equaliser."""
    return f"CIFAR-10, CSI error, {equalizer}"


def load_pictures(data: Path, split: str, count: int | None = None) -> Pictures:
    """Pictures with their classes, one a group.

    Args:
        data: File of ``pack_cifar10.py``.
        split: ``"holdout"`` or ``"test"``.
        count: Of each class equally many; None: all.
    """
    with np.load(data) as packed:
        pictures, labels = packed[f"{split}_pictures"], packed[f"{split}_labels"]
    if count is not None:
        take = [np.flatnonzero(labels == label)[: count // 10] for label in range(10)]
        pictures, labels = (a[np.concatenate(take)] for a in (pictures, labels))
    loc = np.broadcast_to(np.float32([16, 16, 32, 32]), (len(pictures), 1, 4))
    return Pictures(np.float32(pictures)[:, None] / 255, loc, labels=np.int32(labels)[:, None])


def over_rate(rate: Rate, runs: Path, data: Path) -> tuple[NamedSweep, list[Pair]]:
    """All codecs of a bandwidth ratio on the lossless hold-out, over SNR, AWGN and 4x4 Rayleigh (table a).

    Args:
        rate: The ratio.
        runs: Folder of the trained runs.
        data: File of ``pack_cifar10.py``.
    """
    of = {TOKEN: f"token_{rate.token}", PCA: f"pca_{rate.token}", DEEPJSCC: f"deepjscc_{rate.picture}",
          WITT: f"witt_{rate.picture}"}  # fmt: skip
    if rate is RATES[0]:
        of |= {UNSPREAD: "token_64_unspread", PCA_SPREAD: "pca_64_spread"}
    return _compared(quality_name(rate.cbr), trained_schemes(runs, of), data)


def after_more_pictures(runs: Path, data: Path) -> tuple[NamedSweep, list[Pair]]:
    """What ten times the training gives at CBR 1/3."""
    return _compared(LONG_NAME, trained_schemes(runs, {DEEPJSCC: "deepjscc_16_long", TOKEN: "token_64_long"}), data)


def over_magnitude(runs: Path, data: Path) -> tuple[NamedSweep, list[Pair]]:
    """Codecs tuned for the channel of WITT's published Rayleigh curve, at CBR 1/3, on that channel."""
    of = {TOKEN: "token_64_magnitude", DEEPJSCC: "deepjscc_16_magnitude", WITT: "witt_16_magnitude"}
    spec = _sweep(MAGNITUDE, trained_schemes(runs, of), load_pictures(data, "holdout"), "lossless hold-out",
                  links=(LinkConfig.witt_rayleigh(),))  # fmt: skip
    return spec, against_others(spec)


def over_accuracy(runs: Path, data: Path, weights: Path) -> tuple[NamedSweep, list[Pair]]:
    """Classification accuracy on JPEG copies of the test pictures at CBR 1/3 (Fig. 12).

    Args:
        runs: Folder of the trained runs.
        data: File of ``pack_cifar10.py``.
        weights: Folder of the classifiers' weights.
    """
    of = {TOKEN: "token_64", PCA: "pca_64", DEEPJSCC: "deepjscc_16", WITT: "witt_16"}
    spec = _sweep(ACCURACY, trained_schemes(runs, of), load_pictures(data, "test", TEST_PICTURES), "JPEG copies, test",
                  judges=accuracy_judges(weights), metrics=("psnr_db",))  # fmt: skip
    return spec, against_others(spec)


def over_csi_error(equalizer: str, runs: Path, data: Path) -> tuple[NamedSweep, list[Pair]]:
    """A codec tuned with an equaliser and one that was tuned on perfect CSI, over CSI error, with that equaliser.

    Args:
        equalizer: In ``EQUALIZERS``.
        runs: Folder of the trained runs.
        data: File of ``pack_cifar10.py``.
    """
    of = {"tuned with it": f"token_64_csi_{equalizer}", "perfect CSI": "token_64_csi_perfect"}
    schemes = trained_schemes(runs, of)
    links = (dataclasses.replace(LINKS[1], equalizer=equalizer),)
    spec = _sweep(csi_name(equalizer), schemes, load_pictures(data, "holdout"), "lossless hold-out", links=links,
                  snr_db=CSI_SNR_DB, csi_error_var=CSI_ERROR_VAR)  # fmt: skip
    return spec, pairs_by(spec, "tuned with it minus perfect CSI", ("tuned with it",), {"scheme": "perfect CSI"})


def accuracy_judges(weights: Path) -> tuple[Judge, ...]:
    """One judge a ResNet, ``accuracy_resnet20`` and so on."""
    return tuple(
        dataclasses.replace(
            accuracy_judge(_CLASSIFIERS[depth], load_cifar_resnet(weights / f"cifar10_resnet{depth}.npz", depth)),
            name=f"accuracy_resnet{depth}",
        )
        for depth in RESNETS
    )


def _classifier(depth: int):
    network = CifarResNet(depth)
    return lambda params, images: network.apply({"params": params}, images)


_CLASSIFIERS = {depth: _classifier(depth) for depth in RESNETS}


def _compared(name: str, schemes: Sequence[Scheme], data: Path) -> tuple[NamedSweep, list[Pair]]:
    spec = _sweep(name, schemes, load_pictures(data, "holdout"), "lossless hold-out")
    return spec, against_others(spec)


def _sweep(name: str, schemes: Sequence[Scheme], pictures: Pictures, called: str, **changes: Any) -> NamedSweep:
    about = {"weights": "experiments/train_cifar10.py", "pictures": f"CIFAR-10, {called}", "box": "none"}
    return codec_sweep(name, schemes, pictures, about, UNITS, **changes)


def clean_accuracy(judges: Sequence[Judge], pictures: Pictures) -> dict[str, np.ndarray]:
    """Whether classifiers are right about pictures that were not sent: name to ``[B, 1]``."""
    images = pictures.images[:, 0]
    right = {}
    for judge, depth in zip(judges, RESNETS, strict=True):
        classify = jax.jit(_CLASSIFIERS[depth])
        scores = [classify(judge.params, images[start : start + 100]) for start in range(0, len(images), 100)]
        right[judge.name] = np.float64(np.argmax(np.concatenate(scores), -1)[:, None] == pictures.labels)
    return right


def store_ceiling(data: Path, weights: Path, store: ResultStore) -> None:
    """Accuracy on the pictures that were not sent, with a bootstrap over pictures."""
    pictures, judges = load_pictures(data, "test", TEST_PICTURES), accuracy_judges(weights)
    key = store.register({"name": f"{ACCURACY}, clean", "data": "CIFAR-10, JPEG copies, test"})
    at = {"scheme": CLEAN}
    if store.missing(key, [at]):
        metrics = {name: _share(right[:, 0]) for name, right in clean_accuracy(judges, pictures).items()}
        store.add([Point(config_hash=key, coordinates=at, metrics=metrics, seed=0, snr_convention=CONVENTION,
                         snr_db=SNR_DB[-1], device=jax.devices()[0].device_kind, versions=versions())])  # fmt: skip


def _share(right: np.ndarray) -> Measured:
    found = student_interval(np.float64(right))
    return Measured(float(found.mean), float(found.half_width), found.num_units)


def main(arguments: list[str] | None = None) -> int:
    """Measures; returns the exit status: 0, or 2 after one line on stderr."""
    parser = argparse.ArgumentParser(description="Measure the codecs trained on CIFAR-10.")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of train_cifar10.py")
    parser.add_argument("--data", type=Path, default=Path("build/cifar10.npz"), help="file of pack_cifar10.py")
    parser.add_argument("--weights", type=Path, default=Path("../shared/data/weights"), help="classifiers' weights")
    parser.add_argument("--store", type=Path, default=Path("docs/results/results.sqlite"), help="the result store")
    known = [*(quality_name(rate.cbr) for rate in RATES), LONG_NAME, MAGNITUDE, ACCURACY, *map(csi_name, EQUALIZERS),
             TRAININGS, SEPARATION]  # fmt: skip
    parser.add_argument("--only", nargs="+", choices=known, default=known, metavar="NAME",
                        help=f"of {', '.join(map(repr, known))} (default: all)")  # fmt: skip
    options = parser.parse_args(arguments)
    try:
        options.store.parent.mkdir(parents=True, exist_ok=True)
        with ResultStore(options.store) as store:
            for name in options.only:
                try:
                    _measure(name, options, store)
                except FileNotFoundError as missing:
                    print(f"{name} is left out: {missing}", flush=True)
    except (ValueError, OSError, ImportError) as error:
        print(f"results_cifar10: {error}", file=sys.stderr)
        return 2
    return 0


def _measure(name: str, options: argparse.Namespace, store: ResultStore) -> None:
    from results_cifar10_separation import store_separation  # it reads this file

    runs, data, weights = options.runs, options.data, options.weights
    sweeps = {quality_name(rate.cbr): functools.partial(over_rate, rate, runs, data) for rate in RATES}
    sweeps |= {csi_name(rule): functools.partial(over_csi_error, rule, runs, data) for rule in EQUALIZERS}
    sweeps[LONG_NAME] = functools.partial(after_more_pictures, runs, data)
    sweeps[MAGNITUDE] = functools.partial(over_magnitude, runs, data)
    sweeps[ACCURACY] = functools.partial(over_accuracy, runs, data, weights)
    if name == TRAININGS:
        store_trainings(TRAININGS_NAME, RUNS, runs, store)
    elif name == SEPARATION:
        store_separation(data, weights, store)
    else:
        if name == ACCURACY:
            store_ceiling(data, weights, store)
        run_paired_sweep(*sweeps[name](), store, resources=RESOURCES,
                         progress=lambda done, of: print(f"{name}: {done} of {of} points", flush=True))  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
