"""What it costs to start `true` by several means, taken in turn; and whether many runs at once leave every record."""

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import rota
from rota.adapters.spool import Spool
from rota.units import PYTHON, runner_command

PACKAGE = Path(rota.__file__).parent
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


def runner(folder: Path, *work: str, lock: str = "lock", task: str = "bench") -> list[str]:
    """A run as a unit starts it, with spool and lock in this folder."""
    places = (f"spool={folder}/spool", f"spare={folder}/spare", f"lock={folder}/{lock}")
    return [*runner_command(PACKAGE), f"task={task}", "host=here", "environment=development", *places, "--", *work]


def make_spool(folder: Path) -> Spool:
    spool = Spool(folder / "spool", folder / "spare")
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
        task = f"task{number}"
        subprocess.run(runner(folder, TRUE, lock=f"lock{number % at_once}-{number}", task=task), check=True)

    began = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(one, range(runs)))
    seconds = time.perf_counter() - began
    records = [spool.load("done", name) for name in set(spool.names("done")) - before]
    return seconds, len({record.task for record in records if record.status == "succeeded"})
