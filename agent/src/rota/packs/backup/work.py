"""What each task of this pack does on its host, start to end, as plain functions of configuration and time."""

from collections.abc import Callable
from datetime import datetime

from rota.adapters import borg
from rota.core.errors import RotaError
from rota.packs.backup import keeping, manifest, restoring, sending
from rota.packs.backup.configuration import Places, Sender, Store
from rota.packs.backup.keeping import Kept
from rota.packs.backup.manifest import Kind
from rota.packs.backup.outcome import Item, Outcome
from rota.packs.backup.workplace import working_folder


class SomeFailed(RotaError):
    """Not every sender's backups are as they should be."""


def back_up(
    sender: Sender, places: Places, now: datetime, tell: Callable[[Outcome], None], *, accept_shrinking: bool = False
) -> None:
    """Send one archive. Raises `BackupShrunken` after it has been kept and told."""
    sent = sending.send(sender, places, now, accept_shrinking=accept_shrinking)
    dumped = tuple(
        Item(f"{source.kind} {source.name}", "stored", f"{source.size} bytes") for source in sent.manifest.sources
    )
    warned = tuple(Item(sent.name, "warning", text) for text in sent.created.warnings)
    counts = {
        "files": sent.created.files,
        "bytes": sent.created.size,
        "bytes stored": sent.created.stored,
        "rows": sum(table.rows for source in sent.manifest.sources for table in (source.tables or {}).values()),
    }
    tell(Outcome(dumped + warned, counts))
    sending.require_no_shrinking(sent)


def prune(store: Store, places: Places, now: datetime) -> Outcome:
    """Remove what retention has no use for, for every sender whose ledger is in order."""

    def one(kept: Kept) -> tuple[str, dict[str, float]]:
        removed = keeping.prune(kept, store.keep, now)
        counts = {"archives removed": len(removed), "archives kept": len(kept.archives) - len(removed)}
        return f"{len(removed)} removed", dict(counts)

    return for_each(store, places, now, one)


def check(store: Store, places: Places, now: datetime) -> Outcome:
    """Let borg check every repository."""

    def one(kept: Kept) -> tuple[str, dict[str, float]]:
        keeping.check(kept, verify_data=store.verify_data)
        return f"{len(kept.archives)} archives are sound", {"archives checked": len(kept.archives)}

    return for_each(store, places, now, one)


def freshness(store: Store, places: Places, now: datetime) -> Outcome:
    """See that every sender has sent something of late."""

    def one(kept: Kept) -> tuple[str, dict[str, float]]:
        age = keeping.require_fresh(kept, store.stale_after, now)
        return f"{age.total_seconds() / 60:.0f} min old", {"archives": len(kept.archives)}

    return for_each(store, places, now, one)


def drill(store: Store, places: Places, now: datetime) -> Outcome:
    """Restore every sender's newest archive into scratch databases and compare them with its manifest."""

    def one(kept: Kept) -> tuple[str, dict[str, float]]:
        if not kept.archives:
            raise restoring.NoGoodBackup(f"{kept.sender} has never been backed up")
        archive = restoring.candidates(kept.archives, None)[0]
        rows = _drill_archive(kept, archive, store, places, now)
        return f"{archive.name}: {rows} rows are as recorded", {"rows compared": rows}

    return for_each(store, places, now, one)


def for_each(
    store: Store, places: Places, now: datetime, one: Callable[[Kept], tuple[str, dict[str, float]]]
) -> Outcome:
    """One sender's trouble does not keep the others from being served. Raises `SomeFailed` at the end."""
    items: list[Item] = []
    counts: dict[str, float] = {}
    for sender in store.senders:
        try:
            with keeping.looked_at(store, sender, places, now) as kept:
                message, counted = one(kept)
        except RotaError as error:
            items.append(Item(sender, "failed", str(error)))
        else:
            items.append(Item(sender, "done", message))
            counts = {name: counts.get(name, 0) + counted.get(name, 0) for name in counts | counted}
    return Outcome(tuple(items), counts)


def require_all(outcome: Outcome) -> None:
    """Raise `SomeFailed` with the reasons, once the outcome has been told."""
    failed = [f"{item.name}: {item.message}" for item in outcome.items if item.outcome == "failed"]
    if failed:
        raise SomeFailed("; ".join(failed))


def _drill_archive(kept: Kept, archive: borg.Archive, store: Store, places: Places, now: datetime) -> int:
    rows = 0
    made = manifest.read(borg.read(kept.repository, archive.name, manifest.FILE))
    with working_folder(places, "drill") as folder:
        for source in made.sources:
            if source.kind is Kind.DIRECTORY:
                _require_files(kept, archive, source)
                continue
            dump = restoring.found(kept.repository, archive.name, source.kind, source.name, folder, even_suspect=True)
            rows += restoring.drill(dump, now, store.scratch_role, with_mariadb=store.mariadb)
            dump.file.unlink()
    return rows


def _require_files(kept: Kept, archive: borg.Archive, source: manifest.Source) -> None:
    """Files come and go while a directory is read, so only the absence of all of them is beyond doubt."""
    stored = borg.sizes(kept.repository, archive.name, [source.path])
    if source.files and not stored:
        raise restoring.NotAsRecorded(f"{source.name} had {source.files} files, the archive has none")
