r"""Measures the codecs trained on CIFAR-10 into the result store: quality, accuracy, the price of a wrong estimate.

    python -m experiments.results.cifar10 --runs runs --data build/cifar10.npz --weights ../shared/data/weights

What the store holds already is not computed again. Where a run is not trained, one line says so and the rest goes on.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from experiments.results import sweeps
from experiments.results.sweeps import CONVENTION, DEEPJSCC, LINKS, PCA, SNR_DB, TOKEN, WITT
from experiments.results.train_cifar10 import RUNS
from experiments.results.training_runs import store_trainings
from experiments.script import DATA, STORE, script
from lvm_mtc import LinkConfig
from lvm_mtc.interop.classifier_weights import load_cifar_resnet
from lvm_mtc.metrics.judges import Judge, accuracy_judge
from lvm_mtc.models.cifar_resnet import CifarResNet
from lvm_mtc.results.bootstrap import two_way_interval
from lvm_mtc.results.intervals import Interval, student_interval
from lvm_mtc.results.points import Measured, Point
from lvm_mtc.results.store import ResultStore
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.separation.modulation_coding import SeparationScheme, fit_pictures
from lvm_mtc.sweep.paired import NamedSweep, Pair
from lvm_mtc.sweep.plan import picture_source
from lvm_mtc.sweep.rows import versions
from lvm_mtc.sweep.run import Resources
from lvm_mtc.sweep.separation import SeparationResult, run_separation

ACCURACY, SEPARATION, CLEAN = "CIFAR-10, accuracy", "WebP, LDPC and QAM", "not sent"
LINK_KNOWN = f"{SEPARATION}, channel known by name"
"""The digital transmitter knows the SNR, as the codecs do that were trained for both channels; or its channel too."""
UNITS, TEST_PICTURES, SELECTION_PICTURES, RESNETS = 4, 500, 200, (20, 56)
NUM_SYMBOLS = 64 * 16
"""Of a picture at CBR 1/3."""
_NETWORKS = {depth: CifarResNet(depth) for depth in RESNETS}
_CLASSIFIERS = {depth: lambda params, images, network=network: network.apply({"params": params}, images)
                for depth, network in _NETWORKS.items()}  # fmt: skip

UNSPREAD, PCA_SPREAD = "token codec, not spread", "linear PCA, spread"
CSI_ERROR_VAR = (0.0, 0.003, 0.01, 0.03, 0.1, 0.3)
CSI_SNR_DB = (4.0, 10.0, 16.0)
RESOURCES = Resources(num_devices=1, items_per_device=len(SNR_DB) * UNITS)
RATES = {"1/3": (64, 16), "1/6": (32, 8), "1/12": (16, 4)}
"""Bandwidth ratio to the symbols a token, of the token codec and of the others, in the names of their runs."""
NAMES = {cbr: f"CIFAR-10, CBR {cbr}" for cbr in RATES}
"""Bandwidth ratio to the name of its sweep."""
CSI_NAMES = {equalizer: f"CIFAR-10, CSI error, {equalizer}" for equalizer in ("paper", "unbiased", "robust")}
"""Equaliser to the name of its sweep over CSI error."""
TRAININGS, TRAININGS_NAME = "trainings", "CIFAR-10, training"
LONG_NAME, MAGNITUDE = "CIFAR-10, CBR 1/3, ten times the pictures", "CIFAR-10, witt_rayleigh"
SWEEPS = {
    **{NAMES[cbr]: {TOKEN: f"token_{token}", PCA: f"pca_{token}", DEEPJSCC: f"deepjscc_{other}", WITT: f"witt_{other}"}
       for cbr, (token, other) in RATES.items()},
    LONG_NAME: {DEEPJSCC: "deepjscc_16_long", TOKEN: "token_64_long"},
    # Tuned for the channel of WITT's published Rayleigh curve, on that channel.
    MAGNITUDE: {TOKEN: "token_64_magnitude", DEEPJSCC: "deepjscc_16_magnitude", WITT: "witt_16_magnitude"},
    ACCURACY: {TOKEN: "token_64", PCA: "pca_64", DEEPJSCC: "deepjscc_16", WITT: "witt_16"},
    **{name: {"tuned with it": f"token_64_csi_{equalizer}", "perfect CSI": "token_64_csi_perfect"}
       for equalizer, name in CSI_NAMES.items()},
}  # fmt: skip
"""Name of a sweep to the runs of its schemes."""
SWEEPS[NAMES["1/3"]] |= {UNSPREAD: "token_64_unspread", PCA_SPREAD: "pca_64_spread"}
KNOWN = (*SWEEPS, TRAININGS, SEPARATION, LINK_KNOWN)


def load_pictures(data: Path, split: str, count: int | None = None) -> Source:
    """Pictures of ``"holdout"`` or ``"test"`` with their classes, one a group: all, or of each class equally many."""
    with np.load(data) as packed:
        pictures, labels = packed[f"{split}_pictures"], packed[f"{split}_labels"]
    if count is not None:
        take = [np.flatnonzero(labels == label)[: count // 10] for label in range(10)]
        pictures, labels = (a[np.concatenate(take)] for a in (pictures, labels))
    loc = np.broadcast_to(np.float32([16, 16, 32, 32]), (len(pictures), 1, 4))
    return picture_source(np.float32(pictures)[:, None] / 255, loc, labels=np.int32(labels)[:, None])


def accuracy_judges(weights: Path) -> tuple[Judge, ...]:
    """One judge a ResNet, ``accuracy_resnet20`` and so on, with the weights of a folder."""
    networks = {depth: load_cifar_resnet(weights / f"cifar10_resnet{depth}.npz", depth) for depth in RESNETS}
    return tuple(dataclasses.replace(accuracy_judge(_CLASSIFIERS[depth], params), name=f"accuracy_resnet{depth}")
                 for depth, params in networks.items())  # fmt: skip


def clean_accuracy(judges: Sequence[Judge], pictures: Source) -> dict[str, np.ndarray]:
    """Whether classifiers are right about pictures that were not sent: name to ``[B, 1]``."""
    images = pictures.data[:, 0]
    right = {}
    for judge, depth in zip(judges, RESNETS, strict=True):
        classify = jax.jit(_CLASSIFIERS[depth])
        scores = [classify(judge.params, images[start : start + 100]) for start in range(0, len(images), 100)]
        right[judge.name] = np.float64(np.argmax(np.concatenate(scores), -1)[:, None] == pictures.hints["labels"])
    return right


def _measured(interval: Interval) -> Measured:
    return Measured(float(interval.mean), float(interval.half_width), interval.num_units)


def store_ceiling(data: Path, weights: Path, store: ResultStore) -> None:
    """Accuracy on the pictures that were not sent, with an interval over pictures."""
    pictures, judges = load_pictures(data, "test", TEST_PICTURES), accuracy_judges(weights)
    key = store.register({"name": f"{ACCURACY}, clean", "data": "CIFAR-10, JPEG copies, test"})
    at = {"scheme": CLEAN}
    if store.missing(key, [at]):
        accuracy = clean_accuracy(judges, pictures)
        metrics = {name: _measured(student_interval(np.float64(right[:, 0]))) for name, right in accuracy.items()}
        store.add([Point(config_hash=key, coordinates=at, metrics=metrics, seed=0, snr_convention=CONVENTION,
                         snr_db=SNR_DB[-1], device=jax.devices()[0].device_kind, versions=versions())])  # fmt: skip


def separation_name(scheme: str) -> str:
    """Name of the sweep of a digital scheme, ``SEPARATION`` or ``LINK_KNOWN``."""
    return f"{ACCURACY}, separation{scheme.removeprefix(SEPARATION)}"


def store_separation(scheme_name: str, data: Path, weights: Path, store: ResultStore) -> int:
    """Sends the test pictures digitally, over both channels, and classifies what is shown; how many points are new."""
    over = "the channel" if scheme_name == LINK_KNOWN else "all channels"
    key = store.register({
        "name": separation_name(scheme_name), "codec": "webp", "units": UNITS, "data": "CIFAR-10, JPEG copies, test",
        "selection": f"{SELECTION_PICTURES} lossless training pictures, over {over}",
        "decoder": "layered, up to 50 iterations",
    })  # fmt: skip
    pictures, judges = load_pictures(data, "test", TEST_PICTURES), accuracy_judges(weights)
    with np.load(data) as packed:
        training = np.float32(packed["pictures"][-SELECTION_PICTURES:])[:, None] / 255
        mean_picture = np.float32(packed["pictures"][-2500:].mean(0) / 255)
    new = 0
    for link in LINKS:
        wanted = [{"scheme": scheme_name, "channel": link.label, "snr_db": snr_db} for snr_db in SNR_DB]
        if not store.missing(key, wanted):
            continue
        knows = "statistics" if scheme_name == LINK_KNOWN else "snr"
        scheme = SeparationScheme(
            name=scheme_name, codec="webp", num_slots=NUM_SYMBOLS // link.num_tx_ant, knows=knows
        )  # fmt: skip
        result = run_separation(
            scheme, pictures.data, pictures.hints["loc"], jax.random.key(0), link, selection_images=training,
            mean_picture=mean_picture, snr_db=SNR_DB, num_realisations=UNITS, max_pictures=250,
            selection_links=LINKS if knows == "snr" else (),
        )  # fmt: skip
        samples = _accuracies(result, judges, pictures, mean_picture)
        samples["psnr_db"] = result.metrics["psnr_db"][..., 0]
        for number, at in enumerate(wanted):
            metrics = {name: _measured(two_way_interval(np.float64(of[:, number]))) for name, of in samples.items()}
            new += store.add([Point(
                config_hash=key, coordinates=at, seed=0, snr_convention=link.convention, snr_db=at["snr_db"],
                metrics=metrics, ledger={"channel_uses": float(NUM_SYMBOLS), "num_pictures": len(pictures.data)},
                device=jax.devices()[0].device_kind, versions=versions(),
            )])  # fmt: skip
    return new


def _accuracies(result: SeparationResult, judges, pictures: Source, mean_picture) -> dict[str, np.ndarray]:
    """Whether the picture that is shown is classified rightly, ``[R, P, B]`` for each judge."""
    success = result.success[..., 0]
    right = {judge.name: np.zeros(success.shape) for judge in judges}
    nothing = clean_accuracy(judges, pictures._replace(data=np.broadcast_to(mean_picture, pictures.data.shape)))
    for pair in dict.fromkeys(result.selection.pairs):
        fitted = fit_pictures(result.scheme, pictures.data[:, 0], pair)
        shown = np.stack([mean_picture if coded is None else np.float32(coded.picture) / 255 for coded in fitted])
        decoded = clean_accuracy(judges, pictures._replace(data=shown[:, None]))
        for number in (i for i, chosen in enumerate(result.selection.pairs) if chosen == pair):
            for name, of in right.items():
                of[:, number] = np.where(success[:, number], decoded[name][:, 0], nothing[name][:, 0])
    return right


def make_sweep(name: str, runs: Path, data: Path, weights: Path) -> tuple[NamedSweep, list[Pair]]:
    """A sweep of ``SWEEPS`` and the differences that are stored with it.

    Over SNR, AWGN and 4x4 Rayleigh, on the lossless hold-out, but for MAGNITUDE, on its channel; ACCURACY, of
    classifiers on JPEG copies of test pictures (Fig. 12); and those over CSI error with an equaliser, of a codec tuned
    with it and one that was tuned on perfect CSI.
    """
    equalizer = next((rule for rule, of in CSI_NAMES.items() if of == name), None)
    changes, pictures, called = {}, load_pictures(data, "holdout"), "lossless hold-out"
    if name == MAGNITUDE:
        changes = dict(links=(LinkConfig.witt_rayleigh(),))
    elif name == ACCURACY:
        pictures, called = load_pictures(data, "test", TEST_PICTURES), "JPEG copies, test"
        changes = dict(judges=accuracy_judges(weights), metrics=("psnr_db",))
    elif equalizer:
        links = (dataclasses.replace(LINKS[1], equalizer=equalizer),)
        changes = dict(links=links, snr_db=CSI_SNR_DB, csi_error_var=CSI_ERROR_VAR)
    # In the words of the stores that there are.
    about = {"weights": "experiments/train_cifar10.py", "pictures": f"CIFAR-10, {called}", "box": "none"}
    schemes = sweeps.trained_schemes(runs, SWEEPS[name])
    spec = sweeps.make_sweep(name, schemes, {1: pictures}, about, UNITS, **sweeps.CODECS | changes)
    if equalizer:
        return spec, sweeps.pairs_by(
            spec, "tuned with it minus perfect CSI", ("tuned with it",), {"scheme": "perfect CSI"}
        )
    return spec, sweeps.against_others(spec)


@script(
    runs="folder of train_cifar10.py", data="file of pack_cifar10.py", weights="classifiers' weights",
    store="the result store",
    only={"choices": KNOWN, "metavar": "NAME", "help": f"of {', '.join(map(repr, KNOWN))} (default: all)"},
)  # fmt: skip
def main(
    runs: Path = Path("runs"), data: Path = Path("build/cifar10.npz"), weights: Path = DATA / "weights",
    store: Path = STORE, only: tuple[str, ...] = KNOWN,
) -> None:  # fmt: skip
    """Measure the codecs trained on CIFAR-10."""
    store.parent.mkdir(parents=True, exist_ok=True)
    with ResultStore(store) as results:
        for name in only:
            try:
                if name == TRAININGS:
                    store_trainings(TRAININGS_NAME, RUNS, runs, results)
                elif name in (SEPARATION, LINK_KNOWN):
                    store_separation(name, data, weights, results)
                else:
                    if name == ACCURACY:
                        store_ceiling(data, weights, results)
                    sweeps.store_sweep(*make_sweep(name, runs, data, weights), results, RESOURCES)
            except FileNotFoundError as missing:
                print(f"{name} is left out: {missing}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
