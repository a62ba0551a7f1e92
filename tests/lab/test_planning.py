"""Slots on a real host: the record that each leaves when it ran, and when it did not."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from provision import lab as labs
from tests.lab.agent_host import AgentHost
from tests.lab.conftest import ROOT

pytestmark = pytest.mark.lab

HOST = "development"
LATER = """
import socket, time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from rota import planning
from rota.cli.finding import find_catalogue
from rota.core import places
here = places.on_host()
planning.account(planning.Accounting(
    places=here, catalogue=find_catalogue(here), boot=planning.read_boot(), is_live=True,
    now=datetime.now(UTC) + timedelta(minutes=3), uptime=time.clock_gettime(time.CLOCK_BOOTTIME) + 180,
))
"""


@pytest.fixture
def host(deployed: labs.Lab) -> Iterator[AgentHost]:
    host = AgentHost(deployed, HOST)
    yield host
    host.do("rm", "-f", "/var/lib/rota/plan/.look")
    host.clear()


def in_seconds(*seconds: int) -> list[datetime]:
    now = datetime.now(UTC).replace(microsecond=0)
    return [now + timedelta(seconds=each) for each in seconds]


def planned(moments: Sequence[datetime], work: str = "true", **fields: Any) -> dict[str, Any]:
    """A task at just these moments."""
    schedule = [f"{moment:%Y-%m-%d %H:%M:%S}" for moment in moments]
    return {
        "description": "Keep to a plan",
        "command": ["/bin/sh", "-c", work],
        "schedule": schedule,
        "zone": "UTC",
        "catch_up": "none",
    } | fields


def wait_until(host: AgentHost, moment: datetime) -> None:
    host.wait(lambda: datetime.now(UTC) > moment)


def account_later(host: AgentHost) -> None:
    """What the accounting of a few minutes from now does, without the wait."""
    host.do("/opt/rota/current/venv/bin/python", "-c", LATER)


def told(host: AgentHost, task: str) -> list[tuple[datetime, str]]:
    """Each slot of the last minutes with what its one record says; a kept lab remembers those of other tests."""
    recent = datetime.now(UTC) - timedelta(minutes=3)
    found = [
        (datetime.fromisoformat(run["slot"]), (run["reason"] or run["status"]).partition(":")[0])
        for run in host.runs(task)
        if run["slot"] and datetime.fromisoformat(run["slot"]) > recent
    ]
    assert len({slot for slot, _ in found}) == len(found)
    return sorted(found)


def test_slots_that_a_host_missed_while_it_was_down_are_told_or_caught_up(host: AgentHost) -> None:
    """three slots pass while a host is down | as `catch_up` says they run late, or are `skipped`, `host was down`"""
    began, *missed = in_seconds(15, 35, 36, 37)
    host.declare(
        missed_none=planned(missed),
        missed_latest=planned(missed, catch_up="latest"),
        missed_all=planned(missed, catch_up="all"),
        missed_paused=planned(missed, catch_up="all"),
        missed_cut=planned([began, missed[0]], "sleep 600"),
    )
    host.do("rota", "pause", "missed_paused", "--for", "1h", "--reason", "moving house")
    host.wait(lambda: any(run["status"] == "running" for run in host.runs("missed_cut")))
    # Frozen first: the lab's processes end one by one, and the runner could still see its child end.
    host.do("systemctl", "kill", "--kill-whom=main", "--signal=STOP", "rota-task-missed_cut.service")
    labs.kill(ROOT, HOST, host.lab.plan.inventory)
    wait_until(host, missed[-1])
    labs.boot(ROOT, HOST, host.lab.plan.inventory)
    account_later(host)
    down = "host was down"
    assert told(host, "missed_none") == [(slot, down) for slot in missed]
    assert told(host, "missed_paused") == [(slot, "paused") for slot in missed]
    host.wait(lambda: len(told(host, "missed_latest")) == 3)
    assert told(host, "missed_latest") == [*((slot, down) for slot in missed[:2]), (missed[2], "succeeded")]
    host.wait(lambda: [what for _, what in told(host, "missed_all")] == ["succeeded"] * 3)
    runs = [run for run in host.runs("missed_all") if run["trigger"] == "catch_up"][:3]
    assert [datetime.fromisoformat(run["slot"]) for run in reversed(runs)] == missed
    host.do("systemctl", "start", "rota-reconcile.service")
    assert told(host, "missed_cut") == [(began, "host went down"), (missed[0], down)]
    before = {task: host.runs(task) for task in host.declared}
    account_later(host)
    assert {task: host.runs(task) for task in host.declared} == before


def test_what_ran_was_barred_or_had_its_timer_stopped_is_told_apart(host: AgentHost) -> None:
    """a timer is stopped by hand over a slot | `skipped`, `never started: its timer was stopped`"""
    (slot,) = in_seconds(15)
    host.declare(
        plan_fine=planned([slot]),
        plan_excepted=planned([slot], **{"except": [f"{slot:%Y-%m-%d}"]}),
        plan_stopped=planned([slot]),
    )
    host.do("systemctl", "stop", "rota-task-plan_stopped.timer")
    wait_until(host, slot + timedelta(seconds=2))
    host.wait(lambda: bool(host.runs("plan_fine") and host.runs("plan_excepted")))
    account_later(host)
    assert told(host, "plan_fine") == [(slot, "succeeded")]
    assert told(host, "plan_excepted") == [(slot, "excepted")]
    failed = host.do("systemctl", "is-failed", "rota-task-plan_excepted.service", check=False).stdout.strip()
    assert failed == "inactive"
    (run,) = host.runs("plan_stopped")
    assert run["reason"] == "never started: its timer is stopped"
    shown = json.loads(host.do("rota", "plan", "plan_stopped", "--json").stdout)
    assert [(line["status"], line["run"]) for line in shown] == [("skipped", run["id"])]


def test_a_run_asked_for_at_a_time_begins_then_and_once(host: AgentHost) -> None:
    host.declare(
        plan_asked={"description": "Be asked", "command": ["/bin/true"], "parameters": {"word": {"default": "a"}}}
    )
    (moment,) = in_seconds(15)
    words = ("rota", "run", "plan_asked", "--set", "word=b", "--at")
    host.do(*words, f"{moment:%Y-%m-%dT%H:%M:%S}+00:00")
    assert host.do(*words, f"{moment + timedelta(hours=1):%Y-%m-%dT%H:%M:%S}+00:00").returncode == 0
    host.do("rota", "cancel", "plan_asked", "--at", f"{moment + timedelta(hours=1):%Y-%m-%dT%H:%M:%S}+00:00")
    host.wait(lambda: any(run["status"] == "succeeded" for run in host.runs("plan_asked")))
    account_later(host)
    (run,) = host.runs("plan_asked")
    assert (datetime.fromisoformat(run["slot"]), run["trigger"]) == (moment, "manual")
    assert (run["parameters"], run["asked_by"]) == ({"word": "b"}, "root")
    assert host.do("ls", "/var/lib/rota/asked").stdout == ""
