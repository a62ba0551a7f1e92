"""A mirror in a process of its own, watched by one that undoes an unproven switch should the worker be killed."""

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from rota.adapters import postgres
from rota.adapters.postgres import RestoreUnderWay
from rota.adapters.report import Report
from rota.core.errors import RotaError
from rota.packs.mirror import mirroring, switch
from rota.packs.mirror.configuration import load_destination
from rota.packs.mirror.progress import Progress


class MirrorKilled(RotaError):
    """The mirror was killed; this host is as it was before."""


def tell(line: str) -> None:
    print(line, flush=True)


def run(file: Path, report: Report) -> int:
    """Mirror production here. Returns the worker's exit code; raises `MirrorKilled`."""
    mirroring.require_destination()
    worker = os.fork()
    if worker == 0:
        os._exit(finish(lambda: guarded(lambda: work(file, report))))
    signal.signal(signal.SIGTERM, lambda *_: os.kill(worker, signal.SIGTERM))
    code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    if code:
        with suppress(RestoreUnderWay):  # who is at work sees to it
            recover(file)
    if code < 0:
        raise MirrorKilled(f"by {signal.Signals(-code).name}")
    return code


def work(file: Path, report: Report) -> int:
    """Mirror production here, in this process."""
    destination = load_destination(file)
    signal.signal(signal.SIGTERM, leave)
    result = mirroring.mirror(destination, Progress(tell), datetime.now(UTC))
    for line in mirroring.report(result.masked):
        tell(line)
    for one in result.masked:
        report.item(f"{one.table}.{one.column}", "masked", f"{one.rule}, {one.rows} rows")
    for name, value in result.counts.items():
        report.count(name, value)
    return 0


def leave(number: int, _frame: FrameType | None) -> None:
    """A service is stopped by a signal, which alone would skip everything that cleans up."""
    sys.exit(128 + number)


def recover(file: Path) -> int:
    """Undo an unproven switch and remove what else an interrupted mirror left.

    Raises `RestoreUnderWay` when a mirror is at work that will see to it itself.
    """
    mirroring.require_destination()
    destination = load_destination(file)
    with postgres.restoring(destination.database, destination.server):
        if switch.recover(destination, datetime.now(UTC)):
            tell("a mirror was interrupted in its switch; everything is back as it was before")
        mirroring.clear(destination)
    return 0


def guarded(work: Callable[[], int]) -> int:
    """The exit code of work; an error that an operator can do something about is one line."""
    try:
        return work()
    except RotaError as error:
        print(error, file=sys.stderr)
        return 2


def finish(work: Callable[[], int]) -> int:
    """The exit code of work that may end by `sys.exit`, once all it said is written."""
    try:
        return work()
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
