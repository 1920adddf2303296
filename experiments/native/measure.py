r"""Codecs of the package on whole pictures: Kodak's 24 at 768 x 512, and a frame of 4000 x 3000 within a stated memory.

    python -m experiments.native.measure --data ../shared/data --out docs/native_size
    python -m experiments.native.measure --data ../shared/data --codecs pca deepjscc_whole
    python -m experiments.native.measure --data ../shared/data --codecs frame

Half an hour on two cores; codecs that are not named keep their rows. Writes ``results.json`` into ``--out`` and the
tables into the page beside it. ``--page-only`` writes from the old ``results.json``.
"""

import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from experiments.native.page import CODECS, tables
from experiments.script import DATA, PAGE_ONLY, script, study
from lvm_mtc.cli.pictures import find_objects, load_views
from lvm_mtc.knowledge.loading import DETECTOR_WEIGHTS, load_knowledge_base
from lvm_mtc.link import LinkConfig
from lvm_mtc.report.shown import Shown, show
from lvm_mtc.results.store import ResultStore
from lvm_mtc.schemes.loading import DEMO_WEIGHTS, load_scheme
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.tiled import tiled
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.group import Resources
from lvm_mtc.sweep.named import make_contenders, plain_contender
from lvm_mtc.sweep.plan import SweepSpec, picture_sizes, picture_source
from lvm_mtc.sweep.run import run_sweep
from lvm_mtc.sweep.stopping import StoppingRule
from lvm_mtc.zoo import load_codec

SNR_DB, SEAM_SNR_DB = (1.0, 10.0), 10.0
LINKS = tuple(LinkConfig(fading=fading, convention="rx_per_antenna") for fading in ("awgn", "rayleigh"))
METRICS = ("psnr_db", "psnr_inside_db", "ssim")
FRAME = 3000, 4000
FRAME_FLAGS = "--size native --uavs 1 --snr-db 10 --channel rayleigh --realisations 2 --schemes importance --memory 0.5"


def contender(name: str, height: int, width: int) -> Contender:
    """A codec for pictures of up to this size."""
    kind, _, how = name.partition("_")
    if kind in ("deepjscc", "token2"):
        scheme, params = load_codec(f"{kind}_cifar10_cbr_1_3")
        fitted = tiled(scheme, height, width, several=how != "whole")
        return dataclasses.replace(plain_contender(scheme, params), scheme=fitted)
    (one,) = make_contenders([name], *load_scheme(DEMO_WEIGHTS))
    return dataclasses.replace(one, scheme=tiled(one.scheme, height, width))


def seam_db(shown: Shown, tile: tuple[int, int]) -> float | None:
    """Squared error of the pixels on both sides of the tiles' borders over that of all others, dB; None without any."""
    beside = others = 0.0
    count = [0, 0]
    for view in np.ndindex(shown.sizes.shape[:2]):
        original, received = (shown.whole(a, view) for a in (shown.originals, shown.received[0]))
        error = np.mean((received / 255.0 - original) ** 2, axis=-1)
        border = np.zeros(error.shape, bool)
        for side in range(tile[0], error.shape[0], tile[0]):
            border[side - 1 : side + 1] = True
        for side in range(tile[1], error.shape[1], tile[1]):
            border[:, side - 1 : side + 1] = True
        beside, others = beside + error[border].sum(), others + error[~border].sum()
        count = [count[0] + border.sum(), count[1] + (~border).sum()]
    return float(10 * np.log10(beside / count[0] / (others / count[1]))) if count[0] else None


def of_one_size(source: Source) -> list[Source]:
    """The pictures of each size by themselves."""
    sizes = picture_sizes(source)[:, 0]
    parts = []
    for height, width in np.unique(sizes, axis=0):
        own = (sizes == (height, width)).all(axis=-1)
        parts.append(picture_source(source.data[own][:, :, :height, :width], source.hints["loc"][own]))
    return parts


def measure(name: str, source: Source) -> dict[str, Any]:
    """The row of a codec; where it takes pictures whole, those of each size by themselves."""
    start = time.perf_counter()
    parts = [measure_part(name, part) for part in (of_one_size(source) if name.endswith("whole") else [source])]
    weights = np.array([part.pop("pictures") for part in parts], float)
    weights /= weights.sum()
    mean = jax.tree.map(lambda *values: float(np.dot(weights, values)), *(part.pop("numbers") for part in parts))
    return parts[0] | mean | {"seconds": time.perf_counter() - start}


def measure_part(name: str, source: Source) -> dict[str, Any]:
    """Means over the pictures of a source, and how many these are."""
    one = contender(name, *source.data.shape[2:4])
    options = dict(links=LINKS, sources={1: source}, snr_db=SNR_DB, metrics=METRICS, pictures_per_step=1)
    spec = SweepSpec(schemes=(one,), stopping=StoppingRule(target_half_width=None, max_units=2), **options)
    with tempfile.TemporaryDirectory() as folder, ResultStore(Path(folder) / "kodak.sqlite") as store:
        points = store.read(run_sweep(spec, store, resources=Resources(num_devices=1, items_per_device=8)))
    values = {
        f"{point.coordinates['channel']} {point.snr_db:g} dB": {name: point.metrics[name].mean for name in METRICS}
        for point in points
    }
    at = next(at for at in spec.coordinates() if at["channel"] == "awgn" and at["snr_db"] == SEAM_SNR_DB)
    scheme, costs = one.scheme, points[0].metrics
    tile = (32, 32) if name == "deepjscc_whole" else scheme.tile  # there the tiles of the same codec meet
    numbers = {name: costs[name].mean for name in ("cbr", "cbr_with_side_information")} | {"points": values}
    numbers |= {"seam_db": seam_db(show(spec, [at]), tile)}
    about = {"codec": name, "tile": None if scheme.grid == (1, 1) else list(scheme.tile)}
    return about | {"pictures": source.lead()[0], "numbers": numbers}


def kodak(data: Path) -> Source:
    """All pictures with the box that the shipped knowledge base finds in each."""
    options = dict(size=None, num_uavs=1, views="folder", overlap=0.5, boxes=None, limit=None)
    views = load_views(data / "kodak", **options)
    loc = find_objects(views, load_knowledge_base(detector=DETECTOR_WEIGHTS), "").loc
    return picture_source(views.images, loc, extent=views.extent)


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
        codecs={"choices": (*CODECS, "frame"), "help": "which are measured"})  # fmt: skip
def main(
    data: Path = DATA,
    out: Path = Path("docs/native_size"),
    codecs: tuple[str, ...] = (*CODECS, "frame"),
    page_only: bool = False,
) -> None:
    """Measure codecs on pictures of native size."""

    def results() -> Mapping[str, Any]:
        file = out / "results.json"
        found = json.loads(file.read_text()) if file.exists() else {"rows": [], "frame": None}
        rows = {row["codec"]: row for row in found["rows"]}
        if "frame" in codecs:
            found["frame"] = frame(data)
        named = [name for name in CODECS if name in codecs]
        source = kodak(data) if named else None
        for name in named:
            rows[name] = measure(name, source)
            print(name, f"{rows[name]['seconds']:.0f} s", flush=True)
        return found | {"rows": [rows[name] for name in CODECS if name in rows]}

    study(out, page_only, results, tables)


if __name__ == "__main__":
    sys.exit(main())
