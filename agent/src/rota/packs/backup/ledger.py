"""The store's own ledger of a sender's archives, which the sender cannot reach.

An append-only sender cannot destroy data, but it can mark archives as deleted, write over the sealed key, and add
archives with forged dates so that the store's own retention removes the good ones. Compaction would make the first
final. So the store remembers what it has seen and looks before it does anything.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from rota.adapters.borg import Archive
from rota.core.errors import RotaError
from rota.packs.backup.naming import is_archive

# An archive is dated when it is begun and seen when it is whole.
LONGEST_BACKUP = timedelta(hours=6)
CLOCK_SKEW = timedelta(minutes=10)


class ArchivesVanished(RotaError):
    """Archives vanished that the store did not remove: the sender may have been taken over."""


class DatesForged(RotaError):
    """An archive has a date that cannot be: the sender may have been taken over."""


class NameForged(RotaError):
    """An archive has a name that no backup makes: the sender may have been taken over."""


class KeyReplaced(RotaError):
    """The repository's settings or its sealed key are not what they were: the sender may have been taken over."""


class Fate(StrEnum):
    """What the store has done with an archive; `removing` is written before, `removed` after."""

    KEPT = "kept"
    REMOVING = "removing"
    REMOVED = "removed"


@dataclass(frozen=True)
class Entry:
    """One archive the store has seen."""

    id: str
    name: str
    at: datetime
    first_seen: datetime
    fate: Fate = Fate.KEPT


@dataclass(frozen=True)
class Ledger:
    """Everything the store knows of one sender's repository."""

    looked_at: datetime | None = None
    settings: str = ""  # the repository's `config` file, which holds the sealed key
    transaction: int = 0  # the newest one at the last look that found everything in order
    floor: int = 0  # the transaction behind which compaction left nothing to go back to
    entries: tuple[Entry, ...] = ()

    @property
    def names_kept(self) -> list[str]:
        """The archives that must be there."""
        return [entry.name for entry in self.entries if entry.fate is Fate.KEPT]


def look(
    ledger: Ledger, sender: str, archives: Iterable[Archive], settings: str, transaction: int, now: datetime
) -> Ledger:
    """The ledger after a look at a sender's repository. Raises what must stop every further step."""
    archives = list(archives)
    if ledger.settings and settings != ledger.settings:
        raise KeyReplaced("`rota backup roll-back` puts back the ones the store remembers")
    present = {archive.id for archive in archives}
    vanished = [entry.name for entry in ledger.entries if entry.fate is Fate.KEPT and entry.id not in present]
    if vanished:
        raise ArchivesVanished(f"{', '.join(vanished)}; `rota backup roll-back` brings them back")
    forged = [archive.name for archive in archives if not is_archive(sender, archive.name)]
    if forged:
        raise NameForged(f"{', '.join(map(repr, forged))}; `rota backup roll-back` puts them aside")
    known = {entry.id for entry in ledger.entries}
    new = [archive for archive in archives if archive.id not in known]
    for archive in new:
        _require_possible(archive, ledger.looked_at, now)
    gone = tuple(_closed(entry, present) for entry in ledger.entries)
    added = tuple(Entry(archive.id, archive.name, archive.at, now) for archive in new)
    return replace(ledger, looked_at=now, settings=settings, transaction=transaction, entries=gone + added)


def removing(ledger: Ledger, archives: Iterable[Archive]) -> Ledger:
    """Written down before archives are removed, so that an interrupted removal blames nobody."""
    chosen = {archive.id for archive in archives}
    return replace(
        ledger,
        entries=tuple(
            replace(entry, fate=Fate.REMOVING) if entry.id in chosen and entry.fate is Fate.KEPT else entry
            for entry in ledger.entries
        ),
    )


def forgotten(ledger: Ledger, before: datetime) -> Ledger:
    """Without the removed archives of long ago, so that the ledger stays small."""
    return replace(
        ledger, entries=tuple(one for one in ledger.entries if one.fate is not Fate.REMOVED or one.at >= before)
    )


def write(ledger: Ledger) -> str:
    """As JSON."""
    return json.dumps(asdict(ledger), indent=1, default=datetime.isoformat) + "\n"


def read(text: str) -> Ledger:
    """From JSON."""
    fields = json.loads(text)
    return Ledger(
        looked_at=None if fields["looked_at"] is None else datetime.fromisoformat(fields["looked_at"]),
        settings=fields["settings"],
        transaction=fields["transaction"],
        floor=fields["floor"],
        entries=tuple(
            Entry(
                id=one["id"],
                name=one["name"],
                at=datetime.fromisoformat(one["at"]),
                first_seen=datetime.fromisoformat(one["first_seen"]),
                fate=Fate(one["fate"]),
            )
            for one in fields["entries"]
        ),
    )


def _closed(entry: Entry, present: set[str]) -> Entry:
    """The store works under a lock, so what is still being removed now was interrupted."""
    if entry.fate is not Fate.REMOVING:
        return entry
    return replace(entry, fate=Fate.KEPT if entry.id in present else Fate.REMOVED)


def _require_possible(archive: Archive, looked_at: datetime | None, now: datetime) -> None:
    if archive.at > now + CLOCK_SKEW:
        raise DatesForged(f"{archive.name} claims {archive.at:%Y-%m-%d %H:%M} UTC, which is yet to come")
    if looked_at is not None and archive.at < looked_at - LONGEST_BACKUP:
        raise DatesForged(
            f"{archive.name} claims {archive.at:%Y-%m-%d %H:%M} UTC, but was not there"
            f" at the last look, {looked_at:%Y-%m-%d %H:%M} UTC"
        )
