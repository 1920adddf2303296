"""Sweeps with a name by which a store finds them, and with differences of their points, unit by unit, as rows too.

A store holds means and intervals, from which no interval of a difference can be made: two schemes over the same units
have most of their spread in common. So what is measured of the points of a pair is compared before it is reduced.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from lvm_mtc.config import to_dict
from lvm_mtc.link.config import LinkConfig
from lvm_mtc.results.points import Point, StoreError, Sweep, canonical_json
from lvm_mtc.results.store import ResultStore
from lvm_mtc.sweep.plan import SweepSpec
from lvm_mtc.sweep.programs import Arrived
from lvm_mtc.sweep.rows import make_point
from lvm_mtc.sweep.run import Coordinates, Resources, sample_points

PREFIX = "difference_"
"""In front of a metric's name where a row holds its difference."""

_SHARED = ("num_uavs", "seed")  # what decides the draws


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class NamedSweep(SweepSpec):
    """A sweep with a name, which is part of what is hashed.

    Attributes:
        name: By which ``find_sweep`` finds it.
        about: What a reader of the store should know and the hashes do not tell, such as the file of the weights.
    """

    name: str
    about: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def config(self) -> dict[str, Any]:
        """As ``SweepSpec.config``, with name and ``about``."""
        return {"name": self.name, "about": dict(self.about)} | super().config()


class Pair(NamedTuple):
    """Coordinates of two points of a sweep, of one K and seed, that are compared: first minus second.

    Attributes:
        name: Stands as the scheme of the difference, for example "object first minus uniform masking".
    """

    name: str
    first: Coordinates
    second: Coordinates

    @property
    def coordinates(self) -> dict[str, Any]:
        """Of the difference: those of the first point, but for the scheme."""
        return {**self.first, "scheme": self.name}


def differences_name(name: str) -> str:
    """Name of the sweep that holds the differences of a named sweep."""
    return f"{name}, differences"


def find_sweep(store: ResultStore, name: str) -> Sweep | None:
    """The sweep of a name, ``NamedSweep.name``; None where there is none; ``StoreError`` where there are two."""
    sweeps = [sweep for sweep in store.sweeps() if sweep.config.get("name") == name]
    if len(sweeps) > 1:
        raise StoreError(f"{store.path}: {len(sweeps)} sweeps are called {name!r}, with different settings")
    return sweeps[0] if sweeps else None


def run_paired_sweep(
    spec: NamedSweep,
    pairs: Iterable[Pair],
    store: ResultStore,
    *,
    resources: Resources,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> None:
    """Computes what a store lacks of a named sweep and of differences between its points.

    Points of one K, seed and channel are measured together and stored as soon as all of them are complete, so that a
    run that is killed goes on from there. A field that a system or link was given since, at its default, makes no other
    sweep. A difference has the interval that its two points have, of their units' differences; its metrics have
    ``PREFIX`` in front.

    Args:
        progress: Called after each part, with how many points are done and how many there are.

    Raises:
        StoreError: if the store holds a sweep of that name with other settings, or other numbers.
    """
    points, pairs = list(spec.coordinates()), list(pairs)
    _check(points, pairs)
    of_points = _key(spec, store)
    about = {"name": differences_name(spec.name), "differences_of": of_points, "random_pictures": spec.random_pictures}
    of_pairs = store.register(about | {"stopping": to_dict(spec.stopping) | {"metric": spec.stop_metric}})
    parts: dict[tuple, list[Coordinates]] = {}
    for at in points:
        parts.setdefault(tuple(at[name] for name in (*_SHARED, "channel")), []).append(at)
    done = 0
    for part in parts.values():
        inside = {canonical_json(at) for at in part}
        own_pairs = [pair for pair in pairs if canonical_json(pair.first) in inside]
        open_pairs = [pair for pair in own_pairs if store.missing(of_pairs, [pair.coordinates])]
        both = (at for pair in open_pairs for at in (pair.first, pair.second))
        wanted = [*store.missing(of_points, part), *both]
        wanted = list({canonical_json(at): at for at in wanted}.values())
        samples = dict(zip(map(canonical_json, wanted), sample_points(spec, wanted, resources=resources), strict=True))
        new_points = store.missing(of_points, wanted)
        store.add(make_point(spec, of_points, at, samples[canonical_json(at)]) for at in new_points)
        store.add(_difference(spec, of_pairs, pair, samples) for pair in open_pairs)
        done += len(part)
        progress(done, len(points))


def _check(points: Sequence[Coordinates], pairs: Sequence[Pair]) -> None:
    known = {canonical_json(at) for at in points}
    for pair in pairs:
        for at in (pair.first, pair.second):
            if canonical_json(at) not in known:
                raise ValueError(f"pair {pair.name!r}: {canonical_json(at)} is no point of the sweep")
        if any(pair.first[name] != pair.second[name] for name in _SHARED):
            raise ValueError(f"pair {pair.name!r}: points of different {' or '.join(_SHARED)} share no draws")


def _key(spec: NamedSweep, store: ResultStore) -> str:
    """The sweep's key: that under which the store has it, else a new one."""
    stored = find_sweep(store, spec.name)
    if stored is None:
        return store.register(spec.config())
    if canonical_json(_completed(stored.config, spec)) != canonical_json(spec.config()):
        raise StoreError(f"{store.path}: holds a sweep {spec.name!r} with other settings; take another store or name")
    return stored.config_hash


def _completed(config: dict[str, Any], spec: NamedSweep) -> dict[str, Any]:
    """A stored configuration with the fields that its classes were given since, at their defaults."""
    systems = {contender.name: to_dict(type(contender.scheme.config)()) for contender in spec.schemes}
    schemes = {
        name: entry | {"system": systems[name] | dict(entry["system"])} if name in systems else entry
        for name, entry in config["schemes"].items()
    }
    links = {name: LinkConfig().described() | dict(entry) for name, entry in config["links"].items()}
    return config | {"schemes": schemes, "links": links}


def _difference(spec: NamedSweep, key: str, pair: Pair, samples: Mapping[str, Arrived]) -> Point:
    first, second = (samples[canonical_json(at)] for at in (pair.first, pair.second))
    metrics = {PREFIX + name: values - second.metrics[name] for name, values in first.metrics.items()}
    point = make_point(spec, key, pair.first, first._replace(metrics=metrics))
    # What the first scheme costs and keeps is no difference.
    own = {name: value for name, value in point.metrics.items() if name.startswith(PREFIX)}
    return dataclasses.replace(point, coordinates=pair.coordinates, metrics=own, ledger={}, realised_snr_db=None)
