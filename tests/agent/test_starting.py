"""Laws of a run that is started by hand through systemd."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rota import starting
from rota.adapters.spool import Spool
from rota.core import places
from rota.core.request import Request
from rota.core.task import Task
from tests.agent.records import make_run, make_running
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


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a request is left, by a process that goes on to hear signals as before."""
    monkeypatch.setattr(starting.signal, "signal", lambda *_: None)
    return tmp_path / "export"


FIRST, SECOND = (Request(id=f"01980a3c-5b7e-7c31-9a52-1f0d3c2b4a{number}") for number in (59, 60))


def test_a_request_can_be_read_by_the_task_s_user_whatever_the_umask_of_who_asks(path: Path) -> None:
    before = os.umask(0o077)
    try:
        with starting.request_left(path, FIRST):
            assert path.stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(before)


def test_of_two_who_start_a_task_at_once_the_second_is_told_and_takes_nothing_from_the_first(path: Path) -> None:
    with starting.request_left(path, FIRST):
        with pytest.raises(starting.AlreadyRunning), starting.request_left(path, SECOND):
            pass
        assert path.read_text() == FIRST.text
    assert list(path.parent.iterdir()) == []


def test_a_request_that_a_start_left_behind_when_it_was_killed_is_in_nobody_s_way(path: Path) -> None:
    path.write_text(FIRST.text)
    with starting.request_left(path, SECOND):
        assert path.read_text() == SECOND.text
    assert list(path.parent.iterdir()) == []


EXPORT = Task(name="export", description="Export", command=("/bin/true",))


def test_on_a_host_a_task_without_a_usable_unit_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would run as whoever starts it, without limits and sandbox."""
    host = places.on_host(tmp_path)
    unit = host.units / "rota-task-export.service"
    unit.parent.mkdir(parents=True)
    monkeypatch.setattr(starting.systemd, "BOOTED", tmp_path)
    with pytest.raises(starting.NoUnit, match="rota sync makes it"):
        starting.has_unit(EXPORT, host)
    unit.symlink_to("/dev/null")
    with pytest.raises(starting.NoUnit, match="is masked"):
        starting.has_unit(EXPORT, host)
    unit.unlink()
    unit.touch()
    assert starting.has_unit(EXPORT, host)
    monkeypatch.setattr(starting.systemd, "BOOTED", tmp_path / "nowhere")
    with pytest.raises(starting.NoUnit, match="systemd does not run this host"):
        starting.has_unit(EXPORT, host)
    assert not starting.has_unit(EXPORT, places.under(tmp_path))


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    made = Spool(tmp_path / "spool", tmp_path / "spare")
    made.make()
    made.spare.mkdir()
    return made


def test_a_run_is_found_in_the_spare_and_not_in_what_a_task_put_in_its_place(spool: Spool) -> None:
    record = make_run()
    os.mkfifo(spool.folder / "done" / f"{record.id}.json")
    (spool.folder / "sent" / f"{record.id}.json").write_text("[" * 60_000)
    assert starting.find_run(spool, str(record.id)) is None
    spool.store(make_running(id=str(record.id)), folder="running")
    spool.store_spare(record)
    assert starting.find_run(spool, str(record.id)) == record


def test_a_run_that_waits_for_its_lock_has_been_taken_up(spool: Spool) -> None:
    assert not starting.is_taken_up(spool, FIRST.id)
    (spool.folder / "output" / FIRST.id).touch()
    assert starting.is_taken_up(spool, FIRST.id)
