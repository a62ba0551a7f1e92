"""The real gunicorn on a socket that outlives it: a restart under load loses no request."""

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.agent.diary.conftest import SOURCES

# systemd hands over its socket as descriptor 3 and names the process it is meant for.
START = """
import os, sys
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = "1"
os.execv(sys.executable, [sys.executable, "-m", "gunicorn", "--config", "python:rota.diary.gunicorn"])
"""
RESTARTS = 2
BETWEEN = 20
"""Requests that are answered before each restart, and after the last."""
DEADLINE = 60.0


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=DEADLINE)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


def ask(path: Path, address: str) -> tuple[int, bytes]:
    connection = UnixConnection(path)
    try:
        connection.request("GET", address, headers={"X-Forwarded-Proto": "https"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@pytest.fixture
def home(tmp_path: Path, empty_diary: Path) -> Path:
    shutil.copyfile(empty_diary, tmp_path / "diary.sqlite3")
    return tmp_path


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "ROTA_HOME": str(home), "PYTHONPATH": str(SOURCES)}


@pytest.fixture
def start(home: Path) -> Iterator[Callable[[socket.socket], subprocess.Popen[bytes]]]:
    """Starts gunicorn as the unit does, on this listening socket."""
    started: list[subprocess.Popen[bytes]] = []

    def start_it(listener: socket.socket) -> subprocess.Popen[bytes]:
        # The child inherits the socket under the number it has here, and moves it to where systemd would have put it.
        code = f"import os; os.dup2({listener.fileno()}, 3); os.set_inheritable(3, True)\n{START}"
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            env=environment(home),
            pass_fds=[listener.fileno()],
            stderr=subprocess.DEVNULL,
            cwd=home,
        )
        started.append(process)
        return process

    yield start_it
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.wait(DEADLINE)


@pytest.fixture
def listener(home: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(home / "diary.sock"))
        listening.listen(2048)
        yield listening


def test_a_restart_under_load_loses_no_request(
    home: Path, listener: socket.socket, start: Callable[[socket.socket], subprocess.Popen[bytes]]
) -> None:
    path = home / "diary.sock"
    stop = threading.Event()
    answers: list[int | str] = []

    def load() -> None:
        while not stop.is_set():
            try:
                answers.append(ask(path, "/login/")[0])
            except (OSError, http.client.HTTPException) as error:
                answers.append(repr(error))

    process = start(listener)
    # The first request waits in the socket's backlog until the process is up.
    assert ask(path, "/readyz")[0] == 200
    clients = [threading.Thread(target=load) for _ in range(4)]
    for client in clients:
        client.start()

    def see_more_answers() -> None:
        wanted = len(answers) + BETWEEN
        wait_until(lambda: len(answers) >= wanted)

    for _ in range(RESTARTS):
        see_more_answers()
        process.send_signal(signal.SIGTERM)
        process.wait(DEADLINE)
        process = start(listener)
    see_more_answers()
    stop.set()
    for client in clients:
        client.join(DEADLINE)
    assert len(answers) >= BETWEEN * (RESTARTS + 1)
    assert set(answers) == {200}


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    pause = threading.Event()
    while not is_so():
        assert time.monotonic() < deadline
        pause.wait(0.01)


def test_a_new_release_can_be_probed_on_a_socket_of_its_own(home: Path) -> None:
    probe = home / "probe.sock"
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "--config", "python:rota.diary.gunicorn", "--bind", f"unix:{probe}"],
        env=environment(home),
        stderr=subprocess.DEVNULL,
        cwd=home,
    )
    try:
        wait_until(probe.exists)
        status, body = ask(probe, "/readyz")
        assert (status, b'"status": "ok"' in body) == (200, True)
    finally:
        process.terminate()
        process.wait(DEADLINE)
    assert not probe.exists()
    assert not list(home.glob("**/gunicorn.ctl"))
