"""Calendar expressions as systemd reads them (systemd.time(7), CALENDAR EVENTS), and the moments they name.

The moments are those of systemd 252, daylight saving included: a local time that a zone skips in spring is not an
elapse; of one that comes twice in autumn the first is, and the search goes on after the second, unless it begins
between the two.
"""

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rota.core.errors import RotaError
from rota.core.quantities import YEARS

SECOND = timedelta(seconds=1)
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
SHORTHANDS = {
    "minutely": "*-*-* *:*:00",
    "hourly": "*-*-* *:00:00",
    "daily": "*-*-* 00:00:00",
    "weekly": "Mon *-*-* 00:00:00",
    "monthly": "*-*-01 00:00:00",
    "quarterly": "*-01,04,07,10-01 00:00:00",
    "semiannually": "*-01,07-01 00:00:00",
    "semi-annually": "*-01,07-01 00:00:00",
    "biannually": "*-01,07-01 00:00:00",
    "bi-annually": "*-01,07-01 00:00:00",
    "yearly": "*-01-01 00:00:00",
    "annually": "*-01-01 00:00:00",
    "anually": "*-01-01 00:00:00",
}
PART = re.compile(r"(\d+)(?:\.\.(\d+))?(?:/(\d+))?", re.ASCII)


class BadExpression(RotaError):
    """This is no calendar expression."""


@dataclass(frozen=True)
class Part:
    """`first`, `first..last`, `first/step` or `first..last/step`; without a step a single value."""

    first: int
    last: int | None
    step: int

    def at_or_after(self, value: int, first: int, last: int | None) -> int | None:
        """The least value of this part, taken from `first` to `last`, that is not before `value`."""
        if first >= value:
            return first
        if not self.step:
            return None
        found = first + -(-(value - first) // self.step) * self.step
        return found if last is None or found <= last else None


@dataclass(frozen=True)
class Field:
    """One component of an expression; no parts mean any value. `counts_back` where days count from a month's end."""

    parts: tuple[Part, ...] = ()
    counts_back: bool = False

    def at_or_after(self, value: int, days: int = 0) -> int | None:
        """The least allowed value that is not before `value`; `days` is the length of the month in hand."""
        if not self.parts:
            return value
        found = [part.at_or_after(value, *self.bounds(part, days)) for part in self.parts]
        return min((each for each in found if each is not None), default=None)

    def bounds(self, part: Part, days: int) -> tuple[int, int | None]:
        if not self.counts_back:
            return part.first, part.last
        first = days + 1 - part.first
        if part.last is None:
            return first, days if part.step else None
        return min(first, days + 1 - part.last), max(first, days + 1 - part.last)


@dataclass(frozen=True)
class Calendar:
    """A parsed expression. `weekdays` counts from Monday, 0; `zone` is where its times are local."""

    weekdays: frozenset[int]
    year: Field
    month: Field
    day: Field
    hour: Field
    minute: Field
    second: Field
    zone: ZoneInfo

    def after(self, moment: datetime) -> datetime | None:
        """The first elapse later than this moment (aware), in UTC; None where there is none before the year 2200."""
        begin = (moment.astimezone(UTC) + SECOND).replace(microsecond=0)
        local = begin.astimezone(self.zone).replace(tzinfo=None, fold=0)
        found = self.find(local)
        if found is None:
            return None
        # From within an hour that is repeated the search goes on in its second pass.
        passes = (found.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        return next((elapse for elapse in passes if elapse >= begin), None)

    def between(self, begin: datetime, end: datetime) -> Iterator[datetime]:
        """Every elapse later than `begin` and not later than `end`, in order, in UTC."""
        moment = self.after(begin)
        while moment is not None and moment <= end:
            yield moment
            moment = self.after(moment)

    def find(self, local: datetime) -> datetime | None:
        """The first local time that fits and that the zone has, not before this one."""
        at: datetime | None = self.existing(local)
        while at is not None:
            following = self.step(at)
            if following == at:
                return at
            at = following and self.existing(following)
        return None

    def step(self, at: datetime) -> datetime | None:
        """The time itself where it fits, else a later one to go on from; None after the last year."""
        year = self.year.at_or_after(at.year)
        if year is None or year not in YEARS:
            return None
        midnight = at.replace(hour=0, minute=0, second=0)
        if year > at.year:
            return midnight.replace(year=year, month=1, day=1)
        month = self.month.at_or_after(at.month)
        if month is None or month > 12:
            return midnight.replace(year=at.year + 1, month=1, day=1)
        if month > at.month:
            return midnight.replace(month=month, day=1)
        days = calendar.monthrange(at.year, at.month)[1]
        day = self.day.at_or_after(at.day, days)
        if day is None:
            return midnight.replace(day=1) + timedelta(days=days)
        if day > at.day:
            return carried(midnight, midnight.replace(day=1) + timedelta(days=day - 1))
        if at.weekday() not in self.weekdays:
            return midnight + timedelta(days=1)
        hour = self.hour.at_or_after(at.hour)
        if hour is None:
            return midnight + timedelta(days=1)
        if hour > at.hour:
            return carried(midnight, midnight + timedelta(hours=hour))
        minute = self.minute.at_or_after(at.minute)
        if minute is None:
            return at.replace(minute=0, second=0) + timedelta(hours=1)
        if minute > at.minute:
            return carried(at, at.replace(minute=0, second=0) + timedelta(minutes=minute))
        second = self.second.at_or_after(at.second)
        if second is None:
            return at.replace(second=0) + timedelta(minutes=1)
        return carried(at, at.replace(second=0) + timedelta(seconds=second))

    def existing(self, local: datetime) -> datetime:
        """The local time, moved on by the length of the gap where the zone skips it."""
        passed = local.replace(tzinfo=self.zone).astimezone(UTC).astimezone(self.zone).replace(tzinfo=None, fold=0)
        return passed if passed > local else local


def carried(at: datetime, to: datetime) -> datetime:
    """Where the search goes on after a step from `at` that may lead out of its minute, hour, day or month.

    As in systemd's tm_within_bounds(): below the largest unit that changed only the next is set back, so that after
    one like `*:0/7` leads past midnight, 00:00 is passed over for 00:07.
    """
    if to.year != at.year:
        return to.replace(month=1)
    if to.month != at.month:
        return to.replace(day=1)
    if to.day != at.day:
        return to.replace(hour=0)
    if to.hour != at.hour:
        return to.replace(minute=0)
    return to.replace(second=0) if to.minute != at.minute else to


# -- reading


def parse(text: str, zone: str = "UTC") -> Calendar:
    """Read an expression; `zone` holds where it names none. Raises BadExpression saying what is wrong."""
    words = text.split()
    if words and (named := zone_named(words[-1])) and len(words) > 1:
        words, where = words[:-1], named
    elif (where_given := zone_named(zone)) is None:
        raise BadExpression(f"{zone!r} is no time zone")
    else:
        where = where_given
    if len(words) == 1 and words[0].lower() in SHORTHANDS:
        words = SHORTHANDS[words[0].lower()].split()
    weekdays = read_weekdays(words.pop(0), text) if words and words[0][0].isalpha() else frozenset(range(7))
    date = words.pop(0) if words and is_date(words[0]) else "*-*-*"
    time = words.pop(0) if words else "00:00:00"
    if words or not text.strip():
        raise BadExpression(f"{text!r}: it must be weekdays, a date and a time, as in Mon..Fri *-*-* 06:30:00")
    return Calendar(weekdays, *read_date(date, text), *read_time(time, text), where)


def zone_named(word: str) -> ZoneInfo | None:
    if not word[:1].isalpha():
        return None
    try:
        return ZoneInfo(word)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def is_date(word: str) -> bool:
    return "-" in word or "~" in word


def read_weekdays(word: str, text: str) -> frozenset[int]:
    """`Mon`, `Mon..Fri`, `Sat,Sun`: full names or their first three letters, in any case."""
    found: set[int] = set()
    for part in word.rstrip(",").split(","):
        first, dots, last = part.partition("..")
        begin, end = weekday(first, text), weekday(last or first, text)
        if dots and end < begin:
            raise BadExpression(f"{text!r}: {part!r} goes backwards")
        found.update(range(begin, end + 1))
    return frozenset(found)


def weekday(name: str, text: str) -> int:
    for number, day in enumerate(DAYS):
        if name.lower() in (day, day[:3]):
            return number
    raise BadExpression(f"{text!r}: {name!r} is no weekday")


def read_date(word: str, text: str) -> tuple[Field, Field, Field]:
    """`YEAR-MONTH-DAY`, `MONTH-DAY`; with `~` before the day it counts from the month's end."""
    head, tilde, last = word.rpartition("~") if "~" in word else word.rpartition("-")
    parts = head.split("-")
    if len(parts) > 2 or not all(parts):
        raise BadExpression(f"{text!r}: {word!r} is no date; it must be YEAR-MONTH-DAY, as in *-*-01")
    year, month = (parts[0], parts[1]) if len(parts) == 2 else ("*", parts[0])
    return (
        read_field(year, 1970, 2199, text, two_digits=True),
        read_field(month, 1, 12, text),
        read_field(last, 1, 28 if tilde == "~" else 31, text, counts_back=tilde == "~"),
    )


def read_time(word: str, text: str) -> tuple[Field, Field, Field]:
    """`HOUR:MINUTE:SECOND` in whole seconds; without seconds they are 0."""
    parts = word.split(":")
    if len(parts) not in (2, 3):
        raise BadExpression(f"{text!r}: {word!r} is no time; it must be HOUR:MINUTE:SECOND, as in 06:30:00")
    hour, minute, second = (*parts, "00")[:3]
    return (
        read_field(hour, 0, 23, text),
        read_field(minute, 0, 59, text),
        read_field(second, 0, 59, text),
    )


def read_field(
    word: str, least: int, most: int, text: str, *, two_digits: bool = False, counts_back: bool = False
) -> Field:
    if word == "*":
        return Field()
    parts = []
    for each in word.split(","):
        match = PART.fullmatch(each)
        if match is None:
            raise BadExpression(f"{text!r}: {each!r} must be *, a number, FIRST..LAST, or one of them with /STEP")
        first, last, step = (None if group is None else int(group) for group in match.groups())
        if two_digits:
            first, last = (None if value is None else whole_year(value) for value in (first, last))
        for value in (first, last):
            if value is not None and not least <= value <= most:
                raise BadExpression(f"{text!r}: {value} must lie between {least} and {most}")
        if first is None or step == 0 or (last is not None and last < first):
            raise BadExpression(f"{text!r}: {each!r} names nothing")
        if last is None and first + (step or 0) > most:
            raise BadExpression(f"{text!r}: {each!r}: a step further is {first + (step or 0)}, and the most is {most}")
        if counts_back and (step is not None or "," in word):
            raise BadExpression(f"{text!r}: ~{word}: from a month's end there is one day, as in ~03, or a range")
        parts.append(part(first, last, step))
    return Field(tuple(parts), counts_back)


def part(first: int, last: int | None, step: int | None) -> Part:
    """The part with the last value that its steps reach; a single one where they reach no further."""
    if last is None:
        return Part(first, None, step or 0)
    step = step or 1
    last -= (last - first) % step
    return Part(first, None, 0) if last == first else Part(first, last, step)


def whole_year(year: int) -> int:
    """Two digits mean 1970 to 2069, as systemd has it."""
    return year + (2000 if year < 70 else 1900) if year < 100 else year
