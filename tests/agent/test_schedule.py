"""Laws of slots: what daylight saving, windows and several expressions make of a schedule."""

from datetime import UTC, datetime, timedelta
from itertools import chain, islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rota.core.calendar import parse as parse_calendar
from rota.core.schedule import Schedule, Slot, schedule_of, shifts_in
from rota.core.task import Dst, Task
from rota.core.window import parse
from tests.agent.test_calendar import BASES, EXPRESSIONS

SPRING = datetime(2026, 3, 29, 1, tzinfo=UTC)
AUTUMN = datetime(2026, 10, 25, 1, tzinfo=UTC)
HOURS = timedelta(hours=3)


def schedule(
    *expressions: str, zone: str = "Europe/Zurich", dst: Dst | None = None, **windows: list[object]
) -> Schedule:
    task = Task(
        name="t",
        description="d",
        command=("/bin/true",),
        schedule=expressions,
        zone=zone,
        dst=dst,
        only=tuple(map(parse, windows.get("only", []))),
        excepted=tuple(map(parse, windows.get("excepted", []))),
    )
    found = schedule_of(task)
    assert found
    return found


def around(moment: datetime, *expressions: str, dst: Dst | None) -> list[str]:
    """The slots in the hours around a shift, in UTC; a barred one with `x`."""
    found = schedule(*expressions, dst=dst).slots(moment - HOURS, moment + HOURS)
    return [f"{slot.moment:%H:%M}{'x' if slot.barred else ''}" for slot in found]


@pytest.mark.parametrize(
    ("dst", "spring", "autumn"),
    [
        (None, ["01:30x"], ["00:30"]),
        (Dst.SKIP, ["01:30x"], ["00:30"]),
        (Dst.RUN_ONCE, ["01:00"], ["00:30"]),
        (Dst.BOTH, ["01:30x"], ["00:30", "01:30"]),
    ],
)
def test_a_time_that_is_left_out_or_repeated_is_treated_as_the_task_says(
    dst: Dst | None, spring: list[str], autumn: list[str]
) -> None:
    assert around(SPRING, "02:30", dst=dst) == spring
    assert around(AUTUMN, "02:30", dst=dst) == autumn


@pytest.mark.parametrize("shift", [SPRING, AUTUMN])
def test_both_keeps_an_even_cadence_even(shift: datetime) -> None:
    slots = list(schedule("*:10/20", dst=Dst.BOTH).slots(shift - HOURS, shift + HOURS))
    assert not any(slot.barred for slot in slots)
    assert {after.moment - before.moment for before, after in pairwise(slots)} == {timedelta(minutes=20)}


def test_a_slot_that_does_not_exist_says_which_time_of_which_day() -> None:
    (slot,) = schedule("02:30", dst=Dst.SKIP).slots(SPRING - HOURS, SPRING + HOURS)
    assert slot.barred == "daylight saving: 02:30 does not exist on 2026-03-29"


def test_a_look_that_begins_in_a_repeated_hour_does_not_repeat_it() -> None:
    begin = AUTUMN + timedelta(minutes=10)
    slots = schedule("*:0/30", dst=Dst.RUN_ONCE).slots(begin, AUTUMN + HOURS)
    assert next(slots).moment == AUTUMN + timedelta(hours=1)


def test_a_moment_that_two_expressions_name_is_one_slot() -> None:
    slots = list(schedule("*:0/30", "08:00", "08:00").slots(SPRING, SPRING + timedelta(days=1)))
    assert len(slots) == 48
    assert slots == sorted(set(slots))


def test_begin_is_left_out_and_end_belongs_to_it() -> None:
    slots = schedule("*:00", zone="UTC").slots(SPRING, SPRING + HOURS)
    assert list(slots) == [Slot(SPRING + timedelta(hours=hour)) for hour in (1, 2, 3)]


@pytest.mark.parametrize(
    ("window", "inside", "outside"),
    [
        ("2026-12-25", ["2026-12-25 00:00", "2026-12-25 23:59"], ["2026-12-24 23:59", "2026-12-26 00:00"]),
        ("2026-12-20..2027-01-03", ["2026-12-20 00:00", "2027-01-03 23:59"], ["2027-01-04 00:00"]),
        (
            "2026-12-24 12:00..2026-12-27 06:00",
            ["2026-12-24 12:00", "2026-12-27 05:59"],
            ["2026-12-24 11:59", "2026-12-27 06:00"],
        ),
        ("12-25", ["2026-12-25 10:00", "2031-12-25 10:00"], ["2026-12-26 00:00"]),
        ("12-24..01-02", ["2026-12-24 00:00", "2027-01-02 23:59"], ["2026-12-23 23:59", "2027-01-03 00:00"]),
        ("Mon..Fri 08:00..18:00", ["2026-11-23 08:00", "2026-11-27 17:59"], ["2026-11-23 18:00", "2026-11-28 09:00"]),
        ("Fri 22:00..06:00", ["2026-11-27 22:00", "2026-11-28 05:59"], ["2026-11-27 05:00", "2026-11-28 06:00"]),
        ("Fri..Mon", ["2026-11-27 00:00", "2026-11-30 23:59"], ["2026-11-26 23:59", "2026-12-01 00:00"]),
        ("22:00..06:00", ["2026-11-26 22:00", "2026-11-27 05:59"], ["2026-11-27 06:00", "2026-11-27 21:59"]),
        ("08:00..24:00", ["2026-11-26 23:59"], ["2026-11-26 00:00", "2026-11-26 07:59"]),
        (datetime(2026, 12, 25).date(), ["2026-12-25 10:00"], ["2026-12-26 10:00"]),  # noqa: DTZ001 - as YAML has it
    ],
)
def test_a_window_begins_and_ends_where_it_says(window: object, inside: list[str], outside: list[str]) -> None:
    found = parse(window)
    assert [bool(found.around(datetime.fromisoformat(at))) for at in inside] == [True] * len(inside)
    assert [bool(found.around(datetime.fromisoformat(at))) for at in outside] == [False] * len(outside)


@pytest.mark.parametrize(
    "wrong",
    ["", "soon", "2026-12-25 08:00", "2026-13-01", "Mon 8", "02-30", "Mo", 3, True, None, [1], "2026-12-25..2026-12-01"]
    + ["2026-12-25T08:00+01:00..2026-12-26", "08:00..25:00", "Mon 08:00..18:00 x", "..", "2026-12-25..", "12-25.."],
)
def test_what_is_no_window_is_refused_saying_what_one_is(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"Mon\.\.Fri 08:00\.\.18:00"):
        parse(wrong)


def test_windows_are_of_the_schedules_own_zone() -> None:
    slots = schedule("*-*-* 23:30", excepted=["2026-12-25"]).slots(
        datetime(2026, 12, 24, tzinfo=UTC), datetime(2026, 12, 27, tzinfo=UTC)
    )
    assert [slot.barred for slot in slots] == ["", "excepted: 2026-12-25", ""]


def test_a_slot_outside_all_that_only_allows_says_so() -> None:
    slots = schedule("*-*-* 12:00", only=["Sat", "Mon..Fri 08:00..11:00"]).slots(
        datetime(2026, 11, 27, tzinfo=UTC), datetime(2026, 11, 29, tzinfo=UTC)
    )
    assert [slot.barred for slot in slots] == ["excepted: outside Sat, Mon..Fri 08:00..11:00", ""]


def test_a_task_without_a_schedule_has_none() -> None:
    assert schedule_of(Task(name="t", description="d", command=("/bin/true",))) is None


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(EXPRESSIONS, BASES, st.sampled_from([None, *Dst]), st.integers(0, 500_000))
def test_slots_are_in_order_and_the_same_however_the_span_is_cut(
    expression: str, begin: datetime, dst: Dst | None, seconds: int
) -> None:
    expression, _, zone = expression.rpartition(" ")
    end = begin + timedelta(days=6)
    whole = list(islice(schedule(expression, zone=zone, dst=dst).slots(begin, end), 400))
    assert [slot.moment for slot in whole] == sorted({slot.moment for slot in whole})
    cut = begin + timedelta(seconds=seconds)
    parts = chain(
        schedule(expression, zone=zone, dst=dst).slots(begin, cut),
        schedule(expression, zone=zone, dst=dst).slots(cut, end),
    )
    assert list(islice(parts, 400)) == whole


@pytest.mark.parametrize("zone", ["Europe/Zurich", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"])
@pytest.mark.parametrize("expression", ["*:0/10", "02:15,40", "00..04:00/25", "Sun 02:30"])
def test_without_dst_slots_go_ahead_exactly_when_systemd_elapses(zone: str, expression: str) -> None:
    for shift in shifts_in(ZoneInfo(zone), 2027):
        begin, end = shift.moment - timedelta(days=1), shift.moment + timedelta(days=1)
        going = [slot.moment for slot in schedule(expression, zone=zone).slots(begin, end) if not slot.barred]
        assert going == list(parse_calendar(expression, zone).between(begin, end))
