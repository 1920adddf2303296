r"""AVIF and the 5G LDPC code before the predictor, over AWGN; into digital.csv.

    python -m experiments.stereo.digital --data ../shared/data --out docs/stereo

Both views side by side are one picture of AVIF, sent with all channel uses of the codec. At every SNR the modulation
and code rate of the largest payload is taken of which twenty words all arrive through the whole chain. Each pair is
sent at the best quality that fits; where none does the receiver has the mean of twenty training pairs. Its pictures are
matched and lifted by ``Decoupled.predict``. The scenes are those of ``experiments.stereo.measure``. Three minutes.
"""

import math
import sys
from pathlib import Path

import jax
import numpy as np

from experiments.script import DATA, script
from experiments.stereo.measure import SCENES, SEED, SNR_DB, contenders
from experiments.stereo.pack import scenes
from experiments.stereo.places import LINK, Seen, mean_of, predicted
from lvm_mtc.data.picture_codecs import largest_fits
from lvm_mtc.metrics.pictures import psnr
from lvm_mtc.phy import coding
from lvm_mtc.results.table import write_csv
from lvm_mtc.schemes.loading import STEREO_WEIGHTS
from lvm_mtc.schemes.separation.digital import draw_pictures, scrambling, send_bits

AVIF = "AVIF and LDPC, predictor"
MODULATION_CODING = (
    (2, 1 / 3), (2, 1 / 2), (2, 2 / 3), (4, 1 / 2), (4, 2 / 3),
    (4, 3 / 4), (6, 2 / 3), (6, 3 / 4), (6, 5 / 6), (8, 3 / 4),
)  # fmt: skip
"""Bits of a symbol and code rate, by rising payload."""
WORDS, OTHERS = 20, 20
"""That have to arrive, and training scenes of the mean picture."""


@script(
    data="folder with voc2012_320 (default: %(default)s)", weights="of the codec (default: the shipped)",
    out="folder for digital.csv",
)  # fmt: skip
def main(data: Path = DATA, weights: Path = STEREO_WEIGHTS, out: Path = Path("docs/stereo")) -> None:
    """Measure AVIF with LDPC codes before the predictor."""
    pairs = scenes(data, "val", SCENES, SEED)
    mean = beside(scenes(data, "train", OTHERS, SEED).pictures).mean(0)
    full, decoupled = contenders(weights)
    best = arrivals(math.prod(full.scheme.frames()))
    payloads = [blocks.payload_bits - 1 for blocks in best]
    coded = [largest_fits(picture, "avif", payloads) for picture in beside(pairs.pictures)]
    true = np.float32(np.concatenate([pairs.pictures, pairs.middle[:, None]], axis=1)) / 255
    places = np.broadcast_to(np.float32([0, 1, 0.5]), (len(pairs), 3))
    rows = []
    for number, (snr_db, blocks) in enumerate(zip(SNR_DB, best, strict=True)):
        fits = [one[number] is not None for one in coded]
        shown = np.stack([mean if one[number] is None else one[number].picture for one in coded])
        pictures = halves(np.float32(shown) / 255)
        row = {"snr_db": snr_db, "bits_per_symbol": blocks.bits_per_symbol, "payload_bits": blocks.payload_bits}
        row |= {"without": 1 - np.mean(fits)}
        rows.append(row | measured(true, predicted(decoupled, pictures, places), pictures))
    out.mkdir(parents=True, exist_ok=True)
    write_csv(out / "digital.csv", rows)


def measured(true: np.ndarray, seen: Seen, pictures: np.ndarray) -> dict:
    """PSNR of the middle views, and of the two pictures that arrived, dB with half widths."""
    of = {"middle": np.asarray(psnr(true[:, 2], seen.views[:, 2])), "pictures": psnr(true[:, :2], pictures).mean(1)}
    values = {f"{key}_{name}": v for name, each in of.items() for key, v in mean_of(np.asarray(each)).items()}
    return values | {"overflow": seen.overflow}


def arrivals(uses: int) -> list[coding.CodeBlocks]:
    """Of each SNR the code of the largest payload of which all words arrive."""
    found, best = [], -1
    for snr_db in SNR_DB:
        while best + 1 < len(MODULATION_CODING) and arrive(uses, *MODULATION_CODING[best + 1], snr_db):
            best += 1
        if best < 0:
            raise ValueError(f"of {WORDS} words not all arrive at {snr_db:g} dB with the smallest payload")
        found.append(coding.code_blocks(uses, *MODULATION_CODING[best]))
    return found


def arrive(uses: int, bits_per_symbol: int, rate: float, snr_db: float) -> bool:
    """Whether all of ``WORDS`` random payloads arrive: encoder, QAM, AWGN, demapper, decoder, CRC."""
    blocks = coding.code_blocks(uses, bits_per_symbol, rate)
    payload = np.random.default_rng(0).integers(0, 2, (WORDS, blocks.payload_bits), np.uint8)
    scramble = scrambling(blocks.num_coded_bits)
    coded = coding.encode_payload(payload, blocks) ^ scramble
    draws = draw_pictures(LINK, WORDS, 1, uses // LINK.num_tx_ant, jax.random.key(0))
    llr = np.asarray(send_bits(LINK, bits_per_symbol, coded[:, None], draws, np.float32(snr_db), np.float32(0)).llr)
    found = coding.decode_payload(llr[:, 0] * (1 - 2 * np.float32(scramble)), blocks, engine="numpy")
    return bool((found.valid & (found.payload == payload).all(-1)).all())


def beside(pictures: np.ndarray) -> np.ndarray:
    """Pairs ``[n, 2, H, W, 3]`` as pictures ``[n, H, 2 W, 3]``."""
    return np.concatenate([pictures[:, 0], pictures[:, 1]], axis=2)


def halves(pictures: np.ndarray) -> np.ndarray:
    """The pairs ``[n, 2, H, W, 3]`` in pictures ``[n, H, 2 W, 3]``."""
    return np.stack(np.split(pictures, 2, axis=2), axis=1)


if __name__ == "__main__":
    sys.exit(main())
