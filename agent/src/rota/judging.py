"""Judging: what came of runs since the last look, and the incidents that it opens, counts in and closes."""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from rota.adapters.incidents import Journal
from rota.adapters.pauses import Pauses
from rota.adapters.plans import Plans
from rota.adapters.spool import Spool, runs
from rota.adapters.standings import News
from rota.core.catalogue import Catalogue
from rota.core.history import Standing
from rota.core.incident import (
    IN_THE_WAY,
    PATIENCE_WITH_MISSED,
    Incident,
    Kind,
    Trouble,
    judge,
    overdue,
    running_too_long,
    trouble_of,
    usual_of,
    why_without_record,
    worsen,
)
from rota.core.places import Places
from rota.core.plan import BadPlan
from rota.core.record import RunRecord
from rota.core.review import Handled, failure_of
from rota.core.status import Skip, Status, Trigger
from rota.core.task import Task
from rota.runner import make_identifier
from rota.starting import find_run

LOOK_BACK = timedelta(days=1)
START_MARGIN = timedelta(minutes=1)
EVERYWHERE = ("running", "done", "sent")
WISHED = (Skip.PAUSED, Skip.EXCEPTED, Skip.DAYLIGHT_SAVING)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What systemd tells a unit that it starts by OnFailure=, in `$MONITOR_…` (systemd.exec(5))."""

    result: str
    exit_code: str
    exit_status: str
    invocation: str


@dataclass(kw_only=True)
class Bench:
    """What runs are judged by: the incidents so far, which it changes, and what is remembered besides."""

    catalogue: Catalogue
    spool: Spool
    incidents: dict[str, Incident]
    journal: Journal
    now: datetime

    def heed(self, reviews: Mapping[str, Handled | None]) -> None:
        """Take in what people said in the diary of the runs that incidents speak of, and that it was unsaid."""
        for name, incident in self.incidents.items():
            if incident.is_open and incident.kind is not Kind.OVERDUE and incident.run in reviews:
                self.incidents[name] = replace(incident, handled=reviews[incident.run])

    def judge_all(self, news: News, spared: list[RunRecord]) -> frozenset[str]:
        """Judge what is new, oldest first, each run once. Returns the ids of all that is new."""
        ids: set[str] = set()
        for name, task in self.catalogue.tasks.items():
            for run in new_runs(news, name, [run for run in spared if run.task == name]):
                ids.add(str(run.id))
                if str(run.id) not in self.journal.judged:
                    self.judge_run(task, run, news.memory.standings.get(name))
        return frozenset(ids)

    def judge_run(self, task: Task, run: RunRecord, before: Standing | None) -> None:
        count = self._count_in_the_way(run)
        trouble = trouble_of(
            run,
            longest=task.timeout + task.grace + task.lock_wait,
            usual=usual_of(before.durations) if before else None,
            factor=self.catalogue.agent.alerting.pace_of(task.alert),
            in_a_row=count,
        )
        incident = self.incidents.get(task.name)
        if trouble and incident and incident.is_open and incident.handled and not self._is_same(incident.handled, run):
            if trouble.is_provisional:
                return  # the attempt that follows it says more
            incident = None
        if incident := judge(incident, run, trouble):
            self.incidents[task.name] = incident

    def _is_same(self, handled: Handled, run: RunRecord) -> bool:
        """Whether this is the failure that was handled, or the next one of that way and it holds for that one too."""
        if str(run.id) == handled.run:
            return True
        before = find_run(self.spool, handled.run) if handled.holds else None
        way = self._way(run)
        return before is not None and way != "" and way == self._way(before)

    def _way(self, run: RunRecord) -> str:
        return failure_of(replace(run, output=self.spool.output(run)))

    def judge_present(self, standings: dict[str, Standing], running: list[RunRecord], places: Places) -> None:
        """Open incidents for what has no end: runs that take too long, and tasks whose success is overdue."""
        for task in self.catalogue.tasks.values():
            known = self.incidents.get(task.name)
            if known and known.is_open:
                continue
            standing = standings.get(task.name, Standing())
            trouble = self._too_long(task, standing, running) or self._overdue(task, standing, places)
            if trouble:
                self.incidents[task.name] = worsen(known, task.name, trouble)

    def _too_long(self, task: Task, standing: Standing, running: list[RunRecord]) -> Trouble | None:
        usual, factor = usual_of(standing.durations), self.catalogue.agent.alerting.pace_of(task.alert)
        found = (
            running_too_long(run, usual=usual, factor=factor, now=self.now)
            for run in running
            if run.task == task.name and not run.attended
        )
        return next((trouble for trouble in found if trouble), None)

    def _overdue(self, task: Task, standing: Standing, places: Places) -> Trouble | None:
        fresh = fresh_of(task)
        if not fresh or not standing.success or Pauses(places.pauses).load(task.name):
            return None
        good = max(standing.success.ended, self.journal.excused.get(task.name, standing.success.ended))
        return overdue(standing.success.run, good, fresh=fresh, now=self.now)

    def _count_in_the_way(self, run: RunRecord) -> int:
        """How many slots of the task in a row were skipped because something was in the way, with this one."""
        counts, word = self.journal.in_a_row, Skip.of(run.reason)
        if run.status is not Status.SKIPPED:
            counts.pop(run.task, None)
        elif word in IN_THE_WAY:
            counts[run.task] = counts.get(run.task, 0) + max(1, round(run.counts.get("slots", 1)))
        elif word in WISHED:
            self.journal.excused[run.task] = run.ended or run.started
        return counts.get(run.task, 0)


def fresh_of(task: Task) -> timedelta | None:
    """How old the latest success may be: as the task's objective has it, or its `every` and time for a run."""
    if task.objective and task.objective.fresh:
        return task.objective.fresh
    return task.every + task.timeout + PATIENCE_WITH_MISSED if task.every else None


def new_runs(news: News, task: str, spared: list[RunRecord]) -> list[RunRecord]:
    """The task's new runs that came to an end, oldest first; dry runs say nothing of it.

    Not what arrived late and is older than a run that was judged before. Of a task that was never looked at, what
    failed long ago is nobody's concern any more.
    """
    before, after = news.memory.standings.get(task), news.standings.get(task)
    known = before.latest if before else None
    found = {str(run.id): run for run in (*spared, *news.fresh.get(task, ()))}
    ended = [run for run in found.values() if run.status.is_final and not run.dry_run]
    if known and after and after.latest and after.latest.started >= known.started:
        ended = [run for run in ended if run.started >= known.started]
    ended.sort(key=lambda run: run.started)
    if before:
        return ended
    ran = [run for run in ended if run.status is not Status.SKIPPED]
    return [run for run in ended if not ran or run.started >= ran[-1].started]


def spared_runs(spool: Spool) -> list[RunRecord]:
    """The runs whose records only the spare could take, for the disk is full."""
    return [record for record in spool.spared_records() if isinstance(record, RunRecord)]


def running_runs(spool: Spool) -> list[RunRecord]:
    return runs(spool.records("running"))


def note_missing_record(
    spool: Spool, catalogue: Catalogue, places: Places, task: Task, failure: Failure, now: datetime
) -> None:
    """Leave a record for a start that failed before the runner could leave one: on a full disk, in its spare."""
    if has_record(spool, failure.invocation, now - LOOK_BACK - task.timeout):
        return
    record = record_of(failure, catalogue, places, task, now)
    try:
        spool.store(record)
    except OSError:
        spool.store_spare(record)


def record_of(failure: Failure, catalogue: Catalogue, places: Places, task: Task, now: datetime) -> RunRecord:
    agent, slot = catalogue.agent, slot_of(task, places, now)
    return RunRecord(
        id=UUID(make_identifier(time.time_ns() // 1_000_000, os.urandom(10))),
        host=agent.host,
        environment=agent.environment,
        task=task.name,
        pack=task.pack,
        slot=slot,
        trigger=Trigger.TIMER if slot else Trigger.MANUAL,
        started=now,
        ended=now,
        status=Status.FAILED,
        reason=why_without_record(failure.result, failure.exit_code, failure.exit_status),
        invocation_id=failure.invocation,
        release=places.current.resolve().name if places.current.exists() else "",
    )


def slot_of(task: Task, places: Places, now: datetime) -> datetime | None:
    """The slot that a start just now was for, as the task's plan has it: so that nothing else accounts for it."""
    with suppress(BadPlan):
        plan = Plans(places.plans).load(task.name)
        slot = plan.slot_at(now, within=task.spread + START_MARGIN) if plan else None
        return slot.moment if slot and not slot.reason else None
    return None


def has_record(spool: Spool, invocation: str, since: datetime) -> bool:
    """Whether the run of this invocation has a record: in the spool, or in the spare of a full disk."""
    if any(run.invocation_id == invocation for run in runs(spool.records(*EVERYWHERE, since=since))):
        return True
    return any(invocation.encode() in text for text in spool.spared())
