"""The charts say what they show in words and shapes as well, and nothing in them is taken for markup."""

from datetime import UTC, date, datetime, timedelta
from xml.etree import ElementTree

import pytest
from django.utils import translation
from hypothesis import given
from hypothesis import strategies as st

from rota.diary.charts import Day, Point, over_time, summary_of, usual, year_of

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
UNTIL = NOW.date()


def drawn(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)


def day(ago: int, **runs: int) -> Day:
    return Day(UNTIL - timedelta(days=ago), runs, f"/runs/?since={ago}&x=<>")


def test_a_year_has_a_square_for_each_day_up_to_this_one() -> None:
    year = drawn(year_of([], until=UNTIL, label="a year"))
    squares = [each for each in year.iter("rect") if each.get("class") == "day none"]
    assert len(squares) == 52 * 7 + UNTIL.weekday() + 1
    assert year.get("aria-label") == "a year"


@pytest.mark.parametrize(
    ("runs", "word", "shape"),
    [
        ({"succeeded": 9, "failed": 1}, "failed", "path"),
        ({"succeeded": 9, "lost": 1, "skipped": 2}, "lost", "path"),
        ({"succeeded": 9, "skipped": 2, "missed": 1}, "missed", "path"),
        ({"succeeded": 9, "skipped": 1}, "skipped", "circle"),
        ({"succeeded": 9}, "succeeded", None),
    ],
)
def test_a_day_is_as_bad_as_its_worst_run_and_leads_to_its_runs(
    runs: dict[str, int], word: str, shape: str | None
) -> None:
    (link,) = drawn(year_of([day(3, **runs)], until=UNTIL, label="")).iter("a")
    assert link.get("href") == "/runs/?since=3&x=<>"
    assert [each.get("class") for each in link.iter("rect")] == [f"day {word}"]
    assert [each.tag for each in link if each.get("class") == "mark"] == ([shape] if shape else [])
    title = link.findtext("title") or ""
    assert title.startswith("2026-11-25: ")
    for status, amount in runs.items():
        assert f"{amount} {status}" in title


def test_the_summary_says_what_the_year_shows() -> None:
    assert summary_of([day(1, succeeded=1200, failed=2), day(2, skipped=3)]) == (
        "1,205 runs: 1,200 succeeded, 3 skipped, 2 failed"
    )


def test_what_is_usual_leaves_failures_out() -> None:
    assert usual([]) is None
    found = usual([float(n) for n in range(1, 101)])
    assert found
    assert (found.median, round(found.p95)) == (50.5, 95)


@given(st.lists(st.tuples(st.integers(0, 10**7), st.floats(0, 1e12), st.booleans()), min_size=1, max_size=30))
def test_every_run_is_drawn_within_the_chart_whatever_it_took(runs: list[tuple[int, float, bool]]) -> None:
    points = [Point(NOW + timedelta(seconds=at), value, "/r/", good) for at, value, good in sorted(runs)]
    chart = drawn(over_time(points, shown=lambda value: f"<{value:g}>", label='"<&>"'))
    assert len(list(chart.iter("a"))) == len(points)
    for circle in chart.iter("circle"):
        assert 0 <= float(circle.get("cx") or -1) <= 720
        assert 0 <= float(circle.get("cy") or -1) <= 150


def test_a_year_may_begin_and_end_anywhere() -> None:
    for ago in range(8):
        drawn(year_of([], until=date(2028, 3, 1) - timedelta(days=ago), label=""))


def test_amounts_are_said_in_the_language_of_each_reader() -> None:
    said = {}
    for language in ("en", "de", "ru", "en"):
        with translation.override(language):
            said[language] = day(1, succeeded=1234).title.partition(": ")[2]
    assert said["en"] == "1,234 succeeded"
    assert len(set(said.values())) == 3
