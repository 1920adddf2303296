"""Results of sweeps in one SQLite file: a row a point, appended in transactions.

A kill at any moment, a full disk or a second process that writes the same sweep leave whole points and nothing else.
The file keeps SQLite's rollback journal with ``synchronous=FULL`` and not a write-ahead log: between two transactions
the one file is all there is, to be copied, mailed or kept on a network disk, and after a kill whoever opens it next
rolls the unfinished transaction back. A log would only save milliseconds a point, and points take seconds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lvm_mtc.results.parts import is_part, parts_of
from lvm_mtc.results.points import Measurement, Point, StoredPicture, StoreError, Sweep, canonical_json
from lvm_mtc.results.points import config_hash as key_of
from lvm_mtc.results.queries import (
    AS_JSON,
    COLUMNS,
    among,
    difference,
    keys_of,
    lies,
    order,
    select,
    wishes,
    with_parts,
)
from lvm_mtc.results.schema import APPLICATION_ID, SCHEMA_VERSION, Identity, explain, identify, make_tables


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
        row = (key_of(config), canonical_json(config, "config"))
        with self._transaction("IMMEDIATE") as connection:
            connection.execute("INSERT INTO sweep VALUES (?, ?) ON CONFLICT DO NOTHING", row)
        return row[0]

    def choose(self, config: Mapping[str, Any], command: Mapping[str, Any] | None = None) -> str:
        """Registers a sweep of rows that stand under the keys of its parts; returns its key.

        Sweeps whose place it takes are forgotten, and none of their rows: the one that had its name, and those without
        a name of which it has all parts.

        Args:
            command: What computes it, in plain values.

        Raises:
            StoreError: if a sweep of its name has rows under its own key, so that it is of other settings.
        """
        key, parts, name = key_of(config), set(map(key_of, parts_of(config))), config.get("name")
        replaced = []
        for other in self.sweeps():
            covered = set(map(key_of, parts_of(other.config)))
            if other.config_hash == key or not covered or other.config.get("name") != name:
                continue
            if self._holds_rows(other.config_hash):
                if name is not None:
                    says = f"holds a sweep {name!r} with other settings; take another store or name"
                    raise StoreError(f"{self.path}: {says}")
            elif name is not None or (covered <= parts and wishes(other.config) <= wishes(config)):
                replaced.append((other.config_hash,))
        self.register(config)
        with self._transaction("IMMEDIATE") as connection:
            make_tables(connection)
            for table in ("picture", "command", "sweep"):
                connection.executemany(f"DELETE FROM {table} WHERE config_hash = ?", replaced)
            if command is not None:
                row = (key, canonical_json(command, "command"))
                connection.execute("INSERT OR REPLACE INTO command VALUES (?, ?)", row)
        return key

    def command(self, config_hash: str) -> dict[str, Any] | None:
        """What computes a sweep, as :meth:`choose` was given it; None where it was not."""
        with self._transaction("DEFERRED") as connection:
            if identify(connection).version < 3:
                return None
            row = connection.execute("SELECT command FROM command WHERE config_hash = ?", (config_hash,)).fetchone()
        return None if row is None else json.loads(row[0])

    def add(self, points: Iterable[Point], measurements: Iterable[Measurement] = ()) -> int:
        """Stores points, all of them or none; returns how many were new.

        One that is stored already, with the same numbers, is left as it is. To one that comes with a measurement the
        metrics are added that it lacks.

        Raises:
            StoreError: if a point is stored with other numbers, or its sweep is not registered.
        """
        points, new = list(points), 0
        beside = {(one.config_hash, canonical_json(one.coordinates)): one for one in measurements}
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        with self._transaction("IMMEDIATE") as connection:
            for point in points:
                row = {name: getattr(point, name) for name in COLUMNS} | {"created": point.created or now}
                row |= {name: canonical_json(row[name]) for name in AS_JSON}
                key = (row["config_hash"], row["coordinates"])
                insert = f"INSERT INTO point VALUES ({', '.join('?' * len(row))}) ON CONFLICT DO NOTHING"
                is_new = connection.execute(insert, tuple(row.values())).rowcount
                new += is_new
                if is_new or key in beside:
                    metrics = [(*key, name, *value) for name, value in point.metrics.items()]
                    insert = "INSERT INTO metric VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
                    connection.executemany(insert, metrics)
                    continue
                (stored,) = select(connection, "WHERE config_hash = ? AND coordinates = ?", key)
                if stored != point:
                    which = f"point {key[1]} of sweep {key[0][:12]}"
                    raise StoreError(f"{self.path}: {which} is stored with other numbers: {difference(stored, point)}")
            if beside:
                make_tables(connection)
                rows = [(*key, json.dumps(one.names), one.data) for key, one in beside.items()]
                connection.executemany("INSERT OR REPLACE INTO measurement VALUES (?, ?, ?, ?)", rows)
        return new

    def measurements(
        self, config_hash: str, at: Mapping[str, Any] | None = None, *, data: bool = True
    ) -> list[Measurement]:
        """What was measured of the points under a key, or of one of them; none from a store of version 1 or 2.

        Args:
            config_hash: Of a part, or of a sweep whose rows stand under its own key.
            data: False leaves the values out, which may be large.
        """
        where, values = "WHERE config_hash = ?", [config_hash]
        if at is not None:
            where, values = f"{where} AND coordinates = ?", [*values, canonical_json(at, "coordinates")]
        columns = f"config_hash, coordinates, names, {'data' if data else 'NULL'}"
        with self._transaction("DEFERRED") as connection:
            if identify(connection).version < 3:
                return []
            rows = connection.execute(f"SELECT {columns} FROM measurement {where}", values).fetchall()
        return [Measurement(key, json.loads(at), tuple(json.loads(names)), of) for key, at, names, of in rows]

    def missing(self, config_hash: str, coordinates: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Which points are not stored under a key, in the order given, each once."""
        wanted = {canonical_json(at, "coordinates"): at for at in coordinates}
        with self._transaction("DEFERRED") as connection:
            rows = connection.execute("SELECT coordinates FROM point WHERE config_hash = ?", (config_hash,))
            stored = {text for (text,) in rows}
        return [at for text, at in wanted.items() if text not in stored]

    def read(
        self, config_hash: str | None = None, at: Mapping[str, Any] | None = None, *, parts: bool = True
    ) -> list[Point]:
        """Points that are stored, sweep after sweep, coordinates ascending, axes in alphabetical order.

        Args:
            config_hash: Of this sweep only, with the rows of its parts, each under the sweep's key; None for every row
                once, under the key by which it is stored.
            at: Coordinates that the points must have, such as ``{"snr_db": 10}``; others are free.
            parts: False: only what stands under the sweep's own key.
        """
        with self._transaction("DEFERRED") as connection:
            keys = None if config_hash is None else keys_of(connection, config_hash) if parts else [config_hash]
            points = select(connection, *among(keys))
        if keys is not None and len(keys) > 1:
            own_last = sorted(points, key=lambda point: point.config_hash == config_hash)
            once = {canonical_json(point.coordinates): point for point in own_last}
            points = [dataclasses.replace(point, config_hash=config_hash) for point in once.values()]
        return sorted((point for point in points if lies(point.coordinates, at)), key=order)

    def delete(self, config_hash: str | None = None, at: Mapping[str, Any] | None = None) -> int:
        """Deletes points, and what was measured of them, chosen as by :meth:`read`; returns how many there were."""
        with self._transaction("IMMEDIATE") as connection:
            where, values = among(None if config_hash is None else keys_of(connection, config_hash))
            rows = connection.execute(f"SELECT config_hash, coordinates FROM point {where}", values).fetchall()
            rows = [row for row in rows if lies(json.loads(row[1]), at)]
            tables = ("metric", "point") if identify(connection).version < 3 else ("measurement", "metric", "point")
            for table in tables:
                connection.executemany(f"DELETE FROM {table} WHERE config_hash = ? AND coordinates = ?", rows)
        return len(rows)

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

    def sweeps(self, *, parts: bool = False) -> list[Sweep]:
        """The sweeps, with or without points, the one that began first in front; or what rows stand under.

        Args:
            parts: False: sweeps, each with the points of its parts. True: every key under which rows stand, once.
        """
        with self._transaction("DEFERRED") as connection:
            rows = connection.execute(
                "SELECT config_hash, config, count(coordinates), min(created), max(created) FROM sweep "
                "LEFT JOIN point USING (config_hash) GROUP BY config_hash"
            ).fetchall()
        known = {key: Sweep(key, json.loads(config), *rest) for key, config, *rest in rows}
        if parts:
            found = [sweep for sweep in known.values() if sweep.num_points]
        else:
            found = [with_parts(sweep, known) for sweep in known.values() if not is_part(sweep.config)]
        return sorted(found, key=lambda sweep: (sweep.first or "", sweep.config_hash))

    def keys_of(self, config_hash: str) -> list[str]:
        """Under which keys the rows of a sweep stand: its own and those of its parts."""
        with self._transaction("DEFERRED") as connection:
            return keys_of(connection, config_hash)

    def _holds_rows(self, key: str) -> bool:
        with self._transaction("DEFERRED") as connection:
            return (
                connection.execute("SELECT 1 FROM point WHERE config_hash = ? LIMIT 1", (key,)).fetchone() is not None
            )

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
