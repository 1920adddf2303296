r"""Superposed users with the exchange, plain ones and users that take turns, over pairs of more and less alike.

    python -m experiments.sfma.measure --data ../shared/data --packed build/pictures_160.npz

Weights are those of ``experiments/configs/sfma.py``. Writes ``docs/sfma/results.json`` and the tables of
``docs/sfma.md``; ``--page-only`` does so from the old file, and ``--parts`` measures some parts anew. All pairs are cut
from Kodak: two views of one picture 0 to 8 pixels apart, and pictures that have little in common.
"""

import dataclasses
import functools
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.script import DATA, PAGE_ONLY, script, study
from experiments.sfma import digital
from experiments.sfma.page import tables
from lvm_mtc.allocation.leak import fit_leak, leaked_share
from lvm_mtc.data.images import list_images, load_image
from lvm_mtc.data.packing import load_packed
from lvm_mtc.data.resizing import center_crop
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.schemes.loading import load_scheme
from lvm_mtc.schemes.scheme import Params, Source
from lvm_mtc.schemes.sfma.scheme import Sfma, placed, separate, similarity
from lvm_mtc.schemes.simulate import forward

LINKS = {name: LinkConfig(fading=name, convention="rx_per_antenna") for name in ("awgn", "rayleigh")}
SNRS_DB = (0.0, 5.0, 10.0, 20.0)
SHIFTS = (0, 1, 2, 4, 8)
SHARES, RATIOS = (0.1, 0.25, 0.4, 0.6, 0.75, 0.9), (0.25, 0.5, 0.75, 1.0)
_LITTLE = 0.1  # similarity below which pictures have little in common


def views(data: Path, size: int) -> np.ndarray:
    """The middle of each Kodak picture at half its size, with room for shifts, ``[24, side, side, 3]`` uint8."""
    side = size + 2 * max(SHIFTS)
    crops = np.stack([center_crop(load_image(path), 2 * side) for path in list_images(data / "kodak")])
    return np.uint8(np.float32(crops).reshape(len(crops), side, 2, side, 2, 3).mean((2, 4)) + 0.5)


def pairs_of(scheme: Sfma, params: Params, pictures: np.ndarray) -> dict[str, np.ndarray]:
    """Kind of pair to pictures ``[pairs, 2, size, size, 3]`` uint8."""
    size = scheme.config.image_size
    first = pictures[:, :size, :size]
    pairs = {f"{d} px": np.stack([first, pictures[:, d : d + size, d : d + size]], 1) for d in SHIFTS}
    features = _encoded(scheme, params, _source(np.stack([first, first], 1))).features[:, 0]
    each = jax.jit(similarity)
    alike = np.array([each(jnp.stack([jnp.broadcast_to(a, features.shape), features], 1)) for a in features])
    left, found = set(range(len(first))), []
    while len(left) > 1:  # pairs of pictures, each in one pair
        i = min(left)
        partners = [j for j in left - {i} if alike[i, j] < _LITTLE]
        left -= {i, *partners[:1]}
        found += [(i, partners[0])] if partners else []
    return pairs | {"two pictures": np.stack([np.stack([first[i], first[j]]) for i, j in found])}


def _source(pictures: np.ndarray) -> Source:
    return Source(jnp.float32(pictures) / 255)


@functools.partial(jax.jit, static_argnames="scheme")
def _encoded(scheme, params, source):
    return scheme.encode(params, source, None, {})


@functools.partial(jax.jit, static_argnames=("scheme", "link"))
def _psnr(scheme, params, source, link, snr_db, knobs):
    out = forward(scheme, params, source, jax.random.key(7), LINKS[link], OperatingPoint(snr_db=snr_db, knobs=knobs))
    mse = jnp.mean((jnp.clip(out.estimate.data, 0, 1) - source.data) ** 2, axis=(2, 3, 4))
    return -10 * jnp.log10(mse).mean(1), out.ledger.channel_uses()


def levels(files: Mapping[str, Path], pairs: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """PSNR of each pair, mean of its users, by kind, link, SNR and way of sharing; channel and noise are the same.

    ``exchange`` is compared with ``plain``, which went on as long from the same start without it; with itself where it
    is told that pictures have nothing in common, ``closed``; and with users that take turns with half of the symbols.
    """
    made = {name: load_scheme(weights) for name, weights in files.items()}
    ways = {"exchange": ("exchange", 1.0), "closed": ("exchange", 0.0), "plain": ("plain", 1.0),
            "turns": ("turns", 1.0)}  # fmt: skip
    rows, most = [], max(map(len, pairs.values()))
    for kind, pictures in pairs.items():
        source = _source(np.resize(pictures, (most, *pictures.shape[1:])))  # kinds of fewer pairs begin again
        scheme, params = made["exchange"]
        alike = _encoded(scheme, params, source).similarity
        for link in LINKS:
            for snr_db in SNRS_DB:
                of = source, link, jnp.float32(snr_db)
                found = {name: _psnr(*made[network], *of, {"gate": jnp.float32(gate)})
                         for name, (network, gate) in ways.items()}  # fmt: skip
                uses = {name: float(count.mean()) for name, (_, count) in found.items()}
                cut = {name: value[: len(pictures)] for name, (value, _) in found.items()}
                psnr_db = {name: np.round(np.float64(value), 4).tolist() for name, value in cut.items()}
                alike_of = np.round(np.float64(alike[: len(pictures)]), 4).tolist()
                at = {"pair": kind, "link": link, "snr_db": snr_db}
                rows.append(at | {"similarity": alike_of, "uses": uses, "psnr_db": psnr_db})
        print(kind, flush=True)
    return rows


def leak(scheme: Sfma, params: Params, pairs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The share of the partner's power in features that a noiseless L-MMSE receiver estimates, and its logistic fit.

    The networks behind it are left out: they are of one ratio.
    The ratio is that of the symbols to the largest; powers are shares of 1. A sample is the mean over a kind's pairs.
    """
    samples = []
    for pictures in pairs.values():
        for ratio in RATIOS:
            width = round(2 * scheme.config.num_symbols * ratio)
            small = Sfma(dataclasses.replace(scheme.config, num_symbols=width // 2))
            linear = params["linear"] | {"encoder": params["linear"]["encoder"][:, :width]}
            features = _encoded(small, {"linear": linear}, _source(pictures)).features
            alike = float(similarity(features).mean())
            norm = jnp.sqrt((features**2).mean((-2, -1), keepdims=True))
            for share in SHARES:
                amplitude = jnp.sqrt(jnp.array([[share, 1 - share]])) / norm[..., 0, 0]
                total = (placed(features) * amplitude[..., None, None]).sum(1)
                heard = jnp.stack([total, total], 1)
                both = separate(heard, jnp.full_like(heard, 1e-4), amplitude, linear["power"][:width])
                own, partner = (np.asarray(features[:, i]).reshape(len(features), -1) for i in (0, 1))
                left = leaked_share(np.asarray(both[:, 0, 0]).reshape(own.shape), own, partner)
                if np.isfinite(left).all():
                    samples.append((float(np.mean(left)), alike, 1 - share, ratio))
    fitted, explained = fit_leak(*np.array(samples).T)
    return {"samples": np.round(samples, 5).tolist(), "coefficients": fitted, "explained": explained}


PARTS = ("rows", "leak", "digital")


@script(data="pictures of Kodak", runs="folder of the training runs", packed="packed pictures of the training",
        out="folder; the page is beside it", page_only=PAGE_ONLY,
        parts={"choices": PARTS, "help": "what is measured; the rest stays"})  # fmt: skip
def main(
    data: Path = DATA, runs: Path = Path("runs"), packed: Path = Path("build/pictures_160.npz"),
    out: Path = Path("docs/sfma"), page_only: bool = False, parts: tuple[str, ...] = PARTS,
) -> None:  # fmt: skip
    """Superpose two users with and without exchange, beside other ways to share the symbols."""

    def results() -> dict[str, Any]:
        stages = {"exchange": "sfma/exchange", "plain": "sfma_longer/further", "turns": "sfma_turns/further"}
        files = {name: runs / stage / "weights.npz" for name, stage in stages.items()}
        scheme, params = load_scheme(runs / "sfma_plain" / "further" / "weights.npz")
        pairs, file = pairs_of(scheme, params, views(data, scheme.config.image_size)), out / "results.json"
        uses = int(np.prod(scheme.frames()))
        every = {
            "rows": lambda: levels(files, pairs),
            "leak": lambda: leak(scheme, params, pairs),
            "digital": lambda: digital.measure(
                {kind: pairs[kind] for kind in ("0 px", "two pictures")}, load_packed(packed), uses, SNRS_DB
            ),
        }
        return (json.loads(file.read_text()) if file.exists() else {}) | {name: every[name]() for name in parts}

    study(out, page_only, results, tables)


if __name__ == "__main__":
    sys.exit(main())
