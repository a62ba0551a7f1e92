"""Windows of local time in which a task may, or may not, run: days, spans and times of the week."""

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from rota.core.calendar import BadExpression, read_weekdays

DAY = timedelta(days=1)
RIGHT = (
    "a day (2026-12-25, or 12-25 for every year), FIRST..LAST of two days or of two moments (2026-12-24 12:00), "
    "or a time of the week like Mon..Fri 08:00..18:00; of a task's slots also the whole path of a calendar, /….ics"
)
YEARLY = re.compile(r"(\d\d)-(\d\d)(?:\.\.(\d\d)-(\d\d))?", re.ASCII)
TIMES = re.compile(r"(\d\d?:\d\d)\.\.(\d\d?:\d\d)", re.ASCII)


class Window(Protocol):
    """Some of all local time. `text` is how its author wrote it."""

    @property
    def text(self) -> str: ...

    def around(self, local: datetime) -> str:
        """What this time (aware, of the schedule's zone) lies in, for people; empty where it lies outside."""

    def spelt(self, first: date, last: date, zone: ZoneInfo) -> tuple[str, ...]:
        """The windows that say the same of these days, as `parse` reads them wherever this one's file is not."""


@dataclass(frozen=True)
class Written:
    """A window that its text says in full."""

    text: str

    def spelt(self, first: date, last: date, zone: ZoneInfo) -> tuple[str, ...]:
        return (self.text,)


@dataclass(frozen=True)
class Span(Written):
    """From `begin` until just before `end`, once."""

    begin: datetime
    end: datetime

    def around(self, local: datetime) -> str:
        return self.text if self.begin <= wall(local) < self.end else ""


@dataclass(frozen=True)
class Season(Written):
    """The days of every year from `first` to `last`, both month and day, over the turn of the year where it must."""

    first: tuple[int, int]
    last: tuple[int, int]

    def around(self, local: datetime) -> str:
        day = (local.month, local.day)
        if self.first <= self.last:
            return self.text if self.first <= day <= self.last else ""
        return self.text if day >= self.first or day <= self.last else ""


@dataclass(frozen=True)
class Weekly(Written):
    """On these weekdays (Monday is 0) from `begin` until just before `end`; past midnight where it is not later."""

    weekdays: frozenset[int]
    begin: time
    end: time

    def around(self, local: datetime) -> str:
        return self.text if any(self.began_on(day, local) for day in (local.date(), local.date() - DAY)) else ""

    def began_on(self, day: date, local: datetime) -> bool:
        if day.weekday() not in self.weekdays:
            return False
        begin = datetime.combine(day, self.begin)
        end = datetime.combine(day if self.end > self.begin else day + DAY, self.end)
        return begin <= wall(local) < end


def wall(local: datetime) -> datetime:
    """What the clock on the wall shows."""
    return local.replace(tzinfo=None, fold=0)


def parse(value: object) -> Window:
    """Read a window as people write it; a day may be YAML's own. Raises ValueError saying what would be right."""
    text = " ".join(str(value).split())
    try:
        found = read_season(text) or read_weekly(text) or read_span(text)
    except (ValueError, BadExpression):
        found = None
    if found is None or isinstance(value, bool | int | float | list | dict):
        raise ValueError(RIGHT)
    return found


def read_season(text: str) -> Season | None:
    """`12-25` or `12-24..01-02`."""
    match = YEARLY.fullmatch(text)
    if match is None:
        return None
    month, day, last_month, last_day = (int(group) if group else 0 for group in match.groups())
    first = month_and_day(month, day)
    return Season(text, first, month_and_day(last_month, last_day) if last_month else first)


def month_and_day(month: int, day: int) -> tuple[int, int]:
    leap_day = date(2000, month, day)
    return leap_day.month, leap_day.day


def read_weekly(text: str) -> Weekly | None:
    """`Mon..Fri 08:00..18:00`, or one half of it."""
    days, times = frozenset(range(7)), (time(), time())
    for number, word in enumerate(text.split()):
        if word[0].isalpha() and number == 0:
            days = around_the_week(word)
        elif match := TIMES.fullmatch(word):
            times = (clock(match[1]), clock(match[2]))
        else:
            return None
    return Weekly(text, days, *times) if text else None


def around_the_week(word: str) -> frozenset[int]:
    """Weekdays as calendar expressions have them, and also over the week's end: `Fri..Mon`."""
    found: set[int] = set()
    for part in word.split(","):
        first, dots, last = part.partition("..")
        (begin,) = read_weekdays(first, word)
        (end,) = read_weekdays(last, word) if dots else (begin,)
        found.update((begin + step) % 7 for step in range((end - begin) % 7 + 1))
    return frozenset(found)


def clock(text: str) -> time:
    hour, minute = text.split(":")
    return time() if (hour, minute) == ("24", "00") else time(int(hour), int(minute))


def read_span(text: str) -> Span | None:
    """A day, two days or two moments; the last day belongs to it, the last moment does not."""
    first, dots, last = text.partition("..")
    begin, end = datetime.fromisoformat(first), datetime.fromisoformat(last if dots else first)
    if begin.tzinfo or end.tzinfo or (not dots and ":" in first):
        return None
    end = end if ":" in last else end + DAY
    return Span(text, begin, end) if begin < end else None
