"""Multimodal tokens: accuracy over SNR and length, controls, measured losses into the allocation, and its real latency.

    python -m experiments.multimodal.pack --data ../shared/data --out build/presence
    for n in two_stage one_stage picture question; do lvm-mtc train --config experiments/configs/multimodal.py:$n \
        --stage all --data build/presence/train.npz --run-dir runs/multimodal_$n; done
    python -m experiments.multimodal.measure --out docs/multimodal

Minutes on one core. Writes ``results.json`` and ``figure.png`` into ``--out`` and the tables into the page beside it.
"""

import functools
import json
import math
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.multimodal.page import CONTROLS, CONTROLS_AT, draw, tables
from experiments.script import PAGE_ONLY, script, study
from lvm_mtc.allocation.token_length import TokenUplink, allocate_tokens, equal_allocation
from lvm_mtc.data.presence import NAMES, PackedPresence, load_presence, question_of
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.models.multimodal import quantize_tokens, token_bits
from lvm_mtc.results.intervals import paired_difference, student_interval
from lvm_mtc.schemes.loading import load_scheme
from lvm_mtc.schemes.multimodal.scheme import LARGEST_WINDOW, Multimodal
from lvm_mtc.schemes.presence_source import presence_source
from lvm_mtc.schemes.separation.adaptation import AdaptiveLink
from lvm_mtc.schemes.simulate import forward

RUNS = ("two_stage", "one_stage", *CONTROLS)
LINKS = {fading: LinkConfig(fading=fading, num_rx_ant=1, num_tx_ant=1) for fading in ("awgn", "rayleigh")}
SNRS_DB, SNR_DB = (0, 5, 10, 20), 5
LOG2_WINDOWS, SOME_WINDOWS = tuple(range(LARGEST_WINDOW.bit_length())), (0, 2, 4)
TASKS = {
    "animals": ("bird", "cat", "cow", "dog", "horse", "sheep"), "people": ("person",),
    "vehicles": ("bicycle", "boat", "bus", "car", "motorcycle", "train"),
    "indoors": ("bottle", "chair", "table", "plant", "couch", "television"),
}  # fmt: skip
BANDWIDTH, POWER, NOISE_DENSITY, LATENCY_SCALE = 1e6, 0.5, 4e-21, 0.1
WEIGHTS, SEEDS, SLOTS, WORDS = (0.02, 0.1, 0.5), 50, 1024, 20


@functools.partial(jax.jit, static_argnums=(0, 1))
def arrived(scheme: Multimodal, link: LinkConfig, params: Any, source: Any, key: jax.Array, point: OperatingPoint):
    """Scores of answers behind a link, ``[questions, 2]``."""
    return forward(scheme, params, source, key, link, point).estimate.data[:, 0]


@functools.partial(jax.jit, static_argnums=0)
def told(scheme: Multimodal, params: Any, source: Any, key: jax.Array, log2_window: jax.Array) -> jax.Array:
    """Scores of answers from tokens as bits without errors, ``[questions, 2]``."""
    tokens, valid = scheme.pooled(scheme.encode(params, source, key[None], {}), log2_window)
    return scheme.answer(params, quantize_tokens(tokens), valid)[:, 0]


def interval_of_fours(values: np.ndarray) -> list[float]:
    """Mean and half width over fours of questions, which share their pictures."""
    return [float(n) for n in student_interval(values.reshape(-1, 4).mean(1))[:2]]


def over_links(trained: dict, source: Any, answer: np.ndarray, seed: int) -> list[dict[str, Any]]:
    """Accuracies of every run at every point, the same draws for all."""
    rows, right = [], {}
    for run, (scheme, params) in trained.items():
        for fading, link in LINKS.items():
            for snr_db in SNRS_DB:
                for log2_window in LOG2_WINDOWS if snr_db == SNR_DB else SOME_WINDOWS:
                    if run in CONTROLS and (fading, snr_db, log2_window) != CONTROLS_AT:
                        continue
                    at = OperatingPoint(snr_db=jnp.float32(snr_db), knobs={"log2_window": jnp.float32(log2_window)})
                    scores = arrived(scheme, link, params, source, jax.random.key(seed), at)
                    right[run, fading, snr_db, log2_window] = np.float64(np.argmax(scores, -1) == answer)
    for (run, *at), values in right.items():
        row = {"run": run, **dict(zip(("fading", "snr_db", "log2_window"), at, strict=True))}
        gain = paired_difference(*(a.reshape(-1, 4).mean(1) for a in (values, right["one_stage", *at])))
        rows.append(row | {"accuracy": interval_of_fours(values), "over_one_stage": [float(n) for n in gain[:2]]})
    return rows


def lengths() -> list[int]:
    """Tokens for each window, that of one token first; all questions have as many words."""
    (words,) = {len(question_of(name).split()) for name in NAMES}
    return [math.ceil(64 / 2**w) + math.ceil(words / 2**w) for w in LOG2_WINDOWS]


def losses(scheme: Multimodal, params: Any, source: Any, packed: PackedPresence) -> list[dict[str, Any]]:
    """Cross-entropy and accuracy of each task at each length, tokens as bits without errors."""
    rows, (_, name, answer) = [], packed.question.T
    for log2_window, length in zip(LOG2_WINDOWS, lengths(), strict=True):
        scores = np.float64(told(scheme, params, source, jax.random.key(0), jnp.float32(log2_window)))
        loss = np.log(np.exp(scores - scores[np.arange(len(answer)), answer][:, None]).sum(-1))
        for task, names in TASKS.items():
            own = np.isin(name, [NAMES.index(one) for one in names])
            rows.append({"task": task, "length": length, "questions": int(own.sum()),
                         "loss": [float(n) for n in student_interval(loss[own])[:2]],
                         "accuracy": float(np.mean(np.argmax(scores[own], -1) == answer[own]))})  # fmt: skip
    return rows


def falling(values: np.ndarray) -> np.ndarray:
    """The falling sequence next to ``values`` in squares, by pooling neighbours that rise."""
    blocks: list[list[float]] = []
    for value in values:
        blocks.append([value, 1])
        while len(blocks) > 1 and blocks[-2][0] < blocks[-1][0]:
            (a, n), (b, m) = blocks[-2], blocks[-1]
            blocks[-2:] = [[(a * n + b * m) / (n + m), n + m]]
    return np.concatenate([np.full(int(n), value) for value, n in blocks])


def uplink_of(rows: list[dict[str, Any]], seed: int, weight: float) -> TokenUplink:
    """A device for each task, with gains at random over 20 dB: 0 to 20 dB if it had all power and bandwidth."""
    tokens = sorted(set(lengths()))
    measured = np.array([[next(r["loss"][0] for r in rows if (r["task"], r["length"]) == (task, length))
                          for length in tokens] for task in TASKS])  # fmt: skip
    level = 10 ** np.random.default_rng(seed).uniform(0, 2, len(TASKS))
    return TokenUplink(
        gain=level * NOISE_DENSITY * BANDWIDTH / POWER, token_bits=token_bits(64), lengths=tokens,
        validation_loss=np.apply_along_axis(falling, 1, measured), bandwidth=BANDWIDTH, power=POWER,
        noise_density=NOISE_DENSITY, latency_weight=weight, latency_scale=LATENCY_SCALE,
    )  # fmt: skip


def allocations(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Measured losses and latencies of random uplinks, allocated and with equal shares."""
    found = []
    for weight in WEIGHTS:
        for seed in range(SEEDS):
            uplink = uplink_of(rows, seed, weight)
            best, equal = allocate_tokens(uplink), equal_allocation(uplink)
            row: dict[str, Any] = {"weight": weight, "monotone": bool((np.diff(best.history) <= 0).all())}
            for name, one in (("allocated", best), ("equal", equal)):
                latency = uplink.latencies(*one[:3])
                loss = uplink.validation_loss[np.arange(len(latency)), one.choice]
                row[name] = {"objective": one.objective, "latency": float(latency.sum()), "loss": float(loss.sum())}
            found.append(row)
    return found


def realised(rows: list[dict[str, Any]], weight: float = 0.1) -> list[dict[str, Any]]:
    """The first uplink's shares through LDPC codes: each device's SNR decides modulation and code."""
    uplink, found = uplink_of(rows, 0, weight), []
    best = allocate_tokens(uplink)
    snr = best.power * uplink.snr_per_density / best.bandwidth
    system = AdaptiveLink(link=LINKS["awgn"], num_slots=SLOTS)
    for user, (task, latency) in enumerate(zip(TASKS, uplink.latencies(*best[:3]), strict=True)):
        key, snr_db = jax.random.fold_in(jax.random.key(0), user), float(10 * np.log10(snr[user]))
        pair = system.choose(key, snr_db, WORDS)
        service = system.serve(pair, jax.random.fold_in(key, 1), snr_db, WORDS)
        ratio = float(np.log2(1 + snr[user]) / service.goodput) if service.payload_bits else None
        found.append({
            "task": task, "tokens": int(uplink.lengths[user, best.choice[user]]), "snr_db": snr_db,
            "bandwidth_hz": float(best.bandwidth[user]), "power_w": float(best.power[user]),
            "bits_per_symbol": pair.bits_per_symbol, "rate": pair.rate, "delivered": float(service.delivered.mean()),
            "latency_s": float(latency), "ratio": ratio,
        })  # fmt: skip
    return found


@script(data="val.npz of experiments.multimodal.pack", runs="folder with multimodal_two_stage and so on",
        out="folder; the page is beside it", seed="of channels", page_only=PAGE_ONLY)  # fmt: skip
def main(
    data: Path = Path("build/presence/val.npz"), runs: Path = Path("runs"), out: Path = Path("docs/multimodal"),
    seed: int = 0, page_only: bool = False,
) -> None:  # fmt: skip
    """Measure multimodal tokens over links, and what the allocation of their number gains."""

    def results() -> dict[str, Any]:
        packed = load_presence(data)
        source = presence_source(packed, np.arange(len(packed.question))[:, None])
        trained = {run: load_scheme(runs / f"multimodal_{run}" / "task" / "weights.npz") for run in RUNS}
        rows = losses(*trained["two_stage"], source, packed)
        found = {
            "questions": len(packed.question), "pictures": len(packed.features),
            "links": over_links(trained, source, packed.question[:, 2], seed), "losses": rows,
            "allocations": allocations(rows), "realised": realised(rows),
        }  # fmt: skip
        return json.loads(json.dumps(found), parse_float=lambda text: float(f"{float(text):.6g}"))

    study(out, page_only, results, tables, draw)


if __name__ == "__main__":
    sys.exit(main())
