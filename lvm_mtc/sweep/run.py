"""Runs a sweep: what is missing in a store is computed, point by point reproducible, and put there.

Points that share pictures, masks and scheme go together: encoded once, sent over the same draws (common random numbers)
at every point. An item, a point on one channel realisation, runs through the same compiled body whatever runs beside
it, so a point that is computed alone, after a kill or on other devices has the same numbers, bit for bit.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from lvm_mtc.results.store import ResultStore
from lvm_mtc.sweep.group import Coordinates, Group, Resources, check_memory
from lvm_mtc.sweep.plan import SweepSpec
from lvm_mtc.sweep.programs import Arrived
from lvm_mtc.sweep.shelf import Shelf
from lvm_mtc.sweep.tasks import Compute, Runner, Task

_FIRST_POINTS, _POINTS_AT_ONCE = 8, 128
_ALL_THERE_IS = Resources()


class Workers(Protocol):
    """Whoever computes tasks of a sweep elsewhere."""

    points_per_task: int
    units_per_task: int

    def compute(self, spec: SweepSpec, resources: Resources, keep: bool) -> Compute:
        """Makes them ready for a sweep."""
        ...


class Progress(NamedTuple):
    """Where a sweep is: points in the store; items, points times channel realisations, of this run at most.

    ``seconds_left`` is at the pace so far; None at the beginning.
    """

    points_done: int
    points: int
    items_done: float
    items: int
    seconds_left: float | None


def run_sweep(
    spec: SweepSpec,
    store: ResultStore,
    *,
    resources: Resources = _ALL_THERE_IS,
    progress: Callable[[Progress], None] = lambda _: None,
    command: Mapping[str, Any] | None = None,
    keep: bool = True,
    again: Mapping[str, Any] | None = None,
    workers: Workers | None = None,
) -> str:
    """Computes what a store lacks of a sweep.

    Rows are found by what decides each of them, whichever sweep they were computed for: another K, link, scheme,
    metric, or more units compute what is new. Every point is stored as soon as it is complete, so that a run that is
    killed goes on from there. Several runs may share a store.

    Args:
        command: What computes the sweep, in plain values, kept beside it.
        keep: Keep what is measured in every unit, so that more units can be added later.
        again: Coordinates, such as ``{"snr_db": 10}``, of points that are deleted and computed anew.
        workers: Who computes, such as ``cluster.DaskWorkers``; None: this process. It changes no number.

    Returns:
        The sweep's key in the store.
    """
    check_memory(spec, resources)
    shelf = Shelf(spec, store)
    shelf.claim(command, again)
    wanted = list(spec.coordinates())
    missing = shelf.lacking(wanted)
    most = spec.stopping.max_units
    start, now = time.monotonic(), Progress(len(wanted) - len(missing), len(wanted), 0, len(missing) * most, None)

    def tell(points: int = 0, items_done: float = 0, items: int = 0) -> None:
        """Adds to what is done, and estimates what is left."""
        nonlocal now
        points, items_done, items = now.points_done + points, now.items_done + items_done, now.items + items
        left = (time.monotonic() - start) / items_done * (items - items_done) if items_done else None
        now = Progress(points, now.points, items_done, items, left)
        progress(now)

    def tasks(group: Sequence[tuple[Coordinates, tuple[str, ...]]]) -> Iterator[Task]:
        """What is missing, when it is asked for: another run may have been faster."""
        for batch in _batched(group, workers and workers.points_per_task):
            names = batch[0][1]
            left = [at for at, lacks in shelf.lacking([at for at, _ in batch]) if lacks == names]
            tell(points=len(batch) - len(left), items=(len(left) - len(batch)) * most)
            for points, kept in _by_units(left, [shelf.kept(at, names) for at in left]):
                task = Task(points, names, kept)
                yield from [task] if workers is None else task.split(spec.stopping, workers.units_per_task)

    alike = itertools.groupby(missing, key=lambda one: (spec.encoded_group(one[0]), one[1]))
    groups = [tasks(tuple(group)) for _, group in alike]
    compute = Runner(spec, resources, keep).compute if workers is None else workers.compute(spec, resources, keep)
    for task, rows in compute(groups, lambda items: tell(items_done=items)):
        shelf.put(rows, task.names)
        tell(points=len(rows), items=sum(max(row.num_units - task.num_kept(), 0) - most for row in rows))
    return shelf.key


def _by_units(
    points: Sequence[Coordinates], kept: Sequence[Arrived | None]
) -> Iterator[tuple[list[Coordinates], list[Arrived] | None]]:
    """Points of which equally many units are kept, with those; None for none."""
    groups: dict[int, list[tuple[Coordinates, Arrived | None]]] = {}
    for at, arrived in zip(points, kept, strict=True):
        groups.setdefault(0 if arrived is None else len(arrived.realised_snr), []).append((at, arrived))
    for units, members in groups.items():
        yield [at for at, _ in members], [arrived for _, arrived in members] if units else None


def sample_points(
    spec: SweepSpec, points: Iterable[Coordinates], *, resources: Resources = _ALL_THERE_IS
) -> list[Arrived]:
    """What was measured of points unit by unit, as a sweep measures it, for comparisons by pairs.

    Units and pictures of two points of one K and seed stand beside each other: same masks (for one P_r), same channels.
    """
    points = [dict(at) for at in points]
    measured: dict[int, Arrived] = {}
    for _, group in itertools.groupby(
        sorted(points, key=lambda at: str(spec.encoded_group(at))), key=spec.encoded_group
    ):
        members = tuple(group)
        for done in Group(spec, members[0], resources).measure(members, lambda _: None):
            measured |= {id(at): samples for at, samples in done}
    return [measured[id(at)] for at in points]


def _batched(points: Iterable[Any], size: int | None) -> Iterator[tuple[Any, ...]]:
    """Points in portions; without a size few at first, so that some are stored soon, and then more."""
    points, count = iter(points), size or _FIRST_POINTS
    while batch := tuple(itertools.islice(points, count)):
        yield batch
        count = size or min(2 * count, _POINTS_AT_ONCE)
