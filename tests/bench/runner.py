"""What a run costs: Rota's runner beside other ways to have `true` run, in one session.

    python -m tests.bench.runner [--rounds 300] [--only starts,many,workers,units,output]

Prints markdown: medians, what each adds to plain `true`, its ratio to the bare interpreter, and memory. Needs the
Debian packages that `./run test` installs; the resident workers come from requirements/bench.txt, into an environment
of their own. The units need root, for the lab. What cannot be measured here is named, with what would be needed.
Takes about three minutes, and leaves nothing but that environment behind.
"""

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "agent/src"))

from provision.lab.errors import LabUnavailable  # noqa: E402 - the path comes first
from tests.bench import runner_lab, runner_output, runner_peers, runner_starts  # noqa: E402 - as above

PARTS = ("starts", "many", "workers", "units", "output")
HEADING = (
    "`true` is run by",
    "ms",
    "added ms",
    "beside the bare interpreter",
    "memory, MB",
    "what is left of a success",
)
MEGABYTE = 1_000_000


def main() -> None:
    options = arguments()
    began = time.monotonic()
    (ROOT / ".cache").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / ".cache", prefix="bench-") as name:
        folder = Path(name)
        runner_starts.make_spool(folder)
        show(f"{os.cpu_count()} CPUs, {platform.release()}, Python {platform.python_version()}, load {load()}", "")
        if options.only & {"starts", "workers", "units"}:
            show_table(HEADING, compare(folder, options))
        if "many" in options.only:
            show_many(folder)
    if "output" in options.only:
        with tempfile.TemporaryDirectory(dir=ROOT / ".cache", prefix="bench-") as name:
            show_output(Path(name))
    show(f"Taken in {time.monotonic() - began:.0f} s; load {load()} at the end")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=300, help="starts of each; of workers' jobs and units fewer")
    parser.add_argument("--only", type=lambda words: set(words.split(",")), default=set(PARTS), metavar="PART,...")
    options = parser.parse_args()
    if unknown := options.only - set(PARTS):
        parser.error(f"unknown part {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    return options


def compare(folder: Path, options: argparse.Namespace) -> Iterator[list[str]]:
    """The rows of the comparison: what starts a process each time, what is always there, and what systemd starts."""
    wanted = runner_starts.starts(folder)
    if lacking := runner_starts.missing([*wanted, runner_starts.TIME]):
        lack(f"some starts and their memory: apt-get install {' '.join(lacking)}")
    found = [start for start in wanted if not runner_starts.missing([start])]
    taken = runner_starts.measure({start.name: start.command for start in found}, options.rounds)
    medians = {name: statistics.median(times) for name, times in taken.items()}
    plain, bare = medians[runner_starts.PLAIN], medians[runner_starts.BARE]
    if "starts" in options.only:
        for start in found:
            peak = runner_starts.memory(start.command, folder)
            yield row(start.name, medians[start.name], plain, bare, peak, start.leaves)
    if "workers" in options.only:
        yield from compare_workers(options.rounds)
    if "units" in options.only:
        yield from compare_units(options.rounds // 5)


def compare_workers(jobs: int) -> Iterator[list[str]]:
    try:
        for worker in runner_peers.measure_workers(jobs):
            rest = (worker.plain, worker.bare, worker.resident, worker.leaves)
            yield row(f"{worker.name}: a job of its own", worker.single, *rest)
            yield row(f"{worker.name}: each of {jobs}", worker.many, *rest)
    except runner_peers.CannotMeasure as error:
        lack(f"resident workers: {error}")


def compare_units(rounds: int) -> Iterator[list[str]]:
    try:
        units = list(runner_lab.measure_units(rounds))
    except LabUnavailable as error:
        lack(f"units: {error}")
        return
    for unit in units:
        yield row(unit.name, unit.milliseconds, units[0].milliseconds, None, None, unit.leaves)


def row(name: str, median: float, base: float, bare: float | None, memory: int | None, leaves: str) -> list[str]:
    ratio = f"{median / bare:.2f}" if bare else "-"
    megabytes = f"{memory / MEGABYTE:.1f}" if memory else "-"
    return [name, f"{median:.2f}", f"{median - base:.2f}", ratio, megabytes, leaves]


def show_many(folder: Path) -> None:
    runs, at_once = 600, 16
    seconds, found = runner_starts.run_many(folder, runs=runs, at_once=at_once)
    show("", f"{runs} runs, {at_once} at a time: {found} succeeded and left their record, in {seconds:.1f} s.")


def show_output(folder: Path) -> None:
    show("", "What a task that prints takes, in milliseconds, and what the runner needs meanwhile:", "")
    heading = ("prints", "under the runner", "into `cat`", "into nothing", "beside `cat`", "peak memory, MB")
    show_table(heading, (output_row(printed) for printed in runner_output.measure_output(folder, rounds=5)))


def output_row(printed: runner_output.Printed) -> list[str]:
    ratio = f"{printed.under_runner / printed.into_pipe:.2f}"
    times = (f"{taken:.1f}" for taken in (printed.under_runner, printed.into_pipe, printed.into_nothing))
    return [printed.what.name, *times, ratio, f"{printed.peak / MEGABYTE:.2f}"]


def show_table(heading: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Row by row as they are measured, so that one sees the work go on."""
    show(f"| {' | '.join(heading)} |", "|" + "---|" * len(list(heading)))
    for cells in rows:
        show(f"| {' | '.join(cells)} |")


def show(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)


def lack(what: str) -> None:
    print(f"Not measured: {what}", file=sys.stderr, flush=True)


def load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    main()
