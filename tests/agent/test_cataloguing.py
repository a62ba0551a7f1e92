"""The diary is told of a host's catalogue whenever it has changed, and not more often than once a day else."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rota.adapters.cataloguing import release_at, tell_catalogue
from rota.adapters.spool import Spool
from rota.catalogue import discover, load
from rota.core.catalogue import Agent, Catalogue
from rota.core.definition import definition_of, parameter_of
from rota.core.pause import Pause
from rota.core.record import CatalogueRecord
from rota.core.status import Environment
from rota.core.task import Task

NOW = datetime(2025, 7, 14, 12, tzinfo=UTC)
BACKUP = Task(name="back_up", description="Back up", command=("/bin/true",), schedule=("02:30",), zone="UTC")
PAUSE = Pause(since=NOW, until=NOW + timedelta(days=2), by="anna", reason="moving house")


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    made = Spool(tmp_path / "spool", tmp_path / "spare")
    made.make()
    return made


def catalogue_of(*tasks: Task, asking: bool = False) -> Catalogue:
    agent = Agent(host="here", environment=Environment.STAGING, asking=asking)
    return Catalogue(agent=agent, tasks={task.name: task for task in tasks})


def told(spool: Spool) -> list[CatalogueRecord]:
    return [record for record in spool.records("done") if isinstance(record, CatalogueRecord)]


def test_a_catalogue_is_told_when_anything_of_it_changed_and_once_a_day(spool: Spool) -> None:
    quick = replace(BACKUP, timeout=timedelta(minutes=1))
    steps = [
        (catalogue_of(BACKUP), {}, "one", NOW, True),
        (catalogue_of(BACKUP), {}, "one", NOW + timedelta(hours=1), False),
        (catalogue_of(quick), {}, "one", NOW, True),
        (catalogue_of(quick), {"back_up": PAUSE}, "one", NOW, True),
        (catalogue_of(quick), {"back_up": PAUSE}, "one", NOW, False),
        (catalogue_of(quick), {"back_up": PAUSE}, "two", NOW, True),
        (catalogue_of(quick, asking=True), {"back_up": PAUSE}, "two", NOW, True),
        (catalogue_of(quick, asking=True), {"back_up": PAUSE}, "two", NOW + timedelta(days=1), True),
        (catalogue_of(quick, asking=True), {"back_up": PAUSE}, "two", NOW + timedelta(days=3), True),
    ]
    for catalogue, pauses, release, now, is_new in steps:
        assert tell_catalogue(spool, catalogue, pauses, release, now) is is_new
    assert [len(record.pauses) for record in told(spool)] == [0, 0, 1, 1, 1, 1, 0], "one that is over is none"


def test_a_definition_says_what_is_not_as_rota_has_it(tmp_path: Path) -> None:
    (tmp_path / "tasks.yml").write_text(
        "tasks:\n  export:\n    command: [/bin/echo, 'two words']\n    description: Export\n    schedule: '02:30'\n"
        "    zone: UTC\n    catch_up: none\n    except: ['12-25']\n    items: [books]\n    expect: {rows: '>0'}\n"
        "    parameters: {since: {type: date, meaning: From when}, sizes: {type: whole, many: true, default: [1, 2]}}\n"
    )
    task = load(tmp_path, host="here", environment="staging", python=["python"], packs=discover()).task("export")
    said = definition_of(task)
    assert said.fields["except"] == "12-25"
    assert said.fields["expect"] == "rows >0"
    assert "timeout" not in said.fields
    assert [parameter_of(each) for each in said.parameters] == [
        replace(each, default=["1", "2"]) if each.name == "sizes" else each for each in task.all_parameters
    ]


@pytest.mark.parametrize(
    ("task", "may"),
    [
        (BACKUP, True),
        (replace(BACKUP, asking=False), False),
        (replace(BACKUP, schedule=()), False),
        (replace(BACKUP, schedule=(), every=timedelta(hours=1)), True),
        (replace(BACKUP, schedule=(), asking=True), True),
    ],
)
def test_what_runs_by_itself_may_be_asked_for_unless_it_says_otherwise(task: Task, may: bool) -> None:
    assert definition_of(task).is_asked is may


def test_the_release_is_what_the_link_leads_to(tmp_path: Path) -> None:
    assert release_at(tmp_path / "current") == ""
    (tmp_path / "current").symlink_to(tmp_path / "releases" / "20250713T120000Z-0123456789ab")
    assert release_at(tmp_path / "current") == "20250713T120000Z-0123456789ab"
