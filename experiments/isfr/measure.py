r"""Groups of features by importance over eight fading links: joint allocation against equal, restructured or not.

    python -m experiments.demo.pack_pictures --data ../shared/data --out build/pictures_160.npz
    lvm-mtc train --config experiments/configs/isfr.py --stage all --data build/pictures_160.npz --run-dir runs/isfr
    lvm-mtc train --config experiments/configs/isfr.py --stage all --data build/pictures_160.npz \
        --set loss.retention=1.0 --set loss.flips=0.0 --run-dir runs/isfr_control
    python -m experiments.isfr.measure --pictures build/pictures_160.npz --runs runs

Writes ``docs/isfr/results.json`` and the tables of ``docs/isfr.md``; ``--page-only`` does so from the old file.
Deviations, importances and the quantiser's damage come from training pictures; what is sent is Kodak.
"""

import functools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.isfr.page import tables
from experiments.script import DATA, PAGE_ONLY, script, study
from lvm_mtc.allocation.uep import Groups, allocate_groups, bit_error_rate
from lvm_mtc.data.images import list_images, load_image
from lvm_mtc.data.resizing import center_crop
from lvm_mtc.link import LinkConfig, OperatingPoint, draw, uav_keys
from lvm_mtc.models.weights import load_weights
from lvm_mtc.schemes.isfr.quantiser import damage
from lvm_mtc.schemes.isfr.scheme import MODULATIONS, Allocation, Isfr, IsfrConfig
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import encode, transmit
from lvm_mtc.training.pictures import load_pictures

SCHEME = Isfr(IsfrConfig())
LINKS = SCHEME.config.num_groups
LINK = LinkConfig(fading="rayleigh", num_rx_ant=1, num_tx_ant=1)
SNRS_DB = (0.0, 5.0, 10.0, 15.0)
USES = LINKS * SCHEME.config.group_bits // 4
"""Symbols of a picture at most, those of all groups in 16-QAM; the energy is that of so many symbols of power 1."""
_KNOWN, _DRAWS, _FADES = 256, 4, 2000


def kodak(data: Path) -> np.ndarray:
    """The middle of each Kodak picture at half its size, ``[24, 96, 96, 3]`` uint8."""
    size = SCHEME.config.image_size
    crops = np.stack([center_crop(load_image(path), 2 * size) for path in list_images(data / "kodak")])
    halves = np.float32(crops).reshape(len(crops), size, 2, size, 2, 3).mean((2, 4))
    return np.uint8(halves + 0.5)


def known_of(params: Mapping[str, Any], pictures: np.ndarray) -> tuple[dict, dict[str, Any]]:
    """Parameters with their deviations, and what both ends know: importances, residual and damage."""
    params = SCHEME.with_deviations(params, pictures)
    images = jnp.float32(pictures[:, None]) / 255
    features = SCHEME.features(params, images)
    error = float(((SCHEME.paint(params, features) - images) ** 2).mean())
    of_group = np.repeat(np.arange(LINKS), SCHEME.config.group_size)
    missing = [SCHEME.paint(params, jnp.where(jnp.asarray(of_group == i).reshape(1, 1, 1, -1), 0.0, features))
               for i in range(LINKS)]  # fmt: skip
    importance = [float(((image - images) ** 2).mean()) - error for image in missing]
    unit = np.asarray(features / params["deviation"].reshape(1, 1, 1, -1)).reshape(-1, SCHEME.config.num_features)
    # Of the groups each by itself, weighed as the objective weighs them.
    each = [damage(unit[:, of_group == i], SCHEME.config.quantiser_bits) for i in range(LINKS)]
    residual, per_rate = np.average(each, axis=0, weights=np.maximum(importance, 0))
    return params, {"importance": importance, "residual": float(residual), "damage": float(per_rate), "beyond": error}


def problem(known: Mapping[str, Any], gain: np.ndarray) -> Groups:
    """The allocator's problem at the links' gains, linear SNR of a symbol of power 1."""
    weight = np.maximum(known["importance"], 0)
    numbers = {"bits": SCHEME.config.group_bits, "power": float(USES), "uses": USES, "modulations": MODULATIONS}
    return Groups(importance=weight, gain=gain, damage=known["damage"], residual=known["residual"], **numbers)


def uniform(known: Mapping[str, Any], snr_db: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """The most important groups in one modulation with one power, as many as are best on average over the fading."""
    fades = np.random.default_rng(0).exponential(size=_FADES) * 10 ** (snr_db / 10)
    groups = problem(known, np.ones(LINKS))
    order, best = np.argsort(-groups.importance), (np.inf, 0, 2)
    for kind in MODULATIONS:
        symbols = SCHEME.config.group_bits // kind
        for count in range(1, min(LINKS, USES // symbols) + 1):
            error = bit_error_rate(kind, USES / (count * symbols) * fades).mean()
            lost = groups.importance[order[count:]].sum()
            value = lost + groups.importance[order[:count]].sum() * (groups.residual + groups.damage * error)
            best = min(best, (value, count, kind))
    _, count, kind = best
    modulation = np.where(np.arange(LINKS) < count, kind, 0)
    power = np.where(modulation > 0, USES * kind / (count * SCHEME.config.group_bits), 0.0)
    return order, modulation, power, float("nan")


def joint(known: Mapping[str, Any], gain: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """The allocation by link: group, modulation and power of each, and the expected error."""
    groups = problem(known, gain)
    found = allocate_groups(groups)
    group = np.argsort(found.channel)
    return group, found.modulation[group], found.power[group], found.objective + known["beyond"]


@functools.partial(jax.jit, static_argnames="link")
def _send(params, images, hints, draws, snr_db, link):
    point = OperatingPoint(snr_db=snr_db)
    source = Source(jnp.broadcast_to(images[:, None], (images.shape[0], LINKS, *images.shape[1:])), hints)
    encoded = encode(SCHEME, params, source, jax.random.key(0), {})
    out = transmit(SCHEME, params, encoded, (link,), (draws,), point)
    shown = jnp.clip(out.estimate.data[:, 0], 0, 1)
    return jnp.mean((shown - images) ** 2, axis=(1, 2, 3)), out.ledger.private_uses, out.ledger.side_information_bits


def measure(codecs: Mapping[str, dict], pictures: np.ndarray, sent: np.ndarray) -> dict[str, Any]:
    """PSNR of each picture, mean over the draws, by codec, allocation and SNR; the same draws for all."""
    images = jnp.float32(sent) / 255
    codecs = {name: known_of(params, pictures) for name, params in codecs.items()}
    rows = []
    draws = [draw(LINK, uav_keys(jax.random.key(n), LINKS), len(sent), *SCHEME.frames()) for n in range(_DRAWS)]
    for snr_db in SNRS_DB:
        for name, (params, known) in codecs.items():
            for kind in ("joint", "uniform"):
                found = []
                for one in draws:
                    gains = np.abs(np.asarray(one.h)[:, :, 0, 0, 0]) ** 2 * 10 ** (snr_db / 10)
                    if kind == "joint":
                        chosen = [joint(known, gain) for gain in gains]
                    else:
                        chosen = [uniform(known, snr_db)] * len(gains)
                    group, modulation, power = (np.stack([c[i] for c in chosen]) for i in range(3))
                    hints = Allocation(jnp.int32(group), jnp.int32(modulation), jnp.float32(power))._asdict()
                    mse, uses, bits = _send(params, images, hints, one, jnp.float32(snr_db), LINK)
                    found.append((np.asarray(mse), np.asarray(uses), [c[3] for c in chosen]))
                mse, uses, expected = (np.array([f[i] for f in found], np.float64) for i in range(3))
                rows.append({"codec": name, "allocation": kind, "snr_db": snr_db,
                             "psnr_db": (-10 * np.log10(mse)).mean(0).tolist(), "mse": float(mse.mean()),
                             "expected_mse": None if kind == "uniform" else float(expected.mean()),
                             "uses": float(uses.mean()), "side_bits": float(np.mean(bits))})  # fmt: skip
                print(name, kind, snr_db, np.mean(rows[-1]["psnr_db"]), flush=True)
    return {"uses": USES, "draws": _DRAWS, "known": {name: known for name, (_, known) in codecs.items()}, "rows": rows}


@script(data="pictures of Kodak", pictures="packed, of the training", runs="folder with isfr and isfr_control",
        out="folder; the page is beside it", page_only=PAGE_ONLY)  # fmt: skip
def main(
    data: Path = DATA, pictures: Path = Path("build/pictures_160.npz"), runs: Path = Path("runs"),
    out: Path = Path("docs/isfr"), page_only: bool = False,
) -> None:  # fmt: skip
    """Send pictures as groups of features over fading links, with joint and with equal allocation."""

    def results() -> dict[str, Any]:
        trained = load_pictures(pictures)
        size = SCHEME.config.image_size
        corner = (trained.shape[1] - size) // 2
        known = trained[-_KNOWN:, corner : corner + size, corner : corner + size]
        files = {"restructured": "isfr", "control": "isfr_control"}
        codecs = {name: load_weights(runs / file / "restructure" / "weights.npz")[0] for name, file in files.items()}
        codecs = {name: jax.tree.map(jnp.asarray, params) for name, params in codecs.items()}
        codecs["components"] = SCHEME.start(SCHEME.init(jax.random.key(0)), trained, 0)
        return measure(codecs, known, kodak(data))

    study(out, page_only, results, tables)


if __name__ == "__main__":
    sys.exit(main())
