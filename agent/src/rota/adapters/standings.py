"""What a host remembers between two looks at its runs: how each task stands."""

import json
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from rota.adapters.spool import Spool, UnsafeFile, read_plain, replace_through
from rota.core.history import ROW, Days, Ended, Standing, Tally, follow
from rota.core.record import BadRecord, RunRecord
from rota.core.status import Status

VERSION = 2
LIMIT = 64 * 1024 * 1024
ARRIVED = ("done", "sent", "quarantine")
"""Where records of runs that are over may lie, in the order in which they move along."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """How each task stands, and which records that comes from: the first `size` bytes of a file of their ids.

    Ids are only added to that file, and the standings say how far it counts. So both become true at once, when the
    standings are replaced; a record counts once whatever is interrupted, however late it came, and whatever clock
    said when it began.
    """

    standings: Mapping[str, Standing]
    folded: frozenset[str] = frozenset()
    generation: int = 0
    size: int = 0


@dataclass(frozen=True, kw_only=True)
class News:
    """What came since the last look: how tasks stand now, the runs that are new by task, and whose records count.

    Where nothing is remembered, only the latest run of each task counts as new.
    """

    memory: Memory
    standings: dict[str, Standing]
    fresh: dict[str, list[RunRecord]]
    folded: frozenset[str]
    present: frozenset[str]


@dataclass(frozen=True)
class Standings:
    """The files. All of it can be found again from the records, so what cannot be read counts as absent."""

    folder: Path

    def make(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def load(self) -> dict[str, Standing]:
        """How each task stood at the last look."""
        return dict(self.remember().standings)

    def remember(self) -> Memory:
        """All that the last look left."""
        content = read_mapping(self._standings())
        try:
            if content["version"] != VERSION:
                return Memory(standings={})
            generation, size = int(content["generation"]), int(content["size"])
            ids = read_plain(self._ids(generation), LIMIT)[:size].decode("ascii")
            standings = {str(task): parse_standing(values) for task, values in content["tasks"].items()}
        except (KeyError, ValueError, TypeError, AttributeError, FileNotFoundError, UnsafeFile):
            return Memory(standings={})
        if len(ids) != size:
            return Memory(standings={})
        return Memory(standings=standings, folded=frozenset(ids.split()), generation=generation, size=size)

    def look(self, spool: Spool, *, now: datetime, counted: Mapping[str, Collection[str]] | None = None) -> News:
        """How tasks stand with the runs that have ended since the last look, which this does not remember.

        `counted` names the counts to remember, by task. Raises SpoolUnreadable.
        """
        memory = self.remember()
        present = frozenset(name for folder in ARRIVED for name in spool.names(folder))
        standings, folded = dict(memory.standings), set(memory.folded)
        fresh: dict[str, list[RunRecord]] = {}
        for name in sorted(present - memory.folded):
            try:
                run = load_arrived(spool, name)
            except FileNotFoundError:
                continue  # put back or removed meanwhile; the next look finds it, if it is anywhere
            folded.add(name)
            if run:
                standings[run.task] = follow(
                    standings.get(run.task), run, now=now, counted=(counted or {}).get(run.task, ())
                )
                run = replace(run, items=(), output="")
                # The first look sees the runs of months: the latest is enough, and what was skipped since.
                is_enough = not memory.generation and run.status is not Status.SKIPPED
                fresh[run.task] = [run] if is_enough else [*fresh.get(run.task, ()), run]
        return News(memory=memory, standings=standings, fresh=fresh, folded=frozenset(folded), present=present)

    def keep_news(self, news: News) -> None:
        """Remember what a look found; only one at a time may."""
        memory, added = news.memory, news.folded - news.memory.folded
        if not added and memory.generation:
            return
        generation, size = memory.generation, memory.size
        if not generation or len(memory.folded - news.present) > len(news.present) + 1000:
            generation, size, added = generation + 1, 0, news.folded & news.present
        size = append(self._ids(generation), size, sorted(added))
        tasks = {task: plain_standing(standing) for task, standing in news.standings.items()}
        value = {"version": VERSION, "generation": generation, "size": size, "tasks": tasks}
        replace_file(self._standings(), value)
        for path in self.folder.glob("*.ids"):
            if path != self._ids(generation):
                path.unlink(missing_ok=True)

    def _standings(self) -> Path:
        return self.folder / "standings.json"

    def _ids(self, generation: int) -> Path:
        return self.folder / f"folded-{generation}.ids"


def load_arrived(spool: Spool, name: str) -> RunRecord | None:
    """The run of this id, wherever its record has moved to; None for a deploy, and for what cannot be read.

    Raises FileNotFoundError.
    """
    for folder in ARRIVED:
        try:
            record = spool.load(folder, name)
        except FileNotFoundError:
            continue
        except (BadRecord, UnsafeFile):
            return None
        return record if isinstance(record, RunRecord) else None
    raise FileNotFoundError(name)


def append(path: Path, size: int, ids: Iterable[str]) -> int:
    """Write these ids after the first `size` bytes, and wait until the disk has them. Returns the size then."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
    with os.fdopen(file, "wb") as stream:
        stream.truncate(size)
        stream.seek(size)
        stream.write("".join(f"{each}\n" for each in ids).encode("ascii", "replace"))
        stream.flush()
        os.fsync(file)
        return stream.tell()


def plain_standing(standing: Standing) -> dict[str, object]:
    """The standing as JSON holds it."""
    return {
        "latest": asdict(standing.latest) if standing.latest else None,
        "success": asdict(standing.success) if standing.success else None,
        "good": asdict(standing.good) if standing.good else None,
        "missing": standing.missing,
        "durations": standing.durations,
        "counts": standing.counts,
        "total": standing.total.numbers,
        "days": standing.days.numbers,
    }


def parse_standing(values: Mapping[str, Any]) -> Standing:
    """The inverse. Raises KeyError, ValueError, TypeError."""
    days = values["days"]
    if len(days) % ROW or set(map(type, days)) > {int}:
        raise ValueError("no days")
    return Standing(
        latest=parse_ended(values["latest"]),
        success=parse_ended(values["success"]),
        good=parse_ended(values["good"]),
        missing=datetime.fromisoformat(values["missing"]) if values["missing"] else None,
        durations=tuple(map(float, values["durations"])),
        counts={str(name): tuple(map(float, counts)) for name, counts in values["counts"].items()},
        total=Tally(*map(int, values["total"])),
        days=Days(tuple(days)),
    )


def parse_ended(values: Mapping[str, Any] | None) -> Ended | None:
    if values is None:
        return None
    return Ended(
        run=values["run"],
        started=datetime.fromisoformat(values["started"]),
        ended=datetime.fromisoformat(values["ended"]),
        status=Status(values["status"]),
        reason=str(values["reason"]),
        duration=None if values["duration"] is None else float(values["duration"]),
    )


def read_mapping(path: Path) -> dict[str, Any]:
    """The JSON object in this file; empty when there is none."""
    try:
        found = json.loads(read_plain(path, LIMIT))
    except (FileNotFoundError, UnsafeFile, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def replace_file(path: Path, value: object) -> None:
    replace_through(path, json.dumps(value, default=datetime.isoformat, separators=(",", ":")) + "\n")
