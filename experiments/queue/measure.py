r"""Ships codecs of the training queue and measures them beside those that are through and do not ship.

    python -m experiments.queue.serve                                # hours; see there
    python -m experiments.queue.measure --queue ~/.cache/lvm_mtc/queue --data ../shared/data
    python -m experiments.queue.measure --page-only

Writes weights and the table ``lvm_mtc/weights/zoo.json``, ``docs/zoo/results.json`` with its figure, and the tables of
``docs/zoo.md``. Of the queue's entries it takes those that are through; of those that do not ship and are not in this
queue, what ``results.json`` says of them stays.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.queue.entries import ENTRIES, FIRST_ENTRIES, RATIOS, SHIPPED_ENTRIES
from experiments.queue.objectives import CONVENTION, LINKS, SNR_DB, make_psnr
from experiments.queue.page import draw, tables
from experiments.queue.serve import HOME, weights_of
from experiments.script import DATA, PAGE_ONLY, script, study
from lvm_mtc import zoo
from lvm_mtc.data.cifar10 import load_cifar10_sheets
from lvm_mtc.models.weights import SHIPPED, flatten_params, load_weights, save_weights
from lvm_mtc.results.files import atomic_file
from lvm_mtc.results.intervals import student_interval
from lvm_mtc.schemes import make_scheme
from lvm_mtc.schemes.loading import load_scheme
from lvm_mtc.training import read_log

MENUS = {f"menu_cbr_{ratio}": dict(image_size=32, num_symbols=symbols)
         for ratio, symbols in (("1_3", 256), ("1_6", 128), ("1_12", 64))}  # fmt: skip
"""Name in the zoo to the configuration of the menu codec, whose table ships."""
MIXTURE = "CIFAR-10 (lossless and JPEG copies) and crops of photographs, experiments/queue/mixture.py"
HOLDOUT = 500


def _card(scheme: str, config: Mapping[str, Any], params: Any, **fields: Any) -> dict[str, Any]:
    count = sum(int(np.size(leaf)) for leaf in flatten_params(params).values())
    empty = dict(file=None, sha256=None, pictures=0, seed=None, data="", versions={}, psnr_db={})
    return empty | dict(scheme=scheme, config=dict(config), num_parameters=count) | fields


def _trained(weights: Path, entry: str) -> dict[str, Any]:
    """Card of an entry's weights, which are no file of the package."""
    params, about = load_weights(weights)
    return _card(
        about["scheme"], about["config"], params, data=MIXTURE, versions=about["versions"],
        sha256=hashlib.sha256(weights.read_bytes()).hexdigest(), seed=about["entry"]["seed"],
        pictures=ENTRIES[entry].pictures,
    )  # fmt: skip


def ship(queue: Path) -> dict[str, dict[str, Any]]:
    """Writes the weights of finished entries into the package, in half precision; cards without scores."""
    cards = {}
    for name, entry in SHIPPED_ENTRIES.items():
        source, target = queue / entry / "weights.npz", SHIPPED / f"{name}.npz"
        if source.exists():
            save_weights(target, *load_weights(source))
        if not target.exists():
            print(f"left out: {source} is not trained", flush=True)
            continue
        cards[name] = _trained(target, entry) | {"file": target.name}
    for name, config in MENUS.items():
        scheme = make_scheme("menu", config)
        about = "patches of photographs, experiments/queue/menu.py"
        cards[name] = _card("menu", config, scheme.init(jax.random.key(0)), data=about)
    return cards


def built(queue: Path) -> dict[str, dict[str, Any]]:
    """Cards of finished entries whose weights stay in the queue's folder, without scores."""
    return {
        name: _trained(weights_of(queue, entry), entry)
        for name, entry in FIRST_ENTRIES.items()
        if name not in SHIPPED_ENTRIES and weights_of(queue, entry).exists()
    }


def load_holdout(data: Path) -> np.ndarray:
    """The last 500 lossless pictures of CIFAR-10, which no training has seen, ``[500, 32, 32, 3]`` uint8."""
    return load_cifar10_sheets(data / "cifar10").pictures[-HOLDOUT:]


def learning_curve(run: Path, batch_size: int) -> list[dict[str, float]]:
    """Pictures seen and what the hold-out's mean PSNR then was, by link and SNR, from the log of a run."""
    return [
        {"pictures": record["step"] * batch_size}
        | {name: round(value, 4) for name, value in record.items() if name.startswith("psnr_")}
        for record in read_log(run / "log.jsonl")
        if record["event"] == "validation"
    ]


def write_table(cards: Mapping[str, Mapping[str, Any]]) -> None:
    """Writes ``zoo.json``."""
    with atomic_file(zoo.TABLE) as temporary:
        temporary.write_text(json.dumps({"convention": CONVENTION, "codecs": cards}, indent=1) + "\n")


def measure_all(queue: Path, data: Path, before: Mapping[str, Any]) -> dict[str, Any]:
    """Ships, measures, and gives what ``results.json`` holds.

    Args:
        queue: Folder of the queue's runs.
        data: Folder of pictures.
        before: What it held, for what was trained in another folder: learning curves, and codecs that do not ship.
    """
    brought, here = ship(queue), built(queue)
    write_table(brought)
    pictures, psnr = load_holdout(data), {}
    for name, card in (brought | here).items():
        scheme, params = load_scheme(weights_of(queue, FIRST_ENTRIES[name])) if name in here else zoo.load_codec(name)
        measure = make_psnr(scheme, pictures)
        for channel in LINKS:
            for snr_db in SNR_DB:
                psnr[name, channel, snr_db] = np.float64(measure(params, channel, snr_db))
            told = {f"{snr_db:g}": round(float(psnr[name, channel, snr_db].mean()), 4) for snr_db in SNR_DB}
            card["psnr_db"][channel] = told
            print(name, channel, told, flush=True)
    write_table(brought)
    rivals = {
        name: f"token2_cifar10_cbr_{ratio}"
        for ratio in RATIOS
        for name in brought | here
        if name.endswith(f"_{ratio}") and not name.startswith("token2")
    }

    def over_snr(value: Callable[[str, float], Any]) -> dict[str, list]:
        return {channel: [value(channel, snr_db) for snr_db in SNR_DB] for channel in LINKS}

    parts = {
        "built": here,
        "curves": {
            name: learning_curve(queue / entry, ENTRIES[entry].training.batch_size)
            for name, entry in FIRST_ENTRIES.items()
            if name in brought | here and (queue / entry / "log.jsonl").exists()
        },
        "levels": {name: over_snr(lambda *at, name=name: _pair(psnr[name, *at])) for name in brought | here},
        "of_mean_mse": {
            name: over_snr(lambda *at, name=name: psnr_of_mean_mse(psnr[name, *at])) for name in brought | here
        },
        "gains": {name: over_snr(lambda *at, pair=(best, name): _pair(psnr[pair[0], *at] - psnr[pair[1], *at]))
                  for name, best in rivals.items() if best in brought | here},
    }  # fmt: skip
    names = [*brought, *(name for name in FIRST_ENTRIES if name in before.get("built", {}) | here)]
    kept = {part: before.get(part, {}) | new for part, new in parts.items()}
    about = {"convention": CONVENTION, "holdout": HOLDOUT, "snr_db": list(SNR_DB), "channels": list(LINKS)}
    return about | {part: {name: of[name] for name in names if name in of} for part, of in kept.items()}


def psnr_of_mean_mse(psnr: np.ndarray) -> float:
    """PSNR of all pictures together, dB, from that of each: what a test in large batches shows."""
    return round(float(-10 * np.log10(np.mean(10 ** (-psnr / 10)))), 4)


def _pair(samples: np.ndarray) -> list[float]:
    interval = student_interval(samples)
    return [round(float(interval.mean), 4), round(float(interval.half_width), 4)]


@script(out="folder; the page is beside it", queue="folder of the queue's runs", data="folder of pictures",
        page_only=PAGE_ONLY)  # fmt: skip
def main(out: Path = Path("docs/zoo"), queue: Path = HOME, data: Path = DATA, page_only: bool = False) -> None:
    """Ship and measure the codecs of the zoo."""
    results = out / "results.json"
    before = json.loads(results.read_text()) if results.exists() else {}
    study(out, page_only, lambda: measure_all(queue, data, before), tables, draw)


if __name__ == "__main__":
    sys.exit(main())
