"""What is planned of a task, when it runs next, and since when a run of it is missing."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from rota.core.history import Standing
from rota.core.pause import Pause
from rota.core.plan import HORIZON, Planned
from rota.core.schedule import Schedule, schedule_of
from rota.core.task import Task

SHORTEST, LONGEST = timedelta(minutes=1), timedelta(minutes=10)
LATE = timedelta(minutes=10)
"""How long after its slot a task without a run is overdue: the accounting may still start it for 5 minutes."""


def cadence(every: timedelta) -> timedelta:
    """How often it is looked whether a task that is needed `every` so long is due: a twentieth of that, 1 to 10 min."""
    return min(max(every / 20, SHORTEST), LONGEST)


def patience(task: Task) -> timedelta:
    """How long after it is due a run of this task may begin before it is overdue."""
    return 2 * cadence(task.every) if task.every else LATE + task.spread + task.lock_wait


def planned(schedule: Schedule, pause: Pause | None, begin: datetime, end: datetime) -> Iterator[Planned]:
    """The slots later than `begin` and not later than `end`, with why some are not to run."""
    for slot in schedule.slots(begin, end):
        paused = pause.skip if pause and pause.covers(slot.moment) else ""
        yield Planned(slot.moment, slot.barred or paused)


def next_start(task: Task, standing: Standing | None, pause: Pause | None, now: datetime) -> datetime | None:
    """The moment at which the task is to run next: its next slot that nothing forbids; None where there is none."""
    if task.every:
        due = max(standing.success.ended + task.every, now) if standing and standing.success else now
        return due if not pause or not pause.covers(due) else pause.until
    schedule = schedule_of(task)
    if schedule is None:
        return None
    begin = pause.until if pause and pause.until and pause.covers(now) else now
    slots = planned(schedule, pause, begin, now.astimezone(UTC) + HORIZON)
    return next((slot.moment for slot in slots if not slot.reason), None)


def overdue_since(task: Task, standing: Standing | None, pause: Pause | None, now: datetime) -> datetime | None:
    """Since when a run is missing: the first slot since the latest run that should have run; None where none is.

    A task that is needed `every` so long is due that long after its latest success.
    """
    if standing is None or (pause and pause.covers(now)):
        return None
    if not task.every:
        return standing.missing
    if standing.success is None:
        return standing.missing
    due = standing.success.ended + task.every
    return due if now > due + patience(task) else None
