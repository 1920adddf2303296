"""The page about the optimisers: its table and figure, from ``results.json``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lvm_mtc.report.figures import save_png
from lvm_mtc.report.pages import table

_SAME = 1e-7  # relative
AXES = {"over_power": "power, W; 4 users in 2 Hz", "over_bandwidth": "bandwidth, Hz; 4 users with 2 W",
        "over_users": "users, 1 W and 1 Hz for two"}  # fmt: skip


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Markdown tables by the name of their place."""
    return {"optimisers": table(("problem", "measured", "result"), [*_tokens(results["token_lengths"], 3),
            *_tokens(results["many_token_lengths"], 6),
            *_groups(results["protection"], results["large_protection"]),
            *_pairs(results["superposition"], results["users"])])}  # fmt: skip


def draw(results: Mapping[str, Any], out: Path) -> None:
    """``sum_rate.png``: sum rates of superposed pairs over power, bandwidth and users, beside simpler rules."""
    figure = Figure(figsize=(11, 3.6), dpi=110, layout="constrained")
    for axes, (part, label) in zip(figure.subplots(1, 3), AXES.items(), strict=True):
        rows, axis = results[part], part.removeprefix("over_")
        at = np.array([row[axis] for row in rows[0]])
        for i, name in enumerate(key for key in rows[0][0] if key != axis):
            values = np.array([[np.nan if row[name] is None else row[name] for row in of] for of in rows])
            feasible = ~np.isnan(values).any(0)  # for all networks, or the mean is of others
            axes.plot(at[feasible], values.mean(0)[feasible], marker="os^Dv"[i], markersize=4, label=name)
        axes.set(xlabel=label, xscale="linear" if axis == "users" else "log")
        axes.set_xticks(at, [f"{value:g}" for value in at], minor=False)
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel(f"sum rate, bit/s, mean of {len(results['over_power'])} networks")
    figure.axes[0].legend(fontsize=7)
    save_png(figure, out / "sum_rate.png")


def _of(rows: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    return np.array([row[name] for row in rows if row[name] is not None], float)


def _share(good: np.ndarray) -> str:
    return f"{int(good.sum())} of {len(good)}"


def _tokens(rows, users):
    equal, common = (_of(rows, name) for name in ("over_equal", "over_common"))
    problem = f"token lengths, {users} users"
    if "gap" in rows[0]:
        gap = _of(rows, "gap")
        gaps = f"{_share(gap < _SAME)}; largest gap {max(gap.max(), 0):.1e}"
        yield problem, "equal to all 27 choices of lengths", gaps
    yield problem, "history never rises", _share(_of(rows, "monotone") == 1)
    yield (problem, "never above equal shares, each user's own best length",
           f"{_share(equal <= 1e-12)}; median {100 * np.median(equal):.1f} %")  # fmt: skip
    yield (problem, "never above equal shares, best common length",
           f"{_share(common <= 1e-12)}; median {100 * np.median(common):.1f} %")  # fmt: skip


def _groups(rows, large):
    gap, prior, seconds = _of(rows, "gap"), _of(rows, "prior_gap"), _of(large, "seconds")
    problem = "unequal protection, 3 and 4 groups"
    yield problem, "equal to brute force", f"{_share(gap < _SAME)}; at most {1 + max(gap.max(), 0):.4f} times"
    yield (problem, "of the order priors without the polish",
           f"{_share(prior < _SAME)}; at most {1 + prior.max():.2f} times")  # fmt: skip
    yield "unequal protection, 16 groups", "CPU time of one", f"largest of {len(seconds)}: {seconds.max():.2f} s"


def _pairs(rows, users):
    best, equal = _of(rows, "over_best_pairing"), _of(rows, "over_equal")
    problem = f"superposed pairs, {users} users"
    yield problem, "every plan of the history better than the one before", _share(_of(rows, "monotone") == 1)
    yield problem, "every plan of the history within all limits", _share(_of(rows, "feasible") == 1)
    yield (problem, "within 1 % of the best pairing, each optimised by SLSQP",
           f"{_share(best > -0.01)}; worst {100 * best.min():+.2f} %")  # fmt: skip
    middle, least = 100 * np.median(equal), 100 * equal.min()
    yield (problem, "above equal shares with their best pairing",
           f"{_share(equal > 0)}; median {middle:+.1f} %, least {least:+.1f} %")  # fmt: skip
    yield problem, "CPU time of one", f"median {np.median(_of(rows, 'seconds')):.1f} s"
