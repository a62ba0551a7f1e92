"""Laws of objectives: what may be wanted of a task, and how far it is from that."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota.core.history import Days, Ended, Standing, Tally
from rota.core.objective import Objective, attain, parse_objective, percent
from rota.core.status import Status

NOW = datetime(2025, 7, 14, 12, tzinfo=UTC)
DAY = timedelta(days=1)
WANTED = Objective(success=0.99, within=30 * DAY, fresh=26 * DAY / 24)


def standing_of(tally: Tally, *, age: timedelta | None = None, day: timedelta = timedelta()) -> Standing:
    ended = NOW - age if age is not None else None
    success = (
        Ended(run="", started=ended, ended=ended, status=Status.SUCCEEDED, reason="", duration=1) if ended else None
    )
    return Standing(success=success, days=Days().add((NOW - day).toordinal(), tally))


def test_an_objective_is_read_as_people_write_it() -> None:
    assert parse_objective({"success": "99.5%"}) == Objective(success=0.995)
    assert parse_objective({"success": "99%", "within": "7d", "fresh": "26h"}) == Objective(
        success=0.99, within=7 * DAY, fresh=timedelta(hours=26)
    )
    assert parse_objective({"fresh": 3600}) == Objective(fresh=timedelta(hours=1))


@pytest.mark.parametrize(
    ("value", "right"),
    [
        (None, "a mapping like"),
        ({}, "a mapping like"),
        ("99%", "a mapping like"),
        ({"success": "99%", "with": "7d"}, "a mapping like"),
        ({"within": "7d"}, "within says of which days success is meant"),
        ({"within": "7d", "fresh": "26h"}, "within says of which days success is meant"),
        ({"success": 0.99}, "success is a percentage below 100%"),
        ({"success": "100%"}, "success is a percentage below 100%"),
        ({"success": "0%"}, "success is a percentage below 100%"),
        ({"success": "99%", "within": "26h"}, "within is whole days, 1d to 400d"),
        ({"success": "99%", "within": "401d"}, "within is whole days, 1d to 400d"),
        ({"success": "99%", "within": "soon"}, "within is a duration like"),
        ({"fresh": "daily"}, "fresh is a duration like"),
        ({"fresh": 0}, "fresh is longer than nothing"),
    ],
)
def test_what_is_no_objective_is_answered_with_what_would_be_right(value: object, right: str) -> None:
    with pytest.raises(ValueError, match=right):
        parse_objective(value)


def test_the_error_budget_is_what_may_fail_and_has_not() -> None:
    attained = attain(
        WANTED, standing_of(Tally(succeeded=996, failed=1, lost=1, skipped=9, missed=2), age=DAY / 24), NOW
    )
    assert attained.rate == 0.996
    assert attained.budget == pytest.approx(0.6)
    assert attained.is_attained
    assert attained.words == (
        "99.6% of 1000 runs in 30 days (99% wanted), 60% of the error budget left; "
        "succeeded 1 h 00 min ago (26 h 00 min wanted)"
    )


def test_one_failure_of_thirty_is_more_than_one_in_a_hundred() -> None:
    attained = attain(WANTED, standing_of(Tally(succeeded=29, failed=1), age=DAY / 24), NOW)
    assert attained.budget == pytest.approx(1 - 1 / 0.3)
    assert not attained.is_attained
    assert "error budget spent" in attained.words


def test_what_lies_further_back_does_not_count() -> None:
    standing = standing_of(Tally(failed=1), day=30 * DAY)
    assert attain(WANTED, standing, NOW).rate is None
    assert attain(WANTED, standing, NOW).words.startswith("no runs in 30 days (99% wanted)")
    assert attain(WANTED, standing_of(Tally(failed=1), day=29 * DAY), NOW).rate == 0


def test_a_success_that_is_too_old_is_stale() -> None:
    for age, is_stale in ((timedelta(hours=26), False), (timedelta(hours=27), True), (-DAY, False)):
        attained = attain(Objective(fresh=timedelta(hours=26)), standing_of(Tally(), age=age), NOW)
        assert (attained.is_stale, attained.is_attained) == (is_stale, not is_stale)


def test_a_task_that_never_ran_has_lost_nothing() -> None:
    attained = attain(WANTED, None, NOW)
    assert (attained.rate, attained.budget, attained.is_attained) == (None, None, True)
    assert "never succeeded" in attained.words


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.floats(0.001, 0.999))
def test_the_objective_is_attained_exactly_while_the_budget_lasts(good: int, bad: int, success: float) -> None:
    attained = attain(Objective(success=success), standing_of(Tally(succeeded=good, failed=bad)), NOW)
    if good + bad == 0:
        assert attained.budget is None
    else:
        assert attained.budget is not None
        assert attained.budget <= 1
        assert attained.budget == pytest.approx((good / (good + bad) - success) / (1 - success), abs=1e-9)


@pytest.mark.parametrize(
    ("part", "shown"), [(1.0, "100%"), (0.9999, "99.9%"), (0.29, "29%"), (0.995, "99.5%"), (0.0, "0%")]
)
def test_a_percentage_is_never_rounded_up(part: float, shown: str) -> None:
    assert percent(part) == shown
