"""Results of sweeps in one SQLite file: a row a point, appended in transactions.

A kill at any moment, a full disk or a second process that writes the same sweep leave whole points and nothing else.
The file keeps SQLite's rollback journal with ``synchronous=FULL`` and not a write-ahead log: between two transactions
the one file is all there is, to be copied, mailed or kept on a network disk, and after a kill whoever opens it next
rolls the unfinished transaction back. A log would only save milliseconds a point, and points take seconds.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lvm_mtc.results.points import (
    Measured,
    Point,
    StoredPicture,
    StoreError,
    Sweep,
    canonical_json,
    config_hash,
    flatten,
)
from lvm_mtc.results.schema import APPLICATION_ID, SCHEMA_VERSION, Identity, explain, identify, make_tables

_COLUMNS = (
    "config_hash", "coordinates", "seed", "snr_convention", "snr_db", "realised_snr_db", "device", "versions", "ledger",
    "created",
)  # fmt: skip
_AS_JSON = ("coordinates", "versions", "ledger")


class ResultStore:
    """A file of results, open. A context manager; to be used by the thread that made it.

    All methods raise ``StoreError``, one line, where the file cannot be read or, in those that write, written to; the
    store is then as it was.

    Args:
        path: The file; made where it is missing.
        create: False refuses a path where there is no store.
        busy_timeout: How long to wait for another process that writes, seconds.
    """

    def __init__(self, path: str | os.PathLike, *, create: bool = True, busy_timeout: float = 60.0):
        self.path = Path(path)
        self._busy_timeout = busy_timeout
        if self.path.exists() and not self.path.is_file():
            raise StoreError(f"{self.path}: is no file, so no result store")
        if not create and not self.path.exists():
            raise StoreError(f"{self.path}: there is no such result store")
        # Where the file is write-protected, "rw" opens it for reading.
        uri = f"{self.path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
        with self._explained():
            self._connection = sqlite3.connect(uri, uri=True, timeout=busy_timeout, isolation_level=None)
        try:
            self._prepare(create)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> ResultStore:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; harmless the second time."""
        self._connection.close()

    def register(self, config: Mapping[str, Any]) -> str:
        """Makes a sweep known, before its first point, and returns its key; harmless where it is."""
        row = (config_hash(config), canonical_json(config, "config"))
        with self._transaction("IMMEDIATE") as connection:
            connection.execute("INSERT INTO sweep VALUES (?, ?) ON CONFLICT DO NOTHING", row)
        return row[0]

    def add(self, points: Iterable[Point]) -> int:
        """Stores points, all of them or none; returns how many were new.

        One that is stored already, with the same numbers, is left as it is.

        Raises:
            StoreError: if a point is stored with other numbers, or its sweep is not registered.
        """
        points, new = list(points), 0
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        with self._transaction("IMMEDIATE") as connection:
            for point in points:
                row = {name: getattr(point, name) for name in _COLUMNS} | {"created": point.created or now}
                row |= {name: canonical_json(row[name]) for name in _AS_JSON}
                key = (row["config_hash"], row["coordinates"])
                insert = f"INSERT INTO point VALUES ({', '.join('?' * len(row))}) ON CONFLICT DO NOTHING"
                if connection.execute(insert, tuple(row.values())).rowcount:
                    new += 1
                    metrics = [(*key, name, *value) for name, value in point.metrics.items()]
                    connection.executemany("INSERT INTO metric VALUES (?, ?, ?, ?, ?, ?)", metrics)
                    continue
                (stored,) = _select(connection, "WHERE config_hash = ? AND coordinates = ?", key)
                if stored != point:
                    which = f"point {key[1]} of sweep {key[0][:12]}"
                    raise StoreError(f"{self.path}: {which} is stored with other numbers: {_difference(stored, point)}")
        return new

    def missing(self, config_hash: str, coordinates: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Which of a sweep's points are not stored, in the order given, each once."""
        wanted = {canonical_json(at, "coordinates"): at for at in coordinates}
        with self._transaction("DEFERRED") as connection:
            rows = connection.execute("SELECT coordinates FROM point WHERE config_hash = ?", (config_hash,))
            stored = {text for (text,) in rows}
        return [at for text, at in wanted.items() if text not in stored]

    def read(self, config_hash: str | None = None, at: Mapping[str, Any] | None = None) -> list[Point]:
        """Points that are stored, sweep after sweep, coordinates ascending, axes in alphabetical order.

        Args:
            config_hash: Of this sweep only; None for all.
            at: Coordinates that the points must have, such as ``{"snr_db": 10}``; others are free.
        """
        where, values = ("", ()) if config_hash is None else ("WHERE config_hash = ?", (config_hash,))
        with self._transaction("DEFERRED") as connection:
            points = _select(connection, where, values)
        wanted = {(name, canonical_json(value, name)) for name, value in (at or {}).items()}

        def has(point: Point) -> bool:
            return wanted <= {(name, canonical_json(value)) for name, value in point.coordinates.items()}

        return sorted(filter(has, points), key=_order)

    def add_pictures(self, pictures: Iterable[StoredPicture]) -> int:
        """Stores pictures, all of them or none; returns how many were new.

        The first ones make a store of schema version 1 one of version 2. One that is stored already is left as it is.

        Raises:
            StoreError: if a picture is not encoded, or its sweep is not registered.
        """
        rows = [(key, canonical_json(at, "coordinates"), *rest) for key, at, *rest in pictures]
        for *_, name, _, data in rows:
            if not isinstance(data, bytes) or not data:
                got = f"got {type(data).__name__}"
                raise StoreError(f"StoredPicture.data of {name!r} must be bytes of an encoded picture, {got}")
        insert = "INSERT INTO picture VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
        with self._transaction("IMMEDIATE") as connection:
            make_tables(connection)
            return sum(connection.execute(insert, row).rowcount for row in rows)

    def pictures(self, config_hash: str) -> list[StoredPicture]:
        """Pictures of a sweep, by coordinates, name and UAV; none from a store of schema version 1."""
        with self._transaction("DEFERRED") as connection:
            if identify(connection).version == 1:
                return []
            query = "SELECT * FROM picture WHERE config_hash = ? ORDER BY coordinates, name, uav"
            rows = connection.execute(query, (config_hash,)).fetchall()
        return [StoredPicture(key, json.loads(at), *rest) for key, at, *rest in rows]

    def sweeps(self) -> list[Sweep]:
        """The sweeps, with or without points, the one that began first in front."""
        with self._transaction("DEFERRED") as connection:
            rows = connection.execute(
                "SELECT config_hash, config, count(coordinates), min(created), max(created) FROM sweep "
                "LEFT JOIN point USING (config_hash) GROUP BY config_hash ORDER BY min(created), config_hash"
            ).fetchall()
        return [Sweep(key, json.loads(config), *rest) for key, config, *rest in rows]

    @contextlib.contextmanager
    def _transaction(self, kind: str) -> Iterator[sqlite3.Connection]:
        connection = self._connection
        try:
            with self._explained():
                connection.execute(f"BEGIN {kind}")
                yield connection
                connection.execute("COMMIT")
        finally:
            # Should this fail too, the journal stays, and whoever opens the file next rolls it back.
            with contextlib.suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def _prepare(self, create: bool) -> None:
        """Makes the tables in an empty file and refuses every other that is no store."""
        with self._transaction("DEFERRED") as connection:
            identity = identify(connection)
        with self._explained():
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._connection.execute("PRAGMA synchronous = FULL")
        if create and identity == Identity(0, 0, 0):
            with self._transaction("IMMEDIATE") as connection:
                if identify(connection) == Identity(0, 0, 0):  # no other process was faster
                    make_tables(connection)
                identity = identify(connection)
        if identity.application != APPLICATION_ID:
            raise StoreError(f"{self.path}: is an SQLite file, but no result store")
        if not 1 <= identity.version <= SCHEMA_VERSION:
            known = f"this program knows versions 1 to {SCHEMA_VERSION}"
            raise StoreError(f"{self.path}: is a result store of schema version {identity.version}; {known}")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: {explain(error, self._busy_timeout)}") from error


def _select(connection: sqlite3.Connection, where: str, values: tuple) -> list[Point]:
    metrics: dict[tuple[str, str], dict[str, Measured]] = {}
    for config, at, name, *value in connection.execute(f"SELECT * FROM metric {where}", values):
        metrics.setdefault((config, at), {})[name] = Measured(*value)
    points = []
    for row in connection.execute(f"SELECT * FROM point {where}", values):
        fields = dict(zip(_COLUMNS, row, strict=True))
        fields |= {name: json.loads(fields[name]) for name in _AS_JSON}
        points.append(Point(metrics=metrics[row[:2]], **fields))
    return points


def _order(point: Point) -> tuple:
    """Numbers before texts, each among themselves."""
    at = [
        (name, *((0, value, "") if isinstance(value, (int, float)) else (1, 0, canonical_json(value))))
        for name, value in point.coordinates.items()
    ]
    return point.config_hash, at


def _difference(stored: Point, point: Point) -> str:
    """The first entry in which two points differ."""
    before, now = flatten(stored.as_dict()), flatten(point.as_dict())
    ignored = {"created", "device"} | {name for name in before | now if name.startswith("versions.")}
    name = next(name for name in before | now if name not in ignored and before.get(name) != now.get(name))
    return f"{name} is {before.get(name)!r} there, {now.get(name)!r} here"
