"""How a task stands follows the records of its host: what is due, what is late, and what is missing."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rota.diary.models import TaskStanding
from tests.agent.diary.conftest import Shipper
from tests.agent.diary.records import catalogue, definition, failed, run, running, timing

pytestmark = pytest.mark.each_engine

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def told(at: datetime = NOON, *, pauses: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    tasks = {"send_reports": definition(timing=timing(**changes))}
    return catalogue(at=at.isoformat(), tasks=tasks, pauses=pauses or {})


def slot(number: int) -> str:
    """The slot so many days after the catalogue's day."""
    return (NOON.replace(hour=2, minute=30) + number * DAY).isoformat()


def record(day: int, kind: Any = run, **changes: Any) -> dict[str, Any]:
    times = {"slot": slot(day), "started": slot(day)} | ({} if kind is running else {"ended": slot(day)})
    return dict(kind(**(times | changes)))


def skipped(day: int, reason: str) -> dict[str, Any]:
    return record(day, status="skipped", reason=reason, exit_code=None, duration=None)


def standing() -> TaskStanding:
    return TaskStanding.objects.get(task="send_reports")


def due() -> str:
    found = standing().due
    return found.isoformat() if found else ""


def test_what_is_due_is_the_first_slot_of_which_no_record_speaks(production: Shipper) -> None:
    production.ship(told(spread=600))
    assert (due(), len(standing().coming)) == (slot(1), 30)
    assert standing().late == NOON.replace(hour=2, minute=50) + DAY
    manual = {"slot": None, "trigger": "manual", "asked_by": "anna"}
    steps = [
        (record(1, running), slot(2)),
        (record(1), slot(2)),
        (record(2, **manual), slot(2)),
        (record(2, failed, slot=None), slot(3)),
        (skipped(3, "paused: until resumed by anna"), slot(4)),
        (record(24), slot(25)),
    ]
    for shipped, expected in steps:
        production.ship(shipped)
        assert due() == expected
    assert len(standing().coming) == 36, "more are computed when few are left"


def test_many_slots_that_passed_alike_are_answered_by_their_one_record(production: Shipper) -> None:
    production.ship(told())
    counts = {"slots": 5, "span in seconds": 4 * DAY.total_seconds()}
    production.ship(skipped(5, "host was down: it booted") | {"counts": counts})
    assert due() == slot(6)


def test_a_missed_slot_is_missing_until_a_later_run_ends(production: Shipper) -> None:
    production.ship(told())
    production.ship(skipped(1, "locked"))
    assert standing().missing is None
    production.ship(skipped(2, "host was down: it booted"), skipped(3, "never started: its unit is masked"))
    assert standing().missing == datetime.fromisoformat(slot(2))
    assert standing().why == "host was down: it booted"
    production.ship(record(1), record(4, running))
    assert standing().missing
    production.ship(record(4, failed))
    assert (standing().missing, standing().why) == (None, "")


def test_a_catalogue_that_comes_after_its_runs_is_told_what_they_answered(production: Shipper) -> None:
    production.ship(record(-1), record(1), skipped(2, "host was down"))
    production.ship(told())
    assert due() == slot(3)
    assert standing().missing == datetime.fromisoformat(slot(2))


def test_slots_that_passed_stay_due_when_the_schedule_changes(production: Shipper) -> None:
    production.ship(told())
    production.ship(told(NOON + DAY, schedule=["Mon 04:00"]))
    assert due() == slot(1)
    production.ship(record(1))
    assert due() == "2025-03-03T04:00:00+00:00"


def test_nothing_is_due_while_a_task_is_paused_or_gone(production: Shipper) -> None:
    production.ship(told(), skipped(1, "host was down"))
    pause = {"since": NOON.isoformat(), "until": slot(9), "by": "anna", "reason": ""}
    production.ship(told(NOON + DAY, pauses={"send_reports": pause}))
    assert (due(), standing().missing) == (slot(9), None)
    production.ship(told(NOON + DAY, pauses={"send_reports": pause | {"until": None}}))
    assert due() == ""
    production.ship(skipped(2, "paused: until resumed by anna"))
    assert due() == ""
    production.ship(told(NOON + 2 * DAY))
    assert due() == slot(3)
    production.ship(catalogue(at=(NOON + 3 * DAY).isoformat(), tasks={}))
    assert due() == ""


def test_a_task_that_is_needed_every_so_often_is_due_that_long_after_its_success(production: Shipper) -> None:
    production.ship(told(schedule=[], every=7200))
    assert due() == ""
    production.ship(record(1))
    production.ship(record(2, failed))
    assert standing().due == datetime.fromisoformat(slot(1)) + timedelta(hours=2)
    assert standing().late == datetime.fromisoformat(slot(1)) + timedelta(hours=2, minutes=12)


@pytest.mark.parametrize("said", [None, timing(schedule=["when the moon is full"])], ids=["older", "newer"])
def test_hosts_of_other_releases_are_understood_as_far_as_possible(production: Shipper, said: Any) -> None:
    production.ship(skipped(-30, "host was down"), catalogue(tasks={"send_reports": definition(timing=said)}))
    assert standing().missing
    production.ship(*(record(day, duration=10.0 + day) for day in range(20)))
    assert due() == ""
    assert (standing().median, standing().p95) == (19.5, pytest.approx(28.05))


def test_the_events_of_a_calendar_are_no_change_of_a_task(production: Shipper) -> None:
    production.ship(told(excepted=["2025-03-01"]))
    production.ship(told(NOON + DAY, excepted=["2025-03-03"]))
    assert production.host.definitions.count() == 1
    production.ship(record(1))
    assert due() == slot(3)
