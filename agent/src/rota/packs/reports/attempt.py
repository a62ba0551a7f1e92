"""One attempt to make a report, as a value: what was tried, and what came of it."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any

from rota.core.errors import RotaError

LARGEST_COUNT = 2**62
SHA256 = re.compile(r"[0-9a-f]{64}")


class BadAttempt(RotaError):
    """This is no attempt to make a report."""


class Trigger(StrEnum):
    """Why a report is made."""

    SCHEDULE = "schedule"
    RUN_NOW = "run now"
    DRY_RUN = "dry run"


class Outcome(StrEnum):
    """What came of it: REFUSED before anything ran, SHOWN where nothing was to be published."""

    PUBLISHED = "published"
    SHOWN = "shown"
    FAILED = "failed"
    REFUSED = "refused"

    @property
    def is_good(self) -> bool:
        return self in (Outcome.PUBLISHED, Outcome.SHOWN)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """`id` is a UUID; `run` that of the run it was part of; `planned` the day it was due; `message` is OK on success.

    `rows` are the lines of the output, `sha256` its checksum in hexadecimal digits.
    """

    id: str
    task: str
    report: str
    host: str
    run: str | None
    trigger: Trigger
    planned: date | None
    started: datetime
    ended: datetime
    outcome: Outcome
    message: str
    bytes: int | None = None
    rows: int | None = None
    sha256: str | None = None
    asked_by: str | None = None

    @property
    def seconds(self) -> float:
        return (self.ended - self.started).total_seconds()


def as_mapping(attempt: Attempt) -> dict[str, Any]:
    """As JSON's values; `from_mapping` makes the same of it again."""
    planned = attempt.planned.isoformat() if attempt.planned else None
    moments = {"started": attempt.started.isoformat(), "ended": attempt.ended.isoformat()}
    return {**asdict(attempt), **moments, "planned": planned}


def from_mapping(value: object) -> Attempt:
    """Raises BadAttempt."""
    if not isinstance(value, Mapping):
        raise BadAttempt(f"expected an object, not {value!r}")
    if unknown := set(value) - {each.name for each in fields(Attempt)}:
        raise BadAttempt(f"there is no {', '.join(sorted(map(repr, unknown)))}")
    try:
        return Attempt(
            id=text(value, "id"),
            task=text(value, "task"),
            report=text(value, "report"),
            host=text(value, "host"),
            run=text(value, "run") if value.get("run") is not None else None,
            trigger=Trigger(text(value, "trigger")),
            planned=date.fromisoformat(text(value, "planned")) if value.get("planned") is not None else None,
            started=aware(text(value, "started")),
            ended=aware(text(value, "ended")),
            outcome=Outcome(text(value, "outcome")),
            message=text(value, "message"),
            bytes=count(value, "bytes"),
            rows=count(value, "rows"),
            sha256=digest(value),
            asked_by=text(value, "asked_by") if value.get("asked_by") is not None else None,
        )
    except ValueError as error:
        raise BadAttempt(str(error)) from None


def text(value: Mapping[str, object], name: str) -> str:
    """Likewise all below: raises ValueError."""
    found = value.get(name)
    if not isinstance(found, str):
        raise ValueError(f"{name} is {found!r}; it is a text")
    return found


def count(value: Mapping[str, object], name: str) -> int | None:
    found = value.get(name)
    if found is None or (type(found) is int and 0 <= found <= LARGEST_COUNT):
        return found
    raise ValueError(f"{name} is {found!r}; it is a count, or null")


def digest(value: Mapping[str, object]) -> str | None:
    found = value.get("sha256")
    if found is None or (isinstance(found, str) and SHA256.fullmatch(found)):
        return found
    raise ValueError(f"sha256 is {found!r}; it has 64 hexadecimal digits, or is null")


def aware(said: str) -> datetime:
    """In UTC. Raises ValueError for a moment without a zone."""
    moment = datetime.fromisoformat(said)
    if moment.tzinfo is None:
        raise ValueError(f"{said!r} has no zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{said!r}: {error}") from None
