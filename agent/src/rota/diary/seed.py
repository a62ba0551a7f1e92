"""Believable runs, deploys and an outbox for a diary that has none: four hosts, a handful of tasks, some failures."""

import random
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

Outcome = TypeVar("Outcome")

TASKS = (
    ("backup_databases", "backup", 45.0, ("databases", "bytes")),
    ("check_restore", "backup", 310.0, ("tables", "rows")),
    ("send_reports", "reports", 22.0, ("reports", "mails")),
    ("rotate_logs", "logs", 0.4, ("files",)),
    ("collect_files", "prepress", 3.5, ("files", "bytes")),
    ("import_members", "community", 12.0, ("members",)),
)
HOSTS = ("production", "staging", "development", "backup")
CATCHING = ("staging", "development")
"""The hosts from which nothing leaves."""
PERSON = "operator@workstation-north"
ENDINGS = (
    (("succeeded", "", 0), 922),
    (("suspicious", "", 0), 8),
    (("failed", "exit 3", 3), 25),
    (("failed", "timeout", None), 8),
    (("skipped", "locked", None), 25),
    (("lost", "host went down", None), 4),
)
OUTCOMES = (
    (("succeeded", ""), 8),
    (("returned", "it is not healthy behind https://production/readyz: 503 no database"), 1),
    (("failed", "a step of the deploy failed: rota-diary migrate\nProgrammingError: there is no such column"), 1),
)


def deploys(host: str, amount: int, *, now: datetime, source: random.Random) -> Iterator[dict[str, object]]:
    """The host's deploys, one every third day, the newest one first, and that one has succeeded."""
    for number in range(amount):
        began = now - timedelta(days=3 * number, seconds=source.uniform(3600, 36000))
        seconds = round(source.uniform(20, 60), 3)
        commit = f"{source.getrandbits(160):040x}"
        status, reason = drawn(OUTCOMES, source) if number else OUTCOMES[0][0]
        yield {
            "version": 1,
            "kind": "deploy",
            "id": str(identifier(began, source)),
            "host": host,
            "environment": host,
            "action": "deploy",
            "release": f"{began:%Y%m%dT%H%M%SZ}-{commit[:12]}",
            "commit": commit,
            "ref": source.choice(("main", "v1.4.2", commit)),
            "who": PERSON,
            "started": stamp(began),
            "ended": stamp(began + timedelta(seconds=seconds)),
            "duration": seconds,
            "status": status,
            "reason": reason,
            "previous": "",
        }


def records(host: str, amount: int, *, now: datetime, source: random.Random) -> Iterator[dict[str, object]]:
    """The host's runs of the last 30 days as records of version 1, oldest first; the newest are still running."""
    step = timedelta(days=30) / max(1, amount)
    for number in range(amount):
        started = now - step * (amount - number) + timedelta(seconds=source.uniform(0, 5))
        yield record(host, started, is_running=amount - number <= 1, source=source)


def record(host: str, started: datetime, *, is_running: bool, source: random.Random) -> dict[str, object]:
    task, pack, typical, names = source.choice(TASKS)
    ending, reason, exit_code = drawn(ENDINGS, source)
    is_suspicious = ending == "suspicious"
    status = "succeeded" if is_suspicious else ending
    seconds = round(typical * source.lognormvariate(0, 0.3), 3)
    if is_running:
        status, reason, exit_code, is_suspicious = "running", "", None, False
    asked = asked_for(source) if status != "skipped" else {}
    is_retried = reason == "exit 3" and source.random() < 0.2
    output = "" if status in ("skipped", "running") else text(task, status, source)
    return {
        "version": 1,
        "kind": "run",
        "id": str(identifier(started, source)),
        "host": host,
        "environment": host,
        "task": task,
        "pack": pack,
        "slot": stamp(started.replace(second=0, microsecond=0)),
        "trigger": "timer",
        "started": stamp(started),
        "ended": None if is_running else stamp(started + timedelta(seconds=seconds)),
        "status": status,
        "reason": reason,
        "exit_code": exit_code,
        "signal": None,
        "duration": None if is_running else seconds,
        "cpu": None if is_running else round(seconds * 0.4, 3),
        "memory_peak": None if is_running else source.randrange(8, 240) * 1024 * 1024,
        "output_bytes": len(output.encode()),
        "output_dropped": 0,
        "output": output,
        "items": items(task, status, source),
        "counts": {} if is_running else {name: 0 if is_suspicious else source.randrange(1, 5000) for name in names},
        "boot_id": str(uuid.UUID(int=source.getrandbits(128))),
        "invocation_id": f"{source.getrandbits(128):032x}",
        "release": "20250101T000000Z-0123456789ab",
        "unit_hash": f"{source.getrandbits(256):064x}",
        "attempt": 1,
        "unexpected": [f"{names[0]} is 0; expected >0"] if is_suspicious else [],
        "retry_at": stamp(started + timedelta(seconds=seconds + 120)) if is_retried else None,
        **asked,
    }


def asked_for(source: random.Random) -> dict[str, object]:
    """Of a run in thirty: that somebody started it by hand, with what it was asked for."""
    if source.random() > 1 / 30:
        return {}
    return {
        "trigger": "manual",
        "slot": None,
        "asked_by": PERSON,
        "attended": source.random() < 0.5,
        "dry_run": source.random() < 0.3,
        "parameters": {"since": "2025-01-01", "databases": ["alpha", "beta"], "limit": 100, "full": True},
    }


def outbound(runs: Iterable[Mapping[str, object]], *, source: random.Random) -> Iterator[dict[str, object]]:
    """What a host that may not speak would have sent of these runs of its: a letter for each that failed."""
    for run in runs:
        if run["status"] not in ("failed", "lost"):
            continue
        host, task, reason, at = str(run["host"]), str(run["task"]), run["reason"], str(run["ended"])
        means, to = source.choice((("mail", ["anna@example.org", "ben@example.org"]), ("channel", ["chat"])))
        yield {
            "version": 1,
            "kind": "outbound",
            "id": str(identifier(datetime.fromisoformat(at), source)),
            "host": host,
            "environment": host,
            "at": at,
            "task": task,
            "run": run["id"],
            "means": means,
            "to": to,
            "subject": f"[{host}] {task} failed on {host}: {reason}",
            "text": letter(host, task, str(reason), str(run["id"]), at),
        }


def letter(host: str, task: str, reason: str, run: str, at: str) -> str:
    lines = (
        f"The task {task} failed on {host}.",
        "",
        f"  host     {host} ({host})",
        f"  reason   {reason}",
        f"  failed   once since {at[:19].replace('T', ' ')} UTC",
        f"  run      {run}",
        "",
        "See more, and mend it:",
        "",
        f"  ./run {host} logs {task}   all of what it said; in a checkout",
        f"  ./run {host} start {task}  again, now",
    )
    return "\n".join(lines) + "\n"


def text(task: str, status: str, source: random.Random) -> str:
    lines = [f"{task}: working on item {number} of 20" for number in range(1, source.randrange(4, 21))]
    if status == "failed":
        lines += ["\x1b[1;31merror:\x1b[0m the remote end closed the connection", "giving up after 3 attempts"]
    else:
        lines.append("\x1b[32mdone\x1b[0m")
    return "\n".join(lines) + "\n"


def items(task: str, status: str, source: random.Random) -> list[dict[str, str]]:
    if status in ("skipped", "running", "lost"):
        return []
    last = "failed" if status == "failed" else "done"
    return [
        {"name": f"{task}/{number:03}", "outcome": last if number == 3 else "done", "message": ""}
        for number in range(1, 4)
    ]


def identifier(moment: datetime, source: random.Random) -> uuid.UUID:
    """A UUID of version 7 (RFC 9562, section 5.7) made at this moment."""
    milliseconds = int(moment.timestamp() * 1000)
    value = milliseconds << 80 | 7 << 76 | source.getrandbits(12) << 64 | 2 << 62 | source.getrandbits(62)
    return uuid.UUID(int=value)


def stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def drawn(weighted: Sequence[tuple[Outcome, int]], source: random.Random) -> Outcome:
    """One of the outcomes, the likelier the greater its weight."""
    return source.choices([outcome for outcome, _ in weighted], [weight for _, weight in weighted])[0]
