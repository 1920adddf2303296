r"""Codecs of the package on whole pictures: Kodak's 24 at 768 x 512, and a frame of 4000 x 3000 within a stated memory.

    python -m experiments.native.measure --data ../shared/data --out docs/native_size
    python -m experiments.native.measure --data ../shared/data --codecs pca deepjscc_whole
    python -m experiments.native.measure --data ../shared/data --codecs frame

Ten minutes on two idle cores; a run that was ended goes on from its ``--work``. Writes ``results.json`` into ``--out``
and the tables into the page beside it. ``--page-only`` writes from the old ``results.json``.
"""

import dataclasses
import functools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from experiments.native.page import CODECS, tables
from experiments.script import DATA, PAGE_ONLY, script, study
from lvm_mtc.cli.pictures import find_objects, load_views
from lvm_mtc.data import list_images
from lvm_mtc.knowledge.loading import DETECTOR_WEIGHTS, load_knowledge_base
from lvm_mtc.link import LinkConfig
from lvm_mtc.schemes.loading import DEMO_WEIGHTS, load_scheme
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.tiled import tiled
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.group import Group, Resources
from lvm_mtc.sweep.named import make_contenders, plain_contender
from lvm_mtc.sweep.plan import SweepSpec, picture_source
from lvm_mtc.zoo import load_codec

SNR_DB, NUM_PICTURES = 10.0, 24
LINKS = tuple(LinkConfig(fading=fading, convention="rx_per_antenna") for fading in ("awgn", "rayleigh"))
METRICS = ("psnr_db", "psnr_inside_db", "ssim")
FRAME = 3000, 4000
FRAME_FLAGS = (
    "--size native --uavs 1 --snr-db 10 --channel rayleigh --realisations 2 --schemes importance-pca --memory 0.5"
)


@functools.cache
def contender(name: str, height: int, width: int) -> Contender:
    """A codec for pictures of up to this size."""
    kind, _, how = name.partition("_")
    if kind in ("deepjscc", "token2"):
        scheme, params = load_codec(f"{kind}_cifar10_cbr_1_3")
        fitted = tiled(scheme, height, width, several=how != "whole")
        return dataclasses.replace(plain_contender(scheme, params), scheme=fitted)
    (one,) = make_contenders([name], *load_scheme(DEMO_WEIGHTS))
    return dataclasses.replace(one, scheme=tiled(one.scheme, height, width))


def seam(original: np.ndarray, received: np.ndarray, tile: tuple[int, int]) -> tuple[float, float]:
    """Mean squared error of the pixels on both sides of the tiles' borders, and of all others.

    Pictures are ``[height, width, 3]``, the original float in [0, 1], the received one uint8.
    """
    error = np.mean((received / 255.0 - original) ** 2, axis=-1)
    border = np.zeros(error.shape, bool)
    for side in range(tile[0], error.shape[0], tile[0]):
        border[side - 1 : side + 1] = True
    for side in range(tile[1], error.shape[1], tile[1]):
        border[:, side - 1 : side + 1] = True
    return float(error[border].mean()), float(error[~border].mean())


def measure_picture(name: str, number: int, source: Source) -> dict[str, Any]:
    """What a codec makes of one picture over a channel of its own on each link."""
    one = contender(name, *source.data.shape[2:4])
    options = dict(links=LINKS, sources={1: source}, snr_db=(SNR_DB,), metrics=METRICS, seeds=(number,))
    spec = SweepSpec(schemes=(one,), pictures_per_step=1, **options)
    points = list(spec.coordinates())
    group = Group(spec, points[0], Resources(num_devices=1, items_per_device=len(points)), pictures=True)
    numbers, scheme = {}, one.scheme
    sent = group.send(points, range(1))
    for at, arrived in zip(points, sent, strict=True):
        numbers |= {f"{at['channel']} {name}": float(arrived.metrics[name].item()) for name in METRICS}
    for key, counted in (("cbr", False), ("cbr_with_side_information", True)):
        numbers[key] = float(arrived.ledger.cbr(source.data.size, side_information=counted).item())
    tile = (32, 32) if name == "deepjscc_whole" else scheme.tile  # there the tiles of the same codec meet
    numbers["beside_borders"], numbers["elsewhere"] = seam(source.data[0, 0], sent[0].pictures[0, 0, 0], tile)
    return {"codec": name, "number": number, "tile": None if scheme.grid == (1, 1) else list(scheme.tile)} | numbers


def pictures(data: Path) -> Iterator[Source]:
    """Kodak's pictures, with the box that the shipped knowledge base finds in each."""
    knowledge_base = load_knowledge_base(detector=DETECTOR_WEIGHTS)
    for file in list_images(data / "kodak"):
        views = load_views(file, size=None, num_uavs=1, views="cut", overlap=0.5, boxes=None, limit=None)
        yield picture_source(views.images, find_objects(views, knowledge_base, "").loc)


def measured(work: Path) -> list[dict[str, Any]]:
    """What earlier runs have measured, a line a codec and picture."""
    return [json.loads(line) for line in work.read_text().splitlines()] if work.exists() else []


def rows(lines: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Means over all pictures, of the codecs that have seen them all."""
    of_codec: dict[str, list] = {}
    for line in lines:
        of_codec.setdefault(line["codec"], []).append(line)
    found = []
    for name in CODECS:
        if len(own := of_codec.get(name, [])) == NUM_PICTURES:
            numbers = [key for key in own[0] if key not in ("codec", "number", "tile")]
            mean = {key: float(np.mean([line[key] for line in own])) for key in numbers}
            found.append({"codec": name, "tile": own[0]["tile"]} | mean)
    return found


def frame(data: Path) -> dict[str, Any]:
    """A frame put together from Kodak's pictures, through ``lvm-mtc transmit`` as a process of its own."""
    pictures = [np.asarray(Image.open(path)) for path in sorted((data / "kodak").glob("*.png"))]
    wide = [picture for picture in pictures if picture.shape[1] == 768]
    rows = [np.concatenate([wide[(6 * row + i) % len(wide)] for i in range(6)], axis=1) for row in range(6)]
    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder) / "frame.png", Path(folder) / "out"
        Image.fromarray(np.concatenate(rows)[: FRAME[0], : FRAME[1]]).save(file)
        command = [sys.executable, "-m", "lvm_mtc", "transmit", "--images", str(file), "--out", str(out)]
        start = time.perf_counter()
        environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(Path(folder) / "cache")}
        done = subprocess.run(command + FRAME_FLAGS.split(), capture_output=True, text=True, env=environment)
        seconds = time.perf_counter() - start
        if done.returncode:
            raise ValueError(f"lvm-mtc transmit failed: {done.stderr.strip().splitlines()[-1]}")
        header, line = (out / "table.csv").read_text().splitlines()
        row = dict(zip(header.split(","), line.rsplit(",", header.count(",")), strict=True))
        said = [said for said in done.stdout.splitlines() if "4000 x 3000" in said]
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**10
    numbers = {name: float(row[name]) for name in ("psnr_db", "ssim", "cbr", "cbr_with_side_information")}
    return {"flags": FRAME_FLAGS, "said": said, "seconds": seconds, "peak_mib": peak} | numbers


@script(data="folder that holds kodak", out="folder; the page is beside it", page_only=PAGE_ONLY,
        work="file of what is measured so far; a run goes on from there",
        codecs={"choices": (*CODECS, "frame"), "help": "which are measured"})  # fmt: skip
def main(
    data: Path = DATA,
    out: Path = Path("docs/native_size"),
    work: Path = Path("native_size.jsonl"),
    codecs: tuple[str, ...] = (*CODECS, "frame"),
    page_only: bool = False,
) -> None:
    """Measure codecs on pictures of native size."""

    def results() -> Mapping[str, Any]:
        file = out / "results.json"
        old = json.loads(file.read_text()) if file.exists() else {"frame": None}
        found = {"frame": frame(data) if "frame" in codecs else old["frame"]}
        done = {(line["codec"], line["number"]) for line in measured(work)}
        wanted = [(name, i) for name in codecs if name in CODECS for i in range(NUM_PICTURES) if (name, i) not in done]
        sources = list(pictures(data)) if wanted else []
        for name, number in tqdm(wanted):
            with open(work, "a") as stream:
                stream.write(json.dumps(measure_picture(name, number, sources[number])) + "\n")
        return {"snr_db": SNR_DB, "rows": rows(measured(work))} | found

    study(out, page_only, results, tables)


if __name__ == "__main__":
    sys.exit(main())
