"""The one incident that is open while something is wrong with a task: what opens it, counts in it and closes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from rota.core.history import median
from rota.core.quantities import show_duration, show_span
from rota.core.record import RunRecord
from rota.core.review import Handled
from rota.core.status import Skip, Status

FIRST_OF_SYSTEMD = 200

# systemd.exec(5), Process Exit Codes: how far systemd came before the task's own program.
BEFORE_THE_PROGRAM: Mapping[int, str] = {
    200: "its working directory cannot be entered",
    201: "its priority cannot be set",
    202: "file descriptors cannot be handed on",
    203: "its program cannot be executed",
    204: "memory is short",
    205: "a limit cannot be set",
    206: "its standing with the out-of-memory killer cannot be set",
    207: "its signals cannot be set",
    208: "its standard input cannot be opened",
    209: "its standard output cannot be opened",
    210: "its root directory cannot be entered",
    211: "its input and output priority cannot be set",
    212: "its timer slack cannot be set",
    213: "its secure bits cannot be set",
    214: "its processor scheduling cannot be set",
    215: "its processors cannot be set",
    216: "its group does not exist",
    217: "its user does not exist",
    218: "its capabilities cannot be set",
    219: "its control group cannot be entered",
    220: "a session cannot be made",
    221: "somebody at the console refused it",
    222: "its standard error cannot be opened",
    224: "its PAM session cannot be opened",
    225: "its network cannot be set up",
    226: "a path that it needs is missing",
    227: "new privileges cannot be forbidden",
    228: "its system calls cannot be filtered",
    229: "its SELinux context cannot be set",
    230: "its personality cannot be set",
    231: "its AppArmor profile cannot be set",
    232: "its address families cannot be restricted",
    233: "its runtime directory cannot be made",
    235: "the owner of a file cannot be changed",
    236: "its SMACK label cannot be set",
    237: "its keyring cannot be set up",
    238: "its state directory cannot be made",
    239: "its cache directory cannot be made",
    240: "its logs directory cannot be made",
    241: "its configuration directory cannot be made",
    242: "its memory policy cannot be set",
    243: "a credential is missing",
    244: "a BPF program of its sandbox cannot be attached",
}

SHOULD_HAVE_RUN = (Skip.HOST_DOWN, Skip.NEVER_STARTED)
"""Why a slot is skipped that should have run. The other reasons are somebody's wish, or work that is under way."""
IN_THE_WAY = (Skip.LOCKED, Skip.STILL_RUNNING)
"""What is no alarm once, but is when it happens many times in a row."""
MANY = 10
PATIENCE_WITH_MISSED = timedelta(minutes=30)
"""A slot was missed: nobody is told if the task succeeds within this time."""
ATTEMPT_MARGIN = timedelta(minutes=5)
FEWEST_DURATIONS = 5
"""Fewer successes than these do not say what is usual."""
LEAST_DIFFERENCE = 60.0


class Kind(StrEnum):
    """What is wrong, as a sentence about the task says it."""

    FAILED = "failed"
    MISSED = "did not run"
    SUSPICIOUS = "succeeded suspiciously"
    RUNNING = "is still running"
    OVERDUE = "is overdue"


@dataclass(frozen=True, kw_only=True)
class Told:
    """When somebody was told of an incident last, and the name of the letter."""

    at: datetime
    letter: str


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """Something is wrong with a task, first seen in this run; nobody needs to know before it is `due`."""

    run: str
    kind: Kind
    reason: str
    since: datetime
    due: datetime | None = None
    is_provisional: bool = False


@dataclass(frozen=True, kw_only=True)
class Incident:
    """Since when something is wrong with a task, how often, and what the latest run of it was.

    `told` says who knows. `recovered` closes it; it is kept until everybody is told, `closed_for` says who is already.
    Before `due` nobody is told, and if it closes before, nobody ever is. Nor is anybody while it is `handled`: somebody
    said so in the diary.
    """

    task: str
    since: datetime
    failures: int
    run: str
    reason: str
    kind: Kind = Kind.FAILED
    due: datetime | None = None
    told: Mapping[str, Told] = field(default_factory=dict)
    recovered: datetime | None = None
    closed_for: tuple[str, ...] = ()
    handled: Handled | None = None

    @property
    def is_open(self) -> bool:
        return self.recovered is None

    def is_due(self, now: datetime, *, after: int = 1) -> bool:
        """Whether its people should know, or should have known when it closed; `after` counts failures."""
        moment = self.recovered or now
        return bool(self.told) or max(1, self.failures) >= after and (self.due is None or moment >= self.due)


def trouble_of(
    run: RunRecord, *, longest: timedelta, usual: float | None = None, factor: float = 0.0, in_a_row: int = 0
) -> Trouble | None:
    """What is wrong with a run that came to an end; None when all is well, or it says nothing of the task.

    `longest` is how long one attempt may take, `usual` the median of seconds that its successes take and `factor` by
    how much it may differ, `in_a_row` how many slots in a row were skipped because something was in the way.
    """
    word = Skip.of(run.reason)
    match run.status:
        case Status.FAILED | Status.LOST:
            return Trouble(
                run=str(run.id),
                kind=Kind.FAILED,
                reason=run.reason or run.status,
                since=run.started,
                due=run.retry_at + longest + ATTEMPT_MARGIN if run.retry_at else None,
                is_provisional=run.retry_at is not None,
            )
        case Status.SUCCEEDED:
            pace = strange_pace(run.duration, usual, factor) if not run.parameters else ""
            doubts = [*run.unexpected, *([pace] if pace else [])]
            if not doubts:
                return None
            return Trouble(run=str(run.id), kind=Kind.SUSPICIOUS, reason="; ".join(doubts), since=run.started)
        case Status.SKIPPED if word in SHOULD_HAVE_RUN:
            due = (run.ended or run.started) + PATIENCE_WITH_MISSED
            since = run.slot or run.started
            return Trouble(run=str(run.id), kind=Kind.MISSED, reason=run.reason, since=since, due=due)
        case Status.SKIPPED if word in IN_THE_WAY and in_a_row >= MANY:
            reason = f"{in_a_row} times in a row: {run.reason}"
            return Trouble(run=str(run.id), kind=Kind.MISSED, reason=reason, since=run.started)
        case _:
            return None


def judge(incident: Incident | None, run: RunRecord, trouble: Trouble | None) -> Incident | None:
    """What becomes of the incident, if there is one, by a run that came to an end and the trouble with it.

    The first trouble opens one, further ones are counted, the first success without any closes it. Whoever was told
    of a failure and not yet of the recovery hears of the next failure as of the same incident.
    A failure that somebody watched on a terminal opens none.
    """
    if trouble:
        is_seen = run.attended and run.status is not Status.SUCCEEDED
        return incident if is_seen and not (incident and incident.is_open) else worsen(incident, run.task, trouble)
    if run.status is Status.SUCCEEDED and incident and incident.is_open:
        return replace(incident, recovered=run.ended or run.started)
    return incident


def worsen(incident: Incident | None, task: str, trouble: Trouble) -> Incident:
    """The incident with this trouble, which opens it, opens it again, or counts in it, once for each run."""
    count = 0 if trouble.is_provisional else 1
    if incident is None:
        return Incident(
            task=task,
            since=trouble.since,
            failures=count,
            run=trouble.run,
            reason=trouble.reason,
            kind=trouble.kind,
            due=trouble.due,
        )
    if incident.run == trouble.run and incident.is_open and incident.kind is not Kind.RUNNING:
        count = 0
    waits = incident.due is not None and trouble.due is not None
    return replace(
        incident,
        failures=incident.failures + count,
        run=trouble.run,
        reason=trouble.reason,
        kind=trouble.kind,
        due=(trouble.due if trouble.is_provisional else incident.due) if waits else None,
        told={who: told for who, told in incident.told.items() if who not in incident.closed_for},
        recovered=None,
        closed_for=(),
        handled=incident.handled if incident.is_open else None,
    )


def usual_of(durations: Sequence[float]) -> float | None:
    """How many seconds a success usually takes: the median; None where too few are known."""
    return median(durations) if len(durations) >= FEWEST_DURATIONS else None


def is_slow(duration: float, usual: float | None, factor: float) -> bool:
    return bool(factor and usual) and duration > factor * (usual or 0) and duration - (usual or 0) > LEAST_DIFFERENCE


def strange_pace(duration: float | None, usual: float | None, factor: float) -> str:
    """What is strange about how long a success took, in a sentence; empty when nothing is."""
    if duration is None or not usual or not factor:
        return ""
    is_fast = usual > LEAST_DIFFERENCE and duration < usual / factor
    if not is_fast and not is_slow(duration, usual, factor):
        return ""
    return f"it took {show_duration(duration)}; usually it takes {show_duration(usual)}"


def running_too_long(run: RunRecord, *, usual: float | None, factor: float, now: datetime) -> Trouble | None:
    """The trouble with a run that is under way for much longer than usual."""
    duration = (now - run.started).total_seconds()
    if not is_slow(duration, usual, factor):
        return None
    reason = f"for {show_span(now - run.started)}; usually it takes {show_duration(usual)}"
    return Trouble(run=str(run.id), kind=Kind.RUNNING, reason=reason, since=run.started)


def overdue(run: str, good: datetime, *, fresh: timedelta, now: datetime) -> Trouble | None:
    """The trouble with a task that was well last at `good`, and should be so once within `fresh`."""
    if now - good <= fresh:
        return None
    reason = f"no success for {show_span(now - good)}; there should be one every {show_span(fresh)}"
    return Trouble(run=run, kind=Kind.OVERDUE, reason=reason, since=good + fresh)


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
