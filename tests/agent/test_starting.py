"""Laws of a run that is started by hand through systemd."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rota import starting
from rota.core.request import Request
from tests.agent.waiting import wait_until

FOLLOW = """
import sys
from pathlib import Path
from rota import starting
from rota.core.request import Request
from rota.watching import Screen
starting.systemd.start_command = lambda units: ["/bin/sleep", "60"]
with starting.request_left(Path(sys.argv[1]), Request(id="01980a3c-5b7e-7c31-9a52-1f0d3c2b4a59")):
    starting.start_and_watch("rota-task-x.service", Path("/nowhere"), "x", Screen())
"""


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_terminal_that_closes_leaves_no_request(tmp_path: Path, number: signal.Signals) -> None:
    request = tmp_path / "manual" / "x"
    environment = os.environ | {"PYTHONPATH": str(Path(starting.__file__).parents[1])}
    with subprocess.Popen([sys.executable, "-c", FOLLOW, str(request)], env=environment) as following:
        wait_until(request.exists)
        following.send_signal(number)
        assert following.wait(timeout=10) == 128 + number
    assert not request.exists()


def test_whom_the_control_side_names_asked_before_who_became_root() -> None:
    assert starting.who_asks({"ROTA_ASKED_BY": "anna@desk", "SUDO_USER": "operator"}) == "anna@desk"
    assert starting.who_asks({"SUDO_USER": "operator"}) == "operator"


INTERRUPT = """
import sys
from pathlib import Path
from rota import starting
from rota.watching import Screen
begun, look = Path(sys.argv[1]), starting.wait
waited_for = []
def wait(process):
    if process.pid not in waited_for:
        waited_for.append(process.pid)
        begun.write_text("x" * len(waited_for))
    return look(process)
starting.wait = wait
starting.systemd.start_command = starting.systemd.stop_command = lambda units: ["sleep", "60"]
try:
    starting.start_and_watch("rota-task-x.service", Path("/nowhere"), "x", Screen())
except starting.Detached:
    sys.exit(7)
"""


def test_the_first_interrupt_stops_the_run_and_the_second_leaves_it_to_itself(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    environment = os.environ | {"PYTHONPATH": str(Path(starting.__file__).parents[1])}
    command = [sys.executable, "-c", INTERRUPT, str(begun)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as following:
        for number in (1, 2):
            wait_until(lambda number=number: begun.exists() and len(begun.read_text()) == number)
            following.send_signal(signal.SIGINT)
        wait_until(lambda: following.poll() is not None)
        assert following.returncode == 7
        assert following.stderr is not None
        assert "rota: stopping it; press Ctrl-C once more to leave it to itself" in following.stderr.read()


def test_a_request_can_be_read_by_the_task_s_user_whatever_the_umask_of_who_asks(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        starting.leave(tmp_path / "x", Request(id="01980a3c-5b7e-7c31-9a52-1f0d3c2b4a59"))
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o644
