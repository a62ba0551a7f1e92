"""Laws of the days on which reports are made: known answers, and the original's own arithmetic over awkward dates."""

from calendar import isleap, monthrange
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota.packs.reports.definitions import Frequency, MonthEnd, Task
from rota.packs.reports.frequency import due_days, is_due, missed, next_due

D, W, M, Y = Frequency
DAY = timedelta(days=1)
AWKWARD = [
    "2024-01-31",
    "2024-02-29",
    "2023-12-31",
    "2024-01-30",
    "2023-02-28",
    "2024-03-01",
    "2025-01-01",
    "2024-04-30",
]


def task(
    start: str | date, frequency: Frequency, *, month_end: MonthEnd = MonthEnd.SKIP, catch_up: bool = False
) -> Task:
    start_date = date.fromisoformat(start) if isinstance(start, str) else start
    return Task(
        id="t",
        id_homedir="c",
        file_name="a.xml",
        start_date=start_date,
        frequency=frequency,
        is_active=True,
        month_end=month_end,
        catch_up=catch_up,
    )


def days(one: Task, first: str, last: str) -> list[str]:
    return [f"{day:%m-%d}" for day in due_days(one, date.fromisoformat(first), date.fromisoformat(last))]


def whole_units(start: date, day: date, frequency: Frequency) -> int:
    """How many whole units lie between, cut toward zero, as java.time counts them; `day` is not before `start`."""
    if frequency is D:
        return (day - start).days
    if frequency is W:
        return (day - start).days // 7
    months = (day.year * 12 + day.month) - (start.year * 12 + start.month) - (day.day < start.day)
    return months if frequency is M else months // 12


def plus(start: date, units: int, frequency: Frequency) -> date:
    """As java.time adds: to the last day of a month that is too short."""
    if frequency in (D, W):
        return start + timedelta(days=units * (1 if frequency is D else 7))
    months = start.year * 12 + start.month - 1 + units * (1 if frequency is M else 12)
    year, month = months // 12, months % 12 + 1
    return date(year, month, min(start.day, monthrange(year, month)[1]))


def originally_due(start: date, day: date, frequency: Frequency) -> bool:
    return day >= start and plus(start, whole_units(start, day, frequency), frequency) == day


def clipped_due(start: date, day: date, frequency: Frequency) -> bool:
    """Whether some number of units after the start, each added to the start itself, is this day."""
    return any(plus(start, units, frequency) == day for units in range(whole_units(start, day, frequency) + 2))


@pytest.mark.parametrize("frequency", Frequency)
@pytest.mark.parametrize("start", AWKWARD)
def test_twelve_years_are_due_as_they_were_originally(start: str, frequency: Frequency) -> None:
    one = task(start, frequency)
    first = date(2023, 1, 1)
    span = [first + timedelta(days=number) for number in range(12 * 366)]
    expected = [day for day in span if originally_due(one.start_date, day, frequency)]
    assert [day for day in span if is_due(one, day)] == expected
    assert list(due_days(one, span[0], span[-1])) == expected


@pytest.mark.parametrize("frequency", [M, Y])
@pytest.mark.parametrize("start", AWKWARD)
def test_clipped_reports_fall_on_the_last_day_of_shorter_months(start: str, frequency: Frequency) -> None:
    one = task(start, frequency, month_end=MonthEnd.CLIP)
    span = [one.start_date + timedelta(days=number) for number in range(-40, 5 * 366)]
    assert [day for day in span if is_due(one, day)] == [
        day for day in span if day >= one.start_date and clipped_due(one.start_date, day, frequency)
    ]


@given(
    st.dates(date(1995, 1, 1), date(2035, 1, 1)),
    st.sampled_from(Frequency),
    st.sampled_from(MonthEnd),
    st.dates(date(1995, 1, 1), date(2035, 1, 1)),
)
def test_the_next_day_shown_is_the_first_on_which_it_really_runs(
    start: date, frequency: Frequency, month_end: MonthEnd, after: date
) -> None:
    one = task(start, frequency, month_end=month_end)
    found = next_due(one, after)
    assert found is not None
    assert is_due(one, found)
    begin = max(after + DAY, found - timedelta(days=400))
    assert not any(is_due(one, begin + timedelta(days=number)) for number in range((found - begin).days))


@pytest.mark.parametrize(
    ("start", "frequency", "first", "last", "expected"),
    [
        ("2024-01-31", M, "2024-01-01", "2024-12-31", ["01-31", "03-31", "05-31", "07-31", "08-31", "10-31", "12-31"]),
        ("2024-01-30", M, "2024-01-01", "2024-12-31", [f"{n:02}-30" for n in (1, *range(3, 13))]),
        ("2024-01-10", W, "2024-01-01", "2024-02-10", ["01-10", "01-17", "01-24", "01-31", "02-07"]),
        ("2024-01-10", D, "2024-01-08", "2024-01-12", ["01-10", "01-11", "01-12"]),
        ("2024-01-10", D, "2024-01-12", "2024-01-11", []),
    ],
)
def test_the_known_days_are_due(start: str, frequency: Frequency, first: str, last: str, expected: list[str]) -> None:
    assert days(task(start, frequency), first, last) == expected


def test_the_29th_of_february_comes_in_leap_years_or_is_clipped() -> None:
    span = (date(2024, 1, 1), date(2040, 12, 31))
    assert [day.year for day in due_days(task("2024-02-29", Y), *span)] == [2024, 2028, 2032, 2036, 2040]
    clipped = due_days(task("2024-02-29", Y, month_end=MonthEnd.CLIP), *span)
    assert [(day.year, day.day) for day in clipped] == [(y, 29 if isleap(y) else 28) for y in range(2024, 2041)]


@pytest.mark.parametrize(
    ("day", "due"),
    [
        ("2024-12-03", "t1"),
        ("2024-01-10", "t1 t2"),
        ("2024-02-07", "t1 t2 t3"),
        ("2025-02-05", "t1 t2 t4"),
        ("2025-02-07", "t1 t3"),
        ("2025-02-08", "t1"),
    ],
)
def test_the_original_s_tests_give_the_same(day: str, due: str) -> None:
    tasks = {
        "t1": task("2024-01-03", D),
        "t2": task("2024-01-10", W),
        "t3": task("2024-02-07", M),
        "t4": task("2025-02-05", Y),
    }
    assert [name for name, one in tasks.items() if is_due(one, date.fromisoformat(day))] == due.split()


@pytest.mark.parametrize(
    ("start", "frequency", "today", "expected"),
    [
        ("2024-01-31", M, "2024-01-31", "2024-03-31"),
        ("2024-01-31", M, "2024-04-01", "2024-05-31"),
        ("2030-01-01", M, "2024-04-01", "2030-01-01"),
        ("2024-02-29", Y, "2024-03-01", "2028-02-29"),
        ("2096-02-29", Y, "2096-02-29", "2104-02-29"),
        ("2024-01-10", W, "2024-01-10", "2024-01-17"),
    ],
)
def test_the_next_day_is_right_where_the_original_s_was_wrong(
    start: str, frequency: Frequency, today: str, expected: str
) -> None:
    assert next_due(task(start, frequency), date.fromisoformat(today)) == date.fromisoformat(expected)


def test_what_is_not_active_is_never_due() -> None:
    idle = Task(id="t", id_homedir="c", file_name="a.xml", start_date=date(2024, 1, 1), frequency=D, catch_up=True)
    assert not is_due(idle, date(2024, 1, 2))
    assert next_due(idle, date(2024, 1, 2)) is None
    assert due_days(idle, date(2024, 1, 1), date(2024, 2, 1)) == missed(idle, date(2024, 1, 1), date(2024, 2, 1)) == ()


@pytest.mark.parametrize("frequency", Frequency)
def test_the_end_of_the_calendar_is_no_error(frequency: Frequency) -> None:
    one = task(date(9999, 12, 31), frequency)
    assert next_due(one, date(9999, 12, 30)) == date.max
    assert next_due(one, date.max) is None


def test_missed_days_are_made_up_for_only_where_asked() -> None:
    since, until = date(2024, 1, 30), date(2024, 3, 1)
    assert missed(task("2023-12-31", M), since, until) == ()
    assert missed(task("2023-12-31", M, catch_up=True), since, until) == (date(2024, 1, 31),)
    daily = task("2023-12-31", D, catch_up=True)
    assert missed(daily, since, since + 3 * DAY) == (since + DAY, since + 2 * DAY)
    assert missed(daily, since, since + DAY) == missed(daily, since, since) == missed(daily, until, since) == ()
