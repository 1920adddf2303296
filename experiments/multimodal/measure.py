"""Multimodal tokens: accuracy over SNR and length, blind controls, measured losses, and what the allocation sends.

    python -m experiments.multimodal.pack --data ../shared/data --out build/presence
    for n in two_stage one_stage picture question; do lvm-mtc train --config experiments/configs/multimodal.py:$n \
        --stage all --data build/presence/train.npz --run-dir runs/multimodal_$n; done
    python -m experiments.multimodal.measure --users 6 --seeds 50 --realise

Minutes on one core. Writes ``results.json`` and the figures into ``--out`` and the tables into the page beside it;
without ``--realise`` what was sent through the code before stays. ``--allocate-only`` allocates anew over the losses in
the old ``results.json``, without networks.
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
from scipy.optimize import isotonic_regression

from experiments.multimodal.budgets import over_budgets
from experiments.multimodal.page import CONTROLS, CONTROLS_AT, draw, tables
from experiments.multimodal.realise import realised
from experiments.script import PAGE_ONLY, rounded, script, study
from lvm_mtc.allocation.token_length import TokenUplink, allocate_tokens, equal_allocation
from lvm_mtc.data.presence import NAMES, PackedPresence, load_presence, question_of
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.results.intervals import paired_difference, student_interval
from lvm_mtc.schemes.loading import load_scheme
from lvm_mtc.schemes.multimodal.scheme import LARGEST_WINDOW, Multimodal, MultimodalConfig
from lvm_mtc.schemes.presence_source import presence_source
from lvm_mtc.schemes.simulate import forward

RUNS = ("two_stage", "one_stage", *CONTROLS)
LINKS = {fading: LinkConfig(fading=fading, num_rx_ant=1, num_tx_ant=1) for fading in ("awgn", "rayleigh")}
SNRS_DB, SNR_DB = (0, 5, 10, 20), 5
PLACES = MultimodalConfig().num_places
LOG2_WINDOWS, SOME_WINDOWS = tuple(range(LARGEST_WINDOW.bit_length())), (0, 2, 4)
TASKS = {"pets": ("cat", "dog"), "farm animals": ("cow", "horse", "sheep"), "people and cars": ("person", "car"),
         "indoors": ("bottle", "chair", "plant", "couch")}  # fmt: skip
BANDWIDTH, POWER, NOISE_DENSITY, LATENCY_SCALE = 1e6, 0.5, 4e-21, 0.1
WEIGHTS, REALISED_WEIGHT, BUDGET_SEEDS = (0.02, 0.1, 0.5), 0.1, 10


@functools.partial(jax.jit, static_argnums=(0, 1))
def arrived(scheme: Multimodal, link: LinkConfig, params: Any, source: Any, key: jax.Array, point: OperatingPoint):
    """Scores of answers behind a link, ``[questions, 2]``."""
    return forward(scheme, params, source, key, link, point).estimate.data[:, 0]


@functools.partial(jax.jit, static_argnums=0)
def told(scheme: Multimodal, params: Any, source: Any, log2_window: jax.Array) -> jax.Array:
    """Scores of answers from tokens as bits without errors, ``[questions, 2]``."""
    bits, valid = scheme.as_bits(scheme.encode(params, source, jax.random.key(0), {}), log2_window)
    return scheme.answer(params, scheme.from_bits(bits), valid)[:, 0]


def interval_of_fours(values: np.ndarray) -> list[float]:
    """Mean and half width over fours of questions, which share their pictures."""
    return [float(n) for n in student_interval(values.reshape(-1, 4).mean(1))[:2]]


def least_squares(training: PackedPresence, packed: PackedPresence) -> list[float]:
    """Accuracy of what needs no tokens and no link: a linear rule for each class on the mean of a picture's features.

    It is told the class by its number; its threshold is midway between the means with and without the class.
    """
    means = [np.float64(of.features).mean(1) for of in (training, packed)]
    centred, shown = means[0] - means[0].mean(0), np.float64(training.present)
    rules = np.linalg.lstsq(centred, shown - shown.mean(0), rcond=None)[0]
    known, scores = centred @ rules, (means[1] - means[0].mean(0)) @ rules
    with_it, without = ((known * of).sum(0) / np.maximum(of.sum(0), 1) for of in (shown, 1 - shown))
    picture, name, answer = packed.question.T
    return interval_of_fours((scores > (with_it + without) / 2)[picture, name] == answer)


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
    return [math.ceil(PLACES / 2**w) + math.ceil(words / 2**w) for w in LOG2_WINDOWS]


def questions_of(packed: PackedPresence, task: str) -> np.ndarray:
    """Places of a task's questions."""
    return np.flatnonzero(np.isin(packed.question[:, 1], [NAMES.index(name) for name in TASKS[task]]))


def losses(scheme: Multimodal, params: Any, source: Any, packed: PackedPresence) -> list[dict[str, Any]]:
    """Cross-entropy and accuracy of each task at each length, tokens as bits without errors."""
    rows, answer = [], packed.question[:, 2]
    for log2_window, length in zip(LOG2_WINDOWS, lengths(), strict=True):
        scores = np.float64(told(scheme, params, source, jnp.float32(log2_window)))
        loss = np.log(np.exp(scores - scores[np.arange(len(answer)), answer][:, None]).sum(-1))
        for task in TASKS:
            own = questions_of(packed, task)
            rows.append({"task": task, "length": length, "questions": len(own),
                         "loss": [float(n) for n in student_interval(loss[own])[:2]],
                         "accuracy": float(np.mean(np.argmax(scores[own], -1) == answer[own]))})  # fmt: skip
    return rows


def uplink_of(rows: list[dict[str, Any]], token_bits: int, users: int, seed: int, weight: float) -> TokenUplink:
    """Devices with the tasks in turn and gains at random over 20 dB: 0 to 20 dB with all power and bandwidth."""
    tokens = sorted({row["length"] for row in rows})
    measured = np.array([[next(r["loss"][0] for r in rows if (r["task"], r["length"]) == (task, length))
                          for length in tokens] for task in np.resize(list(TASKS), users)])  # fmt: skip
    level = 10 ** np.random.default_rng(seed).uniform(0, 2, users)
    falling = [isotonic_regression(loss, increasing=False).x for loss in measured]
    return TokenUplink(
        gain=level * NOISE_DENSITY * BANDWIDTH / POWER, token_bits=token_bits, lengths=tokens, validation_loss=falling,
        bandwidth=BANDWIDTH, power=POWER, noise_density=NOISE_DENSITY, latency_weight=weight,
        latency_scale=LATENCY_SCALE,
    )  # fmt: skip


def allocation(uplink: TokenUplink) -> dict[str, Any]:
    """Measured losses and latencies of an uplink, allocated and with equal shares."""
    best, equal = allocate_tokens(uplink), equal_allocation(uplink)
    row: dict[str, Any] = {"weight": uplink.latency_weight, "monotone": bool((np.diff(best.history) <= 0).all())}
    for name, one in (("allocated", best), ("equal", equal)):
        latency = uplink.latencies(*one[:3])
        loss = uplink.validation_loss[np.arange(len(latency)), one.choice]
        row[name] = {"objective": one.objective, "latency": float(latency.sum()), "loss": float(loss.sum())}
    return row


def allocated(rows: list[dict[str, Any]], token_bits: int, users: int, seeds: int) -> dict[str, list[dict[str, Any]]]:
    """What the allocation makes of the losses, over weights and budgets."""
    made = functools.partial(uplink_of, rows, token_bits, users)
    return {"allocations": [allocation(made(number, weight)) for weight in WEIGHTS for number in range(seeds)],
            "budgets": over_budgets(made, REALISED_WEIGHT, min(seeds, BUDGET_SEEDS))}  # fmt: skip


def sent(trained: tuple, packed: PackedPresence, uplink: TokenUplink, key: jax.Array) -> list[dict[str, Any]]:
    """The shares that the optimiser finds for an uplink, sent by LDPC codes, device by device."""
    found, rows = allocate_tokens(uplink), []
    snr = found.power * uplink.snr_per_density / found.bandwidth
    for user, task in enumerate(np.resize(list(TASKS), len(snr))):
        length = int(uplink.lengths[user, found.choice[user]])
        log2_window = LOG2_WINDOWS[lengths().index(length)]
        of = trained, packed, questions_of(packed, task), log2_window, float(10 * np.log10(snr[user]))
        share = {"bandwidth_hz": float(found.bandwidth[user]), "power_w": float(found.power[user])}
        rows.append({"task": str(task), "tokens": length, **share}
                    | realised(LINKS["awgn"], *of, jax.random.fold_in(key, user)))  # fmt: skip
        print(rows[-1], flush=True)
    return rows


@script(data="folder of experiments.multimodal.pack", runs="folder with multimodal_two_stage and so on",
        out="folder; the page is beside it", seed="of channels", users="devices of an uplink", seeds="uplinks",
        realise="send the first uplink's shares through the code", page_only=PAGE_ONLY,
        allocate_only="allocate anew over the losses of the old results.json")  # fmt: skip
def main(
    data: Path = Path("build/presence"), runs: Path = Path("runs"), out: Path = Path("docs/multimodal"),
    seed: int = 0, users: int = 6, seeds: int = 50, realise: bool = False, page_only: bool = False,
    allocate_only: bool = False,
) -> None:  # fmt: skip
    """Measure multimodal tokens over links, and what the allocation of their number gains."""

    def results() -> dict[str, Any]:
        old = out / "results.json"
        if allocate_only:
            before = json.loads(old.read_text())
            return before | rounded(allocated(before["losses"], before["token_bits"], users, seeds))
        packed = load_presence(data / "val.npz")
        source = presence_source(packed, np.arange(len(packed.question))[:, None])
        trained = {run: load_scheme(runs / f"multimodal_{run}" / "task" / "weights.npz") for run in RUNS}
        two = trained["two_stage"]
        rows = losses(*two, source, packed)
        made = functools.partial(uplink_of, rows, two[0].token_bits, users)
        found = {
            "questions": len(packed.question), "pictures": len(packed.features), "users": users,
            "token_bits": two[0].token_bits, "links": over_links(trained, source, packed.question[:, 2], seed),
            "losses": rows, "least_squares": least_squares(load_presence(data / "train.npz"), packed),
            **allocated(rows, two[0].token_bits, users, seeds),
            "realised": sent(two, packed, made(0, REALISED_WEIGHT), jax.random.key(seed)) if realise else
            json.loads(old.read_text())["realised"] if old.exists() else [],
        }  # fmt: skip
        return rounded(found)

    study(out, page_only, results, tables, draw)


if __name__ == "__main__":
    sys.exit(main())
