"""What an operator sees of a whole environment: runs that go on, who asked for them, and completion on a host."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from provision import lab as labs
from tests.lab.agent_host import AgentHost
from tests.lab.conftest import ROOT, Fab

pytestmark = pytest.mark.lab

HOST = "development"
GO = "/run/rota-test-go"
WAITING = f"echo first; while [ ! -e {GO} ]; do sleep 0.1; done; echo second; exit 3"
TASKS: dict[str, Any] = {
    "patient": {"description": "Wait for a word", "command": ["/bin/sh", "-c", WAITING], "schedule": "02:10 UTC"}
    | {"catch_up": "none"},
    "per_item": {"description": "Count", "command": ["/bin/echo", "counted"], "items": ["Alpha", "Beta"]},
}
# As bash-completion loads what is asked for the first time.
COMPLETE = """
. /usr/share/bash-completion/bash_completion
_completion_loader rota
COMP_WORDS=("$@") COMP_CWORD=$(( $# - 1 ))
_rota
echo "${COMPREPLY[@]}"
"""


@pytest.fixture
def host(deployed: labs.Lab) -> Iterator[AgentHost]:
    host = AgentHost(deployed, HOST)
    host.do("rm", "-f", GO)
    host.declare(**TASKS)
    yield host
    host.clear()
    host.do("rm", "-f", GO)


def test_a_run_under_way_is_followed_from_here_and_its_exit_code_passed_on(
    host: AgentHost, lab_environment: dict[str, str]
) -> None:
    host.start("patient")
    following = [sys.executable, "-m", "fabric", HOST, "logs", "patient", "--follow"]
    with subprocess.Popen(following, cwd=ROOT, env=lab_environment, stdout=subprocess.PIPE, text=True) as followed:
        assert followed.stdout
        lines = []
        for line in followed.stdout:
            lines.append(line.rstrip())
            if line == "first\n":
                assert "running" in host.do("rota", "status").stdout
                host.do("touch", GO)
        assert followed.wait(timeout=60) == 3
    assert lines[-2:] == ["first", "second"]


def test_an_operator_starts_a_task_for_one_item_and_the_record_says_who(host: AgentHost, fab: Fab) -> None:
    assert "counted" in fab(HOST, "start", "per_item", "--words", "-a Beta").stdout
    run = host.runs("per_item")[0]
    assert run["parameters"] == {"items": ["Beta"]}
    assert "@" in run["asked_by"]
    refused = fab(HOST, "start", "per_item", "--words", "-a Gamma", check=False)
    assert refused.returncode == 2
    assert "Alpha, Beta" in refused.stdout


def test_what_needs_somebody_is_seen_in_every_way(host: AgentHost, fab: Fab) -> None:
    host.do("touch", GO)
    assert fab(HOST, "start", "patient", check=False).returncode == 3
    status = fab(HOST, "status", "--words", "--fail", check=False)
    assert status.returncode == 1
    assert re.search(r"^patient +failed: exit 3", status.stdout, re.MULTILINE)
    assert re.search(r"patient +failed +exit 3", fab(HOST, "runs", "--words", "patient --limit 1").stdout)
    [shown] = [
        each for each in json.loads(host.do("rota", "status", "--json").stdout)["tasks"] if each["task"] == "patient"
    ]
    assert (shown["needs_somebody"], shown["next"] is not None) == (True, True)


def test_a_task_is_paused_from_here_and_every_look_at_it_says_so(host: AgentHost, fab: Fab) -> None:
    fab(HOST, "pause", "patient", "--for", "2d", "--reason", "moving house")
    [shown] = [
        each for each in json.loads(host.do("rota", "status", "--json").stdout)["tasks"] if each["task"] == "patient"
    ]
    assert "@" in shown["paused"]["by"]
    assert "moving house" in fab(HOST, "status").stdout
    assert re.search(r"patient +will be skipped +paused: until", fab(HOST, "plan", "--task", "patient").stdout)
    fab(HOST, "resume", "patient")
    assert "moving house" not in fab(HOST, "status").stdout
    assert fab(HOST, "resume", "patient", check=False).returncode == 2


def test_bash_on_a_host_completes_commands_tasks_and_runs(host: AgentHost) -> None:
    def offered(*words: str) -> list[str]:
        return list(host.do("bash", "-c", COMPLETE, "bash", "rota", *words).stdout.split())

    assert offered("stat") == ["status"]
    assert offered("run", "pati") == ["patient"]
    host.do("rota", "run", "per_item")
    run = host.runs("per_item")[0]["id"]
    began = time.monotonic()
    assert offered("show", run[:-2]) == [run]
    assert time.monotonic() - began < 20  # it takes a fraction of a second; the machine may be busy
