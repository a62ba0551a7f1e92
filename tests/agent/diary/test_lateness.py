"""The overview says what is late, missed or slow and what comes next, and calendars are told of the coming slots."""

from datetime import UTC, datetime, timedelta
from typing import Any

import icalendar
import pytest
from django.utils import timezone

from rota.core.agenda import Series, write_agenda
from rota.diary import tokens
from rota.diary.models import Host, TaskStanding
from tests.agent.diary.conftest import Cast, Shipper, visitor
from tests.agent.diary.records import catalogue, definition, run, running, timing
from tests.agent.diary.test_pages import text_of

pytestmark = pytest.mark.each_engine

BEGIN = datetime(2026, 11, 29, tzinfo=UTC)


def ago(minutes: float) -> str:
    return (timezone.now() - timedelta(minutes=minutes)).isoformat()


def section(page: str, name: str) -> str:
    return page.partition(f'<section aria-labelledby="{name}">')[2].partition("</section>")[0]


def estate(production: Shipper) -> None:
    """A task that is late and one that is not yet, one missed, one slow, one that is waited for, one usual."""
    every_minute = definition(timing=timing(schedule=["*:*"]))
    names = ("late_one", "busy_one", "missed_one", "slow_one", "usual_one")
    tasks = {name: definition(timing=timing(schedule=["Mon 02:30", "Thu 02:30"])) for name in names}
    tasks |= {"late_one": every_minute, "busy_one": every_minute, "patient_one": definition(timing=timing(every=600))}
    production.ship(catalogue(at=ago(30), tasks=tasks))
    skipped = {"status": "skipped", "reason": "never started: masked", "exit_code": None, "duration": None}
    good = [
        run(task=task, slot=None, started=ago(90 + n), ended=ago(89 + n), duration=20.0 + n)
        for task in ("slow_one", "usual_one", "patient_one")
        for n in range(6)
    ]
    production.ship(
        *good,
        run(task="missed_one", slot=ago(20), started=ago(20), ended=ago(20), **skipped),
        running(task="slow_one", slot=None, started=ago(3)),
        running(task="usual_one", slot=None, started=ago(1)),
        running(task="busy_one", slot=None, started=ago(29), trigger="path"),
    )


def test_the_overview_shows_what_is_late_missed_or_slow(
    cast: Cast, production: Shipper, django_assert_max_num_queries: Any
) -> None:
    estate(production)
    viewer = cast.viewer
    with django_assert_max_num_queries(15):
        page = text_of(viewer, "/")
    shown = section(page, "troubles")
    for kind, task, why in (
        ("late", "late_one", "has not begun"),
        ("late", "patient_one", "has not begun"),
        ("missed", "missed_one", "never started: masked"),
        ("slow", "slow_one", "usually takes 22 s"),
    ):
        row = next(row for row in shown.split("<tr>") if f">{task}</a>" in row)
        assert f'class="status {kind}"' in row
        assert why in row
    assert "usual_one" not in shown
    assert "busy_one" not in shown
    assert "missed_one" in section(page, "due")
    assert "late_one" not in section(page, "due")
    (row,) = [row for row in text_of(viewer, "/tasks/").split("<tr>") if ">late_one</a>" in row]
    assert 'class="status late"' in row


def test_tasks_of_a_silent_host_are_late_together(cast: Cast, production: Shipper) -> None:
    estate(production)
    Host.objects.update(last_contact=timezone.now() - timedelta(hours=2))
    shown = section(text_of(cast.viewer, "/"), "troubles")
    assert ">2 tasks</a>" in shown
    assert "the host is silent" in shown
    assert "late_one" not in shown
    assert "missed_one" in shown


def test_a_calendar_has_the_coming_slots(cast: Cast, production: Shipper) -> None:
    estate(production)
    client = visitor()
    client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {tokens.make(cast.people['viewer'], 'my calendar')}"
    for address, tasks in (
        ("/slots.ics", 4),
        ("/slots.ics?host=production&task=slow_one", 1),
        ("/slots.ics?host=x", 0),
    ):
        response = client.get(address)
        assert response.headers["Content-Type"] == "text/calendar; charset=utf-8"
        events = icalendar.Calendar.from_ical(response.content).walk("VEVENT")
        assert len({str(event["URL"]) for event in events}) == tasks
        assert len({str(event["UID"]) for event in events}) == len(events) <= 10 * tasks
        assert all(event.start > timezone.now() and event["DTSTAMP"] for event in events)
    assert client.get("/slots.ics?hots=production").status_code == 400
    coming = TaskStanding.objects.get(task="slow_one").coming
    (first, *_) = icalendar.Calendar.from_ical(client.get("/slots.ics?task=slow_one").content).walk("VEVENT")
    assert (first.start.timestamp(), first.duration) == (coming[0], timedelta(minutes=1))
    assert str(first["SUMMARY"]) == "slow_one · production"


def test_who_has_the_calendar_already_is_told_so_until_a_slot_is_another(
    cast: Cast, production: Shipper, monkeypatch: pytest.MonkeyPatch
) -> None:
    estate(production)
    client, address = visitor(), "/slots.ics?task=slow_one"
    client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {tokens.make(cast.people['viewer'], 'my calendar')}"
    first = client.get(address)
    tag = first.headers["ETag"]

    def ask() -> int:
        response = client.get(address, HTTP_IF_NONE_MATCH=tag)
        assert response.headers["ETag"] == tag or response.status_code == 200
        return int(response.status_code)

    later = timezone.now() + timedelta(seconds=1)
    monkeypatch.setattr(timezone, "now", lambda: later)
    assert ask() == 304
    assert client.get("/slots.ics").headers["ETag"] != tag
    row = TaskStanding.objects.get(task="slow_one")
    for change in ({"coming": row.coming[1:]}, {"median": 4711.0}):
        TaskStanding.objects.filter(pk=row.pk).update(**change)
        assert ask() == 200
        tag = client.get(address).headers["ETag"]
    later = timezone.now() + timedelta(days=8)
    assert ask() == 200, "some of them have passed"


@pytest.mark.parametrize("text", ["a, b; c \\n\\ d", "ä" * 200, "two\nlines", "𝄞" * 60, "x" * 67, "x" * 68, ""])
def test_any_text_is_read_from_a_calendar_as_it_was_written(text: str) -> None:
    hour = timedelta(hours=1)
    series = Series(name="one", begins=[BEGIN], length=hour, summary=text, description=text, url="https://x/")
    written = write_agenda("Rota", [series], now=BEGIN, refresh=hour)
    assert all(len(line.encode()) <= 75 for line in written.split("\r\n"))
    assert "\n" not in written.replace("\r\n", "")
    (event,) = icalendar.Calendar.from_ical(written).walk("VEVENT")
    assert str(event["SUMMARY"]) == text
