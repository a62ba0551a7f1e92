"""What a host is told about backups: the `backup` key of /etc/rota/*.yml, and the secrets beside it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from rota.adapters.borg import Repository, Secure
from rota.adapters.yaml_files import BadYaml, read_yaml
from rota.core.errors import RotaError
from rota.packs.backup.manifest import Kind
from rota.packs.backup.retention import Keep

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Value = TypeVar("Value")


class ConfigurationWrong(RotaError):
    """The backup configuration is wrong."""


class NotConfigured(RotaError):
    """This host is not configured for that."""


class SecretMissing(RotaError):
    """A secret is missing on this host."""


@dataclass(frozen=True)
class Places:
    """Where things are on a host; tests put them elsewhere."""

    etc: Path = Path("/etc/rota")
    state: Path = Path("/var/lib/rota/backup")
    current: Path = Path("/opt/rota/current")

    @property
    def work(self) -> Path:
        """Where dumps lie while an archive is made of them, and where they are extracted to."""
        return self.state / "work"

    def environment(self) -> str:
        """The environment this host belongs to, from its root-owned file."""
        return (self.etc / "environment").read_text().strip()

    def release(self) -> str:
        """The id of the release in use, empty where there is none."""
        return self.current.resolve().name if self.current.is_symlink() else ""

    def secret(self, name: str) -> str:
        """A credential: from systemd inside a unit, else from the file that root alone can read."""
        given = os.environ.get("CREDENTIALS_DIRECTORY")
        for folder in (Path(given) if given else None, self.etc / "credentials"):
            if folder is not None and (folder / name).is_file():
                return (folder / name).read_text().strip()
        raise SecretMissing(f"{name!r}; it belongs in {self.etc}/credentials")


@dataclass(frozen=True)
class Sources:
    """What a sender backs up: database names, database files, directories."""

    postgresql: tuple[str, ...] = ()
    mariadb: tuple[str, ...] = ()
    sqlite: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()

    def named(self) -> list[tuple[Kind, str]]:
        """All of them, databases first: they speak of files, which must not be older than they are."""
        by_kind = {
            Kind.POSTGRESQL: self.postgresql,
            Kind.MARIADB: self.mariadb,
            Kind.SQLITE: self.sqlite,
            Kind.DIRECTORY: self.directories,
        }
        return [(kind, name) for kind, names in by_kind.items() for name in names]


@dataclass(frozen=True)
class Sender:
    """A host that is backed up."""

    host: str
    repository: str
    key: Path = Path("/etc/rota/keys/backup")
    known_hosts: Path = Path("/etc/rota/known_hosts")
    sources: Sources = field(default_factory=Sources)
    excludes: tuple[str, ...] = ()
    shrunken_below: int = 50  # per cent of the backup before

    def open(self, places: Places) -> Repository:
        """The repository as this sender reaches it."""
        remote = self.repository.startswith("ssh://")
        return Repository(
            location=self.repository,
            passphrase=places.secret("backup_passphrase"),
            base=places.state / "borg",
            ssh=Secure(self.key, self.known_hosts) if remote else None,
        )


@dataclass(frozen=True)
class Store:
    """A host that keeps the backups of others."""

    senders: tuple[str, ...]
    folder: Path = Path("/srv/rota-backup")
    user: str = "rota-backup"
    restore_user: str = "rota-restore"
    scratch_role: str = "rota-scratch"  # a system user and PostgreSQL role that owns nothing but scratch databases
    keep: Keep = field(default_factory=Keep)
    stale_after: timedelta = timedelta(hours=3)
    verify_data: bool = True
    mariadb: bool = False  # a MariaDB server runs here, for drills

    def repository(self, sender: str) -> Path:
        """The repository folder of one sender."""
        return self.folder / sender / "repository"

    def open(self, sender: str, places: Places) -> Repository:
        """The repository of one sender, opened in place as its owner."""
        if sender not in self.senders:
            raise NotConfigured(f"it keeps no backups of {sender!r}; it does of: {', '.join(self.senders)}")
        return Repository(
            location=str(self.repository(sender)),
            passphrase=places.secret("backup_passphrase"),
            base=self.folder / sender / "borg",
            system_user=self.user,
        )


def sender(places: Places) -> Sender:
    """This host as a sender. Raises `NotConfigured` where it is none."""
    section = _section(places, "sender")
    sources = _built(Sources, section.pop("sources", {}), "sender.sources")
    return _built(Sender, section | {"sources": sources}, "sender")


def store(places: Places) -> Store:
    """This host as a store. Raises `NotConfigured` where it is none."""
    section = _section(places, "store")
    keep = _built(Keep, section.pop("keep", {}), "store.keep")
    hours = {"stale_after": timedelta(hours=section.pop("stale_after_hours"))} if "stale_after_hours" in section else {}
    return _built(Store, section | {"keep": keep} | hours, "store")


def _section(places: Places, name: str) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for file in sorted(places.etc.glob("*.yml")):
        try:
            content = read_yaml(file)
        except BadYaml as error:
            raise NotConfigured(f"{file} is not YAML: {error}") from None
        section = content.get("backup") if isinstance(content, dict) else None
        merged |= section if isinstance(section, dict) else {}
    if name not in merged:
        raise NotConfigured(f"no `{name}` under `backup` in {places.etc}/*.yml")
    return dict(merged[name])


def _built(kind: type[Value], values: Mapping[str, Any], where: str) -> Value:
    """A dataclass from plain values; paths and tuples are made from text and lists."""
    known = {one.name: str(one.type) for one in fields(cast(type["DataclassInstance"], kind))}
    unknown = values.keys() - known.keys()
    if unknown:
        raise ConfigurationWrong(f"{where} has no {', '.join(sorted(unknown))}; it has {', '.join(known)}")
    try:
        return kind(**{name: _converted(value, known[name]) for name, value in values.items()})
    except TypeError as error:
        raise ConfigurationWrong(f"{where}: {error}") from error


def _converted(value: Any, wanted: str) -> Any:
    if "Path" in wanted:
        return Path(value)
    return tuple(value) if isinstance(value, list) else value
