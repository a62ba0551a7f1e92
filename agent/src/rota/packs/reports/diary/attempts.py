"""What a host tells of its attempts to make reports, read and kept as the run log; the same twice changes nothing."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.db import transaction

from rota.core.record import storable
from rota.diary.models import Host
from rota.packs.reports.diary.models import Outcome, RunLog, Task, Trigger

DRY_RUN = "dry run"
LONGEST_MESSAGE = 65_535
"""Bytes, as the original's column could hold."""
LARGEST_COUNT = 2**62
SHA256 = re.compile(r"[0-9a-f]{64}")


class BadAttempt(ValueError):
    """What cannot be understood, and why."""


class Fate(StrEnum):
    ACCEPTED = "accepted"
    UNCHANGED = "unchanged"
    UNKNOWN = "unknown"
    """No such report: it was deleted since, or never was. The host need not tell it again."""
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True)
class Attempt:
    id: UUID
    task: str
    run: UUID | None
    trigger: str
    planned: date | None
    started: datetime
    ended: datetime
    outcome: Outcome
    message: str
    bytes: int | None
    rows: int | None
    sha256: str


def keep_attempts(host: Host, told: Iterable[object]) -> list[dict[str, str]]:
    """The fate of each, in their order."""
    return [keep_attempt(host, each) for each in told]


def keep_attempt(host: Host, told: object) -> dict[str, str]:
    name = str(told.get("id", ""))[:64] if isinstance(told, dict) else ""
    try:
        attempt = read_attempt(told)
    except BadAttempt as error:
        return {"id": name, "result": Fate.REFUSED, "reason": str(error)}
    fate = Fate.ACCEPTED if attempt.trigger == DRY_RUN else keep_row(host, attempt)
    return {"id": name, "result": fate, "reason": "there is no such report" if fate is Fate.UNKNOWN else ""}


def keep_row(host: Host, attempt: Attempt) -> Fate:
    with transaction.atomic():
        # A report that is being deleted at this moment is waited for.
        if not Task.objects.select_for_update().filter(pk=attempt.task).exists():
            return Fate.UNKNOWN
        _, is_new = RunLog.objects.get_or_create(attempt=attempt.id, defaults=columns_of(host, attempt))
    return Fate.ACCEPTED if is_new else Fate.UNCHANGED


def columns_of(host: Host, attempt: Attempt) -> dict[str, Any]:
    return {
        "task_id": attempt.task,
        "date": attempt.ended,
        "is_success": attempt.outcome is Outcome.PUBLISHED,
        "message": attempt.message,
        "started": attempt.started,
        "duration": max(0.0, (attempt.ended - attempt.started).total_seconds()),
        "bytes": attempt.bytes,
        "rows": attempt.rows,
        "sha256": attempt.sha256,
        "trigger": attempt.trigger,
        "planned": attempt.planned,
        "outcome": attempt.outcome,
        "host": host.name,
        "run": attempt.run,
    }


def read_attempt(told: object) -> Attempt:
    """Raises BadAttempt. Whose attempt it is says the token; what it says of its host is not believed."""
    if not isinstance(told, dict):
        raise BadAttempt("an attempt is an object")
    try:
        return Attempt(
            id=UUID(text(told, "id")),
            task=text(told, "task")[:36],
            run=UUID(text(told, "run")) if told.get("run") is not None else None,
            trigger=one_of((*Trigger.values, DRY_RUN), text(told, "trigger")),
            planned=date.fromisoformat(text(told, "planned")) if told.get("planned") is not None else None,
            started=moment(told, "started"),
            ended=moment(told, "ended"),
            outcome=Outcome(text(told, "outcome")),
            message=shortened(storable(text(told, "message"))),
            bytes=count(told, "bytes"),
            rows=count(told, "rows"),
            sha256=digest(told),
        )
    except (ValueError, OverflowError) as error:
        raise BadAttempt(str(error)) from None


def text(told: Mapping[str, object], name: str) -> str:
    value = told.get(name)
    if not isinstance(value, str):
        raise BadAttempt(f"{name} is {value!r}; it is a text")
    return value


def count(told: Mapping[str, object], name: str) -> int | None:
    value = told.get(name)
    if value is not None and (type(value) is not int or not 0 <= value <= LARGEST_COUNT):
        raise BadAttempt(f"{name} is {value!r}; it is a count, or null")
    return value


def digest(told: Mapping[str, object]) -> str:
    value = told.get("sha256") or ""
    if not isinstance(value, str) or (value and not SHA256.fullmatch(value)):
        raise BadAttempt(f"sha256 is {value!r}; it has 64 hexadecimal digits, or is null")
    return value


def moment(told: Mapping[str, object], name: str) -> datetime:
    value = datetime.fromisoformat(text(told, name))
    if value.tzinfo is None:
        raise BadAttempt(f"{name} is {value.isoformat()}; it says no zone")
    return value.astimezone(UTC)


def one_of(known: Iterable[str], value: str) -> str:
    if value not in known:
        raise BadAttempt(f"{value!r} is none of {', '.join(known)}")
    return value


def shortened(message: str) -> str:
    return message.encode("utf-8", "replace")[:LONGEST_MESSAGE].decode("utf-8", "ignore")
