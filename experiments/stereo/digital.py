r"""AVIF and the 5G LDPC code before the predictor, over AWGN, and the predictor of clean pictures; into digital.csv.

    python -m experiments.stereo.digital --data ../shared/data --out docs/stereo

Both views side by side are one picture of AVIF, sent with all channel uses of the codec at the mean SNR: modulation and
code rate are those of the largest mean PSNR on twenty training scenes. Where nothing fits or the CRC fails the
receiver has the training scenes' mean picture. What it then has are two pictures, and its views are those of
``Decoupled.predict``. The scenes are those of ``experiments.stereo.measure``, one channel realisation each; intervals
speak of other scenes. Five minutes.
"""

import math
import sys
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np

from experiments.script import DATA, script
from experiments.stereo.measure import FULL, SCENES, SEED, SNR_DB, contenders
from experiments.stereo.pack import scenes
from experiments.stereo.places import CLEAN, LINK, Seen, mean_of, predicted, through
from lvm_mtc.cli.stereo import source_of
from lvm_mtc.data.stereo import StereoPairs
from lvm_mtc.metrics.pictures import psnr
from lvm_mtc.results.table import write_csv
from lvm_mtc.schemes.loading import STEREO_WEIGHTS
from lvm_mtc.schemes.separation.modulation_coding import SeparationScheme
from lvm_mtc.sweep.separation import SeparationResult, run_separation

AVIF = "AVIF and LDPC, predictor"
SELECTION = 20
"""Training scenes that modulation and code rate are chosen on."""
OUTER, MIDDLE = slice(0, 2), 2
_PLACES = (0.0, 1.0, 0.5)


@script(
    data="folder with voc2012_320 (default: %(default)s)", weights="of the codec (default: the shipped)",
    out="folder for digital.csv",
)  # fmt: skip
def main(data: Path = DATA, weights: Path = STEREO_WEIGHTS, out: Path = Path("docs/stereo")) -> None:
    """Measure AVIF with LDPC codes before the predictor, and the predictor of clean pictures."""
    pairs, others = scenes(data, "val", SCENES, SEED), scenes(data, "train", SELECTION, SEED)
    full, decoupled = contenders(weights)
    source, places = source_of(pairs), np.broadcast_to(np.float32(_PLACES), (len(pairs), len(_PLACES)))
    true = np.float32(np.concatenate([pairs.pictures, pairs.middle[:, None]], axis=1)) / 255
    sent = send(pairs, others, math.prod(full.scheme.frames()))
    rows = [row_of(CLEAN, true, predicted(decoupled, source.data[:, 0], places))]
    for number, snr_db in enumerate(SNR_DB):
        shown = halves(np.float32(sent.pictures[number, :, 0]) / 255)
        seen, codec = predicted(decoupled, shown, places), through(full, source, places, snr_db)
        rows.append({**row_of(AVIF, true, seen, shown), "snr_db": snr_db, **told(sent, number)})
        rows.append({**row_of(FULL, true, codec), "snr_db": snr_db})
        gap = middle(true, codec) - middle(true, seen)
        rows.append({"scheme": f"{FULL} minus {AVIF}", "snr_db": snr_db, **named(mean_of(gap), "middle")})
    names = dict.fromkeys(name for row in rows for name in row)
    out.mkdir(parents=True, exist_ok=True)
    write_csv(out / "digital.csv", [{name: row.get(name) for name in names} for row in rows])


def send(pairs: StereoPairs, others: StereoPairs, uses: int) -> SeparationResult:
    """Sends pairs side by side in ``uses`` complex symbols each; ``others`` are for choosing how."""
    images, selection = (beside(one.pictures)[:, None] for one in (pairs, others))
    scheme = SeparationScheme(name=AVIF, codec="avif", num_slots=uses // LINK.num_tx_ant)
    height, width = images.shape[2:4]
    whole = np.broadcast_to(np.float32([width / 2, height / 2, width, height]), (len(images), 1, 4))
    return run_separation(
        scheme, images, whole, jax.random.key(0), LINK, selection_images=selection,
        mean_picture=selection.mean((0, 1)), snr_db=SNR_DB, num_realisations=1,
    )  # fmt: skip


def beside(pictures: np.ndarray) -> np.ndarray:
    """Pairs ``[n, 2, H, W, 3]`` uint8 as pictures ``[n, H, 2 W, 3]`` float32 in [0, 1]."""
    return np.float32(np.concatenate([pictures[:, 0], pictures[:, 1]], axis=2)) / 255


def halves(pictures: np.ndarray) -> np.ndarray:
    """The pairs ``[n, 2, H, W, 3]`` in pictures ``[n, H, 2 W, 3]``."""
    return np.stack(np.split(pictures, 2, axis=2), axis=1)


def told(sent: SeparationResult, number: int) -> Mapping[str, float]:
    """How the pairs were sent at an SNR, and the share of them that did not fit or did not arrive."""
    pair = sent.selection.pairs[number]
    lost = 1 - sent.success[0, number].mean()
    payload = pair.blocks.payload_bits
    return {"bits_per_symbol": pair.bits_per_symbol, "code_rate": pair.rate, "payload_bits": payload,
            "lost": float(lost)}  # fmt: skip


def middle(true: np.ndarray, seen: Seen) -> np.ndarray:
    """PSNR of the middle views, dB, ``[n]``."""
    return np.asarray(psnr(true[:, MIDDLE], seen.views[:, MIDDLE]))


def row_of(name: str, true: np.ndarray, seen: Seen, shown: np.ndarray | None = None) -> dict:
    """Middle view, both outer ones as rendered and, where pictures are ``shown``, these; dB with intervals."""
    outer = np.asarray(psnr(true[:, OUTER], seen.views[:, OUTER])).mean(1)
    row = {"scheme": name, "snr_db": None, **named(mean_of(middle(true, seen)), "middle")}
    row |= named(mean_of(outer), "views")
    if shown is not None:
        row |= named(mean_of(np.asarray(psnr(true[:, OUTER], shown)).mean(1)), "pictures")
    return {**row, "overflow": seen.overflow}


def named(values: Mapping[str, float], what: str) -> dict[str, float]:
    """The entries with what they are of behind their names."""
    return {f"{name}_{what}": value for name, value in values.items()}


if __name__ == "__main__":
    sys.exit(main())
