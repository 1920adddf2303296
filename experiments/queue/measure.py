r"""Ships codecs of the training queue and measures all codecs that the package brings, side by side.

    python -m experiments.queue.serve                                # hours; see there
    python -m experiments.queue.measure --queue ~/.cache/lvm_mtc/queue --data ../shared/data
    python -m experiments.queue.measure --page-only

Writes weights and the table ``lvm_mtc/weights/zoo.json``, ``docs/zoo/results.json`` with its figure, and the tables of
``docs/zoo.md``. Of the queue's entries it takes those that are through.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.queue.entries import ENTRIES, RATIOS, SHIPPED_ENTRIES
from experiments.queue.objectives import CONVENTION, LINKS, SNR_DB, make_psnr
from experiments.queue.page import draw, tables
from experiments.queue.serve import HOME
from experiments.script import DATA, PAGE_ONLY, script, study
from lvm_mtc import zoo
from lvm_mtc.data.cifar10 import load_cifar10_sheets
from lvm_mtc.models.weights import SHIPPED, flatten_params, load_weights, save_weights
from lvm_mtc.results.files import atomic_file
from lvm_mtc.results.intervals import student_interval
from lvm_mtc.schemes import make_scheme
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
        params, about = load_weights(target)
        cards[name] = _card(
            about["scheme"], about["config"], params, file=target.name, data=MIXTURE, versions=about["versions"],
            sha256=hashlib.sha256(target.read_bytes()).hexdigest(), seed=about["entry"]["seed"],
            pictures=ENTRIES[entry].pictures,
        )  # fmt: skip
    for name, config in MENUS.items():
        scheme = make_scheme("menu", config)
        about = "patches of photographs, experiments/queue/menu.py"
        cards[name] = _card("menu", config, scheme.init(jax.random.key(0)), data=about)
    return cards


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
        before: What it held, for the learning curves of weights that were trained in another folder.
    """
    cards = ship(queue)
    write_table(cards)
    pictures, psnr = load_holdout(data), {}
    for name in cards:
        scheme, params = zoo.load_codec(name)
        measure = make_psnr(scheme, pictures)
        for channel in LINKS:
            for snr_db in SNR_DB:
                psnr[name, channel, snr_db] = np.float64(measure(params, channel, snr_db))
            told = {f"{snr_db:g}": round(float(psnr[name, channel, snr_db].mean()), 4) for snr_db in SNR_DB}
            cards[name]["psnr_db"][channel] = told
            print(name, channel, told, flush=True)
    write_table(cards)
    rivals = {
        name: f"token2_cifar10_cbr_{ratio}"
        for ratio in RATIOS
        for name in cards
        if name.endswith(f"_{ratio}") and not name.startswith("token2")
    }
    curves = {
        name: learning_curve(queue / entry, ENTRIES[entry].training.batch_size)
        for name, entry in SHIPPED_ENTRIES.items()
        if (queue / entry / "log.jsonl").exists()
    }

    def over_snr(value: Callable[[str, float], Any]) -> dict[str, list]:
        return {channel: [value(channel, snr_db) for snr_db in SNR_DB] for channel in LINKS}

    return {
        "convention": CONVENTION, "holdout": HOLDOUT, "snr_db": list(SNR_DB), "channels": list(LINKS),
        "curves": {name: curve for name, curve in (before.get("curves", {}) | curves).items() if name in cards},
        "levels": {name: over_snr(lambda *at, name=name: _pair(psnr[name, *at])) for name in cards},
        "of_mean_mse": {name: over_snr(lambda *at, name=name: psnr_of_mean_mse(psnr[name, *at])) for name in cards},
        "gains": {name: over_snr(lambda *at, pair=(best, name): _pair(psnr[pair[0], *at] - psnr[pair[1], *at]))
                  for name, best in rivals.items() if best in cards},
    }  # fmt: skip


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
