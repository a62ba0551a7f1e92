"""Laws of a run that somebody started and watches."""

import json
import os
import pty
import re
import select
import sys
import time
from pathlib import Path

import pytest
import yaml

from rota import cli
from rota.core.needed import NEVER
from rota.watching import MOST_AT_ONCE, Screen, Tail
from tests.agent.test_cli import Rota
from tests.agent.test_runner import Bench, bench
from tests.agent.waiting import wait_until

__all__ = ["bench"]

SOURCE = Path(cli.__file__).parents[2]
TELL = """
echo '{"item": "books.csv", "outcome": "written", "message": "1,204 rows"}' >&3
echo '{"count": "rows", "value": 1204}' >&3
echo '{"item": "\\u001b[31mmaps", "outcome": "failed"}' >&3
echo working
while ! test -e "$0"; do sleep 0.05; done
exit 3
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    tell = {"description": "Tell", "command": ["/bin/sh", "-c", TELL.strip().replace("\n", "; "), str(tmp_path / "go")]}
    wait = {"description": "Wait", "command": ["/bin/sh", "-c", "echo waiting; exec sleep 60"]}
    often = {"description": "Run", "command": ["/bin/echo", "ran"], "every": "6h"}
    plain = {"description": "Run", "command": ["/bin/echo", "ran"]}
    tasks = {"tell": tell, "wait": wait, "often": often, "plain": plain}
    (tmp_path / "tasks.yml").write_text(yaml.safe_dump({"tasks": tasks}))
    return tmp_path


class Terminal:
    """A terminal in which `rota run` was typed."""

    def __init__(self, home: Path, *words: str) -> None:
        self.shown = ""
        command = [sys.executable, "-m", "rota.cli", "--home", str(home), "run", *words]
        self.process, self.file = pty.fork()
        if self.process == 0:
            environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE), "TERM": "xterm", "COLUMNS": "200"}
            os.execve(sys.executable, command, environ)  # noqa: S606 - what a terminal does

    def look(self) -> str:
        """What has been shown so far."""
        while select.select([self.file], [], [], 0)[0]:
            try:
                chunk = os.read(self.file, 65536)
            except OSError:  # the other end is closed
                break
            self.shown += chunk.decode()
        return self.shown

    def end(self) -> int:
        """The exit code, once it is over."""
        deadline = time.monotonic() + 20
        while True:
            self.look()
            process, status = os.waitpid(self.process, os.WNOHANG)
            if process:
                self.look()
                os.close(self.file)
                return os.waitstatus_to_exitcode(status)
            assert time.monotonic() < deadline, self.shown
            time.sleep(0.01)  # between two looks at the terminal


def test_on_a_terminal_what_a_run_reports_is_shown_while_it_goes_on(home: Path) -> None:
    terminal = Terminal(home, "tell")
    wait_until(lambda: "2 items: 1 written, 1 failed · rows 1,204" in terminal.look())
    assert "working\r\n" in terminal.shown
    (home / "go").touch()
    assert terminal.end() == 3
    assert re.search(r"rota: tell failed: exit 3 after [0-9.]+ s; rota show [0-9a-f]{8}\r\n$", terminal.shown)
    assert "\x1b[31m" not in terminal.shown
    (run,) = Rota("--home", str(home)).json("runs")
    assert (run["attended"], run["counts"]) == (True, {"rows": 1204})
    assert list((home / "spool/tmp").iterdir()) == list((home / "manual").iterdir()) == []


def test_elsewhere_each_item_is_a_line_without_control_codes(home: Path) -> None:
    (home / "go").touch()
    answer = Rota("--home", str(home))("run", "tell")
    assert (answer.returncode, answer.stdout) == (3, "working\n")
    *items, end = answer.stderr.splitlines()
    assert end.startswith("rota: tell failed: exit 3 after ")
    assert items == ["books.csv: written (1,204 rows)", " [31mmaps: failed"]
    assert not Rota("--home", str(home)).json("runs")[0]["attended"]


def test_an_interrupt_stops_the_run(home: Path) -> None:
    terminal = Terminal(home, "wait")
    wait_until(lambda: "waiting" in terminal.look())
    os.write(terminal.file, b"\x03")
    assert terminal.end() == 143
    (run,) = Rota("--home", str(home)).json("runs")
    assert (run["status"], run["reason"]) == ("failed", "stopped")


def test_a_run_that_nobody_watches_any_more_is_not_attended(bench: Bench, tmp_path: Path) -> None:
    request = tmp_path / "request"
    request.write_text("id 01980a3c-5b7e-7c31-9a52-1f0d3c2b4a59\nattended yes\n")
    _, record = bench.run("/bin/rm", str(request), request=request)
    assert not record.attended


def test_a_run_whose_watcher_was_killed_is_not_attended(bench: Bench, tmp_path: Path) -> None:
    request = tmp_path / "request"
    request.write_text("id 01980a3c-5b7e-7c31-9a52-1f0d3c2b4a59\nattended yes\n")
    _, record = bench.run("/bin/false", request=request)
    assert not record.attended


def test_a_terminal_that_closes_ends_a_run_that_has_no_unit(home: Path) -> None:
    terminal = Terminal(home, "wait")
    wait_until(lambda: "waiting" in terminal.look())
    os.close(terminal.file)
    rota = Rota("--home", str(home))
    wait_until(lambda: rota.json("runs")[0]["reason"] == "stopped")
    os.waitpid(terminal.process, 0)


def test_a_task_needed_every_so_often_runs_by_hand_if_it_is_due(home: Path) -> None:
    rota = Rota("--home", str(home))
    assert rota("run", "often", "--if-due").stdout == "ran\n"
    assert (home / "success" / "often").read_text() != NEVER
    assert rota("run", "often", "--if-due").stdout == "often is not due: its last success is not yet 6 h 00 min old.\n"
    assert rota("run", "often").stdout == "ran\n"
    assert "This task is never due: plain has no every" in rota("run", "plain", "--if-due").stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("plain --no-wait", "This needs systemd and the task's unit: without it rota run plain waits for the end"),
        ("plain --in 2h", "No run can be asked for here: plain has no unit"),
        ("plain --at soon", "argument --at: 'soon' must be"),
        ("plain --at 2040-01-01 --if-due", "not allowed with argument"),
    ],
)
def test_what_needs_a_unit_says_so(home: Path, words: str, expected: str) -> None:
    answer = Rota("--home", str(home))("run", *words.split())
    assert answer.returncode == 2
    assert expected in answer.stderr


def test_a_report_on_a_full_disk_still_reaches_the_record(bench: Bench, tmp_path: Path) -> None:
    request = tmp_path / "request"
    request.write_text("id 01980a3c-5b7e-7c31-9a52-1f0d3c2b4a59\n")
    (bench.spool.folder / "tmp" / "01980a3c-5b7e-7c31-9a52-1f0d3c2b4a59.report").symlink_to("/dev/full")
    line = json.dumps({"count": "rows", "value": 3})
    _, record = bench.run("/bin/sh", "-c", f"echo '{line}' >&3", request=request)
    assert record.counts == {"rows": 3}


def test_a_tail_tells_of_a_middle_that_was_dropped(tmp_path: Path) -> None:
    path = tmp_path / "output"
    tail = Tail(path)
    assert tail.read() == b""
    path.write_bytes(b"a" * 200_000)
    assert len(tail.read()) == 200_000
    path.write_bytes(b"a" * 65536 + b"end")
    assert tail.read().endswith(b"bytes are not shown \xe2\x80\xa6]\nend")


def test_what_is_no_report_is_passed_over() -> None:
    screen = Screen()
    screen.reported(b'no json\n[1]\n{"count": 3}\n{"count": "rows", "value": "x"}\n{"item": 3, "outcome": null}\n{"it')
    assert (screen.outcomes, screen.counts) == ({"None": 1}, {"rows": 0})
    screen.reported(b'em": "a"}\n')
    assert screen.outcomes == {"None": 1, "done": 1}


@pytest.mark.parametrize("trap", ["pipe", "folder", "link", "nothing"])
def test_what_is_no_plain_file_is_not_shown(tmp_path: Path, trap: str) -> None:
    path = tmp_path / "output"
    if trap == "pipe":
        os.mkfifo(path)
        os.close(os.open(path, os.O_RDWR))
    elif trap == "folder":
        path.mkdir()
    elif trap == "link":
        path.symlink_to("/etc/passwd")
    assert Tail(path).read() == b""


def test_an_output_of_any_size_is_shown_a_part_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "output"
    path.touch()
    os.truncate(path, 10**12)
    assert len(Tail(path).read()) == MOST_AT_ONCE
