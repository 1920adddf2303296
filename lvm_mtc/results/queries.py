"""Rows of a result store as points, and which of them belong to a sweep."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from lvm_mtc.results.parts import parts_of
from lvm_mtc.results.points import Measured, Point, Sweep, canonical_json, flatten
from lvm_mtc.results.points import config_hash as key_of

COLUMNS = (
    "config_hash", "coordinates", "seed", "snr_convention", "snr_db", "realised_snr_db", "device", "versions", "ledger",
    "created",
)  # fmt: skip
AS_JSON = ("coordinates", "versions", "ledger")


def keys_of(connection: sqlite3.Connection, key: str) -> list[str]:
    """Under which keys the rows of a sweep stand: its own and those of its parts."""
    row = connection.execute("SELECT config FROM sweep WHERE config_hash = ?", (key,)).fetchone()
    return [key] if row is None else [key, *map(key_of, parts_of(json.loads(row[0])))]


def among(keys: Sequence[str] | None) -> tuple[str, Sequence[str]]:
    """Condition on rows that stand under these keys, with its values; None for all rows."""
    return ("", ()) if keys is None else (f"WHERE config_hash IN ({', '.join('?' * len(keys))})", keys)


def lies(coordinates: Mapping[str, Any], at: Mapping[str, Any] | None) -> bool:
    """Whether coordinates have those of ``at``."""
    wanted = {(name, canonical_json(value, name)) for name, value in (at or {}).items()}
    return wanted <= {(name, canonical_json(value)) for name, value in coordinates.items()}


def wishes(config: Mapping[str, Any]) -> set[str]:
    """Metrics that a sweep wants."""
    return set(config.get("metrics", ()))


def with_parts(sweep: Sweep, known: Mapping[str, Sweep]) -> Sweep:
    """A sweep with the points of its parts counted in."""
    among = [sweep, *(known[key] for key in map(key_of, parts_of(sweep.config)) if key in known)]
    among = [one for one in among if one.num_points]
    if not among:
        return sweep
    count = sum(one.num_points for one in among)
    first = min(one.first for one in among if one.first is not None)
    last = max(one.last for one in among if one.last is not None)
    return sweep._replace(num_points=count, first=first, last=last)


def select(connection: sqlite3.Connection, where: str, values: Sequence[Any]) -> list[Point]:
    """Points under a condition on their rows, within a transaction."""
    metrics: dict[tuple[str, str], dict[str, Measured]] = {}
    for config, at, name, *value in connection.execute(f"SELECT * FROM metric {where}", values):
        metrics.setdefault((config, at), {})[name] = Measured(*value)
    points = []
    for row in connection.execute(f"SELECT * FROM point {where}", values):
        fields = dict(zip(COLUMNS, row, strict=True))
        fields |= {name: json.loads(fields[name]) for name in AS_JSON}
        points.append(Point(metrics=metrics[row[:2]], **fields))
    return points


def order(point: Point) -> tuple:
    """Numbers before texts, each among themselves."""
    at = [
        (name, *((0, value, "") if isinstance(value, (int, float)) else (1, 0, canonical_json(value))))
        for name, value in point.coordinates.items()
    ]
    return point.config_hash, at


def difference(stored: Point, point: Point) -> str:
    """The first entry in which two points differ."""
    before, now = flatten(stored.as_dict()), flatten(point.as_dict())
    ignored = {"created", "device"} | {name for name in before | now if name.startswith("versions.")}
    name = next(name for name in before | now if name not in ignored and before.get(name) != now.get(name))
    return f"{name} is {before.get(name)!r} there, {now.get(name)!r} here"
