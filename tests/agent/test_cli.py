"""Laws of the command `rota`, in its embedded form and against a host's file system that is only a folder."""

import fcntl
import json
import os
import re
import subprocess
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import pytest

from rota import cli
from rota.adapters.spool import turn_in
from tests.agent.waiting import wait_until

SOURCE = Path(cli.__file__).parents[2]
PATH = os.environ["PATH"]
TASKS = """
agent: {host: here}
tasks:
  greet: {description: Say hello, command: [/bin/echo, hello], schedule: "02:10 UTC", catch_up: latest}
  fail: {description: Fail, command: [/bin/sh, -c, "echo no; exit 3"]}
"""


class Rota:
    """The command `rota` in a process that is forked from the tests' own, which has its modules already."""

    def __init__(self, *options: str) -> None:
        self.options = options

    def __call__(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        words = ["rota", *self.options, *arguments]
        with TemporaryFile("w+") as output, TemporaryFile("w+") as errors:
            child = os.fork()
            if child == 0:
                become_rota(words, output.fileno(), errors.fileno())
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            output.seek(0)
            errors.seek(0)
            return subprocess.CompletedProcess(words, code, output.read(), errors.read())

    def json(self, *arguments: str) -> Any:
        answer = self(*arguments, "--json")
        assert answer.returncode == 0, answer.stderr
        return json.loads(answer.stdout)


def become_rota(words: list[str], output: int, errors: int) -> None:
    """End this process as the command would, with its exit code."""
    code: object = 1
    try:
        os.dup2(output, 1)
        os.dup2(errors, 2)
        os.closerange(3, 4096)  # among them locks that a test holds against the command
        sys.argv, sys.stdout, sys.stderr = words, os.fdopen(1, "w"), os.fdopen(2, "w")
        os.environ.clear()
        os.environ.update(environment())
        time.tzset()
        cli.main()
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:  # as Python itself would at the end of a process
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(code or 0) if isinstance(code, int | None) else 1)


def environment() -> dict[str, str]:
    return {"PATH": PATH, "PYTHONPATH": str(SOURCE), "TZ": "UTC"}


@pytest.fixture
def rota(tmp_path: Path) -> Rota:
    (tmp_path / "tasks.yml").write_text(TASKS)
    return Rota("--home", str(tmp_path))


@pytest.fixture
def host(tmp_path: Path) -> Rota:
    (tmp_path / "etc/rota").mkdir(parents=True)
    (tmp_path / "etc/rota/tasks.yml").write_text(TASKS)
    (tmp_path / "etc/rota/environment").write_text("staging\n")
    return Rota("--root", str(tmp_path))


def test_a_run_shows_its_output_and_passes_its_exit_code_on(rota: Rota) -> None:
    assert (rota("run", "greet").stdout, rota("run", "greet").returncode) == ("hello\n", 0)
    failed = rota("run", "fail")
    assert (failed.stdout, failed.returncode) == ("no\n", 3)


def test_runs_are_listed_newest_first_and_can_be_chosen(rota: Rota) -> None:
    for task in ("greet", "fail", "greet"):
        rota("run", task)
    assert [run["task"] for run in rota.json("runs")] == ["greet", "fail", "greet"]
    assert [run["task"] for run in rota.json("runs", "fail")] == ["fail"]
    assert [run["reason"] for run in rota.json("runs", "--status", "failed")] == ["exit 3"]
    assert rota.json("runs", "--limit", "1")[0]["trigger"] == "manual"
    assert rota.json("runs", "--since", "0s") == []
    assert re.search(r"fail +failed +exit 3", rota("runs").stdout)


def test_a_run_is_shown_by_part_of_its_id(rota: Rota) -> None:
    rota("run", "fail")
    (run,) = rota.json("runs")
    shown = rota("show", run["id"][-6:]).stdout
    assert "exit 3" in shown
    assert shown.endswith("\nno\n")
    assert rota("show", run["id"], "--log").stdout == "no\n"
    assert rota.json("show", run["id"])["output"] == "no\n"
    assert rota("show", "zz").returncode == 2


def test_a_task_s_name_stands_for_its_latest_run(rota: Rota) -> None:
    rota("run", "greet")
    rota("run", "greet")
    latest = rota.json("runs", "greet")[0]
    assert rota.json("show", "greet")["id"] == latest["id"]


def test_runs_are_filtered_by_what_started_them(rota: Rota) -> None:
    rota("run", "greet")
    assert len(rota.json("runs", "--trigger", "manual")) == 1
    assert rota.json("runs", "--trigger", "timer") == []


def test_the_status_has_a_line_for_every_task(rota: Rota) -> None:
    rota("run", "fail")
    assert {each["task"]: each["status"] for each in rota.json("status")["tasks"]} == {"fail": "failed", "greet": None}
    assert re.search(r"greet +never ran", rota("status").stdout)


def test_tasks_are_listed_with_schedule_and_purpose(rota: Rota) -> None:
    listed = rota("tasks").stdout
    assert re.search(r"\ngreet +Say hello +-\n  02:10 UTC +every day at 02:10 UTC\n", listed)
    assert re.search(r"\nfail +Fail +-\n +by hand\n", listed)
    assert {task["name"] for task in rota.json("tasks")} == {"greet", "fail"}


def test_an_operators_mistake_is_one_line_and_exit_2(rota: Rota, tmp_path: Path) -> None:
    mistaken = rota("run", "gret")
    assert mistaken.returncode == 2
    assert mistaken.stderr.startswith("rota: There is no task of this name: 'gret', did you mean 'greet'?")
    assert rota("ship").stderr.count("\n") == 1
    (tmp_path / "more.yml").write_text("tasks: {x: {nice: 99}}")
    assert rota("tasks").stderr.count("\n") == 1
    assert rota("sync").returncode == 2


def test_a_packs_task_runs_with_its_settings_and_reports(rota: Rota, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "old.log").write_text("x" * 1000)
    os.utime(logs / "old.log", (0, 0))
    (tmp_path / "more.yml").write_text(f"tasks: {{compress_old_logs: {{settings: {{folders: [{logs}]}}}}}}")
    assert rota("run", "compress-old-logs").returncode == 0
    (run,) = rota.json("runs")
    assert (run["pack"], run["counts"]["files"], run["items"][0]["outcome"]) == ("logs", 1, "compressed")


def test_reconciling_an_empty_spool_finds_nothing(rota: Rota) -> None:
    assert rota("reconcile").stdout == "0 lost, 0 recovered, 0 removed, 0 put aside.\n"


def test_a_failed_task_is_an_incident_until_it_succeeds(rota: Rota, tmp_path: Path) -> None:
    (tmp_path / "more.yml").write_text("agent: {alert: {to: [anna@example.org]}}")
    rota("run", "fail")
    assert rota("alert").stdout == f"1 incident open; 1 letter to {tmp_path}/outbox, 0 not sent.\n"
    shown = rota("status").stdout
    assert re.search(r"\nfail failed since .*, once: exit \d+; its people know\.\n", shown)
    assert "1 letter did not leave this host" in shown
    assert "A trial for anna@example.org" in rota("alert", "--test").stdout


def test_housekeeping_is_done_by_one_at_a_time_and_waits_for_no_task(rota: Rota, tmp_path: Path) -> None:
    rota("reconcile")
    assert list((tmp_path / "lock").iterdir()) == []
    folder = os.open(tmp_path / "spool" / "quarantine", os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        answer = rota("reconcile")
    finally:
        os.close(folder)
    assert (answer.returncode, answer.stderr) == (
        2,
        "rota: This is being done already: another rota reconcile holds the lock\n",
    )


def test_a_good_catalogue_has_no_problems(rota: Rota) -> None:
    assert rota("check").stdout == "2 tasks, no problems.\n"


def test_checking_names_every_problem(rota: Rota, tmp_path: Path) -> None:
    (tmp_path / "more.yml").write_text("tasks: {x: {command: [/no/such], description: d}}")
    answer = rota("check")
    assert answer.returncode == 2
    assert "task x: command: there is no program '/no/such'" in answer.stderr


def test_sync_says_what_it_would_change_changes_it_and_then_nothing(host: Rota, tmp_path: Path) -> None:
    planned = host.json("sync", "--check", "--diff")
    assert planned["changed"]
    assert "+Description=Say hello" in planned["diff"]
    assert not (tmp_path / "etc/systemd").exists()
    done = host.json("sync")
    assert done["units"] == planned["units"]
    assert {"unit": "rota-task-greet.timer", "action": "add"} in done["units"]
    assert host.json("sync") == {"changed": False, "units": [], "diff": ""}
    unit = (tmp_path / "etc/systemd/system/rota-task-greet.service").read_text()
    assert " environment=staging " in unit
    assert " spool=/var/lib/rota/spool " in unit
    (tmp_path / "etc/rota/tasks.yml").write_text("")
    assert {"unit": "rota-task-greet.timer", "action": "remove"} in host.json("sync")["units"]


def test_of_two_syncs_at_once_the_second_waits_for_the_first(host: Rota, tmp_path: Path) -> None:
    folder = tmp_path / "etc/systemd/system"
    folder.mkdir(parents=True)
    waiting = re.compile(rf"-> FLOCK .*:{folder.stat().st_ino} ")
    with ThreadPoolExecutor(1) as pool:
        with turn_in(folder):
            second = pool.submit(host, "sync")
            wait_until(lambda: waiting.search(Path("/proc/locks").read_text()), seconds=30)
            assert list(folder.iterdir()) == []
        assert second.result().returncode == 0
    assert (folder / "rota-task-greet.timer").exists()


def test_a_process_of_its_own_answers_the_same(rota: Rota) -> None:
    command = [sys.executable, "-m", "rota.cli", *rota.options, "tasks"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, rota("tasks").stdout, "")


@pytest.mark.parametrize(
    "name", ["run", "tasks", "runs", "show", "status", "sync", "check", "ship", "alert", "reconcile"]
)
def test_every_command_explains_itself(name: str) -> None:
    answer = Rota()(name, "--help")
    assert answer.returncode == 0
    assert len(answer.stdout.split("\n\n")[1]) > 10


def test_letters_that_a_terminal_does_not_know_stop_nothing(rota: Rota, tmp_path: Path) -> None:
    (tmp_path / "more.yml").write_text("tasks: {x: {command: [/bin/true], description: Zürich – 夜}}", "utf-8")
    environ = {"PYTHONPATH": str(SOURCE), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "rota.cli", "--home", str(tmp_path), "tasks"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    assert (answer.returncode, "Z?rich ? ?" in answer.stdout) == (0, True)
