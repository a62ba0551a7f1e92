"""Errors that are the same but for numbers, addresses and ids, put together and counted."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from rota.core.plain import plain
from rota.packs.logs.recognising import LEFT_OUT, TRACEBACK, Occurrence, exception_of

LONGEST_SAMPLE = 4000
MOST_GROUPS = 2000
# From the particular to the general; what one has replaced, the next does not see.
VARIABLE = (
    (re.compile(r"\x1b\[[0-9;]*m"), ""),
    (re.compile(r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b"), "<id>"),
    (re.compile(r"\b0x[0-9a-fA-F]+\b"), "<address>"),
    (re.compile(r"(?<![\w:.])(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}(?![\w:])"), "<address>"),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"), "<address>"),
    (re.compile(r"\b(?=[0-9a-fA-F]*\d)(?=[0-9a-fA-F]*[a-fA-F])[0-9a-fA-F]{8,}\b"), "<id>"),
    (re.compile(r"(?<!status/)\d+"), "<n>"),
)


@dataclass(frozen=True)
class Group:
    """One kind of error of one source: how often, when first and last, and the first of them in full."""

    source: str
    count: int
    first: datetime
    last: datetime
    sample: str

    @property
    def headline(self) -> str:
        """The line that says most: of a traceback the exception, else the first."""
        lines = [line for line in self.sample.splitlines() if line.strip()] or ["(empty)"]
        at = next((at for at, line in enumerate(lines) if line.startswith(TRACEBACK)), None)
        return lines[0] if at is None else exception_of(lines[at:])


def normalise(text: str) -> str:
    """What is the same in all errors of a kind."""
    for pattern, replacement in VARIABLE:
        text = pattern.sub(replacement, text)
    return text


class Groups:
    """All errors of a run, by kind. Beyond 2,000 kinds further ones are only counted."""

    def __init__(self) -> None:
        self._groups: dict[str, Group] = {}
        self.uncounted = 0

    def add(self, source: str, error: Occurrence, *, now: datetime) -> None:
        at = error.at or now
        key = hashlib.sha256(f"{source}\0{normalise(shortened(error.about))}".encode("utf-8", "replace")).hexdigest()
        known = self._groups.get(key)
        if known:
            first, last = min(known.first, at), max(known.last, at)
            self._groups[key] = replace(known, count=known.count + 1, first=first, last=last)
        elif len(self._groups) < MOST_GROUPS:
            self._groups[key] = Group(source, 1, at, at, shortened(error.text))
        else:
            self.uncounted += 1

    def take(self, others: "Groups") -> None:
        """Add all of another's."""
        self.uncounted += others.uncounted
        for key, group in others._groups.items():
            known = self._groups.get(key)
            if known:
                first, last = min(known.first, group.first), max(known.last, group.last)
                self._groups[key] = replace(known, count=known.count + group.count, first=first, last=last)
            elif len(self._groups) < MOST_GROUPS:
                self._groups[key] = group
            else:
                self.uncounted += group.count

    @property
    def total(self) -> int:
        return self.uncounted + sum(group.count for group in self._groups.values())

    def by_source(self) -> list[Group]:
        """The most frequent of each source first."""
        return sorted(self._groups.values(), key=lambda group: (group.source, -group.count, group.first))

    def __len__(self) -> int:
        return len(self._groups)


def shortened(text: str) -> str:
    if len(text) <= LONGEST_SAMPLE:
        return text
    half = LONGEST_SAMPLE // 2
    return f"{text[:half]}\n{LEFT_OUT} {len(text) - LONGEST_SAMPLE} characters …\n{text[-half:]}"


def describe(groups: Groups, limit: int) -> Iterator[str]:
    """The report, line by line: at most `limit` kinds in full."""
    shown = groups.by_source()[:limit]
    source = ""
    for group in shown:
        if group.source != source:
            source = group.source
            yield from ("", source)
        times = "once, at" if group.count == 1 else f"{group.count} times,"
        yield from ("", f"  {times} {span(group)}", *(f"    {plain(line)}" for line in group.sample.splitlines()))
    rest = len(groups) - len(shown)
    if rest or groups.uncounted:
        more = groups.total - sum(group.count for group in shown)
        kinds = f"at least {rest + 1}" if groups.uncounted else str(rest)
        yield from ("", f"… and {more} more, of {kinds} other kinds")


def span(group: Group) -> str:
    first, last = (f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}" for at in (group.first, group.last))
    return f"{first} UTC" if first == last else f"{first} to {last} UTC"
