"""Sections on whole pictures: classification and CSI error, with the codecs that the package brings at CBR 1/3."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.results.sweeps import CONVENTION, LINKS, make_sweep
from experiments.stores import minus_the_others, store_values
from lvm_mtc import zoo
from lvm_mtc.data.cifar10 import LabelledPictures, load_cifar10_sheets, load_class_folders
from lvm_mtc.data.twins import HELD_OUT
from lvm_mtc.interop.classifier_weights import load_cifar_resnet
from lvm_mtc.metrics.judges import Judge, accuracy_judge
from lvm_mtc.models.cifar_resnet import CifarResNet
from lvm_mtc.results.bootstrap import two_way_interval
from lvm_mtc.results.intervals import Interval, student_interval
from lvm_mtc.results.points import Measured, Point
from lvm_mtc.results.store import ResultStore
from lvm_mtc.schemes.linear.scheme import Linear, LinearConfig
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.separation.modulation_coding import SeparationScheme, fit_pictures
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.paired import NamedSweep, Pair
from lvm_mtc.sweep.plan import picture_source
from lvm_mtc.sweep.rows import versions
from lvm_mtc.sweep.separation import SeparationResult, run_separation

ACCURACY, CSI = "CIFAR-10, accuracy", "CIFAR-10, CSI error"
"""Names of the sweeps in the store."""
CLEAN, SEPARATION = "not sent", "WebP, LDPC and QAM"
LINK_KNOWN = f"{SEPARATION}, channel known by name"
"""The digital transmitter knows the SNR, as the codecs do that were trained for both channels; or its channel too."""
DIGITAL, CLEAN_NAME = (SEPARATION, LINK_KNOWN), f"{ACCURACY}, clean"
TOKEN2, DEEPJSCC, MENU, PCA = "token2", "DeepJSCC", "menu", "linear PCA"
IN_ZOO = {TOKEN2: "token2_cifar10_cbr_1_3", DEEPJSCC: "deepjscc_cifar10_cbr_1_3", MENU: "menu_cbr_1_3"}
"""Name of a scheme to that of its codec in ``lvm_mtc.zoo``."""
LINEAR = Linear(LinearConfig(image_size=32, num_symbols=64, spread=LINKS[1].num_tx_ant))

SNR_DB, UNITS, NUM_SYMBOLS = (1.0, 4.0, 7.0, 10.0, 13.0), 4, 64 * 16
"""The last are the complex symbols of a picture at CBR 1/3."""
TEST_PICTURES, SELECTION_PICTURES, RESNETS = 200, 50, (20, 56)
ROBUST, OTHERS = "robust", ("unbiased", "paper")
"""Equalisers, which are the names of their links too."""
CSI_ERROR_VAR, CSI_SNR_DB = (0.0, 0.003, 0.01, 0.03, 0.1, 0.3), (4.0, 10.0, 13.0)

_NETWORKS = {depth: CifarResNet(depth) for depth in RESNETS}
_CLASSIFIERS = {depth: lambda params, images, network=network: network.apply({"params": params}, images)
                for depth, network in _NETWORKS.items()}  # fmt: skip


@functools.cache
def load_lossless(data: Path) -> tuple[LabelledPictures, LabelledPictures]:
    """Lossless pictures, those that codecs may learn from and those that are held out."""
    pictures, labels, names = load_cifar10_sheets(data / "cifar10")
    cut = slice(None, -HELD_OUT), slice(-HELD_OUT, None)
    return tuple(LabelledPictures(pictures[part], labels[part], names) for part in cut)


@functools.cache
def load_test(data: Path) -> LabelledPictures:
    """JPEG copies of the test set's first pictures of each class, equally many of each."""
    every = load_class_folders(data / "cifar10" / "cifar10_jpeg_test.tar.xz", "test")
    take = np.concatenate([np.flatnonzero(every.labels == label)[: TEST_PICTURES // 10] for label in range(10)])
    return LabelledPictures(every.pictures[take], every.labels[take], every.classes)


def as_source(of: LabelledPictures) -> Source:
    """Pictures with their classes, one a group."""
    loc = np.broadcast_to(np.float32([16, 16, 32, 32]), (len(of.pictures), 1, 4))
    return picture_source(np.float32(of.pictures)[:, None] / 255, loc, labels=np.int32(of.labels)[:, None])


def accuracy_judges(data: Path) -> tuple[Judge, ...]:
    """One judge a ResNet, ``accuracy_resnet20`` and so on, with the weights of a folder."""
    weights = data / "weights"
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


def over_snr(data: Path) -> tuple[NamedSweep, list[Pair]]:
    """Accuracy of classifiers on what arrives, JPEG copies of test pictures (Fig. 12)."""
    linear = Contender(name=PCA, scheme=LINEAR, params=LINEAR.fit(load_lossless(data)[0].pictures))
    spec = _sweep(
        ACCURACY, (*_of_zoo(IN_ZOO), linear), load_test(data), "JPEG copies, test", judges=accuracy_judges(data),
        weights=f"lvm_mtc.zoo; {PCA}: components of the lossless pictures that are not held out", snr_db=SNR_DB,
    )  # fmt: skip
    return spec, minus_the_others(spec, TOKEN2)


def over_csi_error(data: Path) -> tuple[NamedSweep, list[Pair]]:
    """PSNR over CSI error behind three L-MMSE equalisers, all of which see the same channels and errors."""
    links = (dataclasses.replace(LINKS[1], name=rule, equalizer=rule) for rule in (ROBUST, *OTHERS))
    spec = _sweep(
        CSI, _of_zoo((TOKEN2, DEEPJSCC)), load_lossless(data)[1], "lossless hold-out", weights="lvm_mtc.zoo",
        links=tuple(links), snr_db=CSI_SNR_DB, csi_error_var=CSI_ERROR_VAR,
    )  # fmt: skip
    robust = [at for at in spec.coordinates() if at["channel"] == ROBUST]
    return spec, [Pair(minus_rule(at["scheme"], rule), at, at | {"channel": rule}) for at in robust for rule in OTHERS]


def minus_rule(scheme: str, rule: str) -> str:
    """Name of the difference between a scheme behind the robust equaliser and behind one of ``OTHERS``."""
    return f"{scheme}, {ROBUST} minus {rule}"


def _of_zoo(names: Sequence[str]) -> tuple[Contender, ...]:
    loaded = {name: zoo.load_codec(IN_ZOO[name]) for name in names}
    return tuple(Contender(name=name, scheme=scheme, params=params) for name, (scheme, params) in loaded.items())


def _sweep(name: str, schemes: Sequence[Contender], of: LabelledPictures, called: str, *, weights: str, **fields: Any):
    about = {"weights": weights, "pictures": f"CIFAR-10, {called}", "box": "none"}
    settings = dict(metrics=("psnr_db",), pictures_per_step=50) | fields
    return make_sweep(name, schemes, {1: as_source(of)}, about, UNITS, **settings)


def store_ceiling(data: Path, store: ResultStore) -> None:
    """Accuracy on the pictures that were not sent, with an interval over pictures."""
    about, at = {"name": CLEAN_NAME, "data": "CIFAR-10, JPEG copies, test"}, {"scheme": CLEAN}
    if store.missing(store.register(about), [at]):
        accuracy = clean_accuracy(accuracy_judges(data), as_source(load_test(data)))
        metrics = {name: _measured(student_interval(np.float64(right[:, 0]))) for name, right in accuracy.items()}
        store_values(store, about, at, metrics, snr_db=SNR_DB[-1], convention=CONVENTION)


def separation_name(scheme: str) -> str:
    """Name of the sweep of a digital scheme, ``SEPARATION`` or ``LINK_KNOWN``."""
    return f"{ACCURACY}, separation{scheme.removeprefix(SEPARATION)}"


def store_separation(scheme_name: str, data: Path, store: ResultStore) -> None:
    """Sends the test pictures digitally, over both channels, and classifies what is shown."""
    over = "the channel" if scheme_name == LINK_KNOWN else "all channels"
    key = store.register({
        "name": separation_name(scheme_name), "codec": "webp", "units": UNITS, "data": "CIFAR-10, JPEG copies, test",
        "selection": f"{SELECTION_PICTURES} lossless training pictures, over {over}",
        "decoder": "layered, up to 50 iterations",
    })  # fmt: skip
    pictures, judges = as_source(load_test(data)), accuracy_judges(data)
    others = load_lossless(data)[0].pictures
    selection = np.float32(others[-SELECTION_PICTURES:])[:, None] / 255
    mean_picture = np.float32(others.mean(0) / 255)
    for link in LINKS:
        wanted = [{"scheme": scheme_name, "channel": link.label, "snr_db": snr_db} for snr_db in SNR_DB]
        if not store.missing(key, wanted):
            continue
        knows = "statistics" if scheme_name == LINK_KNOWN else "snr"
        scheme = SeparationScheme(
            name=scheme_name, codec="webp", num_slots=NUM_SYMBOLS // link.num_tx_ant, knows=knows
        )  # fmt: skip
        result = run_separation(
            scheme, pictures.data, pictures.hints["loc"], jax.random.key(0), link, selection_images=selection,
            mean_picture=mean_picture, snr_db=SNR_DB, num_realisations=UNITS, max_pictures=250,
            selection_links=LINKS if knows == "snr" else (),
        )  # fmt: skip
        samples = _accuracies(result, judges, pictures, mean_picture)
        samples["psnr_db"] = result.metrics["psnr_db"][..., 0]
        for number, at in enumerate(wanted):
            metrics = {name: _measured(two_way_interval(np.float64(of[:, number]))) for name, of in samples.items()}
            store.add([Point(
                config_hash=key, coordinates=at, seed=0, snr_convention=link.convention, snr_db=at["snr_db"],
                metrics=metrics, ledger={"channel_uses": float(NUM_SYMBOLS), "num_pictures": len(pictures.data)},
                device=jax.devices()[0].device_kind, versions=versions(),
            )])  # fmt: skip
        print(f"{separation_name(scheme_name)}: {link.label}", flush=True)


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


def _measured(interval: Interval) -> Measured:
    return Measured(float(interval.mean), float(interval.half_width), interval.num_units)
