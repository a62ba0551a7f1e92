"""The diary is told of a host's catalogue whenever it has changed, and not more often than once a day else."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rota.adapters.calendars import UnreadCalendar
from rota.adapters.cataloguing import record_of, release_at, tell_catalogue
from rota.adapters.spool import Spool
from rota.catalogue import discover, load
from rota.core.catalogue import Agent, Catalogue
from rota.core.definition import definition_of, parameter_of
from rota.core.pause import Pause
from rota.core.record import CatalogueRecord, Unit, as_mapping, parse_record
from rota.core.schedule import schedule_of
from rota.core.status import Environment
from rota.core.task import Task
from rota.core.timing import task_of, timing_of

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


def test_a_catalogue_is_told_anew_when_a_unit_is_another(spool: Spool) -> None:
    one = {"back_up": Unit(hash="0123456789ab", exposure=1.5, hardening=("ProtectSystem=strict",))}
    other = {"back_up": Unit(hash="ba9876543210", exposure=1.5, hardening=("ProtectSystem=full",))}
    for units, is_new in ((one, True), (one, False), (other, True), ({}, True)):
        assert tell_catalogue(spool, catalogue_of(BACKUP), {}, "one", NOW, units=units) is is_new
    assert [record.tasks["back_up"].unit for record in told(spool)] == [one["back_up"], other["back_up"], None]


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


def test_a_task_that_was_told_is_planned_as_on_its_host(tmp_path: Path) -> None:
    holidays = tmp_path / "holidays.ics"
    holidays.write_text(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VEVENT\r\nUID:1\r\nSUMMARY:Bridge\r\n"
        "DTSTAMP:20250101T000000Z\r\nDTSTART;VALUE=DATE:20250801\r\nDTEND;VALUE=DATE:20250803\r\nEND:VEVENT\r\n"
        "BEGIN:VEVENT\r\nUID:2\r\nSUMMARY:Strike\r\nDTSTAMP:20250101T000000Z\r\nDTSTART:20250720T003000Z\r\n"
        "DURATION:PT2H\r\nRRULE:FREQ=WEEKLY;COUNT=3\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )
    (tmp_path / "tasks.yml").write_text(
        "tasks:\n  export:\n    command: [/bin/true]\n    description: Export\n    schedule: ['02:30', 'Mon 12:00']\n"
        "    zone: Europe/Zurich\n    dst: both\n    catch_up: none\n    only: ['Mon..Sat', '2025-07-27']\n"
        f"    except: ['07-22', {holidays}]\n    spread: 5min\n    objective: {{success: 99%, fresh: 26h}}\n"
        "  elsewhere:\n    command: [/bin/true]\n    description: Elsewhere\n    schedule: '02:30'\n    zone: UTC\n"
        "    catch_up: none\n    environments: [production]\n"
    )
    catalogue = load(tmp_path, host="here", environment="staging", python=["python"], packs=discover())
    record = parse_record(json.loads(json.dumps(as_mapping(record_of(catalogue, {}, "", NOW)))))
    assert isinstance(record, CatalogueRecord)
    export, timing = catalogue.task("export"), record.tasks["export"].timing
    assert timing
    told = task_of("export", timing)
    assert told
    assert (told.spread, told.objective) == (export.spread, export.objective)
    slots = [
        [(slot.moment, bool(slot.barred)) for slot in schedule.slots(NOW, NOW + timedelta(days=40))]
        for schedule in (schedule_of(told), schedule_of(export))
        if schedule
    ]
    assert slots[0] == slots[1]
    assert sum(barred for _, barred in slots[0]) == 8
    assert record.tasks["elsewhere"].timing == replace(
        timing, schedule=(), zone="UTC", dst="", only=(), excepted=(), spread=0, objective=None
    )
    by_hand = record_of(catalogue, {}, "", NOW, has_timers=False)
    assert [each.timing for each in by_hand.tasks.values()] == [None, None]


def test_only_an_empty_calendar_leaves_no_slot_of_a_task() -> None:
    only = UnreadCalendar(Path("/etc/rota/opening.ics"))
    told = task_of("back_up", timing_of(replace(BACKUP, only=(only,)), Environment.STAGING, NOW))
    schedule = told and schedule_of(told)
    assert schedule
    assert all(slot.barred for slot in schedule.slots(NOW, NOW + timedelta(days=9)))


def test_words_of_a_newer_host_are_no_task() -> None:
    timing = timing_of(BACKUP, Environment.STAGING, NOW)
    for words in ({"schedule": ("when the moon is full",)}, {"dst": "thrice"}, {"only": ("at dusk",)}):
        assert task_of("back_up", replace(timing, **words)) is None


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
