"""What the read API takes and answers."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from ninja import Field, Schema
from pydantic import AfterValidator

from rota.core.status import DeployAction, DeployStatus, Environment, Status, Trigger
from rota.diary.models import Assessment, Deploy, Outbound, ReviewState, Run

ReviewWord = Annotated[str, Field(pattern=f"^({'|'.join(ReviewState.values)})$")]
AssessmentWord = Annotated[str, Field(pattern=f"^({'|'.join(Assessment.values)})$")]


def without_nul(text: str) -> str:
    """Raises ValueError for what no database can look for."""
    if "\0" in text:
        raise ValueError("it holds a NUL character")
    return text


def name_of_host(row: Run | Deploy | Outbound) -> str:
    return row.host.name


Text = Annotated[str, Field(max_length=500), AfterValidator(without_nul)]


class Asked(Schema):
    """What every list takes."""

    limit: int = Field(25, ge=1, le=200, description="How many at most.")
    before: Text = Field("", description="The key of the row after which to go on, as `older` has it.")
    after: Text = Field("", description="The key of the row before which to look, as `newer` has it.")


class RunsAsked(Asked):
    """Which runs; each is as the list of runs has it in its address, and empty where nothing is asked."""

    environment: Environment | None = None
    host: Text = ""
    task: Text = ""
    status: Status | None = None
    review: Annotated[str, Field(pattern=f"^(open|{'|'.join(ReviewState.values)})$")] = ""
    assessment: AssessmentWord = ""
    tag: Text = ""
    pack: Text = ""
    reason: Text = ""
    trigger: Trigger | None = None
    release: Text = ""
    asked_by: Text = ""
    since: Text = Field("", description="A day, or a moment; without an offset in the zone of your pages.")
    until: Text = Field("", description="The same; a day belongs to it whole.")
    text: Text = ""


class CaughtAsked(Asked):
    """Which of what was caught; each is as the outbox has it in its address."""

    environment: Environment | None = None
    host: Text = ""
    means: Text = ""
    task: Text = ""
    text: Text = ""


class TasksAsked(Schema):
    """Which tasks."""

    host: Text = ""


class OfHost(Asked):
    """Which deploys."""

    host: Text = ""


class Problem(Schema):
    """Why there is no answer."""

    error: str


class RunRow(Schema):
    """A run, as lists have it. `duration` is in seconds, `page` the address of its page."""

    id: UUID
    host: str
    environment: Environment
    task: str
    pack: str
    slot: datetime | None
    trigger: Trigger
    started: datetime
    ended: datetime | None
    status: Status
    reason: str
    duration: float | None
    release: str
    attempt: int
    review: ReviewWord
    assessment: AssessmentWord
    page: str

    resolve_host = staticmethod(name_of_host)


class ItemRow(Schema):
    """One thing a run worked on."""

    name: str
    outcome: str
    message: str


class ReviewRow(Schema):
    """What a person said of a run, the newest first."""

    at: datetime
    person: str
    state: ReviewWord
    assessment: AssessmentWord
    summary: str
    tags: list[str]


class RunWhole(RunRow):
    """A run with all there is of it but its output, whose address `output` is. `cpu` is in seconds, sizes in bytes."""

    exit_code: int | None
    signal: int | None
    cpu: float | None
    memory_peak: int | None
    output_bytes: int
    output_dropped: int
    counts: dict[str, float]
    boot_id: str
    invocation_id: str
    unit_hash: str
    asked_by: str
    parameters: dict[str, str | float | bool | list[str]]
    dry_run: bool
    unexpected: list[str]
    retry_at: datetime | None
    received: datetime
    items: list[ItemRow]
    reviews: list[ReviewRow]
    output: str


class Runs(Schema):
    """Runs, the newest first. `older` and `newer` are keys for `before` and `after`; null where there is nothing.

    A search that took long shows what it found until then, and `older` goes on from there. What began before `unread`
    may be missing from a search; null where nothing is.
    """

    runs: list[RunRow]
    older: str | None
    newer: str | None
    unread: datetime | None


class HostRow(Schema):
    """A host, when it was last heard of, and the release that it was given last."""

    name: str
    environment: str
    last_contact: datetime | None
    is_silent: bool
    release: str


class DeployRow(Schema):
    """One release put on one host, or taken back. `duration` is in seconds."""

    id: UUID
    host: str
    environment: Environment
    action: DeployAction
    release: str
    previous: str
    commit: str
    ref: str
    who: str
    started: datetime
    ended: datetime | None
    duration: float | None
    status: DeployStatus
    reason: str

    resolve_host = staticmethod(name_of_host)


class Deploys(Schema):
    """Deploys, the newest first, with keys as those of runs."""

    deploys: list[DeployRow]
    older: str | None
    newer: str | None


class TaskRow(Schema):
    """A task of a host. `words` say when it runs; `due` is its next slot, `missed` the latest that did not run."""

    task: str
    host: str
    environment: str
    pack: str
    description: str
    words: str
    is_paused: bool
    due: datetime | None
    is_late: bool
    missed: datetime | None
    page: str


class ParameterRow(Schema):
    """What may be set when a run is asked for."""

    name: str
    kind: str
    is_many: bool
    choices: list[str]
    default: Any
    meaning: str


class TaskWhole(TaskRow):
    """A task with all that its host says of it, since when it is so, and its usual seconds (null where unknown)."""

    since: datetime
    release: str
    is_asked: bool
    has_dry_run: bool
    fields: dict[str, str]
    parameters: list[ParameterRow]
    paused_until: datetime | None
    coming: list[datetime]
    median: float | None
    p95: float | None


class CaughtRow(Schema):
    """What would have been sent, had its host been production's."""

    id: UUID
    host: str
    environment: Environment
    at: datetime
    task: str
    run: UUID | None
    means: str
    receivers: list[str]
    subject: str

    resolve_host = staticmethod(name_of_host)


class CaughtWhole(CaughtRow):
    """The same, with what it says."""

    text: str


class Caught(Schema):
    """What was caught, the newest first, with keys and `unread` as those of runs."""

    caught: list[CaughtRow]
    older: str | None
    newer: str | None
    unread: datetime | None
