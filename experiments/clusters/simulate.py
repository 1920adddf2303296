"""The plan of a sweep on many workers: a simulation of driver, scheduler and workers, event after event."""

import collections
import heapq
import itertools
import math
import random
from collections.abc import Callable
from typing import NamedTuple


class Costs(NamedTuple):
    """What was measured on one core, seconds.

    Attributes:
        start: From a worker's start to its first task.
        compile: The programs, once on each worker.
        encode: The encoder, once for each task whose group a worker does not have at hand.
        item: One point on one channel realisation.
        point: Of the driver for each point: reading its answer, writing its row.
        task: Of the driver for each task besides: looking up, giving out, a transaction.
    """

    start: float
    compile: float
    encode: float
    item: float
    point: float
    task: float


class Plan(NamedTuple):
    """A sweep and its workers.

    Attributes:
        groups: That are encoded apart; the points lie evenly in them.
        lifetime: Mean time until a worker is taken away, seconds, exponential; another starts at once.
        spread: Of a task's time, the standard deviation of its logarithm.
    """

    points: int
    units: int
    groups: int
    workers: int
    points_per_task: int
    lifetime: float = math.inf
    spread: float = 0.1


class Outcome(NamedTuple):
    """What becomes of a plan: wall time in seconds; shares of it, all workers together or the driver alone."""

    seconds: float
    busy: float
    encoding: float
    lost: float
    driver: float


def simulate(plan: Plan, costs: Costs, seed: int = 0) -> Outcome:
    """Follows every task: given out two a worker ahead, done, answered, written by a driver that does one at a time."""
    rng = random.Random(seed)
    tasks = math.ceil(plan.points / plan.points_per_task)
    per_group = math.ceil(tasks / plan.groups)
    queue, idle, at_hand = collections.deque(range(min(2 * plan.workers + 2, tasks))), [], {}
    given, written, driver_free = len(queue), 0, len(queue) * costs.task
    busy, encoding, lost, driving = 0.0, 0.0, 0.0, driver_free
    events, count = [], itertools.count()

    def life(now: float) -> float:
        return now + rng.expovariate(1 / plan.lifetime) if plan.lifetime < math.inf else math.inf

    def at(when: float, happens: Callable[[float, int], None], what: int) -> None:
        heapq.heappush(events, (when, next(count), happens, what))

    def takes_a_task(now: float, worker: int) -> None:
        nonlocal busy, encoding, lost
        if not queue:
            idle.append(worker)
            return
        task = queue.popleft()
        encode = 0.0 if at_hand.get(worker) == task // per_group else costs.encode
        items = points_of(task) * plan.units * costs.item * rng.lognormvariate(0.0, plan.spread)
        until = now + items + encode + (costs.compile if worker not in at_hand else 0.0)
        if until > ends[worker]:  # it is taken away; another starts in its place, and the task is given out again
            end = max(now, ends[worker])
            lost += end - now
            at_hand.pop(worker, None)
            ends[worker] = life(end + costs.start)
            at(end, is_given_out, task)
            at(end + costs.start, takes_a_task, worker)
            return
        at_hand[worker] = task // per_group
        busy, encoding = busy + items, encoding + encode
        at(until, is_answered, task)
        at(until, takes_a_task, worker)

    def is_answered(now: float, task: int) -> None:
        nonlocal given, written, driver_free, driving
        takes = points_of(task) * costs.point + (costs.task if given < tasks else 0.0)
        driver_free, driving, written = max(driver_free, now) + takes, driving + takes, written + 1
        if given < tasks:
            at(driver_free, is_given_out, given)
            given += 1

    def is_given_out(now: float, task: int) -> None:
        queue.append(task)
        if idle:
            takes_a_task(now, idle.pop())

    def points_of(task: int) -> int:
        return min(plan.points_per_task, plan.points - task * plan.points_per_task)

    ends = [life(costs.start) for _ in range(plan.workers)]
    for worker in range(plan.workers):
        at(costs.start, takes_a_task, worker)
    while written < tasks:
        now, _, happens, what = heapq.heappop(events)
        happens(now, what)
    whole = driver_free * plan.workers
    return Outcome(driver_free, busy / whole, encoding / whole, lost / whole, driving / driver_free)
