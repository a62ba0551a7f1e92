"""SQLite: a consistent copy of a database in use, and what its tables hold."""

import os
import shutil
import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

from rota.core.errors import RotaError
from rota.core.fingerprint import Fingerprint


class DatabaseDamaged(RotaError):
    """SQLite finds its database file damaged."""


class DatabaseMissing(RotaError):
    """There is no SQLite database file."""


def copy(database: Path, file: Path) -> dict[str, Fingerprint]:
    """Copy `database` by SQLite's backup interface, which sees one moment of it, and fingerprint the copy.

    `file` appears whole or not at all.
    """
    if not database.is_file():
        raise DatabaseMissing(str(database))
    beside = file.with_name(file.name + ".part")
    beside.unlink(missing_ok=True)
    with closing(_open(database)) as source, closing(sqlite3.connect(beside)) as target:
        source.backup(target)
    found = fingerprint(beside)
    beside.replace(file)
    return found


def fingerprint(database: Path) -> dict[str, Fingerprint]:
    """What every table holds, once SQLite has found the file sound."""
    with closing(_open(database)) as connection:
        try:
            (verdict, *_) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            if verdict != "ok":
                raise DatabaseDamaged(f"{database}: {verdict}")
            return {name: _table(connection, name) for name in _tables(connection)}
        except sqlite3.DatabaseError as error:
            raise DatabaseDamaged(f"{database}: {error}") from error


def swap(file: Path, target: Path, now: datetime) -> Path | None:
    """Put a database file in place of `target` by rename; returns where the one before it is now kept.

    Who has the old one open goes on with the old one: stop its users first. Their journal files go with it, since
    SQLite would play them into the new one.
    """
    beside = target.with_name(target.name + ".restored")
    shutil.copyfile(file, beside)
    before = target.with_name(f"{target.name}.before-{now:%Y%m%dT%H%M%SZ}") if target.exists() else None
    if before:
        shutil.copystat(target, beside)
        os.chown(beside, target.stat().st_uid, target.stat().st_gid)
        with closing(sqlite3.connect(target)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        os.link(target, before)
    for journal in ("-wal", "-shm", "-journal"):
        target.with_name(target.name + journal).unlink(missing_ok=True)
    with beside.open("rb") as written:
        os.fsync(written.fileno())
    beside.replace(target)
    return before


def _open(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)


def _tables(connection: sqlite3.Connection) -> list[str]:
    # Shadow tables of full-text indexes are tables as well, so nothing a search needs goes unchecked.
    query = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'shadow') ORDER BY 1"
    return [str(name) for (name,) in connection.execute(query) if not str(name).startswith("sqlite_")]


def _table(connection: sqlite3.Connection, name: str) -> Fingerprint:
    quoted = name.replace('"', '""')
    rows = connection.execute(f'SELECT * FROM "{quoted}"')  # noqa: S608 - a name cannot be bound, so it is quoted
    return Fingerprint.of(repr(row).encode() for row in rows)
