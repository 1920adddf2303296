"""Tables of the result store, version by version, and what SQLite's errors mean there.

Version 1 holds sweeps, points and metrics. Version 2 adds pictures; version 3 what was measured of a point, unit by
unit, and the command behind a sweep. An older file becomes one when the first of these is stored, and is read as it is
until then.
"""

import sqlite3
from typing import NamedTuple

SCHEMA_VERSION = 3
APPLICATION_ID = int.from_bytes(b"lvmt")

_POINTS = (
    "CREATE TABLE sweep (config_hash TEXT NOT NULL PRIMARY KEY, config TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE point (
        config_hash TEXT NOT NULL REFERENCES sweep, coordinates TEXT NOT NULL, seed INTEGER NOT NULL,
        snr_convention TEXT NOT NULL, snr_db REAL NOT NULL, realised_snr_db REAL, device TEXT NOT NULL,
        versions TEXT NOT NULL, ledger TEXT NOT NULL, created TEXT NOT NULL,
        PRIMARY KEY (config_hash, coordinates)) WITHOUT ROWID""",
    """CREATE TABLE metric (
        config_hash TEXT NOT NULL, coordinates TEXT NOT NULL, name TEXT NOT NULL,
        mean REAL NOT NULL, half_width REAL, count INTEGER NOT NULL,
        PRIMARY KEY (config_hash, coordinates, name),
        FOREIGN KEY (config_hash, coordinates) REFERENCES point) WITHOUT ROWID""",
    f"PRAGMA application_id = {APPLICATION_ID}",
)
_PICTURES = (
    """CREATE TABLE picture (
        config_hash TEXT NOT NULL REFERENCES sweep, coordinates TEXT NOT NULL, name TEXT NOT NULL,
        uav INTEGER NOT NULL, data BLOB NOT NULL,
        PRIMARY KEY (config_hash, coordinates, name, uav)) WITHOUT ROWID""",
    "PRAGMA user_version = 2",
)
_UNITS = (
    """CREATE TABLE measurement (
        config_hash TEXT NOT NULL, coordinates TEXT NOT NULL, names TEXT NOT NULL, data BLOB,
        PRIMARY KEY (config_hash, coordinates),
        FOREIGN KEY (config_hash, coordinates) REFERENCES point) WITHOUT ROWID""",
    """CREATE TABLE command (
        config_hash TEXT NOT NULL PRIMARY KEY REFERENCES sweep, command TEXT NOT NULL) WITHOUT ROWID""",
    "PRAGMA user_version = 3",
)


class Identity(NamedTuple):
    """Whose file it is: ``APPLICATION_ID`` in a result store, version of its schema, number of its tables.

    All are 0 in an empty file.
    """

    application: int
    version: int
    tables: int


def identify(connection: sqlite3.Connection) -> Identity:
    """Asks an open file whose it is."""
    queries = ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
    return Identity(*(connection.execute(query).fetchone()[0] for query in queries))


def make_tables(connection: sqlite3.Connection) -> None:
    """Makes what an empty file, or a store of an older version, lacks of version 3, within a transaction."""
    lacking = {0: (*_POINTS, *_PICTURES, *_UNITS), 1: (*_PICTURES, *_UNITS), 2: _UNITS}
    for statement in lacking.get(identify(connection).version, ()):
        connection.execute(statement)


def explain(error: sqlite3.Error, busy_timeout: float) -> str:
    """What an error of SQLite means for who uses the store; ``busy_timeout`` in seconds."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without the detail in the upper bits
    return {
        sqlite3.SQLITE_FULL: "no space left on the disk; the store is as it was before: make room and start again",
        sqlite3.SQLITE_BUSY: f"another process has kept it locked for {busy_timeout:g} s",
        sqlite3.SQLITE_NOTADB: "is no SQLite file, so no result store",
        sqlite3.SQLITE_CORRUPT: "is damaged, or cut off",
        sqlite3.SQLITE_READONLY: "is write-protected",
        sqlite3.SQLITE_CANTOPEN: "cannot be opened or made",
        # What else the tables demand is checked before.
        sqlite3.SQLITE_CONSTRAINT: "the sweep of a point or picture is not registered: call register(config) first",
    }.get(code, f"cannot be used ({error})")
