"""Laws of what people handle in the diary: its host keeps quiet of it, until it fails in another way or succeeds."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rota.adapters.reviews import KEPT, hear, open_failures, reviews_of
from rota.cli import main
from rota.core.record import RunRecord
from rota.core.status import Environment
from tests.agent.alerted import TASK, Host, subjects

DAY = timedelta(days=1)
BY = {"by": "anna@example.org", "at": "2025-07-14T13:00:00+00:00", "holds": True}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path, Environment.STAGING)


def said(run: RunRecord, handled: object = BY) -> dict[str, object]:
    return {"run": str(run.id), "handled": handled}


def say(host: Host, *reviews: object) -> None:
    """What the diary answers when the host asks it about what is wrong there."""
    hear(host.places, open_failures(host.places), {"reviews": list(reviews)})


def told(host: Host, after: timedelta = timedelta(seconds=1)) -> list[str]:
    """The subjects that this look adds, without what they have in common."""
    before = len(host.outbox())
    host.look(after=after)
    return [subject.partition("] ")[2] for subject in subjects(host.outbox()[before:])]


FAILED = "export failed on books: exit 3"


def fail(host: Host, last: str = "row 3: bad date", **changes: Any) -> RunRecord:
    run = host.end(**({"status": "failed"} | changes))
    (host.spool.folder / "output" / str(run.id)).write_text(f"some row\n{last}\n")
    return run


def test_a_handled_failure_is_told_no_more_and_a_success_ends_it_as_ever(host: Host) -> None:
    host.end()
    run = fail(host)
    assert told(host) == [FAILED]
    say(host, said(run))
    assert told(host, DAY * 2) == []
    assert told(host, DAY * 2) == []
    assert "handled by anna@example.org" in " ".join(host.status())
    host.end()
    assert told(host) == ["export recovered on books"]


@pytest.mark.parametrize(
    ("handled", "later", "expected"),
    [
        (BY, {"last": "row 204: bad date"}, []),
        (BY, {"last": "row 204: bad name"}, [FAILED]),
        (BY, {"reason": "timeout"}, ["export failed on books: timeout"]),
        (BY | {"holds": False}, {"last": "row 204: bad date"}, [FAILED]),
    ],
    ids=["in the same way", "in another way", "for another reason", "what was mended is back"],
)
def test_what_was_found_harmless_stays_quiet_and_all_else_alerts_anew(
    host: Host, handled: object, later: dict[str, Any], expected: list[str]
) -> None:
    host.end()
    run = fail(host)
    host.look()
    say(host, said(run, handled))
    host.look()
    fail(host, **later)
    assert told(host) == expected
    say(host, said(run, handled))  # an answer that speaks of the run before changes nothing
    assert told(host, DAY * 2) == (["export has an incident open for 2 days on books"] if expected else [])


def test_a_retry_under_way_says_nothing_new(host: Host) -> None:
    host.end()
    run = fail(host)
    host.look()
    say(host, said(run))
    fail(host, last="out of disk", retry_at=host.now + timedelta(minutes=5))
    assert told(host) == []
    fail(host, last="out of disk", attempt=2)
    assert told(host) == [FAILED]


def test_what_is_opened_again_is_reminded_of_again(host: Host) -> None:
    host.end()
    run = fail(host)
    host.look()
    say(host, said(run))
    host.look(after=DAY * 3)
    say(host, said(run, None))
    assert told(host) == ["export has an incident open for 3 days on books"]


def test_what_is_handled_before_anybody_was_to_know_is_told_to_nobody(host: Host) -> None:
    host.end()
    run = fail(host, status="skipped", reason="host was down")
    assert told(host) == []
    say(host, said(run))
    assert told(host, timedelta(hours=1)) == []
    host.end()
    assert told(host) == []


def test_a_task_that_is_overdue_is_not_handled_by_what_was_said_of_its_latest_success(host: Host) -> None:
    host.tasks = {"export": replace(TASK, schedule=(), every=timedelta(hours=1))}
    good = host.end()
    host.look()
    assert told(host, DAY) == ["export is overdue on books: no success for 24 h; there should be one every 2 h 30 min"]
    assert open_failures(host.places) == [], "the diary is not asked about it"
    hear(host.places, [str(good.id)], {"reviews": [said(good)]})
    assert "export has an incident open" in str(told(host, DAY * 2))


def test_the_backup_host_goes_on_telling(tmp_path: Path) -> None:
    host = Host(tmp_path, Environment.BACKUP)
    host.places.environment.write_text("staging\n")  # so that it is caught, and seen here
    host.end()
    run = fail(host)
    host.look()
    say(host, said(run))
    assert told(host, DAY * 2) == ["export has an incident open for 2 days on books"]


@pytest.mark.parametrize(
    "answer",
    [
        [],
        "x",
        [None, 3, "x", [], {}, {"run": 3}, {"run": []}],
        [{"handled": BY}],
        [{"run": "ID"}],
        [{"run": "ID", "handled": True}],
        [{"run": "ID", "handled": "anna"}],
        [{"run": "ID", "handled": [BY]}],
        [{"run": "ID", "handled": {}}],
        [{"run": "ID", "handled": BY | {"by": "x" * 5000}}],
        [{"run": "ID", "handled": BY | {"by": "anna\nben"}}],
        [{"run": "ID", "handled": BY | {"by": 7}}],
        [{"run": "ID", "handled": BY | {"at": "soon"}}],
        [{"run": "ID", "handled": BY | {"at": "2025-07-14T13:00:00"}}],
        [{"run": "ID", "handled": BY | {"at": "0001-01-01T00:00:00+14:00"}}],
        [{"run": "ID", "handled": BY | {"at": "9999-12-31T23:59:59-14:00"}}],
        [{"run": f"01980a3c-5b7e-7c31-9a52-{n:012x}", "handled": BY} for n in range(5000)],
    ],
    ids=lambda answer: str(answer)[:40],
)
def test_a_broken_answer_keeps_nobody_quiet(host: Host, answer: Any) -> None:
    host.end()
    run = fail(host)
    host.look()
    say(host, *json.loads(json.dumps(answer).replace("ID", str(run.id))))
    hear(host.places, open_failures(host.places), {"reviews": answer})
    assert told(host, DAY * 2) == ["export has an incident open for 2 days on books"]
    assert not reviews_of(host.places).path.exists()


def test_what_is_kept_of_it_is_bounded_and_whole_or_as_it_was(host: Host) -> None:
    reviews = reviews_of(host.places)
    runs = [f"01980a3c-5b7e-7c31-9a52-{n:012x}" for n in range(KEPT + 100)]
    reviews.keep(dict.fromkeys(runs[:KEPT]))
    reviews.keep(dict.fromkeys(runs[KEPT:]))
    assert list(reviews.load()) == runs[-KEPT:]
    before = reviews.path.stat().st_mtime_ns
    reviews.keep({runs[-1]: None})
    assert reviews.path.stat().st_mtime_ns == before, "what is known already is not written again"
    reviews.path.write_text("[" * 5000)
    assert reviews.load() == {}


def test_the_commands_show_who_handled_it(
    host: Host, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (host.places.configuration / "tasks.yml").write_text(
        "agent: {alert: {to: [anna@example.org]}}\n"
        "tasks: {export: {description: x, command: [/bin/false], schedule: '02:00', zone: UTC, catch_up: none}}\n"
    )
    host.end()
    run = fail(host)
    host.look()
    say(host, said(run))
    host.look()

    def printed(*words: str) -> str:
        monkeypatch.setattr("sys.argv", ["rota", "--home", str(host.places.configuration), *words])
        with pytest.raises(SystemExit):
            main()
        return capsys.readouterr().out

    status = printed("status")
    assert "handled by anna@example.org; failed: exit 3" in status
    assert "1 task; 1 is handled" in status
    assert json.loads(printed("status", "--json"))["tasks"][0]["incident"]["handled_by"] == "anna@example.org"
    assert "exit 3, handled by anna@example.org" in printed("runs")
    assert "handled     by anna@example.org, 2025-07-14 " in printed("show", str(run.id))
    assert 'rota_task_incident_handled{task="export"} 1' in printed("metrics")
    assert json.loads(printed("alert", "--list", "--json"))[0]["handled_by"] == "anna@example.org"
