"""The one incident that is open while a task fails, and why a run left no record."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from rota.core.record import RunRecord
from rota.core.status import Status

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
