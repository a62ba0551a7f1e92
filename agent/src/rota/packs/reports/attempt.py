"""One attempt to make a report, as a value: what was tried, and what came of it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from rota.core.errors import RotaError


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
            **{
                **value,
                "trigger": Trigger(value["trigger"]),
                "outcome": Outcome(value["outcome"]),
                "planned": date.fromisoformat(value["planned"]) if value.get("planned") else None,
                "started": aware(value["started"]),
                "ended": aware(value["ended"]),
            }
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadAttempt(f"{type(error).__name__}: {error}") from None


def aware(text: str) -> datetime:
    """Raises ValueError for a moment without a zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no zone")
    return moment
