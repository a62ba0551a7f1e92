"""How many runs of each task ended how on each day: counted as they come, and kept when the runs are gone."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from django.db import connection, transaction
from django.db.models import Count, Sum

from rota.core.record import RunRecord
from rota.diary.models import Host, Mark, Run, Status, Tally

UNCOUNTED = "tally: not before"
"""The mark of a tally that lacks days: those before this one."""

Cell = tuple[date, int, str, str]

ADD = """
INSERT INTO diary_tally (day, host_id, task, status, runs, seconds) VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (day, host_id, task, status)
DO UPDATE SET runs = diary_tally.runs + excluded.runs, seconds = diary_tally.seconds + excluded.seconds
"""


def add(host: Host, records: Iterable[RunRecord]) -> None:
    """Count these runs where they have ended: each does so once. Runs within the caller's transaction."""
    runs: Counter[Cell] = Counter()
    seconds: Counter[Cell] = Counter()
    for record in records:
        if record.status.is_final:
            cell = (record.started.astimezone(UTC).date(), host.pk, record.task, record.status.value)
            runs[cell] += 1
            seconds[cell] += record.duration or 0  # type: ignore[assignment]  # sums of seconds
    write((*cell, amount, float(seconds[cell])) for cell, amount in sorted(runs.items()))


def write(rows: Iterable[tuple[date, int, str, str, int, float]]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(ADD, list(rows))


def uncounted() -> date | None:
    """The days before this one are not counted; None where all are."""
    value = Mark.objects.filter(name=UNCOUNTED).values_list("value", flat=True).first()
    return date.fromisoformat(value) if value else None


def count() -> int:
    """Count the days that came before there was a tally, the newest first; returns how many that was.

    May be interrupted: each day is counted by itself, and the mark follows.
    """
    counted = 0
    while (before := uncounted()) is not None:
        latest = Run.objects.filter(started__lt=begin_of(before)).order_by("-started").values_list("started").first()
        with transaction.atomic():
            if latest is None:
                Mark.objects.filter(name=UNCOUNTED).delete()
                break
            day = latest[0].astimezone(UTC).date()
            recount(day)
            Mark.objects.filter(name=UNCOUNTED).update(value=day.isoformat())
        counted += 1
    return counted


def recount(day: date) -> None:
    """Count one day anew. What is stored meanwhile waits, and adds itself afterwards."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE diary_tally IN SHARE ROW EXCLUSIVE MODE")
    Tally.objects.filter(day=day).delete()
    ended = Run.objects.filter(started__gte=begin_of(day), started__lt=begin_of(day + timedelta(days=1)))
    cells = (
        ended.exclude(status=Status.RUNNING)
        .values_list("host_id", "task", "status")
        .annotate(Count("pk"), Sum("duration", default=0.0))
    )
    write((day, *cell) for cell in cells.order_by("host_id", "task", "status"))


def begin_of(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
