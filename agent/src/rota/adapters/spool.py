"""The spool: records as files, of a run from its start until long after the diary has acknowledged it."""

import fcntl
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from rota.core.errors import RotaError
from rota.core.identifier import first_identifier
from rota.core.places import SPOOL_FOLDERS, Places
from rota.core.record import KEEP_BYTES, BadRecord, Record, RunRecord, as_mapping, parse_record, storable
from rota.core.status import Status

MAX_RECORD = 4 * 1024 * 1024
MAX_REASON = 64 * 1024
FOLDER_MODE = 0o3753
"""Others may create entries in a folder, but not list it; what they create is theirs, and the group's to read."""
OPEN_FOLDERS = ("tmp", "running", "done", "output")
LONGEST_NAME = 200
"""Of a record's file, so that its reason and its copy in tmp/ can be named after it."""


class SpoolUnreadable(RotaError):
    """The spool cannot be read."""


class NoSuchRun(RotaError):
    """There is no run of this id."""


class UnsafeFile(Exception):
    """What lies in the spool is not a plain file of a sensible size."""


@dataclass(frozen=True)
class Spool:
    """The files of one host."""

    folder: Path
    spare: Path

    def make(self) -> None:
        """Make the folders that are missing; for a host they come with its role, with owner and group."""
        for name in SPOOL_FOLDERS:
            path = self.folder / name
            if not path.is_dir():
                path.mkdir(parents=True)
                path.chmod(FOLDER_MODE if name in OPEN_FOLDERS else 0o750)

    def names(self, folder: str) -> list[str]:
        """The ids of the records in this folder, oldest first. Raises SpoolUnreadable.

        Any task may put anything there: a folder, which nobody but its owner can move, or a name that is too long.
        """
        try:
            return record_names(self.folder / folder)
        except PermissionError as error:
            raise SpoolUnreadable(f"{error}; become root or join the group rota") from error

    def load(self, folder: str, name: str) -> Record:
        """The record of this id. Raises FileNotFoundError, UnsafeFile or BadRecord."""
        record = decode(read_plain(self.folder / folder / f"{name}.json", MAX_RECORD))
        if str(record.id) != name:
            raise BadRecord(f"'id' is {record.id}; its file is named {name}.json")
        return record

    def records(self, *folders: str, since: datetime | None = None) -> Iterator[Record]:
        """The readable records of these folders; of a run in several, the one in the first folder named.

        `since` leaves out what began before: ids sort by time.

        A file that vanishes meanwhile has moved on; a broken one is `rota reconcile`'s to put aside.
        """
        seen: set[str] = set()
        first = first_identifier(since) if since else ""
        for folder in folders:
            for name in self.names(folder):
                if name in seen or name < first:
                    continue
                try:
                    record = self.load(folder, name)
                except (FileNotFoundError, UnsafeFile, BadRecord):
                    continue
                seen.add(name)
                yield record

    def newest(
        self, *, since: datetime | None = None, until: datetime | None = None, task: str | None = None
    ) -> Iterator[RunRecord]:
        """The readable runs, newest first, each read only when it is asked for; the tasks' others are not decoded.

        Ids sort by time, and one that moves on while it is looked for is found in its next folder.
        """
        places: dict[str, list[str]] = {}
        for folder in ("running", "done", "sent"):
            for name in self.names(folder):
                places.setdefault(name, []).append(folder)
        first = first_identifier(since) if since else ""
        beyond = first_identifier(until) if until else "~"
        for name in sorted((name for name in places if first <= name < beyond), reverse=True):
            record = self._latest(name, places[name], task)
            if isinstance(record, RunRecord) and task in (None, record.task):
                yield record

    def _latest(self, name: str, folders: list[str], task: str | None) -> Record | None:
        """The record from where it has come to last; None when it is broken, gone, or another task's."""
        for folder in dict.fromkeys([*reversed(folders), "done", "sent"]):
            try:
                text = read_plain(self.folder / folder / f"{name}.json", MAX_RECORD)
                if task and f'"{task}"'.encode() not in text:
                    return None
                record = decode(text)
            except FileNotFoundError:
                continue
            except (UnsafeFile, BadRecord):
                return None
            return record if str(record.id) == name else None
        return None

    def named_like(self, part: str) -> dict[str, str]:
        """The ids that begin, or end, like this, each with the folder of its record."""
        return {
            name: folder
            for folder in ("running", "sent", "done")
            for name in self.names(folder)
            if name.startswith(part) or name.endswith(part)
        }

    def find(self, part: str) -> Record:
        """The one record whose id begins, or ends, like this. Raises NoSuchRun."""
        found = self.named_like(part)
        if len(found) != 1:
            raise NoSuchRun(f"{part!r}; " + (f"{len(found)} begin or end like that" if found else "see rota runs"))
        [(name, folder)] = found.items()
        try:
            return self.load(folder, name)
        except (FileNotFoundError, UnsafeFile) as error:
            raise NoSuchRun(f"{part!r}: {error}") from error

    def output(self, record: RunRecord) -> str:
        """What the run printed: head and tail, with a line in between when bytes were dropped there."""
        try:
            content = read_plain(self.folder / "output" / str(record.id), 64 * KEEP_BYTES)
        except (FileNotFoundError, UnsafeFile):
            return record.output
        return join_output(content, record.output_dropped)

    def store(self, record: Record, *, folder: str = "done") -> None:
        """Put a new record there whole; a run stored as done no longer runs. Raises FileExistsError if there is one."""
        beside = self.folder / "tmp" / f"{record.id}.store.json"
        write_through(beside, json.dumps(as_mapping(record)) + "\n")
        try:
            (self.folder / folder / f"{record.id}.json").hardlink_to(beside)
        finally:
            beside.unlink()
        if folder == "done":
            (self.folder / "running" / f"{record.id}.json").unlink(missing_ok=True)

    def acknowledge(self, name: str) -> None:
        """Keep the record among those the diary has."""
        self._move(name, "sent")

    def quarantine(self, name: str, reason: str, *, source: str = "done") -> None:
        """Put a record aside that nothing can be done with, and the reason beside it."""
        self._move(name, "quarantine", source=source)
        write_through(self.folder / "quarantine" / f"{name}.reason", storable(reason) + "\n")

    def reason(self, name: str) -> tuple[str, datetime]:
        """Why this record was put aside, and when. Raises FileNotFoundError, UnsafeFile."""
        path = self.folder / "quarantine" / f"{name}.reason"
        text = read_plain(path, MAX_REASON).decode("utf-8", "replace")
        return text, datetime.fromtimestamp(path.lstat().st_mtime, UTC)

    def put_back(self, name: str) -> None:
        """Take a record that was put aside among those that the diary is to get."""
        self._move(name, "done", source="quarantine")
        (self.folder / "quarantine" / f"{name}.reason").unlink(missing_ok=True)

    def take_spare(self) -> tuple[int, int]:
        """Move what could only be written to the spare into the spool. Returns how many it took, and left alone."""
        taken = left = 0
        if not record_names(self.spare):
            return taken, left
        # Of shipping and reconciling one at a time, else one reads what the other is writing.
        with turn_in(self.spare):
            for name in record_names(self.spare):
                try:
                    self._take(self.spare / f"{name}.json")
                    taken += 1
                except (OSError, UnsafeFile):
                    left += 1
        return taken, left

    def _take(self, path: Path) -> None:
        content = read_plain(path, MAX_RECORD)
        beside = self.folder / "tmp" / f"{path.stem}.spare.json"
        write_through(beside, content.decode("utf-8", "replace"))
        beside.replace(self.folder / "done" / path.name)
        (self.folder / "running" / path.name).unlink(missing_ok=True)
        path.unlink()

    def store_spare(self, record: Record) -> None:
        """Put a new record into the spare, which is memory, for the disk does not take it. Raises OSError."""
        self.spare.mkdir(parents=True, exist_ok=True)
        beside = self.spare / f"{record.id}.new"
        write_through(beside, json.dumps(as_mapping(record)) + "\n")
        beside.replace(self.spare / f"{record.id}.json")

    def spared_records(self) -> Iterator[Record]:
        """The readable records that only the spare could take."""
        for text in self.spared():
            with suppress(BadRecord):
                yield decode(text)

    def spared(self) -> Iterator[bytes]:
        """The texts of the records that only the spare could take."""
        for path in sorted(self.spare.glob("*.json")) if self.spare.is_dir() else ():
            try:
                yield read_plain(path, MAX_RECORD)
            except (FileNotFoundError, UnsafeFile):
                continue

    def _move(self, name: str, folder: str, *, source: str = "done") -> None:
        (self.folder / source / f"{name}.json").replace(self.folder / folder / f"{name}.json")


def record_names(folder: Path) -> list[str]:
    """The names of the records in this folder without `.json`, in order; none where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return sorted(
                entry.name.removesuffix(".json")
                for entry in entries
                if entry.name.endswith(".json")
                and len(os.fsencode(entry.name)) <= LONGEST_NAME
                and not entry.is_dir(follow_symlinks=False)
            )
    except FileNotFoundError:
        return []


def decode(text: bytes) -> Record:
    """The record in a file's text; without its items and counts when they are what breaks it. Raises BadRecord."""
    try:
        mapping = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"it is not JSON: {error}") from error
    try:
        return parse_record(mapping)
    except BadRecord:
        if not isinstance(mapping, dict) or not (mapping.get("items") or mapping.get("counts")):
            raise
        return parse_record(mapping | {"items": [], "counts": {}})


def spool_of(places: Places) -> Spool:
    return Spool(folder=places.spool, spare=places.spare)


def shippable(record: Record, output: str) -> Record:
    """The record as the diary gets it: a run's with its output."""
    return replace(record, output=output) if isinstance(record, RunRecord) else record


def join_output(content: bytes, dropped: int) -> str:
    """Head and tail as text that can be stored anywhere; what is not UTF-8 is replaced visibly."""
    whole = encoded(content)
    if dropped <= 0 and len(whole) <= 2 * KEEP_BYTES:
        return whole.decode()
    head, tail = content[:KEEP_BYTES], content[KEEP_BYTES:][-KEEP_BYTES:]
    dropped += len(content) - len(head) - len(tail)
    # A replacement mark takes three bytes, so the text may outgrow what a record may hold: the seam gives way.
    head_text = encoded(head)[:KEEP_BYTES].decode("utf-8", "ignore")
    tail_text = encoded(tail)[-KEEP_BYTES:].decode("utf-8", "ignore")
    return f"{head_text}\n[… {dropped} bytes are not kept …]\n{tail_text}"


def encoded(part: bytes) -> bytes:
    """The bytes as UTF-8 that can be stored anywhere."""
    return storable(part.decode("utf-8", "replace")).encode()


def read_plain(path: Path, limit: int) -> bytes:
    """The content of a plain file of at most so many bytes. Raises FileNotFoundError, UnsafeFile."""
    with open_plain(path) as stream:
        if os.fstat(stream.fileno()).st_size > limit:
            raise UnsafeFile(f"{path} is no plain file of at most {limit} bytes")
        return stream.read(limit)


def open_plain(path: Path) -> BinaryIO:
    """Open a plain file, never what a task may have put in its place: a link, a pipe, a folder.

    Raises FileNotFoundError, UnsafeFile.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnsafeFile(f"{path}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise UnsafeFile(f"{path} is no plain file")
    return os.fdopen(file, "rb")


def replace_through(path: Path, text: str, *, mode: int = 0o640) -> None:
    """Write beside and rename, so that the file has all of the text or is as it was. Raises OSError."""
    beside = path.with_name(f"{path.name}.new")
    try:
        write_through(beside, text, mode=mode)
        beside.replace(path)
    except OSError:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


@contextmanager
def turn_in(folder: Path) -> Iterator[None]:
    """Wait for our turn: of several processes one at a time works on what lies in this folder."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def write_through(path: Path, text: str, *, mode: int = 0o640) -> None:
    """Write a new file and wait until the disk has it.

    What lies there goes first: a crash may have left it, and a task anything, like a pipe that nobody reads.
    """
    path.unlink(missing_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    os.fchmod(file, mode)
    with os.fdopen(file, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(file)


def runs(records: Iterator[Record]) -> list[RunRecord]:
    """Only the runs, newest first."""
    found = [record for record in records if isinstance(record, RunRecord)]
    return sorted(found, key=lambda run: (run.started, str(run.id)), reverse=True)


def is_over(record: Record) -> bool:
    return not isinstance(record, RunRecord) or record.status is not Status.RUNNING
