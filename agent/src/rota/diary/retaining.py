"""Retaining: old runs make room by the rules of hosts; what failed, was reviewed, or is the last good stays longer."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import chain, islice
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from rota.core.retention import Keep, Worth
from rota.diary.comparing import good_runs
from rota.diary.configuration import DiaryKeep
from rota.diary.listing import beyond
from rota.diary.models import AuditEntry, Deploy, DeployStatus, Item, Outbound, Output, Quarantine, Review, Run, Status
from rota.diary.paging import Key
from rota.diary.reviewing import OPEN
from rota.diary.room import give_back, room_used
from rota.diary.searching.index import index

BATCH = 500
AIM = 0.95
"""To what part of the size the diary is brought down where it is larger, so that it is not at it every night."""
NOTABLE = (Status.FAILED, Status.LOST)


@dataclass
class Removed:
    runs: int = 0
    deploys: int = 0
    caught: int = 0
    quarantined: int = 0
    audited: int = 0
    over: int = 0
    """Bytes that it takes more than it should, with nothing left that may go."""


def retain(keep: DiaryKeep, *, now: datetime, tell: Callable[[int], None]) -> Removed:
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
    removed.caught = remove_caught(Outbound.objects.filter(at__lt=now - keep.age))
    removed.quarantined = remove_rows(Quarantine.objects.filter(received__lt=now - keep.age))
    removed.audited = remove_audited(now - keep.audit)
    give_back()
    make_room(keep.size, removed, is_last_good, tell)
    return removed


def make_room(
    size: int, removed: Removed, last_good: Callable[[int, str], UUID | None], tell: Callable[[int], None]
) -> None:
    """Remove the oldest runs that may go until the diary takes at most so many bytes.

    First what is routine, then what failed and was seen to; never what nobody has handled, nor the latest good runs.
    """
    victims = chain.from_iterable(spare_runs(kind, last_good) for kind in (is_routine, is_seen_to))
    while (used := room_used()) > size:
        left = math.ceil(Run.objects.count() * (1 - size * AIM / used))
        before = removed.runs
        while left > 0 and (gone := list(islice(victims, min(left, BATCH)))):
            with transaction.atomic():
                remove(gone)
            left -= len(gone)
            removed.runs += len(gone)
            tell(removed.runs)
        if removed.runs == before:
            removed.over = used - size
            return
        give_back(is_urgent=True)


def spare_runs(kind: Callable[[Run, Worth], bool], last_good: Callable[[int, str], UUID | None]) -> Iterator[UUID]:
    """The runs of this kind that are over, the oldest first."""
    key: Key | None = None
    while rows := old_runs(None, key):
        key = Key(rows[-1].started, rows[-1].pk)
        yield from (run.pk for run in rows if run.status != Status.RUNNING and kind(run, worth_of(run, last_good)))


def is_routine(run: Run, worth: Worth) -> bool:
    return worth is Worth.ROUTINE


def is_seen_to(run: Run, worth: Worth) -> bool:
    return worth is Worth.NOTABLE and run.review not in OPEN


def old_runs(before: datetime | None, key: Key | None) -> list[Run]:
    """Some runs behind this key, the oldest first; all of them, or those that began before."""
    runs = Run.objects.filter(started__lt=before) if before else Run.objects.all()
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
    return good_runs(host, task).values_list("pk", flat=True).first()


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


def remove_audited(before: datetime) -> int:
    """Remove entries of the audit log from before: they are numbered as they came."""
    removed = 0
    while batch := AuditEntry.objects.order_by("pk").values_list("pk", "at")[:BATCH]:
        old = [key for key, at in batch if at < before]
        AuditEntry.objects.filter(pk__in=old).delete()
        removed += len(old)
        if len(old) < len(batch):
            break
    return removed


def remove_caught(rows: "QuerySet[Outbound]") -> int:
    removed = 0
    while batch := list(rows.values_list("pk", flat=True)[:BATCH]):
        with transaction.atomic():
            index().forget(batch)
            Outbound.objects.filter(pk__in=batch).delete()
        removed += len(batch)
    return removed


def remove_rows(rows: "QuerySet[Deploy] | QuerySet[Quarantine]") -> int:
    removed = 0
    while batch := list(rows.values_list("pk", flat=True)[:BATCH]):
        rows.model._default_manager.filter(pk__in=batch).delete()
        removed += len(batch)
    return removed
