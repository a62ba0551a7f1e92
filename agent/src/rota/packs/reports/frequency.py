"""The days on which a report is made: counted from its first day, with nothing made up for unless it says so.

A monthly or yearly report keeps its day of the month. Months that have no such day are left out, or, with
`month_end: clip`, give their last day; so what began on the 29th of February is made in leap years, or every year.
"""

from calendar import monthrange
from collections.abc import Iterator
from datetime import MAXYEAR, date, timedelta

from rota.packs.reports.definitions import Frequency, MonthEnd, Task

DAYS = {Frequency.DAILY: 1, Frequency.WEEKLY: 7}
MONTHS = {Frequency.MONTHLY: 1, Frequency.YEARLY: 12}


def is_due(task: Task, day: date) -> bool:
    """Whether the report is made on this day: it is active, has begun, and the day is one of its own."""
    return task.is_active and falls_on(task, day)


def next_due(task: Task, after: date) -> date | None:
    """The first day later than `after` on which it is really made; None for what is not active, or at time's end."""
    return next(due_from(task, after), None) if task.is_active else None


def due_days(task: Task, first: date, last: date) -> tuple[date, ...]:
    """All days from `first` to `last`, both included, on which it is made."""
    days = []
    if is_due(task, first) and first <= last:
        days.append(first)
    for day in due_from(task, first) if task.is_active else ():
        if day > last:
            break
        days.append(day)
    return tuple(days)


def missed(task: Task, since: date, until: date) -> tuple[date, ...]:
    """The days between `since`, the last day that was looked after, and `until`, today, that are to be made up for.

    Neither end is one of them. Without `catch_up` there are none.
    """
    if not task.catch_up or until - since < timedelta(days=2):
        return ()
    return due_days(task, since + timedelta(days=1), until - timedelta(days=1))


def falls_on(task: Task, day: date) -> bool:
    start = task.start_date
    if day < start:
        return False
    if task.frequency in DAYS:
        return (day - start).days % DAYS[task.frequency] == 0
    return months_between(start, day) % MONTHS[task.frequency] == 0 and day == in_month(task, day.year, day.month)


def due_from(task: Task, after: date) -> Iterator[date]:
    """The days later than `after`, active or not, without end but that of the calendar."""
    return by_days(task, after) if task.frequency in DAYS else by_months(task, after)


def by_days(task: Task, after: date) -> Iterator[date]:
    step = DAYS[task.frequency]
    day = task.start_date.toordinal()
    if after >= task.start_date:
        day += ((after - task.start_date).days // step + 1) * step
    for ordinal in range(day, date.max.toordinal() + 1, step):
        yield date.fromordinal(ordinal)


def by_months(task: Task, after: date) -> Iterator[date]:
    start, step = task.start_date, MONTHS[task.frequency]
    passed = max(0, months_between(start, after) // step * step)
    for month in range(start.year * 12 + start.month - 1 + passed, (MAXYEAR + 1) * 12, step):
        day = in_month(task, month // 12, month % 12 + 1)
        if day is not None and day > after:
            yield day


def months_between(start: date, day: date) -> int:
    return (day.year - start.year) * 12 + day.month - start.month


def in_month(task: Task, year: int, month: int) -> date | None:
    """Its day of this month; None where the month has none and is left out."""
    last = monthrange(year, month)[1]
    if task.start_date.day > last and task.month_end is MonthEnd.SKIP:
        return None
    return date(year, month, min(task.start_date.day, last))
