"""Runs a sweep: what is missing in a store is computed, point by point reproducible, and put there.

Points that share pictures, masks and scheme go together: encoded once, sent over the same draws (common random numbers)
at every point. An item, a point on one channel realisation, runs through the same compiled body whatever runs beside
it, so a point that is computed alone, after a kill or on other devices has the same numbers, bit for bit.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from lvm_mtc.evaluation.store import ResultStore
from lvm_mtc.evaluation.sweep_group import Coordinates, Group, Resources
from lvm_mtc.evaluation.sweep_plan import SweepSpec
from lvm_mtc.evaluation.sweep_rows import Samples, make_point

_POINTS_AT_ONCE = 128
_GROUP = ("num_uavs", "seed", "scheme", "mask_prob")
_ALL_THERE_IS = Resources()


class Progress(NamedTuple):
    """Where a sweep is.

    Attributes:
        points_done: Points that are in the store.
        points: Points of the sweep.
        items_done: Items, points times channel realisations, that this run has sent.
        items: Of this run at most; fewer where points stop early.
        seconds_left: At the pace so far; None at the beginning.
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
) -> str:
    """Computes what a store lacks of a sweep.

    Every point is stored as soon as it is complete, so that a run that is killed goes on from there. Several runs may
    share a store.

    Args:
        spec: The sweep.
        store: Where points go.
        resources: Memory and devices.
        progress: Called after each part of the work, with where the sweep is.

    Returns:
        The sweep's key in the store.

    Raises:
        StoreError: if the store cannot be written to.
        ValueError: what the system refuses, or if the memory budget is too small.
    """
    config = spec.config()
    key = store.register(config)
    wanted = list(spec.coordinates())
    missing = store.missing(key, wanted)
    state = _Clock(len(wanted), len(wanted) - len(missing), len(missing) * spec.stopping.max_units, progress)
    links = {link.fading: link for link in spec.links}
    for _, group in itertools.groupby(missing, key=_group_of):
        runner = None
        for batch in _batched(group):
            # Another run may have been faster.
            left = store.missing(key, batch)
            state.skip(len(batch) - len(left), spec.stopping.max_units)
            if not left:
                continue
            runner = runner or Group(spec, left[0], resources)
            for done in runner.measure(left, state.advance):
                store.add(
                    make_point(spec, key, at, links[at["channel"]], spec.pictures[at["num_uavs"]], samples)
                    for at, samples in done
                )
                state.finish([len(samples.realised_snr) for _, samples in done], spec.stopping.max_units)
    return key


def sample_points(
    spec: SweepSpec, points: Iterable[Coordinates], *, resources: Resources = _ALL_THERE_IS
) -> list[Samples]:
    """What was measured of points unit by unit, as a sweep measures it, for comparisons by pairs.

    Units and pictures of two points of one K and seed stand beside each other: same masks (for one P_r), same channels.

    Args:
        spec: The sweep.
        points: Coordinates, as ``spec.coordinates`` yields them.
        resources: Memory and devices.

    Returns:
        Samples in the order of ``points``.
    """
    points = list(points)
    found: dict[int, Samples] = {}
    numbered = sorted(enumerate(points), key=lambda pair: str(_group_of(pair[1])))
    for _, group in itertools.groupby(numbered, key=lambda pair: _group_of(pair[1])):
        numbers, members = zip(*group, strict=True)
        places = {id(at): number for number, at in zip(numbers, members, strict=True)}
        for done in Group(spec, members[0], resources).measure(members, lambda _: None):
            found |= {places[id(at)]: samples for at, samples in done}
    return [found[number] for number in range(len(points))]


def _group_of(at: Coordinates) -> tuple:
    return tuple(at[name] for name in _GROUP)


def _batched(points: Iterable[Coordinates]) -> Iterator[tuple[Coordinates, ...]]:
    points = iter(points)
    while batch := tuple(itertools.islice(points, _POINTS_AT_ONCE)):
        yield batch


class _Clock:
    """Counts what is done, and estimates what is left."""

    def __init__(self, points: int, points_done: int, items: int, report: Callable[[Progress], None]):
        self._points, self._points_done, self._items, self._report = points, points_done, items, report
        self._items_done, self._start = 0, time.monotonic()

    def advance(self, items: float) -> None:
        self._items_done += items
        self._tell()

    def skip(self, points: int, most_units: int) -> None:
        self._points_done += points
        self._items -= points * most_units

    def finish(self, units: Sequence[int], most_units: int) -> None:
        self._points_done += len(units)
        self._items -= sum(most_units - count for count in units)
        self._tell()

    def _tell(self) -> None:
        left = None
        if self._items_done:
            left = (time.monotonic() - self._start) / self._items_done * (self._items - self._items_done)
        self._report(Progress(self._points_done, self._points, self._items_done, self._items, left))
