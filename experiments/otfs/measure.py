r"""OTFS and OFDM over a doubly selective channel, from the same draws: symbols, coded words and pictures.

    OPENBLAS_NUM_THREADS=1 python -m experiments.otfs.measure --data ../shared/data --out docs/otfs

Some twenty minutes on one core; with more threads, matrices this small wait for each other. Every speed is measured at
``--snr-db``, every SNR at ``--speed``; ``--parts`` measures some parts anew and leaves the others. Writes
``results.json`` and the figures into ``--out`` and the tables into the page beside it, ``--out``.md, between its
markers. ``--page-only`` draws and writes from the old ``results.json``.
"""

import functools
import json
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from experiments.otfs.grid import AT_ONCE, SNRS_DB, SPEEDS_KMH, SetOut, setup
from experiments.otfs.page import draw, tables
from experiments.otfs.pictures import CODECS, measure_pictures, measure_words
from experiments.otfs.symbols import measure_estimates, measure_symbols
from experiments.script import DATA, PAGE_ONLY, rounded, script, study

PARTS = ("symbols", "estimates", "words", *CODECS)


@script(out="folder; the page is beside it", data="folder that holds cifar10/ and weights/ (default: %(default)s)",
        speed="km/h, of the curves over SNR", snr_db="dB, of the curves over speed",
        num_frames="of each point, and words, a multiple of ten", num_pictures="of the hold-out, a multiple of ten",
        seed="of channels", parts=f"some of {', '.join(PARTS)}", page_only=PAGE_ONLY)  # fmt: skip
def main(
    out: Path = Path("docs/otfs"), data: Path = DATA, speed: float = 500.0, snr_db: float = 20.0, num_frames: int = 100,
    num_pictures: int = 300, seed: int = 0, parts: tuple[str, ...] = PARTS, page_only: bool = False,
) -> None:  # fmt: skip
    """Compare OTFS with OFDM over a doubly selective channel."""
    for name, value in (("--num-frames", num_frames), ("--num-pictures", num_pictures)):
        if value % AT_ONCE or value < AT_ONCE:
            raise ValueError(f"{name} must be a multiple of {AT_ONCE}, got {value}")
    if unknown := set(parts) - set(PARTS):
        raise ValueError(f"unknown --parts {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    file = out / "results.json"
    old = json.loads(file.read_text()) if file.exists() else {}
    if missing := set(PARTS) - set(parts) - set(old):
        raise ValueError(f"--parts leaves out {', '.join(sorted(missing))}, of which {file} has nothing")
    points = [SetOut(each, snr_db) for each in sorted({*SPEEDS_KMH, speed})]
    points += [SetOut(speed, each) for each in sorted({*SNRS_DB, snr_db}) if each != snr_db]
    every = {
        "symbols": lambda: measure_symbols(points, num_frames, seed),
        "estimates": lambda: measure_estimates(points, num_frames, seed),
        "words": lambda: measure_words(points, num_frames, seed),
    }
    for codec in CODECS:
        every[codec] = functools.partial(measure_pictures, codec, points, data, num_pictures, seed)

    def results() -> dict[str, Any]:
        new = {"setup": setup(speed, snr_db, num_frames, num_pictures, seed)}
        new |= {name: list(tqdm(every[name](), desc=name)) for name in parts}
        return old | rounded(new, 8)

    study(out, page_only, results, tables, draw)


if __name__ == "__main__":
    sys.exit(main())
