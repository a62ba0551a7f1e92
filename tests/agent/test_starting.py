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
starting.systemd.start_command = lambda units: ["/bin/sleep", "60"]
with starting.mark_left(Path(sys.argv[1]), "01980a3c-5b7e-7c31-9a52-1f0d3c2b4a59"):
    starting.start_and_follow("rota-task-x.service", Path("/nowhere"))
"""


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_terminal_that_closes_leaves_no_mark(tmp_path: Path, number: signal.Signals) -> None:
    mark = tmp_path / "marks" / "x"
    environment = os.environ | {"PYTHONPATH": str(Path(starting.__file__).parents[1])}
    with subprocess.Popen([sys.executable, "-c", FOLLOW, str(mark)], env=environment) as following:
        wait_until(mark.exists)
        following.send_signal(number)
        assert following.wait(timeout=10) == 128 + number
    assert not mark.exists()
