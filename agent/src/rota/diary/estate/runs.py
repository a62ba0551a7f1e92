"""The made-up estate's runs and deploys as records, each the same whenever it is asked for."""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from random import Random
from typing import TypeVar
from uuid import UUID

from rota.core.record import DeployRecord, Item, OutboundRecord, RunRecord
from rota.core.status import DeployAction, DeployStatus, Environment, Status, Trigger
from rota.diary.estate.tasks import MadeTask
from rota.diary.estate.words import output

Choice = TypeVar("Choice")
End = tuple[Status, str, int | None, int | None]

SUCCEEDED: End = (Status.SUCCEEDED, "", 0, None)
ENDS: Sequence[tuple[End, float]] = (
    (SUCCEEDED, 0.9350),
    ((Status.SUCCEEDED, "left processes behind", 0, None), 0.0020),
    ((Status.FAILED, "exit 3", 3, None), 0.0140),
    ((Status.FAILED, "exit 1", 1, None), 0.0110),
    ((Status.FAILED, "timeout", None, 15), 0.0050),
    ((Status.FAILED, "out of memory", None, 9), 0.0010),
    ((Status.FAILED, "never started: a credential is missing (exit 243)", 243, None), 0.0005),
    ((Status.SKIPPED, "locked", None, None), 0.0150),
    ((Status.SKIPPED, "paused: by operator until Monday", None, None), 0.0060),
    ((Status.SKIPPED, "host was down", None, None), 0.0065),
    ((Status.LOST, "host went down", None, None), 0.0040),
)
CATCHING = ("staging", "development")
LETTERS = (("mail", ("operators@example.org", "head@example.org")), ("channel", ("chat",)))
DEPLOY_EVERY = timedelta(days=3)
DOUBTS = ("{} is 0; expected >0", "it took a fifth of its usual time", "{} is 3; expected 100..5000")
PARAMETERS = {"since": "2025-01-01", "databases": ["alpha", "beta"], "limit": 100, "full": True}
ASKING = ("operator@workstation-north", "operator@workstation-south", "reviewer@diary")


def identifier(moment: datetime, *names: object) -> UUID:
    """A UUID of version 7 (RFC 9562, section 5.7) of this moment; the same one for the same names."""
    digest = blake2b("/".join(map(str, names)).encode(), digest_size=10).digest()
    milliseconds = int(moment.timestamp() * 1000)
    tail = int.from_bytes(digest, "big")
    return UUID(int=milliseconds << 80 | 7 << 76 | (tail >> 64 & 0xFFF) << 64 | 2 << 62 | tail & (1 << 62) - 1)


def unit_hash(task: MadeTask, moment: datetime) -> str:
    """What the task's unit was called: each month brings another."""
    return blake2b(f"{task.name}{moment:%Y%m}".encode(), digest_size=32).hexdigest()


def release_at(moment: datetime) -> str:
    """The release that was in use at this moment: each deploy brings one, every third day at ten."""
    number = int((moment.timestamp() - 36_000) // DEPLOY_EVERY.total_seconds())
    began = datetime.fromtimestamp(number * DEPLOY_EVERY.total_seconds() + 36_000, moment.tzinfo)
    return f"{began:%Y%m%dT%H%M%SZ}-{blake2b(str(number).encode(), digest_size=6).hexdigest()}"


def run_record(
    task: MadeTask,
    host: str,
    started: datetime,
    *,
    key: UUID,
    source: Random,
    slot: datetime | None = None,
    end: End | None = None,
    changes: Mapping[str, object] | None = None,
) -> RunRecord:
    """One run of this task; how it ended is drawn, unless `end` says it. `changes` overrides single fields."""
    status, reason, code, signal = end or drawn(ENDS, source)
    seconds = round(task.typical * math.exp(source.gauss(0, 0.3)), 3)
    is_over, has_worked = status.is_final, status is not Status.SKIPPED
    by_hand = has_worked and source.random() < 0.015
    text = output(task, status.value, source) if is_over else ""
    size = len(text.encode())
    doubt = DOUBTS[int(source.random() * 3)] if status is Status.SUCCEEDED and source.random() < 0.004 else ""
    values: dict[str, object] = {
        "id": key,
        "host": host,
        "environment": Environment(host),
        "task": task.name,
        "pack": task.pack,
        "slot": None if by_hand else slot or started.replace(second=0, microsecond=0),
        "trigger": Trigger.MANUAL if by_hand else Trigger.TIMER,
        "started": started,
        "ended": started + timedelta(seconds=seconds if has_worked else 0) if is_over else None,
        "status": status,
        "reason": reason,
        "exit_code": code,
        "signal": signal,
        "duration": seconds if is_over and has_worked else None,
        "cpu": round(seconds * 0.4, 3) if is_over and has_worked else None,
        "memory_peak": (9 + int(source.random() * 200)) << 20 if is_over and has_worked else None,
        "output_bytes": size if size < 100_000 else size * 3,
        "output_dropped": 0 if size < 100_000 else size * 2,
        "output": text,
        "items": made_items(task, status, source) if is_over and has_worked else (),
        "counts": {name: int(source.random() * 5000) for name in task.counts} if is_over and has_worked else {},
        "boot_id": f"{release_at(started)[:8]:0>32}",
        "invocation_id": f"{source.getrandbits(128):032x}",
        "release": release_at(started),
        "unit_hash": unit_hash(task, started),
        "asked_by": ASKING[int(source.random() * len(ASKING))] if by_hand else "",
        "attended": by_hand and source.random() < 0.5,
        "dry_run": by_hand and source.random() < 0.3,
        "parameters": dict(task.parameters or PARAMETERS) if by_hand else {},
        "retry_at": started + timedelta(seconds=seconds + 120)
        if reason == "exit 3" and source.random() < 0.2
        else None,
        "unexpected": (doubt.format(task.counts[0] if task.counts else "items"),) if doubt else (),
    }
    return RunRecord(**values | dict(changes or {}))  # type: ignore[arg-type]  # each value is of its field


def made_items(task: MadeTask, status: Status, source: Random) -> tuple[Item, ...]:
    if not task.things or source.random() < 0.45:
        return ()
    amount = 1 + int(source.random() * 5)
    items = [
        Item(name=task.things.format(int(source.random() * 100_000)), outcome="done", message="") for _ in range(amount)
    ]
    if status is Status.FAILED:
        items[-1] = Item(name=items[-1].name, outcome="failed", message="the remote end closed the connection")
    return tuple(items)


def outbound_record(run: RunRecord) -> OutboundRecord | None:
    """The letter that a host which may not speak would have sent of this run: of each that failed, one."""
    if run.host not in CATCHING or run.status not in (Status.FAILED, Status.LOST) or run.ended is None:
        return None
    means, to = LETTERS[run.id.int % len(LETTERS)]
    return OutboundRecord(
        id=identifier(run.ended, run.id, "letter"),
        host=run.host,
        environment=run.environment,
        at=run.ended,
        task=run.task,
        run=run.id,
        means=means,
        to=to,
        subject=f"{run.task} failed on {run.host}: {run.reason}",
        text="\n".join(letter(run)) + "\n",
    )


def letter(run: RunRecord) -> Iterator[str]:
    yield from (f"The task {run.task} failed on {run.host}.", "", f"  host     {run.host} ({run.host})")
    yield from (f"  reason   {run.reason}", f"  failed   once since {run.ended:%Y-%m-%d %H:%M:%S} UTC")
    yield from (f"  run      {run.id}", "", "See more, and mend it:", "")
    yield f"  ./run {run.host} logs {run.task}   all of what it said; in a checkout"
    yield f"  ./run {run.host} start {run.task}  again, now"


def deploy_record(host: str, number: int, *, before: datetime) -> DeployRecord:
    """The host's deploy that many deploys ago: 0 is the latest one before this moment, and that one succeeded."""
    latest = math.floor((before.timestamp() - 40_000) / DEPLOY_EVERY.total_seconds())
    began = datetime.fromtimestamp((latest - number) * DEPLOY_EVERY.total_seconds() + 36_000, before.tzinfo)
    source = Random(f"{host}/{began:%Y%m%d}")  # noqa: S311 - made up and no secret
    status, reason = drawn(DEPLOYS, source) if number else DEPLOYS[0][0]
    seconds = round(source.uniform(20, 60), 3)
    release = release_at(began + timedelta(minutes=1))
    return DeployRecord(
        id=identifier(began, host, "deploy", release),
        host=host,
        environment=Environment(host),
        action=DeployAction.DEPLOY if status is not DeployStatus.RETURNED else DeployAction.RETURN,
        release=release,
        commit=blake2b(release.encode(), digest_size=20).hexdigest(),
        ref=("main", "v1.4.2", "fix-reminders")[latest % 3],
        who="operator@workstation-north",
        started=began,
        ended=began + timedelta(seconds=seconds),
        duration=seconds,
        status=status,
        reason=reason,
        previous=release_at(began - timedelta(hours=1)),
    )


DEPLOYS: Sequence[tuple[tuple[DeployStatus, str], float]] = (
    ((DeployStatus.SUCCEEDED, ""), 0.85),
    ((DeployStatus.RETURNED, "it is not healthy behind https://production/readyz: 503 no database"), 0.08),
    ((DeployStatus.FAILED, "a step of the deploy failed: rota-diary migrate\nProgrammingError: no such column"), 0.07),
)


def drawn(weighted: Sequence[tuple[Choice, float]], source: Random) -> Choice:
    """One of the outcomes, the likelier the greater its weight."""
    rest = source.random() * sum(weight for _, weight in weighted)
    for outcome, weight in weighted:
        rest -= weight
        if rest < 0:
            return outcome
    return weighted[0][0]
