"""What it costs to start `true` by several means, taken in turn; and whether many runs at once leave every record."""

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import rota
from rota.adapters.spool import Spool
from rota.core.catalogue import Agent
from rota.core.places import on_host
from rota.core.plan import Plan, Planned, write_plan
from rota.core.status import Environment
from rota.core.task import Task
from rota.units import PYTHON, runner_arguments, runner_command

PACKAGE = Path(rota.__file__).parent
AGENT = Agent(host="here", environment=Environment.DEVELOPMENT)
TRUE = "/bin/true"
PLAIN, BARE = "`true` itself", "the bare interpreter, `python3 -I -S`"


@dataclass(frozen=True)
class Start:
    """One way to start `true`, the Debian package that has it, and what it leaves of a run that succeeded."""

    name: str
    command: tuple[str, ...]
    package: str
    leaves: str = "nothing"


TIME = Start("GNU time", ("/usr/bin/time",), "time")


def runner(folder: Path, *work: str, task: str = "bench") -> list[str]:
    """A run as the unit of a task with a schedule starts it, on a host whose files lie in this folder."""
    planned = Task(name=task, description=task, command=work, schedule=("*-*-* 02:40:00",), zone="UTC")
    places = on_host(folder)
    arguments = runner_arguments(planned, AGENT, places, trigger="timer", unit_hash="0" * 12)
    return [*runner_command(PACKAGE), *arguments, "--", *work]


def make_spool(folder: Path) -> Spool:
    """The spool, and what else a run finds on a host: a folder for locks, and the plan of the task `bench`."""
    places = on_host(folder)
    places.locks.mkdir(parents=True, exist_ok=True)
    places.plans.mkdir(parents=True, exist_ok=True)
    yesterday = datetime.now(UTC) - timedelta(days=1)
    hours = (yesterday + timedelta(hours=number) for number in range(7 * 24))
    places.plan("bench").write_text(write_plan(Plan(slots=tuple(map(Planned, hours)))))
    spool = Spool(places.spool, places.spare)
    spool.make()
    return spool


def starts(folder: Path) -> list[Start]:
    return [
        Start(PLAIN, (TRUE,), "coreutils"),
        Start("`sh -c`", ("/bin/sh", "-c", f"{TRUE}; exit"), "dash"),
        Start("`flock`", ("flock", str(folder / "flock"), TRUE), "util-linux"),
        Start("`cronic`", ("cronic", TRUE), "cronic"),
        Start("`chronic`", ("chronic", TRUE), "moreutils"),
        Start("`python3 -S`", ("/usr/bin/python3", "-S", "-c", "pass"), "python3"),
        Start(BARE, (*PYTHON, "-c", "pass"), "python3"),
        Start(
            "Rota's runner", tuple(runner(folder, TRUE)), "python3", "a record on disk before and after, and the output"
        ),
    ]


def missing(wanted: Sequence[Start]) -> list[str]:
    """The Debian packages to install for what cannot be measured here."""
    return [start.package for start in wanted if not shutil.which(start.command[0])]


def measure(commands: Mapping[str, Sequence[str]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each start; taken in turn, so that a busy moment falls on all."""
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            began = time.perf_counter()
            _, status = os.waitpid(os.posix_spawnp(command[0], list(command), os.environ), 0)
            taken[name].append((time.perf_counter() - began) * 1000)
            if status:
                raise RuntimeError(f"{name} ended with {os.waitstatus_to_exitcode(status)}")
    return taken


def memory(command: Sequence[str], folder: Path, rounds: int = 5) -> int:
    """The command's peak in bytes, by GNU time: it is small, and a child's peak begins with its parent's."""
    peaks = []
    for _ in range(rounds):
        subprocess.run(["/usr/bin/time", "-f", "%M", "-o", str(folder / "peak"), *command], check=True)
        peaks.append(int((folder / "peak").read_text()) * 1024)
    return int(statistics.median(peaks))


def run_many(folder: Path, *, runs: int, at_once: int) -> tuple[float, int]:
    """Start that many runs, so many at once; returns the seconds, and how many of their records are in the spool."""
    spool = make_spool(folder)
    before = set(spool.names("done"))

    def one(number: int) -> None:
        subprocess.run(runner(folder, TRUE, task=f"task{number}"), check=True)

    began = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(one, range(runs)))
    seconds = time.perf_counter() - began
    records = [spool.load("done", name) for name in set(spool.names("done")) - before]
    return seconds, len({record.task for record in records if record.status == "succeeded"})
