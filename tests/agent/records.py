"""Records for tests, each different from the last."""

import itertools
import uuid
from datetime import UTC, datetime
from typing import Any

from rota.core.record import OutboundRecord, RunRecord, parse_record

START = datetime(2025, 7, 14, 1, 10, tzinfo=UTC)
numbers = itertools.count()


def make_run(**changes: Any) -> RunRecord:
    """A run that succeeded, with an id of its own; keyword arguments replace its values as JSON would hold them."""
    identifier = uuid.UUID(int=(0x01980A3C0000 + next(numbers)) << 80 | 7 << 76 | 2 << 62)
    mapping: dict[str, Any] = {
        "version": 1,
        "kind": "run",
        "id": str(identifier),
        "host": "here",
        "environment": "staging",
        "task": "try",
        "pack": None,
        "slot": None,
        "trigger": "timer",
        "started": START.isoformat(),
        "ended": START.isoformat(),
        "status": "succeeded",
        "reason": "",
        "exit_code": 0,
        "signal": None,
        "duration": 0.5,
        "cpu": 0.1,
        "memory_peak": 1,
        "output_bytes": 0,
        "output_dropped": 0,
        "items": [],
        "counts": {},
        "boot_id": "boot",
        "invocation_id": "",
        "release": "",
        "unit_hash": "",
        "attempt": 1,
    }
    record = parse_record(mapping | changes)
    assert isinstance(record, RunRecord)
    return record


def make_running(**changes: Any) -> RunRecord:
    nothing = {"ended": None, "exit_code": None, "duration": None, "cpu": None, "memory_peak": None}
    return make_run(**(nothing | {"status": "running"} | changes))


def make_outbound(**changes: Any) -> OutboundRecord:
    """A letter that was caught, with an id of its own."""
    identifier = uuid.UUID(int=(0x01980A3C0000 + next(numbers)) << 80 | 7 << 76 | 2 << 62)
    mapping: dict[str, Any] = {
        "version": 1,
        "kind": "outbound",
        "id": str(identifier),
        "host": "here",
        "environment": "staging",
        "at": START.isoformat(),
        "task": "try",
        "run": None,
        "means": "mail",
        "to": ["anna@example.org"],
        "subject": "try failed on here: exit 3",
        "text": "The task try failed on here.\n",
    }
    record = parse_record(mapping | changes)
    assert isinstance(record, OutboundRecord)
    return record
