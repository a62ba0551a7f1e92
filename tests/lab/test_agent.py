"""The agent under real systemd: what units keep from each other, and what every kind of end leaves behind."""

from collections.abc import Iterator

import pytest

from provision import lab as labs
from tests.lab.agent_host import SLEEP, AgentHost
from tests.lab.conftest import ROOT

pytestmark = pytest.mark.lab

HOST = "development"


@pytest.fixture
def host(deployed: labs.Lab) -> Iterator[AgentHost]:
    host = AgentHost(deployed, HOST)
    yield host
    host.clear()


def test_a_run_by_hand_shows_its_output_and_passes_its_exit_code_on(host: AgentHost) -> None:
    host.declare(greet={"description": "Greet", "command": ["/bin/sh", "-c", "echo hello; exit 3"]})
    answer = host.do("rota", "run", "greet", check=False)
    assert (answer.stdout, answer.returncode) == ("hello\n", 3)
    run = host.runs("greet")[0]
    assert (run["trigger"], run["reason"], run["invocation_id"] != "") == ("manual", "exit 3", True)


def test_a_task_can_neither_list_nor_read_nor_change_the_records_of_others(host: AgentHost) -> None:
    pry = (
        "cd /var/lib/rota/spool; ls done && exit 1; for file in $0; do cat $file && exit 2; rm $file && exit 3; "
        "mv $file tmp/ && exit 4; done; touch /etc/x && exit 5; cat /etc/rota/credentials/* && exit 6; "
        "test -e /var/lib/rota/lock/first.lock && exit 7; touch /var/lib/rota/lock/x && exit 8; "
        "test -e /var/lib/rota/lock/second.lock || exit 9; exit 0"
    )
    host.declare(
        first={"description": "Leave a record", "command": ["/bin/echo", "mine"]},
        second={"description": "Pry", "command": ["/bin/sh", "-c", pry, "FILES"]},
    )
    host.do("rota", "run", "first")
    run = host.runs("first")[0]
    files = " ".join(f"{folder}/{run['id']}.json" for folder in ("done", "sent")) + f" output/{run['id']}"
    host.declare(
        first={"description": "Leave a record", "command": ["/bin/echo", "mine"]},
        second={"description": "Pry", "command": ["/bin/sh", "-c", pry, files]},
    )
    assert host.do("rota", "run", "second", check=False).returncode == 0
    assert host.do("rota", "show", run["id"], "--log").stdout == "mine\n"


def test_a_schedule_moved_to_an_earlier_time_today_fires_nothing(host: AgentHost) -> None:
    late = {"description": "Run late", "command": ["/bin/true"], "zone": "UTC", "catch_up": "latest"}
    before = host.runs("late")
    host.declare(late=late | {"schedule": "*-*-* 23:59:00"})
    past = host.do("date", "-u", "-d", "-2 min", "+%H:%M:00").stdout.strip()
    host.declare(late=late | {"schedule": f"*-*-* {past}"})
    shown = host.do(
        "systemctl", "show", "-p", "ActiveState", "-p", "NextElapseUSecRealtime", "rota-task-late.timer"
    ).stdout
    assert "ActiveState=active" in shown
    assert host.runs("late") == before


def test_a_timer_fires_and_its_slot_is_told(host: AgentHost) -> None:
    host.declare(often=SLEEP | {"command": ["/bin/true"], "schedule": "*:*:0/5 UTC", "catch_up": "latest"})
    host.wait(lambda: len(host.runs("often")) > 0)
    run = host.runs("often")[-1]
    assert run["trigger"] == "timer"
    assert int(run["slot"][17:19]) % 5 == 0


def test_a_killed_runner_is_lost_and_its_work_ends_with_it(host: AgentHost) -> None:
    host.declare(sleeper=SLEEP)
    host.start("sleeper")
    host.do("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "rota-task-sleeper.service")
    host.wait(lambda: host.do("systemctl", "is-active", "rota-task-sleeper", check=False).stdout.strip() == "failed")
    host.do("systemctl", "start", "rota-reconcile.service")
    run = host.runs("sleeper")[0]
    assert (run["status"], run["reason"]) == ("lost", "runner was killed")


def test_a_power_cut_and_a_stop_are_told_apart(host: AgentHost) -> None:
    host.declare(sleeper=SLEEP)
    host.start("sleeper")
    # Frozen first: the lab's processes end one by one, and the runner could still see its child end.
    host.do("systemctl", "kill", "--kill-whom=main", "--signal=STOP", "rota-task-sleeper.service")
    labs.kill(ROOT, HOST, host.lab.plan.inventory)
    labs.boot(ROOT, HOST, host.lab.plan.inventory)
    host.wait(lambda: host.runs("sleeper")[0]["status"] == "lost", seconds=120)
    assert host.runs("sleeper")[0]["reason"] == "host went down"
    host.start("sleeper")
    host.do("systemctl", "stop", "rota-task-sleeper.service")
    assert host.runs("sleeper")[0]["reason"] == "stopped"


def test_records_reach_the_diary_by_themselves(host: AgentHost) -> None:
    host.declare(greet={"description": "Greet", "command": ["/bin/echo", "hello"]})
    host.do("rota", "run", "greet")
    run = host.runs("greet")[0]
    host.wait(lambda: host.do("test", "-e", f"/var/lib/rota/spool/sent/{run['id']}.json", check=False).returncode == 0)
