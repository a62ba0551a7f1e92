"""What of all hosts' tasks is late, missed or runs longer than usual, and what is due next."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils.translation import gettext

from rota.core.incident import is_slow
from rota.diary.models import Host, Run, TaskStanding
from rota.diary.phrases import in_words
from rota.diary.templatetags.diary import length

SILENT_AFTER = timedelta(hours=1)
SLOWER = 2.0
"""By what factor a run takes longer than the median when it takes longer than usual, and than 95 of 100 did."""
MOST = 200
"""How many late or missed tasks are looked at."""

Place = tuple[int, str]
"""A host's number, and the name of a task."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something about a task that wants somebody though nothing failed, since when, and why in words.

    `kind` is `late`, `missed` or `slow`. One of a silent host stands for all its tasks that are late; `amount` says how
    many, and `task` is empty.
    """

    kind: str
    word: str
    host: Host
    task: str
    since: datetime
    why: str
    amount: int = 1
    run: UUID | None = None


def is_silent(host: Host, now: datetime) -> bool:
    return host.last_contact is None or now - host.last_contact > SILENT_AFTER


def troubles(running: Sequence[Run], *, now: datetime) -> list[Trouble]:
    """What is late, missed or slow, the newest first; `running` are the runs that are under way."""
    under_way = {place_of(run) for run in running}
    rows = in_trouble(now).select_related("host").defer("standing", "timing", "coming")
    found = [*slow(running, now), *overdue([row for row in rows if place_of(row) not in under_way], now)]
    return sorted(found, key=lambda each: each.since, reverse=True)


def place_of(row: Run | TaskStanding) -> Place:
    return row.host_id, row.task


def in_trouble(now: datetime) -> "QuerySet[TaskStanding]":
    return TaskStanding.objects.filter(Q(late__lte=now) | Q(missing__isnull=False)).order_by("host", "-due", "task")[
        :MOST
    ]


def overdue(rows: Sequence[TaskStanding], now: datetime) -> Iterator[Trouble]:
    for _, of_host in groupby(rows, key=lambda row: row.host_id):
        mine = list(of_host)
        late = [row for row in mine if row.missing is None]
        yield from (missed(row, row.missing) for row in mine if row.missing)
        yield from [without_contact(late)] if late and is_silent(late[0].host, now) else map(late_one, late)


def missed(row: TaskStanding, since: datetime) -> Trouble:
    return Trouble("missed", gettext("missed"), row.host, row.task, since, in_words(row.why))


def late_one(row: TaskStanding) -> Trouble:
    return Trouble("late", gettext("late"), row.host, row.task, since_of(row), gettext("has not begun"))


def without_contact(late: Sequence[TaskStanding]) -> Trouble:
    since, host = min(map(since_of, late)), late[0].host
    return Trouble("late", gettext("late"), host, "", since, gettext("the host is silent"), len(late))


def since_of(row: TaskStanding) -> datetime:
    if row.due is None:
        raise ValueError(f"{row} is not late: nothing is due")
    return row.due


def slow(running: Sequence[Run], now: datetime) -> Iterator[Trouble]:
    """The runs that take longer than usual."""
    usual = usual_of(running)
    for run in running:
        median, p95 = usual.get(place_of(run), (None, None))
        seconds = (now - run.started).total_seconds()
        if is_slow(seconds, median, SLOWER) and seconds > (p95 or 0):
            why = gettext("usually takes %s") % length(median or 0)
            yield Trouble("slow", gettext("slow"), run.host, run.task, run.started, why, run=run.pk)


def usual_of(running: Collection[Run]) -> Mapping[Place, tuple[float | None, float | None]]:
    """Median and 95th percentile, in seconds, of the good runs of these runs' tasks."""
    hosts, tasks = {run.host_id for run in running}, {run.task for run in running}
    rows = TaskStanding.objects.filter(host__in=hosts, task__in=tasks, median__isnull=False)
    return {place_of(row): (row.median, row.p95) for row in rows.only("host", "task", "median", "p95")}


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is to come of a task; `missing` is the slot that it missed."""

    due: datetime | None
    is_late: bool
    missing: datetime | None


def outlooks(hosts: Collection[int], *, now: datetime) -> Mapping[Place, Outlook]:
    """What is to come of all tasks of these hosts."""
    rows = TaskStanding.objects.filter(host__in=hosts).values_list("host", "task", "due", "late", "missing")
    return {
        (host, task): Outlook(due, late is not None and late <= now, missing) for host, task, due, late, missing in rows
    }


def due_next(amount: int, *, now: datetime) -> list[TaskStanding]:
    """The tasks that are due next, or are due and not late yet, the next one first."""
    rows = TaskStanding.objects.filter(late__gt=now).select_related("host").defer("standing", "timing", "coming")
    return list(rows.order_by("due", "task", "host")[:amount])
