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


HALF_WAY = """
import sys
from rota import cli, units
from rota.adapters import unit_files
def end(*_):
    sys.exit(9)
if sys.argv[1] == "before the reload":
    write, written = units.write_units, []
    units.write_units = lambda changes: (write(list(changes)), written.append(1), len(written) == 2 and end())
else:
    unit_files.stop = lambda names, stop=unit_files.stop: (stop(names), end())
sys.argv[1:] = ["sync"]
cli.main()
"""


@pytest.mark.parametrize("where", ["after the stop", "before the reload"])
def test_a_sync_that_ends_half_way_is_finished_by_the_next(host: AgentHost, where: str) -> None:
    """`rota sync` is killed between two of its steps | the next one finishes its work, and nothing is started"""
    host.declare(late=LATE | {"schedule": "23:59"})
    host.do("sed", "-i", "s/23:59/23:58/", "/etc/rota/zz-test.yml")
    assert host.do("/opt/rota/current/venv/bin/python", "-c", HALF_WAY, where, check=False).returncode == 9
    host.do("rota", "sync")
    assert property_of(host, "rota-task-late.timer", "ActiveState") == "active"
    assert "23:58:00" in property_of(host, "rota-task-late.timer", "NextElapseUSecRealtime")
    assert host.runs("late") == []
    assert json.loads(host.do("rota", "sync", "--json").stdout)["changed"] is False


def test_a_timer_that_was_stopped_is_started_and_a_masked_unit_and_a_drop_in_stay(host: AgentHost) -> None:
    host.declare(late=LATE | {"schedule": "23:59"})
    host.do("mkdir", f"{UNITS}/rota-task-late.service.d")
    host.do("tee", f"{UNITS}/rota-task-late.service.d/ours.conf", input="[Service]\nNice=7\n")
    try:
        host.do("systemctl", "daemon-reload")
        host.do("systemctl", "stop", "rota-task-late.timer")
        assert host.do("rota", "sync", "--check").stdout == "start rota-task-late.timer\n"
        host.do("rota", "sync")
        assert property_of(host, "rota-task-late.timer", "ActiveState") == "active"
        assert property_of(host, "rota-task-late.service", "Nice") == "7"
        host.do("ln", "-sf", "/dev/null", f"{UNITS}/rota-task-late.service")
        assert json.loads(host.do("rota", "sync", "--json").stdout)["changed"] is False
        assert "is masked" in host.do("rota", "run", "late", check=False).stderr
        assert host.runs("late") == []
    finally:
        host.do("rm", "-rf", f"{UNITS}/rota-task-late.service.d", f"{UNITS}/rota-task-late.service")


def test_a_task_that_failed_and_is_removed_is_not_listed_as_failed(host: AgentHost) -> None:
    host.declare(late=LATE | {"schedule": "23:59", "command": ["/bin/false"]})
    host.do("rota", "run", "late", check=False)
    assert "rota-task-late" in host.do("systemctl", "--failed", "--plain", "--no-legend").stdout
    host.do("rm", "/etc/rota/zz-test.yml")
    host.do("rota", "sync")
    assert "rota-task-late" not in host.do("systemctl", "--failed", "--plain", "--no-legend").stdout


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
