"""A month of the made-up estate as its hosts would have told it: every slot, with what befell the estate meanwhile."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random

from rota.core.record import RunRecord
from rota.core.status import Status, Trigger
from rota.diary.estate.runs import SUCCEEDED, End, identifier, run_record
from rota.diary.estate.tasks import TASKS, MadeTask

LENGTH = timedelta(days=30)
EXIT_3: End = (Status.FAILED, "exit 3", 3, None)
WAS_DOWN: End = (Status.SKIPPED, "host was down", None, None)
WENT_DOWN: End = (Status.LOST, "host went down", None, None)
RUNNING: End = (Status.RUNNING, "", None, None)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What befell a host, or one task there, for some hours; `day` is how many days ago it began."""

    host: str
    task: str
    day: float
    hours: float
    end: End


TROUBLES = (
    Trouble("staging", "", 21.3, 7, WAS_DOWN),
    Trouble("backup", "", 12.6, 2, WAS_DOWN),
    Trouble("production", "import_members", 9.2, 53, EXIT_3),
    Trouble("development", "run_simulation", 5.1, 30, (Status.FAILED, "out of memory", None, 9)),
    Trouble("production", "fetch_prices", 0.2, 5, (Status.FAILED, "timeout", None, 15)),
    Trouble("backup", "backup_prune", 0.9, 26, (Status.SKIPPED, "never started: its timer was stopped", None, None)),
    Trouble("staging", "send_reports", 3.0, 80, (Status.SKIPPED, "paused: by operator until Monday", None, None)),
)
HANGING = ("production", "preflight")
"""Whose latest run does not end."""
BEHIND = ("staging", "collect_files")
"""Whose latest slot nothing is known of."""
UNKNOWN = timedelta(minutes=130)


def month(host: str, *, now: datetime, length: timedelta = LENGTH) -> Iterator[RunRecord]:
    """The host's runs of the last thirty days, or so long, task by task; one whose time is not over yet is running."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    for task in TASKS:
        if host in task.hosts:
            until = now - UNKNOWN if (host, task.name) == BEHIND else now
            slots = task.slots(today - length, until)
            for slot in slots:
                hangs = (host, task.name) == HANGING and slot == slots[-1]
                yield from at_slot(task, host, slot, today=today, now=slot if hangs else now)


def at_slot(task: MadeTask, host: str, slot: datetime, *, today: datetime, now: datetime) -> Iterator[RunRecord]:
    """The slot's run, and the one after it where a failure was tried again."""
    source = Random(f"{host}/{task.name}/{slot:%Y%m%d%H%M}")  # noqa: S311 - made up and no secret
    started = slot + timedelta(seconds=round(source.uniform(0.02, 4), 6))
    end = befallen(task, host, slot, today=today)
    record = run_record(
        task, host, started, key=identifier(started, host, task.name), source=source, slot=slot, end=end
    )
    if record.ended is None or record.ended > now:
        yield run_record(task, host, started, key=record.id, source=source, slot=slot, end=RUNNING)
    elif record.status is Status.FAILED and end is None and source.random() < 0.5:
        yield from tried_again(task, record, record.ended + timedelta(minutes=1), source)
    else:
        yield record


def tried_again(task: MadeTask, first: RunRecord, at: datetime, source: Random) -> Iterator[RunRecord]:
    key = identifier(at, first.host, task.name, "again")
    second = run_record(task, first.host, at, key=key, source=source, slot=first.slot, end=SUCCEEDED)
    yield replace(first, retry_at=at, trigger=Trigger.TIMER, asked_by="", parameters={})
    yield replace(second, attempt=2, trigger=Trigger.RETRY, slot=first.slot, asked_by="", parameters={})


def befallen(task: MadeTask, host: str, slot: datetime, *, today: datetime) -> End | None:
    """How a run of this slot ended because of some trouble; None where there was none."""
    for trouble in TROUBLES:
        since = today - timedelta(days=trouble.day)
        if trouble.host == host and trouble.task in ("", task.name):
            if since <= slot < since + timedelta(hours=trouble.hours):
                return trouble.end
            if trouble.end is WAS_DOWN and since - timedelta(seconds=task.typical) <= slot < since:
                return WENT_DOWN
    return None
