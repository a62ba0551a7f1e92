"""Resident workers beside the runner: APScheduler, Huey and Procrastinate, installed from requirements/bench.txt."""

import getpass
import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from tests.agent.neighbours import as_user, newest_postgres, open_folder

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements/bench.txt"
ENVIRONMENT = ROOT / ".cache/bench-environment"
LEAVES = {
    "apscheduler": ("APScheduler, jobs in memory", "nothing: a listener is told"),
    "huey": ("Huey, its queue in SQLite", "the result, until it is fetched"),
    "procrastinate": ("Procrastinate, its queue in PostgreSQL", "rows of what happened when"),
}


@dataclass(frozen=True)
class Worker:
    """What one job costs in a worker that is always there: milliseconds, and the worker's resident bytes.

    `plain` and `bare` are what `true` and the bare interpreter took meanwhile.
    """

    name: str
    leaves: str
    single: float
    many: float
    resident: int
    plain: float
    bare: float


class CannotMeasure(Exception):
    """Something is missing, or a worker did not do its jobs."""


def install() -> Path:
    """The interpreter of an environment that holds what the lock pins; made anew when the lock has changed."""
    stamp, python = ENVIRONMENT / ".stamp", ENVIRONMENT / "bin/python"
    if not stamp.exists() or stamp.read_bytes() != LOCK.read_bytes():
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        uv = str(Path(sys.executable).parent / "uv")
        for words in (
            ["venv", "--python", "/usr/bin/python3", str(ENVIRONMENT)],
            ["pip", "sync", "--python", str(python), "--require-hashes", str(LOCK)],
        ):
            done = subprocess.run([uv, *words, "--quiet"], capture_output=True, text=True, check=False)
            if done.returncode:
                raise CannotMeasure(f"{LOCK.name} cannot be installed: {done.stderr[-500:]}")
        shutil.copyfile(LOCK, stamp)
    return python


def measure_workers(jobs: int) -> Iterator[Worker]:
    python = install()
    for peer, (name, leaves) in LEAVES.items():
        with open_folder("bench") as folder:
            with durable_postgres(folder) if peer == "procrastinate" else nullcontext():
                script = str(Path(__file__).with_name("runner_worker.py"))
                command = [str(python), script, peer, str(folder), str(jobs)]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise CannotMeasure(f"{name}: {done.stderr[-2000:]}")
        found = json.loads(done.stdout.splitlines()[-1])
        figures = (found[key] for key in ("many", "resident", "plain", "bare"))
        yield Worker(name, leaves, statistics.median(found["single"]), *figures)


@contextmanager
def durable_postgres(folder: Path) -> Iterator[None]:
    """A PostgreSQL server as Debian sets it up, on a socket in the folder; whoever runs this is its superuser."""
    home = folder / "cluster"
    home.mkdir()
    if getpass.getuser() == "root":
        shutil.chown(folder, "postgres", "postgres")
        shutil.chown(home, "postgres", "postgres")
    try:
        programs = newest_postgres()
    except ValueError:
        raise CannotMeasure("there is no PostgreSQL; apt-get install postgresql") from None
    initdb = [
        f"{programs}/initdb",
        "--auth=peer",
        f"--username={getpass.getuser()}",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
    ]
    subprocess.run(as_user("postgres", [*initdb, f"{home}/data"]), check=True, capture_output=True, cwd="/")
    options = f"-c listen_addresses= -c unix_socket_directories={folder}"
    control = [f"{programs}/pg_ctl", f"--pgdata={home}/data", "--wait", "--silent", f"--log={home}/log"]
    subprocess.run(as_user("postgres", [*control, "start", f"--options={options}"]), check=True, cwd="/")
    try:
        yield
    finally:
        subprocess.run(as_user("postgres", [*control, "stop", "--mode=immediate"]), check=True, cwd="/")
