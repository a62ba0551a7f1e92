"""Calendar expressions mean what systemd means by them: compared with systemd's own, over years of dates.

Known differences, each with its test: systemd refuses `a..a` in seconds, which we take; we refuse `~` with a list or a
step. Where the clocks of a zone are set at midnight or off the hour, what systemd finds just then depends on a guess of
the C library's, and it may give up ("Resource deadlock avoided"); so it does where a step of days leads over a month's
end and over such a moment.
"""

import os
import re
import subprocess
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rota.adapters.systemd import calendar_command
from rota.core.calendar import SHORTHANDS, BadExpression, parse
from rota.core.schedule import shifts_in

ELAPSE = re.compile(r"(?:Next elapse|Iter\. #\d+): \w{3} (\S+ \S+) UTC")
ITERATIONS = 40
ZONES = (
    ["UTC", "Europe/Zurich", "America/New_York", "America/Sao_Paulo", "Asia/Kathmandu", "Europe/Dublin", "Pacific/Apia"]
    # By half an hour; by two hours; in Ramadan; at midnight.
    + ["Australia/Lord_Howe", "Antarctica/Troll", "Africa/Casablanca"]
    + ["America/Havana", "Asia/Beirut", "America/Santiago", "Africa/Cairo"]
)
GAVE_UP = "Resource deadlock avoided"


def elapses(expression: str, base: datetime, iterations: int = ITERATIONS) -> tuple[list[datetime], str]:
    """What systemd says comes next, and its complaint."""
    command = calendar_command(expression, base=f"{base:%Y-%m-%d %H:%M:%S} UTC", iterations=iterations)
    answer = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "TZ": "UTC"})
    found = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in ELAPSE.findall(answer.stdout)]
    return found, answer.stderr.strip()


def ours(expression: str, base: datetime, iterations: int = ITERATIONS) -> list[datetime]:
    return list(islice(parse(expression).between(base, datetime(2199, 12, 31, tzinfo=UTC)), iterations))


def numbers(least: int, most: int, width: int = 2) -> st.SearchStrategy[str]:
    """`*`, a number, a range, either with a step, or a list of them, within these bounds."""

    def one(pair: tuple[int, int], step: int, kind: str) -> str:
        first, last = min(pair), max(pair)
        if kind == "single" or (kind in ("range", "steps") and first == last):
            return f"{first:0{width}}"
        if kind == "open":
            return f"{first:0{width}}/{step}" if first + step <= most else f"{first:0{width}}"
        return f"{first:0{width}}..{last:0{width}}" + (f"/{step}" if kind == "steps" else "")

    value = st.integers(least, most)
    kinds = st.sampled_from(["single", "single", "range", "open", "steps"])
    part = st.builds(one, st.tuples(value, value), st.integers(1, max(2, (most - least) // 3)), kinds)
    return st.one_of(st.just("*"), st.just("*"), part, st.lists(part, min_size=2, max_size=3).map(",".join))


def back_from_the_end() -> st.SearchStrategy[str]:
    single = st.integers(1, 28).map(lambda day: f"~{day:02}")
    pair = st.tuples(st.integers(1, 28), st.integers(1, 28)).filter(lambda pair: pair[0] < pair[1])
    return st.one_of(single, pair.map(lambda pair: f"~{pair[0]:02}..{pair[1]:02}"))


def weekdays() -> st.SearchStrategy[str]:
    names = st.sampled_from(["Mon", "Tue", "Wed", "thursday", "Fri", "Sat", "SUN"])
    ranges = st.sampled_from(["Mon..Fri", "Sat..Sun", "Tue..Tue", "Mon,Wed..Fri"])
    return st.one_of(st.just(""), st.just(""), names, ranges, st.tuples(names, names).map(",".join)).map(
        lambda text: f"{text} " if text else ""
    )


EXPRESSIONS = st.builds(
    lambda days, year, month, day, hour, minute, second, zone: (
        f"{days}{year}{month}{day} {hour}:{minute}{second} {'UTC' if '/' in day else zone}"
    ),
    weekdays(),
    st.one_of(st.just(""), st.just("*-"), numbers(2005, 2040, 4).map(lambda text: f"{text}-")),
    numbers(1, 12),
    st.one_of(numbers(1, 31).map(lambda text: f"-{text}"), back_from_the_end()),
    numbers(0, 23),
    numbers(0, 59),
    st.one_of(st.just(""), st.just(":00"), numbers(0, 59).map(lambda text: f":{text}")),
    st.sampled_from(ZONES),
)
BASES = st.datetimes(datetime(2004, 1, 1), datetime(2040, 1, 1)).map(  # noqa: DTZ001 - made aware at once
    lambda moment: moment.replace(microsecond=0, tzinfo=UTC)
)


# The same examples each time; 2,500 others agreed when this was written.
@settings(max_examples=40, deadline=None, database=None, derandomize=True)
@given(EXPRESSIONS, BASES)
def test_every_expression_elapses_when_systemd_says(expression: str, base: datetime) -> None:
    theirs, complaint = elapses(expression, base)
    assert complaint == ""
    assert ours(expression, base) == theirs


@pytest.mark.parametrize("zone", ZONES)
def test_systemd_agrees_where_clocks_are_set(zone: str) -> None:
    """Before, across, and between the two passes of an hour."""
    for shift in shifts_in(ZoneInfo(zone), 2026):
        for expression, minutes in (("*:0/10", -130), ("02:15,40", -250), ("*:0/10", 5)):
            base = shift.moment + timedelta(minutes=minutes)
            theirs, complaint = elapses(f"{expression} {zone}", base, 40)
            assert complaint == ""
            assert ours(f"{expression} {zone}", base, 40) == theirs


@pytest.mark.parametrize(
    ("expression", "base"),
    [
        *((name, "2027-12-30") for name in SHORTHANDS),
        ("*-02-29", "1996-03-01"),
        ("Mon *-02-29", "2000-01-01"),
        ("2100-02-29", "2000-01-01"),
        ("*-02~01", "2023-01-01"),
        ("*-*~03", "2023-12-01"),
        ("Mon *-*~07/1 12:00", "2026-01-01"),
        ("*-*-31", "2026-01-01"),
        ("Fri *-*-13", "2026-01-01"),
        ("2030-01-01", "2031-01-01"),
        ("26-01-01..05 08:00", "2025-12-31"),
        # Steps that lead out of their hour, day, month and year: systemd passes over what it skips then, and so do we.
        ("*:0/7", "2026-01-31"),
        ("*:*:0/7", "2026-12-31 23:50"),
        ("0/7:00", "2026-01-30"),
        ("*-*-01/7", "2026-11-20"),
        ("*-01/5-01", "2026-01-01"),
    ],
)
def test_what_people_write_elapses_when_systemd_says(expression: str, base: str) -> None:
    begin = datetime.fromisoformat(base).replace(tzinfo=UTC)
    if re.search(r"~\d+/", expression):
        with pytest.raises(BadExpression, match="from a month's end there is one day"):
            parse(expression)
        return
    theirs, complaint = elapses(f"{expression} UTC", begin)
    assert complaint == ""
    assert ours(f"{expression} UTC", begin) == theirs


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("", "it must be weekdays, a date and a time"),
        ("02:10 02:20", "it must be weekdays, a date and a time"),
        ("soon", "'soon' is no weekday"),
        ("Fri..Mon 08:00", "'Fri..Mon' goes backwards"),
        ("-01 08:00", "is no date; it must be YEAR-MONTH-DAY"),
        ("1-2-3-4", "is no date; it must be YEAR-MONTH-DAY"),
        ("08", "is no time; it must be HOUR:MINUTE:SECOND"),
        ("24:00", "24 must lie between 0 and 23"),
        ("08:60", "60 must lie between 0 and 59"),
        ("*-13-01", "13 must lie between 1 and 12"),
        ("*-*-32", "32 must lie between 1 and 31"),
        ("1969-01-01", "1969 must lie between 1970 and 2199"),
        ("08:0/0", "'0/0' names nothing"),
        ("08:20..10", "'20..10' names nothing"),
        ("08:50/10", "a step further is 60, and the most is 59"),
        ("08:x", "'x' must be *, a number, FIRST..LAST, or one of them with /STEP"),
    ],
)
def test_what_systemd_refuses_is_refused_with_what_would_be_right(expression: str, expected: str) -> None:
    with pytest.raises(BadExpression, match=re.escape(expected)):
        parse(expression)
    assert elapses(expression, datetime(2026, 1, 1, tzinfo=UTC))[1]


def test_a_zone_that_there_is_not_is_refused() -> None:
    with pytest.raises(BadExpression, match="'Mars/Base' is no time zone"):
        parse("08:00", "Mars/Base")


def test_what_only_one_of_us_takes() -> None:
    """Seconds from one to the same; a list or a step counted from a month's end."""
    base = datetime(2026, 1, 1, tzinfo=UTC)
    assert elapses("08:00:10..10", base)[1]
    assert parse("08:00:10..10").after(base) == datetime(2026, 1, 1, 8, 0, 10, tzinfo=UTC)
    for expression in ("*-*~01,03", "*-*~07/2"):
        assert elapses(expression, base)[1] == ""
        with pytest.raises(BadExpression, match="from a month's end there is one day"):
            parse(expression)


def test_systemd_gives_up_where_clocks_are_set_off_the_hour() -> None:
    """At 02:45 in the Chatham Islands; `rota check` says so of a schedule."""
    base = datetime(2026, 9, 26, 9, tzinfo=UTC)
    assert GAVE_UP in elapses("Sun *:50 Pacific/Chatham", base)[1]
