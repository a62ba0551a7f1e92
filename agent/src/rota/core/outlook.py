"""How a task looks to whoever is responsible: what came of it last, what comes next, and whether it needs somebody."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum

from rota.core import due
from rota.core.history import Standing, median
from rota.core.incident import Incident
from rota.core.objective import Attainment, attain
from rota.core.pause import Pause
from rota.core.plan import Plan
from rota.core.record import RunRecord
from rota.core.review import Handled
from rota.core.status import Environment, Status
from rota.core.task import Task


class Concern(IntEnum):
    """What a task is to whoever looks at all of them; the most urgent first."""

    NEEDS_SOMEBODY = 0
    RUNS = 1
    IS_PAUSED = 2
    IS_HANDLED = 3
    IS_FINE = 4


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of one task: its history and plan, the run that is under way, what is open or put on hold.

    `retrying` is a failed attempt after which another is waited for, `asked` the next time somebody asked for.
    """

    standing: Standing = Standing()
    plan: Plan = Plan()
    pause: Pause | None = None
    running: RunRecord | None = None
    retrying: RunRecord | None = None
    asked: datetime | None = None
    incident: Incident | None = None
    unexpected: tuple[str, ...] = ()

    @property
    def handled(self) -> Handled | None:
        """Who has handled what is wrong with it now."""
        return self.incident.handled if self.incident and self.incident.is_open else None


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """One task as it stands now. `why` says for what it needs somebody; `median` is the usual duration in seconds."""

    task: str
    known: Known
    is_here: bool
    median: float | None
    next: datetime | None
    overdue: datetime | None
    why: tuple[str, ...]
    attainment: Attainment | None = None

    @property
    def concern(self) -> Concern:
        if self.why:
            return Concern.NEEDS_SOMEBODY
        if self.known.running or self.known.retrying:
            return Concern.RUNS
        if self.known.pause:
            return Concern.IS_PAUSED
        return Concern.IS_HANDLED if self.known.handled else Concern.IS_FINE

    @property
    def last(self) -> str:
        """What came of the last run that ended, in words."""
        latest = self.known.standing.latest
        if latest is None:
            return "never ran"
        said = f"{latest.status}: {latest.reason}" if latest.reason else str(latest.status)
        return f"{said}, but {'; '.join(self.known.unexpected)}" if self.known.unexpected else said

    @property
    def result(self) -> str:
        """The same, behind what matters more now."""
        if self.known.running:
            is_worth_it = self.why and self.known.standing.latest
            return f"running; before: {self.last}" if is_worth_it else "running"
        if failed := self.known.retrying:
            return f"retrying; attempt {failed.attempt} failed: {failed.reason}"
        said = f"handled by {self.known.handled.by}; {self.last}" if self.known.handled else self.last
        return f"overdue; {said}" if self.overdue else said


def look(task: Task, known: Known, now: datetime, *, environment: Environment) -> Outlook:
    """The task's outlook at this moment."""
    known = replace(known, pause=known.pause if known.pause and known.pause.covers(now) else None)
    is_here = not task.environments or environment in task.environments
    overdue = overdue_since(task, known, now) if is_here else None
    attainment = attain(task.objective, known.standing, now) if task.objective and is_here else None
    return Outlook(
        task=task.name,
        known=known,
        is_here=is_here,
        median=median(known.standing.durations),
        next=next_start(task, known, now) if is_here else None,
        overdue=overdue,
        why=tuple(reasons(known, overdue, attainment)),
        attainment=attainment,
    )


def reasons(known: Known, overdue: datetime | None, attainment: Attainment | None) -> Sequence[str]:
    found = [] if known.handled else failures(known)
    if attainment and attainment.is_stale and not known.pause:
        found.append("stale")
    if attainment and attainment.is_overspent:
        found.append("error budget spent")
    return [*found, "overdue"] if overdue else found


def failures(known: Known) -> list[str]:
    """What is wrong with the latest run, or has been since an earlier one."""
    latest, found = known.standing.latest, list[str]()
    if latest and latest.status in (Status.FAILED, Status.LOST):
        found.append(latest.reason or latest.status.value)
    elif known.incident and known.incident.is_open:
        found.append(known.incident.reason)
    return [*found, "needs analysis"] if known.unexpected else found


def next_start(task: Task, known: Known, now: datetime) -> datetime | None:
    """The next attempt; else the next slot of the plan that is to run or time that was asked for, the earlier one.

    For a task with `every` it is when that is due.
    """
    if known.retrying:
        return known.retrying.retry_at
    if task.every:
        slot = due.next_start(task, known.standing, known.pause, now)
    else:
        slot = next((slot.moment for slot in known.plan.coming(now) if not slot.reason), None)
    return min((moment for moment in (slot, known.asked) if moment), default=None)


def overdue_since(task: Task, known: Known, now: datetime) -> datetime | None:
    """Since when a run is missing; None while one is under way, or the task is paused.

    That is for certain once a slot is accounted for. One that is not yet, long after it, is missing as well.
    """
    if known.running or known.retrying or known.pause:
        return None
    if missing := due.overdue_since(task, known.standing, known.pause, now):
        return missing
    latest, allowed = known.standing.latest, due.patience(task)
    late = [slot.moment for slot in known.plan.past(now) if not slot.reason and now - slot.moment > allowed]
    return next((moment for moment in late if latest is None or latest.started < moment), None)
