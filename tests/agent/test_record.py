"""Laws of the record format that spool and ingest share."""

import functools
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rota.core.record import (
    KINDS,
    MAX_MESSAGE,
    BadRecord,
    DeployRecord,
    OutboundRecord,
    RunRecord,
    as_mapping,
    fitting,
    parse_record,
    storable,
)
from rota.core.secrecy import public_part
from rota.core.status import Status

RUN: dict[str, Any] = {
    "version": 1,
    "kind": "run",
    "id": "01980a3c-5b7e-7c31-9a52-1f0d3c2b4a59",
    "host": "production",
    "environment": "production",
    "task": "compress_old_logs",
    "pack": "logs",
    "slot": "2025-07-14T01:10:00.000000Z",
    "trigger": "timer",
    "started": "2025-07-14T01:10:00.031415Z",
    "ended": "2025-07-14T01:10:02.500000Z",
    "status": "succeeded",
    "reason": "",
    "exit_code": 0,
    "signal": None,
    "duration": 2.468,
    "cpu": 0.91,
    "memory_peak": 21_000_000,
    "output_bytes": 12,
    "output_dropped": 0,
    "output": "3 compressed",
    "items": [{"name": "a.log", "outcome": "compressed", "message": ""}],
    "counts": {"files": 3},
    "boot_id": "8e3c6f0e-0000-0000-0000-000000000000",
    "invocation_id": "f" * 32,
    "release": "20250714T000000Z-0123456789ab",
    "unit_hash": "abc",
    "attempt": 1,
    "asked_by": "operator",
    "attended": True,
    "parameters": {"full": True, "databases": ["alpha", "beta"], "limit": 10.0, "since": "2025-07-01"},
    "dry_run": True,
    "unexpected": ["rows is 0; expected >0"],
    "retry_at": "2025-07-14T01:12:00.000000Z",
}
LATER_KEYS = {"asked_by", "attended", "parameters", "dry_run", "unexpected", "retry_at"}
DEPLOY: dict[str, Any] = {
    "version": 1,
    "kind": "deploy",
    "id": "01980a3c-5b7e-7c31-9a52-1f0d3c2b4a60",
    "host": "production",
    "environment": "production",
    "action": "deploy",
    "release": "20250714T000000Z-0123456789ab",
    "commit": "0123456789ab",
    "ref": "main",
    "who": "operator@desk",
    "started": "2025-07-14T01:10:00.031415Z",
    "ended": "2025-07-14T01:10:02.500000Z",
    "duration": 2.468,
    "status": "succeeded",
    "reason": "",
    "previous": "",
}

OUTBOUND: dict[str, Any] = {
    "version": 1,
    "kind": "outbound",
    "id": "01980a3c-5b7e-7c31-9a52-1f0d3c2b4a61",
    "host": "staging",
    "environment": "staging",
    "at": "2025-07-14T01:10:00.031415Z",
    "task": "compress_old_logs",
    "run": "01980a3c-5b7e-7c31-9a52-1f0d3c2b4a59",
    "means": "mail",
    "to": ["anna@example.org", "ben@example.org"],
    "subject": "[staging] compress_old_logs failed on staging: exit 3",
    "text": "The task compress_old_logs failed on staging.\n",
}
CATALOGUE: dict[str, Any] = {
    "version": 1,
    "kind": "catalogue",
    "id": "01980a3c-5b7e-7c31-9a52-1f0d3c2b4a62",
    "host": "staging",
    "environment": "staging",
    "at": "2025-07-14T01:10:00.031415Z",
    "release": "20250713T120000Z-0123456789ab",
    "is_asking": True,
    "tasks": {
        "export_catalogue": {
            "description": "Export the catalogue",
            "words": "every day at 02:40 Europe/Zurich",
            "pack": "",
            "is_asked": True,
            "has_dry_run": False,
            "parameters": [
                {
                    "name": "since",
                    "kind": "date",
                    "is_many": False,
                    "choices": [],
                    "default": None,
                    "meaning": "Only what changed since.",
                },
                {
                    "name": "items",
                    "kind": "choice",
                    "is_many": True,
                    "choices": ["books", "films"],
                    "default": ["books", "films"],
                    "meaning": "",
                },
            ],
            "fields": {"schedule": "02:40", "zone": "Europe/Zurich"},
            "timing": {
                "schedule": ["02:40"],
                "zone": "Europe/Zurich",
                "dst": "",
                "only": [],
                "excepted": ["12-24..12-26"],
                "every": None,
                "spread": 0.0,
                "lock_wait": 600.0,
                "objective": {"success": 0.99, "within": 2592000.0, "fresh": None},
            },
            "unit": {
                "hash": "0123456789ab",
                "exposure": 1.5,
                "hardening": ["User=www-data", "CapabilityBoundingSet=", "ProtectSystem=strict"],
            },
        }
    },
    "pauses": {
        "export_catalogue": {
            "since": "2025-07-14T01:00:00.000000Z",
            "until": "2026-07-14T01:00:00.000000Z",
            "by": "anna",
            "reason": "moving house",
        }
    },
}
ANSWER: dict[str, Any] = {
    "version": 1,
    "kind": "answer",
    "id": "01980a3c-5b7e-7c31-9a52-1f0d3c2b4a63",
    "host": "staging",
    "environment": "staging",
    "at": "2025-07-14T01:10:00.031415Z",
    "request": "01980a3c-5b7e-7c31-9a52-1f0d3c2b4a59",
    "is_done": False,
    "reason": "The task runs already: rota-task-export.service; see rota status",
}
RECORDS = {"run": RUN, "deploy": DEPLOY, "outbound": OUTBOUND, "catalogue": CATALOGUE, "answer": ANSWER}

NESTED: object = functools.reduce(lambda inner, _: [inner], range(5_000), 0)


@pytest.mark.parametrize("mapping", RECORDS.values(), ids=RECORDS)
def test_a_record_read_and_written_is_the_same_record(mapping: dict[str, Any]) -> None:
    record = parse_record(mapping)
    assert as_mapping(record) == mapping
    assert parse_record(json.loads(json.dumps(as_mapping(record)))) == record


def test_the_kind_decides_which_record_it_is() -> None:
    assert isinstance(parse_record(RUN), RunRecord)
    assert isinstance(parse_record(DEPLOY), DeployRecord)
    assert isinstance(parse_record(OUTBOUND), OutboundRecord)
    assert set(KINDS.values()) == set(RECORDS)


def test_a_key_of_a_newer_agent_is_ignored() -> None:
    assert parse_record(RUN | {"mood": "good"}) == parse_record(RUN)


def test_output_is_absent_until_shipping() -> None:
    record = parse_record({key: value for key, value in RUN.items() if key != "output"})
    assert isinstance(record, RunRecord)
    assert record.output == ""


def test_a_running_run_has_no_end() -> None:
    record = parse_record(RUN | {"status": "running", "ended": None, "exit_code": None, "duration": None})
    assert isinstance(record, RunRecord)
    assert record.status is Status.RUNNING


@pytest.mark.parametrize(
    ("key", "value", "right"),
    [
        ("version", 2, "understands 1"),
        ("kind", "dream", "one of run, deploy, outbound, catalogue, answer"),
        ("id", "7", "a UUID"),
        ("id", "c2f8a1a6-4a54-4b5c-8b3a-0f8f3f1f2a10", "version 7"),
        ("host", " ", "a name"),
        ("environment", "stage", "one of development, staging, production, backup"),
        ("task", "Compress-Logs", "lower-case word"),
        ("slot", "yesterday", "a time like"),
        ("started", "2025-07-14T01:10:00", "with its zone"),
        ("ended", None, "must say when it ended"),
        ("status", "running", "no end yet"),
        ("started", "1999-12-31T23:59:59Z", "between 2000-01-01 and 2100-01-01"),
        ("ended", "9999-12-31T23:59:59Z", "is the host's clock wrong?"),
        ("slot", "0001-01-01T00:00:00+14:00", "between"),
        ("id", NESTED, "it must be text"),
        ("reason", "a\0b", "NUL"),
        ("reason", "\ud800", "lone surrogates"),
        ("reason", "x" * 2001, "2000 bytes"),
        ("exit_code", 256, "from 0 to 255"),
        ("exit_code", True, "from 0 to 255"),
        ("signal", 0, "from 1 to 64"),
        ("duration", -1, "zero or more"),
        ("duration", float("nan"), "finite"),
        ("duration", 10**400, "finite"),
        ("duration", 1e11, "at most 1e+10"),
        ("output", "x" * 200_000, "bytes of UTF-8"),
        ("items", [{"name": "a"}], "in 'items[0]': 'outcome' is missing"),
        ("items", ["a"], "an object with name"),
        ("counts", {"rows": "many"}, "a finite number"),
        ("counts", [1], "numbers by name"),
        ("attempt", 0, "from 1 to"),
        ("asked_by", 7, "text"),
        ("attended", "yes", "true or false"),
        ("parameters", ["full"], "an object of at most 100 parameters"),
        ("parameters", {"full": {"deep": 1}}, "a finite number"),
        ("parameters", {"databases": [1]}, "text"),
        ("dry_run", "yes", "true or false"),
        ("unexpected", "rows is 0", "a list of at most 100 texts"),
        ("retry_at", "soon", "a time like"),
    ],
)
def test_a_wrong_value_is_refused_with_what_would_be_right(key: str, value: object, right: str) -> None:
    with pytest.raises(BadRecord, match="breaks the format") as caught:
        parse_record(RUN | {key: value})
    assert right in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "right"),
    [
        ("run", "7", "a UUID"),
        ("task", "Compress-Logs", "lower-case word"),
        ("task", None, "text"),
        ("means", "", "lower-case word"),
        ("means", "carrier pigeon", "lower-case word"),
        ("to", [], "a list of 1 to 1000 receivers"),
        ("to", "anna@example.org", "a list of 1 to 1000 receivers"),
        ("to", ["anna@example.org"] * 1001, "a list of 1 to 1000 receivers"),
        ("to", ["anna@example.org", " "], "'to[1]' must be a name, an address or a URL, on one line"),
        ("to", ["anna@example.org\n"], "on one line"),
        ("to", ["anna\u2028ben"], "on one line"),
        ("to", [7], "on one line"),
        ("subject", "x" * 2001, "2000 bytes"),
        ("text", "x" * (MAX_MESSAGE + 1), f"{MAX_MESSAGE} bytes"),
    ],
)
def test_a_wrong_value_of_what_was_caught_is_refused(key: str, value: object, right: str) -> None:
    with pytest.raises(BadRecord) as caught:
        parse_record(OUTBOUND | {key: value})
    assert right in str(caught.value)


def test_what_was_caught_may_speak_of_no_task_and_no_run() -> None:
    record = parse_record(OUTBOUND | {"task": "", "run": None})
    assert isinstance(record, OutboundRecord)
    assert (record.task, record.run) == ("", None)


SECRET = "2hQ9-open-sesame"


@pytest.mark.parametrize(
    ("receiver", "shown"),
    [
        ("anna@example.org", "anna@example.org"),
        ("chat", "chat"),
        (f"https://hooks.example.org/{SECRET}/in", "https://hooks.example.org"),
        (f"https://hooks.example.org:8443?token={SECRET}", "https://hooks.example.org:8443"),
        (f"FTP://partner:{SECRET}@files.example.org/in", "FTP://files.example.org"),
        (f"sftp://{SECRET}@[2001:db8::1]:22/in", "sftp://[2001:db8::1]:22"),
        (f"ftp://partner:pass/{SECRET}@files.example.org/in", "ftp://..."),
        (f"ftp://partner:12/{SECRET}@files.example.org/in", "ftp://..."),
        (f"slack://{SECRET}/B1/C1", "slack://..."),
        (f"tgram://{SECRET}", "tgram://..."),
    ],
)
def test_no_record_holds_what_is_secret_in_a_url(receiver: str, shown: str) -> None:
    assert public_part(receiver) == shown
    said = f"cannot reach {receiver}"
    record = parse_record(OUTBOUND | {"to": [receiver]})
    assert isinstance(record, OutboundRecord)
    assert record.to == (shown,)
    assert SECRET not in json.dumps(as_mapping(record)), said


def test_a_password_in_a_url_is_masked_in_subject_and_text() -> None:
    said = f"lftp: ftp://partner:{SECRET}@files.example.org/in refuses; see https://x.example/runs/1"
    record = parse_record(OUTBOUND | {"subject": said, "text": f"{said}\n{said}"})
    assert isinstance(record, OutboundRecord)
    assert record.subject == said.replace(SECRET, "*")
    assert SECRET not in record.text


@pytest.mark.parametrize("text", ["", "short", "é" * 20, "a\0b\udc80", "x" * 19])
def test_a_text_is_cut_visibly_to_what_a_record_holds(text: str) -> None:
    cut = fitting(text, 20)
    assert len(cut.encode()) <= 20
    assert cut == storable(text) or cut.endswith(" […]")


def test_a_record_from_more_than_a_day_ahead_of_its_receiver_is_refused() -> None:
    started = datetime(2025, 7, 14, 1, 10, tzinfo=UTC)
    assert parse_record(RUN, received=started - timedelta(hours=23))
    with pytest.raises(BadRecord, match="is the host's clock wrong"):
        parse_record(RUN, received=started - timedelta(hours=25))


@pytest.mark.parametrize("mapping", RECORDS.values(), ids=RECORDS)
def test_a_missing_key_is_named(mapping: dict[str, Any]) -> None:
    for key in mapping.keys() - {"output"} - LATER_KEYS:
        with pytest.raises(BadRecord, match=f"'{key}' is missing"):
            parse_record({name: value for name, value in mapping.items() if name != key})


def test_a_record_of_an_older_agent_asked_for_nothing_and_is_not_tried_again() -> None:
    record = parse_record({name: value for name, value in RUN.items() if name not in LATER_KEYS})
    assert isinstance(record, RunRecord)
    assert (record.asked_by, record.attended, record.parameters, record.dry_run) == ("", False, {}, False)
    assert (record.unexpected, record.retry_at) == ((), None)


def test_what_is_not_an_object_is_refused() -> None:
    with pytest.raises(BadRecord, match="must be an object"):
        parse_record([RUN])


def test_any_text_becomes_storable() -> None:
    assert storable("a\0b\udc80") == "a␀b?"


@pytest.mark.parametrize(
    ("place", "value", "right"),
    [
        (("tasks",), {"Export Catalogue": {}}, "a task's name"),
        (("tasks", "export_catalogue", "description"), None, "text"),
        (("tasks", "export_catalogue", "is_asked"), "yes", "true or false"),
        (("tasks", "export_catalogue", "parameters"), [1], "an object"),
        (("tasks", "export_catalogue", "parameters"), [{}] * 101, "at most 100"),
        (("tasks", "export_catalogue", "fields"), {"<b>": "x"}, "a task's field"),
        (("tasks", "export_catalogue", "fields"), {"schedule": "x" * 20_000}, "bytes of UTF-8"),
        (("pauses", "export_catalogue", "since"), "yesterday", "a time like"),
    ],
    ids=str,
)
def test_what_is_wrong_within_a_catalogue_is_named(place: tuple[str, ...], value: Any, right: str) -> None:
    wrong = json.loads(json.dumps(CATALOGUE))
    inner = functools.reduce(lambda outer, key: outer[key], place[:-1], wrong)
    inner[place[-1]] = value
    with pytest.raises(BadRecord, match=right):
        parse_record(wrong)
