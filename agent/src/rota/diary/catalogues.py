"""The tasks of hosts as they tell of them: what is in force, since when, and how it changed."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from hashlib import sha256
from typing import Any

from django.db.models import BooleanField, Exists, ExpressionWrapper, OuterRef, Q, QuerySet

from rota.core.definition import parameter_of
from rota.core.parameter import Parameter
from rota.core.record import CatalogueRecord, Declared, as_mapping
from rota.diary.models import Catalogue, Host, Quarantine, Run, TaskDefinition, TaskPause, TaskUnit
from rota.diary.standings import keep_timings, pauses_on

SHOWN_CHANGES = 20
FOREMOST = (
    "User",
    "DynamicUser",
    "PrivateNetwork",
    "IPAddressAllow",
    "IPAddressDeny",
    "CapabilityBoundingSet",
    "NoNewPrivileges",
    "ProtectSystem",
    "ProtectHome",
    "ReadWritePaths",
    "MemoryMax",
)


def save_catalogue(host: Host, record: CatalogueRecord, *, now: datetime) -> None:
    """Keep what a host says of its tasks: what has changed begins, what it says no more ends; what is late is old news.

    One that says the same as the one in force only moves the moment at which that was told last. One of a time to come
    is of now: else a host whose clock was ahead once would not be heard of until then.
    """
    record = replace(record, at=min(record.at, now))
    # The release before may not have known what this is; its host has sent it once more.
    Quarantine.objects.filter(host=host, record_id=str(record.id)).delete()
    said = as_mapping(record)
    for definition in said["tasks"].values():  # type: ignore[attr-defined]  # as its record makes it
        # What it adds to the fields changes as months go by, and is no change of the task; nor is what a unit has.
        del definition["timing"], definition["unit"]
    digest = digest_of({"tasks": said["tasks"], "is_asking": record.is_asking})
    current = catalogue_of(host)
    if current and record.at < min(current.last, now):
        return
    if current and (current.digest, current.release) == (digest, record.release):
        Catalogue.objects.filter(pk=current.pk).update(last=record.at)
    else:
        Catalogue.objects.create(
            id=record.id,
            host=host,
            digest=digest,
            release=record.release,
            is_asking=record.is_asking,
            since=record.at,
            last=record.at,
        )
        save_definitions(host, record, said["tasks"])  # type: ignore[arg-type]  # as its record makes it
    save_units(host, record)
    paused = pauses_on(host)
    TaskPause.objects.filter(host=host).delete()
    TaskPause.objects.bulk_create(
        TaskPause(host=host, task=task, since=each.since, until=each.until, by=each.by, reason=each.reason)
        for task, each in record.pauses.items()
    )
    keep_timings(host, record, paused)


def save_definitions(host: Host, record: CatalogueRecord, said: Mapping[str, object]) -> None:
    digests = {task: digest_of(definition) for task, definition in said.items()}
    in_force = dict(TaskDefinition.objects.filter(host=host, until=None).values_list("task", "digest"))
    ended = [task for task, digest in in_force.items() if digests.get(task) != digest]
    TaskDefinition.objects.filter(host=host, until=None, task__in=ended).update(until=record.at)
    TaskDefinition.objects.bulk_create(
        TaskDefinition(
            host=host,
            task=task,
            digest=digests[task],
            definition=definition,
            release=record.release,
            since=record.at,
        )
        for task, definition in said.items()
        if in_force.get(task) != digests[task]
    )


def save_units(host: Host, record: CatalogueRecord) -> None:
    """Keep how units confine tasks: one of a hash that is known says nothing new."""
    units = ((task, definition.unit) for task, definition in record.tasks.items())
    TaskUnit.objects.bulk_create(
        (
            TaskUnit(host=host, task=task, hash=unit.hash, exposure=unit.exposure, hardening=list(unit.hardening))
            for task, unit in units
            if unit
        ),
        ignore_conflicts=True,
    )


def digest_of(said: object) -> str:
    return sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def catalogue_of(host: Host) -> Catalogue | None:
    """The catalogue that is in force on this host."""
    return Catalogue.objects.filter(host=host).order_by("-since", "-id").first()


@dataclass(frozen=True, slots=True)
class TaskOnHost:
    """A task as its host defines it now, or defined it last."""

    row: TaskDefinition

    @property
    def said(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.row.definition
        return found

    @property
    def parameters(self) -> list[Parameter]:
        names = [each.name for each in fields(Declared)]
        return [parameter_of(Declared(**{name: said[name] for name in names})) for said in self.said["parameters"]]

    @property
    def is_gone(self) -> bool:
        return self.row.until is not None

    @property
    def others(self) -> list[tuple[str, str]]:
        """Its fields, by name."""
        return sorted(self.said["fields"].items())


def tasks_in_force(host: str = "") -> "QuerySet[TaskDefinition]":
    """The tasks of all hosts, or of the one of this name, each with the pause that it is in, if any."""
    paused = TaskPause.objects.filter(host=OuterRef("host"), task=OuterRef("task"))
    rows = TaskDefinition.objects.filter(until=None).select_related("host").annotate(is_paused=Exists(paused))
    return (rows.filter(host__name=host) if host else rows).order_by("host__environment", "host__name", "task")


def pause_of(host: Host, task: str, *, now: datetime) -> TaskPause | None:
    found = TaskPause.objects.filter(host=host, task=task).first()
    return found if found and (found.until is None or found.until > now) else None


def task_on(host: Host, task: str) -> TaskOnHost | None:
    row = TaskDefinition.objects.filter(host=host, task=task).order_by("-since").first()
    return TaskOnHost(row) if row else None


def task_at(host: Host, task: str, moment: datetime) -> tuple[bool, TaskOnHost | None]:
    """Whether the host has ever told of the task; and how it defined it then, as far as it had told that."""
    had_begun = ExpressionWrapper(Q(since__lte=moment), output_field=BooleanField())
    row = TaskDefinition.objects.filter(host=host, task=task).order_by(had_begun.desc(), "-since").first()
    was_in_force = row and row.since <= moment and (row.until is None or row.until > moment)
    return row is not None, TaskOnHost(row) if row and was_in_force else None


@dataclass(frozen=True, slots=True)
class Hardening:
    """How a unit confines its task: the values of each directive, first of those that are asked for most."""

    exposure: float
    foremost: list[tuple[str, list[str]]]
    rest: list[tuple[str, list[str]]]


def hardening_of(run: Run) -> Hardening | None:
    """How the unit of this run confined it; None where its host has not told that."""
    if not run.unit_hash:
        return None
    found = TaskUnit.objects.filter(host=run.host_id, task=run.task, hash=run.unit_hash).first()
    if found is None:
        return None
    values: dict[str, list[str]] = {}
    for line in found.hardening:
        name, _, value = line.partition("=")
        values.setdefault(name, []).append(value)
    return Hardening(
        found.exposure,
        [(name, values[name]) for name in FOREMOST if name in values],
        [(name, said) for name, said in values.items() if name not in FOREMOST],
    )


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of a definition that is not as it was; "" where it was, or is, as Rota has it."""

    field: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Change:
    """From when on, and with which release, a definition was another than before."""

    since: datetime
    release: str
    differences: list[Difference]
    is_first: bool


def changes_of(host: Host, task: str) -> list[Change]:
    """How the task's definition came to be what it is, newest first."""
    rows = list(TaskDefinition.objects.filter(host=host, task=task).order_by("-since")[: SHOWN_CHANGES + 1])
    befores = [*rows[1:], None]
    return [
        Change(
            since=row.since,
            release=row.release,
            differences=list(differences(before.definition if before else {}, row.definition)),
            is_first=before is None,
        )
        for row, before in list(zip(rows, befores, strict=True))[:SHOWN_CHANGES]
    ]


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    if not before:
        return
    old, new = texts_of(before), texts_of(after)
    for name in sorted(old.keys() | new.keys()):
        if old.get(name, "") != new.get(name, ""):
            yield Difference(name, old.get(name, ""), new.get(name, ""))


def texts_of(definition: Mapping[str, Any]) -> dict[str, str]:
    """All that a definition says, by field."""
    own = {name: str(definition.get(name, "")) for name in ("description", "pack")}
    return {**own, "asking": "yes" if definition.get("is_asked") else "no", **definition.get("fields", {})}
