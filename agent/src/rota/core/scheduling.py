"""What is wrong with schedules: slots that never come, that daylight saving moves, or at which too much begins."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain, combinations, groupby, islice
from zoneinfo import ZoneInfo

from rota.core.calendar import Calendar, parse
from rota.core.schedule import SECOND, Shift, schedule_of, shifts_of
from rota.core.task import Task

COMING = timedelta(days=5 * 366)
"""How far ahead shifts of clocks are looked for."""
YEAR = timedelta(days=366)
MOST = 20_000
"""How many slots of a task are compared with another's: enough for one every half an hour."""
AT = "%Y-%m-%d %H:%M"


def problems_of(tasks: Iterable[Task], now: datetime) -> Iterator[tuple[str, str, str]]:
    """Task, field, and what is wrong with it and what would be right."""
    scheduled = [task for task in tasks if task.schedule]
    for task in scheduled:
        for said in chain(never(task, now), windows(task, now)):
            yield task.name, "schedule", said
        if task.dst is None:
            yield from ((task.name, "dst", said) for said in shifted(task, now))
    yield from ((name, "heavy", said) for name, said in together([task for task in scheduled if task.heavy], now))


def calendars_of(task: Task) -> list[tuple[str, Calendar]]:
    """The expressions of a task's schedule, each with its meaning."""
    return [(expression, parse(expression, task.zone or "UTC")) for expression in task.schedule]


def never(task: Task, now: datetime) -> Iterator[str]:
    for expression, calendar in calendars_of(task):
        if calendar.after(now) is None:
            yield f"{expression!r} names no moment from now on; take it away, or let it name one"


def windows(task: Task, now: datetime) -> Iterator[str]:
    """Whether only and except leave anything of the coming year."""
    schedule = schedule_of(task)
    if schedule is None or not (task.only or task.excepted):
        return
    barred = ""
    for slot in schedule.slots(now, now + YEAR):
        if not slot.barred:
            return
        barred = slot.barred
    if barred:
        yield f"only and except leave no slot of the coming year ({barred}); widen them, or move the schedule"


def shifted(task: Task, now: datetime) -> Iterator[str]:
    """The first time of each expression that clocks leave out or repeat, where the task does not say what then."""
    right = "say dst: run_once, skip or both (docs/tasks.md), or take UTC, or an hour that no shift of clocks touches"
    for expression, calendar in calendars_of(task):
        walls = replace(calendar, zone=ZoneInfo("UTC"))
        for shift in shifts_of(calendar.zone, now, now + COMING):
            wall = touched(walls, shift)
            if wall and shift.moment > now:
                what = "does not exist" if shift.after > shift.before else "comes twice"
                yield f"{expression!r}: {wall:%H:%M} {what} on {wall:%Y-%m-%d} in {calendar.zone}; {right}"
                break


def touched(walls: Calendar, shift: Shift) -> datetime | None:
    """The first time of these that this shift leaves out or repeats."""
    ends = sorted((shift.moment + shift.before, shift.moment + shift.after))
    found = walls.after(ends[0] - SECOND)
    return found if found and found < ends[1] else None


def together(tasks: Sequence[Task], now: datetime) -> Iterator[tuple[str, str]]:
    """Each task that begins in the same minute of the coming year as a later one, told once, with the first such."""
    told: set[str] = set()
    starts = heapq.merge(*(begins(task, place, now) for place, task in enumerate(tasks)))
    for minute, same in groupby(starts, key=lambda start: start[0]):
        for one, other in combinations([tasks[place] for _, place in same], 2):
            if one.name not in told and not wait_for_each_other(one, other):
                told.add(one.name)
                yield (
                    one.name,
                    f"{one.name} and {other.name} both begin at {minute:{AT}} UTC, and both are heavy; "
                    "move one of them, or give both the same lock and a lock_wait",
                )


def wait_for_each_other(one: Task, other: Task) -> bool:
    return bool(one.lock_name == other.lock_name and one.lock_wait and other.lock_wait)


def begins(task: Task, place: int, now: datetime) -> Iterator[tuple[datetime, int]]:
    """The minutes in which the task begins, each with its place among the tasks."""
    return ((minute, place) for minute in minutes(task, now))


def minutes(task: Task, now: datetime) -> Iterator[datetime]:
    """The different minutes of the coming year in which the task begins, in order."""
    schedule = schedule_of(task)
    slots = schedule.slots(now.astimezone(UTC), now + YEAR) if schedule else iter(())
    going = (slot.moment.replace(second=0) for slot in islice(slots, MOST) if not slot.barred)
    return (minute for minute, _ in groupby(going))
