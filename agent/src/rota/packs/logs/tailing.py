"""What was added to log files since the last look, also when they were rotated, compressed or cut off meanwhile."""

import fnmatch
import gzip
import hashlib
import io
import os
import stat
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, cast

from rota.core.errors import RotaError

HEAD = 1024
LONGEST_LINE = 64 * 1024
FORGET_AFTER = 40 * 86400.0


class CannotRead(RotaError):
    """This log cannot be read."""


@dataclass(frozen=True)
class Mark:
    """How far one file was read: `offset` bytes, after decompression.

    `head` is the checksum of its first `head_size` bytes, by which it is known again under another name or inode, and
    by which another file is not taken for it. `seen` is when it was last there, in seconds since 1970. `context` is
    what a reader has to remember of what came before.
    """

    identity: str
    offset: int
    head: str
    head_size: int
    seen: float
    context: str = ""


@dataclass(frozen=True)
class Log:
    """A log file: one of its own, a compressed one, or a member of a zip archive."""

    path: Path
    identity: str
    size: int
    modified: float
    member: str = ""

    @property
    def name(self) -> str:
        return f"{self.path}:{self.member}" if self.member else str(self.path)

    @property
    def is_packed(self) -> bool:
        """Whether nothing will be added to it any more."""
        return bool(self.member) or self.path.suffix == ".gz"

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """Its bytes as they were before compression. Raises CannotRead."""
        try:
            with open_plain(self.path) as file:
                if self.member:
                    with zipfile.ZipFile(file) as archive, archive.open(self.member) as member:
                        yield member
                elif self.is_packed:
                    with gzip.GzipFile(fileobj=file) as unpacked:
                        yield cast(IO[bytes], unpacked)
                else:
                    yield file
        except (OSError, EOFError, zipfile.BadZipFile, KeyError) as error:
            raise CannotRead(f"{self.name}: {getattr(error, 'strerror', None) or error}") from error


@contextmanager
def open_plain(path: Path) -> Iterator[io.BufferedReader]:
    """A plain file; a link in its place is an error."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
        yield stream


def logs(pattern: str, *, archive_folder: str = "") -> list[Log]:
    """The plain files that match this shell pattern, oldest first, and those in zip archives in a folder beside."""
    parent, name = Path(pattern).parent, Path(pattern).name
    folders = sorted(parent.parent.glob(parent.name)) if parent.name else [parent]
    found: list[Log] = []
    for folder in folders:
        try:
            found += plain_logs(folder, name)
            found += [log for each in archives_in(folder, archive_folder) for log in members(each, name)]
        except OSError as error:
            raise CannotRead(f"{folder}: {error.strerror}") from error
    return sorted(found, key=lambda log: (log.modified, log.name))


def plain_logs(folder: Path, pattern: str) -> Iterator[Log]:
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if fnmatch.fnmatchcase(entry.name, pattern) and not entry.name.endswith(".zip"):
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # it was rotated away just now
                    continue
                if stat.S_ISREG(status.st_mode):
                    yield Log(Path(entry.path), f"{status.st_dev}:{status.st_ino}", status.st_size, status.st_mtime)


def archives_in(folder: Path, name: str) -> Iterator[Path]:
    if not name:
        return
    try:
        found = sorted((folder / name).iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    yield from (each for each in found if each.suffix == ".zip")


def members(archive: Path, pattern: str) -> Iterator[Log]:
    """The members at the top of a zip archive that match."""
    status = archive.stat()
    try:
        with open_plain(archive) as stream, zipfile.ZipFile(stream) as source:
            for member in source.infolist():
                if "/" not in member.filename and fnmatch.fnmatchcase(member.filename, pattern):
                    identity = f"{status.st_dev}:{status.st_ino}:{member.filename}"
                    yield Log(archive, identity, member.file_size, status.st_mtime, member.filename)
    except zipfile.BadZipFile as error:
        raise CannotRead(f"{archive}: {error}") from error


def head_of(log: Log) -> bytes:
    with log.opened() as stream:
        return stream.read(HEAD)


def head_if_readable(log: Log) -> bytes:
    """Nothing of a log that cannot be read: whoever reads it in its turn says so."""
    try:
        return head_of(log)
    except CannotRead:
        return b""


def checksum(head: bytes) -> str:
    return hashlib.sha256(head).hexdigest()


def place(found: Iterable[Log], marks: Mapping[str, Mark], *, now: float) -> list[tuple[Mark, Log]]:
    """Where to go on reading in each of these logs; one that is not known begins at its beginning.

    A file is known by its inode, as long as it still begins as it did and is no shorter; else by how it begins, as
    when it was renamed across file systems, copied before it was cut off, or compressed.
    """
    logs_by_identity = {log.identity: log for log in found}
    heads = {log.identity: head_if_readable(log) for log in logs_by_identity.values()}
    placed: dict[str, Mark] = {}
    strangers: list[Log] = []
    for identity, log in logs_by_identity.items():
        mark = marks.get(identity)
        if mark and begins_alike(heads[identity], mark) and (log.is_packed or log.size >= mark.offset):
            placed[identity] = replace(mark, seen=now)
        else:
            strangers.append(log)
    free = [mark for mark in marks.values() if mark.identity not in placed and mark.head_size]
    for log in strangers:
        known = max(
            (mark for mark in free if begins_alike(heads[log.identity], mark)),
            key=lambda mark: mark.head_size,
            default=None,
        )
        if known:
            free.remove(known)
            placed[log.identity] = replace(known, identity=log.identity, seen=now)
        else:
            placed[log.identity] = Mark(log.identity, 0, checksum(b""), 0, now)
    return [(placed[identity], log) for identity, log in logs_by_identity.items()]


def begins_alike(head: bytes, mark: Mark) -> bool:
    return len(head) >= mark.head_size and checksum(head[: mark.head_size]) == mark.head


def advanced(mark: Mark, log: Log, offset: int, context: str = "") -> Mark:
    """The mark after everything before `offset` was read."""
    head = head_of(log)[:offset]
    return replace(mark, offset=offset, head=checksum(head), head_size=len(head), context=context)


def at_end(mark: Mark, log: Log) -> Mark:
    """The mark of a log of which nothing that is there concerns anybody, but for a line that is not complete."""
    if log.is_packed:
        return advanced(mark, log, sum(len(chunk) for chunk in chunks(log)))
    return advanced(mark, log, whole_lines(log))


def chunks(log: Log) -> Iterator[bytes]:
    with log.opened() as stream:
        while chunk := stream.read(1024 * 1024):
            yield chunk


def whole_lines(log: Log) -> int:
    """How many bytes there are up to the end of the last whole line."""
    with log.opened() as stream:
        end = stream.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - LONGEST_LINE)
            stream.seek(start)
            at = stream.read(end - start).rfind(b"\n")
            if at >= 0:
                return start + at + 1
            end = start
    return 0


def lines(log: Log, offset: int) -> Iterator[tuple[bytes, int, int]]:
    """Every whole line from here on, with where it begins and ends; what exceeds 64 KiB of one is cut.

    The last line of a log that will not grow is whole without a line break, too.
    """
    with log.opened() as stream:
        stream.seek(offset)
        while raw := stream.readline(LONGEST_LINE):
            length = len(raw)
            last = raw
            while not last.endswith(b"\n") and (last := stream.readline(LONGEST_LINE)):
                length += len(last)
            if not last.endswith(b"\n") and not log.is_packed:
                return
            yield raw.rstrip(b"\r\n"), offset, offset + length
            offset += length


def remembered(marks: Mapping[str, Mark], placed: Mapping[str, Mark], *, now: float) -> dict[str, Mark]:
    """The marks to keep: the new ones, and for a while those of files that are gone."""
    gone = {identity: mark for identity, mark in marks.items() if now - mark.seen < FORGET_AFTER}
    moved = {mark.head for mark in placed.values() if mark.head_size == HEAD}
    return {key: mark for key, mark in gone.items() if mark.head not in moved} | dict(placed)
