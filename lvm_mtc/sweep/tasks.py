"""The work of a sweep in portions, and what computes them in this process."""

import collections
import dataclasses
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

import jax

from lvm_mtc.sweep.group import Coordinates, Group, Resources, join
from lvm_mtc.sweep.plan import SweepSpec
from lvm_mtc.sweep.programs import Arrived
from lvm_mtc.sweep.rows import Row, make_row
from lvm_mtc.sweep.stopping import StoppingRule


class Task(NamedTuple):
    """Points that are encoded together.

    Attributes:
        points: Their coordinates.
        names: What is to be measured.
        kept: What was measured of each before, equally many units; None: nothing.
        units: That are to be sent, a part of the points' units; None: as many as the stopping rule wants.
    """

    points: Sequence[Coordinates]
    names: tuple[str, ...]
    kept: Sequence[Arrived] | None = None
    units: range | None = None

    def num_kept(self) -> int:
        """Units that need not be sent again."""
        return 0 if self.kept is None else len(self.kept[0].realised_snr)

    def split(self, rule: StoppingRule, size: int) -> "Iterator[Task]":
        """In ranges of so many units at most; whole where they are fewer, or a rule looks at them in their order."""
        start, stop = self.num_kept(), rule.max_units
        if rule.target_half_width is not None or stop - start <= size:
            yield self
        else:
            yield from (self._replace(units=range(at, min(at + size, stop))) for at in range(start, stop, size))


class Part(NamedTuple):
    """What was measured of each point of a task on a range of units, and on what kind of device."""

    samples: Sequence[Arrived]
    device: str


class Parts:
    """Ranges of units, until their points are complete."""

    def __init__(self, spec: SweepSpec, keep: bool):
        self._spec, self._keep = spec, keep
        self._parts: dict[int, list[tuple[Task, Part]]] = {}

    def add(self, task: Task, part: Part) -> list[Row]:
        """The rows of its points, if this was all that they lacked."""
        parts = self._parts.setdefault(id(task.points), [])
        parts.append((task, part))
        if task.num_kept() + sum(len(one.units) for one, _ in parts) < self._spec.stopping.max_units:
            return []
        del self._parts[id(task.points)]
        blocks = [] if task.kept is None else [task.kept]
        blocks += [of.samples for _, of in sorted(parts, key=lambda one: one[0].units.start)]
        whole = map(join, zip(*blocks, strict=True))
        how = dict(keep=self._keep, device=part.device)
        return [make_row(self._spec, at, of, task.names, **how) for at, of in zip(task.points, whole, strict=True)]


Advance = Callable[[float], None]
"""Is told of how many more items, points times units, were sent."""
Compute = Callable[[Iterable[Iterable[Task]], Advance], Iterator[tuple[Task, list[Row]]]]
"""Does tasks, in groups that share what is encoded, in any order; gives rows of a task once or in portions."""


class Groups:
    """Tasks for workers that each stay with a group while there are tasks of it."""

    def __init__(self, groups: Iterable[Iterable[Task]]):
        self._left = {number: iter(tasks) for number, tasks in enumerate(groups)}
        self._at: dict[str, int] = {}

    def __bool__(self) -> bool:
        """Whether there may be tasks left."""
        return bool(self._left)

    def take(self, worker: str, workers: Collection[str]) -> Task | None:
        """The next task for one of the workers: of its group, else of one with the fewest of them; None at the end."""
        while self._left:
            if self._at.get(worker) not in self._left:
                there = collections.Counter(group for other, group in self._at.items() if other in workers)
                self._at[worker] = min(self._left, key=there.__getitem__)
            if (task := next(self._left[self._at[worker]], None)) is not None:
                return task
            del self._left[self._at[worker]]
        return None


class Runner:
    """Computes tasks of a sweep; encodes anew only where the next one is of another group.

    Args:
        keep: Keep what is measured in every unit.
    """

    def __init__(self, spec: SweepSpec, resources: Resources, keep: bool):
        self._spec, self._resources, self._keep = spec, resources, keep
        self._about: tuple | None = None

    def rows(self, task: Task, advance: Advance = lambda _: None) -> Iterator[list[Row]]:
        """Rows of a task, as soon as they are complete."""
        for done in self._group_of(task).measure(task.points, advance, task.kept):
            yield [make_row(self._spec, at, samples, task.names, keep=self._keep) for at, samples in done]

    def part(self, task: Task) -> Part:
        """What becomes of a task of some units."""
        return Part(self._group_of(task).units(task.points, task.units), jax.devices()[0].device_kind)

    def compile(self, task: Task) -> None:
        """Has its programs compiled, by sending one point over one channel realisation."""
        self._group_of(task).send(task.points[:1], range(1))

    def _group_of(self, task: Task) -> Group:
        about = self._spec.encoded_group(task.points[0]), task.names
        if about != self._about:
            self._group = Group(_measuring(self._spec, task.names), task.points[0], self._resources)
            self._about = about
        return self._group

    def compute(self, groups: Iterable[Iterable[Task]], advance: Advance) -> Iterator[tuple[Task, list[Row]]]:
        """Does tasks one after another, and takes each when it is its turn."""
        for task in itertools.chain.from_iterable(groups):
            for rows in self.rows(task, advance):
                yield task, rows


def _measuring(spec: SweepSpec, names: Sequence[str]) -> SweepSpec:
    """A sweep of these metrics and judges, and of what its stopping rule looks at."""
    wanted = {*names, spec.stop_metric}
    metrics = tuple(name for name in spec.metrics if name in wanted)
    return dataclasses.replace(
        spec, metrics=metrics, judges=tuple(judge for judge in spec.judges if judge.name in wanted)
    )
