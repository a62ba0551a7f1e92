"""What somebody asks of a host in the diary: a run of a task now, a pause of it, or the end of one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

from rota.core.errors import RotaError
from rota.core.identifier import parse_identifier
from rota.core.record import MAX_PARAMETERS, MAX_TEXT, TASK_NAME, format_moment, storable

MOST_VALUES = 1_000
"""How many values one request sets: a parameter may take a hundred, and there may be several such."""
MAX_ASKER = 254
MAX_REASON = 200
ASKER = re.compile(r"[^\s<>\"]+@[^\s<>\"]+")
KEYS = ("id", "action", "task", "values", "is_dry_run", "until", "reason", "asked_by", "deadline")


class BadRequest(RotaError):
    """What the diary asks for cannot be read."""


class Action(StrEnum):
    """What is asked for."""

    RUN = "run"
    PAUSE = "pause"
    RESUME = "resume"


@dataclass(frozen=True, kw_only=True)
class HostRequest:
    """One thing that is asked for. `id` is also that of the run which comes of it, so that it can come of it but once.

    `values` are pairs of a parameter's name and a word, as `rota run --set` takes them. `asked_by` is the mail address
    of a person of the diary, `until` the end of a pause, `deadline` until when it may begin by the host's own clock.
    """

    id: UUID
    action: Action
    task: str
    values: tuple[tuple[str, str], ...] = ()
    is_dry_run: bool = False
    until: datetime | None = None
    reason: str = ""
    asked_by: str
    deadline: datetime

    @property
    def who(self) -> str:
        return f"{self.asked_by} via the diary"


def as_mapping(request: HostRequest) -> dict[str, object]:
    """The inverse of `parse_request`: plain values that `json` can write."""
    return {
        "id": str(request.id),
        "action": request.action.value,
        "task": request.task,
        "values": [list(pair) for pair in request.values],
        "is_dry_run": request.is_dry_run,
        "until": request.until and format_moment(request.until),
        "reason": request.reason,
        "asked_by": request.asked_by,
        "deadline": format_moment(request.deadline),
    }


def parse_request(said: object) -> HostRequest:
    """The request that a decoded JSON value holds; every word of it is whoever asks's. Raises BadRequest."""
    if not isinstance(said, Mapping):
        raise BadRequest("it is no object")
    missing = [key for key in KEYS if key not in said]
    if missing:
        raise BadRequest(f"{', '.join(missing)} is missing")
    identifier = parse_identifier(line(said, "id", 36))
    if identifier is None:
        raise BadRequest("'id' is no UUID of version 7")
    action, task, asker = line(said, "action", 20), line(said, "task", 64), line(said, "asked_by", MAX_ASKER)
    if action not in list(Action):
        raise BadRequest(f"'action' is {action!r}; this host knows {', '.join(Action)}")
    if not TASK_NAME.fullmatch(task):
        raise BadRequest(f"'task' is {task!r}; it must be a task's name")
    if not ASKER.fullmatch(asker):
        raise BadRequest("'asked_by' is no mail address")
    if not isinstance(said["is_dry_run"], bool):
        raise BadRequest("'is_dry_run' is neither true nor false")
    return HostRequest(
        id=identifier,
        action=Action(action),
        task=task,
        values=read_values(said["values"]),
        is_dry_run=said["is_dry_run"],
        until=None if said["until"] is None else moment(said, "until"),
        reason=line(said, "reason", MAX_REASON),
        asked_by=asker,
        deadline=moment(said, "deadline"),
    )


def read_values(said: object) -> tuple[tuple[str, str], ...]:
    """Names and words; which there may be, and of what type, the task says."""
    if not isinstance(said, list) or len(said) > MOST_VALUES:
        raise BadRequest(f"'values' is no list of at most {MOST_VALUES} pairs")
    for pair in said:
        if not isinstance(pair, list) or len(pair) != 2 or not all(is_text(each) for each in pair):
            raise BadRequest("'values' has something else than a name and a text in it")
    if len({name for name, _ in said}) > MAX_PARAMETERS:
        raise BadRequest(f"'values' sets more than {MAX_PARAMETERS} parameters")
    return tuple((name, word) for name, word in said)


def is_text(value: object) -> bool:
    return isinstance(value, str) and value == storable(value) and len(value.encode()) <= MAX_TEXT


def line(said: Mapping[str, object], key: str, most: int) -> str:
    """One line that a record, a page and a journal can hold."""
    value = said[key]
    if not isinstance(value, str) or not is_text(value) or not value.isprintable() or len(value) > most:
        raise BadRequest(f"{key!r} is no line of at most {most} characters")
    return value


def moment(said: Mapping[str, object], key: str) -> datetime:
    try:
        value = datetime.fromisoformat(line(said, key, 40))
    except ValueError:
        raise BadRequest(f"{key!r} is no time") from None
    if value.tzinfo is None:
        raise BadRequest(f"{key!r} has no zone")
    return value.astimezone(UTC)
