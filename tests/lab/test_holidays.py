"""A calendar of holidays on a real host: as documented it comes with a provisioning and a deploy, and then holds."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from provision import lab as labs
from provision.ansible import run_playbook
from provision.inventory import Inventory
from tests.lab.agent_host import AgentHost
from tests.lab.conftest import Fab

pytestmark = pytest.mark.lab

# As Outlook exports it: a zone of its own name with its rules, a day, a series with a day left out and one called off.
CALENDAR = """BEGIN:VCALENDAR
PRODID:-//Microsoft Corporation//Outlook 16.0 MIMEDIR//EN
VERSION:2.0
METHOD:PUBLISH
X-MS-OLK-FORCEINSPECTOROPEN:TRUE
BEGIN:VTIMEZONE
TZID:W. Europe Standard Time
BEGIN:STANDARD
DTSTART:16011028T030000
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:16010325T020000
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
END:DAYLIGHT
END:VTIMEZONE
BEGIN:VEVENT
CLASS:PUBLIC
DTSTAMP:20250101T000000Z
DTSTART;VALUE=DATE:{holiday:%Y%m%d}
DTEND;VALUE=DATE:{after:%Y%m%d}
SUMMARY;LANGUAGE=de:Betriebsferien
TRANSP:TRANSPARENT
UID:040000008200E00074C5B7101A82E008
X-MICROSOFT-CDO-ALLDAYEVENT:TRUE
END:VEVENT
BEGIN:VEVENT
DTSTAMP:20250101T000000Z
DTSTART;TZID=W. Europe Standard Time:20270104T080000
DTEND;TZID=W. Europe Standard Time:20270104T120000
RRULE:FREQ=WEEKLY;BYDAY=MO
EXDATE;TZID=W. Europe Standard Time:20270111T080000
SUMMARY:Stocktaking
UID:040000008200E00074C5B7101A82E009
END:VEVENT
END:VCALENDAR
"""
BY_DAY = {
    "description": "Run by day",
    "command": ["/bin/true"],
    "schedule": "09:30",
    "zone": "Europe/Zurich",
    "catch_up": "none",
    "except": "/etc/rota/holidays.ics",
}


@pytest.fixture
def host(deployed: labs.Lab, inventory: Inventory, fab: Fab) -> Iterator[AgentHost]:
    host = AgentHost(deployed, "staging")
    yield host
    host.clear()
    assert run_playbook(inventory, "site", ["staging"], tags=["agent"]) == 0
    fab("staging", "deploy", "--dirty")


def provision_with(inventory: Inventory, holiday: datetime) -> None:
    calendar = CALENDAR.format(holiday=holiday, after=holiday + timedelta(days=1)).replace("\n", "\r\n")
    extra = {"agent_holidays": calendar, "agent_tasks": {"by_day": BY_DAY}}
    assert run_playbook(inventory, "site", ["staging"], extra=extra, tags=["agent"]) == 0


def planned(host: AgentHost, *words: str) -> dict[str, str]:
    """What the host has planned for each day, as the runner will find it."""
    shown: list[dict[str, Any]] = json.loads(host.do("rota", "plan", "by_day", "--json", *words).stdout)
    reasons = {line["slot"][:10]: line["reason"] for line in shown}
    text = host.do("cat", "/var/lib/rota/plan/by_day").stdout
    lines = (line.partition(" ") for line in text.splitlines() if not line.startswith("#"))
    stored = {f"{datetime.fromtimestamp(int(digits), UTC):%Y-%m-%d}": reason for digits, _, reason in lines}
    assert {day: stored[day] for day in reasons if day in stored} == {
        day: reasons[day] for day in reasons if day in stored
    }
    return reasons


def test_the_holidays_of_group_vars_hold_after_the_next_deploy_and_change_with_them(
    host: AgentHost, inventory: Inventory, fab: Fab
) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    provision_with(inventory, tomorrow)
    told = host.do("rota", "check", check=False)
    assert "by_day: except: /etc/rota/holidays.ics needs the extra `calendars`: on a host" in told.stderr
    assert planned(host, "--days", "3")[f"{tomorrow:%Y-%m-%d}"] == ""
    fab("staging", "deploy", "--dirty")
    assert "excepted: Betriebsferien" in planned(host, "--days", "3")[f"{tomorrow:%Y-%m-%d}"]
    january = planned(host, "--since", "2027-01-01", "--until", "2027-01-20")
    assert [day for day, reason in january.items() if "Stocktaking" in reason] == ["2027-01-04", "2027-01-18"]
    later = tomorrow + timedelta(days=1)
    provision_with(inventory, later)
    days = planned(host, "--days", "3")
    assert days[f"{tomorrow:%Y-%m-%d}"] == ""
    assert "excepted: Betriebsferien" in days[f"{later:%Y-%m-%d}"]
