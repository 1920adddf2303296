r"""Token sharing measured: what it saves against K and epsilon, what the saving costs, and which merges are wrong.

    python experiments/token_sharing.py --data ../shared/data --out docs/token_sharing

Some minutes on one idle core. Writes ``results.json``, the figures and ``rate_distortion.csv`` into the folder
``--out``, and the tables into the page beside it, ``--out``.md, between its markers; docs/token_sharing.md says what is
measured and how. ``--groups 2`` is a quick look; ``--page-only`` writes figures and tables again from ``results.json``.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from knowledge_base_page import fill_page
from token_sharing_page import draw, tables, write_csv
from token_sharing_pictures import MOST_UAVS, read_groups
from token_sharing_tuning import RATE_WEIGHT, fine_tune
from tqdm import tqdm

from lvm_mtc import LinkConfig, OperatingPoint, System
from lvm_mtc.data.boxes import center_prior
from lvm_mtc.evaluation import programs
from lvm_mtc.evaluation.files import atomic_file
from lvm_mtc.evaluation.metrics import psnr
from lvm_mtc.evaluation.programs import DrawShape
from lvm_mtc.evaluation.schemes import DEMO_WEIGHTS, load_system
from lvm_mtc.models.comparator import Sharing
from lvm_mtc.models.patches import patchify
from lvm_mtc.system import Encoded
from lvm_mtc.system.bandwidth import book_tokens, side_information_bits

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


def with_rule(system: System, comparator: str, alignment: str) -> System:
    """The same system with another comparator and alignment."""
    return System(dataclasses.replace(system.config, comparator=comparator, alignment=alignment), system.execution)


class Compared(NamedTuple):
    """A rule's alignment and scores, by slot.

    Attributes:
        score: ``[G, L]``, infinite where a slot cannot be shared.
        order: ``[G, num_uavs, L]``, the token of each UAV in each slot.
    """

    score: np.ndarray
    order: np.ndarray


@functools.partial(jax.jit, static_argnums=0)
def _compare(systems: tuple[System, ...], encoded: tuple[Encoded, ...]) -> list[Compared]:
    found = [system.share(one, OperatingPoint(epsilon=jnp.float32(1e9)))
             for system, one in zip(systems, encoded, strict=True)]  # fmt: skip
    return [Compared(jnp.where(one.public, one.score, jnp.inf), one.order) for one in found]


def compare(system: System, tokens: dict[bool, Encoded], num_uavs: int) -> dict[Rule, Compared]:
    """Every rule's scores for the first UAVs of every group.

    Args:
        system: Of the weights.
        tokens: Encoded groups, without (False) and with (True) the learned projection.
        num_uavs: How many UAVs.
    """
    systems = tuple(with_rule(system, *rule) for rule in RULES)
    encoded = tuple(first_uavs(tokens[comparator == "learned"], num_uavs) for comparator, _ in RULES)
    return dict(zip(RULES, jax.device_get(_compare(systems, encoded)), strict=True))


def first_uavs(encoded: Encoded, count: int) -> Encoded:
    """The first UAVs of every group."""
    return jax.tree.map(lambda leaf: leaf[:, :count], encoded)


def measure_savings(compared: dict[int, dict[Rule, Compared]]) -> list[dict[str, Any]]:
    """Share of the token transmissions that are saved, for every rule, K and epsilon (Fig. 11)."""
    return [
        {"comparator": rule[0], "alignment": rule[1], "num_uavs": num_uavs,
         "saving": [(num_uavs - 1) / num_uavs * float(np.mean(one.score < epsilon)) for epsilon in EPSILONS]}
        for rule in RULES for num_uavs in UAVS for one in (compared[num_uavs][rule],)
    ]  # fmt: skip


def merges(system: System, encoded: Encoded, images: np.ndarray, compared: Compared) -> dict[str, np.ndarray]:
    """What merging each slot would do; every entry ``[G L]``.

    Returns:
        ``score``; ``mse``, between the UAVs' patches and their mean; ``cosine``, mean similarity of two UAVs' tokens.
    """
    patches = np.asarray(patchify(images, system.config.patch_size))
    ids = np.take_along_axis(np.asarray(encoded.kept.ids_keep), compared.order, axis=2)
    patches = np.take_along_axis(patches, ids[..., None], axis=2)
    tokens = np.take_along_axis(np.asarray(encoded.tokens), compared.order[..., None], axis=2)
    unit = tokens / np.linalg.norm(tokens, axis=-1, keepdims=True)
    count = unit.shape[1]
    cosine = (np.sum(unit.sum(axis=1) ** 2, axis=-1) - count) / (count * (count - 1))
    mse = np.mean((patches - patches.mean(axis=1, keepdims=True)) ** 2, axis=(1, 3))
    return {"score": compared.score.ravel(), "mse": mse.ravel(), "cosine": cosine.ravel()}


def judge_merges(found: dict[str, np.ndarray]) -> dict[str, Any]:
    """How wrong the merges are at epsilon 0.1 and at equal savings.

    A merge is wrong where patches and their mean differ by an MSE above :data:`WRONG_MSE`.
    """

    def describe(merged):
        if not merged.any():
            return None
        return {"slots": int(merged.sum()), "wrong": float(np.mean(found["mse"][merged] > WRONG_MSE)),
                "rms": float(np.sqrt(found["mse"][merged].mean())), "cosine": float(found["cosine"][merged].mean()),
                "epsilon": float(found["score"][merged].max())}  # fmt: skip

    score = found["score"]
    ranked = np.argsort(score, kind="stable")
    rows = {}
    for saving in SAVINGS:
        merged = np.zeros(score.size, bool)
        merged[ranked[: round(saving * K / (K - 1) * score.size)]] = True
        rows[f"{saving:g}"] = describe(merged) if np.isfinite(score[merged]).all() else None
    return {"at_0.1": describe(score < 0.1), "saving_at_0.1": float((K - 1) / K * np.mean(score < 0.1)),
            "at_saving": rows, "every_slot": describe(np.isfinite(score))}  # fmt: skip


@functools.partial(jax.jit, static_argnums=0)
def _send(system: System, params, encoded: Encoded, images, draws, score, order, epsilons):
    keys = jax.random.split(jax.random.key(0), images.shape[1])  # everything random is in draws
    point, place = OperatingPoint(snr_db=jnp.float32(SNR_DB)), jnp.argsort(order, axis=-1)[..., None]

    def send_one(epsilon):
        public = score < epsilon
        sent = system.send(params, encoded, Sharing(order, score, public, public.astype(jnp.float32)), point)
        received = system.receive(params, sent, keys, LINK, point, draws)[:2]
        tokens, reliability = (jnp.take_along_axis(a, place, axis=2) for a in received)
        images_hat = system.decode(params, tokens, encoded.kept, reliability)
        uses = book_tokens(sent.private, public, system.config.num_symbols, LINK.num_tx_ant, joint=False).channel_uses()
        return psnr(images, jnp.clip(images_hat, 0.0, 1.0)).mean(), uses.mean() / images.shape[1]

    return jax.lax.map(send_one, epsilons)


def send(system, params, encoded, images, compared: Compared, epsilons, seed: int) -> dict[str, list[float]]:
    """Mean PSNR, dB, and mean channel uses a picture, at every epsilon.

    One program serves all rules, for it is given what they decide; it sends in the order of ``sorted``,
    public tokens first.
    """
    shape = DrawShape((LINK,), *images.shape[:2], ((encoded.tokens.shape[2], system.config.num_symbols),))
    (draws,) = jax.tree.map(lambda leaf: leaf[0], programs.draw(shape, jax.random.key(seed), np.zeros(1, np.uint32)))
    aligned = with_rule(system, "intensity", "sorted")
    found = _send(aligned, params, encoded, images, draws, *compared, np.float32(epsilons))
    bits = [side_bits(system, compared, epsilon) / images.shape[1] for epsilon in epsilons]
    return {"epsilon": [float(e) for e in epsilons], "psnr_db": np.asarray(found[0]).tolist(),
            "channel_uses": np.asarray(found[1]).tolist(), "side_bits": bits}  # fmt: skip


def side_bits(system: System, compared: Compared, epsilon: float) -> float:
    """Bits of side information of a group, mean over groups."""
    config, public = system.config, compared.score < epsilon
    bits = side_information_bits(
        public, np.full(len(public), epsilon), num_uavs=compared.order.shape[1], num_patches=config.num_patches,
        masked=True, alignment=config.alignment, gains=config.receiver == "wiener",
    )  # fmt: skip
    return float(np.mean(bits))


def measure(
    system: System, params, groups: dict[str, np.ndarray], seed: int, rules: tuple[Rule, ...] = RULES
) -> dict[str, Any]:
    """Measures everything with one set of weights.

    Args:
        system: Of the weights.
        params: With ``comparator``.
        groups: The pictures, of :func:`read_groups`.
        seed: Of masks and channels.
        rules: Whose merges and curves are wanted.

    Returns:
        Plain values for JSON.
    """
    size, key = system.config.image_size, jax.random.key(seed)
    loc = np.broadcast_to(center_prior(size, size), (len(next(iter(groups.values()))), MOST_UAVS, 4)).astype(np.float32)

    def encode(which, images):
        return programs.encode(which, params, images, loc, jax.random.clone(key), jnp.float32(0.25))

    learned = with_rule(system, "learned", "index")
    found = {"savings": [], "merges": [], "curves": []}
    for kind, images in tqdm(groups.items(), desc="kinds of groups"):
        tokens = {False: encode(system, images), True: encode(learned, images)}
        compared = {num_uavs: compare(system, tokens, num_uavs) for num_uavs in UAVS}
        found["savings"] += [{"groups": kind} | row for row in measure_savings(compared)]
        images, some = images[:, :K], first_uavs(tokens[False], K)
        for rule in rules:
            chosen, one = with_rule(system, *rule), compared[K][rule]
            about = {"groups": kind, "comparator": rule[0], "alignment": rule[1]}
            merged = merges(chosen, some, images, one)
            found["merges"].append(about | judge_merges(merged))
            finite = one.score[np.isfinite(one.score)]
            epsilons = (0.0, 0.1, *np.quantile(finite, (0.03, 0.1, 0.2, 0.4, 0.7, 1.0)) + 1e-6)
            found["curves"].append(about | send(chosen, params, some, images, one, epsilons, seed))
        for count in FEWER:
            fewer = System(dataclasses.replace(system.config, num_kept=count))
            some = first_uavs(programs.encode(fewer, params, images, loc[:, :K], jax.random.clone(key),
                                              jnp.float32(0.25)), K)  # fmt: skip
            nothing = Compared(np.full((len(images), count), np.inf, np.float32),
                               np.broadcast_to(np.arange(count, dtype=np.int32), (len(images), K, count)))  # fmt: skip
            about = {"groups": kind, "comparator": "fewer tokens", "alignment": f"{count} kept"}
            found["curves"].append(about | send(fewer, params, some, images, nothing, (0.0,), seed))
    return found


def main(arguments: list[str] | None = None) -> int:
    """Measures, writes and prints; returns the exit status: 0, or 2 after one line on stderr."""
    parser = argparse.ArgumentParser(description="Measure token sharing.")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="pictures")
    parser.add_argument("--out", type=Path, default=Path("docs/token_sharing"), help="folder; the page is beside it")
    parser.add_argument("--groups", type=int, default=12, help="groups of ten pictures of each kind, 1 to 18")
    parser.add_argument("--seed", type=int, default=0, help="of masks and channels")
    parser.add_argument("--steps", type=int, default=200, help="of fine-tuning; 0 leaves it out")
    parser.add_argument("--page-only", action="store_true", help="figures and tables from the old results.json")
    options = parser.parse_args(arguments)
    file, page = options.out / "results.json", options.out.with_suffix(".md")
    try:
        if not options.page_only:
            system, params = load_system(DEMO_WEIGHTS)
            features = jnp.zeros((1, system.config.sizes.embed_dim))
            start = system.comparator.init(jax.random.key(options.seed), features)["params"]
            groups = read_groups(options.data, options.groups, system.config.image_size)
            about = {"groups": options.groups, "num_uavs": K, "snr_db": SNR_DB, "seed": options.seed,
                     "epsilons": EPSILONS, "wrong_mse": WRONG_MSE, "num_kept": system.config.capacity,
                     "num_symbols": system.config.num_symbols}  # fmt: skip
            params |= {"comparator": start}
            results = about | measure(system, params, groups, options.seed)
            if options.steps:
                params = fine_tune(with_rule(system, *TUNED), params, options.data, LINK, num_uavs=K, snr_db=SNR_DB,
                                   steps=options.steps, seed=options.seed)  # fmt: skip
                results["tuned"] = {"steps": options.steps, "rate_weight": RATE_WEIGHT}
                results["tuned"] |= measure(system, params, groups, options.seed, (TUNED,))
            options.out.mkdir(parents=True, exist_ok=True)
            with atomic_file(file) as temporary:
                temporary.write_text(json.dumps(results, indent=1) + "\n")
        results = json.loads(file.read_text())
        write_csv(results["curves"], options.out / "rate_distortion.csv")
        draw(results, options.out)
        found = tables(results)
        if page.exists():
            filled = fill_page(page.read_text(), found)
            with atomic_file(page) as temporary:
                temporary.write_text(filled)
    except (ValueError, OSError) as error:
        print(f"token_sharing: {error}", file=sys.stderr)
        return 2
    print("\n\n".join(found.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
