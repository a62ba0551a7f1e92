"""How many runs of each task ended how on each day: counted as they come, and kept when the runs are gone."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from datetime import UTC, date, datetime, timedelta
from operator import itemgetter

from django.db import connection, transaction

from rota.core.history import changes_standing, tally_of
from rota.core.record import RunRecord
from rota.diary.looking_back import as_record
from rota.diary.models import Host, Mark, Run, Status, Tally

UNCOUNTED = "tally: not before"
"""The mark of a tally that lacks days: those before this one."""

Cell = tuple[date, int, str, str]

ADD = """
INSERT INTO diary_tally (day, host_id, task, status, runs, seconds, beside, missed)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (day, host_id, task, status)
DO UPDATE SET runs = diary_tally.runs + excluded.runs, seconds = diary_tally.seconds + excluded.seconds,
beside = diary_tally.beside + excluded.beside, missed = diary_tally.missed + excluded.missed
"""


@dataclass(slots=True)
class Sum:
    """What is known of the runs of a cell."""

    runs: int = 0
    seconds: float = 0.0
    beside: int = 0
    missed: int = 0

    def add(self, record: RunRecord) -> None:
        self.runs += 1
        self.seconds += record.duration or 0
        self.beside += not changes_standing(record)
        self.missed += tally_of(record).missed


def add(host: Host, records: Iterable[RunRecord]) -> None:
    """Count these runs where they have ended: each does so once. Runs within the caller's transaction."""
    sums: dict[Cell, Sum] = defaultdict(Sum)
    for record in records:
        if record.status.is_final:
            sums[record.started.astimezone(UTC).date(), host.pk, record.task, record.status.value].add(record)
    write(sums)


def write(sums: Mapping[Cell, Sum]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(ADD, [(*cell, *astuple(found)) for cell, found in sorted(sums.items(), key=itemgetter(0))])


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
    sums: dict[Cell, Sum] = defaultdict(Sum)
    ended = Run.objects.filter(started__gte=begin_of(day), started__lt=begin_of(day + timedelta(days=1)))
    for run in ended.exclude(status=Status.RUNNING).select_related("host").iterator(chunk_size=1000):
        sums[day, run.host_id, run.task, run.status].add(as_record(run))
    write(sums)


def begin_of(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
