"""What is old makes room, what people may still need stays, and the counts of each day outlive both."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from rota.core.retention import Keep
from rota.diary import retaining, tallies
from rota.diary.configuration import Configuration, ConfigurationError, Form, parse
from rota.diary.models import Deploy, Item, Mark, Outbound, Output, Quarantine, Review, Run, Tally, Words
from rota.diary.retaining import retain
from tests.agent.diary.conftest import Cast, Shipper
from tests.agent.diary.records import caught, deploy, failed, run

NOW = datetime(2026, 6, 1, tzinfo=UTC)
KEEP = Keep(age=timedelta(days=90), failures=timedelta(days=400))


def ago(days: float) -> str:
    return (NOW - timedelta(days=days)).isoformat()


def left(**changes: Any) -> set[str]:
    retain(replace(KEEP, **changes), now=NOW, tell=lambda done: None)
    return set(Run.objects.values_list("task", flat=True))


def test_routine_goes_and_what_somebody_may_need_stays(cast: Cast, production: Shipper) -> None:
    production.ship(
        run(task="old", started=ago(91)),
        run(task="old", started=ago(90.5)),
        run(task="skipped", status="skipped", reason="locked", started=ago(91)),
        run(task="tried", started=ago(91), dry_run=True),
        run(task="young", started=ago(89)),
        run(task="young", started=ago(1)),
        failed(task="failed", started=ago(399)),
        run(task="lost", status="lost", started=ago(200)),
        run(task="doubtful", unexpected=["rows is 0"], started=ago(200)),
        failed(task="long_ago", started=ago(401)),
    )
    reviewed = production.ship(run(task="reviewed", started=ago(300), status="skipped"))[0]["id"]
    cast.reviewer.post(f"/runs/{reviewed}/review", {"state": "done", "summary": "as it should be"})
    assert left() == {"old", "young", "failed", "lost", "doubtful", "reviewed"}
    assert [run.started for run in Run.objects.filter(task="old")] == [datetime.fromisoformat(ago(90.5))], "last good"
    assert Run.objects.filter(task="young").count() == 2


def test_what_belongs_to_a_run_goes_with_it_also_from_the_index(production: Shipper) -> None:
    production.ship(run(task="gone", status="skipped", started=ago(100)), run(task="kept", started=ago(1)))
    assert left() == {"kept"}
    assert (Item.objects.count(), Output.objects.count(), Words.objects.count()) == (1, 1, 1)
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM diary_fts WHERE diary_fts MATCH 'hello'")
            assert cursor.fetchone()[0] == 1
            cursor.execute("INSERT INTO diary_fts (diary_fts, rank) VALUES ('integrity-check', 0)")


def test_reviews_go_with_runs_that_are_older_than_any_is_kept(cast: Cast, production: Shipper) -> None:
    old = production.ship(failed(task="old", started=ago(500)))[0]["id"]
    cast.reviewer.post(f"/runs/{old}/review", {"state": "done", "summary": "the disk"})
    assert left() == set()
    assert not Review.objects.exists()


def test_however_many_there_are_they_go_in_small_batches(production: Shipper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retaining, "BATCH", 3)
    skipped = [run(status="skipped", started=ago(100 + n / 100)) for n in range(10)]
    production.ship(*skipped, *(failed(started=ago(100 + n / 100)) for n in range(10)))
    told: list[int] = []
    retain(KEEP, now=NOW, tell=told.append)
    assert Run.objects.count() == 10
    assert told[-1] == 10
    assert max(second - first for first, second in zip([0, *told], told, strict=False)) <= 3


def test_a_second_retaining_removes_nothing(production: Shipper) -> None:
    production.ship(run(started=ago(100)), failed(started=ago(100)))
    left()
    before = set(Run.objects.values_list("pk", flat=True))
    left()
    assert set(Run.objects.values_list("pk", flat=True)) == before


def test_the_latest_good_deploy_of_a_host_stays_and_what_was_caught_and_bad_records_go(production: Shipper) -> None:
    kept = deploy(started=ago(500), ended=ago(500))
    production.ship(deploy(started=ago(600), ended=ago(600)), kept, {"broken": True})
    production.ship(caught(at=ago(91)), caught(at=ago(89)))
    Quarantine.objects.update(received=NOW - timedelta(days=91))
    assert left() == set()
    assert [str(pk) for pk in Deploy.objects.values_list("pk", flat=True)] == [kept["id"]]
    assert not Quarantine.objects.exists()
    assert Outbound.objects.count() == 1


def tally() -> dict[tuple[str, str, str], int]:
    return {
        (each.day.isoformat(), each.task, each.status): each.runs
        for each in Tally.objects.order_by("day", "task", "pk")
    }


def test_the_tally_holds_when_the_runs_are_gone(production: Shipper) -> None:
    production.ship(run(status="skipped", started=ago(100)), failed(started=ago(500)))
    before = tally()
    left()
    assert not Run.objects.exists()
    assert tally() == before
    assert len(before) == 2


def test_nothing_is_removed_before_it_is_counted(production: Shipper) -> None:
    Mark.objects.create(name=tallies.UNCOUNTED, value="2100-01-01")
    production.ship(run(status="skipped", started=ago(3000)))
    with pytest.raises(CommandError, match="rota-diary index"):
        call_command("retain")
    call_command("index", verbosity=0)
    call_command("retain", verbosity=0)
    assert not Run.objects.exists()


def test_how_long_is_configured() -> None:
    found = parse({"keep": {"age": "30d", "failures": "60d"}}, form=Form.NONE)
    assert (found.keep.age, found.keep.failures) == (timedelta(days=30), timedelta(days=60))
    assert Configuration().keep == KEEP
    for wrong in ({"age": "soon"}, {"age": "500d"}, {"size": "1G"}):
        with pytest.raises(ConfigurationError, match=r"diary\.keep"):
            parse({"keep": wrong}, form=Form.NONE)
    assert settings.CONFIGURATION.keep.age == timedelta(days=90)
