"""A run started by hand: through systemd where there is a unit, else by the runner itself; live output either way."""

import json
import os
import pwd
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rota.adapters import systemd
from rota.adapters.spool import Spool
from rota.core.errors import RotaError
from rota.core.parameter import DRY_RUN, Value, recorded, variables
from rota.core.places import Places
from rota.core.record import KEEP_BYTES, RunRecord
from rota.core.request import Request
from rota.core.status import Status
from rota.core.task import Task
from rota.runner import LOCKED, TIMED_OUT, make_identifier
from rota.units import unit_name

LOOK_EVERY = 0.1


class NeverEnded(RotaError):
    """The runner was killed before it could write how the run ended."""


class AlreadyRunning(RotaError):
    """The task runs already."""


class NeverStarted(RotaError):
    """The unit could not be started."""


class NoDryRun(RotaError):
    """This task cannot show what it would do."""


def has_unit(task: Task, places: Places) -> bool:
    return not places.is_embedded and systemd.is_booted() and (places.units / unit_name(task.name)).is_file()


def new_request(task: Task, values: Mapping[str, Value] | None = None, **wishes: Any) -> Request:
    """A request with an id of its own, asked for by whoever runs this, with these values of parameters.

    Raises NoDryRun.
    """
    chosen = dict(values or {})
    if wishes.get("is_dry_run") and task.dry_run is None:
        raise NoDryRun(f"{task.name}; {DRY_RUN} in its declaration would say how")
    handed = {**chosen, DRY_RUN: True} if wishes.get("is_dry_run") else chosen
    in_json = {"ROTA_PARAMETERS": json.dumps(handed)} if handed else {}
    asked = {
        "asked_by": who_asks(os.environ),
        "parameters": recorded(chosen),
        "environment": in_json if task.pack else variables(chosen),
        "arguments": (task.dry_run or ()) if wishes.get("is_dry_run") else (),
    }
    return Request(id=make_identifier(time.time_ns() // 1_000_000, os.urandom(10)), **{**asked, **wishes})


def who_asks(environ: Mapping[str, str]) -> str:
    """Whom the control side names, else who became root to ask, else the present user."""
    return environ.get("ROTA_ASKED_BY") or environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name


def run_unit(task: Task, places: Places, spool: Spool, request: Request) -> int:
    """Start the task's service, print its output as it comes, and return the exit code of the work.

    Raises AlreadyRunning, NeverStarted, NeverEnded.
    """
    unit = unit_name(task.name)
    if systemd.is_active(unit):
        raise AlreadyRunning(f"{unit}; see rota status")
    with request_left(places.requests / task.name, request):
        said = start_and_follow(unit, spool.folder / "output" / request.id)
    record = find_run(spool, request.id)
    if record is None:
        raise NeverStarted(f"{unit}: {said or 'see systemctl status'}")
    if not record.status.is_final:
        raise NeverEnded(f"{unit}: {request.id} will be closed as lost by rota reconcile")
    return exit_code(record)


@contextmanager
def request_left(path: Path, request: Request) -> Iterator[Path]:
    """Leave the request until the run is over, or until a closed terminal or a stop ends this. Raises NeverStarted."""
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        leave(path, request)
        yield path
    finally:
        with suppress(PermissionError):  # then it was never written
            path.unlink(missing_ok=True)


def leave(path: Path, request: Request) -> None:
    """Put the request there whole, for the unit that is started next. Raises NeverStarted."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{request.id}")
        beside.write_text(request.text, encoding="utf-8")
        beside.replace(path)
    except PermissionError as error:
        raise NeverStarted(f"{error}; become root") from error


def start_and_follow(unit: str, output: Path) -> str:
    """Start the service and print its output until it is over. Returns what systemd said."""
    with subprocess.Popen(systemd.start_command([unit]), stderr=subprocess.PIPE, text=True) as start:
        try:
            follow(output, is_over=lambda: wait(start))
        except SystemExit:
            # Ends the waiting only: the run is systemd's, and goes on.
            start.terminate()
            raise
        return start.stderr.read().strip() if start.stderr else ""


def run_here(command: list[str], task: Task) -> int:
    """Run the task without a unit, as the present user and without a sandbox, and pass its exit code on."""
    with subprocess.Popen(command, env={**os.environ, **task.variables}) as runner:
        while True:
            try:
                return runner.wait()
            except KeyboardInterrupt:
                # The terminal sent it to the runner as well, which ends the work and writes the record.
                continue


def wait(start: "subprocess.Popen[str]") -> bool:
    """Whether the process is over; waits a moment for it."""
    try:
        start.wait(LOOK_EVERY)
    except subprocess.TimeoutExpired:
        return False
    return True


def follow(path: Path, *, is_over: Callable[[], bool]) -> None:
    """Print the file as it grows, and once more after the end."""
    position = 0
    is_last = False
    while not is_last:
        is_last = is_over()
        position = print_from(path, position)


def print_from(path: Path, position: int) -> int:
    """Print what the file holds from here on. Returns the new position; a file that shrank lost its middle."""
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if size < position:
                print("[… some bytes are not shown …]", flush=True)
                position = KEEP_BYTES
            stream.seek(position)
            chunk = stream.read()
    except FileNotFoundError:
        return position
    sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()
    return position + len(chunk)


def find_run(spool: Spool, identifier: str) -> RunRecord | None:
    for folder in ("done", "sent", "running"):
        try:
            record = spool.load(folder, identifier)
        except FileNotFoundError:
            continue
        if isinstance(record, RunRecord) and record.id == uuid.UUID(identifier):
            return record
    return None


def exit_code(record: RunRecord) -> int:
    """What the runner itself exited with."""
    if record.status is Status.SUCCEEDED:
        return 0
    if record.status is Status.SKIPPED:
        return LOCKED
    if record.reason == "timeout":
        return TIMED_OUT
    return 128 + record.signal if record.signal else record.exit_code or 1
