"""A run started by hand: through systemd where there is a unit, else by the runner itself; live output either way."""

import fcntl
import json
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rota.adapters import systemd
from rota.adapters.spool import Spool, UnsafeFile, runs
from rota.core.errors import RotaError
from rota.core.incident import why_without_record
from rota.core.parameter import DRY_RUN, Value, recorded, variables
from rota.core.places import Places
from rota.core.record import BadRecord, RunRecord
from rota.core.request import Request
from rota.core.status import Status
from rota.core.task import Task
from rota.runner import ENDED_BY_OTHERS, LOCKED, TIMED_OUT, UNFINISHED, make_identifier, try_lock
from rota.units import unit_name
from rota.watching import Screen, Watched

LOOK_EVERY = 0.1
TAKEN_UP_WITHIN = 30.0
INTERRUPTED = 130


class NeverEnded(RotaError):
    """The runner was killed before it could write how the run ended."""


class AlreadyRunning(RotaError):
    """The task runs already."""


class NeverStarted(RotaError):
    """The unit could not be started."""


class NoUnit(RotaError):
    """This host has no unit of the task, and without it a run would have neither its user, limits nor sandbox."""


class NoDryRun(RotaError):
    """This task cannot show what it would do."""


class Detached(Exception):
    """Whoever watched a run has left it to itself."""


def has_unit(task: Task, places: Places) -> bool:
    """Whether it runs as a unit; an embedded Rota has none. Raises NoUnit where it should, and cannot."""
    if places.is_embedded:
        return False
    path = places.units / unit_name(task.name)
    if not systemd.is_booted():
        raise NoUnit(f"{task.name}; systemd does not run this host; rota --home FOLDER run does without it")
    if path.is_symlink() and not path.is_file():
        raise NoUnit(f"{task.name}; {path} is masked: a link to {path.readlink()}")
    if not path.is_file():
        raise NoUnit(f"{task.name}; {path} is missing; rota sync makes it")
    return True


def new_request(task: Task, values: Mapping[str, Value] | None = None, **wishes: Any) -> Request:
    """A request with an id of its own, asked for by whoever runs this, with these values of parameters.

    Raises NoDryRun.
    """
    chosen = dict(values or {})
    if wishes.get("is_dry_run") and task.dry_run is None:
        raise NoDryRun(f"{task.name}; {DRY_RUN} in its declaration would say how")
    handed = {**chosen, DRY_RUN: True} if wishes.get("is_dry_run") else chosen
    in_json = {"ROTA_PARAMETERS": json.dumps(handed)} if handed else {}
    asked: dict[str, Any] = {
        "id": make_identifier(time.time_ns() // 1_000_000, os.urandom(10)),
        "asked_by": who_asks(os.environ),
        "parameters": recorded(chosen),
        "environment": in_json if task.pack else variables(chosen),
        "arguments": (task.dry_run or ()) if wishes.get("is_dry_run") else (),
    }
    return Request(**{**asked, **wishes})


def who_asks(environ: Mapping[str, str]) -> str:
    """Whom the control side names, else who became root to ask, else the present user."""
    return environ.get("ROTA_ASKED_BY") or environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name


def run_unit(task: Task, places: Places, spool: Spool, request: Request) -> int:
    """Start the task's service, show its run as it goes on, and return the exit code of the work.

    Raises AlreadyRunning, NeverStarted, NeverEnded.
    """
    unit, screen = unit_name(task.name), Screen()
    refuse_running(unit)
    with request_left(places.requests / task.name, request):
        try:
            said = start_and_watch(unit, spool.folder, request.id, screen)
        except Detached:
            screen.say(f"{task.name} goes on by itself; rota show {request.id[-8:]} --follow")
            return INTERRUPTED
    return tell_end(spool, request.id, screen, NeverStarted(f"{unit}: {why_not(unit, said)}"))


def refuse_running(unit: str) -> None:
    if systemd.is_active(unit):
        raise AlreadyRunning(f"{unit}; see rota status")


def tell_end(spool: Spool, identifier: str, screen: Screen, without_record: RotaError) -> int:
    """Say how the run ended, and return its exit code. Raises NeverEnded, or what was to be said without a record."""
    record = find_run(spool, identifier)
    if record is None:
        raise without_record
    if not record.status.is_final:
        raise NeverEnded(f"{record.task}: {identifier} will be closed as lost by rota reconcile")
    screen.end(record)
    return exit_code(record)


def why_not(unit: str, said: str) -> str:
    """Why a unit left no record, by what systemd knows of it, else by what it said."""
    (told,) = systemd.show([unit], ["Result", "ExecMainCode", "ExecMainStatus"])
    if told.get("ExecMainCode") != "1":  # CLD_EXITED of waitid(2); 0 before anything was started
        return said.partition("\n")[0] or "see systemctl status"
    return why_without_record(told.get("Result", ""), "exited", told.get("ExecMainStatus", ""))


def start_only(task: Task, places: Places, spool: Spool, request: Request) -> str:
    """Start the task's service; returns the run's id once its runner has taken it up. Raises NeverStarted."""
    unit = unit_name(task.name)
    refuse_running(unit)
    with request_left(places.requests / task.name, request):
        systemd.ask(systemd.start_command([unit], is_waited_for=False))
        deadline = time.monotonic() + TAKEN_UP_WITHIN
        while not is_taken_up(spool, request.id):
            if time.monotonic() > deadline:
                raise NeverStarted(f"{unit}: {why_not(unit, '')}")
            time.sleep(LOOK_EVERY)  # between two looks at the spool
    return request.id


def is_taken_up(spool: Spool, identifier: str) -> bool:
    """Whether a runner has heeded the request: it claims the output's name at once, and may then wait for a lock."""
    return (spool.folder / "output" / identifier).exists() or find_run(spool, identifier) is not None


@contextmanager
def request_left(path: Path, request: Request) -> Iterator[Path]:
    """Leave the request until the run is over, or until a closed terminal or a stop ends this.

    Raises AlreadyRunning, NeverStarted.
    """
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    beside = path.with_name(f".{request.id}")
    try:
        with write_locked(beside, request.text):
            try:
                leave(beside, path)
                yield path
            finally:
                if is_same(beside, path):
                    path.unlink()
    except PermissionError as error:
        raise NeverStarted(f"{error}; become root") from error
    finally:
        with suppress(OSError):  # then it was never written
            beside.unlink()


@contextmanager
def write_locked(path: Path, text: str) -> Iterator[None]:
    """Write this file and hold the kernel's lock on it: however we end, the runner can tell that nobody watches."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with os.fdopen(file, "w", encoding="utf-8") as stream:
        # The task's user reads it, whatever the umask of who asks.
        os.fchmod(file, 0o644)
        fcntl.flock(file, fcntl.LOCK_EX)
        stream.write(text)
        stream.flush()
        yield


def leave(beside: Path, path: Path) -> None:
    """Give the request the name under which the unit that is started next finds it. Raises AlreadyRunning."""
    while True:
        try:
            path.hardlink_to(beside)
            return
        except FileExistsError:
            clear(path)


def clear(path: Path) -> None:
    """Take away what a start that died left there. Raises AlreadyRunning when it is somebody's who is alive."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not try_lock(file):
            raise AlreadyRunning(f"{path.name} is being started by somebody else; see rota status")
        if os.path.samestat(os.fstat(file), path.stat()):
            path.unlink()
    except FileNotFoundError:
        return
    finally:
        os.close(file)


def is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def start_and_watch(unit: str, spool: Path, identifier: str, screen: Screen) -> str:
    """Start the service and show its run until it is over. Returns what systemd said.

    The first interrupt stops the run, the second raises Detached.
    """
    # In a session of its own: what interrupts us must not interrupt the waiting for systemd.
    with subprocess.Popen(
        systemd.start_command([unit]), stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as start:
        watched = Watched(screen, spool / "output" / identifier, spool / UNFINISHED / f"{identifier}.report")
        try:
            try:
                watched.until(lambda: wait(start))
            except KeyboardInterrupt:
                screen.say("stopping it; press Ctrl-C once more to leave it to itself")
                stop(unit, watched)
        except (SystemExit, Detached):
            # Ends the waiting only: the run is systemd's, and goes on.
            start.terminate()
            raise
        return start.stderr.read().strip() if start.stderr else ""


def stop(unit: str, watched: Watched) -> None:
    """Stop the service and show the rest of its run. Raises Detached."""
    with subprocess.Popen(
        systemd.stop_command([unit]), stderr=subprocess.DEVNULL, text=True, start_new_session=True
    ) as stopping:
        try:
            watched.until(lambda: wait(stopping))
        except KeyboardInterrupt:
            stopping.terminate()
            raise Detached from None


def run_here(command: list[str], task: Task, spool: Spool, request: Request) -> int:
    """Run the task without a unit, as the present user and without a sandbox, and pass its exit code on."""
    screen = Screen()
    watched = Watched(screen, spool.folder / "output" / request.id, spool.folder / UNFINISHED / f"{request.id}.report")
    if not screen.is_terminal:
        command = [*command[: command.index("--")], "echo=yes", *command[command.index("--") :]]
        watched.output = None
    with subprocess.Popen(command, env={**os.environ, **task.variables}, text=True) as runner:
        while True:
            try:
                watched.until(lambda: wait(runner))
                break
            except KeyboardInterrupt:
                # The terminal sent it to the runner as well, which ends the work and writes the record.
                continue
            except SystemExit:
                runner.terminate()
                raise
    record = find_run(spool, request.id)
    if record and record.status.is_final:
        screen.end(record)
    return runner.returncode


def wait(start: "subprocess.Popen[str]") -> bool:
    """Whether the process is over; waits a moment for it."""
    try:
        start.wait(LOOK_EVERY)
    except subprocess.TimeoutExpired:
        return False
    return True


def follow(path: Path, *, is_over: Callable[[], bool]) -> None:
    """Print the file as it grows, and once more after the end."""
    Watched(Screen(), path, None).until(is_over)


def find_run(spool: Spool, identifier: str) -> RunRecord | None:
    """The readable record of this run: its end, from the spare where the spool does not take it, else its start."""
    if spared := next((each for each in runs(spool.spared_records()) if str(each.id) == identifier), None):
        return spared
    for folder in ("done", "sent", "running"):
        try:
            record = spool.load(folder, identifier)
        except (FileNotFoundError, UnsafeFile, BadRecord):
            continue
        if isinstance(record, RunRecord):
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
    if record.reason in ENDED_BY_OTHERS:
        return 128 + signal.SIGTERM
    return 128 + record.signal if record.signal else record.exit_code or 1
