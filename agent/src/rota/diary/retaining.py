"""Retaining: old runs make room by the rules of hosts; what failed, was reviewed, or is the last good stays longer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from uuid import UUID

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import Exists, OuterRef, QuerySet

from rota.core.retention import Keep, Worth
from rota.diary.listing import beyond
from rota.diary.models import Deploy, DeployStatus, Item, Outbound, Output, Quarantine, Review, Run, Status
from rota.diary.paging import Key
from rota.diary.searching.index import index

BATCH = 500
PAGES = 1000
"""Of SQLite's file, given back at a time: a few mebibytes, so that nobody waits long."""
NOTABLE = (Status.FAILED, Status.LOST)


@dataclass
class Removed:
    runs: int = 0
    deploys: int = 0
    caught: int = 0
    quarantined: int = 0


def retain(keep: Keep, *, now: datetime, tell: Callable[[int], None]) -> Removed:
    """Remove what is kept no longer, the oldest first, in batches that nobody waits long for."""
    removed = Removed()
    is_last_good = cache(last_good)
    key: Key | None = None
    while rows := old_runs(now - keep.age, key):
        key = Key(rows[-1].started, rows[-1].pk)
        gone = [run.pk for run in rows if not is_kept(run, keep, now=now, last_good=is_last_good)]
        if gone:
            with transaction.atomic():
                remove(gone)
        removed.runs += len(gone)
        tell(removed.runs)
    removed.deploys = remove_rows(old_deploys(now - keep.failures))
    removed.caught = remove_rows(Outbound.objects.filter(at__lt=now - keep.age))
    removed.quarantined = remove_rows(Quarantine.objects.filter(received__lt=now - keep.age))
    give_back()
    return removed


def old_runs(before: datetime, key: Key | None) -> list[Run]:
    runs = Run.objects.filter(started__lt=before)
    if key:
        runs = runs.filter(beyond(key, newest_first=False))
    # Each with whether somebody has said something of it.
    said = Exists(Review.objects.filter(run=OuterRef("pk")))
    fields = ("id", "host_id", "task", "started", "status", "unexpected", "dry_run", "review")
    return list(runs.annotate(is_reviewed=said).only(*fields).order_by("started", "id")[:BATCH])


def is_kept(run: Run, keep: Keep, *, now: datetime, last_good: Callable[[int, str], UUID | None]) -> bool:
    worth = worth_of(run, last_good)
    return worth is Worth.BASELINE or (worth is Worth.NOTABLE and run.started >= now - keep.failures)


def worth_of(run: Run, last_good: Callable[[int, str], UUID | None]) -> Worth:
    """As core/retention.py has it; what people have said something of is notable too."""
    is_reviewed = bool(run.review) or run.is_reviewed  # type: ignore[attr-defined]  # an annotation has it
    if run.dry_run and not is_reviewed:
        return Worth.ROUTINE
    if run.status == Status.SUCCEEDED and last_good(run.host_id, run.task) == run.pk:
        return Worth.BASELINE
    return Worth.NOTABLE if run.status in NOTABLE or run.unexpected or is_reviewed else Worth.ROUTINE


def last_good(host: int, task: str) -> UUID | None:
    """The run with which later ones are compared: the latest that succeeded, and not suspiciously."""
    good = Run.objects.filter(host_id=host, task=task, status=Status.SUCCEEDED, unexpected=[], dry_run=False)
    return good.order_by("-started", "-id").values_list("pk", flat=True).first()


def remove(runs: Sequence[UUID]) -> None:
    """Remove these runs with all that belongs to them. Runs within the caller's transaction."""
    index().forget(runs)
    for model in (Item, Output, Review):
        model.objects.filter(run_id__in=runs).delete()
    Run.objects.filter(pk__in=runs).delete()


def old_deploys(before: datetime) -> "QuerySet[Deploy]":
    """Those of then, but each host's latest that succeeded: it says what is in use."""
    later = Deploy.objects.filter(host=OuterRef("host"), status=DeployStatus.SUCCEEDED, started__gt=OuterRef("started"))
    return Deploy.objects.filter(Exists(later), started__lt=before)


def remove_rows(rows: "QuerySet[Deploy] | QuerySet[Outbound] | QuerySet[Quarantine]") -> int:
    removed = 0
    while batch := list(rows.values_list("pk", flat=True)[:BATCH]):
        rows.model._default_manager.filter(pk__in=batch).delete()
        removed += len(batch)
    return removed


def give_back() -> None:
    """Give room back to the disk, where the database does not by itself: SQLite, a few pages at a time."""
    if connection.vendor != "sqlite":
        return
    with connection.cursor() as cursor:
        # What the index has of runs that are gone goes when parts of it are merged.
        cursor.execute("INSERT INTO diary_fts (diary_fts, rank) VALUES ('merge', %s)", [PAGES])
        free = free_pages(cursor)
        while free:
            cursor.execute(f"PRAGMA incremental_vacuum({PAGES})")
            cursor.fetchall()
            before, free = free, free_pages(cursor)
            if free >= before:
                return  # a file from before there was retention: it gives nothing back until VACUUM rewrites it


def free_pages(cursor: "CursorWrapper") -> int:
    cursor.execute("PRAGMA freelist_count")
    return int(cursor.fetchone()[0])
