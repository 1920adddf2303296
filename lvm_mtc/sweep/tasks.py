"""The work of a sweep in portions, and what computes them in this process."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from lvm_mtc.sweep.group import Coordinates, Group, Resources
from lvm_mtc.sweep.plan import SweepSpec
from lvm_mtc.sweep.programs import Arrived
from lvm_mtc.sweep.rows import Row, make_row


class Task(NamedTuple):
    """Points that are encoded together.

    Attributes:
        points: Their coordinates.
        names: What is to be measured.
        kept: What was measured of each before, equally many units; None: nothing.
    """

    points: Sequence[Coordinates]
    names: tuple[str, ...]
    kept: Sequence[Arrived] | None = None

    def num_kept(self) -> int:
        """Units that need not be sent again."""
        return 0 if self.kept is None else len(self.kept[0].realised_snr)


Advance = Callable[[float], None]
"""Is told of how many more items, points times units, were sent."""
Compute = Callable[[Iterable[Task], Advance], Iterator[tuple[Task, list[Row]]]]
"""Does tasks in any order; gives rows of a task once or in portions."""


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

    def compile(self, task: Task) -> None:
        """Has its programs compiled, by sending one point over one channel realisation."""
        self._group_of(task).send(task.points[:1], range(1))

    def _group_of(self, task: Task) -> Group:
        about = self._spec.encoded_group(task.points[0]), task.names
        if about != self._about:
            self._group = Group(_measuring(self._spec, task.names), task.points[0], self._resources)
            self._about = about
        return self._group

    def compute(self, tasks: Iterable[Task], advance: Advance) -> Iterator[tuple[Task, list[Row]]]:
        """Does tasks one after another, and takes each when it is its turn."""
        for task in tasks:
            for rows in self.rows(task, advance):
                yield task, rows


def _measuring(spec: SweepSpec, names: Sequence[str]) -> SweepSpec:
    """A sweep of these metrics and judges, and of what its stopping rule looks at."""
    wanted = {*names, spec.stop_metric}
    metrics = tuple(name for name in spec.metrics if name in wanted)
    return dataclasses.replace(
        spec, metrics=metrics, judges=tuple(judge for judge in spec.judges if judge.name in wanted)
    )
