"""Laws of a run that is started by hand through systemd."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rota import starting
from tests.agent.waiting import wait_until

FOLLOW = """
import sys
from pathlib import Path
from rota import starting
from rota.core.request import Request
starting.systemd.start_command = lambda units: ["/bin/sleep", "60"]
with starting.request_left(Path(sys.argv[1]), Request(id="01980a3c-5b7e-7c31-9a52-1f0d3c2b4a59")):
    starting.start_and_follow("rota-task-x.service", Path("/nowhere"))
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
