"""What was added to log files since the last look, also when they were rotated, compressed or cut off meanwhile."""

import fnmatch
import gzip
import hashlib
import io
import os
import stat
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, cast

from rota.core.errors import RotaError

HEAD = 1024
LONGEST_LINE = 64 * 1024
BLOCK = 64 * 1024
FORGET_AFTER = 40 * 86400.0
IN_THE_MAKING = 300.0
"""A packed log that breaks off, and was written to within so many seconds, is being packed still."""


class CannotRead(RotaError):
    """This log cannot be read."""


class Moved(RotaError):
    """This log was rotated, cut off or packed while it was looked at; the next look finds where it has gone."""


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
    """A log file: one of its own, a compressed one, or a member of a zip archive.

    `head` is how it began when it was looked at; None when that could not be read, or nobody looked yet.
    """

    path: Path
    identity: str
    size: int
    modified: float
    member: str = ""
    head: bytes | None = None

    @property
    def name(self) -> str:
        return f"{self.path}:{self.member}" if self.member else str(self.path)

    @property
    def is_packed(self) -> bool:
        """Whether nothing will be added to it any more."""
        return bool(self.member) or self.path.suffix == ".gz"

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """Its bytes as they were before compression. Raises CannotRead, and Moved when another is in its place."""
        try:
            with open_plain(self.path) as file:
                self._require_same(os.fstat(file.fileno()))
                if self.member:
                    with zipfile.ZipFile(file) as archive, archive.open(self.member) as member:
                        yield member
                elif self.is_packed:
                    with gzip.GzipFile(fileobj=file) as unpacked:
                        yield cast(IO[bytes], unpacked)
                else:
                    yield file
        except FileNotFoundError as error:
            raise Moved(self.name) from error
        except (OSError, EOFError, zipfile.BadZipFile, zlib.error, KeyError) as error:
            if isinstance(error, EOFError) and 0 <= time.time() - self.modified < IN_THE_MAKING:
                raise Moved(self.name) from error
            raise CannotRead(f"{self.name}: {getattr(error, 'strerror', None) or error}") from error

    def _require_same(self, status: os.stat_result) -> None:
        if not f"{self.identity}:".startswith(f"{status.st_dev}:{status.st_ino}:"):
            raise Moved(self.name)


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


def look_at(logs: Iterable[Log]) -> dict[str, Log]:
    """Each as it is now, by identity, without those that were rotated away just now.

    Of one that cannot be read whoever reads it in its turn says so.
    """
    found: dict[str, Log] = {}
    for log in logs:
        with suppress(Moved):
            try:
                found[log.identity] = replace(log, size=size_of(log), head=head_of(log))
            except CannotRead:
                found[log.identity] = log
    return found


def size_of(log: Log) -> int:
    """Its size as of now. Raises Moved."""
    try:
        return log.size if log.is_packed else log.path.lstat().st_size
    except FileNotFoundError as error:
        raise Moved(log.name) from error


def checksum(head: bytes) -> str:
    return hashlib.sha256(head).hexdigest()


def place(found: Iterable[Log], marks: Mapping[str, Mark], *, now: float) -> list[tuple[Mark, Log]]:
    """Where to go on reading in each of these logs; one that is not known begins at its beginning.

    A file is known by its inode, as long as it still begins as it did and is no shorter; else by how it begins, as
    when it was renamed across file systems, copied before it was cut off, or compressed. Of one that was cut short
    what is left was read. A copy whose original is still there is left out: it is read as that, and takes its place
    when it goes.
    """
    listed = {log.identity: log for log in found}
    seen = look_at(listed.values())
    placed: dict[str, Mark] = {}
    for identity, log in seen.items():
        mark = marks.get(identity)
        if mark and begins_alike(log, mark) and (log.is_packed or log.size >= mark.offset):
            placed[identity] = replace(mark, seen=now)
    moving = [marks[identity] for identity in listed.keys() - seen.keys() if identity in marks]
    free = [mark for mark in marks.values() if mark.identity not in placed and mark.head_size and mark not in moving]
    # A packed one last: it may be a copy of any other.
    strangers = sorted((log for key, log in seen.items() if key not in placed), key=lambda log: log.is_packed)
    for log in strangers:
        if alike := [mark for mark in free if begins_alike(log, mark)]:
            known = max(alike, key=lambda mark: (mark.head_size, mark.offset))
            free.remove(known)
            placed[log.identity] = replace(known, identity=log.identity, seen=now)
    for log in strangers:
        if log.identity not in placed and not may_be_known(log, moving, [seen[identity] for identity in placed]):
            placed[log.identity] = Mark(log.identity, 0, checksum(b""), 0, now)
    return [(within(placed[identity], log), log) for identity, log in seen.items() if identity in placed]


def within(mark: Mark, log: Log) -> Mark:
    """The mark, at the end of a log that is shorter than it was: what is left of it was read."""
    try:
        return mark if log.is_packed else replace(mark, offset=min(mark.offset, size_of(log)))
    except Moved:
        return mark


def may_be_known(log: Log, moving: Iterable[Mark], originals: Iterable[Log]) -> bool:
    """Whether a log that is new may yet turn out to be one that is read already: it is empty, or somebody rotates."""
    if log.head is None:
        return False
    if not log.head or any(mark.head_size and begins_alike(log, mark) for mark in moving):
        return True
    return any(is_copy(log, original) for original in originals)


def is_copy(log: Log, original: Log) -> bool:
    """Whether all there is of a log so far also begins another one, which is a plain file.

    While that cannot be told, since either is being rotated, it may be.
    """
    if original.is_packed or not log.head or not original.head or not original.head.startswith(log.head):
        return False
    try:
        start, block = last_block(log)
        with original.opened() as stream:
            stream.seek(start)
            return stream.read(len(block)) == block or not head_of(original).startswith(original.head)
    except CannotRead:
        return False
    except Moved:
        return True


def last_block(log: Log) -> tuple[int, bytes]:
    """Where its last block begins, and what it holds. Raises CannotRead, Moved."""
    start, block = 0, b""
    with log.opened() as stream:
        if not log.is_packed:
            start = stream.seek(max(0, log.size - BLOCK))
        while chunk := stream.read(BLOCK):
            start, block = start + len(block), chunk
    return start, block


def begins_alike(log: Log, mark: Mark) -> bool:
    return log.head is not None and is_head(log.head, mark)


def is_head(head: bytes, mark: Mark) -> bool:
    return len(head) >= mark.head_size and checksum(head[: mark.head_size]) == mark.head


def advanced(mark: Mark, log: Log, offset: int, context: str = "") -> Mark:
    """The mark after everything before `offset` was read. Raises Moved when that is not there any more."""
    try:
        head = head_of(log)
    except Moved:
        if mark.head_size < HEAD:
            raise
        return replace(mark, offset=offset, context=context)
    if not head.startswith(log.head or b"") or not is_head(head, mark) or len(head) < min(offset, HEAD):
        raise Moved(log.name)
    head = head[:offset]
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
    left = [mark for mark in gone.values() if mark.head not in moved]
    # A new file may have the number of one that is gone, or that nobody saw under its new name yet.
    replaced = [mark for mark in left if mark.head_size == HEAD and mark.identity in placed]
    kept = [replace(mark, identity=f"before {mark.head}") for mark in replaced]
    return {mark.identity: mark for mark in (*left, *kept)} | dict(placed)
