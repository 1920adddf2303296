"""What the studies whose numbers stand in a result store have in common."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax

from lvm_mtc.report.figures import Curve
from lvm_mtc.results.points import Measured, Point
from lvm_mtc.results.store import ResultStore
from lvm_mtc.sweep.paired import NamedSweep, Pair, find_sweep
from lvm_mtc.sweep.rows import versions


def read_points(store: ResultStore, name: str, study: str) -> list[Point]:
    """Points of the sweep of a name, by channel and SNR; ``ValueError`` says which ``study`` makes it."""
    sweep = find_sweep(store, name)
    if sweep is None:
        raise ValueError(f"{store.path}: holds no sweep {name!r}; experiments/{study}/measure.py makes it")
    points = store.read(sweep.config_hash)
    return sorted(points, key=lambda point: (point.coordinates.get("channel", ""), point.snr_db))


def store_values(
    store: ResultStore,
    about: Mapping[str, Any],
    at: Mapping[str, Any],
    values: Mapping[str, Measured],
    *,
    snr_db: float,
    convention: str,
) -> None:
    """Puts what no sweep sends into a store, unless it is there.

    Args:
        about: The ``"name"`` that it is read by, and what it depends on: where that changes, it is measured anew.
        at: The point's coordinates.
        values: What was measured there.
        snr_db: Of the point, under ``convention``; some number where there is none.
    """
    key = store.register(dict(about))
    if store.missing(key, [at]):
        store.add([Point(config_hash=key, coordinates=dict(at), metrics=dict(values), seed=0, snr_convention=convention,
                         snr_db=snr_db, device=jax.devices()[0].device_kind, versions=versions())])  # fmt: skip


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
