"""What a host tells of its attempts to make reports, read and kept as the run log; the same twice changes nothing."""

from collections.abc import Iterable
from dataclasses import fields, replace
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.db import transaction

from rota.core.record import storable
from rota.diary.models import Host
from rota.packs.reports.attempt import Attempt, BadAttempt, Outcome, Trigger, from_mapping
from rota.packs.reports.diary.models import RunLog, Task

LONGEST_MESSAGE = 65_535
"""Bytes, as the original's column could hold."""
LONGEST_ID = 36


class Fate(StrEnum):
    ACCEPTED = "accepted"
    UNCHANGED = "unchanged"
    UNKNOWN = "unknown"
    """No such report: it was deleted since, or never was. The host need not tell it again."""
    REFUSED = "refused"


def keep_attempts(host: Host, told: Iterable[object]) -> list[dict[str, str]]:
    """The fate of each, in their order."""
    return [keep_attempt(host, each) for each in told]


def keep_attempt(host: Host, told: object) -> dict[str, str]:
    name = str(told.get("id", ""))[:64] if isinstance(told, dict) else ""
    try:
        attempt = read_attempt(told)
    except BadAttempt as error:
        return {"id": name, "result": Fate.REFUSED, "reason": error.args[0]}
    fate = Fate.ACCEPTED if attempt.trigger is Trigger.DRY_RUN else keep_row(host, attempt)
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
        "duration": max(0.0, attempt.seconds),
        "bytes": attempt.bytes,
        "rows": attempt.rows,
        "sha256": attempt.sha256 or "",
        "trigger": attempt.trigger,
        "planned": attempt.planned,
        "outcome": attempt.outcome,
        "host": host.name,
        "run": attempt.run,
    }


def read_attempt(told: object) -> Attempt:
    """As a row can hold it; what is told besides is left out. Raises BadAttempt.

    Whose attempt it is says the token; what it says of its host is not believed.
    """
    if not isinstance(told, dict):
        raise BadAttempt("an attempt is an object")
    known = {each.name: told[each.name] for each in fields(Attempt) if each.name in told}
    attempt = from_mapping({"report": "", "host": "", **known})
    if attempt.outcome is Outcome.SHOWN and attempt.trigger is not Trigger.DRY_RUN:
        raise BadAttempt(f"outcome is {attempt.outcome!r}, which a dry run alone has")
    try:
        UUID(attempt.id), UUID(attempt.run or attempt.id)
    except ValueError:
        raise BadAttempt(f"id is {attempt.id!r} and run {attempt.run!r}; they are UUIDs") from None
    return replace(attempt, task=storable(attempt.task)[:LONGEST_ID], message=shortened(storable(attempt.message)))


def shortened(message: str) -> str:
    return message.encode("utf-8", "replace")[:LONGEST_MESSAGE].decode("utf-8", "ignore")
