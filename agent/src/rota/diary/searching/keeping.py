"""Keeping the index in step with the runs: with what changes them, and batch by batch for what is not in it."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q

from rota.diary.models import Item, Mark, Output, Review, Run, Words
from rota.diary.reviewing import OPEN
from rota.diary.searching.index import free_keys, index, key_of
from rota.diary.searching.words import Document, document

BATCH = 200
LOOKED_THROUGH = 2000
UNREAD = "search: not before"
"""The mark of an index that is not whole: what began before this moment is not in it yet."""
FACTS = ("environment", "task", "assessment", "pack", "status", "trigger", "release", "asked_by")


def refresh(runs: Sequence[UUID]) -> None:
    """Have the index say what these runs say now. Runs within the caller's transaction."""
    # Whoever else changes one of them waits, so that nobody adds it twice.
    list(Run.objects.select_for_update().filter(pk__in=runs).order_by("pk").values_list("pk"))
    documents = read(runs)
    keeper = index()
    keeper.forget(runs)
    keys = free_keys({run: key_of(started, run) for run, (started, _) in documents.items()})
    keeper.put({keys[run]: (run, documents[run][1]) for run in documents})


def read(runs: Sequence[UUID]) -> dict[UUID, tuple[datetime, Document]]:
    """When each of these runs started, and its document."""
    outputs = dict(Output.objects.filter(run_id__in=runs).values_list("run_id", "text"))
    items, said = defaultdict(list), defaultdict(list)
    for run, *texts in (
        Item.objects.filter(run_id__in=runs)
        .order_by("run_id", "position")
        .values_list("run_id", "name", "outcome", "message")
    ):
        items[run].append(" ".join(texts))
    for run, summary in Review.objects.filter(run_id__in=runs).order_by("at").values_list("run_id", "summary"):
        said[run].append(summary)
    return {
        run.pk: (
            run.started,
            document([*texts_of(run), *said[run.pk], outputs.get(run.pk, ""), *items[run.pk]], facts_of(run)),
        )
        for run in Run.objects.filter(pk__in=runs).select_related("host").prefetch_related("tags")
    }


def texts_of(run: Run) -> Iterator[str]:
    """What a run's own row says in words."""
    yield from (run.task, run.reason, *run.unexpected, run.asked_by)
    for name, value in run.parameters.items():
        yield f"{name} {' '.join(map(str, value)) if isinstance(value, list) else value}"


def facts_of(run: Run) -> Iterator[tuple[str, str]]:
    """What filters may ask for."""
    yield "host", run.host.name
    for name in FACTS:
        yield name, getattr(run, name)
    yield "review", run.review
    if run.review in OPEN:
        yield "review", "open"
    for tag in run.tags.all():
        yield "tag", tag.name
    yield "reason", run.reason
    if ":" in run.reason:
        yield "reason", run.reason.partition(":")[0]


def not_before() -> datetime | None:
    """What began before this moment may be missing from the index; None where nothing is."""
    value = Mark.objects.filter(name=UNREAD).values_list("value", flat=True).first()
    return datetime.fromisoformat(value) if value else None


def fill(tell: Callable[[int], None]) -> int:
    """Bring into the index what is not in it, the newest first, each batch by itself; returns how many runs that was.

    What is missing was there before the index was, or was written by a release that knew nothing of it, or came with
    a mirror, which leaves the words behind. It may be interrupted, and started twice at a time.
    """
    added = 0
    for batch in missing():
        if batch:
            with transaction.atomic():
                refresh(batch)
        added += len(batch)
        tell(added)
    Mark.objects.filter(name=UNREAD).delete()
    return added


def missing() -> Iterator[list[UUID]]:
    """The runs that the index lacks in small batches; the mark follows as far as all are read."""
    is_marked = not_before() is not None
    beyond: Q | None = None
    while rows := list(next_runs(beyond)):
        lacking = [pk for pk, _, is_there in rows if not is_there]
        while batch := list(islice(lacking, BATCH)):
            del lacking[:BATCH]
            yield batch
        last, started, _ = rows[-1]
        is_marked = is_marked or any(not is_there for _, _, is_there in rows)
        if is_marked:
            Mark.objects.update_or_create(name=UNREAD, defaults={"value": started.isoformat()})
        beyond = Q(started__lte=started) & (Q(started__lt=started) | Q(id__lt=last))


def next_runs(beyond: Q | None) -> Iterable[tuple[UUID, datetime, bool]]:
    runs = Run.objects.filter(beyond) if beyond else Run.objects.all()
    rows = list(runs.order_by("-started", "-id").values_list("id", "started")[:LOOKED_THROUGH])
    known = indexed([pk for pk, _ in rows])
    return [(pk, started, pk in known) for pk, started in rows]


def indexed(runs: Sequence[UUID]) -> set[UUID]:
    found = Words.objects.filter(run_id__in=runs)
    if connection.vendor == "postgresql":
        found = found.extra(where=["words <> ''::tsvector"])
    return set(found.values_list("run_id", flat=True))
