"""SQLite: a consistent copy of a database in use, and what its tables hold."""

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path

from rota.core.errors import RotaError
from rota.core.fingerprint import Fingerprint

JOURNALS = ("-wal", "-shm", "-journal")
PATIENCE = 5  # seconds to wait for a writer to finish


class DatabaseDamaged(RotaError):
    """SQLite finds its database file damaged."""


class DatabaseInUse(RotaError):
    """Somebody is writing to the SQLite database."""


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

    Who has the old one open goes on with the old one: stop its users first. Raises `DatabaseInUse` where SQLite knows
    of one. Journals go with the old one, since SQLite would play them into the new one.
    """
    beside = target.with_name(target.name + ".restored")
    shutil.copyfile(file, beside)
    before = target.with_name(f"{target.name}.before-{now:%Y%m%dT%H%M%SZ}") if target.exists() else None
    if before:
        shutil.copystat(target, beside)
        os.chown(beside, target.stat().st_uid, target.stat().st_gid)
        _settle(target)
        os.link(target, before)
        for journal in JOURNALS:  # there are still some only where the old one is past settling
            with suppress(FileNotFoundError):
                target.with_name(target.name + journal).rename(before.with_name(before.name + journal))
    _sync(beside)
    beside.replace(target)
    _sync(target.parent)
    return before


def _settle(database: Path) -> None:
    """Let SQLite bring into the file what its journals hold, and take back what a crashed writer left half done."""
    with closing(sqlite3.connect(database, timeout=PATIENCE)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise DatabaseInUse(f"{database}; stop what uses it") from error
        except sqlite3.DatabaseError:
            return  # damaged, which may be why it is being replaced


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
