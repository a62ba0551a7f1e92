"""What is old makes room, what people may still need stays, and the counts of each day outlive both."""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from rota.diary import retaining, room, tallies
from rota.diary.configuration import Configuration, ConfigurationError, Database, DiaryKeep, Form, parse
from rota.diary.models import (
    AuditEntry,
    Deploy,
    Host,
    Item,
    Mark,
    Outbound,
    Output,
    Quarantine,
    Review,
    Run,
    Tally,
    Token,
    Words,
)
from rota.diary.retaining import retain
from tests.agent.diary.conftest import TOKEN, Cast, Shipper
from tests.agent.diary.records import caught, deploy, failed, run, running

pytestmark = pytest.mark.each_engine

NOW = datetime(2026, 6, 1, tzinfo=UTC)
KEEP = DiaryKeep(age=timedelta(days=90), failures=timedelta(days=400))


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
    found = parse({"keep": {"age": "30d", "failures": "60d", "size": "5G", "audit": "90d"}}, form=Form.NONE).keep
    assert (found.age, found.failures, found.audit) == tuple(timedelta(days=days) for days in (30, 60, 90))
    assert found.size == 5 * 1024**3
    assert Configuration().keep == KEEP
    for wrong in ({"age": "soon"}, {"age": "500d"}, {"unsent": "1G"}, {"size": "1K"}, {"audit": "1h"}):
        with pytest.raises(ConfigurationError, match=r"diary\.keep"):
            parse({"keep": wrong}, form=Form.NONE)
    assert settings.CONFIGURATION.keep.age == timedelta(days=90)


def test_old_entries_of_the_audit_log_go(cast: Cast, production: Shipper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retaining, "BATCH", 2)
    for number in range(6):
        entry = AuditEntry.objects.create(at=NOW - timedelta(days=735 - 2 * number), action=f"did {number}")
    left()
    assert list(AuditEntry.objects.order_by("pk").values_list("action", flat=True)) == ["did 3", "did 4", "did 5"]
    left(audit=timedelta(days=1))
    assert not AuditEntry.objects.filter(pk=entry.pk).exists()


@pytest.fixture
def disk(
    configured: Database, use_database: Callable[[Database], None], migrated: set[str]
) -> Iterator[Callable[[], int]]:
    """The bytes that the diary's tables take on the disk; what a test writes is there for all, and removed."""
    use_database(configured)
    if configured.name not in migrated:
        call_command("migrate", interactive=False, verbosity=0)
        migrated.add(configured.name)
    room.give_back()  # what other tests wrote and rolled back takes room in PostgreSQL's files
    yield taken
    retaining.remove(list(Run.objects.values_list("pk", flat=True)))
    for table in (Tally, Token, Host):
        table.objects.all().delete()
    room.give_back()


def taken() -> int:
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            return room.number(cursor, "PRAGMA page_count") * room.number(cursor, "PRAGMA page_size")
        return sum(room.number(cursor, f"SELECT pg_total_relation_size('{table}')") for table in room.TABLES)


def test_beyond_the_size_the_oldest_routine_goes_first_what_nobody_handled_never_and_the_disk_shrinks(
    disk: Callable[[], int],
) -> None:
    host = Host.objects.create(name="production", environment="production")
    Token.objects.create(host=host, digest=sha256(TOKEN.encode()).hexdigest())
    noise = random.Random(1)

    def large(kind: Any, days: float, **changes: Any) -> dict[str, Any]:
        lines = "\n".join(noise.randbytes(30).hex() for _ in range(600))
        return kind(started=ago(days), output=lines, **changes)

    Shipper(host).ship(
        large(failed, 80, task="unhandled"),
        large(failed, 79, task="retried", retry_at=ago(79)),
        large(run, 78, task="last_good"),
        running(started=ago(77), task="under_way"),
        *(large(run, 70 - number, task="routine") for number in range(60)),
    )
    before, used = disk(), room.room_used()
    assert 0.5 * used < before < 2 * used, "what is estimated is not far from what there is"
    assert left(size=used // 3) == {"unhandled", "retried", "last_good", "under_way", "routine"}
    routine = Run.objects.filter(task="routine").order_by("started").values_list("started", flat=True)
    assert 5 < len(routine) < 30
    assert routine[0] > datetime.fromisoformat(ago(40)), "the oldest went"
    assert disk() < before * 0.6
    assert room.room_used() <= used // 3
    assert left(size=1) == {"unhandled", "last_good", "under_way", "routine"}
    assert Run.objects.filter(task="routine").count() == 1
    assert retain(replace(KEEP, size=1), now=NOW, tell=lambda done: None).over > 0
