"""A night: which reports are due, and that none keeps another from being made."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from rota.packs.reports import ledger, nightly
from rota.packs.reports.attempt import Attempt, BadAttempt, Outcome, Trigger, as_mapping, from_mapping
from rota.packs.reports.definitions import UnknownReport
from rota.packs.reports.running import Desk
from tests.agent.reports.conftest import defined

DAY = date(2026, 3, 1)


def test_one_failing_report_stops_no_other_and_each_is_noted(desk: Desk) -> None:
    definitions = defined("print(1)", "raise SystemExit(1)", "print(3)", "")
    told: list[Attempt] = []
    orders = nightly.due(definitions, DAY, last=None)
    failed = nightly.make_all(desk, definitions, orders, at_once=2, tell=told.append)
    outcomes = {attempt.report: str(attempt.outcome) for attempt in told}
    assert failed == 2
    assert outcomes == {
        "acme/one.txt": "published", "acme/two.txt": "failed",
        "acme/three.txt": "published", "acme/four.txt": "refused",
    }  # fmt: skip
    noted = {attempt.id: attempt for _, attempt in ledger.waiting(desk.places.ledger)}
    assert noted == {attempt.id: attempt for attempt in told}
    assert {attempt.planned for attempt in told} == {DAY}


def test_a_disk_that_takes_nothing_is_a_failure_of_that_report_alone(desk: Desk) -> None:
    definitions = defined("print(1)", "print(2)")
    (desk.places.exports / "acme").mkdir()
    (desk.places.exports / "acme/one.txt").mkdir()
    told: list[Attempt] = []
    assert (
        nightly.make_all(desk, definitions, nightly.due(definitions, DAY, last=None), at_once=1, tell=told.append) == 1
    )
    assert [attempt.outcome.is_good for attempt in told] == [False, True]


def test_a_missed_day_is_made_up_for_once_where_the_report_says_so() -> None:
    weekly = {"frequency": "W", "start_date": date(2026, 2, 26)}
    assert nightly.due(defined("print(1)", **weekly), DAY, last=date(2026, 2, 20)) == []
    (order,) = nightly.due(defined("print(1)", catch_up=True, **weekly), DAY, last=date(2026, 2, 20))
    assert order.planned == date(2026, 2, 26)
    assert nightly.due(defined("print(1)", catch_up=True, **weekly), DAY, last=date(2026, 2, 28)) == []


def test_reports_can_be_named_due_or_not_and_an_unknown_one_is_told() -> None:
    definitions = defined("print(1)", "print(2)", is_active=False)
    assert nightly.due(definitions, DAY, last=None) == []
    (order,) = nightly.chosen(definitions, ["acme/two.txt"], DAY)
    assert (order.task.id, order.trigger) == ("t-two", Trigger.RUN_NOW)
    with pytest.raises(UnknownReport, match=r"there are: acme/one.txt, acme/two.txt"):
        nightly.chosen(definitions, ["acme/three.txt"], DAY)


def test_the_last_day_never_goes_back(desk: Desk) -> None:
    assert nightly.last_day(desk.places) is None
    for day in (date(2026, 3, 2), date(2026, 3, 1)):
        nightly.remember_day(desk.places, day)
    assert nightly.last_day(desk.places) == date(2026, 3, 2)


def attempt_of(identifier: str) -> Attempt:
    at = datetime(2026, 3, 1, 2, tzinfo=UTC)
    return Attempt(
        id=identifier, task="t", report="acme/one.txt", host="here", run=None, trigger=Trigger.SCHEDULE, planned=DAY,
        started=at, ended=at, outcome=Outcome.PUBLISHED, message="OK", bytes=1, rows=1, sha256="0" * 64,
    )  # fmt: skip


def test_an_attempt_is_the_same_after_it_was_written_down(tmp_path: Path) -> None:
    attempt = attempt_of("a")
    ledger.note(tmp_path, attempt)
    assert [each for _, each in ledger.waiting(tmp_path)] == [attempt]


def test_a_broken_file_of_the_ledger_is_put_aside(tmp_path: Path) -> None:
    (tmp_path / "0.json").write_text('{"half')
    ledger.note(tmp_path, attempt_of("b"))
    assert [each.id for _, each in ledger.waiting(tmp_path)] == ["b"]
    assert (tmp_path / "0.bad").exists()


@pytest.mark.parametrize(
    "change", [{"started": "2026-03-01T02:00:00"}, {"outcome": "fine"}, {"more": 1}, {"planned": "soon"}]
)
def test_what_is_no_attempt_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(BadAttempt):
        from_mapping({**as_mapping(attempt_of("c")), **change})
