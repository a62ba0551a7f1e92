"""Runs by hand under real systemd, and what the work of a unit is given and leaves."""

import json
from collections.abc import Iterator

import pytest

from provision import lab as labs
from tests.lab.agent_host import SLEEP, AgentHost

pytestmark = pytest.mark.lab

SCRIPT = (
    'printf "%s|" $ROTA_PARAM_ITEMS "$ROTA_PARAM_FULL" "$@"; echo "$(env | grep -c ^TRIGGER_)"; '
    'rota item books written "two rows" && rota count rows 2'
)


@pytest.fixture
def host(deployed: labs.Lab) -> Iterator[AgentHost]:
    host = AgentHost(deployed, "development")
    yield host
    host.clear()


def typed(host: AgentHost, *words: str, keys: str = "") -> tuple[str, int]:
    """What a terminal shows of this command, and its exit code; `keys` are pressed once the run is under way."""
    script = f"""
import os, pty, sys, time
process, terminal = pty.fork()
if process == 0:
    os.execvp("rota", ["rota", *{list(words)!r}])
shown, keys, then = b"", {keys!r}, time.monotonic() + 60
while time.monotonic() < then:
    try:
        chunk = os.read(terminal, 65536)
    except OSError:
        break
    shown += chunk
    if keys and (b"asleep" in shown):
        os.write(terminal, keys[:1].encode())
        keys = keys[1:]
print(shown.decode(), os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), sep="\\0")
"""
    shown, _, code = host.do("python3", "-c", script).stdout.rstrip("\n").rpartition("\0")
    return shown, int(code)


def test_a_run_by_hand_is_given_parameters_and_reports_from_its_sandbox(host: AgentHost) -> None:
    declared = {
        "description": "Show",
        "command": ["/bin/sh", "-c", SCRIPT, "sh"],
        "items": ["Alpha", "Beta gamma"],
        "parameters": {"full": {"type": "boolean", "default": False}},
        "dry_run": ["--dry-run"],
    }
    host.declare(show=declared)
    assert host.do("rota", "run", "show").stdout == "Alpha|Beta|gamma|false|0\n"
    answer = host.do("rota", "run", "show", "-a", "Alpha", "--set", "full=yes", "--dry-run")
    assert (answer.stdout, answer.stderr) == ("Alpha|true|--dry-run|0\n", "books: written (two rows)\n")
    run = host.runs("show")[0]
    assert (run["counts"], run["dry_run"], run["asked_by"]) == ({"rows": 2.0}, True, "root")


HOSTILE = [
    "%n",
    "$HOME",
    "${X}",
    '"',
    "'",
    "\\",
    "a\rUser=root",
    "\x1b[1m",
    ";",
    "",
    "  ",
    "#",
    "\t",
    "ü\u2028",
    "x" * 20_000,
]


def test_words_reach_the_work_and_lines_reach_systemd_as_they_were_written(host: AgentHost) -> None:
    show = "import json, os, sys; print(json.dumps([sys.argv[1:], os.environ['SAID']]))"
    declared = {
        "description": "Import 100% of C:\\",
        "command": ["/usr/bin/python3", "-c", show, *HOSTILE],
        "environment": {"SAID": '50% of "$HOME" \\'},
    }
    host.declare(hostile=declared)
    assert json.loads(host.do("rota", "run", "hostile").stdout) == [HOSTILE, '50% of "$HOME" \\']
    told = host.do("systemctl", "show", "-p", "Description,OnFailure", "rota-task-hostile.service").stdout
    assert told == "OnFailure=rota-alert@hostile.service\nDescription=Import 100% of C:\\\n"


def test_on_a_terminal_a_failure_is_shown_and_ctrl_c_stops_a_run(host: AgentHost) -> None:
    host.declare(fail={"description": "Fail", "command": ["/bin/false"]}, sleeper=SLEEP)
    shown, code = typed(host, "run", "fail")
    assert (code, "rota: fail failed: exit 1" in shown) == (1, True)
    assert host.runs("fail")[0]["attended"]
    host.do("systemctl", "start", "rota-alert.service")
    assert "fail" not in [each["task"] for each in json.loads(host.do("rota", "alert", "--list", "--json").stdout)]
    shown, code = typed(host, "run", "sleeper", keys="\x03")
    assert (code, "rota: stopping it; press Ctrl-C once more" in shown) == (143, True)
    assert host.runs("sleeper")[0]["reason"] == "stopped"


def test_a_run_that_nobody_waits_for_goes_on(host: AgentHost) -> None:
    host.declare(sleeper=SLEEP)
    said = host.do("rota", "run", "sleeper", "--no-wait").stdout
    run = host.runs("sleeper")[0]
    assert said == f"sleeper was started; rota show {run['id'][-8:]} --follow\n"
    assert (run["status"], run["asked_by"]) == ("running", "root")
    assert "already" in host.do("rota", "run", "sleeper", check=False).stderr


def test_what_is_left_in_a_session_of_its_own_is_told_and_ended(host: AgentHost) -> None:
    """work leaves a process in a session of its own | `succeeded`, `left processes behind`; it does not live on"""
    host.declare(left={"description": "Leave", "command": ["/bin/sh", "-c", "setsid sleep 777 & sleep 0.2"]})
    host.do("rota", "run", "left")
    assert host.runs("left")[0]["reason"] == "left processes behind"
    host.wait(lambda: host.do("pgrep", "-fx", "sleep 777", check=False).returncode == 1)


def test_a_unit_that_cannot_start_says_why(host: AgentHost) -> None:
    host.declare(missing={"description": "Miss", "command": ["/bin/true"], "credentials": ["nowhere"]})
    answer = host.do("rota", "run", "missing", check=False)
    assert answer.returncode == 2
    assert "a credential is missing (exit 243)" in answer.stderr


def test_a_failed_run_of_a_timer_is_tried_again_in_its_slot(host: AgentHost) -> None:
    script = "test $(cat $STATE_DIRECTORY/tries 2>/dev/null || echo 0) = 2 || "
    script += "{ echo $(($(cat $STATE_DIRECTORY/tries 2>/dev/null || echo 0) + 1)) > $STATE_DIRECTORY/tries; exit 1; }"
    minute = host.do("date", "-u", "-d", "+75 seconds", "+%H:%M:00").stdout.strip()
    declared = {"description": "Try", "command": ["/bin/sh", "-c", script], "state": True, "catch_up": "none"}
    host.declare(flaky=declared | {"schedule": f"*-*-* {minute} UTC", "retry": {"times": 3, "wait": "1s"}})
    host.wait(lambda: [run["status"] for run in host.runs("flaky")] == ["succeeded", "failed", "failed"], seconds=150)
    runs = host.runs("flaky")
    assert [run["attempt"] for run in runs] == [3, 2, 1]
    assert [run["trigger"] for run in runs] == ["retry", "retry", "timer"]
    assert len({run["slot"] for run in runs}) == 1
    assert runs[0]["slot"] is not None
