"""The store's side: it looks at what senders left, removes what is too old, checks, and rolls back."""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from rota.adapters import borg
from rota.core.errors import RotaError
from rota.packs.backup import ledger as ledgers
from rota.packs.backup.configuration import NotConfigured, Places, Store
from rota.packs.backup.ledger import Ledger
from rota.packs.backup.naming import is_checkpoint
from rota.packs.backup.retention import Keep, superfluous

REMEMBER_REMOVED = timedelta(days=400)
TRANSACTION = re.compile(r"transaction (\d+), UTC time (\S+)")


class BackupsStale(RotaError):
    """The newest backup is too old."""


class NothingToRollBackTo(RotaError):
    """The repository cannot be rolled back to this transaction."""


@dataclass(frozen=True)
class Kept:
    """One sender's repository, looked at and found as the ledger has it, for as long as the lock is held."""

    sender: str
    repository: borg.Repository
    folder: Path
    ledger: Ledger
    archives: tuple[borg.Archive, ...]
    checkpoints: tuple[borg.Archive, ...]
    file: Path

    def save(self, ledger: Ledger) -> None:
        """Replace the ledger on disk."""
        beside = self.file.with_suffix(".part")
        with beside.open("w") as out:
            out.write(ledgers.write(ledger))
            out.flush()
            os.fsync(out.fileno())
        beside.replace(self.file)


@dataclass(frozen=True)
class Transaction:
    """One append of the sender; the repository can go back to it until the next compaction."""

    number: int
    at: str


@contextmanager
def looked_at(store: Store, sender: str, places: Places, now: datetime) -> Iterator[Kept]:
    """Lock out the store's other work on this sender, look, remember. Raises what the ledger finds wrong."""
    repository = store.open(sender, places)
    with _locked(places, sender) as file:
        before = ledgers.read(file.read_text()) if file.is_file() else Ledger()
        archives, checkpoints = _archives(repository, sender)
        folder = store.repository(sender)
        after = ledgers.look(before, sender, archives, _settings(folder), newest_transaction(folder), now)
        kept = Kept(sender, repository, folder, after, archives, checkpoints, file)
        kept.save(after)
        yield kept


def prune(kept: Kept, keep: Keep, now: datetime) -> list[str]:
    """Remove what retention has no use for and free its space; returns the names of the archives."""
    if not kept.archives:
        return []
    archives = superfluous(kept.archives, keep)
    abandoned = [one for one in kept.checkpoints if one.at < now - ledgers.LONGEST_BACKUP]
    announced = ledgers.removing(kept.ledger, archives)
    kept.save(announced)
    if archives or abandoned:
        borg.run(kept.repository, borg.delete_command([one.name for one in (*archives, *abandoned)]))
    # Until the compaction all can be brought back, so this is the moment to see that nothing else is gone.
    left, _ = _archives(kept.repository, kept.sender)
    after = ledgers.look(announced, kept.sender, left, _settings(kept.folder), newest_transaction(kept.folder), now)
    borg.run(kept.repository, borg.compact_command())
    newest = newest_transaction(kept.folder)
    kept.save(ledgers.forgotten(replace(after, transaction=newest, floor=newest), now - REMEMBER_REMOVED))
    return [one.name for one in archives]


def check(kept: Kept, *, verify_data: bool) -> None:
    """Raise `BorgFailed` with what borg found damaged."""
    if kept.archives:
        borg.run(kept.repository, borg.check_command(verify_data=verify_data), may_warn=False)


def require_fresh(kept: Kept, stale_after: timedelta, now: datetime) -> timedelta:
    """The age of the newest backup. Raises `BackupsStale`."""
    if not kept.archives:
        raise BackupsStale(f"{kept.sender} has never been backed up")
    age = now - max(archive.at for archive in kept.archives)
    if age > stale_after:
        raise BackupsStale(f"{kept.sender}: {_hours(age)} old, at most {_hours(stale_after)} are right")
    return age


def transactions(store: Store, sender: str, places: Places) -> list[Transaction]:
    """The transactions one can go back to, oldest first."""
    with _locked(places, sender) as file:
        ledger = ledgers.read(file.read_text()) if file.is_file() else Ledger()
    log = store.repository(sender) / "transactions"
    logged = TRANSACTION.findall(log.read_text()) if log.is_file() else []
    found = {int(number): f"{at} UTC" for number, at in logged}
    if ledger.looked_at:
        found[ledger.transaction] = f"{ledger.looked_at:%Y-%m-%dT%H:%M:%S} UTC, the last look that found all in order"
    return [Transaction(number, at) for number, at in sorted(found.items()) if number >= ledger.floor]


def roll_back(store: Store, sender: str, places: Places, number: int, now: datetime) -> Path:
    """Bring a repository back to a transaction; what came after is put aside into the returned folder.

    This is borg's own procedure (Append-only mode, in its manual): segments above the transaction go, and the index
    with them. The settings file is put back as the ledger remembers it.
    """
    if number not in {one.number for one in transactions(store, sender, places)}:
        raise NothingToRollBackTo(f"{number}; `rota backup transactions {sender}` lists those there are")
    folder = store.repository(sender)
    aside = store.folder / sender / f"put-aside-{now:%Y%m%dT%H%M%SZ}"
    with _locked(places, sender) as file:
        aside.mkdir()
        for segment in sorted((folder / "data").glob("*/*")):
            if int(segment.name) > number:
                segment.rename(aside / segment.name)
        for derived in (*folder.glob("index.*"), *folder.glob("hints.*"), *folder.glob("integrity.*")):
            derived.rename(aside / derived.name)
        _put_back_settings(folder, file)
        # Borg remembers how new the repository was, and would take one that has become older for an attack.
        shutil.rmtree(store.folder / sender / "borg", ignore_errors=True)
    return aside


def trust(places: Places, sender: str, now: datetime) -> None:
    """Take the repository as it is now for good: the ledger begins anew, the old one is put aside."""
    with _locked(places, sender) as file:
        if not file.is_file():
            raise NotConfigured(f"nothing is remembered of {sender!r}")
        file.rename(file.with_name(f"{sender}.{now:%Y%m%dT%H%M%SZ}.json"))


def newest_transaction(folder: Path) -> int:
    """The number of the last one, after which borg names its index."""
    return max((int(index.suffix[1:]) for index in folder.glob("index.*") if index.suffix[1:].isdigit()), default=0)


@contextmanager
def _locked(places: Places, sender: str) -> Iterator[Path]:
    """The sender's ledger file, under a lock that its holder's death frees."""
    folder = places.state / "ledger"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / f"{sender}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder / f"{sender}.json"


def _archives(repository: borg.Repository, sender: str) -> tuple[tuple[borg.Archive, ...], tuple[borg.Archive, ...]]:
    """Archives and checkpoints; none where there is no repository yet: the ledger knows whether there must be some."""
    try:
        found = borg.archives(repository, checkpoints=True)
    except borg.NoRepository:
        return (), ()
    checkpoints = tuple(one for one in found if is_checkpoint(sender, one.name))
    return tuple(one for one in found if one not in checkpoints), checkpoints


def _settings(repository: Path) -> str:
    file = repository / "config"
    return file.read_text() if file.is_file() else ""


def _put_back_settings(folder: Path, ledger_file: Path) -> None:
    settings = ledgers.read(ledger_file.read_text()).settings if ledger_file.is_file() else ""
    if settings and settings != _settings(folder):
        owner = folder.stat()
        beside = folder / "config.part"
        beside.write_text(settings)
        beside.chmod(0o600)
        os.chown(beside, owner.st_uid, owner.st_gid)
        beside.replace(folder / "config")


def _hours(time: timedelta) -> str:
    return f"{time.total_seconds() / 3600:.1f} h"
