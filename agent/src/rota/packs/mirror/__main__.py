"""The mirror's command line: `run`, `recover` and `check` where it arrives, `serve` where it comes from."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from rota.adapters.report import report_of
from rota.core import masking
from rota.packs.mirror import mirroring, source, supervise
from rota.packs.mirror.configuration import FILE, load_destination, load_serving
from rota.packs.mirror.serve import serve


def check(file: Path) -> int:
    """Ask production for its columns and say whether the rules fit; copies nothing."""
    mirroring.require_destination()
    destination = load_destination(file)
    plan = masking.plan(destination.rules, source.about(destination.source).columns)
    for table in plan.tables:
        for one in table.columns:
            supervise.tell(f"{one.column.label}: {one.rule}")
    return 0


def work(file: Path) -> int:
    """Mirror production here, unwatched."""
    mirroring.require_destination()
    return supervise.work(file, report_of(os.environ))


COMMANDS: dict[str, Callable[[Path], int]] = {
    "run": lambda file: supervise.run(file, report_of(os.environ)),
    "work": work,
    "recover": supervise.recover,
    "check": check,
    "serve": lambda file: serve(os.environ.get("SSH_ORIGINAL_COMMAND", ""), load_serving(file)),
}


def parser() -> argparse.ArgumentParser:
    """The parser of `rota mirror`."""
    made = argparse.ArgumentParser(prog="rota-mirror", description=(__doc__ or "").strip())
    made.add_argument("--configuration", type=Path, default=FILE, help=f"default: {FILE}")
    made.add_argument("command", choices=COMMANDS)
    return made


def main() -> int:
    options = parser().parse_args()
    return supervise.guarded(lambda: COMMANDS[options.command](options.configuration))


if __name__ == "__main__":
    sys.exit(main())
