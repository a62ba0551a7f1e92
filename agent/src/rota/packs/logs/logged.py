"""Errors in the host's logs since the last look, told once: what is read, what is kept, and in which order.

1. What is new is read. Nothing is changed yet: a run that dies here reads it again.
2. The marks after it, and the report beside them, replace the state in one step. These lines are never read again.
3. The report is printed.
4. The state notes that the mail is being handed over; then it is handed over.
5. The report leaves the state.

A run that finds a report in the state goes on after step 2. Where the hand-over had begun nobody knows whether the
mail arrived: it is not sent again, and the run fails once, naming it and printing the report. So no error is mailed
twice, and none is lost.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rota.adapters.outbound import Failures, NotSent
from rota.core.errors import RotaError
from rota.packs import Report
from rota.packs.logs import journal, state, tailing
from rota.packs.logs.grouping import Groups, describe, span
from rota.packs.logs.outcomes import Troubles
from rota.packs.logs.recognising import RECOGNISERS, Occurrence, Recogniser, records
from rota.packs.logs.tailing import Log, Mark, Moved

# An entry that is younger than this may not be whole yet.
SETTLE = timedelta(seconds=5)
LONGEST_NAME = 200
MOST_AT_ONCE = 256 * 1024 * 1024
"""How many bytes of one log a run reads: what takes longer than a run may would be begun again for ever."""


class MailInDoubt(RotaError):
    """An earlier run was stopped while it handed its mail over; it is not sent again, and may not have arrived."""


@dataclass(frozen=True)
class Watched:
    """What is looked at: patterns of files by their recogniser, and units of the journal (in `journal`, if set)."""

    files: Mapping[str, Sequence[str]]
    units: Sequence[str]
    journal: Path | None = None
    ignored: Sequence[re.Pattern[str]] = ()

    def concerns(self, error: Occurrence) -> bool:
        """Whether anybody is to hear of this error."""
        return not any(pattern.search(error.text) for pattern in self.ignored)

    @property
    def patterns(self) -> Iterator[tuple[Recogniser, str]]:
        for name, patterns in self.files.items():
            for pattern in patterns:
                yield RECOGNISERS[name], pattern


@dataclass(frozen=True)
class Finding:
    """What is told of a run's errors: in its items, its output, and a mail called `name` to those who are to get it."""

    name: str
    at: str
    to: tuple[str, ...]
    subject: str
    lines: tuple[str, ...]
    items: tuple[tuple[str, str, str], ...]
    counts: Mapping[str, int]
    is_handed: bool = False

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> "Finding":
        """Raises StateBroken."""
        try:
            items = tuple((str(name), str(outcome), str(message)) for name, outcome, message in content["items"])
            return cls(**{**content, "lines": tuple(content["lines"]), "to": tuple(content["to"]), "items": items})
        except (TypeError, KeyError, ValueError) as error:
            raise state.StateBroken(f"finding: {error}") from error


@dataclass(frozen=True)
class Memory:
    """How far everything was read: marks of files, cursors of units, and which patterns were ever looked at.

    `finding` is what was found and not told to the end.
    """

    marks: Mapping[str, Mark] = field(default_factory=dict)
    cursors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    known: frozenset[str] = frozenset()
    finding: Finding | None = None

    @classmethod
    def load(cls, file: Path) -> "Memory":
        """Raises StateBroken."""
        content = state.read(file)
        finding = Finding.parse(content["finding"]) if content.get("finding") else None
        return cls(state.marks_of(content), content.get("cursors", {}), frozenset(content.get("known", ())), finding)

    def store(self, file: Path) -> None:
        finding = asdict(self.finding) if self.finding else None
        marks = state.as_list(self.marks)
        state.write(file, {"marks": marks, "cursors": self.cursors, "known": sorted(self.known), "finding": finding})


# -- reading


def look(watched: Watched, memory: Memory, troubles: Troubles, *, now: datetime) -> tuple[Memory, Groups]:
    """What is new in everything that is watched, and the memory after it. What is looked at first begins at its end."""
    groups = Groups()
    placed: dict[str, Mark] = {}
    known: set[str] = set(memory.known)
    for recogniser, pattern in watched.patterns:
        with troubles.with_(pattern):
            placed |= look_at_files(watched, recogniser, pattern, memory, groups, troubles, now=now)
            known.add(pattern)
    cursors = dict(memory.cursors)
    for unit in watched.units:
        with troubles.with_(unit):
            cursors[unit] = look_at_unit(watched, unit, cursors.get(unit), groups, now=now)
    marks = tailing.remembered(memory.marks, placed, now=now.timestamp())
    return replace(memory, marks=marks, cursors=cursors, known=frozenset(known)), groups


def look_at_files(
    watched: Watched,
    recogniser: Recogniser,
    pattern: str,
    memory: Memory,
    groups: Groups,
    troubles: Troubles,
    *,
    now: datetime,
) -> dict[str, Mark]:
    """The marks after what is new in these files; one that cannot be read, or is rotated just now, keeps its mark."""
    found = tailing.logs(pattern)
    if not found:
        print(f"{pattern}: there is no such file yet")
    read: dict[str, Mark] = {}
    for mark, log in tailing.place(found, memory.marks, now=now.timestamp()):
        with troubles.with_(log.name), suppress(Moved):
            if log.head == b"":
                continue
            if log.is_packed and was_read(log, mark, memory.marks.get(log.identity)):
                read[log.identity] = mark
                continue
            if pattern not in memory.known and not mark.head_size:
                read[log.identity] = tailing.at_end(mark, log)
                continue
            reading, errors = Reading(recogniser, log, mark, now), Groups()
            for error in filter(watched.concerns, reading.errors()):
                errors.add(f"{pattern} ({recogniser.name})", error, now=now)
            groups.take(errors)
            read[log.identity] = reading.mark
    return read


def was_read(log: Log, mark: Mark, before: Mark | None) -> bool:
    """Whether a log to which nothing is added any more was there, as it is, when it was read to its end."""
    return before is not None and mark.head_size > 0 and mark.head == before.head and log.modified < before.seen


@dataclass
class Reading:
    """One log, read from its mark on; the mark moves when all its records were taken."""

    recogniser: Recogniser
    log: Log
    mark: Mark
    now: datetime

    def errors(self) -> Iterator[Occurrence]:
        context = self.mark.context or self.first_context()
        offset = self.mark.offset
        for record in records(self.lines(), self.recogniser.begins):
            if self.may_go_on(record.end):
                break
            context = self.recogniser.context(context, record.first[0])
            if found := self.recogniser.read(record.lines, context):
                yield found
            offset = record.end
            if offset - self.mark.offset >= MOST_AT_ONCE and not self.log.is_packed:
                print(f"{self.log.name}: {self.log.size - offset} bytes are left for the next run")
                break
        self.mark = tailing.advanced(self.mark, self.log, offset, context)

    def lines(self) -> Iterator[tuple[str, int, int]]:
        for raw, start, end in tailing.lines(self.log, self.mark.offset):
            yield raw.decode("utf-8", "replace"), start, end

    def may_go_on(self, end: int) -> bool:
        """Whether this record is the last so far of a log that somebody is writing just now."""
        is_last = end >= self.log.size and not self.log.is_packed
        return is_last and self.now.timestamp() - self.log.modified < SETTLE.total_seconds()

    def first_context(self) -> str:
        context = ""
        if self.mark.offset:
            for line in tailing.head_of(self.log).decode("utf-8", "replace").splitlines():
                context = self.recogniser.context(context, line)
        return context


def look_at_unit(
    watched: Watched, unit: str, known: Mapping[str, Any] | None, groups: Groups, *, now: datetime
) -> Mapping[str, Any]:
    """Where to go on in the journal of this unit: after a cursor, or where there was no entry yet, at a time."""
    until = now - SETTLE
    if known is None:
        return {"cursor": "", "since": until.timestamp()}
    cursor, since = str(known["cursor"]), datetime.fromtimestamp(float(known["since"]), UTC)
    command = journal.journal_command(unit, watched.journal, until=until, cursor=cursor, since=since)

    def noted() -> Iterator[journal.Entry]:
        nonlocal cursor
        for entry in journal.read(command):
            yield entry
            cursor = entry.cursor

    errors = Groups()
    for error in filter(watched.concerns, journal.Errors().take(noted())):
        errors.add(f"{unit} (journal)", error, now=now)
    groups.take(errors)
    return {"cursor": cursor, "since": since.timestamp()}


# -- telling


def finding_of(groups: Groups, *, task: str, host: str, to: Sequence[str], limit: int, now: datetime) -> Finding:
    shown = groups.by_source()[:limit]
    return Finding(
        name=f"{task}.{now:%Y%m%dT%H%M%S%f}",
        at=now.isoformat(),
        to=tuple(to),
        subject=f"{counted(groups.total, 'error')} of {counted(len(groups), 'kind')} in the logs of {host}",
        lines=tuple(describe(groups, limit)),
        items=tuple(
            (
                group.headline[:LONGEST_NAME],
                "once" if group.count == 1 else f"{group.count} times",
                f"{group.source}: {span(group)}",
            )
            for group in shown
        ),
        counts={"errors": groups.total, "kinds of errors": len(groups)},
    )


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


Post = Callable[[Finding], tuple[str, Failures]]
"""Hands the mail of a finding over: where it went, and who did not get it."""


def tell(memory: Memory, file: Path, report: Report, post: Post) -> Memory:
    """Tell what was found, and forget it; see the top of this module. Returns the memory without it.

    Raises MailInDoubt once it is told in the run's output, and NotSent, after which the next run tries again for those
    who did not get it.
    """
    finding = memory.finding
    if finding is None:
        return memory
    print(f"{finding.subject}:")
    print("\n".join(finding.lines))
    done = replace(memory, finding=None)
    if finding.is_handed:
        done.store(file)
        raise MailInDoubt(f"{finding.name}; its report is in the output of this run")
    for name, outcome, message in finding.items:
        report.item(name, outcome, message)
    for name, value in finding.counts.items():
        report.count(name, value)
    if finding.to:
        hand_over(memory, finding, file, post)
    else:
        print("\nNobody is named to be told by mail.")
    done.store(file)
    return done


def hand_over(memory: Memory, finding: Finding, file: Path, post: Post) -> None:
    """Raises NotSent."""
    replace(memory, finding=replace(finding, is_handed=True)).store(file)
    try:
        where, failures = post(finding)
    except RotaError:  # before anything left
        memory.store(file)
        raise
    if failures:
        # What was reported is not reported again; only those who did not get the mail are tried again.
        left = replace(finding, to=tuple(failures), items=(), counts={})
        replace(memory, finding=left).store(file)
        raise NotSent("; ".join(dict.fromkeys(failures.values())))
    print(f"\nThe mail {finding.name} is with {where}.")
