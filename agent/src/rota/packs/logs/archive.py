"""Old log files into one dated zip archive, and away only when the archive is proven to hold them."""

import os
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rota.core.errors import RotaError

CHUNK = 1024 * 1024
ARCHIVES = (".zip", ".gz", ".xz", ".bz2", ".zst")


class ArchiveBroken(RotaError):
    """The archive does not hold what was put into it; every log file is still in its place."""


def find_old(folder: Path, *, now: datetime, age: timedelta, archive_folder: Path) -> list[Path]:
    """The plain files below the folder that were last modified longer than `age` ago, archives excepted, by name."""
    return sorted(path for path in walk(folder, archive_folder) if is_old(path, now=now, age=age))


def walk(folder: Path, excluded: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if Path(parent, name) != excluded]
        yield from (Path(parent, name) for name in files if not name.endswith(ARCHIVES))


def is_old(path: Path, *, now: datetime, age: timedelta) -> bool:
    """Whether the file is a plain one, not a link, and has rested for longer than this."""
    return path.is_file() and not path.is_symlink() and now - modified(path) > age


def modified(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def unused_name(folder: Path, name: str) -> Path:
    """`NAME.zip`, or `NAME-2.zip` and so on where one of today exists already."""
    candidates = (folder / f"{name}{f'-{number}' if number > 1 else ''}.zip" for number in range(1, 10_000))
    return next(path for path in candidates if not path.exists())


def write_archive(archive: Path, files: Sequence[Path], *, base: Path) -> None:
    """Write the files into a new archive by paths relative to `base`, prove it, and only then give it its name.

    Raises ArchiveBroken.
    """
    archive.parent.mkdir(parents=True, exist_ok=True)
    beside = archive.with_suffix(".part")
    with zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED, allowZip64=True, strict_timestamps=False) as target:
        for path in files:
            target.write(path, path.relative_to(base))
    prove(beside, files, base=base)
    with beside.open("rb") as stream:
        os.fsync(stream.fileno())
    beside.replace(archive)


def prove(archive: Path, files: Iterable[Path], *, base: Path) -> None:
    """Compare every member, byte by byte, with the file it came from. Raises ArchiveBroken."""
    with zipfile.ZipFile(archive) as source:
        for path in files:
            member = str(path.relative_to(base))
            with source.open(member) as packed, path.open("rb") as original:
                while True:
                    expected = original.read(CHUNK)
                    if packed.read(len(expected) or 1) != expected:
                        raise ArchiveBroken(f"{archive}: {member} differs from {path}")
                    if not expected:
                        break
