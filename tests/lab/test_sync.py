"""`rota sync` under real systemd: what it changes, what it leaves alone, and that it starts nothing."""

import json
from collections.abc import Iterator

import pytest

from provision import lab as labs
from tests.lab.agent_host import AgentHost

pytestmark = pytest.mark.lab

UNITS = "/etc/systemd/system"
LATE = {"description": "Run late", "command": ["/bin/true"], "zone": "UTC", "catch_up": "latest"}
EMPTY = {
    "description": "Empty a folder",
    "command": ["/bin/sh", "-c", 'for file in /srv/in/*; do echo "$file" >> $STATE_DIRECTORY/seen; rm "$file"; done'],
    "watch": ["/srv/in"],
    "write": ["/srv/in"],
    "state": True,
}


@pytest.fixture
def host(deployed: labs.Lab) -> Iterator[AgentHost]:
    host = AgentHost(deployed, "development")
    yield host
    host.clear()
    host.do("rm", "-rf", "/srv/in", "/var/lib/rota-task", "/var/lib/private/rota-task")


def listing(host: AgentHost, *, but: str) -> list[str]:
    """Every file and link of systemd's folder with its time and inode, but those whose name holds this word."""
    found = host.do("find", UNITS, "-not", "-type", "d", "-printf", "%p %T@ %i\\n").stdout.splitlines()
    return sorted(line for line in found if but not in line)


def seconds_of(host: AgentHost) -> int:
    return int(host.do("date", "+%s").stdout)


def property_of(host: AgentHost, unit: str, name: str) -> str:
    answer: str = host.do("systemctl", "show", "--value", "-p", name, unit).stdout
    return answer.strip()


def test_a_schedule_moved_to_an_earlier_time_today_fires_nothing(host: AgentHost) -> None:
    """a schedule is moved to a time that has passed today | nothing is started"""
    before = host.runs("late")
    host.declare(late=LATE | {"schedule": "*-*-* 23:59:00"})
    started = seconds_of(host)
    host.wait(lambda: seconds_of(host) > started + 2)
    passed = host.do("date", "-u", "-d", "-1 sec", "+%H:%M:%S").stdout.strip()
    host.declare(late=LATE | {"schedule": f"*-*-* {passed}"})
    assert property_of(host, "rota-task-late.timer", "ActiveState") == "active"
    assert passed in property_of(host, "rota-task-late.timer", "NextElapseUSecRealtime")
    assert property_of(host, "rota-task-late.timer", "LastTriggerUSec") in ("", "n/a")
    assert property_of(host, "rota-task-late.service", "InactiveEnterTimestamp") == ""
    assert host.runs("late") == before


def test_a_second_sync_changes_nothing_and_a_check_never_does(host: AgentHost) -> None:
    host.declare(late=LATE | {"schedule": "23:59"})
    before = listing(host, but="?")
    assert json.loads(host.do("rota", "sync", "--json").stdout)["changed"] is False
    host.do("sed", "-i", "s/23:59/23:58/", "/etc/rota/zz-test.yml")
    answer = json.loads(host.do("rota", "sync", "--check", "--diff", "--json").stdout)
    assert answer["units"] == [{"unit": "rota-task-late.timer", "action": "change"}]
    assert "-OnCalendar=23:59 UTC\n+OnCalendar=23:58 UTC\n" in answer["diff"]
    assert listing(host, but="?") == before


def test_a_task_that_is_removed_is_gone_and_nothing_else_is_touched(host: AgentHost) -> None:
    before = listing(host, but="?")
    host.declare(late=LATE | {"schedule": "23:59"})
    assert listing(host, but="rota-task-late") == before
    host.do("rm", "/etc/rota/zz-test.yml")
    host.do("rota", "sync")
    assert listing(host, but="?") == before
    assert property_of(host, "rota-task-late.timer", "ActiveState") == "inactive"


def test_what_is_dropped_into_a_watched_folder_is_worked_on_each_time(host: AgentHost) -> None:
    """By a user made for the run, with a folder that outlives it."""
    host.do("install", "-d", "-m", "0777", "/srv/in")
    host.declare(empty=EMPTY)
    for name in ("one", "two"):
        host.do("touch", f"/srv/in/{name}")
        host.wait(lambda: host.do("ls", "/srv/in").stdout == "")
    seen = host.do("cat", "/var/lib/rota-task/empty/seen").stdout
    assert seen == "/srv/in/one\n/srv/in/two\n"
    host.wait(lambda: [run["status"] for run in host.runs("empty")] == ["succeeded"] * 2)
    assert {run["trigger"] for run in host.runs("empty")} == {"path"}


def test_a_task_that_has_to_be_fresh_runs_when_it_is_not(host: AgentHost) -> None:
    host.declare(fresh={"description": "Stay fresh", "command": ["/bin/true"], "every": "6h"})
    for _ in range(2):
        host.do("systemctl", "start", "rota-task-fresh.service")
        assert [run["status"] for run in host.runs("fresh")] == ["succeeded"]
    assert property_of(host, "rota-task-fresh.timer", "ActiveState") == "active"
