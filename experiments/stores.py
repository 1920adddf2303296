"""What the studies whose numbers stand in a result store have in common."""

from collections.abc import Sequence

from lvm_mtc.report.figures import Curve
from lvm_mtc.results.points import Point
from lvm_mtc.results.store import ResultStore
from lvm_mtc.sweep.paired import NamedSweep, Pair, find_sweep


def read_points(store: ResultStore, name: str, study: str) -> list[Point]:
    """Points of the sweep of a name, by channel and SNR; ``ValueError`` says which ``study`` makes it."""
    sweep = find_sweep(store, name)
    if sweep is None:
        raise ValueError(f"{store.path}: holds no sweep {name!r}; experiments/{study}/measure.py makes it")
    points = store.read(sweep.config_hash)
    return sorted(points, key=lambda point: (point.coordinates.get("channel", ""), point.snr_db))


def curve_of(points: Sequence[Point], metric: str, color: str, label: str = "") -> Curve:
    """A metric of points of one scheme and channel over the SNR, under the scheme's name if there is no other."""
    values = [point.metrics[metric] for point in points]
    return Curve(
        label=label or points[0].coordinates["scheme"],
        convention=points[0].snr_convention,
        snr_db=[point.snr_db for point in points],
        mean=[value.mean for value in values],
        half_width=[value.half_width for value in values],
        color=color,
    )


def minus_the_others(spec: NamedSweep, first: str) -> list[Pair]:
    """A scheme less each of the others at every point."""
    by_scheme: dict[str, list[dict]] = {}
    for at in spec.coordinates():
        by_scheme.setdefault(at["scheme"], []).append(at)
    return [
        Pair(f"{first} minus {other}", *both)
        for other in by_scheme
        if other != first
        for both in zip(by_scheme[first], by_scheme[other], strict=True)
    ]
