"""What somebody sees of a run that they started: its output as it comes, what it reports, and how it ended."""

import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from rota.adapters.spool import UnsafeFile, open_plain
from rota.core.comparison import outcome
from rota.core.quantities import show_duration
from rota.core.record import KEEP_BYTES, RunRecord
from rota.core.status import Status

NOT_SHOWN = b"[\xe2\x80\xa6 some bytes are not shown \xe2\x80\xa6]\n"
ERASE = "\r\x1b[K"
MOST_AT_ONCE = 4 * 1024 * 1024
"""How much of a file one look reads: several times what a runner keeps, for a task may make its output of any size."""


class Tail:
    """A file that grows, read from where the last look ended; a run's output that shrank has lost its middle."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.position = 0

    def read(self) -> bytes:
        try:
            stream = open_plain(self.path)
        except (FileNotFoundError, UnsafeFile):
            return b""  # not yet there, or nothing that is safe to read
        with stream:
            lost = b""
            if os.fstat(stream.fileno()).st_size < self.position:
                lost, self.position = NOT_SHOWN, KEEP_BYTES
            stream.seek(self.position)
            chunk = stream.read(MOST_AT_ONCE)
        self.position += len(chunk)
        return lost + chunk


class Screen:
    """Where it is shown: output on standard output, all else on standard error.

    On a terminal, a last line that is written over tells of items, counts and time; elsewhere each item is a line.
    """

    def __init__(self) -> None:
        self.is_terminal = sys.stdout.isatty() and sys.stderr.isatty()
        self.began = time.monotonic()
        self.is_at_start = True
        self.is_drawn = False
        self.unread = b""
        self.outcomes: Counter[str] = Counter()
        self.counts: dict[str, float] = {}
        self.latest = ""

    def output(self, chunk: bytes) -> None:
        if chunk:
            self.erase()
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
            self.is_at_start = chunk.endswith(b"\n")

    def reported(self, chunk: bytes) -> None:
        *lines, self.unread = (self.unread + chunk).split(b"\n")
        for line in lines:
            try:
                self._take(json.loads(line))
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                continue  # the record counts what cannot be read

    def _take(self, entry: dict[str, object]) -> None:
        if "item" not in entry:
            name, value = str(entry["count"]), entry["value"]
            self.counts[name] = self.counts.get(name, 0) + (value if isinstance(value, int | float) else 0)
            return
        self.latest, said = printable(entry["item"]), printable(entry.get("outcome", "done"))
        self.outcomes[said] += 1
        self._tell(self.latest, said, printable(entry.get("message", "")))

    def _tell(self, name: str, outcome: str, message: str) -> None:
        if not self.is_terminal:
            print(f"{name}: {outcome}{f' ({message})' if message else ''}", file=sys.stderr)

    def draw(self) -> None:
        """Write the last line anew, unless the work has left a line of its own unfinished."""
        if self.is_terminal and self.is_at_start and (text := self.progress()):
            width = shutil.get_terminal_size().columns - 1
            print(f"{ERASE}{text[:width]}", end="", file=sys.stderr, flush=True)
            self.is_drawn = True

    def progress(self) -> str:
        """How long it has taken, and what was reported so far; empty during the first second."""
        seconds = time.monotonic() - self.began
        total = self.outcomes.total()
        items = f"{total} items: " + ", ".join(f"{number} {word}" for word, number in self.outcomes.most_common(4))
        counts = [f"{name} {value:,g}" for name, value in list(self.counts.items())[:4]]
        parts = [show_duration(seconds), *([items] if total else []), *map(printable, counts), self.latest]
        return " · ".join(filter(None, parts)) if seconds > 1 else ""

    def erase(self) -> None:
        if self.is_drawn:
            print(ERASE, end="", file=sys.stderr, flush=True)
            self.is_drawn = False

    def say(self, text: str) -> None:
        """A line of our own."""
        self.erase()
        if not self.is_at_start:
            print(file=sys.stderr)
            self.is_at_start = True
        print(f"rota: {text}", file=sys.stderr, flush=True)

    def end(self, record: RunRecord) -> None:
        """Say how it ended: always of a failure, and of a good end to whoever sits before it."""
        for item in record.items[self.outcomes.total() :]:  # reported so late that only the record tells
            self._tell(printable(item.name), printable(item.outcome), printable(item.message))
        if record.status is Status.SUCCEEDED and not record.unexpected and not self.is_terminal:
            return
        took = f" after {show_duration(record.duration)}" if record.duration is not None else ""
        self.say(f"{record.task} {outcome(record)}{took}; rota show {str(record.id)[-8:]}")


def printable(value: object) -> str:
    """The value as one line that cannot steer a terminal."""
    return "".join(each if each.isprintable() else " " for each in str(value)[:200])


class Watched:
    """A run that is being shown: its output, and its report where that lies in a file, each from where it stands."""

    def __init__(self, screen: Screen, output: Path, report: Path | None) -> None:
        self.screen = screen
        self.output: Tail | None = Tail(output)
        self.report = Tail(report) if report else None

    def until(self, is_over: Callable[[], bool]) -> None:
        """Show what comes until the run is over, and once more after its end."""
        is_last = False
        while not is_last:
            is_last = is_over()
            if self.report:
                self.screen.reported(self.report.read())
            if self.output:
                self.screen.output(self.output.read())
            if not is_last:
                self.screen.draw()
        self.screen.erase()
