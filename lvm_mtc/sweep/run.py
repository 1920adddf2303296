"""Runs a sweep: what is missing in a store is computed, point by point reproducible, and put there.

Points that share pictures, masks and scheme go together: encoded once, sent over the same draws (common random numbers)
at every point. An item, a point on one channel realisation, runs through the same compiled body whatever runs beside
it, so a point that is computed alone, after a kill or on other devices has the same numbers, bit for bit.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from lvm_mtc.results.store import ResultStore
from lvm_mtc.sweep.group import Coordinates, Group, Resources
from lvm_mtc.sweep.plan import SweepSpec
from lvm_mtc.sweep.programs import Arrived
from lvm_mtc.sweep.rows import make_point

_POINTS_AT_ONCE = 128
_ALL_THERE_IS = Resources()


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
) -> str:
    """Computes what a store lacks of a sweep.

    Every point is stored as soon as it is complete, so that a run that is killed goes on from there. Several runs may
    share a store.

    Returns:
        The sweep's key in the store.
    """
    key = store.register(spec.config())
    wanted = list(spec.coordinates())
    missing = store.missing(key, wanted)
    most = spec.stopping.max_units
    start, now = time.monotonic(), Progress(len(wanted) - len(missing), len(wanted), 0, len(missing) * most, None)

    def tell(points: int = 0, items_done: float = 0, items: int = 0) -> None:
        """Adds to what is done, and estimates what is left."""
        nonlocal now
        points, items_done, items = now.points_done + points, now.items_done + items_done, now.items + items
        left = (time.monotonic() - start) / items_done * (items - items_done) if items_done else None
        now = Progress(points, now.points, items_done, items, left)
        progress(now)

    for _, group in itertools.groupby(missing, key=spec.encoded_group):
        runner = None
        for batch in _batched(group):
            # Another run may have been faster.
            left = store.missing(key, batch)
            skipped = len(batch) - len(left)
            tell(points=skipped, items=-skipped * most)
            if not left:
                continue
            runner = runner or Group(spec, left[0], resources)
            for done in runner.measure(left, lambda items: tell(items_done=items)):
                store.add(make_point(spec, key, at, samples) for at, samples in done)
                tell(points=len(done), items=sum(len(samples.realised_snr) - most for _, samples in done))
    return key


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


def _batched(points: Iterable[Coordinates]) -> Iterator[tuple[Coordinates, ...]]:
    points = iter(points)
    while batch := tuple(itertools.islice(points, _POINTS_AT_ONCE)):
        yield batch
