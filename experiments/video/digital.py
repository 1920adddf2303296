r"""Clips as bits over AWGN: x264 or x265, 5G's LDPC code, QAM, at the uses of the video codec; into digital.csv.

    python -m experiments.video.digital --data ../shared/data --out docs/video

A group of eight frames is one payload with one CRC, sent with all the uses of the group, side information of the
video codec included. At every SNR the modulation and code rate of the largest payload is taken of which as many words
as there are groups all arrive through the whole chain; the one behind it in the order is recorded, too. A group whose
CRC fails shows the last frame before it. Needs the extra ``video``. Five minutes.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.script import DATA, script
from experiments.video.measure import FRAMES, GOP, contenders, read_clips, side_bits
from lvm_mtc.data.video_codecs import CODECS, best_within
from lvm_mtc.link import LinkConfig
from lvm_mtc.phy import coding
from lvm_mtc.results.table import write_csv
from lvm_mtc.schemes.loading import CLIP_WEIGHTS
from lvm_mtc.schemes.separation.digital import draw_pictures, send_bits

LINK = LinkConfig(fading="awgn", convention="rx_per_antenna")
SNR_DB = (0.0, 5.0, 10.0, 15.0)
MODULATION_CODING = ((2, 1 / 3), (2, 1 / 2), (2, 2 / 3), (4, 1 / 2), (4, 2 / 3), (4, 3 / 4), (6, 2 / 3), (6, 3 / 4))
"""Bits of a symbol and code rate, by rising payload."""
STEPPED = "x264"
"""The codec that one step more of rate is measured with."""
LENGTH_BITS = 16
"""Of a group's payload length, which receivers are told."""


@script(
    data="folder with clips/test (default: %(default)s)", weights="of the video codec (default: the shipped ones)",
    out="folder for digital.csv",
)  # fmt: skip
def main(data: Path = DATA, weights: Path = CLIP_WEIGHTS, out: Path = Path("docs/video")) -> None:
    """Measure x264 and x265 with LDPC codes."""
    clips = read_clips(data)
    full = contenders(weights, clips)[0]
    uses = full.scheme.config.num_uses + side_bits(full.scheme, full.params, clips)
    words = len(clips) * (FRAMES // GOP)
    rows = [row for codec in CODECS for row in measure(clips, codec, uses * GOP, arrivals(uses * GOP, words))]
    out.mkdir(parents=True, exist_ok=True)
    write_csv(out / "digital.csv", rows)


def blocks_of(num_uses: int, pair: tuple[int, float]) -> coding.CodeBlocks:
    """Of a group of frames; symbols fill whole slots of four antennas."""
    bits, rate = pair
    return coding.code_blocks((num_uses - LENGTH_BITS) // 4 * 4, bits, rate, crc="CRC24A")


def arrive(num_uses: int, pair: tuple[int, float], snr_db: float, words: int, seed: int = 0) -> np.ndarray:
    """Which of ``words`` payloads arrive whole, ``[words]`` bool: encoder, QAM, AWGN, demapper, decoder, CRC."""
    blocks = blocks_of(num_uses, pair)
    payload = np.random.default_rng(seed).integers(0, 2, (words, blocks.payload_bits), np.uint8)
    scrambled = np.random.default_rng(1).integers(0, 2, blocks.num_coded_bits, np.uint8)
    coded = coding.encode_payload(payload, blocks) ^ scrambled
    slots = blocks.num_coded_bits // blocks.bits_per_symbol // LINK.num_tx_ant
    draws = draw_pictures(LINK, words, 1, slots, jax.random.key(seed))
    llr = send_bits(LINK, pair[0], coded[:, None], draws, np.float32(snr_db), np.float32(0)).llr
    found = coding.decode_payload(np.asarray(llr)[:, 0] * (1 - 2 * np.float32(scrambled)), blocks, engine="numpy")
    return found.valid & (found.payload == payload).all(-1)


def arrivals(num_uses: int, words: int) -> dict[float, tuple[int, np.ndarray]]:
    """Of each SNR the place of the best pair of which all arrives, and which groups of the next better one do.

    The place is -1 where nothing arrives.
    """
    found, best = {}, -1
    for snr_db in SNR_DB:
        of_next = np.zeros(words, bool)
        while best + 1 < len(MODULATION_CODING):
            of_next = arrive(num_uses, MODULATION_CODING[best + 1], snr_db, words)
            if not of_next.all():
                break
            best += 1
        found[snr_db] = best, of_next
    return found


def measure(
    clips: Mapping[str, np.ndarray], codec: str, num_uses: int, found: Mapping[float, tuple[int, np.ndarray]]
) -> Iterator[dict[str, Any]]:
    """PSNR, mean over the frames, of every clip at every SNR, with the best pair and with the one behind it."""
    groups = FRAMES // GOP
    for number, (name, clip) in enumerate(clips.items()):
        made: dict[int, list] = {}
        for snr_db, (best, of_next) in found.items():
            choices = {"confirmed": (best, np.ones(groups, bool))}
            if best + 1 < len(MODULATION_CODING) and codec == STEPPED:
                choices["one step more"] = best + 1, of_next[number * groups : (number + 1) * groups]
            for choice, (place, arrived) in choices.items():
                if place < 0:
                    continue
                if place not in made:
                    bits = blocks_of(num_uses, MODULATION_CODING[place]).payload_bits
                    made[place] = [best_within(clip[i : i + GOP], codec, bits) for i in range(0, FRAMES, GOP)]
                psnr, lost = shown(clip, made[place], arrived)
                bits, rate = MODULATION_CODING[place]
                yield {"codec": codec, "clip": name, "snr_db": snr_db, "choice": choice, "bits_per_symbol": bits,
                       "code_rate": rate, "groups_lost": lost, "psnr_db": psnr}  # fmt: skip


def shown(clip: np.ndarray, coded: list, arrived: np.ndarray) -> tuple[float, int]:
    """Mean PSNR of a clip's frames, dB, and the groups that are lost; before the first frame there is grey."""
    frames, last, lost = [], np.full_like(clip[0], 127), 0
    for encoded, whole in zip(coded, arrived, strict=True):
        if encoded is None or not whole:
            frames += [last] * GOP
            lost += 1
        else:
            frames += list(encoded.frames)
            last = frames[-1]
    errors = np.mean((np.float64(clip) - frames) ** 2, axis=(1, 2, 3)) / 255**2
    return float(np.mean(-10 * np.log10(np.maximum(errors, 1e-9)))), lost


if __name__ == "__main__":
    sys.exit(main())
