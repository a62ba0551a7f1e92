"""The sender's side: dumps, a manifest, one archive."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rota.adapters import borg
from rota.core.errors import RotaError
from rota.packs.backup import manifest, sources
from rota.packs.backup.configuration import NotConfigured, Places, Sender
from rota.packs.backup.manifest import Kind, Manifest, Source
from rota.packs.backup.naming import archive_name
from rota.packs.backup.workplace import working_folder


class ArchiveIncomplete(RotaError):
    """The archive lacks what its manifest says."""


class BackupShrunken(RotaError):
    """The backup was made and marked, for it holds far less than the last good one."""


@dataclass(frozen=True)
class Sent:
    """One backup that reached the store."""

    name: str
    manifest: Manifest
    created: borg.Created


def send(sender: Sender, places: Places, now: datetime, *, accept_shrinking: bool = False) -> Sent:
    """Make one archive of everything. Any failure before the archive means that there is no archive at all.

    An archive that shrank is marked, as are those after it, until it has grown again or somebody accepts it.
    """
    if not sender.sources.named():
        raise NotConfigured("`backup.sender.sources` names nothing to back up")
    repository = sender.open(places)
    with working_folder(places, "send") as folder:
        brought = tuple(sources.dump(kind, name, folder) for kind, name in sender.sources.named())
        made = _manifest(sender, places, brought, now, None if accept_shrinking else _last_good(places, repository))
        (folder / manifest.FILE).write_text(manifest.write(made))
        name = archive_name(sender.host, now)
        paths = [manifest.FILE, *(_archived(source) for source in brought)]
        created = _create(repository, name, paths, folder, sender.excludes)
        if created.unread:
            raise ArchiveIncomplete(f"{name}: {_some(created.unread)}")
        _confirm(repository, name, folder, brought, now, complete=not sender.excludes)
    if not made.shrunken:
        _remember(places, made)
    return Sent(name, made, created)


def require_no_shrinking(sent: Sent) -> None:
    """Raise `BackupShrunken`: the archive is kept, somebody must look."""
    if sent.manifest.shrunken:
        accept = "if that is right: rota backup send --accept-shrinking"
        raise BackupShrunken(f"{'; '.join(sent.manifest.shrunken)}; {accept}")


def _manifest(
    sender: Sender, places: Places, brought: tuple[Source, ...], now: datetime, before: Manifest | None
) -> Manifest:
    return Manifest(
        host=sender.host,
        environment=places.environment(),
        release=places.release(),
        started=now,
        sources=brought,
        shrunken=manifest.shrunken(brought, before.sources, below=sender.shrunken_below) if before else (),
    )


def _archived(source: Source) -> str:
    return source.name if source.kind is Kind.DIRECTORY else source.path


def _create(
    repository: borg.Repository, name: str, paths: Sequence[str], folder: Path, excludes: Sequence[str]
) -> borg.Created:
    """The first backup makes the repository; the store's ledger would notice if it were not the first."""
    try:
        return borg.create(repository, name, paths, folder=folder, excludes=excludes)
    except borg.NoRepository:
        borg.init(repository)
        return borg.create(repository, name, paths, folder=folder, excludes=excludes)


def _confirm(
    repository: borg.Repository,
    name: str,
    folder: Path,
    brought: tuple[Source, ...],
    began: datetime,
    *,
    complete: bool,
) -> None:
    """Ask the archive for its dumps and, where nothing is excluded, for every file that was there all the time."""
    expected = {source.path: source.size for source in brought if source.kind is not Kind.DIRECTORY}
    expected[manifest.FILE] = (folder / manifest.FILE).stat().st_size
    found = borg.sizes(repository, name, [manifest.FILE, *(source.path for source in brought)])
    if wrong := [path for path, size in expected.items() if found.get(path) != size]:
        raise ArchiveIncomplete(f"{name} does not hold as it is: {_some(wrong)}")
    directories = [source.name for source in brought if complete and source.kind is Kind.DIRECTORY]
    if absent := sorted({file for one in directories for file in sources.unchanged_since(Path(one), began)} - {*found}):
        raise ArchiveIncomplete(f"{name} does not hold: {_some(absent)}")


def _some(lines: Sequence[str]) -> str:
    """As much of a long list as an operator reads."""
    return "; ".join(lines[:5]) + (f" and {len(lines) - 5} more" if len(lines) > 5 else "")


def _last_good(places: Places, repository: borg.Repository) -> Manifest | None:
    """The manifest of the last backup that was not marked.

    A host set up anew asks the store, so that its emptiness does not pass for good.
    """
    file = places.state / "last.json"
    if file.is_file():
        return manifest.read(file.read_text())
    try:
        archives = sorted(borg.archives(repository), key=lambda one: (one.at, one.name), reverse=True)
    except borg.NoRepository:
        return None
    for archive in archives:
        made = manifest.read(borg.read(repository, archive.name, manifest.FILE))
        if not made.shrunken:
            _remember(places, made)
            return made
    return None


def _remember(places: Places, made: Manifest) -> None:
    beside = places.state / "last.json.part"
    with beside.open("w") as out:
        out.write(manifest.write(made))
        out.flush()
        os.fsync(out.fileno())
    beside.replace(places.state / "last.json")
