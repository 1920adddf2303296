r"""Token sharing measured: what it saves against K and epsilon, what the saving costs, and which merges are wrong.

    python -m experiments.token_sharing.measure --data ../shared/data --out docs/token_sharing

Some minutes on one idle core. Writes ``results.json``, the figures and ``rate_distortion.csv`` into the folder
``--out``, and the tables into the page beside it, ``--out``.md, between its markers; docs/token_sharing.md says what is
measured and how. ``--groups 2`` is a quick look; ``--page-only`` writes figures and tables again from ``results.json``.
"""

import dataclasses
import functools
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from experiments.script import DATA, PAGE_ONLY, script, study
from experiments.token_sharing.page import draw, tables
from experiments.token_sharing.tuning import RATE_WEIGHT, fine_tune
from lvm_mtc import link as links_room
from lvm_mtc.data.boxes import center_prior
from lvm_mtc.data.uav_groups import read_groups
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.metrics.pictures import psnr
from lvm_mtc.models.patches import patchify
from lvm_mtc.schemes.loading import DEMO_WEIGHTS, load_scheme
from lvm_mtc.schemes.lvm_mtc.comparator import Sharing
from lvm_mtc.schemes.lvm_mtc.records import Encoded
from lvm_mtc.schemes.lvm_mtc.scheme import LvmMtc
from lvm_mtc.schemes.lvm_mtc.side_information import side_information_bits
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.sweep import programs
from lvm_mtc.sweep.programs import DrawShape

Rule = tuple[str, str]

UAVS = (2, 4, 6, 8, 10)
RULES: tuple[Rule, ...] = tuple((comparator, alignment) for comparator in ("intensity", "cosine", "learned")
                                for alignment in ("index", "sorted", "position"))  # fmt: skip
EPSILONS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
FEWER = (60, 48)
SAVINGS = (0.05, 0.1, 0.2)
TUNED: Rule = ("learned", "index")
K, SNR_DB, WRONG_MSE = 4, 10.0, 0.01
LINK = LinkConfig(convention="rx_per_antenna")


def with_rule(scheme: LvmMtc, comparator: str, alignment: str) -> LvmMtc:
    """The same scheme with another comparator and alignment."""
    config = dataclasses.replace(scheme.config, comparator=comparator, alignment=alignment)
    return dataclasses.replace(scheme, config=config)


class Compared(NamedTuple):
    """A rule's scores of slots ``[G, L]``, infinite where none can be shared, and tokens ``[G, num_uavs, L]``."""

    score: np.ndarray
    order: np.ndarray


@functools.partial(jax.jit, static_argnums=0)
def _compare(schemes: tuple[LvmMtc, ...], encoded: tuple[Encoded, ...]) -> list[Compared]:
    sharings = [scheme.share(tokens, jnp.float32(1e9)) for scheme, tokens in zip(schemes, encoded, strict=True)]
    return [Compared(jnp.where(sharing.public, sharing.score, jnp.inf), sharing.order) for sharing in sharings]


def compare(scheme: LvmMtc, tokens: dict[bool, Encoded], num_uavs: int) -> dict[Rule, Compared]:
    """Every rule's scores for the first UAVs of groups that are encoded with the learned projection, or without."""
    schemes = tuple(with_rule(scheme, *rule) for rule in RULES)
    encoded = tuple(first_uavs(tokens[comparator == "learned"], num_uavs) for comparator, _ in RULES)
    return dict(zip(RULES, jax.device_get(_compare(schemes, encoded)), strict=True))


def first_uavs(encoded: Encoded, count: int) -> Encoded:
    """The first UAVs of every group."""
    return jax.tree.map(lambda leaf: leaf[:, :count], encoded)


def measure_savings(compared: dict[int, dict[Rule, Compared]]) -> list[dict[str, Any]]:
    """Share of the token transmissions that are saved, for every rule, K and epsilon (Fig. 11)."""
    return [
        {"comparator": rule[0], "alignment": rule[1], "num_uavs": num_uavs,
         "saving": [(num_uavs - 1) / num_uavs * float(np.mean(compared[num_uavs][rule].score < epsilon))
                    for epsilon in EPSILONS]}
        for rule in RULES for num_uavs in UAVS
    ]  # fmt: skip


def merges(scheme: LvmMtc, encoded: Encoded, images: np.ndarray, compared: Compared) -> dict[str, np.ndarray]:
    """What merging each slot would do; every entry ``[G L]``.

    ``score``; ``mse``, between the UAVs' patches and their mean; ``cosine``, mean similarity of two UAVs' tokens.
    """
    patches = np.asarray(patchify(images, scheme.config.patch_size))
    ids = np.take_along_axis(np.asarray(encoded.kept.ids_keep), compared.order, axis=2)
    patches = np.take_along_axis(patches, ids[..., None], axis=2)
    tokens = np.take_along_axis(np.asarray(encoded.tokens), compared.order[..., None], axis=2)
    unit = tokens / np.linalg.norm(tokens, axis=-1, keepdims=True)
    count = unit.shape[1]
    cosine = (np.sum(unit.sum(axis=1) ** 2, axis=-1) - count) / (count * (count - 1))
    mse = np.mean((patches - patches.mean(axis=1, keepdims=True)) ** 2, axis=(1, 3))
    return {"score": compared.score.ravel(), "mse": mse.ravel(), "cosine": cosine.ravel()}


def judge_merges(slots: dict[str, np.ndarray]) -> dict[str, Any]:
    """How wrong merges are at epsilon 0.1 and equal savings: patches and their mean differ by more than WRONG_MSE."""

    def describe(merged):
        if not merged.any():
            return None
        return {"slots": int(merged.sum()), "wrong": float(np.mean(slots["mse"][merged] > WRONG_MSE)),
                "rms": float(np.sqrt(slots["mse"][merged].mean())), "cosine": float(slots["cosine"][merged].mean()),
                "epsilon": float(slots["score"][merged].max())}  # fmt: skip

    score = slots["score"]
    ranked = np.argsort(score, kind="stable")
    rows = {}
    for saving in SAVINGS:
        merged = np.zeros(score.size, bool)
        merged[ranked[: round(saving * K / (K - 1) * score.size)]] = True
        rows[f"{saving:g}"] = describe(merged) if np.isfinite(score[merged]).all() else None
    return {"at_0.1": describe(score < 0.1), "saving_at_0.1": float((K - 1) / K * np.mean(score < 0.1)),
            "at_saving": rows, "every_slot": describe(np.isfinite(score))}  # fmt: skip


@functools.partial(jax.jit, static_argnums=0)
def _send(scheme: LvmMtc, params, encoded: Encoded, images, draws, score, order, epsilons):
    def send_one(epsilon):
        public = score < epsilon
        sharing = Sharing(order, score, public, public.astype(jnp.float32))
        point = OperatingPoint(snr_db=jnp.float32(SNR_DB), knobs={"epsilon": epsilon})
        sent = scheme.send(params, encoded, sharing, point)
        received, _ = links_room.send(LINK, sent.signal, draws, point)
        images_hat = scheme.decode(params, received, sent.side, point).data
        uses = links_room.book(LINK, sent.signal).channel_uses()
        return psnr(images, jnp.clip(images_hat, 0.0, 1.0)).mean(), uses.mean() / images.shape[1]

    return jax.lax.map(send_one, epsilons)


def send(scheme, params, encoded, images, compared: Compared, epsilons, seed: int) -> dict[str, list[float]]:
    """Mean PSNR, dB, and mean channel uses a picture, at every epsilon.

    One program serves all rules, for it is given what they decide; it sends in the order of ``sorted``,
    public tokens first.
    """
    shape = DrawShape((LINK,), *images.shape[:2], ((encoded.tokens.shape[2], scheme.config.num_symbols),))
    (draws,) = jax.tree.map(lambda leaf: leaf[0], programs.draw(shape, jax.random.key(seed), np.zeros(1, np.uint32)))
    aligned = with_rule(scheme, "intensity", "sorted")
    psnr_db, uses = _send(aligned, params, encoded, images, draws, *compared, np.float32(epsilons))
    bits = [side_bits(scheme, compared, epsilon) / images.shape[1] for epsilon in epsilons]
    return {"epsilon": [float(e) for e in epsilons], "psnr_db": np.asarray(psnr_db).tolist(),
            "channel_uses": np.asarray(uses).tolist(), "side_bits": bits}  # fmt: skip


def side_bits(scheme: LvmMtc, compared: Compared, epsilon: float) -> float:
    """Bits of side information of a group, mean over groups."""
    config, public = scheme.config, compared.score < epsilon
    bits = side_information_bits(
        public, np.full(len(public), epsilon), num_uavs=compared.order.shape[1], num_patches=config.num_patches,
        masked=True, alignment=config.alignment, gains=config.receiver == "wiener",
    )  # fmt: skip
    return float(np.mean(bits))


def measure(
    scheme: LvmMtc, params, groups: dict[str, np.ndarray], seed: int, rules: tuple[Rule, ...] = RULES
) -> dict[str, Any]:
    """Measures everything with one set of weights, into plain values for JSON; merges and curves of some rules only."""
    (count, most_uavs), size = next(iter(groups.values())).shape[:2], scheme.config.image_size
    loc = np.broadcast_to(center_prior(size, size), (count, most_uavs, 4)).astype(np.float32)
    key = jax.random.key(seed)

    def encode(which, images):
        source = Source(images, {"loc": loc[:, : images.shape[1]]})
        return programs.encode(which, params, source, jax.random.clone(key), {"mask_prob": jnp.float32(0.25)})

    learned = with_rule(scheme, "learned", "index")
    results = {"savings": [], "merges": [], "curves": []}
    for kind, images in tqdm(groups.items(), desc="kinds of groups"):
        tokens = {False: encode(scheme, images), True: encode(learned, images)}
        compared = {num_uavs: compare(scheme, tokens, num_uavs) for num_uavs in UAVS}
        results["savings"] += [{"groups": kind} | row for row in measure_savings(compared)]
        images, encoded = images[:, :K], first_uavs(tokens[False], K)
        for rule in rules:
            chosen, slots = with_rule(scheme, *rule), compared[K][rule]
            about = {"groups": kind, "comparator": rule[0], "alignment": rule[1]}
            results["merges"].append(about | judge_merges(merges(chosen, encoded, images, slots)))
            finite = slots.score[np.isfinite(slots.score)]
            epsilons = (0.0, 0.1, *np.quantile(finite, (0.03, 0.1, 0.2, 0.4, 0.7, 1.0)) + 1e-6)
            results["curves"].append(about | send(chosen, params, encoded, images, slots, epsilons, seed))
        for kept in FEWER:
            fewer = dataclasses.replace(scheme, config=dataclasses.replace(scheme.config, num_kept=kept))
            nothing = Compared(np.full((count, kept), np.inf, np.float32),
                               np.broadcast_to(np.arange(kept, dtype=np.int32), (count, K, kept)))  # fmt: skip
            about = {"groups": kind, "comparator": "fewer tokens", "alignment": f"{kept} kept"}
            results["curves"].append(about | send(fewer, params, encode(fewer, images), images, nothing, (0.0,), seed))
    return results


@script(
    data="pictures", out="folder; the page is beside it", groups="groups of ten pictures of each kind, 1 to 18",
    seed="of masks and channels", steps="of fine-tuning; 0 leaves it out", page_only=PAGE_ONLY,
)  # fmt: skip
def main(
    data: Path = DATA, out: Path = Path("docs/token_sharing"), groups: int = 12, seed: int = 0, steps: int = 200,
    page_only: bool = False,
) -> None:  # fmt: skip
    """Measure token sharing."""
    study(out, page_only, lambda: measure_tuned(data, groups, seed, steps), tables, draw)


def measure_tuned(data: Path, num_groups: int, seed: int, steps: int) -> dict[str, Any]:
    """As :func:`measure` with the shipped weights and, after so many steps of fine-tuning, for one rule once more."""
    scheme, params = load_scheme(DEMO_WEIGHTS)
    features = jnp.zeros((1, scheme.config.sizes.embed_dim))
    params |= {"comparator": scheme.networks["comparator"].init(jax.random.key(seed), features)["params"]}
    groups = read_groups(data, num_groups, scheme.config.image_size)
    results = {"groups": num_groups, "num_uavs": K, "snr_db": SNR_DB, "seed": seed, "epsilons": EPSILONS,
               "wrong_mse": WRONG_MSE, "num_kept": scheme.config.capacity,
               "num_symbols": scheme.config.num_symbols}  # fmt: skip
    results |= measure(scheme, params, groups, seed)
    if steps:
        params = fine_tune(with_rule(scheme, *TUNED), params, data, LINK, num_uavs=K, snr_db=SNR_DB, steps=steps,
                           seed=seed)  # fmt: skip
        results["tuned"] = {"steps": steps, "rate_weight": RATE_WEIGHT}
        results["tuned"] |= measure(scheme, params, groups, seed, (TUNED,))
    return results


if __name__ == "__main__":
    sys.exit(main())
