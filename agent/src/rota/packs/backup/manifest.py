"""The manifest: what an archive holds, written into it at the moment it was made."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum

from rota.core.errors import RotaError
from rota.core.fingerprint import Fingerprint

FILE = "manifest.json"
VERSION = 1
TRIFLE = 4096  # bytes


class ManifestUnreadable(RotaError):
    """The manifest of an archive cannot be read."""


class Kind(StrEnum):
    """What a source is."""

    POSTGRESQL = "postgresql"
    MARIADB = "mariadb"
    SQLITE = "sqlite"
    DIRECTORY = "directory"


@dataclass(frozen=True)
class Source:
    """One source as it was backed up: a dump with what its tables held, or a directory."""

    kind: Kind
    name: str
    size: int  # bytes
    files: int = 1
    sha256: str = ""  # of a dump; a directory's files are hashed by borg
    tables: Mapping[str, Fingerprint] | None = None

    @property
    def path(self) -> str:
        """Where it is in the archive: never read from a manifest, for that comes from the sender."""
        return (
            self.name.lstrip("/") if self.kind is Kind.DIRECTORY else f"{self.kind}/{file_name(self.kind, self.name)}"
        )


@dataclass(frozen=True)
class Manifest:
    """What one archive holds."""

    host: str
    environment: str
    release: str
    started: datetime
    sources: tuple[Source, ...]
    shrunken: tuple[str, ...] = ()  # one sentence for each source that lost more than it may

    def named(self, kind: Kind, name: str) -> Source | None:
        """The source of this kind and name."""
        return next((source for source in self.sources if (source.kind, source.name) == (kind, name)), None)


def file_name(kind: Kind, name: str) -> str:
    """The file of a dump; the path of a SQLite database becomes one name."""
    suffix = {Kind.POSTGRESQL: "dump", Kind.MARIADB: "sql", Kind.SQLITE: "sqlite"}[kind]
    return f"{name.strip('/').replace('/', '-')}.{suffix}"


def write(manifest: Manifest) -> str:
    """As JSON, the same for the same manifest."""
    fields = asdict(manifest) | {"version": VERSION, "started": manifest.started.isoformat()}
    return json.dumps(fields, indent=1, sort_keys=True) + "\n"


def read(text: str | bytes) -> Manifest:
    """From JSON. Raises `ManifestUnreadable`."""
    try:
        fields = json.loads(text)
        if fields["version"] != VERSION:
            raise ManifestUnreadable(f"its version is {fields['version']!r}, this release reads {VERSION}")
        return Manifest(
            host=str(fields["host"]),
            environment=str(fields["environment"]),
            release=str(fields["release"]),
            started=datetime.fromisoformat(fields["started"]),
            sources=tuple(_source(source) for source in fields["sources"]),
            shrunken=tuple(fields["shrunken"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ManifestUnreadable(f"{type(error).__name__}: {error}") from error


def shrunken(sources: tuple[Source, ...], before: tuple[Source, ...], *, below: int) -> tuple[str, ...]:
    """A sentence for each source that is smaller than `below` per cent of what it was, or gone.

    What never held more than `TRIFLE` may do as it likes.
    """
    now = {(source.kind, source.name): source for source in sources}
    return tuple(
        f"{old.kind} {old.name} has {new.size if new else 0} bytes, the last good backup had {old.size}"
        for old in before
        if (new := now.get((old.kind, old.name))) is None or (new.size * 100 < old.size * below and old.size > TRIFLE)
    )


def _source(fields: Mapping[str, object]) -> Source:
    tables = fields["tables"]
    return Source(
        kind=Kind(str(fields["kind"])),
        name=str(fields["name"]),
        size=int(str(fields["size"])),
        files=int(str(fields["files"])),
        sha256=str(fields["sha256"]),
        tables=None if tables is None else _tables(tables),
    )


def _tables(fields: object) -> dict[str, Fingerprint]:
    if not isinstance(fields, dict):
        raise TypeError("tables are a mapping")
    return {str(name): Fingerprint(int(one["rows"]), str(one["checksum"])) for name, one in fields.items()}
