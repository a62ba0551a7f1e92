"""Laws of accounting for one task's slots: which are answered, why others passed, and which are made up for."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from rota.core.accounting import Rule, Settlement, Units, Witness, settle
from rota.core.plan import Plan, Planned
from rota.core.record import RunRecord
from rota.core.task import CatchUp
from tests.agent.records import make_run

NOON = datetime(2025, 11, 25, 12, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
NOW = NOON + 3 * HOUR + 30 * MINUTE
SLOTS = tuple(Planned(NOON + number * HOUR) for number in range(6))
BOOTED = NOON - 10 * HOUR


def look(
    *runs: RunRecord,
    slots: Sequence[Planned] = SLOTS,
    missed: Sequence[Planned] = (),
    catch_up: CatchUp = CatchUp.NONE,
    window: timedelta = 24 * HOUR,
    units: Units | None = None,
    **witness: object,
) -> Settlement:
    rule = Rule(spread=timedelta(), catch_up=catch_up, window=window)
    known = Witness(**({"now": NOW, "booted": BOOTED} | witness))  # type: ignore[arg-type]  # fields by name
    return settle(Plan(slots=tuple(slots), missed=tuple(missed)), rule, runs, units or Units(), known)


def run_of(slot: datetime | None, *, started: datetime | None = None, **changes: object) -> RunRecord:
    began = started or slot or NOON
    times = {"started": began.isoformat(), "ended": began.isoformat()}
    return make_run(**(times | {"slot": slot.isoformat() if slot else None} | changes))


def reasons(found: Settlement) -> list[str]:
    return [each.reason for each in found.skipped]


ANSWERED = [run_of(slot.moment) for slot in SLOTS[:4]]


def test_slots_with_runs_leave_the_plan_without_a_word() -> None:
    found = look(*ANSWERED)
    assert found == Settlement(skipped=(), plan=Plan(slots=SLOTS[4:]))


def test_a_slot_whose_run_may_still_begin_is_not_judged() -> None:
    now = NOON + 3 * HOUR + MINUTE
    assert look(*ANSWERED[:3], now=now).plan.slots == SLOTS[3:]


def test_a_barred_slot_is_skipped_for_its_own_reason_whatever_else_was_wrong() -> None:
    barred = (Planned(NOON, "excepted: 2025-11-25"),)
    assert reasons(look(slots=barred, booted=NOW)) == ["excepted: 2025-11-25"]


def test_slots_before_the_boot_passed_while_the_host_was_down() -> None:
    booted = NOON + 2 * HOUR + 30 * MINUTE
    found = look(ANSWERED[0], ANSWERED[3], booted=booted, alive=NOON + MINUTE)
    assert reasons(found) == ["host was down: it booted 2025-11-25 14:30 UTC"] * 2


def test_a_slot_that_the_host_was_alive_for_was_never_started() -> None:
    found = look(*ANSWERED[:1], *ANSWERED[2:], booted=NOW, alive=NOON + 2 * HOUR)
    assert reasons(found) == ["never started: systemd does not say why"]


def test_a_run_that_takes_longer_than_to_the_next_slot_is_why_that_passes() -> None:
    long = run_of(NOON, ended=(NOON + 2 * HOUR + MINUTE).isoformat())
    assert reasons(look(long, ANSWERED[3])) == ["still running: since 2025-11-25 12:00 UTC"] * 2


def test_a_run_under_way_is_why_slots_pass() -> None:
    under_way = run_of(NOON, status="running", ended=None)
    assert reasons(look(under_way)) == ["still running: since 2025-11-25 12:00 UTC"] * 3


@pytest.mark.parametrize("status", [{"status": "running", "ended": None}, {"status": "lost"}])
def test_a_run_that_went_down_with_the_host_was_not_still_running(status: dict[str, object]) -> None:
    cut = run_of(NOON, **({"ended": NOW.isoformat()} | status))
    found = look(cut, booted=NOW - MINUTE, alive=NOON + MINUTE)
    assert {reason.partition(":")[0] for reason in reasons(found)} == {"host was down"}


def test_a_start_that_left_no_slot_answers_the_latest_one() -> None:
    failed = run_of(None, started=NOON + MINUTE, status="failed", exit_code=1)
    assert look(failed, *ANSWERED[1:]).skipped == ()


def test_a_start_that_somebody_asked_for_answers_no_slot() -> None:
    asked = run_of(None, started=NOON + MINUTE, asked_by="anna", trigger="manual")
    assert len(look(asked, *ANSWERED[1:]).skipped) == 1


def test_a_task_that_is_about_to_start_is_waited_for() -> None:
    units = Units(running_since=NOON + 3 * HOUR)
    assert look(*ANSWERED[:3], units=units) == Settlement(skipped=(), plan=Plan(slots=SLOTS[3:]))
    assert look(*ANSWERED[:3], units=Units(is_queued=True)).plan.slots == SLOTS[3:]


def test_a_stopped_timer_is_named() -> None:
    assert reasons(look(*ANSWERED[:3], units=Units(obstacle="its timer is stopped"))) == [
        "never started: its timer is stopped"
    ]
    units = Units(timer_since=NOON + 3 * HOUR + MINUTE)
    assert reasons(look(*ANSWERED[:3], units=units)) == [
        "never started: its timer was stopped until 2025-11-25 15:01 UTC"
    ]


def test_a_slot_before_the_timers_of_a_booting_host_is_one_while_it_was_down() -> None:
    units = Units(timer_since=NOON + 3 * HOUR + MINUTE)
    found = look(*ANSWERED[:3], units=units, booted=NOON + 3 * HOUR - MINUTE)
    assert reasons(found) == ["host was down: it was booting until 2025-11-25 15:01 UTC"]


def test_slots_that_the_clock_jumped_over_say_so() -> None:
    found = look(ANSWERED[0], accounted=NOON + MINUTE, clock_set=3 * HOUR, booted=NOON + 5 * HOUR)
    assert reasons(found) == ["never started: the clock was set forward by 3 hours"] * 3


DOWN = {"booted": NOW, "alive": NOON - HOUR}


def test_without_catching_up_every_missed_slot_is_skipped() -> None:
    found = look(**DOWN)
    assert len(found.skipped) == 4
    assert found.plan == Plan(slots=SLOTS[4:])


def test_the_latest_missed_slot_is_caught_up_and_the_others_are_skipped() -> None:
    found = look(catch_up=CatchUp.LATEST, **DOWN)
    assert [each.moment for each in found.skipped] == [slot.moment for slot in SLOTS[:3]]
    assert [slot.moment for slot in found.plan.missed] == [SLOTS[3].moment]


def test_the_latest_is_not_caught_up_once_a_later_slot_has_run() -> None:
    found = look(run_of(NOON + 3 * HOUR), catch_up=CatchUp.LATEST, **DOWN)
    assert len(found.skipped) == 3
    assert found.plan.missed == ()


def test_all_missed_slots_within_the_window_are_caught_up() -> None:
    found = look(catch_up=CatchUp.ALL, window=2 * HOUR, **DOWN)
    assert [slot.moment for slot in found.plan.missed] == [slot.moment for slot in SLOTS[2:4]]
    assert [each.moment for each in found.skipped] == [slot.moment for slot in SLOTS[:2]]


def test_what_is_caught_up_leaves_the_plan_and_what_is_not_in_time_is_skipped() -> None:
    missed = look(catch_up=CatchUp.ALL, **DOWN).plan.missed
    found = look(run_of(NOON + HOUR, trigger="catch_up"), slots=(), missed=missed, catch_up=CatchUp.ALL, window=HOUR)
    assert [slot.moment for slot in found.plan.missed] == [NOON + 3 * HOUR]
    assert [each.moment for each in found.skipped] == [NOON, NOON + 2 * HOUR]


def test_a_slot_that_passed_during_a_long_run_is_not_caught_up() -> None:
    under_way = run_of(NOON, status="running", ended=None)
    assert look(under_way, catch_up=CatchUp.ALL).plan.missed == ()


def test_many_slots_in_a_row_make_one_record_that_tells_how_many() -> None:
    slots = tuple(Planned(NOON - number * MINUTE) for number in reversed(range(200)))
    (one,) = look(slots=slots, booted=NOW).skipped
    assert (one.moment, one.slots, one.span) == (NOON, 200, 199 * MINUTE)
    assert one.reason == (
        "host was down: it booted 2025-11-25 15:30 UTC; 200 slots from 2025-11-25 08:41 UTC to 2025-11-25 12:00 UTC"
    )
