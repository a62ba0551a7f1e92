"""How a task stands: its latest run, its latest success, and the one incident that is open while it fails."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from rota.core.record import RunRecord
from rota.core.status import Status

CLOCK_MARGIN = timedelta(minutes=5)
FIRST_OF_SYSTEMD = 200

# systemd.exec(5), Process Exit Codes: how far systemd came before the task's own program.
BEFORE_THE_PROGRAM: Mapping[int, str] = {
    200: "its working directory cannot be entered",
    203: "its program cannot be executed",
    205: "a limit cannot be set",
    216: "its group does not exist",
    217: "its user does not exist",
    218: "its capabilities cannot be set",
    225: "its network cannot be set up",
    226: "a path that it needs is missing",
    228: "its system calls cannot be filtered",
    243: "a credential is missing",
}


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A task's latest run that came to an end, and when its latest success ended. `duration` is seconds."""

    run: str
    started: datetime
    status: Status
    duration: float | None
    succeeded: datetime | None


@dataclass(frozen=True, kw_only=True)
class Incident:
    """A task fails: since when, how often, and what the latest failed run was. `recovered` closes it once told."""

    task: str
    since: datetime
    failures: int
    run: str
    reason: str
    is_told: bool = False
    recovered: datetime | None = None

    @property
    def is_open(self) -> bool:
        return self.recovered is None


def follow(standing: Standing | None, run: RunRecord) -> Standing:
    """How the task stands after this run, which came to an end."""
    before = standing.succeeded if standing else None
    return Standing(
        run=str(run.id),
        started=run.started,
        status=run.status,
        duration=run.duration,
        succeeded=run.ended if run.status is Status.SUCCEEDED else before,
    )


def judge(incident: Incident | None, run: RunRecord) -> Incident | None:
    """What becomes of the incident, if there is one, by a run that came to an end.

    The first failure opens one, further ones are counted, the first success closes it. Whoever was told of a failure
    and not yet of the recovery hears of the next failure as of the same incident.
    """
    if run.status is Status.SUCCEEDED:
        return replace(incident, recovered=run.ended) if incident and incident.is_open else incident
    if incident is None:
        return Incident(task=run.task, since=run.started, failures=1, run=str(run.id), reason=run.reason or run.status)
    return replace(
        incident, failures=incident.failures + 1, run=str(run.id), reason=run.reason or run.status, recovered=None
    )


def news(standing: Standing | None, runs: Iterable[RunRecord], now: datetime) -> list[RunRecord]:
    """The task's runs that came to an end and are not in its standing yet, oldest first.

    A skipped run changes nothing: the work that held the lock has a record of its own. When the clock was set back,
    the standing lies in the future; then what began a moment ago counts as new, and what is still to come does not.
    """
    ended = (Status.SUCCEEDED, Status.FAILED, Status.LOST)
    known = standing.started if standing else datetime.min.replace(tzinfo=UTC)
    if known > now:
        known = now - CLOCK_MARGIN
    found = [run for run in runs if run.status in ended and known < run.started <= now]
    return sorted(found, key=lambda run: run.started)


def why_without_record(result: str, exit_code: str, exit_status: str) -> str:
    """The reason of a run that left no record, by what systemd tells of its unit (systemd.exec(5)).

    Almost always its unit failed before the runner began, which has exit codes of its own.
    """
    number = int(exit_status) if exit_code == "exited" and exit_status.isdigit() else 0
    if number in BEFORE_THE_PROGRAM:
        return f"never started: {BEFORE_THE_PROGRAM[number]} (exit {number})"
    if number >= FIRST_OF_SYSTEMD:
        return f"never started: exit {number} of systemd.exec(5)"
    if not exit_code:
        return f"never started: {result or 'systemd gives no reason'}"
    return f"{result} {exit_status}, and left no record".strip()
