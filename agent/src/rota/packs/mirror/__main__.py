"""The mirror's command line: `run`, `recover` and `check` where it arrives, `serve` where it comes from."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from rota.adapters import postgres
from rota.core import masking
from rota.core.errors import RotaError
from rota.packs.mirror import mirroring, source, switch
from rota.packs.mirror.configuration import FILE, load_destination, load_serving
from rota.packs.mirror.progress import Progress
from rota.packs.mirror.serve import serve


def tell(line: str) -> None:
    print(line, flush=True)


def report_to_run(result: mirroring.Result) -> None:
    """Hand items and counts to the run this is the work of, if it is any."""
    if descriptor := os.environ.get("ROTA_REPORT_FD"):
        lines: list[dict[str, object]] = [
            {"item": f"{one.table}.{one.column}", "outcome": one.rule, "message": f"{one.rows} rows masked"}
            for one in result.masked
        ]
        lines += [{"count": name, "value": value} for name, value in result.counts.items()]
        with os.fdopen(int(descriptor), "w", closefd=False) as stream:
            stream.writelines(json.dumps(line) + "\n" for line in lines)


def work(file: Path) -> int:
    """Mirror production here."""
    destination = load_destination(file)
    signal.signal(signal.SIGTERM, leave)
    result = mirroring.mirror(destination, Progress(tell), datetime.now(UTC))
    for line in mirroring.report(result.masked):
        tell(line)
    report_to_run(result)
    return 0


def leave(number: int, _frame: FrameType | None) -> None:
    """A service is stopped by a signal, which alone would skip everything that cleans up."""
    sys.exit(128 + number)


def run(file: Path) -> int:
    """Do the work in a process of its own, and undo an unproven switch at once should that process be killed."""
    mirroring.require_destination()
    worker = os.fork()
    if worker == 0:
        os._exit(finish(lambda: obey(work, file)))
    signal.signal(signal.SIGTERM, lambda *_: os.kill(worker, signal.SIGTERM))
    code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    if code:
        recover(file)
    return code if code >= 0 else 128 - code


def finish(work: Callable[[], int]) -> int:
    """The exit code of work that may end by `sys.exit`, once all it said is written."""
    try:
        return work()
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def recover(file: Path) -> int:
    """Undo an unproven switch, unless a mirror is under way that will see to it itself."""
    mirroring.require_destination()
    destination = load_destination(file)
    if not switch.journal(destination).exists():
        return 0
    with postgres.restoring(destination.database, destination.server):
        if switch.recover(destination, datetime.now(UTC)):
            tell("a mirror was interrupted in its switch; everything is back as it was before")
    return 0


def check(file: Path) -> int:
    """Ask production for its columns and say whether the rules fit; copies nothing."""
    mirroring.require_destination()
    destination = load_destination(file)
    plan = masking.plan(destination.rules, source.about(destination.source).columns)
    for table in plan.tables:
        for one in table.columns:
            tell(f"{one.column.label}: {one.rule}")
    return 0


def answer(file: Path) -> int:
    """Answer the one request that an SSH client made."""
    return serve(os.environ.get("SSH_ORIGINAL_COMMAND", ""), load_serving(file))


COMMANDS: dict[str, Callable[[Path], int]] = {
    "run": run,
    "work": work,
    "recover": recover,
    "check": check,
    "serve": answer,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="rota-mirror", description=(__doc__ or "").strip())
    parser.add_argument("--configuration", type=Path, default=FILE, help=f"default: {FILE}")
    parser.add_argument("command", choices=COMMANDS)
    options = parser.parse_args()
    return obey(COMMANDS[options.command], options.configuration)


def obey(command: Callable[[Path], int], file: Path) -> int:
    try:
        return command(file)
    except RotaError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
