"""Runs that the diary keeps as the records they came in, for the rules that hosts and diary share."""

from datetime import datetime

from rota.core.record import RunRecord
from rota.core.status import Environment, Status, Trigger
from rota.diary.models import Host, Run

LATEST = 60
"""How many of a task's runs say how it stands: enough for all the durations that are remembered."""

MOST = 1_000
"""How many of a host's runs are looked at that began since it told its catalogue, which comes with their records."""


def latest_records(host: Host, task: str) -> list[RunRecord]:
    """The latest runs of a task, the oldest first."""
    rows = Run.objects.filter(host=host, task=task).select_related("host").order_by("-started", "-id")[:LATEST]
    return [as_record(row) for row in reversed(rows)]


def records_since(host: Host, moment: datetime) -> dict[str, list[RunRecord]]:
    """The runs of a host that began since then, by task, the oldest first."""
    rows = Run.objects.filter(host=host, started__gte=moment).select_related("host").order_by("started", "id")
    found: dict[str, list[RunRecord]] = {}
    for row in rows[:MOST]:
        found.setdefault(row.task, []).append(as_record(row))
    return found


def as_record(run: Run) -> RunRecord:
    """A run as its host told it; without its output and items, and what is known of it for people alone."""
    return RunRecord(
        id=run.pk,
        host=run.host.name,
        environment=Environment(run.environment),
        task=run.task,
        pack=run.pack or None,
        slot=run.slot,
        trigger=Trigger(run.trigger),
        started=run.started,
        ended=run.ended,
        status=Status(run.status),
        reason=run.reason,
        duration=run.duration,
        memory_peak=run.memory_peak,
        counts=run.counts,
        release=run.release,
        unit_hash=run.unit_hash,
        attempt=run.attempt,
        asked_by=run.asked_by,
        attended=run.attended,
        parameters=run.parameters,
        dry_run=run.dry_run,
        unexpected=tuple(run.unexpected),
        retry_at=run.retry_at,
    )
