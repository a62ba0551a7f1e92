"""`python -m rota.packs.backup`: the commands of backups, for operators and for the units of its tasks."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rota.adapters import borg
from rota.adapters.borg import Secure
from rota.adapters.report import report_of
from rota.core.errors import RotaError
from rota.packs.backup import configuration, handing, keeping, restoring, work
from rota.packs.backup.configuration import Places
from rota.packs.backup.handing import Offer
from rota.packs.backup.manifest import Kind
from rota.packs.backup.outcome import Outcome, tell
from rota.packs.backup.restoring import Found
from rota.packs.backup.workplace import working_folder

Command = Callable[[argparse.Namespace, Places, datetime], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 1 for a check that failed, 2 for what an operator has to put right."""
    words = parser().parse_args(arguments)
    places = Places(etc=words.etc, state=words.state)
    try:
        words.function(words, places, datetime.now(UTC))
    except work.SomeFailed as error:
        print(error, file=sys.stderr)
        return 1
    except RotaError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def back_up(words: argparse.Namespace, places: Places, now: datetime) -> None:
    """Make one archive of this host and send it."""
    sender = configuration.sender(places)
    work.back_up(sender, places, now, _tell, accept_shrinking=words.accept_shrinking)


def _on_the_store(name: str) -> Command:
    doing: Callable[..., Outcome] = getattr(work, name)

    def function(words: argparse.Namespace, places: Places, now: datetime) -> None:
        outcome = doing(configuration.store(places), places, now)
        _tell(outcome)
        work.require_all(outcome)

    function.__doc__ = f"On the store: {(doing.__doc__ or '').strip()[:1].lower()}{(doing.__doc__ or '').strip()[1:]}"
    return function


def list_archives(words: argparse.Namespace, places: Places, now: datetime) -> None:
    """List archives, newest first, with their age."""
    for archive in sorted(borg.archives(_repository(words.sender, places)), key=lambda one: one.at, reverse=True):
        print(f"{archive.name}  {archive.at:%Y-%m-%d %H:%M:%S} UTC  {_age(now - archive.at)}")


def restore_db(words: argparse.Namespace, places: Places, now: datetime) -> None:
    """Restore a database beside, compare it with its manifest, swap it in."""
    restoring.require_confirmed(places.environment(), confirmed=words.confirmed)
    kind = Kind(words.kind)
    with working_folder(places, "restore") as folder:
        dumps = _fetched(words, places, kind, folder) if words.offer else _extracted(words, places, kind, folder)
        done = restoring.restore_first_good(dumps, now, _say)
    _say(f"restored {done.source.name} from {done.archive}, backed up {done.manifest.started:%Y-%m-%d %H:%M} UTC")


def find_db(words: argparse.Namespace, places: Places, now: datetime) -> None:
    """Say which backup of a database `restore-db` would take; changes nothing."""
    with working_folder(places, "find") as folder:
        dump = restoring.first_good(_extracted(words, places, Kind(words.kind), folder))
    _say(f"{words.database}: {dump.archive}, backed up {dump.manifest.started:%Y-%m-%d %H:%M} UTC, is whole")
    _say(f"{dump.source.size} bytes, {_age(now - dump.manifest.started)}")


def restore_files(words: argparse.Namespace, places: Places, now: datetime) -> None:
    """Bring a directory back beside and swap it in; what was there is kept."""
    restoring.require_confirmed(places.environment(), confirmed=words.confirmed)
    repository = _repository(None, places)
    name = restoring.restore_files(repository, _wanted(borg.archives(repository), words), words.directory, now)
    _say(f"restored {words.directory} from {name}")


def hand_out(words: argparse.Namespace, places: Places, now: datetime) -> None:
    """On the store: offer one database of one sender to the holder of a key, for two hours."""
    store = configuration.store(places)
    repository = store.open(words.sender, places)
    with working_folder(places, "hand-out") as folder:
        archives = _wanted(borg.archives(repository), words)
        good = restoring.good_ones(repository, archives, Kind(words.kind), words.database, folder, _say)
        dump = restoring.first_good(good)
        handing.offer(store, dump, words.public_key, now)
    _say(f"{words.database} of {dump.archive} is on offer until {now + handing.VALID:%H:%M} UTC")


def take_back(words: argparse.Namespace, places: Places, now: datetime) -> None:
    """On the store: end every offer."""
    handing.withdraw(configuration.store(places))


def make_key(words: argparse.Namespace, places: Places, now: datetime) -> None:
    """Make the one-time key for an offer and print its public half."""
    print(handing.make_key(places))


def forget_key(words: argparse.Namespace, places: Places, now: datetime) -> None:
    """Remove the one-time key."""
    handing.forget_key(places)


def export_key(words: argparse.Namespace, places: Places, now: datetime) -> None:
    """Print the sealed key of a repository, to be kept away from the estate together with the passphrase."""
    print(borg.run(_repository(words.sender, places), borg.export_key_command()).output.decode(), end="")


def list_transactions(words: argparse.Namespace, places: Places, now: datetime) -> None:
    """On the store: list the transactions a repository can be rolled back to."""
    for one in keeping.transactions(configuration.store(places), words.sender, places):
        print(f"{one.number}  {one.at}")


def roll_back(words: argparse.Namespace, places: Places, now: datetime) -> None:
    """On the store: undo what a sender did after a transaction."""
    aside = keeping.roll_back(configuration.store(places), words.sender, places, words.to, now)
    _say(f"{words.sender} is back at transaction {words.to}; what came after is in {aside}")


def trust(words: argparse.Namespace, places: Places, now: datetime) -> None:
    """On the store: take a repository as it is now for good, whatever the ledger remembers."""
    keeping.trust(places, words.sender, now)


def _fetched(words: argparse.Namespace, places: Places, kind: Kind, folder: Path) -> Iterator[Found]:
    secure = Secure(handing.one_time_key(places), words.known_hosts)
    yield handing.fetch(Offer(words.offer, words.port, secure), kind, words.database, folder)


def _extracted(words: argparse.Namespace, places: Places, kind: Kind, folder: Path) -> Iterator[Found]:
    repository = _repository(words.sender, places)
    archives = _wanted(borg.archives(repository), words)
    return restoring.good_ones(repository, archives, kind, words.database, folder, _say)


def _wanted(archives: Sequence[borg.Archive], words: argparse.Namespace) -> list[borg.Archive]:
    if words.archive:
        archives = [archive for archive in archives if archive.name == words.archive]
    return restoring.candidates(archives, words.at)


def _repository(sender: str | None, places: Places) -> borg.Repository:
    """On the store the sender's, on a sender its own."""
    if sender:
        return configuration.store(places).open(sender, places)
    return configuration.sender(places).open(places)


def _tell(outcome: Outcome) -> None:
    tell(outcome, report_of(os.environ))


def _say(text: str) -> None:
    print(text, flush=True)


def _age(age: object) -> str:
    return f"{str(age).split('.')[0]} ago"


def _time(text: str) -> datetime | None:
    """ISO 8601, UTC where no zone is given; empty means none."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write 2026-03-01T12:00 (UTC) or with a zone") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def parser() -> argparse.ArgumentParser:
    """The parser of `rota backup`."""
    made = argparse.ArgumentParser(prog="rota backup", description="Backups: send, keep, check, restore.")
    made.add_argument("--etc", type=Path, default=Places().etc, help=argparse.SUPPRESS)
    made.add_argument("--state", type=Path, default=Places().state, help=argparse.SUPPRESS)
    commands = made.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, function: Command, *parts: Callable[[argparse.ArgumentParser], None]) -> None:
        added = commands.add_parser(name, help=function.__doc__, description=function.__doc__)
        added.set_defaults(function=function)
        for part in parts:
            part(added)

    command("send", back_up, _add_acceptance)
    for name in ("prune", "check", "drill", "freshness"):
        command(name, _on_the_store(name))
    command("list", list_archives, _add_optional_sender)
    command("find-db", find_db, _add_optional_sender, _add_choice, _add_archive)
    command("restore-db", restore_db, _add_optional_sender, _add_choice, _add_archive, _add_confirmation, _add_offer)
    command("restore-files", restore_files, _add_directory, _add_archive, _add_confirmation)
    command("hand-out", hand_out, _add_sender, _add_choice, _add_archive, _add_public_key)
    command("take-back", take_back)
    command("make-key", make_key)
    command("forget-key", forget_key)
    command("export-key", export_key, _add_optional_sender)
    command("transactions", list_transactions, _add_sender)
    command("roll-back", roll_back, _add_sender, _add_transaction)
    command("trust", trust, _add_sender)
    return made


def _add_sender(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sender", help="the host whose backups are meant")


def _add_optional_sender(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sender", help="on the store: the host whose backups are meant")


def _add_choice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("database", help="its name, or the path of a SQLite file")
    parser.add_argument("--kind", choices=[Kind.POSTGRESQL, Kind.SQLITE], default=Kind.POSTGRESQL)


def _add_acceptance(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--accept-shrinking", action="store_true", help="what is there now is right, however little")


def _add_directory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", type=Path, help="as `backup.sender.sources.directories` names it")


def _add_archive(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--at", type=_time, metavar="TIME", help="the newest good one at or before then")
    parser.add_argument("--archive", default="", help="this archive and no other, even if it was marked")


def _add_confirmation(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--confirmed", action="store_true", help="production may be replaced")


def _add_offer(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--offer", metavar="USER@ADDRESS", help="fetch what a store has on offer for this host")
    parser.add_argument("--port", type=int, default=22, help="where the store's SSH listens")
    parser.add_argument("--known-hosts", type=Path, default=Places().etc / "known_hosts", help=argparse.SUPPRESS)


def _add_public_key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--public-key", required=True, help="what `rota backup make-key` printed on the other host")


def _add_transaction(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--to", type=int, required=True, metavar="TRANSACTION", help="see `rota backup transactions`")


if __name__ == "__main__":
    sys.exit(main())
