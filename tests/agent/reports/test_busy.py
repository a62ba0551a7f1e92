"""Laws of the busy window: it begins with its first moment, ends before its last, and may cross midnight."""

from datetime import date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota.packs.reports.busy import is_busy


@pytest.mark.parametrize(
    ("start", "hours", "now", "busy"),
    [
        ("02:00", 4, "01:59:59.999999", False),
        ("02:00", 4, "02:00", True),
        ("02:00", 4, "05:59:59.999999", True),
        ("02:00", 4, "06:00", False),
        ("22:00", 4, "21:59", False),
        ("22:00", 4, "22:00", True),
        ("22:00", 4, "00:00", True),
        ("22:00", 4, "01:59", True),
        ("22:00", 4, "02:00", False),
        ("20:00", 4, "00:00", False),
        ("02:00", 0, "02:00", False),
        ("02:00", 24, "01:59", True),
        ("02:00", 30, "12:00", True),
        ("00:00", 1, "00:00", True),
    ],
)
def test_the_known_moments(start: str, hours: int, now: str, busy: bool) -> None:
    assert is_busy(time.fromisoformat(start), hours, time.fromisoformat(now)) is busy


@given(st.times(), st.integers(1, 23), st.times())
def test_it_is_busy_exactly_within_so_many_hours_after_some_start(start: time, hours: int, now: time) -> None:
    today = date(2026, 3, 1)
    begun = [datetime.combine(today - timedelta(days=ago), start) for ago in (0, 1)]
    at = datetime.combine(today, now)
    assert is_busy(start, hours, at) is any(each <= at < each + timedelta(hours=hours) for each in begun)
