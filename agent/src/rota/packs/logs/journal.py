"""Entries of systemd's journal, read by journalctl from a cursor on, and the errors among them."""

import json
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from rota.core.errors import RotaError
from rota.packs.logs.recognising import Occurrence, Record, begins_python, read_python

WORST_HARMLESS = 4  # warning, in syslog(3)'s order
LONGEST_MESSAGE = 64 * 1024


class JournalUnread(RotaError):
    """The journal cannot be read."""


@dataclass(frozen=True)
class Entry:
    """One entry: when, whose, how severe (0 the worst, 7 the least), what."""

    cursor: str
    at: datetime
    unit: str
    process: str
    priority: int
    message: str


def journal_command(unit: str, journal: Path | None, *, until: datetime, cursor: str, since: datetime) -> list[str]:
    """What asks for all entries of a unit after the cursor, or where there was none yet, since then."""
    where = [f"--directory={journal}"] if journal else []
    begin = [f"--after-cursor={cursor}"] if cursor else [f"--since=@{since.timestamp():.6f}"]
    options = ["--quiet", "--no-pager", "--all", "--output=json", f"--until=@{until.timestamp():.6f}"]
    return ["journalctl", *where, *options, *begin, f"--unit={unit}"]


def read(command: Sequence[str]) -> Iterator[Entry]:
    """Raises JournalUnread."""
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as asked:
            for line in asked.stdout or ():
                yield parse(line)
            said = asked.stderr.read().decode("utf-8", "replace").strip() if asked.stderr else ""
    except OSError as error:
        raise JournalUnread(f"journalctl: {error.strerror}") from error
    if asked.returncode:
        raise JournalUnread(said or f"journalctl ended with {asked.returncode}")


def parse(line: bytes) -> Entry:
    """An entry as `--output=json` writes it: a message that is no text is a list of bytes, one too long is null."""
    try:
        fields = json.loads(line)
    except ValueError as error:
        raise JournalUnread(f"journalctl wrote {line[:80]!r}") from error
    message = fields.get("MESSAGE")
    if isinstance(message, list) and all(isinstance(each, int) for each in message):
        message = bytes(message).decode("utf-8", "replace")
    priority = str(fields.get("PRIORITY", ""))
    return Entry(
        cursor=str(fields.get("__CURSOR", "")),
        at=datetime.fromtimestamp(int(fields["__REALTIME_TIMESTAMP"]) / 1e6, UTC),
        unit=str(fields.get("UNIT") or fields.get("_SYSTEMD_UNIT") or ""),
        process=str(fields.get("_PID", "")),
        priority=int(priority) if priority.isdigit() else 6,
        message=message[:LONGEST_MESSAGE] if isinstance(message, str) else "",
    )


class Errors:
    """The errors among entries, which come one by one: those of priority `err` and worse, and Python's tracebacks.

    A traceback that a program prints arrives as an entry a line.
    """

    def __init__(self) -> None:
        self._printed: dict[str, tuple[datetime, Record]] = {}

    def take(self, entries: Iterable[Entry]) -> Iterator[Occurrence]:
        for entry in entries:
            if entry.priority < WORST_HARMLESS:
                yield Occurrence(entry.at, entry.message, entry.message)
                continue
            for line in entry.message.splitlines():
                yield from self._print(entry, line)
        for process in list(self._printed):
            yield from self._close(process)

    def _print(self, entry: Entry, line: str) -> Iterator[Occurrence]:
        _, record = self._printed.get(entry.process, (entry.at, None))
        if record and begins_python(line, record):
            yield from self._close(entry.process)
        _, record = self._printed.setdefault(entry.process, (entry.at, Record(0, 0)))
        record.add(line, 0)

    def _close(self, process: str) -> Iterator[Occurrence]:
        at, record = self._printed.pop(process)
        if found := read_python(record.lines, errors_alone=False):
            yield replace(found, at=at)
