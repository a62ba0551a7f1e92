"""Keeping the index in step with runs and with what was caught: as they change, and in batches for what it lacks."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q

from rota.diary.models import Item, Mark, Outbound, Output, Review, Run, Words
from rota.diary.paging import Key, earlier_than
from rota.diary.reviewing import OPEN
from rota.diary.searching.index import free_keys, index, key_of
from rota.diary.searching.words import Document, caught_facts, document, limited

BATCH = 200
LOOKED_THROUGH = 2000
UNREAD, UNREAD_CAUGHT = "search: not before", "caught: not before"
"""The marks of an index that is not whole: what began, or was caught, before this moment is not in it yet."""
FACTS = ("environment", "task", "assessment", "pack", "status", "trigger", "release", "asked_by")


def refresh(runs: Sequence[UUID]) -> None:
    """Have the index say what these runs say now. Runs within the caller's transaction."""
    # Whoever else changes one of them waits, so that nobody adds it twice.
    list(Run.objects.select_for_update().filter(pk__in=runs).order_by("pk").values_list("pk"))
    put(runs, read(runs))


def refresh_caught(caught: Sequence[UUID]) -> None:
    """Have the index say what these letters, messages and heartbeats say. Runs within the caller's transaction."""
    rows = Outbound.objects.select_for_update(of=("self",)).select_related("host").filter(pk__in=caught).order_by("pk")
    put(caught, {row.pk: (row.at, caught_document(row)) for row in rows})


def put(subjects: Sequence[UUID], documents: Mapping[UUID, tuple[datetime, Document]]) -> None:
    keeper = index()
    keeper.forget(subjects)
    keys = free_keys({pk: key_of(moment, pk) for pk, (moment, _) in documents.items()})
    keeper.put({keys[pk]: (pk, documents[pk][1]) for pk in documents})


def caught_document(row: Outbound) -> Document:
    facts = (("environment", row.environment), ("host", row.host.name), ("means", row.means), ("task", row.task))
    return Document(list(limited([row.subject, row.to, row.text])), caught_facts(facts))


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


def not_before(mark: str = UNREAD) -> datetime | None:
    """What began before this moment may be missing from the index; None where nothing is."""
    value = Mark.objects.filter(name=mark).values_list("value", flat=True).first()
    return datetime.fromisoformat(value) if value else None


def fill(tell: Callable[[int], None]) -> int:
    """Bring into the index what is not in it, the newest first, each batch by itself; returns how many rows that was.

    What is missing was there before the index was, or was written by a release that knew nothing of it, or came with
    a mirror, which leaves the words behind. It may be interrupted, and started twice at a time.
    """
    added = 0
    for model, by, mark, bring in ((Run, "started", UNREAD, refresh), (Outbound, "at", UNREAD_CAUGHT, refresh_caught)):
        for batch in missing(model, by, mark):
            if batch:
                with transaction.atomic():
                    bring(batch)
            added += len(batch)
            tell(added)
        Mark.objects.filter(name=mark).delete()
    return added


def missing(model: type[Run | Outbound], by: str, mark: str) -> Iterator[list[UUID]]:
    """What the index lacks of these rows in small batches; the mark follows as far as all are read."""
    is_marked = not_before(mark) is not None
    beyond: Q | None = None
    while rows := list(next_rows(model, by, beyond)):
        lacking = [pk for pk, _, is_there in rows if not is_there]
        while batch := list(islice(lacking, BATCH)):
            del lacking[:BATCH]
            yield batch
        last, moment, _ = rows[-1]
        is_marked = is_marked or any(not is_there for _, _, is_there in rows)
        if is_marked:
            Mark.objects.update_or_create(name=mark, defaults={"value": moment.isoformat()})
        beyond = earlier_than(Key(moment, last), by)


def next_rows(model: type[Run | Outbound], by: str, beyond: Q | None) -> Iterable[tuple[UUID, datetime, bool]]:
    every = model._default_manager.filter(beyond) if beyond else model._default_manager.all()
    rows = list(every.order_by(f"-{by}", "-id").values_list("id", by)[:LOOKED_THROUGH])
    known = indexed([pk for pk, _ in rows])
    return [(pk, moment, pk in known) for pk, moment in rows]


def indexed(subjects: Sequence[UUID]) -> set[UUID]:
    found = Words.objects.filter(run_id__in=subjects)
    if connection.vendor == "postgresql":
        found = found.extra(where=["words <> ''::tsvector"])
    return set(found.values_list("run_id", flat=True))
