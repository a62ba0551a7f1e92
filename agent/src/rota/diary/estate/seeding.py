"""Seeding: as many made-up runs as one likes, straight into the tables, and no run twice."""

from bisect import bisect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import accumulate
from random import Random

from django.db import connection, transaction

from rota.core.record import DeployRecord, RunRecord, as_mapping
from rota.diary import tallies
from rota.diary.estate.bulk import insert
from rota.diary.estate.catalogues import catalogue_record
from rota.diary.estate.runs import CATCHING, deploy_record, identifier, outbound_record, run_record
from rota.diary.estate.tasks import HOSTS, TASKS
from rota.diary.models import Assessment, Deploy, Host, Item, Output, Person, Review, ReviewState, Role, Run
from rota.diary.searching.keeping import refresh
from rota.diary.storing import first_review, run_row, save_deploys, save_outbound, store

A_DAY = 2500
"""How many runs the estate has in a day."""
SPACING = timedelta(days=1) / A_DAY
CHUNK = 1000
SEEDING = "seed@workstation-north"
"""Whose deploy marks the moment that the runs lead up to."""
OPEN = 0.08
"""How many of the failures nobody has handled yet; the latest ones are open in any case."""
STILL_OPEN = 1000
SUMMARIES = (
    "The disk of the supplier was full; they have made room. #supplier",
    "Known: the import trips over a member without an address. #data",
    "The network was away for some minutes. #network",
    "Nothing to do: it went well at the next slot.",
)

PLACES = [(task, host, 1 / task.every) for task in TASKS for host in task.hosts]
WEIGHTS = list(accumulate(weight for _, _, weight in PLACES))


def seed(amount: int, *, until: datetime, tell: Callable[[int, int], None]) -> int:
    """Have the diary hold the estate's latest `amount` runs before `until`; returns how many it lacked.

    What is there already is left alone, so that it can be interrupted, repeated, and asked for more.
    """
    hosts = {name: Host.objects.get_or_create(name=name, defaults={"environment": name})[0] for name in HOSTS}
    until = first_until(until)
    days = max(18, amount // A_DAY + 1)
    made = 0
    with transaction.atomic():
        for host in hosts.values():
            seed_deploys(host, deploys_of(host.name, days // 3, before=until), until)
    # The oldest first, as they would have come.
    for number in reversed(range(-(-amount // CHUNK))):
        first = number * CHUNK
        made += seed_chunk(first, min(CHUNK, amount - first), hosts, until=until)
        tell(amount - first, amount)
    for name, host in hosts.items():
        store(host, [as_mapping(catalogue_record(name, now=until))], now=until)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return made


def first_until(until: datetime) -> datetime:
    """The moment that an earlier seeding began from: the deploy that it left then tells."""
    for deploy in Deploy.objects.filter(host__name="development", who=SEEDING).order_by("-started"):
        return deploy.started
    return until.replace(microsecond=0)


def deploys_of(host: str, amount: int, *, before: datetime) -> list[DeployRecord]:
    """The host's latest deploys; one on `development` marks the moment."""
    usual = [deploy_record(host, number, before=before) for number in range(amount)]
    if host == "development":
        usual[0] = replace(usual[0], id=identifier(before, "seed"), who=SEEDING, started=before)
    return usual


def seed_deploys(host: Host, records: list[DeployRecord], now: datetime) -> None:
    known = set(Deploy.objects.filter(id__in=[each.id for each in records]).values_list("id", flat=True))
    save_deploys(host, [each for each in records if each.id not in known], now)


def seed_chunk(first: int, amount: int, hosts: dict[str, Host], *, until: datetime) -> int:
    """Insert those runs of one chunk that are not there, all of them or none; returns how many that were."""
    source = Random(f"seed/{first}")  # noqa: S311 - made up and no secret
    drawn = [(number, *draw(source)) for number in range(first, first + CHUNK)][:amount]
    moments = [until - SPACING * (number + 1) + timedelta(seconds=20 * jitter) for number, _, jitter in drawn]
    keys = [identifier(moment, "seed", number) for moment, (number, _, _) in zip(moments, drawn, strict=True)]
    known = set(Run.objects.filter(id__in=keys).values_list("id", flat=True))
    if len(known) == amount:
        return 0
    records = []
    for key, moment, (number, place, _) in zip(keys, moments, drawn, strict=True):
        if key not in known:
            task, host, _ = PLACES[place]
            source = Random(number * 7919 + 1)  # noqa: S311 - made up and no secret
            records.append(run_record(task, host, moment, key=key, source=source))
    with transaction.atomic():
        save(records, hosts, is_latest=first < STILL_OPEN)
    return len(records)


def draw(source: Random) -> tuple[int, float]:
    return bisect(WEIGHTS, source.random() * WEIGHTS[-1]), source.random()


def save(records: list[RunRecord], hosts: dict[str, Host], *, is_latest: bool) -> None:
    handled = {each.id for each in records if first_review(each) and not is_latest and each.id.int % 1000 > OPEN * 1000}
    insert(Run, [row(each, hosts, each.id in handled) for each in reversed(records)])
    insert(Output, [Output(run_id=each.id, text=each.output) for each in records if each.output])
    insert(Item, items_of(records))
    for name in CATCHING:
        of_host = (record for record in records if record.host == name)
        save_outbound(hosts[name], list(filter(None, map(outbound_record, of_host))), records[0].started)
    if handled:
        insert(Review, reviews_of((each for each in records if each.id in handled), reviewer()))
    refresh([each.id for each in records])
    for name, host in hosts.items():
        tallies.add(host, [each for each in records if each.host == name])


def row(record: RunRecord, hosts: dict[str, Host], is_handled: bool) -> Run:
    said = (ReviewState.DONE, Assessment.OTHER) if is_handled else (first_review(record), Assessment.NONE)
    return run_row(hosts[record.host], record, said, (record.ended or record.started) + timedelta(seconds=3))


def items_of(records: Iterable[RunRecord]) -> list[Item]:
    return [
        Item(run_id=record.id, position=position, name=item.name, outcome=item.outcome, message=item.message)
        for record in records
        for position, item in enumerate(record.items)
    ]


def reviews_of(records: Iterable[RunRecord], person: Person) -> Iterator[Review]:
    for record in records:
        at = record.started + timedelta(hours=1 + record.id.int % 20)
        summary = SUMMARIES[record.id.int % len(SUMMARIES)]
        yield Review(run_id=record.id, person=person, at=at, state=ReviewState.DONE, summary=summary)


def reviewer() -> Person:
    """Who said what was made up; nobody can log in as them."""
    found = Person.objects.filter(email="reviewer@example.com").first()
    return found or Person.objects.create_user("reviewer@example.com", None, name="Reviewer", role=Role.REVIEWER)
