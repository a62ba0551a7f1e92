"""How a batch of records becomes rows: each on its own merits, and the same batch twice changes nothing."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from uuid import UUID

from django.db import transaction

from rota.core.record import (
    AnswerRecord,
    BadRecord,
    CatalogueRecord,
    DeployRecord,
    OutboundRecord,
    Record,
    RunRecord,
    parse_record,
    storable,
)
from rota.core.review import failure_of
from rota.diary import tallies
from rota.diary.asking import note_answer
from rota.diary.catalogues import save_catalogue
from rota.diary.following import forget
from rota.diary.models import Catalogue, Deploy, Host, Item, Outbound, Output, Quarantine, ReviewState, Run, Status
from rota.diary.reviewing import carry
from rota.diary.searching.keeping import refresh, refresh_caught
from rota.diary.standings import follow_runs

KEPT_BODY = 64 * 1024
NEEDS_ANALYSIS = (Status.FAILED, Status.LOST)

Read = Record | BadRecord
Identity = tuple[type[Record], UUID]
Table = type[Run] | type[Deploy] | type[Outbound] | type[Catalogue]
TABLES: Mapping[type[Record], Table] = {
    RunRecord: Run,
    DeployRecord: Deploy,
    OutboundRecord: Outbound,
    CatalogueRecord: Catalogue,
}


class Fate(StrEnum):
    ACCEPTED = "accepted"
    UNCHANGED = "unchanged"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Result:
    id: str
    result: Fate
    reason: str = ""

    def as_json(self) -> dict[str, str]:
        return {key: str(value) for key, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Known:
    """What the database, or the batch so far, has of an id."""

    host_id: int
    is_final: bool


def store(host: Host, entries: Sequence[object], *, now: datetime) -> list[Result]:
    """Store what can be stored, quarantine the rest, and return each entry's fate in order."""
    read = [read_record(host, entry, now) for entry in entries]
    with transaction.atomic():
        # Two requests of one host wait for each other here: a retry never races with the request it repeats.
        Host.objects.select_for_update().get(pk=host.pk)
        results, kept = judge_all(host, entries, read)
        save_runs(host, [each for each in kept if isinstance(each, RunRecord)], now)
        save_deploys(host, [each for each in kept if isinstance(each, DeployRecord)], now)
        save_outbound(host, [each for each in kept if isinstance(each, OutboundRecord)], now)
        for each in sorted((each for each in kept if isinstance(each, CatalogueRecord)), key=lambda each: each.at):
            save_catalogue(host, each, now=now)
        for answer in (each for each in kept if isinstance(each, AnswerRecord)):
            note_answer(host, answer)
        quarantine(host, entries, results, now)
        note_contact(host, kept, now)
    return results


def judge_all(host: Host, entries: Sequence[object], read: Sequence[Read]) -> tuple[list[Result], list[Record]]:
    """Return each entry's fate, and the records to be saved: of two about one run the later, final one."""
    known = known_records(read)
    kept: dict[Identity, Record] = {}
    results = []
    for entry, record in zip(entries, read, strict=True):
        if isinstance(record, BadRecord):
            results.append(Result(stated_id(entry), Fate.QUARANTINED, str(record)))
            continue
        identity = type(record), record.id
        result = judge(host, record, known.get(identity))
        if result.result is Fate.ACCEPTED:
            kept[identity] = record
            known[identity] = Known(host.pk, is_final(record))
        results.append(result)
    return results, list(kept.values())


def read_record(host: Host, entry: object, now: datetime) -> Read:
    try:
        record = parse_record(entry, received=now)
        if record.host != host.name:
            raise BadRecord(f"'host' is {record.host!r}, but the token is {host.name!r}'s")
        if host.environment and record.environment != host.environment:
            raise BadRecord(
                f"'environment' is {record.environment.value!r}, but {host.name!r} is of {host.environment}"
            )
        refuse_too_long(record)
    except BadRecord as problem:
        return problem
    return record


def refuse_too_long(record: Record) -> None:
    table = TABLES.get(type(record))
    for field in table._meta.concrete_fields if table else ():
        value = getattr(record, field.name, None)
        if isinstance(value, str) and field.max_length is not None and len(value) > field.max_length:
            raise BadRecord(f"{field.name!r} has {len(value)} characters; the diary keeps {field.max_length}")


def known_records(read: Sequence[Read]) -> dict[Identity, Known]:
    """Return what the database has of these records; only a run's may be other than final."""
    records = [each for each in read if not isinstance(each, BadRecord)]
    known: dict[Identity, Known] = {}
    for kind, table in TABLES.items():
        ids = [each.id for each in records if not isinstance(each, BadRecord) and type(each) is kind]
        rows = table._default_manager.filter(pk__in=ids).only("pk", "host_id", *(["status"] if table is Run else []))
        known |= {(kind, row.pk): Known(row.host_id, not is_under_way(row)) for row in rows}
    return known


def is_under_way(row: Run | Deploy | Outbound | Catalogue) -> bool:
    return isinstance(row, Run) and row.status == Status.RUNNING


def is_final(record: Record) -> bool:
    return not isinstance(record, RunRecord) or record.status.is_final


def judge(host: Host, record: Record, known: Known | None) -> Result:
    """A final record replaces a running one of the same run; nothing replaces a final one."""
    if known is None:
        return Result(str(record.id), Fate.ACCEPTED)
    if known.host_id != host.pk:
        return Result(str(record.id), Fate.QUARANTINED, "'id' is already in use by another host")
    if known.is_final or not is_final(record):
        return Result(str(record.id), Fate.UNCHANGED)
    return Result(str(record.id), Fate.ACCEPTED)


def stated_id(entry: object) -> str:
    stated = entry.get("id") if isinstance(entry, dict) else None
    return storable(str(stated))[:64] if stated is not None else ""


def save_runs(host: Host, records: Sequence[RunRecord], now: datetime) -> None:
    """Insert these runs or replace what is known of them, with their output and items."""
    if not records:
        return
    said = reviews_given(records)
    replaceable = [field.name for field in Run._meta.concrete_fields if not field.primary_key]
    Run.objects.bulk_create(
        [run_row(host, record, said.get(record.id, (first_review(record), "")), now) for record in records],
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=replaceable,
    )
    Output.objects.bulk_create(
        [Output(run_id=record.id, text=record.output) for record in records if record.output],
        update_conflicts=True,
        unique_fields=["run"],
        update_fields=["text"],
    )
    forget([record.id for record in records if record.status.is_final])
    items = [
        Item(run_id=record.id, position=position, name=item.name, outcome=item.outcome, message=item.message)
        for record in records
        for position, item in enumerate(record.items)
    ]
    if items:
        Item.objects.filter(run_id__in={item.run_id for item in items}).delete()
        Item.objects.bulk_create(items, batch_size=1000)
    carry(host, (record for record in records if record.id not in said and first_review(record)), now=now)
    refresh([record.id for record in records])
    tallies.add(host, records)
    follow_runs(host, records, now=now)


def reviews_given(records: Sequence[RunRecord]) -> dict[UUID, tuple[str, str]]:
    """State and assessment that somebody gave these runs while they were running; their end does not unsay them."""
    known = Run.objects.select_for_update().filter(id__in=[record.id for record in records])
    rows = known.exclude(review=ReviewState.NONE).values_list("id", "review", "assessment")
    return {identifier: (review, assessment) for identifier, review, assessment in rows}


def first_review(record: RunRecord) -> str:
    """A failure wants to be looked at, and so does a success that is suspicious, as hosts tell their people of both.

    Not a failure that another attempt follows, or that somebody watched on a terminal; and no dry run.
    """
    is_seen_to = record.retry_at is not None or record.attended
    has_failed = record.status.value in NEEDS_ANALYSIS and not is_seen_to
    wants_somebody = (has_failed or record.unexpected) and not record.dry_run
    return ReviewState.NEEDS_ANALYSIS if wants_somebody else ReviewState.NONE


def run_row(host: Host, record: RunRecord, said: tuple[str, str], now: datetime) -> Run:
    review, assessment = said
    return Run(
        id=record.id,
        host=host,
        environment=record.environment.value,
        task=record.task,
        pack=record.pack or "",
        slot=record.slot,
        trigger=record.trigger.value,
        started=record.started,
        ended=record.ended,
        status=record.status.value,
        reason=record.reason,
        exit_code=record.exit_code,
        signal=record.signal,
        duration=record.duration,
        cpu=record.cpu,
        memory_peak=record.memory_peak,
        output_bytes=record.output_bytes,
        output_dropped=record.output_dropped,
        counts=dict(record.counts),
        boot_id=record.boot_id,
        invocation_id=record.invocation_id,
        release=record.release,
        unit_hash=record.unit_hash,
        attempt=record.attempt,
        attended=record.attended,
        asked_by=record.asked_by,
        parameters=dict(record.parameters),
        dry_run=record.dry_run,
        unexpected=list(record.unexpected),
        retry_at=record.retry_at,
        received=now,
        review=review,
        assessment=assessment,
        failure=failure_of(record),
    )


def save_deploys(host: Host, records: Sequence[DeployRecord], now: datetime) -> None:
    Deploy.objects.bulk_create(
        Deploy(
            id=record.id,
            host=host,
            environment=record.environment.value,
            action=record.action.value,
            release=record.release,
            commit=record.commit,
            ref=record.ref,
            who=record.who,
            started=record.started,
            ended=record.ended,
            duration=record.duration,
            status=record.status.value,
            reason=record.reason,
            previous=record.previous,
            received=now,
        )
        for record in records
    )


def save_outbound(host: Host, records: Sequence[OutboundRecord], now: datetime) -> None:
    if not records:
        return
    Outbound.objects.bulk_create(
        Outbound(
            id=record.id,
            host=host,
            environment=record.environment.value,
            at=record.at,
            task=record.task,
            run=record.run,
            means=record.means,
            to="\n".join(record.to),
            subject=record.subject,
            text=record.text,
            received=now,
        )
        for record in records
    )
    refresh_caught([record.id for record in records])
    # The release before may not have known what these are; its host has sent them once more.
    Quarantine.objects.filter(host=host, record_id__in=[str(record.id) for record in records]).delete()


def quarantine(host: Host, entries: Sequence[object], results: Sequence[Result], now: datetime) -> None:
    rows = []
    for entry, result in zip(entries, results, strict=True):
        if result.result is Fate.QUARANTINED:
            body = storable(json.dumps(entry, ensure_ascii=False))
            rows.append(
                Quarantine(
                    host=host,
                    record_id=result.id,
                    reason=storable(result.reason),
                    body=body[:KEPT_BODY],
                    digest=sha256(body.encode()).hexdigest(),
                    received=now,
                )
            )
    Quarantine.objects.bulk_create(rows, ignore_conflicts=True)


def note_contact(host: Host, kept: Sequence[Record], now: datetime) -> None:
    Host.objects.filter(pk=host.pk).update(last_contact=now)
    if kept and not host.environment:  # of a host whose environment is not configured its first record tells it
        Host.objects.filter(pk=host.pk).update(environment=kept[0].environment.value)
