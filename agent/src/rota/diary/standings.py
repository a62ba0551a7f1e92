"""How each task of a host stands, kept up to date as records come: by the rules that the hosts themselves go by."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby, islice

from rota.adapters.standings import parse_standing, plain_standing
from rota.core import due
from rota.core.accounting import Rule, answered
from rota.core.history import Days, Ended, Standing, Tally, follow
from rota.core.pause import Pause
from rota.core.plan import HORIZON, Planned
from rota.core.record import CatalogueRecord, RunRecord, parse_timing, plain_timing
from rota.core.schedule import SECOND, schedule_of
from rota.core.task import Task
from rota.core.timing import task_of
from rota.diary.charts import usual
from rota.diary.looking_back import latest_records, records_since
from rota.diary.models import Host, TaskPause, TaskStanding

MOST, FEWEST = 30, 10
"""How many coming slots of a task are known: when fewer are left, more are computed."""
SCANNED = 2_000
"""Among how many slots those are looked for that nothing forbids."""
ENOUGH = 5
"""Fewer successes than these do not say what is usual."""
COLUMNS = ("standing", "timing", "coming", "due", "late", "missing", "why", "median", "p95")


def follow_runs(host: Host, records: Sequence[RunRecord], *, now: datetime) -> None:
    """Bring up to date how the tasks of these records stand, which are stored. In the caller's transaction."""
    known = {row.task: row for row in TaskStanding.objects.filter(host=host, task__in={each.task for each in records})}
    pauses = pauses_on(host) if any(row.timing for row in known.values()) else {}
    rows = []
    for name, runs in groupby(sorted(records, key=lambda run: (run.task, run.started)), key=lambda run: run.task):
        row = known.get(name)
        rows.append(after(row, list(runs), pauses.get(name), now=now) if row else unknown(host, name, now=now))
    save(rows)


def keep_timings(host: Host, record: CatalogueRecord, paused: Mapping[str, Pause]) -> None:
    """Plan anew the tasks that the catalogue tells otherwise than before, when these were paused."""
    rows = {row.task: row for row in TaskStanding.objects.filter(host=host)}
    pauses, since = pauses_on(host), records_since(host, record.at)
    changed = []
    for name, definition in record.tasks.items():
        row = rows.get(name) or unknown(host, name, now=record.at)
        timing = plain_timing(definition.timing) if definition.timing else None
        if name not in rows or row.timing != timing or pauses.get(name) != paused.get(name):
            row.timing = timing
            changed.append(plan_anew(row, since.get(name, ()), pauses.get(name), at=record.at))
    save(changed)
    gone = dict.fromkeys(("timing", "due", "late", "missing"), None)
    TaskStanding.objects.filter(host=host).exclude(task__in=record.tasks).update(coming=[], **gone)


def pauses_on(host: Host) -> dict[str, Pause]:
    """The pauses in force on this host, by task."""
    rows = TaskPause.objects.filter(host=host)
    return {row.task: Pause(since=row.since, until=row.until, by=row.by, reason=row.reason) for row in rows}


def unknown(host: Host, task: str, *, now: datetime) -> TaskStanding:
    """How a task stands of which nothing but runs is known."""
    return after(TaskStanding(host=host, task=task), latest_records(host, task), None, now=now)


def save(rows: Sequence[TaskStanding]) -> None:
    TaskStanding.objects.bulk_create(rows, update_conflicts=True, unique_fields=["host", "task"], update_fields=COLUMNS)


def after(row: TaskStanding, runs: Sequence[RunRecord], pause: Pause | None, *, now: datetime) -> TaskStanding:
    """The row after these runs, the oldest first."""
    standing = standing_of(row)
    for run in runs:
        missing, standing = standing.missing, follow(standing, run, now=now)
        if standing.missing != missing:
            row.why = run.reason if standing.missing else ""
    keep(row, standing)
    if task := planned_task(row):
        answer(row, task, runs, pause, now=now)
    return row


def standing_of(row: TaskStanding) -> Standing:
    return parse_standing(row.standing) if row.standing else Standing()


def keep(row: TaskStanding, standing: Standing) -> None:
    """Remember how the task stands; what its days came to is in the tally."""
    standing = replace(standing, latest=brief(standing.latest), success=brief(standing.success), good=None)
    values = plain_standing(replace(standing, total=Tally(), days=Days(), counts={}))
    row.standing = json.loads(json.dumps(values, default=datetime.isoformat))
    row.missing = standing.missing
    ordinary = usual(standing.durations) if len(standing.durations) >= ENOUGH else None
    row.median, row.p95 = (ordinary.median, ordinary.p95) if ordinary else (None, None)


def brief(ended: Ended | None) -> Ended | None:
    return replace(ended, reason="") if ended else None


def planned_task(row: TaskStanding) -> Task | None:
    """A task with what is planned of this one; None where it is not known, or in words of a newer release."""
    return task_of(row.task, parse_timing(row.timing)) if row.timing else None


def answer(row: TaskStanding, task: Task, runs: Iterable[RunRecord], pause: Pause | None, *, now: datetime) -> None:
    """What is due after these runs: the first slot that neither a run nor a record that none ran speaks of."""
    coming = coming_of(row)
    known = answered([Planned(moment) for moment in coming], runs, Rule(spread=task.spread))
    latest = max(known, default=None)
    left = [moment for moment in coming if latest is None or moment > latest]
    if len(left) < FEWEST:
        left += slots_after(task, pause, left[-1] if left else latest or now)
    expect(row, task, left, pause)


def plan_anew(row: TaskStanding, since: Iterable[RunRecord], pause: Pause | None, *, at: datetime) -> TaskStanding:
    """The row with other slots after this moment; those up to it stay, to be judged by what was planned then.

    `since` are the runs that began later and are known already.
    """
    task, is_paused = planned_task(row), pause is not None and pause.covers(at)
    if is_paused:
        keep(row, replace(standing_of(row), missing=None))
    past = [] if is_paused else [moment for moment in coming_of(row) if moment <= at]
    if task is None:
        row.coming, row.due, row.late = [], None, None
        return row
    expect(row, task, [*past, *slots_after(task, pause, at)], pause)
    answer(row, task, since, pause, now=at)
    return row


def slots_after(task: Task, pause: Pause | None, begin: datetime) -> list[datetime]:
    """The next slots later than this moment that nothing forbids."""
    schedule = schedule_of(task)
    if pause and pause.covers(begin):
        if pause.until is None:
            return []
        begin = pause.until - SECOND
    slots = due.planned(schedule, pause, begin, begin + HORIZON) if schedule else iter(())
    return list(islice((slot.moment for slot in islice(slots, SCANNED) if not slot.reason), MOST))


def expect(row: TaskStanding, task: Task, coming: Sequence[datetime], pause: Pause | None) -> None:
    """Keep what is to come, and from when on a run is late."""
    row.coming = [int(moment.timestamp()) for moment in coming]
    row.due = needed_at(task, standing_of(row), pause) if task.every else next(iter(coming), None)
    row.late = row.due + due.patience(task) if row.due else None


def needed_at(task: Task, standing: Standing, pause: Pause | None) -> datetime | None:
    """When a task that is needed `every` so long is due; None before its first success."""
    return due.next_start(task, standing, pause, standing.success.ended) if standing.success else None


def coming_of(row: TaskStanding) -> list[datetime]:
    """The slots to come that are known, and those that passed of which no record speaks yet."""
    return [datetime.fromtimestamp(seconds, UTC) for seconds in row.coming]


def coming_slots(row: TaskStanding, now: datetime) -> list[datetime]:
    """The next slots that are known, of a task that is needed every so often the moment at which it is due."""
    known = coming_of(row) or ([row.due] if row.due else [])
    return [moment for moment in known if moment > now]
