"""Each run is counted once, on its day, where it ended."""

from datetime import UTC, date, datetime, timedelta

import pytest

from rota.diary import tallies
from rota.diary.models import Mark, Tally
from tests.agent.diary.conftest import Shipper
from tests.agent.diary.records import failed, run, running

pytestmark = pytest.mark.each_engine

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def ago(days: float) -> str:
    return (NOW - timedelta(days=days)).isoformat()


def tally() -> dict[tuple[str, str, str], int]:
    return {
        (each.day.isoformat(), each.task, each.status): each.runs
        for each in Tally.objects.order_by("day", "task", "pk")
    }


def test_each_run_is_counted_once_where_it_ended_however_often_it_comes(production: Shipper) -> None:
    start = running(task="one", started=ago(1))
    end = run(id=start["id"], task="one", started=ago(1), duration=4.0)
    for batch in ([start], [end, start], [end], [end, failed(task="one", started=ago(1), duration=2.0)]):
        production.ship(*batch)
    day = ago(1)[:10]
    assert tally() == {(day, "one", "succeeded"): 1, (day, "one", "failed"): 1}
    assert Tally.objects.get(status="succeeded").seconds == 4.0


def test_days_from_before_the_tally_are_counted_once(production: Shipper) -> None:
    production.ship(*(run(started=ago(day)) for day in (1, 1, 2, 5)), running(started=ago(2)), failed(started=ago(5)))
    right = tally()
    Tally.objects.filter(day__lt=date.fromisoformat(ago(1)[:10])).delete()
    Mark.objects.create(name=tallies.UNCOUNTED, value=ago(1)[:10])
    assert tallies.count() == 2
    assert tally() == right
    assert tallies.count() == 0
