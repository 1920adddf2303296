"""What a sweep on many workers costs: measured on this machine, and planned by simulation beyond it.

    python -m experiments.clusters.measure --out docs/clusters

A quarter of an hour on two cores. Writes ``results.json`` into ``--out`` and the tables into the page beside it,
``--out``.md. ``--parts`` measures some of it, the 220 points once more each time; ``--page-only`` writes from the old
``results.json``.
"""

import contextlib
import ctypes
import dataclasses
import hashlib
import json
import math
import os
import pickle
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax

from experiments.clusters.page import tables
from experiments.clusters.simulate import Costs, Plan, simulate
from experiments.script import PAGE_ONLY, rounded, script, study
from lvm_mtc.cli.huge_pages import restart_with_huge_pages
from lvm_mtc.cli.sweep_config import SweepConfig, make_spec
from lvm_mtc.results.store import ResultStore
from lvm_mtc.sweep.clients import local_client
from lvm_mtc.sweep.group import Group, Resources
from lvm_mtc.sweep.plan import SweepSpec
from lvm_mtc.sweep.rows import Row, make_row
from lvm_mtc.sweep.shelf import Shelf
from lvm_mtc.sweep.stopping import StoppingRule

METRICS = ("psnr_db", "psnr_inside_db", "ssim")
# 11 SNRs x 5 CSI errors x 2 channels x 2 schemes, linear ones, so that it takes minutes.
GRID = ["--snr-db", "0:20:2", "--csi-error", "0,0.025,0.05,0.075,0.1", "--channel", "awgn,rayleigh", "--no-pictures",
        "--uavs", "1", "--schemes", "pca,pca-object",
        "--set", "metrics=" + json.dumps(METRICS)]  # fmt: skip
WAYS = {
    "devices-1": (1, []),
    "devices-2": (2, []),
    "workers-2": (1, ["--workers", "2"]),
    "workers-4": (1, ["--workers", "4"]),
}
LOCAL_UNITS = 8
_PR_SET_CHILD_SUBREAPER = 36
POINTS, UNITS, WORKERS, GROUPS = 1_000_000, 1_000, 1_000, 100


class Round(NamedTuple):
    """The 220 points done in one way: seconds on the clock and of all cores, processes ready to run, digest of rows."""

    wall: float
    cpu: float
    load: float
    digest: str


def one_way(way: str) -> Round:
    """Measures one sweep."""
    devices, flags = WAYS[way]
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "s.sqlite"
        variables = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
        command = [sys.executable, "-m", "lvm_mtc", "sweep", "--store", store, "--units", str(LOCAL_UNITS)]
        _adopt()
        began, before = time.perf_counter(), _cpu_of_children()
        with subprocess.Popen(
            [*command, *GRID, *flags], env=variables, stdout=subprocess.DEVNULL, process_group=0
        ) as process:
            pass
        _wait_for_group(process.pid)  # what workers are copies of outlives the command by a moment
        if process.returncode:
            raise ValueError(f"{way}: the sweep ended with code {process.returncode}")
        wall, cpu = time.perf_counter() - began, _cpu_of_children() - before
        with ResultStore(store) as opened:
            rows = opened.read()
    numbers = [(row.config_hash, row.coordinates, row.metrics, row.ledger, row.realised_snr_db) for row in rows]
    if len(rows) != 220:
        raise ValueError(f"{way}: {len(rows)} rows instead of 220")
    return Round(wall, cpu, os.getloadavg()[0], hashlib.sha256(repr(numbers).encode()).hexdigest())


def _adopt() -> None:
    """On Linux, makes this process the parent of all below it that lose theirs, so that their CPU time is counted."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _wait_for_group(group: int) -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-group, 0)


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def with_round(found: dict[str, Any], way: str, one: Round) -> dict[str, Any]:
    """Results with one sweep more; all rows must be those of the first one on as many devices."""
    local = found.get("local", {"units": LOCAL_UNITS, "cores": os.cpu_count(), "digests": {}, "rounds": {}})
    first = local["digests"].setdefault(str(WAYS[way][0]), one.digest)
    if (one.digest, LOCAL_UNITS) != (first, local["units"]):
        raise ValueError(f"{way}: the rows are not those of the sweep that was measured first")
    told = {"wall_s": one.wall, "cpu_s": one.cpu, "load": one.load}
    local["rounds"].setdefault(way, []).append(told)
    return found | {"local": local}


def timed(function: Callable[[], Any]) -> float:
    """Wall time of a call, all compiled before, seconds."""
    began = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - began


def computing(spec: SweepSpec) -> dict[str, float]:
    """What a worker does: programs, encoder and an item, seconds."""
    resources = Resources(num_devices=1, items_per_device=16)
    at = next(spec.coordinates())
    began = time.perf_counter()
    group = Group(spec, at, resources)
    units = range(group.units_per_draw)
    group.send([at], units)
    first = time.perf_counter() - began
    encode = timed(lambda: [step.encoded for step in Group(spec, at, resources).steps])
    sending = timed(lambda: group.send([at], units)[0].realised_snr)
    return {"compile": first - encode - sending, "encode": encode, "item": sending / len(units)}


def answers(spec: SweepSpec, units: int) -> dict[str, bytes]:
    """A row on its way to the store with and without the values of its units, as made of real ones repeated."""
    at = next(spec.coordinates())
    (samples,) = Group(spec, at, Resources(num_devices=1)).send([at], range(16))
    repeat = lambda array: jax.numpy.tile(array, (math.ceil(units / 16), *[1] * (array.ndim - 1)))[:units]  # noqa: E731
    metrics = {name: jax.device_get(repeat(values)) for name, values in samples.metrics.items()}
    noisy = {name: values + 1e-3 * jax.device_get(jax.random.normal(jax.random.key(1), values.shape)) for name, values
             in metrics.items()}  # fmt: skip
    samples = samples._replace(metrics=noisy, realised_snr=jax.device_get(repeat(samples.realised_snr)))
    names = tuple(samples.metrics)
    return {
        keep: pickle.dumps(make_row(spec, at, samples, names, keep=keep == "kept")) for keep in ("kept", "left out")
    }


def storing(spec: SweepSpec, units: int) -> list[dict[str, Any]]:
    """The driver's part of a task: looking up, answers read, a transaction; by points a task and what is kept."""
    found = []
    for keep, answer in answers(spec, units).items():
        for size in (1, 8, 64):
            # SNRs of its own for every row.
            wide = dataclasses.replace(spec, snr_db=tuple(i / 100 for i in range(size * 15)), csi_error_var=(0.0,),
                                       links=spec.links[:1], schemes=spec.schemes[:1])  # fmt: skip
            with tempfile.TemporaryDirectory(dir=".") as folder, ResultStore(Path(folder) / "s.sqlite") as store:
                shelf = Shelf(wide, store)
                shelf.claim()
                points = list(wide.coordinates())
                times = []
                for start in range(0, len(points), size):
                    batch = points[start : start + size]
                    began = time.perf_counter()
                    lacking = shelf.lacking(batch)
                    for at, names in lacking:
                        shelf.kept(at, names)
                    rows = [pickle.loads(answer) for _ in batch]
                    shelf.put([_moved(row, at) for row, at in zip(rows, batch, strict=True)], names)
                    times.append(time.perf_counter() - began)
            found.append({"units": keep, "points_per_task": size, "answer_bytes": len(answer),
                          "task_s": statistics.median(times)})  # fmt: skip
    return found


def _moved(row: Row, at: dict[str, Any]) -> Row:
    return row._replace(point=dataclasses.replace(row.point, coordinates=dict(at), snr_db=at["snr_db"]))


def passing(tasks: int = 2000) -> dict[str, float]:
    """Dask's own time: from nothing to workers that answer, and for a task that does nothing; seconds."""
    began = time.perf_counter()
    with local_client(2) as client:
        client.wait_for_workers(2)
        start = time.perf_counter() - began
        client.gather(client.map(abs, range(100)))
        began = time.perf_counter()
        client.gather([client.submit(pow, i, 2, pure=False) for i in range(tasks)])
        return {"start": start, "task": (time.perf_counter() - began) / tasks}


def costs_of(results: dict[str, Any]) -> Costs:
    """What the simulation is to know: the driver's costs where units are left out, through two sizes of tasks."""
    of = {row["points_per_task"]: row["task_s"] for row in results["storing"] if row["units"] == "left out"}
    point = (of[64] - of[1]) / 63
    dask, worker = results["dask"], results["computing"]
    return Costs(start=dask["start"], point=point, task=of[1] - point + dask["task"], **worker)


def plans(costs: Costs) -> Iterator[dict[str, Any]]:
    """The sweep by the size of its tasks and the life of its workers."""
    for lifetime in (math.inf, 4 * 3600.0, 1800.0):
        for size in (1, 2, 4, 8):
            plan = Plan(POINTS, UNITS, GROUPS, WORKERS, size, lifetime)
            told = plan._asdict() | {"lifetime": None if math.isinf(lifetime) else lifetime}
            yield {"plan": told, "outcome": simulate(plan, costs)._asdict()}


PARTS = {
    "computing": lambda: computing(_spec()),
    "storing": lambda: storing(_spec(), UNITS),
    "dask": lambda: passing(),
}


def _spec() -> SweepSpec:
    rule = StoppingRule(target_half_width=None, max_units=16)
    return make_spec(SweepConfig(metrics=METRICS, schemes=("object", "uniform"), stopping=rule))


@script(out="folder; the page is beside it", parts={"help": "measure these alone, and keep the rest",
        "choices": [*PARTS, *WAYS]}, page_only=PAGE_ONLY)  # fmt: skip
def main(out: Path = Path("docs/clusters"), parts: tuple[str, ...] = (), page_only: bool = False) -> None:
    """Measure a sweep's costs on this machine, and plan one on a thousand workers."""

    def results() -> dict[str, Any]:
        chosen, file = parts or (*PARTS, *WAYS), out / "results.json"
        measured = {name: one_way(name) if name in WAYS else PARTS[name]() for name in chosen}
        found = json.loads(file.read_text()) if parts and file.exists() else {}
        for name, of in measured.items():
            found = with_round(found, name, of) if name in WAYS else found | {name: of}
        if PARTS.keys() <= found.keys():
            costs = costs_of(found)
            found |= {"costs": costs._asdict(), "plans": list(plans(costs))}
        return rounded(found, 8)

    study(out, page_only, results, tables)


if __name__ == "__main__":
    restart_with_huge_pages()
    sys.exit(main())
