"""What points of a store differ in besides their coordinates, in words; and which of several of one place is drawn."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lvm_mtc.results.parts import settings_of
from lvm_mtc.results.points import Point, canonical_json, flatten

_DIGEST = re.compile(r"[0-9a-f]{32,}")


class Settings:
    """Settings of a store's points, by their configurations."""

    def __init__(self, configs: Mapping[str, Mapping[str, Any]]):
        self._configs = configs
        self._flat: dict[tuple, dict[str, str]] = {}

    def of(self, point: Point) -> dict[str, str]:
        """Dotted name to value, as JSON."""
        key = point.config_hash, *(point.coordinates.get(axis) for axis in ("scheme", "channel", "num_uavs"))
        if key not in self._flat:
            settings = flatten(settings_of(self._configs[point.config_hash], point.coordinates))
            self._flat[key] = {name: canonical_json(value, name) for name, value in settings.items()}
        return self._flat[key]

    def once(self, points: Sequence[Point]) -> list[Point]:
        """Each place once: of points that differ in the number of units alone the one with the most."""
        best: dict[tuple, Point] = {}
        for point in points:
            settings = self.of(point)
            own = tuple(sorted(item for item in settings.items() if not item[0].startswith("stopping.")))
            place = own, canonical_json(point.coordinates)
            if place not in best or _units(point) > _units(best[place]):
                best[place] = point
        return list(best.values())

    def labels(self, points: Sequence[Point]) -> list[str]:
        """For each point in what it differs from others of its scheme and channel, ``"num_rx_ant 4"``; or nothing."""
        groups: dict[tuple, dict[str, list[str]]] = {}
        for point in points:
            known = groups.setdefault(_group(point), {})
            for name, value in self.of(point).items():
                values = known.setdefault(name, [])
                if value not in values:
                    values.append(value)

        def label(point: Point) -> str:
            known, own = groups[_group(point)], self.of(point)
            differing = {name: own[name] for name in own if len(known[name]) > 1}
            words = (f"{_word(name)} {_shown(value, known[name])}" for name, value in differing.items())
            return ", ".join(dict.fromkeys(words))

        return [label(point) for point in points]


def _group(point: Point) -> tuple:
    return point.snr_convention, *(str(point.coordinates.get(axis)) for axis in ("scheme", "channel"))


def _units(point: Point) -> int:
    return max(measured.count for measured in point.metrics.values())


def _word(name: str) -> str:
    """Last part of a dotted name that says something."""
    return "pictures" if name.startswith("pictures.") and name.endswith(".hash") else name.rpartition(".")[2]


def _shown(value: str, known: Sequence[str]) -> str:
    text = value.strip('"')
    return str(known.index(value) + 1) if _DIGEST.fullmatch(text) else text
