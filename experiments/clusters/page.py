"""The page about sweeps on many workers: tables from ``results.json``."""

import statistics
from collections.abc import Mapping
from typing import Any

from lvm_mtc.report.pages import number, table


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Markdown tables by the name of their place."""
    lacking = [name for name in ("computing", "storing", "dask") if name not in results]
    if lacking:
        raise ValueError(f"the page waits for other parts: {', '.join(lacking)}")
    return {"local": _local(results), "costs": _costs(results), "storing": _storing(results), "plans": _plans(results)}


WAYS = {
    "devices-1": "one process",
    "devices-2": "one process, two simulated devices",
    "workers-2": "2 workers",
    "workers-4": "4 workers",
}


def _local(results: Mapping[str, Any]) -> str:
    if "local" not in results:
        return "Not measured: the machine was too busy for times that say something."
    of = results["local"]
    head = f"220 points x {of['units']} units, {of['cores']} cores", "wall time, s", "CPU time, s", "load"
    return table(head, [(WAYS[way], *_rounds(rounds)) for way, rounds in of["rounds"].items()])


def _rounds(rounds: list[Mapping[str, float]]) -> tuple[str, ...]:
    """Medians; where there are several, each besides."""
    series = [[one[name] for one in rounds] for name in ("wall_s", "cpu_s", "load")]
    each = (f" ({', '.join(number(one, 0) for one in values)})" if len(values) > 1 else "" for values in series)
    return tuple(number(statistics.median(values), 0) + more for values, more in zip(series, each, strict=True))


def _costs(results: Mapping[str, Any]) -> str:
    costs = results["costs"]
    said = {
        "start": "a worker's start to its first task",
        "compile": "a worker's programs, compiled",
        "encode": "28 views encoded, once for a task whose group is new to the worker",
        "item": "one point on one channel realisation",
        "point": "driver, for each point: reading the answer, writing the row",
        "task": "driver, for each task besides: looking up, giving out, a transaction",
    }
    return table(("what", "seconds"), [(text, f"{costs[name]:.3g}") for name, text in said.items()])


def _storing(results: Mapping[str, Any]) -> str:
    rows = [(row["units"], str(row["points_per_task"]), number(row["answer_bytes"] / 1024, 1),
             number(1000 * row["task_s"], 1), number(row["points_per_task"] / row["task_s"], 0))
            for row in results["storing"]]  # fmt: skip
    return table(("values of 1,000 units", "points a task", "KiB a point", "ms a task", "points a second"), rows)


def _plans(results: Mapping[str, Any]) -> str:
    return table(
        (
            "a worker lasts",
            "points a task",
            "a task takes, min",
            "days",
            "computing",
            "encoding",
            "lost",
            "driver busy",
        ),
        [_plan(row["plan"], row["outcome"], results["costs"]) for row in results["plans"]],
    )


def _plan(plan: Mapping[str, Any], outcome: Mapping[str, float], costs: Mapping[str, float]) -> tuple[str, ...]:
    lifetime = "for ever" if plan["lifetime"] is None else f"{plan['lifetime'] / 3600:g} h"
    length = plan["points_per_task"] * plan["units"] * costs["item"] / 60
    shares = (f"{100 * outcome[name]:.2g} %" for name in ("busy", "encoding", "lost", "driver"))
    return lifetime, str(plan["points_per_task"]), number(length, 1), number(outcome["seconds"] / 86400, 2), *shares
