"""Which rows of a sweep a store has already, whoever asked for them, and where new ones go."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lvm_mtc.results.parts import is_part, part_of, values_of
from lvm_mtc.results.points import Measurement, Point, Sweep, canonical_json, config_hash
from lvm_mtc.results.queries import lies
from lvm_mtc.results.store import ResultStore
from lvm_mtc.sweep.plan import SweepSpec
from lvm_mtc.sweep.programs import Arrived
from lvm_mtc.sweep.rows import Row, both_packed, unpacked

_FEW = 128
"""Points that are looked up one by one: of a large store that is faster than reading what it has of a whole place."""

Coordinates = Mapping[str, Any]


class Place(NamedTuple):
    """Where the rows of one K, scheme and link stand.

    Attributes:
        key: Of the part, under which new rows go.
        others: Such rows that stand under keys of whole sweeps, from before there were parts or of named studies: their
            coordinates, as JSON, to the row and the names of what was measured.
        alike: Keys of parts that differ in the number of units and the intervals alone.
    """

    key: str
    others: dict[str, tuple[Point, tuple[str, ...]]]
    alike: tuple[str, ...]


class Shelf:
    """A sweep's rows in a store, found by what decides each of them."""

    def __init__(self, spec: SweepSpec, store: ResultStore):
        self._spec, self._store = spec, store
        self._config, self.key = spec.config(), spec.key()
        self._stored = store.sweeps(parts=True)
        self._places: dict[tuple, Place] = {}
        self._anew: set[str] = set()

    def claim(self, command: Mapping[str, Any] | None = None, again: Mapping[str, Any] | None = None) -> None:
        """Makes the sweep known to the store, with copies of rows that stand under other sweeps' own keys.

        Args:
            command: What computes the sweep, in plain values.
            again: Coordinates of points that are deleted first; nothing that is kept of them is used.
        """
        self._store.choose(self._config, command)
        wanted: dict[str, set[str]] = {}
        for at in self._spec.coordinates():
            place = self._place(at)
            if place.key not in wanted:
                wanted[self._store.register(part_of(self._config, at))] = set()
            if again is not None and lies(at, again):
                self._anew.add(canonical_json(at))
                self._store.delete(self.key, at)
            else:
                wanted[place.key].add(canonical_json(at))
        for place in self._places.values():
            there = {canonical_json(one.coordinates) for one in self._store.measurements(place.key, data=False)}
            for at, (row, names) in place.others.items():
                if at in wanted[place.key] - there and row.config_hash != self.key:
                    beside = Measurement(place.key, row.coordinates, names, None)
                    self._store.add([dataclasses.replace(row, config_hash=place.key)], [beside])

    def lacking(self, points: Sequence[Coordinates]) -> list[tuple[Coordinates, tuple[str, ...]]]:
        """The points of which something is not measured yet, each with the names of that, in the order given."""
        measured: dict[str, dict[str, set[str]]] = {}
        few = len(points) <= _FEW
        found = []
        for at in points:
            place = self._place(at)
            if few:
                there = self._measured(place, at)
            else:
                if place.key not in measured:
                    measured[place.key] = self._measured(place)
                there = measured[place.key]
            known = there.get(canonical_json(at), set())
            if names := tuple(name for name in self._spec.measured if name not in known):
                found.append((at, names))
        return found

    def kept(self, at: Coordinates, names: Sequence[str]) -> Arrived | None:
        """What is kept of a point, the largest number of units, where all of these metrics are; else None."""
        best = None
        if canonical_json(at) in self._anew:
            return None
        for key in self._place(at).alike:
            for one in self._store.measurements(key, at):
                if one.data is not None and {*names, self._spec.stop_metric} <= {*one.names}:
                    arrived = unpacked(one.data)
                    if best is None or len(arrived.realised_snr) > len(best.realised_snr):
                        best = arrived
        return best

    def put(self, rows: Sequence[Row], names: Sequence[str]) -> None:
        """Stores points: new rows, or these metrics of rows that are there."""
        points, beside = [], []
        for row in rows:
            at = row.point.coordinates
            key, known, data = self._place(at).key, tuple(names), row.packed
            for before in self._store.measurements(key, at):
                known = (*before.names, *(name for name in names if name not in before.names))
                data = both_packed(before.data, row.packed)
            points.append(dataclasses.replace(row.point, config_hash=key))
            beside.append(Measurement(key, at, known, data))
        self._store.add(points, beside)

    def _place(self, at: Coordinates) -> Place:
        where = at["num_uavs"], at["scheme"], at["channel"]
        if where not in self._places:
            part = part_of(self._config, at)
            key, values = config_hash(part), canonical_json(values_of(part))
            others, alike = {}, [key]
            for sweep in self._stored:
                theirs = part_of(sweep.config, at)
                if theirs is None or sweep.config_hash == key:
                    continue
                if is_part(sweep.config):
                    if canonical_json(values_of(theirs)) == values:
                        alike.append(sweep.config_hash)
                elif canonical_json(theirs) == canonical_json(part) and self._has_draws_of(sweep):
                    names = (*sweep.config["metrics"], *sweep.config.get("judges", ()))
                    rows = self._store.read(sweep.config_hash, parts=False)
                    others |= {canonical_json(row.coordinates): (row, names) for row in rows if _in(row, where)}
            self._places[where] = Place(key, others, tuple(alike))
        return self._places[where]

    def _has_draws_of(self, sweep: Sweep) -> bool:
        """Whether a sweep with rows of its own drew for schemes of one size: once the largest one decided the draws."""
        known = self._config["schemes"]
        sizes = {self._spec.contender(name).scheme.frames() for name in sweep.config["schemes"] if name in known}
        same = all(known.get(name) == entry for name, entry in sweep.config["schemes"].items())
        return "draws" in sweep.config or len(sweep.config["schemes"]) == 1 or (same and len(sizes) == 1)

    def _measured(self, place: Place, at: Coordinates | None = None) -> dict[str, set[str]]:
        """Coordinates of the rows of a place, or of one of them, with the names of what was measured."""
        kept = self._store.measurements(place.key, at, data=False)
        found = {canonical_json(one.coordinates): {*one.names} for one in kept}
        others = place.others if at is None else {canonical_json(at)} & place.others.keys()
        for other in others:
            if other not in self._anew:
                found.setdefault(other, {*place.others[other][1]})
        return found


def _in(row: Point, where: tuple) -> bool:
    return tuple(row.coordinates[axis] for axis in ("num_uavs", "scheme", "channel")) == where
