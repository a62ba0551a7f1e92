"""One source at a time: dumped into the working folder, and checked against its manifest after extraction."""

import hashlib
import os
import stat
from datetime import datetime
from pathlib import Path

from rota.adapters import mariadb, postgres, sqlite
from rota.core.errors import RotaError
from rota.packs.backup.manifest import Kind, Source, file_name

CLOCK_TICK = 1  # seconds: a file system may date a change a little before the clock


class SourceMissing(RotaError):
    """A directory that is to be backed up is missing."""


class DumpDamaged(RotaError):
    """A dump is not what its manifest says."""


def dump(kind: Kind, name: str, folder: Path) -> Source:
    """Bring one source into `folder` and say what it is. A directory stays where it is: borg reads it there."""
    if kind is Kind.DIRECTORY:
        return measure(Path(name))
    file = folder / kind / file_name(kind, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    tables = _dump_tables(kind, name, file)
    return Source(kind, name, file.stat().st_size, sha256=digest(file), tables=tables)


def measure(folder: Path) -> Source:
    """How many regular files a directory holds, and how many bytes in them. Files may come and go meanwhile."""
    if not folder.is_dir():
        raise SourceMissing(str(folder))
    found = [status for status in map(_status, _files(folder)) if status and stat.S_ISREG(status.st_mode)]
    return Source(Kind.DIRECTORY, str(folder), sum(status.st_size for status in found), files=len(found))


def unchanged_since(folder: Path, moment: datetime) -> set[str]:
    """Every regular file that nobody has touched since then, by its path in an archive as borg shows it."""
    before = moment.timestamp() - CLOCK_TICK
    return {
        str(file).encode(errors="replace").decode().lstrip("/")
        for file in _files(folder)
        if (status := _status(file)) and stat.S_ISREG(status.st_mode) and status.st_ctime < before
    }


def require_whole(source: Source, file: Path) -> None:
    """Raise `DumpDamaged` unless the file has the size and digest that were recorded."""
    if file.stat().st_size != source.size:
        raise DumpDamaged(f"{source.path} has {file.stat().st_size} bytes instead of {source.size}")
    if digest(file) != source.sha256:
        raise DumpDamaged(f"{source.path} has another SHA-256 than was recorded")


def digest(file: Path) -> str:
    """The SHA-256 of a file in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _dump_tables(kind: Kind, name: str, file: Path) -> dict[str, postgres.Fingerprint]:
    if kind is Kind.POSTGRESQL:
        return dict(postgres.snapshot_dump(name, file).tables)
    if kind is Kind.MARIADB:
        return mariadb.dump(name, file)
    return sqlite.copy(Path(name), file)


def _files(folder: Path) -> list[Path]:
    return [Path(parent) / name for parent, _, names in os.walk(folder) for name in names]


def _status(file: Path) -> os.stat_result | None:
    try:
        return file.lstat()
    except FileNotFoundError:
        return None
