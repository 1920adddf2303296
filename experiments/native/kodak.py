r"""Kodak at full size over AWGN: codecs of files with LDPC codes and with ideal ones, and ours, at equal channel uses.

    python -m experiments.native.kodak --data ../shared/data --out docs/kodak

A quarter of an hour on a busy core, most of it AVIF's encoder; needs the extra ``heic``. A run that was ended goes on
from its ``--work``; ``--every 1`` takes all pictures instead of every fourth. Writes ``results.json`` and the figure
into ``--out`` and the tables into the page beside it; ``--page-only`` writes both from the old ``results.json``.
"""

import dataclasses
import functools
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image
from tqdm import tqdm

from experiments.native.kodak_page import OURS, chosen, draw, tables
from experiments.psnr import psnr_db
from experiments.script import DATA, PAGE_ONLY, script, study
from lvm_mtc import phy
from lvm_mtc.data import list_images
from lvm_mtc.data.picture_codecs import CODECS, largest_fits
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.phy import coding
from lvm_mtc.schemes.loading import IMPORTANCE_WEIGHTS, load_scheme
from lvm_mtc.schemes.simulate import Outcome, forward
from lvm_mtc.schemes.tiled import tiled
from lvm_mtc.sweep.plan import picture_source

SNR_DB, PIXELS = 10.0, 768 * 512
LINK = LinkConfig(fading="awgn", convention="rx_per_antenna")
RATIOS = (48, 24, 12, 6)
"""Samples of a picture for each channel use."""
PAIRS = ((2, 1 / 3), (2, 1 / 2), (2, 2 / 3), (4, 1 / 2), (4, 2 / 3), (6, 1 / 2))
"""Bits of a symbol and code rate, as people name them."""
TILES = 48
"""8 x 6 or 6 x 8 tiles of 96 pixels reach over a picture."""
WORDS = 20
"""Pictures' worth of coded bits that decide whether a pair is usable."""


def uses(ratio: int) -> int:
    """Channel uses of a picture."""
    return 3 * PIXELS // ratio


def arrivals(seed: int) -> list[dict[str, Any]]:
    """Of each pair, at one channel use for 24 samples: information bits a use, share of the pictures that arrive."""
    rows, no = [], 10 ** (-SNR_DB / 10)
    for bits_per_symbol, rate in PAIRS:
        blocks, rng = coding.code_blocks(uses(24), bits_per_symbol, rate), np.random.default_rng(seed)
        payload = rng.integers(0, 2, (WORDS, blocks.payload_bits), np.uint8)
        sent = np.asarray(phy.qam_map(coding.encode_payload(payload, blocks), bits_per_symbol))
        noise = rng.normal(scale=(no / 2) ** 0.5, size=(2, *sent.shape))
        y = np.complex64(sent + noise[0] + 1j * noise[1])
        found = coding.decode_payload(np.asarray(phy.qam_llr(y, no, bits_per_symbol)), blocks)
        right = found.valid & (found.payload == payload).all(1)
        rows.append(dict(bits_per_symbol=bits_per_symbol, rate=rate, bits=blocks.payload_bits / uses(24),
                         arrived=float(right.mean())))  # fmt: skip
    return rows


def budgets(pair: dict[str, Any]) -> dict[str, list[int]]:
    """Bits of a picture's file at each ratio: with the pair's code, one of them ending the frame, and at capacity."""
    capacity = float(phy.awgn_capacity(10 ** (-SNR_DB / 10)))
    named = [
        coding.code_blocks(uses(ratio), pair["bits_per_symbol"], pair["rate"]).payload_bits - 1 for ratio in RATIOS
    ]
    return {"named": named, "ideal": [int(uses(ratio) * capacity) for ratio in RATIOS]}


def measure_file(codec: str, picture: np.ndarray, wanted: dict[str, list[int]]) -> dict[str, Any]:
    """PSNR of a picture ``[H, W, 3]`` uint8 within budgets, None where no file is as small."""
    found = largest_fits(picture, codec, sum(wanted.values(), []))
    values = [None if one is None else float(psnr_db(one.picture / 255, picture / 255)) for one in found]
    return {name: values[i * len(RATIOS) : (i + 1) * len(RATIOS)] for i, name in enumerate(wanted)}


@functools.cache
def ours(ratio: int, height: int, width: int) -> Callable[..., Outcome]:
    """The chain of the codec `importance`, every patch alike, in tiles of 96 pixels."""
    scheme, params = load_scheme(IMPORTANCE_WEIGHTS)
    config = dataclasses.replace(scheme.config, num_uses=uses(ratio) // TILES)
    whole = tiled(dataclasses.replace(scheme, config=config), height, width)
    point = OperatingPoint(snr_db=np.float32(SNR_DB), knobs={"importance_db": np.float32(0)})
    return jax.jit(lambda source, key: forward(whole, params, source, key, LINK, point))


def measure_ours(picture: np.ndarray, number: int) -> dict[str, Any]:
    """PSNR and channel bandwidth ratio, without and with side information, at each ratio."""
    rows = {"psnr_db": [], "cbr": [], "cbr_with_side_information": []}
    # No object: every patch has the same weight.
    source = picture_source(np.float32(picture[None, None]) / 255, np.zeros((1, 1, 4), np.float32))
    for ratio in RATIOS:
        outcome = ours(ratio, *picture.shape[:2])(source, jax.random.key(number))
        rows["psnr_db"].append(float(psnr_db(outcome.estimate.data[0, 0], picture / 255)))
        for name, counted in (("cbr", False), ("cbr_with_side_information", True)):
            rows[name].append(float(outcome.ledger.cbr(picture.size, side_information=counted).item()))
    return rows


def measured(work: Path) -> Iterator[dict[str, Any]]:
    """What earlier runs have measured: the pairs, then a line a codec and picture."""
    return map(json.loads, work.read_text().splitlines() if work.exists() else ())


def usable(work: Path, seed: int) -> list[dict[str, Any]]:
    """What :func:`arrivals` found, once for all runs."""
    for line in measured(work):
        if "pairs" in line:
            return line["pairs"]
    found = arrivals(seed)
    with open(work, "a") as stream:
        stream.write(json.dumps({"pairs": found}) + "\n")
    return found


@script(data="folder that holds kodak", out="folder; the page is beside it", page_only=PAGE_ONLY,
        work="file of what is measured so far; a run goes on from there", every="of the pictures take every N-th",
        codecs={"choices": (*CODECS, OURS), "help": "which are measured"}, seed="of bits and noise")  # fmt: skip
def main(
    data: Path = DATA, out: Path = Path("docs/kodak"), work: Path = Path("kodak.jsonl"), every: int = 4,
    codecs: tuple[str, ...] = (OURS, "jpeg", "webp", "heic", "avif"), seed: int = 0, page_only: bool = False,
) -> None:  # fmt: skip
    """Measure codecs of files and ours on Kodak's pictures, at equal channel uses."""

    def results() -> dict[str, Any]:
        pairs = usable(work, seed)
        wanted = budgets(chosen(pairs))
        files = list(list_images(data / "kodak"))
        numbers = range(0, len(files), every)
        done = {(line["codec"], line["number"]) for line in measured(work) if "codec" in line}
        left = [(i, codec) for codec in codecs for i in numbers if (codec, i) not in done]
        for number, codec in tqdm(left):
            picture = np.asarray(Image.open(files[number]).convert("RGB"))
            found = measure_ours(picture, number) if codec == OURS else measure_file(codec, picture, wanted)
            with open(work, "a") as stream:
                stream.write(json.dumps({"codec": codec, "number": number} | found) + "\n")
        rows = [line for line in measured(work) if line.get("number") in numbers and line["codec"] in codecs]
        return dict(snr_db=SNR_DB, ratios=RATIOS, pairs=pairs, budgets=wanted, rows=rows)

    study(out, page_only, results, tables, draw)


if __name__ == "__main__":
    sys.exit(main())
