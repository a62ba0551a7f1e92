"""Databases come back: found in the newest good archive, restored beside, compared, swapped in."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath

import psycopg

from rota.adapters import borg, mariadb, postgres, sqlite
from rota.core.errors import RotaError
from rota.core.fingerprint import Fingerprint, differences
from rota.packs.backup import manifest, sources
from rota.packs.backup.manifest import Kind, Manifest, ManifestUnreadable, Source
from rota.packs.backup.sources import DumpDamaged

Say = Callable[[str], None]


class NoGoodBackup(RotaError):
    """There is no good backup to restore."""


class NotAsRecorded(RotaError):
    """A restored database is not what was recorded when it was backed up."""


class NotInBackup(RotaError):
    """The archive does not hold this source."""


class BackupSuspect(RotaError):
    """The archive was marked when it was made."""


class ProductionUnconfirmed(RotaError):
    """This host is production."""


@dataclass(frozen=True)
class Found:
    """A dump that was extracted and is as its manifest says."""

    archive: str
    manifest: Manifest
    source: Source
    file: Path


def require_confirmed(environment: str, *, confirmed: bool) -> None:
    """Raise `ProductionUnconfirmed` unless somebody has said that production may be replaced."""
    if environment == "production" and not confirmed:
        raise ProductionUnconfirmed("restoring replaces what it has; say --confirmed if that is what you want")


def candidates(archives: Sequence[borg.Archive], at: datetime | None) -> list[borg.Archive]:
    """Newest first, none from after `at`. Raises `NoGoodBackup` where there is none."""
    # Borg tells whole seconds; the name decides between two of the same.
    ordered = sorted(archives, key=lambda one: (one.at, one.name), reverse=True)
    chosen = [one for one in ordered if at is None or one.at <= at]
    if not chosen:
        oldest = min((one.at for one in archives), default=None)
        known = f"the oldest is of {oldest:%Y-%m-%d %H:%M} UTC" if oldest else "there are no archives at all"
        raise NoGoodBackup(f"none at or before {at:%Y-%m-%d %H:%M} UTC; {known}" if at else known)
    return chosen


def good_ones(
    repository: borg.Repository, archives: Sequence[borg.Archive], kind: Kind, name: str, folder: Path, say: Say
) -> Iterator[Found]:
    """Extract the dump from one archive after the other, telling why each bad one is passed over."""
    for archive in archives:
        try:
            yield found(repository, archive.name, kind, name, folder, even_suspect=len(archives) == 1)
        except (borg.BorgFailed, ManifestUnreadable, DumpDamaged, NotInBackup, BackupSuspect) as error:
            say(f"{archive.name} is passed over. {error}")


def found(
    repository: borg.Repository, archive: str, kind: Kind, name: str, folder: Path, *, even_suspect: bool = False
) -> Found:
    """Extract one dump and hold it against its manifest."""
    made = manifest.read(borg.read(repository, archive, manifest.FILE))
    source = made.named(kind, name)
    if source is None:
        raise NotInBackup(f"{kind} {name} in {archive}")
    if made.shrunken and not even_suspect:
        raise BackupSuspect(f"{'; '.join(made.shrunken)}; to use it nevertheless: --archive {archive}")
    file = folder / manifest.file_name(kind, name)
    borg.extract(repository, archive, source.path, file)
    sources.require_whole(source, file)
    return Found(archive, made, source, file)


def first_good(dumps: Iterator[Found]) -> Found:
    """The first dump that is whole. Raises `NoGoodBackup`."""
    dump = next(dumps, None)
    if dump is None:
        raise NoGoodBackup("every archive was passed over; the reasons are above")
    return dump


def restore_first_good(dumps: Iterator[Found], now: datetime, say: Say) -> Found:
    """Put the first dump in place that restores to what was recorded. Raises `NoGoodBackup`."""
    for dump in dumps:
        say(f"{dump.archive}: {dump.source.path} is whole, {dump.source.size} bytes")
        try:
            put_in_place(dump, now, say)
        except (postgres.ProgramFailed, NotAsRecorded, sqlite.DatabaseDamaged) as error:
            say(f"{dump.archive} is passed over. {error}")
        else:
            return dump
    raise NoGoodBackup("every archive was passed over; the reasons are above")


def put_in_place(dump: Found, now: datetime, say: Say) -> None:
    """Restore beside, compare, swap. Until the swap nothing that is in use has changed."""
    if dump.source.kind is Kind.POSTGRESQL:
        _swap_postgres(dump, now, say)
    elif dump.source.kind is Kind.SQLITE:
        _swap_sqlite(dump, now, say)
    else:
        raise NotInBackup(f"{dump.source.kind} {dump.source.name}: only postgresql and sqlite are swapped in")


def restore_files(repository: borg.Repository, archives: Sequence[borg.Archive], target: Path, now: datetime) -> str:
    """Bring a directory back beside and swap it in by renames; returns the archive it is from.

    What was there is kept as `DIRECTORY.before-TIMESTAMP`. Interrupted before the swap, nothing has changed; between
    its two renames, the directory of that name is all that has to be renamed back.
    """
    archive = archives[0]
    source = manifest.read(borg.read(repository, archive.name, manifest.FILE)).named(Kind.DIRECTORY, str(target))
    if source is None:
        raise NotInBackup(f"directory {target} in {archive.name}")
    beside = target.with_name(f".{target.name}.restoring")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(mode=0o700, parents=True)
    borg.run(repository, borg.extract_tree_command(archive.name, PurePosixPath(target)), folder=beside, may_warn=False)
    if target.exists():
        shutil.copystat(target, beside)
        os.chown(beside, target.stat().st_uid, target.stat().st_gid)
        target.rename(target.with_name(f"{target.name}.before-{now:%Y%m%dT%H%M%SZ}"))
    beside.rename(target)
    return archive.name


def drill(dump: Found, now: datetime, role: str, *, with_mariadb: bool) -> int:
    """Restore a dump into a scratch database, compare, drop it; returns the rows. Raises `NotAsRecorded`.

    On PostgreSQL all of that is done as `role`, which may nothing but own that database.
    """
    if dump.source.kind is Kind.POSTGRESQL:
        tables = _drill_postgres(dump, now, role)
    elif dump.source.kind is Kind.SQLITE:
        tables = sqlite.fingerprint(dump.file)
    elif with_mariadb:
        tables = _drill_mariadb(dump, now)
    else:
        with dump.file.open("rb") as lines:
            tables = mariadb.fingerprint_lines(lines)
    require_as_recorded(dump.source, tables)
    return sum(table.rows for table in tables.values())


def require_as_recorded(source: Source, tables: dict[str, Fingerprint]) -> None:
    """Raise `NotAsRecorded` naming every table that differs."""
    wrong = differences(source.tables or {}, tables)
    if wrong:
        raise NotAsRecorded(f"{source.name}: {'; '.join(wrong)}")


def _swap_postgres(dump: Found, now: datetime, say: Say) -> None:
    name = dump.source.name
    with postgres.restoring(name) as session:
        role = postgres.owner_of(name)
        owner = postgres.as_role(role)
        scratch = postgres.create_scratch(name, now, role=role, session=session)
        say(f"restoring into {scratch}")
        try:
            postgres.restore_as(owner, scratch, dump.file)
            require_as_recorded(dump.source, _postgres_tables(scratch, owner))
            postgres.hand_over(scratch, role, role)
            say("every table is as it was recorded")
            before = postgres.swap(scratch, name, now)
        except BaseException:  # an interruption as well
            postgres.drop_scratch(scratch)
            raise
    say(f"{name} is in place; what it was before is {before}" if before else f"{name} is in place")


def _swap_sqlite(dump: Found, now: datetime, say: Say) -> None:
    target = Path(dump.source.name)
    require_as_recorded(dump.source, sqlite.fingerprint(dump.file))
    before = sqlite.swap(dump.file, target, now)
    say(f"{target} is in place; what it was before is {before}" if before else f"{target} is in place")


def _drill_postgres(dump: Found, now: datetime, role: str) -> dict[str, Fingerprint]:
    with postgres.restoring("drill") as session:
        guest = postgres.as_role(role)
        postgres.forget_settings(role, session)
        scratch = postgres.create_scratch("drill", now, role=role, session=session)
        try:
            postgres.restore_as(guest, scratch, dump.file, privileges=False)
            return _postgres_tables(scratch, guest)
        finally:
            postgres.drop_scratch(scratch)


def _drill_mariadb(dump: Found, now: datetime) -> dict[str, Fingerprint]:
    scratch = f"drill_{dump.source.name}_{now:%Y%m%dT%H%M%SZ}"
    mariadb.create(scratch)
    try:
        mariadb.restore_into(scratch, dump.file)
        return mariadb.fingerprint(scratch)
    finally:
        mariadb.drop(scratch)


def _postgres_tables(database: str, role: postgres.Server) -> dict[str, Fingerprint]:
    """Reading a table runs code of its owner as well, where rows have a cast of their own."""
    try:
        with postgres.connect(database, role) as connection:
            return postgres.fingerprint(connection)
    except psycopg.Error as error:
        raise NotAsRecorded(f"its tables cannot be read: {str(error).splitlines()[0]}") from error
