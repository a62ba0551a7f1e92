"""`python -m rota.packs.reports`: the commands of reports, for operators and for those who write reports."""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from pathlib import Path

from rota.core.errors import RotaError
from rota.packs.reports import importing
from rota.packs.reports.folder import read_folder, write_folder
from rota.packs.reports.frequency import is_due
from rota.packs.reports.reviewing import Remark, Sort, of_body, review

Command = Callable[[argparse.Namespace], int]
FOLDER = Path("reports")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 1 where something was found, 2 for what an operator has to put right."""
    words = parser().parse_args(arguments)
    try:
        return int(words.function(words))
    except RotaError as error:
        print(error, file=sys.stderr)
        return 2


def due(words: argparse.Namespace) -> int:
    """List the reports that are due on a day."""
    for name, task in read_folder(words.folder).reports.items():
        if is_due(task, words.date):
            print(name)
    return 0


def check(words: argparse.Namespace) -> int:
    """Check names, syntax, imports, and what the code guard finds, in a folder of definitions."""
    return told(review(read_folder(words.folder)))


def lint(words: argparse.Namespace) -> int:
    """Show syntax errors and what the code guard finds in scripts."""
    return told(remark for file in words.files for remark in of_body(content_of(file), str(file)))


def import_database(words: argparse.Namespace) -> int:
    """Import a database of the original system into a folder of definitions, and tell what came of it."""
    password = importing.password_of(words.password_file)
    imported = importing.read_database(words.url, password, logs=words.logs)
    for line in importing.tell(imported, date.today()):  # noqa: DTZ011 - the host's own day
        print(line)
    if not words.dry_run:
        changed = write_folder(imported.definitions, words.folder)
        print(f"{len(changed)} files changed in {words.folder}")
        if words.logs_file:
            save_logs(imported, words.logs_file)
    return 0


def save_logs(imported: importing.Imported, file: Path) -> None:
    """Raises Unwritable."""
    try:
        importing.write_logs(imported.logs, file)
    except OSError as error:
        raise Unwritable(f"{file}: {error.strerror}") from None
    print(f"{len(imported.logs)} run logs written to {file}")


def told(remarks: Iterable[Remark]) -> int:
    """1 where there is what keeps a report from running; what the guard finds is only said."""
    found = list(remarks)
    for remark in found:
        print(remark)
    return int(any(remark.sort is not Sort.GUARD for remark in found))


class Unreadable(RotaError):
    """This file cannot be read."""


class Unwritable(RotaError):
    """This file cannot be written."""


def content_of(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8")
    except OSError as error:
        raise Unreadable(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Unreadable(f"{file}: it is not UTF-8") from None


def day(text: str) -> date:
    """Of an argument, as in 2026-03-01."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day: write 2026-03-01") from None


def parser() -> argparse.ArgumentParser:
    """The parser of `rota reports`."""
    made = argparse.ArgumentParser(prog="rota reports", description="Reports: what is due, checks, and importing.")
    commands = made.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, function: Command) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=function.__doc__, description=function.__doc__)
        added.set_defaults(function=function)
        return added

    today = datetime.now().astimezone().date()
    asked = command("due", due)
    asked.add_argument("--date", type=day, default=today, metavar="DAY", help="as in 2026-03-01; today unless given")
    asked.add_argument("--folder", type=Path, default=FOLDER, help="of definitions")
    command("check", check).add_argument("folder", type=Path, nargs="?", default=FOLDER, help="of definitions")
    command("lint", lint).add_argument("files", type=Path, nargs="+", metavar="FILE", help="a script")
    into = command("import", import_database)
    into.add_argument("url", metavar="URL", help="mysql://user@host/database or postgresql://…, without a password")
    into.add_argument("--folder", type=Path, default=FOLDER, help="where the definitions go")
    into.add_argument("--password-file", type=Path, metavar="FILE", help=f"else {importing.PASSWORD} is used")
    into.add_argument("--logs", type=int, default=importing.LOGS, metavar="N", help="run logs read of each report")
    into.add_argument("--logs-file", type=Path, metavar="FILE", help="where run logs go, for rota-diary import_reports")
    into.add_argument("--dry-run", action="store_true", help="only tell what would come of it")
    return made


if __name__ == "__main__":
    sys.exit(main())
