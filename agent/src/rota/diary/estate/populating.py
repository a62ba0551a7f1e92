"""Populating: a diary is told a month of the made-up estate, as hosts tell it, and people have looked at most of it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby

from django.db import transaction

from rota.core.record import OutboundRecord, RunRecord, as_mapping
from rota.diary.estate.catalogues import catalogue_record
from rota.diary.estate.month import LENGTH, month
from rota.diary.estate.runs import deploy_record, outbound_record
from rota.diary.estate.seeding import SUMMARIES, reviewer
from rota.diary.estate.tasks import HOSTS
from rota.diary.models import Host, Review, ReviewState, Run
from rota.diary.searching.keeping import refresh
from rota.diary.storing import Fate, Result, store

DEPLOYS = 10
BATCH = 500
LOOKED_AT = timedelta(days=2)
"""What failed before that has been looked at by somebody."""


def populate(*, now: datetime, tell: Callable[[int, int], None], length: timedelta = LENGTH) -> int:
    """Tell what the hosts did in the last thirty days, or so long, up to `now`; returns how many records were new."""
    new = 0
    for position, name in enumerate(HOSTS):
        host, _ = Host.objects.get_or_create(name=name, defaults={"environment": name})
        deploys = [as_mapping(deploy_record(name, number, before=now)) for number in range(DEPLOYS)]
        new += accepted(store(host, deploys, now=now))
        for batch in by_day(sorted(month(name, now=now, length=length), key=lambda record: record.started)):
            received = min(now, max(record.ended or now for record in batch) + timedelta(seconds=3))
            new += accepted(store(host, [as_mapping(record) for record in batch], now=received))
            new += accepted(store(host, [as_mapping(letter) for letter in letters_of(batch)], now=received))
        new += accepted(store(host, [as_mapping(catalogue_record(name, now=now))], now=now))
        tell(position + 1, len(HOSTS))
    look_at(now - LOOKED_AT)
    return new


def letters_of(runs: Iterable[RunRecord]) -> Iterator[OutboundRecord]:
    return filter(None, map(outbound_record, runs))


def by_day(records: list[RunRecord]) -> Iterator[list[RunRecord]]:
    for _, of_day in groupby(records, key=lambda record: record.started.date()):
        day = list(of_day)
        for first in range(0, len(day), BATCH):
            yield day[first : first + BATCH]


def accepted(results: Sequence[Result]) -> int:
    """How many of these were new. Raises AssertionError on one that was not understood, which is our own mistake."""
    refused = [result.reason for result in results if result.result is Fate.QUARANTINED]
    if refused:
        raise AssertionError(f"a made-up record was not understood: {refused[0]}")
    return sum(result.result is Fate.ACCEPTED for result in results)


def look_at(until: datetime) -> None:
    """Have somebody handle most of what failed before this moment and nobody has looked at."""
    open_runs = Run.objects.filter(review=ReviewState.NEEDS_ANALYSIS, started__lt=until, reviews=None)
    chosen = [run for run in open_runs.only("id", "started") if run.pk.int % 10]
    person = reviewer()
    with transaction.atomic():
        Review.objects.bulk_create(
            Review(
                run=run,
                person=person,
                at=run.started + timedelta(hours=1 + run.pk.int % 20),
                state=ReviewState.DONE,
                summary=SUMMARIES[run.pk.int % len(SUMMARIES)],
            )
            for run in chosen
        )
        Run.objects.filter(pk__in=[run.pk for run in chosen]).update(review=ReviewState.DONE)
        refresh([run.pk for run in chosen])
