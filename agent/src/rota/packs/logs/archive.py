"""Old log files into one dated zip archive, and away only when the archive is proven to hold them."""

import os
import re
import time
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rota.core.errors import RotaError
from rota.packs.logs.folders import Found, is_being_written, opened, parent_of, plain_files, synchronise

CHUNK = 1024 * 1024
ARCHIVES = (".zip", ".gz", ".xz", ".bz2", ".zst", ".7z", ".part")
# What a zip archive can say of a member's time.
EARLIEST, LATEST = (1980, 1, 1, 0, 0, 0), (2107, 12, 31, 23, 59, 58)


class ArchiveBroken(RotaError):
    """The archive does not hold what was put into it; every log file is still in its place."""


class NotAFolder(RotaError):
    """There is no such folder."""


def find_old(folder: Path, *, now: datetime, age: timedelta, archive_folder: str) -> list[Found]:
    """The plain files below the folder that were last modified longer than `age` ago, archives excepted, by name."""
    if not folder.is_dir():
        raise NotAFolder(str(folder))
    return [
        found
        for found in plain_files(folder, but=archive_folder)
        if not found.name.endswith(ARCHIVES) and is_older(found.modified, now=now, age=age)
    ]


def is_older(modified: int, *, now: datetime, age: timedelta) -> bool:
    return now - datetime.fromtimestamp(modified / 1e9, UTC) > age


def not_being_written(folder: Path, files: Iterable[Found]) -> tuple[list[Found], list[Found]]:
    """The files that rest, and those that somebody has open for writing. Raises CannotTell."""
    resting: list[Found] = []
    open_ones: list[Found] = []
    for found in files:
        with opened(folder, found) as file:
            if file is not None:
                (open_ones if is_being_written(file) else resting).append(found)
    return resting, open_ones


def unused_name(folder: Path, name: str) -> Path:
    """`NAME.zip`, or `NAME-2.zip` and so on where one of today exists already."""
    candidates = (folder / f"{name}{f'-{number}' if number > 1 else ''}.zip" for number in range(1, 10_000))
    return next(path for path in candidates if not path.exists())


def write_archive(archive: Path, files: Sequence[Found], *, base: Path) -> list[Found]:
    """Write the files into a new archive by paths relative to `base`, prove it, and only then give it its name.

    Returns those it holds: a file that changes meanwhile is left out. Raises ArchiveBroken.
    """
    make_folder(archive.parent, like=base)
    for left in archive.parent.glob(f"{base.name}-logs-*.part"):  # of a run that was killed
        left.unlink()
    beside = archive.with_suffix(".part")
    try:
        stored = store(beside, files, base=base)
        prove(beside, stored, base=base)
        with beside.open("rb") as stream:
            os.fsync(stream.fileno())
        if stored:
            share(beside, like=base)
            beside.replace(archive)
            synchronise(archive.parent)
    finally:
        beside.unlink(missing_ok=True)
    return stored


def make_folder(folder: Path, *, like: Path) -> None:
    """The folder of archives: open to whom the logs' own folder is open. Raises NotAFolder where it is a link."""
    if folder.is_symlink():
        raise NotAFolder(f"{folder}; it is a link")
    if not folder.is_dir():
        folder.mkdir(parents=True)
        share(folder, like=like)


def share(path: Path, *, like: Path) -> None:
    """Let the group of the logs' folder read, where we may hand out that group."""
    try:
        os.chown(path, -1, like.stat().st_gid)
    except PermissionError:
        return
    path.chmod(0o750 if path.is_dir() else 0o640)


def store(archive: Path, files: Iterable[Found], *, base: Path) -> list[Found]:
    stored: list[Found] = []
    with zipfile.ZipFile(archive, "x", zipfile.ZIP_DEFLATED, allowZip64=True) as target:
        for found in files:
            with opened(base, found) as file:
                if file is None:
                    continue
                # The length is known only afterwards: a file may grow while it is read.
                with target.open(member_of(found), "w", force_zip64=True) as member:
                    while chunk := os.read(file, CHUNK):
                        member.write(chunk)
            stored.append(found)
    return stored


def member_of(found: Found) -> zipfile.ZipInfo:
    moment = time.localtime(found.modified / 1e9)[:6]
    member = zipfile.ZipInfo(member_name(found), date_time=min(max(moment, EARLIEST), LATEST))
    member.compress_type = zipfile.ZIP_DEFLATED
    member.external_attr = 0o600 << 16
    return member


def member_name(found: Found) -> str:
    """The name in the archive; a zip archive knows UTF-8 alone."""
    return os.fsencode(found.name).decode("utf-8", "backslashreplace")


def prove(archive: Path, files: Iterable[Found], *, base: Path) -> None:
    """Read the archive whole, and compare every member's length and checksum with its file. Raises ArchiveBroken."""
    with zipfile.ZipFile(archive) as source:
        if broken := source.testzip():
            raise ArchiveBroken(f"{archive}: {broken} cannot be read back")
        for found in files:
            member = source.getinfo(member_name(found))
            if (member.file_size, member.CRC) != length_and_checksum(base, found):
                raise ArchiveBroken(f"{archive}: {member.filename} differs from {base / found.name}")


def length_and_checksum(base: Path, found: Found) -> tuple[int, int]:
    length = checksum = 0
    with opened(base, found) as file:
        while file is not None and (chunk := os.read(file, CHUNK)):
            length, checksum = length + len(chunk), zlib.crc32(chunk, checksum)
    return length, checksum


def remove(base: Path, found: Found) -> bool:
    """Remove a file that is still what was put into the archive; False when it has changed or is open for writing."""
    with opened(base, found) as file:
        if file is None or is_being_written(file):
            return False
        with parent_of(base, found.name) as (here, leaf):
            os.unlink(leaf, dir_fd=here)
    return True


def find_outlived(folder: Path, archive_folder: str, *, now: datetime, age: timedelta) -> list[Path]:
    """The archives of this folder that are older than `age`."""
    ours = re.compile(rf"{re.escape(folder.name)}-logs-\d{{4}}-\d\d-\d\d(-\d+)?\.zip")
    place = folder / archive_folder
    found = plain_files(place) if place.is_dir() and not place.is_symlink() else ()
    return [
        place / each.name for each in found if ours.fullmatch(each.name) and is_older(each.modified, now=now, age=age)
    ]
