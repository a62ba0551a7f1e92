"""What the runner needs, and what it costs the work, when the work prints much: memory and time."""

import statistics
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rota.adapters.spool import Spool
from rota.core.record import RunRecord
from tests.bench.runner_starts import make_spool, memory, runner

GIGABYTE = 1_000_000_000


@dataclass(frozen=True)
class Print:
    """What a task may print; `command` is a shell's, `size` what it prints in bytes."""

    name: str
    command: str
    size: int


PRINTS = (
    Print("nothing", "true", 0),
    Print("1 GB of NUL bytes", f"head -c {GIGABYTE} /dev/zero", GIGABYTE),
    Print("1 GB in lines", f"yes 'one line of a log that goes on and on' | head -c {GIGABYTE}", GIGABYTE),
    Print("1 GB on one line", f"head -c {GIGABYTE} /dev/zero | tr '\\0' x", GIGABYTE),
    Print("1 GB that is not UTF-8", f"head -c {GIGABYTE} /dev/zero | tr '\\0' '\\377'", GIGABYTE),
    Print("100,000 lines at once", "seq 100000", 588_895),
)


@dataclass(frozen=True)
class Printed:
    """What came of one of them: the runner's peak in bytes; the work's own milliseconds there, and beside it."""

    what: Print
    peak: int
    under_runner: float
    into_pipe: float
    into_nothing: float


def measure_output(folder: Path, rounds: int) -> Iterator[Printed]:
    """Each of PRINTS under the runner, and beside it. Raises RuntimeError when a byte of them is not accounted for."""
    spool = make_spool(folder)
    for what in PRINTS:
        command = runner(folder, "/bin/sh", "-c", what.command)
        peaks: list[int] = []
        taken: list[tuple[float, float, float]] = []
        for _ in range(rounds):
            peaks.append(memory(command, folder, rounds=1))
            record = take_record(spool)
            check(record, what, spool)
            pipe = milliseconds(["/bin/sh", "-c", f"{{ {what.command}; }} | cat >/dev/null"])
            nothing = milliseconds(["/bin/sh", "-c", f"{{ {what.command}; }} >/dev/null"])
            taken.append(((record.duration or 0) * 1000, pipe, nothing))
        under, pipe, nothing = (statistics.median(times) for times in zip(*taken, strict=True))
        yield Printed(what, max(peaks), under, pipe, nothing)


def take_record(spool: Spool) -> RunRecord:
    """The one record there is, which is taken away."""
    (name,) = spool.names("done")
    record = spool.load("done", name)
    if not isinstance(record, RunRecord):
        raise RuntimeError(f"{name} is no record of a run")
    (spool.folder / "done" / f"{name}.json").unlink()
    return record


def check(record: RunRecord, what: Print, spool: Spool) -> None:
    if record.status != "succeeded" or record.output_bytes != what.size:
        raise RuntimeError(f"{what.name}: {record}")
    kept = (spool.folder / "output" / str(record.id)).stat().st_size
    if kept + record.output_dropped != what.size:
        raise RuntimeError(f"{what.name}: {kept} bytes kept and {record.output_dropped} dropped of {what.size}")


def milliseconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True)
    return (time.perf_counter() - began) * 1000
