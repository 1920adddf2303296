"""The allocation of tokens beside simpler rules, over bandwidth, power and the weight of latency."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from scipy.optimize import brentq

from lvm_mtc.allocation.token_length import TokenUplink, allocate_tokens, equal_allocation, rate

FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Of the budgets, times those of the page."""
WEIGHTS = (0.02, 0.05, 0.1, 0.2, 0.5)
_HALVINGS = 50


def shared(slope: Callable[[np.ndarray], np.ndarray], users: int, total: float) -> np.ndarray:
    """Shares that sum to ``total`` and at which all slopes are the same, ``[users]``.

    Args:
        slope: By how much a user's latency falls with its share, ``[users]`` to ``[users]``, > 0 and falling itself.
        users: How many.
        total: Sum of the shares.
    """

    def at(level):
        low, high = np.full(users, np.log(total) - 60), np.full(users, np.log(total))
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            steep = np.log(slope(np.exp(middle))) > level
            low, high = np.where(steep, middle, low), np.where(steep, high, middle)
        return np.exp(low)

    ends = np.log(slope(np.full(users, total))).min() - 1, np.log(slope(np.full(users, total / users))).max() + 1
    found = at(brentq(lambda level: np.log(at(level).sum() / total), *ends, xtol=1e-13))
    return found * total / found.sum()


def one_share(uplink: TokenUplink, choice: np.ndarray, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Bandwidths and powers for given lengths, of which only the one named is shared out and the other is equal."""
    users = len(choice)
    equal = {"bandwidth": np.full(users, uplink.bandwidth / users), "power": np.full(users, uplink.power / users)}
    bits, gain = uplink.token_bits * uplink.lengths[np.arange(users), choice], uplink.snr_per_density

    def slope(x):
        band, power = (x if name == what else equal[name] for name in equal)
        snr = power * gain / band
        rise = np.log1p(snr) - snr / (1 + snr) if what == "bandwidth" else gain / (1 + snr)
        return bits * rise / np.log(2) / rate(band, power, gain) ** 2

    found = equal | {what: shared(slope, users, getattr(uplink, what))}
    return found["bandwidth"], found["power"]


def with_one_share(uplink: TokenUplink, what: str) -> float:
    """The least objective with one resource shared out, alternating with lengths from equal shares and common ones."""
    equal, ends = equal_allocation(uplink), []
    for start in (equal.choice, *(np.full(len(uplink.gain), w) for w in range(uplink.lengths.shape[1]))):
        choice, value = start, np.inf
        while True:
            shares = one_share(uplink, choice, what)
            new = uplink.objective(*shares, choice)
            if not new < value * (1 - 1e-9):
                break
            value, choice = new, uplink.lengths_for(*shares)
        ends.append(value)
    return min(ends)


def rules(uplink: TokenUplink) -> dict[str, float]:
    """Objectives of the optimiser and of simpler rules."""
    users, windows = uplink.lengths.shape
    equal = equal_allocation(uplink)
    common = [np.full(users, window) for window in range(windows)]
    given = [uplink.objective(*uplink.share(choice), choice) for choice in (common[0], common[-1])]
    return {
        "optimised": allocate_tokens(uplink).objective,
        "equal shares, own lengths": equal.objective,
        "equal shares, common length": min(uplink.objective(equal.bandwidth, equal.power, of) for of in common),
        "bandwidth alone": with_one_share(uplink, "bandwidth"),
        "power alone": with_one_share(uplink, "power"),
        "shortest, best shares": given[0],
        "longest, best shares": given[1],
    }


def over_budgets(made: Callable[[int, float], TokenUplink], weight: float, seeds: int) -> list[dict[str, Any]]:
    """Mean objectives of all rules over bandwidths and powers at one weight of latency, and over weights.

    Args:
        made: The uplink of a seed and a weight.
        weight: Of the curves over budgets.
        seeds: How many uplinks.
    """
    rows = []
    for axis, values in _axes():
        for value in values:
            found = []
            for seed in range(seeds):
                uplink = made(seed, value if axis == "weight" else weight)
                if axis != "weight":
                    uplink = dataclasses.replace(uplink, **{axis: value * getattr(uplink, axis)})
                found.append(rules(uplink))
            means = {name: float(np.mean([row[name] for row in found])) for name in found[0]}
            worst = max(row["optimised"] / other - 1 for row in found for other in row.values())
            rows.append({"axis": axis, "value": value, "objective": means, "worst": worst})
    return rows


def _axes() -> Iterator[tuple[str, Sequence[float]]]:
    yield "bandwidth", FACTORS
    yield "power", FACTORS
    yield "weight", WEIGHTS
