"""When a task runs by itself, as its host tells it and as the diary reads it to compute the same slots."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from rota.core import window
from rota.core.calendar import BadExpression
from rota.core.objective import Objective
from rota.core.record import MAX_WINDOWS, Timing, Wanted
from rota.core.schedule import schedule_of
from rota.core.status import Environment
from rota.core.task import Dst, Task
from rota.core.window import Window

AHEAD = timedelta(days=62)
"""How far ahead the events of a calendar are told; the catalogue is told anew each day."""
NEVER = "2000-01-01"
"""A window of `only` that is over, where none of its events is to come: without a window any time would do."""


def timing_of(task: Task, environment: Environment, now: datetime) -> Timing:
    """What there is to tell of this task on a host of this environment; nothing where it runs only by hand."""
    is_here = not task.environments or environment in task.environments
    only = spelt(task.only, task, now)
    return Timing(
        schedule=task.schedule if is_here else (),
        zone=task.zone or "UTC",
        dst=task.dst.value if task.dst else "",
        only=only or ((NEVER,) if task.only else ()),
        excepted=spelt(task.excepted, task, now),
        every=task.every.total_seconds() if task.every and is_here else None,
        spread=task.spread.total_seconds(),
        lock_wait=task.lock_wait.total_seconds(),
        objective=wanted(task.objective) if task.objective and is_here else None,
    )


def spelt(windows: tuple[Window, ...], task: Task, now: datetime) -> tuple[str, ...]:
    zone = ZoneInfo(task.zone or "UTC")
    # From the first of the month, so that what is told changes with the months and not with the days.
    first = now.astimezone(zone).date().replace(day=1)
    texts = [text for each in windows for text in each.spelt(first, first + AHEAD, zone)]
    return tuple(texts[:MAX_WINDOWS])


def wanted(objective: Objective) -> Wanted:
    return Wanted(
        success=objective.success,
        within=objective.within.total_seconds(),
        fresh=objective.fresh.total_seconds() if objective.fresh else None,
    )


def task_of(name: str, timing: Timing) -> Task | None:
    """The inverse of `timing_of`: a task that is planned alike; None where a newer host says it in other words."""
    try:
        task = Task(
            name=name,
            description="",
            command=(),
            schedule=timing.schedule,
            zone=timing.zone,
            dst=Dst(timing.dst) if timing.dst else None,
            only=tuple(map(window.parse, timing.only)),
            excepted=tuple(map(window.parse, timing.excepted)),
            every=timedelta(seconds=timing.every) if timing.every else None,
            spread=timedelta(seconds=timing.spread),
            lock_wait=timedelta(seconds=timing.lock_wait),
            objective=objective_of(timing.objective) if timing.objective else None,
        )
        schedule_of(task)
    except (BadExpression, ValueError, OverflowError):
        return None
    return task


def objective_of(said: Wanted) -> Objective:
    return Objective(
        success=said.success,
        within=timedelta(seconds=said.within),
        fresh=timedelta(seconds=said.fresh) if said.fresh else None,
    )
