"""Laws of calendars in files: which local times their events take."""

import sys
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from rota.adapters.calendars import CalendarUnreadable, read_calendar

ZURICH = ZoneInfo("Europe/Zurich")
HOLIDAYS = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//example//holidays//EN
BEGIN:VEVENT
UID:1@example
DTSTAMP:20250101T000000Z
DTSTART;VALUE=DATE:20251225
DTEND;VALUE=DATE:20251227
RRULE:FREQ=YEARLY
SUMMARY:Christmas
END:VEVENT
BEGIN:VEVENT
UID:2@example
DTSTAMP:20250101T000000Z
DTSTART;TZID=Europe/Zurich:20260105T080000
DTEND;TZID=Europe/Zurich:20260105T120000
RRULE:FREQ=WEEKLY;BYDAY=MO
EXDATE;TZID=Europe/Zurich:20260112T080000
SUMMARY:Stocktaking
END:VEVENT
BEGIN:VEVENT
UID:3@example
DTSTAMP:20250101T000000Z
DTSTART:20260131T220000Z
DURATION:PT4H
END:VEVENT
BEGIN:VEVENT
UID:4@example
DTSTAMP:20250101T000000Z
DTSTART;TZID=Europe/Zurich:20260107T080000
DTEND;TZID=Europe/Zurich:20260107T120000
RRULE:FREQ=WEEKLY;BYDAY=WE
SUMMARY:Rehearsal
END:VEVENT
BEGIN:VEVENT
UID:4@example
DTSTAMP:20250101T000000Z
RECURRENCE-ID;TZID=Europe/Zurich:20260114T080000
DTSTART;TZID=Europe/Zurich:20260114T080000
DTEND;TZID=Europe/Zurich:20260114T120000
STATUS:CANCELLED
SUMMARY:Rehearsal
END:VEVENT
END:VCALENDAR
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "holidays.ics"
    path.write_text(HOLIDAYS.replace("\n", "\r\n"))
    return path


@pytest.mark.parametrize(
    ("local", "expected"),
    [
        ("2026-12-24 23:59", ""),
        ("2026-12-25 00:00", "Christmas (2026-12-25)"),
        ("2031-12-26 23:59", "Christmas (2031-12-25)"),
        ("2031-12-27 00:00", ""),
        ("2026-07-06 08:00", "Stocktaking (2026-07-06)"),
        ("2026-07-06 12:00", ""),
        ("2026-01-12 09:00", ""),
        ("2026-01-21 08:00", "Rehearsal (2026-01-21)"),
        ("2026-01-14 08:00", ""),  # called off
        # Four hours from 22:00 UTC.
        ("2026-01-31 22:59", ""),
        ("2026-01-31 23:00", "an event (2026-01-31)"),
        ("2026-02-01 02:59", "an event (2026-01-31)"),
        ("2026-02-01 03:00", ""),
    ],
)
def test_an_events_time_is_taken_each_time_it_comes_and_not_when_it_is_left_out(
    file: Path, local: str, expected: str
) -> None:
    assert read_calendar(file).around(datetime.fromisoformat(local).replace(tzinfo=ZURICH)) == expected


@pytest.mark.parametrize(
    "content", [b"", b"no calendar", b"BEGIN:VCALENDAR\r\n", b"\xff\xfe", b"BEGIN:VEVENT\r\nEND:VEVENT\r\n"]
)
def test_what_is_no_calendar_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "wrong.ics"
    path.write_bytes(content)
    with pytest.raises(CalendarUnreadable, match=r"wrong\.ics is no calendar \(RFC 5545\): .+"):
        read_calendar(path)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(CalendarUnreadable, match=r"none\.ics: No such file"):
        read_calendar(tmp_path / "none.ics")


def test_without_its_extra_it_says_what_to_add(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "icalendar", None)
    with pytest.raises(CalendarUnreadable, match="needs the extra `calendars`: on a host, .* and deploy"):
        read_calendar(file)
