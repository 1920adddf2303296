"""Tasks of a sweep on workers of a Dask cluster. The driver gives them out and alone writes the store.

Workers may come and go. A task is a few points with all their units; it is cheap to do again, and gives the same bits
wherever it runs, so every fault has one answer: the task goes to a worker once more. Needs the extra ``cluster``.
"""

import collections
import itertools
import math
import pickle
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, NamedTuple

from lvm_mtc.sweep.clients import ClusterError
from lvm_mtc.sweep.group import Resources
from lvm_mtc.sweep.plan import SweepSpec
from lvm_mtc.sweep.rows import Row, versions
from lvm_mtc.sweep.tasks import Advance, Compute, Groups, Part, Parts, Runner, Task

if TYPE_CHECKING:
    from distributed import Client, Future

_MOST_ENDS = 5
"""How often Dask may give a task up, because the workers that had it ended, before a sweep does."""
_TICK, _LONG_WAIT = 1.0, 5.0  # seconds
_TASKS_AHEAD = 2  # of a worker: one that it does, another that waits for it
_LATE = 3.0  # times the longest that a task took, its wait behind another one included


class _Answer(NamedTuple):
    """From a worker: rows or a part of them, or why it does not compute."""

    worker: str
    fault: str | None
    found: bytes


class _Running(NamedTuple):
    """A task that was given out: to which worker, when last, as which futures, and how often it ended its workers."""

    task: Task
    worker: str
    since: float = 0.0
    futures: "tuple[Future, ...]" = ()
    ends: int = 0


def difference(worker: str, theirs: Mapping[str, str], ours: Mapping[str, str]) -> str | None:
    """What a worker has of other versions than the driver, as a sentence; None where they are the same."""
    names = [name for name in ours if theirs.get(name) != ours[name]]
    has = ", ".join(f"{name} {theirs.get(name)}, the driver {ours[name]}" for name in names)
    return f"worker {worker} has {has}: install the same on both" if names else None


class DaskWorkers:
    """Workers of a Dask cluster, as ``run_sweep(..., workers=)`` takes them.

    Args:
        points_per_task: Points of a task at most, >= 1.
        units_per_task: Channel realisations of each of them at most, >= 1; points with a target are not split.
        patience_s: A task without an answer for so long, and for much longer than others took, goes to another worker,
            too; what comes first counts.
        share_programs: The workers have a cache of programs in common: each is compiled by one of them.
        say: Told of what goes wrong and of what is waited for, a line each.
    """

    def __init__(
        self,
        client: "Client",
        *,
        points_per_task: int = 8,
        units_per_task: int = 1024,
        patience_s: float = 1800.0,
        share_programs: bool = False,
        say: Callable[[str], None] = lambda line: print(f"sweep: {line}", file=sys.stderr, flush=True),
    ):
        for name, value in (("points_per_task", points_per_task), ("units_per_task", units_per_task)):
            if value < 1:
                raise ValueError(f"DaskWorkers.{name} must be >= 1, got {value!r}")
        if not patience_s > 0:
            raise ValueError(f"DaskWorkers.patience_s must be > 0, got {patience_s!r}")
        self.points_per_task, self.units_per_task = points_per_task, units_per_task
        self._client, self._patience, self._share, self._say = client, patience_s, share_programs, say
        self._answers: queue.SimpleQueue[Future] = queue.SimpleQueue()
        self._running: dict[int, _Running] = {}
        self._task_of: dict[str, int] = {}
        self._compiled: dict[Any, Future] = {}
        self._workers: Mapping[str, int] = {}
        self._counted, self._looked, self._longest = -math.inf, -math.inf, 0.0

    def compute(self, spec: SweepSpec, resources: Resources, keep: bool) -> Compute:
        """Asks the workers for their versions, and makes them ready for a sweep."""
        import cloudpickle

        self._wait_for_workers()
        self._versions, self._key, self._parts = versions(), spec.key(), Parts(spec, keep)
        self._check_versions()
        # As a task and not scattered, so that it is there again when the workers that hold it have ended.
        self._sweep = self._client.submit(_itself, cloudpickle.dumps((spec, resources, keep)))
        return self._compute

    def _compute(self, groups: Iterable[Iterable[Task]], advance: Advance) -> Iterator[tuple[Task, list[Row]]]:
        left, numbers = Groups(groups), itertools.count()
        try:
            while True:
                for worker in self._with_room():
                    if (task := left.take(worker, self._workers)) is not None:
                        self._send(next(numbers), _Running(task, worker), workers=[worker], allow_other_workers=True)
                if not self._running and not left:
                    return
                answer = self._next_answer()
                number = None if answer is None else self._task_of.pop(answer.key, None)
                if number not in self._running:
                    continue  # another worker was faster
                found = self._found(number, answer)
                if found is None:
                    continue
                task = self._running.pop(number).task
                if task.units is not None:
                    advance(len(task.units) * len(task.points))
                    yield task, self._parts.add(task, found)
                else:
                    advance(sum(max(row.num_units - task.num_kept(), 0) for row in found))
                    yield task, found
        finally:
            self._client.cancel([future for one in self._running.values() for future in one.futures])
            self._running.clear()
            self._task_of.clear()

    def _wait_for_workers(self) -> None:
        since, said = time.monotonic(), False
        while not self._client.nthreads():
            if not said and time.monotonic() - since > _LONG_WAIT:
                self._say("waiting for workers")
                said = True
            time.sleep(_TICK / 10)

    def _check_versions(self) -> None:
        differing = []
        for address, theirs in self._client.run(versions, on_error="return").items():
            if isinstance(theirs, BaseException):
                differing.append(f"worker {address} does not say what it has: {theirs}")
            elif fault := difference(address, theirs, self._versions):
                differing.append(fault)
        if differing:
            more = f" ({len(differing) - 1} more workers differ)" if len(differing) > 1 else ""
            raise ClusterError(differing[0] + more)

    def _with_room(self) -> list[str]:
        """Workers that may be given a task, those without one first; twice those that may be given two."""
        if time.monotonic() - self._counted > _TICK:
            self._workers, self._counted = self._client.nthreads(), time.monotonic()
        has = collections.Counter(one.worker for one in self._running.values())
        return [worker for tasks in range(_TASKS_AHEAD) for worker in self._workers if has[worker] <= tasks]

    def _program(self, task: Task, **where: Any) -> "Future | None":
        """What comes when a worker has compiled what the task needs, if others can read it."""
        about = task.points[0]["num_uavs"], task.points[0]["scheme"], task.names
        if self._share and about not in self._compiled:
            payload = pickle.dumps(task._replace(points=task.points[:1], kept=None, units=None))
            options = where | dict(only_compile=True, pure=False)
            self._compiled[about] = self._client.submit(_do, self._versions, self._key, self._sweep, payload, **options)
        return self._compiled.get(about)

    def _send(self, number: int, one: _Running, **where: Any) -> None:
        # A task that is given out again waits for nobody: whoever was to compile may be what is amiss.
        program = None if one.ends or one.futures else self._program(one.task, **where)
        # Every attempt is a task of its own to Dask, whose values are functions of their keys.
        task = one.task if one.task.units is None else one.task._replace(kept=None)  # the driver puts parts together
        what = self._versions, self._key, self._sweep, pickle.dumps(task), program
        future = self._client.submit(_do, *what, pure=False, **where)
        self._task_of[future.key] = number
        self._running[number] = one._replace(since=time.monotonic(), futures=(*one.futures, future))
        future.add_done_callback(self._answers.put)

    def _next_answer(self) -> "Future | None":
        now = time.monotonic()
        if now - self._looked > _TICK:
            self._looked = now
            usual = _LATE * self._longest
            late = [number for number, one in self._running.items()
                    if now - one.since > max(self._patience * len(one.futures), usual)]  # fmt: skip
            if late:
                self._send_elsewhere(late)
        try:
            return self._answers.get(timeout=_TICK)
        except queue.Empty:
            return None

    def _send_elsewhere(self, late: list[int]) -> None:
        holders = {key: address for address, keys in self._client.processing().items() for key in keys}
        for number in late:
            one = self._running[number]
            at = {holders[future.key] for future in one.futures if future.key in holders}
            others = [address for address in self._client.nthreads() if address not in at]
            since = time.monotonic() - one.since
            self._say(f"no answer for {since:.0f} s from {', '.join(at) or 'any worker'}: its task goes elsewhere")
            self._send(number, one, **(dict(workers=others, allow_other_workers=True) if at and others else {}))

    def _found(self, number: int, answer: "Future") -> list[Row] | Part | None:
        """What became of a task; None where it was given out again."""
        from distributed import KilledWorker

        one = self._running[number]
        again = one._replace(futures=tuple(future for future in one.futures if future is not answer))
        try:
            worker, fault, found = answer.result(timeout=self._patience)
        except KilledWorker as error:
            if one.ends >= _MOST_ENDS:
                what = f"task of {len(one.task.points)} points from {dict(one.task.points[0])} on"
                raise ClusterError(f"the {what} ends every worker that gets it: is their memory enough?") from error
            self._send(number, again._replace(ends=one.ends + 1))
            return None
        except TimeoutError:  # its worker ended with the answer, and nobody gave another
            self._send(number, again)
            return None
        except CancelledError as error:
            raise ClusterError("the scheduler has ended; what is stored stays, and the same command goes on") from error
        if fault is not None:
            self._say(f"{fault}; it is sent away")
            self._client.retire_workers([worker])
            self._send(number, again)
            return None
        self._longest = max(self._longest, time.monotonic() - one.since)
        return pickle.loads(found)


def _itself(value: Any) -> Any:
    return value


# On a worker: the sweep that it knows, under its key.
_RUNNERS: dict[str, Runner] = {}
_ONE_AT_A_TIME = threading.Lock()


def _do(
    ours: Mapping[str, str], key: str, sweep: bytes, task: bytes, after: Any = None, *, only_compile: bool = False
) -> _Answer:
    """Does a task on a worker, after another. What it is given is read only after the versions were compared."""
    from distributed import get_worker

    address = get_worker().address
    if fault := difference(address, versions(), ours):
        return _Answer(address, fault, b"")
    with _ONE_AT_A_TIME:
        if key not in _RUNNERS:
            spec, resources, keep = pickle.loads(sweep)
            if spec.key() != key:
                return _Answer(address, f"worker {address} has other code from outside the library", b"")
            _RUNNERS.clear()
            _RUNNERS[key] = Runner(spec, resources, keep)
        if only_compile:
            _RUNNERS[key].compile(pickle.loads(task))
            return _Answer(address, None, b"")
        runner, task = _RUNNERS[key], pickle.loads(task)
        found = [row for rows in runner.rows(task) for row in rows] if task.units is None else runner.part(task)
    return _Answer(address, None, pickle.dumps(found))
