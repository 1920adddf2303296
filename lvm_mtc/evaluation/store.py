"""Results of sweeps in one SQLite file: a row a point, appended in transactions.

A kill at any moment, a full disk or a second process that writes the same sweep leave whole points and nothing else.
The file keeps SQLite's rollback journal with ``synchronous=FULL`` and not a write-ahead log: between two transactions
the one file is all there is, to be copied, mailed or kept on a network disk, and after a kill whoever opens it next
rolls the unfinished transaction back. A log would only save milliseconds a point, and points take seconds.

Imports nothing but the standard library.
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

from lvm_mtc.evaluation.points import (
    Measured,
    Point,
    StoredPicture,
    StoreError,
    Sweep,
    canonical_json,
    config_hash,
    flatten,
)
from lvm_mtc.evaluation.store_schema import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    Identity,
    explain,
    identify,
    make_tables,
    migrate,
)

_BUSY_TIMEOUT = 60.0


class ResultStore:
    """A file of results, open. A context manager; to be used by the thread that made it.

    Args:
        path: The file; made where it is missing.
        create: False refuses a path where there is no store.
        busy_timeout: How long to wait for another process that writes, seconds.

    Raises:
        StoreError: if it cannot be opened or made, is no store, is damaged, or is of another schema version.
    """

    def __init__(self, path: str | os.PathLike, *, create: bool = True, busy_timeout: float = _BUSY_TIMEOUT):
        self.path = Path(path)
        self._busy_timeout = busy_timeout
        if self.path.exists() and not self.path.is_file():
            raise StoreError(f"{self.path}: is no file, so no result store")
        if not create and not self.path.exists():
            raise StoreError(f"{self.path}: there is no such result store")
        # Where the file is write-protected, "rw" opens it for reading.
        uri = f"{self.path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
        try:
            self._connection = sqlite3.connect(uri, uri=True, timeout=busy_timeout, isolation_level=None)
        except sqlite3.Error as error:
            raise self._explained(error) from error
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
        """Makes a sweep known, before its first point; harmless where it is.

        Args:
            config: As ``config_hash``.

        Returns:
            The sweep's key.

        Raises:
            StoreError: if the configuration has no canonical JSON, or the store cannot be written to.
        """
        row = (config_hash(config), canonical_json(config, "config"))
        with self._transaction("IMMEDIATE") as connection:
            connection.execute("INSERT INTO sweep VALUES (?, ?) ON CONFLICT DO NOTHING", row)
        return row[0]

    def add(self, points: Iterable[Point]) -> int:
        """Stores points, all of them or none.

        Args:
            points: The points. One that is stored already, with the same numbers, is left as it is.

        Returns:
            How many were new.

        Raises:
            StoreError: if a point is stored with other numbers, its sweep is not registered, the disk is full or the
                store cannot be written to; the store is then as it was.
        """
        points, new = list(points), 0
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        with self._transaction("IMMEDIATE") as connection:
            for point in points:
                key = (point.config_hash, canonical_json(point.coordinates))
                row = (*key, point.seed, point.snr_convention, point.snr_db, point.realised_snr_db, point.device,
                       canonical_json(point.versions), canonical_json(point.ledger), point.created or now)
                insert = "INSERT INTO point VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
                if connection.execute(insert, row).rowcount:
                    new += 1
                    connection.executemany("INSERT INTO metric VALUES (?, ?, ?, ?, ?, ?)",
                                           [(*key, name, *value) for name, value in point.metrics.items()])
                    continue
                stored, = _select(connection, "WHERE config_hash = ? AND coordinates = ?", key)
                if stored != point:
                    raise StoreError(f"{self.path}: point {key[1]} of sweep {key[0][:12]} is stored with other "
                                     f"numbers: {_difference(stored, point)}")
        return new

    def missing(self, config_hash: str, coordinates: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Which of a sweep's points are not stored.

        Args:
            config_hash: The sweep.
            coordinates: The points that are wanted.

        Returns:
            Those that are missing, in the order given, each once.

        Raises:
            StoreError: if the store cannot be read.
        """
        wanted = {canonical_json(at, "coordinates"): at for at in coordinates}
        with self._transaction("DEFERRED") as connection:
            found = connection.execute("SELECT coordinates FROM point WHERE config_hash = ?", (config_hash,))
            stored = {text for text, in found}
        return [at for text, at in wanted.items() if text not in stored]

    def read(self, config_hash: str | None = None, at: Mapping[str, Any] | None = None) -> list[Point]:
        """Points that are stored.

        Args:
            config_hash: Of this sweep only; None for all.
            at: Coordinates that the points must have, such as ``{"snr_db": 10}``; others are free.

        Returns:
            The points, sweep after sweep, coordinates ascending, axes in alphabetical order.

        Raises:
            StoreError: if the store cannot be read.
        """
        where, values = ("", ()) if config_hash is None else ("WHERE config_hash = ?", (config_hash,))
        with self._transaction("DEFERRED") as connection:
            points = _select(connection, where, values)
        wanted = {(name, canonical_json(value, name)) for name, value in (at or {}).items()}
        points = [point for point in points if wanted <= {(name, canonical_json(value))
                                                          for name, value in point.coordinates.items()}]
        return sorted(points, key=_order)

    def add_pictures(self, pictures: Iterable[StoredPicture]) -> int:
        """Stores pictures, all of them or none. The first ones make a store of schema version 1 one of version 2.

        Args:
            pictures: The pictures. One that is stored already is left as it is.

        Returns:
            How many were new.

        Raises:
            StoreError: if a picture is not encoded, its sweep is not registered, the disk is full or the store cannot
                be written to; the store is then as it was.
        """
        rows = [(*one[:1], canonical_json(one.coordinates, "coordinates"), *one[2:]) for one in pictures]
        for *_, name, _, data in rows:
            if not isinstance(data, bytes) or not data:
                raise StoreError(f"StoredPicture.data of {name!r} must be bytes of an encoded picture, got "
                                 f"{type(data).__name__}")
        with self._transaction("IMMEDIATE") as connection:
            migrate(connection)
            return sum(connection.execute("INSERT INTO picture VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                                          row).rowcount for row in rows)

    def pictures(self, config_hash: str) -> list[StoredPicture]:
        """Pictures of a sweep.

        Args:
            config_hash: The sweep.

        Returns:
            The pictures, by coordinates, name and UAV; none from a store of schema version 1.

        Raises:
            StoreError: if the store cannot be read.
        """
        with self._transaction("DEFERRED") as connection:
            if identify(connection).version == 1:
                return []
            rows = connection.execute("SELECT * FROM picture WHERE config_hash = ? ORDER BY coordinates, name, uav",
                                      (config_hash,)).fetchall()
        return [StoredPicture(key, json.loads(at), *rest) for key, at, *rest in rows]

    def sweeps(self) -> list[Sweep]:
        """The sweeps, with or without points, the one that began first in front.

        Raises:
            StoreError: if the store cannot be read.
        """
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
            connection.execute(f"BEGIN {kind}")
            yield connection
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._explained(error) from error
        finally:
            # Should this fail too, the journal stays, and whoever opens the file next rolls it back.
            with contextlib.suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def _prepare(self, create: bool) -> None:
        """Makes the tables in an empty file and refuses every other that is no store."""
        with self._transaction("DEFERRED") as connection:
            identity = identify(connection)
        try:
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._connection.execute("PRAGMA synchronous = FULL")
        except sqlite3.Error as error:
            raise self._explained(error) from error
        if create and identity == Identity(0, 0, 0):
            with self._transaction("IMMEDIATE") as connection:
                if identify(connection) == Identity(0, 0, 0):  # no other process was faster
                    make_tables(connection)
                identity = identify(connection)
        if identity.application != APPLICATION_ID:
            raise StoreError(f"{self.path}: is an SQLite file, but no result store")
        if not 1 <= identity.version <= SCHEMA_VERSION:
            raise StoreError(f"{self.path}: is a result store of schema version {identity.version}; this program knows "
                             f"versions 1 to {SCHEMA_VERSION}")

    def _explained(self, error: sqlite3.Error) -> StoreError:
        return StoreError(f"{self.path}: {explain(error, self._busy_timeout)}")


def _select(connection: sqlite3.Connection, where: str, values: tuple) -> list[Point]:
    metrics: dict[tuple[str, str], dict[str, Measured]] = {}
    for config, at, name, *value in connection.execute(f"SELECT * FROM metric {where}", values):
        metrics.setdefault((config, at), {})[name] = Measured(*value)
    points = []
    for config, at, seed, convention, nominal, realised, device, versions, ledger, created in connection.execute(
        f"SELECT * FROM point {where}", values
    ):
        points.append(Point(
            config_hash=config, coordinates=json.loads(at), metrics=metrics[config, at], seed=seed,
            snr_convention=convention, snr_db=nominal, realised_snr_db=realised, ledger=json.loads(ledger),
            device=device, versions=json.loads(versions), created=created,
        ))
    return points


def _order(point: Point) -> tuple:
    """Numbers before texts, each among themselves."""
    at = [(name, *((0, value, "") if isinstance(value, (int, float)) else (1, 0, canonical_json(value))))
          for name, value in point.coordinates.items()]
    return point.config_hash, at


def _difference(stored: Point, point: Point) -> str:
    """The first entry in which two points differ."""
    before, now = flatten(stored.as_dict()), flatten(point.as_dict())
    ignored = {"created", "device"} | {name for name in before | now if name.startswith("versions.")}
    name = next(name for name in before | now if name not in ignored and before.get(name) != now.get(name))
    return f"{name} is {before.get(name)!r} there, {now.get(name)!r} here"
