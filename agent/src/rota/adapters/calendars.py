"""Calendars in files (iCalendar, RFC 5545): the days and hours of their events as windows of local time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from rota.core.errors import RotaError

DAY = timedelta(days=1)
SOME_DAY = date(2026, 1, 1)


class CalendarUnreadable(RotaError):
    """A calendar cannot be read."""


class NeedsExtra(CalendarUnreadable):
    """What reads calendars is not installed."""


class Events(Protocol):
    """The events of a calendar, repetitions and exceptions worked out (recurring_ical_events.CalendarQuery)."""

    def between(self, start: date, stop: date) -> Sequence[Any]: ...


@dataclass(frozen=True)
class Event:
    """One event: of whole days or of its reader's own clock (without a zone), or of moments (with one)."""

    text: str
    begin: datetime
    end: datetime

    def takes(self, local: datetime) -> bool:
        return self.begin <= (local if self.begin.tzinfo else local.replace(tzinfo=None)) < self.end

    def spelt(self, zone: ZoneInfo) -> str:
        """The event as a window that needs no file, in this zone."""
        begin, end = (each.astimezone(zone) if each.tzinfo else each for each in (self.begin, self.end))
        return f"{begin:%Y-%m-%d %H:%M:%S}..{end:%Y-%m-%d %H:%M:%S}"


@dataclass(frozen=True)
class CalendarFile:
    """The time that the events of a file take. What is repeated is worked out month by month, when it is asked for.

    `content` stands for what the file held: a calendar is another one when its file has changed.
    """

    path: Path
    content: str
    events: Events = field(compare=False, repr=False)
    known: dict[date, list[Event]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def text(self) -> str:
        return str(self.path)

    def around(self, local: datetime) -> str:
        return next((event.text for event in self.month(local.date()) if event.takes(local)), "")

    def spelt(self, first: date, last: date, zone: ZoneInfo) -> tuple[str, ...]:
        months = dict.fromkeys(day.replace(day=1) for day in days_from(first, last))
        found = [event.spelt(zone) for month in months for event in self.month(month) if event.begin < event.end]
        return tuple(dict.fromkeys(found))

    def month(self, day: date) -> list[Event]:
        """The events of the month of this day, wherever on earth it is that day."""
        first = day.replace(day=1)
        if first not in self.known:
            following = (first + timedelta(days=32)).replace(day=1)
            found = self.events.between(first - DAY, following + DAY)
            self.known[first] = [read_event(event) for event in found if not is_cancelled(event)]
        return self.known[first]


@dataclass(frozen=True)
class UnreadCalendar:
    """A calendar on a host whose release cannot read one; it takes no time until the deploy that brings what does.

    Refusing it would keep all of the host's tasks from being looked after until then.
    """

    path: Path

    @property
    def text(self) -> str:
        return str(self.path)

    @property
    def wanting(self) -> str:
        """What is to be done."""
        return (
            f"{self.path} needs the extra `calendars`: on a host, name it in agent_extras, and deploy; elsewhere "
            "install rota[calendars]"
        )

    def around(self, local: datetime) -> str:
        return ""

    def spelt(self, first: date, last: date, zone: ZoneInfo) -> tuple[str, ...]:
        return ()


def days_from(first: date, last: date) -> Iterator[date]:
    return (first + DAY * number for number in range((last - first).days + 1))


def is_cancelled(event: Any) -> bool:
    """Whether its author called it off and left it in the calendar (RFC 5545 section 3.8.1.11)."""
    return str(event.get("STATUS", "")).upper() == "CANCELLED"


def read_event(event: Any) -> Event:
    """An icalendar.Event as a value; several of one name are told apart by their day."""
    summary = " ".join(str(event.get("SUMMARY") or "an event").split())
    return Event(f"{summary} ({event.start:%Y-%m-%d})", as_moment(event.start), as_moment(event.end))


def as_moment(day: date | datetime) -> datetime:
    return day if isinstance(day, datetime) else datetime.combine(day, time())


def read_calendar(path: Path) -> CalendarFile:
    """Read a file; whether its events can be worked out shows at once. Raises CalendarUnreadable, NeedsExtra."""
    try:
        import icalendar
        import recurring_ical_events
    except ModuleNotFoundError:
        raise NeedsExtra(UnreadCalendar(path).wanting) from None
    try:
        content = path.read_bytes()
        calendar = icalendar.Calendar.from_ical(content)
        found = CalendarFile(path, sha256(content).hexdigest()[:12], recurring_ical_events.of(calendar))
        found.month(SOME_DAY)
    except OSError as error:
        raise CalendarUnreadable(f"{path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CalendarUnreadable(f"{path} is no calendar (RFC 5545): {first_line(error)}") from error
    return found


def first_line(error: Exception) -> str:
    """What went wrong; a KeyError has nothing but the name of what is missing."""
    said = " ".join(str(error.args[0] if error.args else error).split())
    return f"{said} is missing" if isinstance(error, KeyError) else said
