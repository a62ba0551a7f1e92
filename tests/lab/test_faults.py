"""Faults, and the record each must leave; docs/faults.md lists them by these tests' docstrings."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from provision import lab as labs
from tests.lab.agent_host import SLEEP, AgentHost

pytestmark = pytest.mark.lab

HOST = "development"
SPOOL = "/var/lib/rota/spool"
FOLDERS = ("tmp", "running", "done", "sent", "output", "quarantine")


@pytest.fixture
def host(deployed: labs.Lab) -> Iterator[AgentHost]:
    host = AgentHost(deployed, HOST)
    yield host
    host.clear()


def shell(script: str, **fields: Any) -> dict[str, Any]:
    return {"description": "Meet a fault", "command": ["/bin/sh", "-c", script], **fields}


def latest(host: AgentHost, task: str) -> tuple[str, str]:
    run = host.runs(task)[0]
    return run["status"], run["reason"]


def is_over(host: AgentHost, task: str) -> bool:
    shown = host.do("systemctl", "show", "--property=ActiveState", "--value", f"rota-task-{task}.service").stdout
    return shown.strip() in ("inactive", "failed")


def end(host: AgentHost, task: str) -> tuple[str, str]:
    """Wait until the task's unit is over, have the spool reconciled, and say how its latest run ended."""
    host.wait(lambda: is_over(host, task))
    host.do("systemctl", "start", "rota-reconcile.service")
    return latest(host, task)


def start(host: AgentHost, task: str) -> None:
    host.do("systemctl", "start", "--no-block", f"rota-task-{task}.service")


def child(host: AgentHost, task: str, program: str) -> str:
    """The process under the task's runner that runs this program, as soon as there is one."""
    unit = f"rota-task-{task}.service"
    found: list[str] = []

    def is_there() -> bool:
        runner = host.do("systemctl", "show", "--property=MainPID", "--value", unit).stdout.strip()
        rows = [line.split() for line in host.do("ps", "-eo", "pid,ppid,comm", "--no-headers").stdout.splitlines()]
        parents = {pid: parent for pid, parent, *_ in rows}
        found[:] = [pid for pid, _, name in rows if name == program and runner in ancestors(pid, parents)]
        return bool(found)

    host.wait(is_there)
    return found[0]


def ancestors(pid: str, parents: dict[str, str]) -> Iterator[str]:
    while pid in parents:
        pid = parents[pid]
        yield pid


def test_a_killed_runner(host: AgentHost) -> None:
    """`kill -9` of the runner | `lost`, `runner was killed`; the work ends with it"""
    host.declare(sleeper=SLEEP)
    host.start("sleeper")
    host.do("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "rota-task-sleeper.service")
    assert end(host, "sleeper") == ("lost", "runner was killed")


def test_a_killed_child(host: AgentHost) -> None:
    """`kill -9` of the work | `failed`, `signal 9 (KILL)`"""
    host.declare(sleeper=SLEEP)
    start(host, "sleeper")
    host.do("kill", "-9", child(host, "sleeper", "sleep"))
    assert end(host, "sleeper") == ("failed", "signal 9 (KILL)")


def test_a_killed_grandchild(host: AgentHost) -> None:
    """`kill -9` of a process that the work started | what the work makes of it: `failed`, `exit 137`"""
    host.declare(parent=shell("sleep 600; exit $?"))
    start(host, "parent")
    host.do("kill", "-9", child(host, "parent", "sleep"))
    assert end(host, "parent") == ("failed", "exit 137")


def test_a_child_that_ignores_sigterm(host: AgentHost) -> None:
    """work that ignores SIGTERM at its timeout | killed after `grace`; `failed`, `timeout`, signal 9"""
    stubborn = shell("trap '' TERM; while :; do sleep 1; done", timeout="1s", grace="1s")
    host.declare(stubborn=stubborn)
    start(host, "stubborn")
    assert end(host, "stubborn") == ("failed", "timeout")
    assert host.runs("stubborn")[0]["signal"] == 9


def test_leftovers(host: AgentHost) -> None:
    """work that ends and leaves processes behind | `succeeded`, `left processes behind`; none of them lives on"""
    host.declare(parent=shell("sleep 601 & exit 0"))
    start(host, "parent")
    assert end(host, "parent") == ("succeeded", "left processes behind")
    assert host.do("pgrep", "-fx", "sleep 601", check=False).stdout == ""


NEVER = {
    "no_program": ({"command": ["/nowhere/program"]}, "cannot start /nowhere/program: No such file or directory"),
    "no_user": ({"user": "nobody_here"}, "never started: its user does not exist (exit 217)"),
    "no_credential": ({"credentials": ["no_such_key"]}, "never started: a credential is missing (exit 243)"),
    "no_folder": ({"write": ["/srv/nowhere"]}, "never started: a path that it needs is missing (exit 226)"),
    "no_directory": (
        {"service": {"WorkingDirectory": "/nowhere"}},
        "never started: its working directory cannot be entered (exit 200)",
    ),
}


def test_each_way_of_never_starting(host: AgentHost) -> None:
    """a missing program, user, credential, folder, working directory | `failed`, naming which"""
    tasks = {name: shell("true") | fields for name, (fields, _) in NEVER.items()}
    host.declare(**tasks)
    for name in tasks:
        start(host, name)
    for name, (_, reason) in NEVER.items():
        host.wait(lambda name=name: bool(host.runs(name)))  # type: ignore[misc]  # a default binds the loop's value
        assert (name, *latest(host, name)) == (name, "failed", reason)


def test_a_lock_holder_is_killed(host: AgentHost) -> None:
    """the runner that holds a lock is killed | the next task of the lock runs at once; the first is `lost`"""
    host.declare(holder=SLEEP | {"lock": "shared"}, waiter=shell("true", lock="shared"))
    host.start("holder")
    start(host, "waiter")
    assert end(host, "waiter") == ("skipped", "locked")
    host.do("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "rota-task-holder.service")
    assert end(host, "holder") == ("lost", "runner was killed")
    start(host, "waiter")
    assert end(host, "waiter") == ("succeeded", "")


def test_a_power_cut(host: AgentHost) -> None:
    """the host loses power in the middle of a run | after the boot `lost`, `host went down`"""
    host.declare(sleeper=SLEEP)
    host.start("sleeper")
    # Frozen first: the lab's processes end one by one, and the runner could still see its child end.
    host.do("systemctl", "kill", "--kill-whom=main", "--signal=STOP", "rota-task-sleeper.service")
    host.lab.kill(HOST)
    host.lab.boot(HOST)
    host.wait(lambda: latest(host, "sleeper") == ("lost", "host went down"), seconds=120)


def test_a_clean_shutdown(host: AgentHost) -> None:
    """the host is shut down in the middle of a run | `failed`, `host shut down`, written before it went"""
    host.declare(sleeper=SLEEP)
    host.start("sleeper")
    host.do("systemctl", "poweroff", check=False)
    host.wait(lambda: host.lab.status().states[HOST] == "off", seconds=60)
    host.lab.boot(HOST)
    host.wait(lambda: host.do("systemctl", "is-system-running", check=False).stdout.strip() != "starting")
    assert latest(host, "sleeper") == ("failed", "host shut down")


@pytest.fixture
def small_spool(host: AgentHost) -> Iterator[AgentHost]:
    """A spool of its own on a disk of 256 KiB."""
    modes = {name: host.do("stat", "-c", "%a %U %G", f"{SPOOL}/{name}").stdout.split() for name in (".", *FOLDERS)}
    host.do("mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", SPOOL)
    for name, (mode, user, group) in modes.items():
        host.do("install", "-d", "-m", mode, "-o", user, "-g", group, f"{SPOOL}/{name}")
    yield host
    host.do("umount", "--lazy", SPOOL)


def fill(host: AgentHost) -> None:
    host.do("/bin/sh", "-c", f"cat /dev/zero > {SPOOL}/filler", check=False)


def free(host: AgentHost) -> None:
    host.do("rm", "-f", f"{SPOOL}/filler")


def test_a_disk_that_is_full_at_the_start(small_spool: AgentHost) -> None:
    """the spool's disk is full when a run begins | the work runs all the same; its record comes once there is room"""
    host = small_spool
    host.declare(worker=shell("echo done; exit 3"))
    fill(host)
    start(host, "worker")
    host.wait(lambda: is_over(host, "worker"))
    free(host)
    assert end(host, "worker") == ("failed", "exit 3")


def test_a_disk_that_fills_in_the_middle(small_spool: AgentHost) -> None:
    """the disk fills while a run goes on | the end is on record, in the room kept for it; lost output is counted"""
    host = small_spool
    host.declare(worker=shell("sleep 600; head -c 100000 /dev/zero | tr '\\0' x; exit 3"))
    host.start("worker")
    sleep = child(host, "worker", "sleep")
    fill(host)
    host.do("kill", sleep)
    host.wait(lambda: is_over(host, "worker"))
    run = host.runs("worker")[0]
    assert (run["status"], run["reason"], run["output_dropped"] > 0) == ("failed", "exit 3", True)
    free(host)


def test_a_deleted_spool(host: AgentHost) -> None:
    """the spool is deleted | the work runs all the same; its record comes once there is a spool again"""
    host.declare(worker=shell("exit 3"))
    host.do("mv", SPOOL, f"{SPOOL}.away")
    try:
        start(host, "worker")
        host.wait(lambda: is_over(host, "worker"))
    finally:
        host.do("mv", f"{SPOOL}.away", SPOOL)
    assert end(host, "worker") == ("failed", "exit 3")


def test_a_task_that_is_taken_away_keeps_its_history(host: AgentHost) -> None:
    """a task is removed, or renamed, after it ran | its units are gone, its runs stay and can be shown"""
    host.declare(old_name=shell("echo kept"))
    start(host, "old_name")
    end(host, "old_name")
    identifier = host.runs("old_name")[0]["id"]
    host.declare(new_name=shell("echo kept"))
    units = host.do("systemctl", "list-unit-files", "--no-legend", "rota-task-*").stdout
    assert "old_name" not in units
    assert "new_name" in units
    assert host.do("rota", "show", identifier, "--log").stdout == "kept\n"


def test_a_clock_that_jumps(host: AgentHost) -> None:
    """the clock goes back an hour, then forward a day | every run has its record, and the diary takes all of them"""
    host.declare(timekeeper=shell("true"))
    identifiers = []
    try:
        for hours in (0, -1, 23):
            host.lab.set_clock(HOST, None if hours == 0 else host_time(hours))
            identifiers = run_once(host, identifiers)
    finally:
        host.lab.set_clock(HOST, None)
    assert len(identifiers) == 3
    host.do("systemctl", "start", "rota-ship.service")
    sent = host.do("ls", f"{SPOOL}/sent").stdout
    assert all(identifier in sent for identifier in identifiers)


def run_once(host: AgentHost, before: list[str]) -> list[str]:
    """Run the task, and return the ids of its runs when there is one more."""
    start(host, "timekeeper")
    host.wait(lambda: len(host.runs("timekeeper")) > len(before))
    host.wait(lambda: is_over(host, "timekeeper"))
    return [run["id"] for run in host.runs("timekeeper")]


def host_time(hours: float) -> datetime:
    return datetime.now(UTC) + timedelta(hours=hours)


FLOOD = """
import json, sys, time, uuid
from pathlib import Path
from rota.adapters.spool import Spool, decode
from rota.runner import make_identifier
from dataclasses import replace
import os
spool = Spool(folder=Path("/var/lib/rota/spool"), spare=Path("/run/rota/spare/done"))
pattern = spool.find(sys.argv[1])
moment = time.time_ns() // 1_000_000 - 20_000
for number in range(10_000):
    record = replace(pattern, id=uuid.UUID(make_identifier(moment + number, os.urandom(10))), counts={"number": number})
    spool.store(record)
"""


def has_shipped(host: AgentHost) -> bool:
    """Ship what there is; one that began while the diary could not be reached ends without."""
    host.do("rm", "-f", f"{SPOOL}/sent/pause")
    host.do("systemctl", "start", "rota-ship.service", check=False)
    return str(host.do("ls", f"{SPOOL}/done").stdout) == ""


def test_a_diary_that_is_down_for_ten_thousand_runs(host: AgentHost) -> None:
    """the diary cannot be reached while 10,000 runs end, then can | all of them arrive, in order, none twice"""
    host.declare(flooder=shell("true"))
    start(host, "flooder")
    end(host, "flooder")
    pattern = host.runs("flooder")[0]["id"]
    host.lab.cut("development", "production")
    try:
        host.do("/opt/rota/current/venv/bin/python", "-c", FLOOD, pattern)
        host.do("systemctl", "start", "rota-ship.service", check=False)
        assert len(host.do("ls", f"{SPOOL}/done").stdout.split()) >= 10_000
    finally:
        host.lab.heal()
    began = time.monotonic()
    host.wait(lambda: has_shipped(host), seconds=120)
    took = time.monotonic() - began
    query = "select count(*), count(distinct id) from diary_run where task = 'flooder' and counts ? 'number'"
    answer = host.lab.run(
        "production", ["runuser", "-u", "rota-diary", "--", "psql", "-d", "diary", "-tAc", query]
    ).stdout.strip()
    print(json.dumps({"records": 10_000, "seconds": round(took, 1)}))
    assert answer == "10000|10000"
