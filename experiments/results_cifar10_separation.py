"""Accuracy behind the separation baseline: WebP, LDPC and QAM over the codecs' channels, at their channel uses."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
from results_cifar10 import (
    ACCURACY,
    RATES,
    SEPARATION,
    TEST_PICTURES,
    UNITS,
    accuracy_judges,
    clean_accuracy,
    load_pictures,
)
from results_codecs import LINKS, SNR_DB

from lvm_mtc.evaluation.bootstrap import two_way_interval
from lvm_mtc.evaluation.modulation_coding import SeparationScheme, fit_pictures
from lvm_mtc.evaluation.points import Measured, Point
from lvm_mtc.evaluation.separation import SeparationResult, run_separation
from lvm_mtc.evaluation.store import ResultStore
from lvm_mtc.evaluation.sweep_plan import Pictures
from lvm_mtc.evaluation.sweep_rows import versions

SELECTION_PICTURES = 200
NAME = f"{ACCURACY}, separation"
ABOUT = {
    "name": NAME, "codec": "webp", "selection": f"{SELECTION_PICTURES} lossless training pictures",
    "units": UNITS, "data": "CIFAR-10, JPEG copies, test",
}  # fmt: skip


def store_separation(data: Path, weights: Path, store: ResultStore) -> int:
    """Sends the test pictures digitally over both channels and classifies what is shown.

    Args:
        data: File of ``pack_cifar10.py``.
        weights: Folder of the classifiers' weights.
        store: Where the points go.

    Returns:
        How many points are new.

    Raises:
        SionnaUnavailable: without the extra ``sionna``.
    """
    key, pictures, judges = store.register(ABOUT), load_pictures(data, "test", TEST_PICTURES), accuracy_judges(weights)
    with np.load(data) as packed:
        training = np.float32(packed["pictures"][-SELECTION_PICTURES:])[:, None] / 255
        mean_picture = np.float32(packed["pictures"][-2500:].mean(0) / 255)
    new = 0
    for link in LINKS:
        wanted = [{"scheme": SEPARATION, "channel": link.fading, "snr_db": snr_db} for snr_db in SNR_DB]
        if not store.missing(key, wanted):
            continue
        slots = 64 * RATES[0].picture // link.num_tx_ant
        scheme = SeparationScheme(name=SEPARATION, codec="webp", num_slots=slots)
        result = run_separation(
            scheme, pictures.images, pictures.loc, jax.random.key(0), link, selection_images=training,
            mean_picture=mean_picture, snr_db=SNR_DB, num_realisations=UNITS, max_pictures=250,
        )  # fmt: skip
        accuracy = _accuracies(result, judges, pictures, mean_picture)
        for number, at in enumerate(wanted):
            values = {name: of[:, number] for name, of in accuracy.items()}
            values["psnr_db"] = result.metrics["psnr_db"][:, number, :, 0]
            new += store.add([Point(
                config_hash=key, coordinates=at, seed=0, snr_convention=link.convention, snr_db=at["snr_db"],
                metrics={name: _measured(value) for name, value in values.items()},
                ledger={"channel_uses": float(slots * link.num_tx_ant), "num_pictures": len(pictures.images)},
                device=jax.devices()[0].device_kind, versions=versions(),
            )])  # fmt: skip
    return new


def _measured(cells: np.ndarray) -> Measured:
    found = two_way_interval(np.float64(cells))
    return Measured(float(found.mean), float(found.half_width), found.num_units)


def _accuracies(result: SeparationResult, judges, pictures: Pictures, mean_picture) -> dict[str, np.ndarray]:
    """Whether the picture that is shown is classified rightly, ``[R, P, B]`` for each judge."""
    success = result.success[..., 0]
    right = {judge.name: np.zeros(success.shape) for judge in judges}
    nothing = clean_accuracy(judges, pictures._replace(images=np.broadcast_to(mean_picture, pictures.images.shape)))
    for pair in dict.fromkeys(result.selection.pairs):
        fitted = fit_pictures(result.scheme, pictures.images[:, 0], pair)
        shown = np.stack([mean_picture if one is None else np.float32(one.picture) / 255 for one in fitted])[:, None]
        decoded = clean_accuracy(judges, pictures._replace(images=shown))
        for number in (i for i, chosen in enumerate(result.selection.pairs) if chosen == pair):
            for name, of in right.items():
                of[:, number] = np.where(success[:, number], decoded[name][:, 0], nothing[name][:, 0])
    return right
