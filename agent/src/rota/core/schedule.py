"""When a task is planned to run: its slots, with what daylight saving, blackouts and holidays make of each."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import groupby
from zoneinfo import ZoneInfo

from rota.core.calendar import Calendar, parse
from rota.core.task import Dst, Task
from rota.core.window import Window

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
AFTERMATH = timedelta(hours=3)
"""How long after a shift of the clocks there may be times that are repeated or were left out."""


@dataclass(frozen=True, order=True)
class Slot:
    """One moment (UTC) at which a task is planned to run; or, with `barred`, at which it will not, and why."""

    moment: datetime
    barred: str = ""


@dataclass(frozen=True)
class Shift:
    """A moment (UTC) at which a zone's clocks are set, and their distance from UTC before and after."""

    moment: datetime
    before: timedelta
    after: timedelta

    @property
    def is_plain(self) -> bool:
        """Whether systemd can be trusted to find its way across.

        Where a time that is left out begins off the hour or touches midnight, what it finds, and whether it finds
        anything, depends on a guess of the C library's.
        """
        begin, end = self.moment + self.before, self.moment + self.after
        return end <= begin or (begin.minute == 0 and 0 < begin.hour <= end.hour)


@dataclass(frozen=True)
class Schedule:
    """The calendars of one task and what bends them. Without `dst` it is what systemd does: as `skip`.

    A time that a zone's clocks leave out in spring is a slot at the end of what they left out (`run_once`), or a
    barred one at the moment where it would have been (`skip`, `both`), unless the schedule has a slot there anyway.
    A time that comes twice in autumn is one slot, the first; two for `both`.
    """

    calendars: tuple[Calendar, ...]
    dst: Dst | None = None
    only: tuple[Window, ...] = ()
    excepted: tuple[Window, ...] = ()

    def slots(self, begin: datetime, end: datetime) -> Iterator[Slot]:
        """Every slot later than `begin` and not later than `end` (both aware), in order, one for each moment."""
        found = heapq.merge(*(self.slots_of(calendar, begin, end) for calendar in self.calendars))
        for _, same in groupby(found, key=lambda slot: slot.moment):
            # A slot that goes ahead sorts first.
            yield next(same)

    def slots_of(self, calendar: Calendar, begin: datetime, end: datetime) -> Iterator[Slot]:
        zone = calendar.zone
        for slot in moments(calendar, self.dst or Dst.SKIP, begin.astimezone(UTC), end.astimezone(UTC)):
            yield slot if slot.barred else replace(slot, barred=self.bar(slot.moment.astimezone(zone)))

    def bar(self, local: datetime) -> str:
        """Why a slot at this local time is not to run, in a record's words; empty where nothing forbids it."""
        for window in self.excepted:
            if inside := window.around(local):
                return f"excepted: {inside}"
        if self.only and not any(window.around(local) for window in self.only):
            return f"excepted: outside {', '.join(window.text for window in self.only)}"
        return ""


def schedule_of(task: Task) -> Schedule | None:
    """The schedule of a task, or None for one that has none. Raises BadExpression."""
    if not task.schedule:
        return None
    calendars = tuple(parse(expression, task.zone or "UTC") for expression in task.schedule)
    return Schedule(calendars, task.dst, task.only, task.excepted)


def extra_moments(schedule: Schedule, begin: datetime, end: datetime) -> list[datetime]:
    """The slots after a shift of the clocks that systemd does not find in the expressions, in this span.

    It takes a repeated time once, and passes over a left out one.
    """
    found: set[datetime] = set()
    for zone in {calendar.zone for calendar in schedule.calendars}:
        for shift in shifts_of(zone, begin, end):
            since, until = shift.moment - SECOND, shift.moment + AFTERMATH
            wanted = {slot.moment for slot in schedule.slots(since, until) if not slot.barred}
            # From before the first pass, as a timer that is waiting: begun between the two it would find the second.
            before = shift.moment - AFTERMATH
            there = {elapse for calendar in schedule.calendars for elapse in calendar.between(before, until)}
            found |= wanted - there if shift.is_plain else wanted
    return sorted(found)


def moments(calendar: Calendar, dst: Dst, begin: datetime, end: datetime) -> Iterator[Slot]:
    """The slots of one calendar without regard to windows, later than `begin` and not later than `end` (UTC).

    Between two shifts of its clocks a zone's times are a fixed distance from UTC, and each comes once.
    """
    walls = replace(calendar, zone=ZoneInfo("UTC"))
    shifts = shifts_of(calendar.zone, begin, end)
    offset = shifts[0].before if shifts else offset_at(calendar.zone, end)
    since, parts = begin, list[Iterator[Slot]]()
    for shift in shifts:
        parts += [
            real(walls, offset, max(begin, since), min(end, shift.moment - SECOND)),
            (slot for slot in of_gap(walls, shift, dst) if begin < slot.moment <= end),
        ]
        doubled = max(shift.before - shift.after, timedelta()) if dst is not Dst.BOTH else timedelta()
        since, offset = shift.moment + doubled - SECOND, shift.after
    return heapq.merge(*parts, real(walls, offset, max(begin, since), end))


def real(walls: Calendar, offset: timedelta, begin: datetime, end: datetime) -> Iterator[Slot]:
    """The slots later than `begin` and not later than `end`, while the clocks are this far from UTC."""
    return (Slot(wall - offset) for wall in walls.between(begin + offset, end + offset))


def of_gap(walls: Calendar, shift: Shift, dst: Dst) -> Iterator[Slot]:
    """What stands for the times that the clocks leave out at this shift."""
    missing = list(walls.between(shift.moment + shift.before - SECOND, shift.moment + shift.after - SECOND))
    if dst is Dst.RUN_ONCE:
        yield from [Slot(shift.moment)] if missing else []
        return
    for wall in missing:
        instead = wall - shift.before + shift.after
        if walls.after(instead - SECOND) != instead:
            yield Slot(wall - shift.before, f"daylight saving: {wall:%H:%M} does not exist on {wall:%Y-%m-%d}")


def shifts_of(zone: ZoneInfo, begin: datetime, end: datetime) -> list[Shift]:
    """The shifts of a zone's clocks from a day before `begin`, for a repeated hour may be under way, until `end`."""
    years = range((begin - DAY).year, end.year + 1)
    return [shift for year in years for shift in shifts_in(zone, year) if begin - DAY <= shift.moment <= end]


@lru_cache(maxsize=1024)
def shifts_in(zone: ZoneInfo, year: int) -> tuple[Shift, ...]:
    """The shifts of a zone's clocks in this year (UTC)."""
    days = [datetime(year, 1, 1, tzinfo=UTC) + number * DAY for number in range(367)]
    offsets = [offset_at(zone, day) for day in days]
    found = [
        Shift(first_with(zone, after, day), before, after)
        for day, before, after in zip(days, offsets, offsets[1:], strict=False)
        if before != after
    ]
    return tuple(shift for shift in found if shift.moment.year == year)


def first_with(zone: ZoneInfo, offset: timedelta, day: datetime) -> datetime:
    """The first moment after this one, within a day of it, at which the clocks are this far from UTC."""
    least, most = 0, 86_400
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (least, middle) if offset_at(zone, day + middle * SECOND) == offset else (middle, most)
    return day + most * SECOND


def offset_at(zone: ZoneInfo, moment: datetime) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()
