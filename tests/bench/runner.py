"""What a run costs: the runner beside other ways to start `true`, side by side in one session.

    python tests/bench/runner.py [ROUNDS]

Prints medians in milliseconds, what each adds to plain `true`, its ratio to the bare interpreter, and the runner's
peak memory without output and with 1 GB of it. Leaves nothing behind.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "agent/src"))

from rota.adapters.spool import Spool  # noqa: E402 - the path comes first
from rota.core.record import RunRecord  # noqa: E402 - as above
from rota.units import PYTHON, runner_command  # noqa: E402 - as above

PACKAGE = ROOT / "agent/src/rota"


def runner(folder: Path, *work: str) -> list[str]:
    places = (f"spool={folder}/spool", f"spare={folder}/spare", f"lock={folder}/lock")
    return [*runner_command(PACKAGE), "task=bench", "host=here", "environment=development", *places, "--", *work]


def candidates(folder: Path) -> dict[str, list[str]]:
    wanted = {
        "true": ["/bin/true"],
        "sh -c true": ["/bin/sh", "-c", "/bin/true; exit"],
        "flock": ["flock", str(folder / "flock"), "/bin/true"],
        "chronic": ["chronic", "/bin/true"],
        "python3 -I -S, bare": [*PYTHON, "-c", "pass"],
        "rota's runner": runner(folder, "/bin/true"),
        "the runner as a script": [
            *PYTHON, str(PACKAGE / "runner.py"), *runner(folder, "/bin/true")[len(runner_command(PACKAGE)) :]
        ],
    }  # fmt: skip
    return {name: command for name, command in wanted.items() if shutil.which(command[0])}


def measure(commands: Mapping[str, Sequence[str]], rounds: int) -> dict[str, float]:
    """The median of each in milliseconds; taken in turn, so that a busy moment falls on all."""
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            began = time.perf_counter()
            os.waitpid(os.posix_spawnp(command[0], list(command), os.environ), 0)
            taken[name].append((time.perf_counter() - began) * 1000)
    return {name: statistics.median(times) for name, times in taken.items()}


def peak_memory(folder: Path, script: str) -> int:
    """The runner's own peak in kB, as the kernel tells its child, after the script has printed."""
    spool = Spool(folder / "spool", folder / "spare")
    before = set(spool.names("done"))
    work = ("/bin/sh", "-c", f'{script}; grep VmHWM "/proc/$PPID/status"')
    subprocess.run(runner(folder, *work), check=True)
    (name,) = set(spool.names("done")) - before
    record = spool.load("done", name)
    assert isinstance(record, RunRecord)
    return int(spool.output(record).rpartition("VmHWM:")[2].split()[0])


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory(dir=ROOT / ".cache", prefix="bench-") as name:
        folder = Path(name)
        Spool(folder / "spool", folder / "spare").make()
        medians = measure(candidates(folder), rounds)
        plain, bare = medians["true"], medians["python3 -I -S, bare"]
        print(f"{'':26}{'median ms':>10}{'added ms':>10}{'of bare':>9}")
        for name, median in medians.items():
            print(f"{name:26}{median:>10.2f}{median - plain:>10.2f}{median / bare:>8.2f}x")
        print(f"peak memory without output  {peak_memory(folder, 'true')} kB")
        print(f"peak memory with 1 GB       {peak_memory(folder, 'head -c 1000000000 /dev/zero')} kB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
