"""Records as hosts ship them, for tests to change."""

import itertools
import uuid
from typing import Any

serial = itertools.count(1)


def identifier() -> str:
    """A UUID of version 7; later ones are greater."""
    return str(uuid.UUID(int=0x0190_0000_0000 << 80 | 7 << 76 | 2 << 62 | next(serial)))


def run(**changes: Any) -> dict[str, Any]:
    """A run's record as a host ships it: a succeeded one unless told otherwise."""
    record: dict[str, Any] = {
        "version": 1,
        "kind": "run",
        "id": identifier(),
        "host": "production",
        "environment": "production",
        "task": "send_reports",
        "pack": "reports",
        "slot": "2025-03-01T02:30:00.000000Z",
        "trigger": "timer",
        "started": "2025-03-01T02:30:00.250000Z",
        "ended": "2025-03-01T02:30:12.250000Z",
        "status": "succeeded",
        "reason": "",
        "exit_code": 0,
        "signal": None,
        "duration": 12.0,
        "cpu": 3.5,
        "memory_peak": 52428800,
        "output_bytes": 6,
        "output_dropped": 0,
        "output": "hello\n",
        "items": [{"name": "march.pdf", "outcome": "sent", "message": "to the board"}],
        "counts": {"reports": 3},
        "boot_id": "b" * 32,
        "invocation_id": "i" * 32,
        "release": "20250228T120000Z-0123456789ab",
        "unit_hash": "u" * 64,
        "attempt": 1,
    }
    return record | changes


def running(**changes: Any) -> dict[str, Any]:
    """The same run as its start record tells it."""
    unknown = {"ended": None, "duration": None, "cpu": None, "memory_peak": None, "exit_code": None}
    return run(status="running", output="", output_bytes=0, items=[], counts={}, **(unknown | changes))


def failed(**changes: Any) -> dict[str, Any]:
    return run(**({"status": "failed", "reason": "exit 3", "exit_code": 3} | changes))


def deploy(**changes: Any) -> dict[str, Any]:
    record: dict[str, Any] = {
        "version": 1,
        "kind": "deploy",
        "id": identifier(),
        "host": "production",
        "environment": "production",
        "action": "deploy",
        "release": "20250301T090000Z-ba9876543210",
        "commit": "ba9876543210ba9876543210ba9876543210abcd",
        "ref": "main",
        "who": "operator@example.org",
        "started": "2025-03-01T09:00:00.000000Z",
        "ended": "2025-03-01T09:00:41.500000Z",
        "duration": 41.5,
        "status": "succeeded",
        "reason": "",
        "previous": "20250228T120000Z-0123456789ab",
    }
    return record | changes


def caught(**changes: Any) -> dict[str, Any]:
    """A letter that a host did not send."""
    record: dict[str, Any] = {
        "version": 1,
        "kind": "outbound",
        "id": identifier(),
        "host": "production",
        "environment": "production",
        "at": "2025-03-01T10:00:00.000000Z",
        "task": "send_reports",
        "run": None,
        "means": "mail",
        "to": ["anna@example.org", "ben@example.org"],
        "subject": "send_reports failed on staging: exit 3",
        "text": "The task send_reports failed on staging.\n",
    }
    return record | changes


def definition(**changes: Any) -> dict[str, Any]:
    """What a catalogue says of one task."""
    said: dict[str, Any] = {
        "description": "Send the monthly reports",
        "words": "every day at 02:30 UTC",
        "pack": "reports",
        "is_asked": True,
        "has_dry_run": True,
        "parameters": [
            {
                "name": "full",
                "kind": "boolean",
                "is_many": False,
                "choices": [],
                "default": False,
                "meaning": "Also what has not changed.",
            },
            {
                "name": "items",
                "kind": "choice",
                "is_many": True,
                "choices": ["march.pdf", "april.pdf"],
                "default": ["march.pdf", "april.pdf"],
                "meaning": "What to work on.",
            },
        ],
        "fields": {"schedule": "02:30 UTC", "timeout": "2 hours"},
    }
    return said | changes


def timing(**changes: Any) -> dict[str, Any]:
    """When a task runs by itself: each day at 02:30, unless told otherwise."""
    said: dict[str, Any] = {
        "schedule": ["02:30"],
        "zone": "UTC",
        "dst": "",
        "only": [],
        "excepted": [],
        "every": None,
        "spread": 0,
        "lock_wait": 0,
        "objective": None,
    }
    return said | changes


def unit(**changes: Any) -> dict[str, Any]:
    """How the unit of the run above confines it."""
    lines = ["DynamicUser=yes", "CapabilityBoundingSet=", "ProtectSystem=strict", "RestrictRealtime=yes"]
    return {"hash": "u" * 64, "exposure": 1.5, "hardening": lines} | changes


def catalogue(**changes: Any) -> dict[str, Any]:
    """All tasks of production: one, unless told otherwise."""
    record: dict[str, Any] = {
        "version": 1,
        "kind": "catalogue",
        "id": identifier(),
        "host": "production",
        "environment": "production",
        "at": "2025-03-01T09:01:00.000000Z",
        "release": "20250228T120000Z-0123456789ab",
        "is_asking": True,
        "tasks": {"send_reports": definition()},
        "pauses": {},
    }
    return record | changes
