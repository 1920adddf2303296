"""The optimisers of ``lvm_mtc.allocation`` against brute force, equal shares and simpler rules, on random problems.

    OPENBLAS_NUM_THREADS=1 python -m experiments.allocation.measure --out docs/allocation

Minutes on one core; ``--parts`` measures some parts anew and leaves the others. Writes ``results.json`` and the figure
into ``--out`` and the table into the page beside it, ``--out``.md, between its markers. ``--page-only`` writes from the
old ``results.json``.
"""

import dataclasses
import itertools
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize

from experiments.allocation.page import draw, tables
from experiments.script import PAGE_ONLY, script, study
from lvm_mtc.allocation.pairing import pairings
from lvm_mtc.allocation.superposition import Plan, Superposition, improve_both, made_feasible, maximise_sum_rate
from lvm_mtc.allocation.token_length import TokenUplink, allocate_tokens, equal_allocation
from lvm_mtc.allocation.uep import Groups, allocate_groups, brute_force, ordered_search

FACTORS = (1.0, 2.0, 4.0, 8.0)
"""Of the superposed network over power or bandwidth, over the first one."""
USERS = (2, 4, 6, 8)
LENGTHS, MANY_LENGTHS = (4, 12, 36), (2, 4, 8, 16, 32, 64)
SUPERPOSED = Path("docs/sfma/results.json")
"""Measured over superposed pairs of pictures: leak and similarities."""


def token_lengths(seed: int, users: int = 3, lengths: tuple[int, ...] = LENGTHS) -> dict[str, Any]:
    """Against equal shares, and with few users against all choices of lengths, each with its exact shares."""
    rng = np.random.default_rng(seed)
    low, high, slope = rng.uniform(0.2, 0.5, users), rng.uniform(0.5, 2, users), rng.uniform(0.4, 1.2, users)
    uplink = TokenUplink(
        gain=10 ** rng.uniform(0, 2, users), token_bits=rng.uniform(0.5, 2, users), lengths=lengths,
        validation_loss=low[:, None] + high[:, None] * np.array(lengths) ** -slope[:, None],
        bandwidth=1.0, power=1.0, noise_density=1.0, latency_weight=10 ** rng.uniform(-2.5, -1),
    )  # fmt: skip
    found, equal = allocate_tokens(uplink), equal_allocation(uplink)
    common = min(uplink.objective(equal.bandwidth, equal.power, np.full(users, w)) for w in range(len(lengths)))
    row = {"over_equal": found.objective / equal.objective - 1, "over_common": found.objective / common - 1,
           "monotone": bool((np.diff(found.history) <= 0).all())}  # fmt: skip
    if users > 3:
        return row
    choices = map(np.array, itertools.product(range(len(lengths)), repeat=users))
    return row | {
        "gap": found.objective / min(uplink.objective(*uplink.share(choice), choice) for choice in choices) - 1
    }


def groups_of(seed: int, count: int, uses: int | None = None) -> Groups:
    """Random groups over random sub-channels."""
    rng = np.random.default_rng(seed)
    return Groups(
        importance=rng.dirichlet(np.full(count, 0.7)), gain=10 ** rng.uniform(-0.5, 1.2, count), bits=12,
        power=10 ** rng.uniform(0.8, 2.0), uses=uses or int(rng.integers(6, 10 * count)),
    )  # fmt: skip


def protection(seed: int) -> dict[str, Any]:
    """Three or four groups: against all choices, and what the order priors alone miss."""
    groups = groups_of(seed, 4 - seed % 2)
    best = brute_force(groups).objective
    return {
        "gap": allocate_groups(groups).objective / best - 1,
        "prior_gap": ordered_search(groups).objective / best - 1,
    }


def large_protection(seed: int) -> dict[str, Any]:
    """Sixteen groups: the time that one takes."""
    groups = groups_of(seed, 16, uses=100)
    start = time.process_time()
    found = allocate_groups(groups).objective
    return {"seconds": time.process_time() - start, "over_prior": found / ordered_search(groups).objective - 1}


def network_of(seed: int, users: int, measured: Mapping[str, Any]) -> Superposition:
    """Random users with the leak and similarities that were measured, and a distortion that is made up.

    The leak was measured with powers that are shares of a pair's, so a pair has 1 W on average.
    """
    rng = np.random.default_rng(seed)
    alike = np.triu(rng.choice(measured["similarities"], (users, users)), 1)
    return Superposition(
        gain=10 ** rng.uniform(0.8, 2.3, users), similarity=alike + alike.T + np.eye(users), leak=measured["leak"],
        distortion=lambda ratio, efficiency: np.exp(-3 * ratio) * (1 + 0.5 * np.exp(-efficiency)),
        samples=1.0, power=users / 2, bandwidth=users / 2, noise_density=1.0,
        max_latency=6.0, max_energy=8.0, max_distortion=0.3,
    )  # fmt: skip


def superposed(results: Mapping[str, Any]) -> dict[str, Any]:
    """Leak, and similarities of pairs of pictures, out of the study of superposed users."""
    pairs = {row["pair"]: row["similarity"] for row in results["rows"]}
    return {"leak": tuple(results["leak"]["coefficients"]),
            "similarities": [value for of in pairs.values() for value in of]}  # fmt: skip


def superposition(seed: int, users: int, measured: Mapping[str, Any]) -> dict[str, Any]:
    """Against every pairing, each optimised by a general solver, and against equal shares with the best pairing."""
    network = network_of(seed, users, measured)
    start = time.process_time()
    found = maximise_sum_rate(network, seed)
    seconds = time.process_time() - start
    rates = [network.sum_rate(plan) for plan in found.history]
    equal = [network.equal(pairs) for pairs in pairings(range(users))]
    best = max(_general(network, plan) for plan in equal)
    feasible = [network.sum_rate(plan) for plan in equal if network.feasible(plan)]
    return {"over_best_pairing": found.sum_rate / best - 1, "seconds": seconds,
            "over_equal": found.sum_rate / max(feasible) - 1 if feasible else None,
            "monotone": bool((np.diff(rates) > 0).all()), "steps": len(rates),
            "feasible": all(network.feasible(plan) for plan in found.history)}  # fmt: skip


def water_filling(gain: np.ndarray, power: float, bandwidth: float) -> float:
    """Sum rate of users in equal bands of their own, powers by water-filling, no further limits; N0 = 1, bit/s."""
    band = bandwidth / len(gain)
    floor = np.sort(band / gain)
    levels = (power + np.cumsum(floor)) / np.arange(1, len(gain) + 1)
    level = levels[np.flatnonzero(levels > floor)[-1]]
    return float(band * np.log2(np.maximum(level / floor, 1)).sum())


def beside_rules(network: Superposition, seed: int) -> dict[str, float | None]:
    """Sum rates of one network: the optimiser, given pairs, equal shares and orthogonal bands."""
    users = len(network.gain)
    shuffled = tuple(map(tuple, np.sort(np.random.default_rng(seed).permutation(users).reshape(-1, 2)).tolist()))
    left, greedy = set(range(users)), []
    for i, j in sorted(itertools.combinations(range(users), 2), key=lambda pair: -network.similarity[pair]):
        if {i, j} <= left:
            left -= {i, j}
            greedy.append((i, j))

    def given(pairs):
        start = network.equal(pairs)
        start = start if network.feasible(start) else made_feasible(network, start)
        return None if start is None else improve_both(network, start, pairing=False).sum_rate

    equal = [plan for pairs in pairings(range(users)) if network.feasible(plan := network.equal(pairs))]
    return {
        "optimised": maximise_sum_rate(network, seed).sum_rate,
        "random pairs": given(shuffled), "most alike pairs": given(tuple(greedy)),
        "equal shares": max(map(network.sum_rate, equal), default=None),
        "orthogonal, water-filling": water_filling(network.gain, network.power, network.bandwidth),
    }  # fmt: skip


def over_budget(name: str, seed: int, measured: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Four users at several powers, or bandwidths."""
    base = network_of(seed, 4, measured)
    networks = (dataclasses.replace(base, **{name: factor * getattr(base, name)}) for factor in FACTORS)
    return [{name: getattr(network, name), **beside_rules(network, seed)} for network in networks]


def over_users(seed: int, measured: Mapping[str, Any]) -> list[dict[str, Any]]:
    """More and more users, with 1 W and 1 Hz for two of them."""
    return [{"users": users, **beside_rules(network_of(seed, users, measured), seed)} for users in USERS]


def _general(network: Superposition, plan: Plan) -> float:
    """The sum rate that SLSQP reaches over powers and bandwidths of given pairs and ratios, from two starts."""
    users = len(plan.power)

    def split(x):
        return plan._replace(power=x[..., :users], bandwidth=x[..., users:])

    rates = [0.0]
    for spread in (0.0, 0.3):
        power = plan.power * (1 + spread * np.resize([1, -1], users))
        found = minimize(
            lambda x: -network.sum_rate(split(x)), np.concatenate([power, plan.bandwidth]), method="SLSQP",
            bounds=[(1e-3, None)] * (users + len(plan.pairs)), options={"maxiter": 300},
            constraints={"type": "ineq", "fun": lambda x: network.slack(split(x))},
        )  # fmt: skip
        if network.slack(split(found.x)).min() > -1e-6:
            rates.append(-found.fun)
    return max(rates)


PARTS = ("token_lengths", "many_token_lengths", "protection", "large_protection", "superposition", "over_power",
         "over_bandwidth", "over_users")  # fmt: skip


@script(out="folder; the page is beside it", users="of the superposed network", seeds="of it", page_only=PAGE_ONLY,
        parts=f"some of {', '.join(PARTS)}")  # fmt: skip
def main(
    out: Path = Path("docs/allocation"), users: int = 6, seeds: int = 20, page_only: bool = False,
    parts: tuple[str, ...] = PARTS,
) -> None:  # fmt: skip
    """Compare the optimisers with brute force and with simpler rules."""

    def results() -> dict[str, Any]:
        measured, file = superposed(json.loads(SUPERPOSED.read_text())), out / "results.json"
        every = {
            "token_lengths": lambda: [token_lengths(seed) for seed in range(50)],
            "many_token_lengths": lambda: [token_lengths(seed, 6, MANY_LENGTHS) for seed in range(50)],
            "protection": lambda: [protection(seed) for seed in range(100)],
            "large_protection": lambda: [large_protection(seed) for seed in range(10)],
            "superposition": lambda: [superposition(seed, users, measured) for seed in range(seeds)],
            "over_power": lambda: [over_budget("power", seed, measured) for seed in range(5)],
            "over_bandwidth": lambda: [over_budget("bandwidth", seed, measured) for seed in range(5)],
            "over_users": lambda: [over_users(seed, measured) for seed in range(5)],
        }
        new = {"users": users, "leak": measured["leak"]} | {name: every[name]() for name in parts}
        return (json.loads(file.read_text()) if file.exists() else {}) | new

    study(out, page_only, results, tables, draw)


if __name__ == "__main__":
    sys.exit(main())
