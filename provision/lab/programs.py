"""The one place where the lab starts other programs and waits for conditions."""

import fcntl
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from provision.lab.errors import ProgramFailed

PACKAGE_ROOT = Path(__file__).resolve().parents[2]  # so that `python -m provision.…` finds what we are


def call(
    argv: Sequence[str],
    *,
    stdin: str = "",
    log: Path | None = None,
    enter: Callable[[], None] | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a program and return what it printed. Raises ProgramFailed with the end of what it said.

    With `log`, all it says is added to that file as well. `enter` runs in the new process before all else.
    """
    done = subprocess.run(
        argv,
        input=stdin,
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, **(environment or {})},
        preexec_fn=enter,
        check=False,
    )
    if log is not None:
        with log.open("a", encoding="utf-8") as file:
            file.write(f"+ {shlex.join(argv)}\n{done.stdout}{done.stderr}")
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
        raise ProgramFailed(f"{shlex.join(argv)} (exit {done.returncode}): {' / '.join(said)}")
    return done.stdout


def start(argv: Sequence[str], output: Path, enter: Callable[[], None], environment: Mapping[str, str]) -> None:
    """Start a program that outlives us as init's child, its output to a file; `enter` runs in it before all else."""
    with output.open("ab") as out:
        subprocess.run(
            ["setsid", "--fork", *argv],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**os.environ, **environment},
            cwd=PACKAGE_ROOT,
            preexec_fn=enter,
            check=True,
        )


def wait_until(condition: Callable[[], bool], seconds: float, what: str, error: type[Exception]) -> None:
    """Ask until the condition holds. Raises `error` when it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    pause = 0.01
    while not condition():
        if time.monotonic() > deadline:
            raise error(f"{what} (waited {seconds:g} s)")
        time.sleep(pause)  # what is waited for (a boot, a namespace's end) cannot wake us
        pause = min(pause * 1.5, 0.2)


@contextmanager
def locked(path: Path, say: Callable[[str], object] | None = None) -> Iterator[None]:
    """Hold a kernel lock on a file; it ends with its holder. `say` is told once when another holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if say is not None:
                say(f"waiting for another that holds {path}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
