"""What the tests of backups share: real PostgreSQL, MariaDB and SSH servers, and an estate of two hosts in folders."""

import getpass
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import pytest

from rota.adapters import borg, postgres
from rota.packs.backup import configuration, sending
from rota.packs.backup.configuration import Places, Sender, Store
from tests.agent.neighbours import Door, make_key, mariadb_server, open_folder, postgres_cluster, ssh_server

GUEST = "nobody"  # here the role of scratch databases: a user that every system has


@pytest.fixture(scope="session")
def cluster() -> Iterator[postgres.Server]:
    with open_folder("postgres") as folder, postgres_cluster(folder) as server:
        admit_guest(server)
        yield server


def admit_guest(server: postgres.Server) -> None:
    """Let a role in that may nothing, also where the tests' own user is not root and cannot become its system user."""
    rules = Path(str(server.host)) / "data" / "pg_hba.conf"
    rules.write_text(f"local all {GUEST} trust\n{rules.read_text()}")
    with postgres.connect("postgres", server) as connection:
        connection.execute(f"CREATE ROLE {GUEST} LOGIN".encode())
        connection.execute("SELECT pg_reload_conf()")


@pytest.fixture(scope="session")
def mariadb_socket() -> Iterator[Path]:
    with open_folder("mariadb") as folder, mariadb_server(folder / "server") as socket:
        yield socket


@pytest.fixture(scope="session")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with ssh_server(tmp_path_factory.mktemp("ssh") / "server") as opened:
        yield opened


@pytest.fixture
def library(cluster: postgres.Server) -> Iterator[str]:
    """A database of books and loans; everything named after it is gone afterwards."""
    with postgres.connect("postgres", cluster) as connection:
        connection.execute("CREATE DATABASE library TEMPLATE template0")
    with postgres.connect("library", cluster) as connection:
        connection.execute("CREATE TABLE book (id int PRIMARY KEY, title text NOT NULL, cover bytea)")
        connection.execute(
            "INSERT INTO book SELECT n, 'Book ' || n, decode(md5(n::text), 'hex') FROM generate_series(1, 500) n"
        )
        connection.execute("CREATE TABLE loan (id bigserial PRIMARY KEY, book int REFERENCES book, at timestamptz)")
        connection.execute(
            "INSERT INTO loan (book, at) SELECT n, timestamptz '2024-02-29 12:00+02' FROM generate_series(1, 100) n"
        )
    yield "library"
    with postgres.connect("postgres", cluster) as connection:
        for name in postgres.databases(cluster):
            if name != "postgres":
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@dataclass(frozen=True)
class Estate:
    """Production, which sends, and the backup host, which keeps; both in folders, with real SSH between them."""

    sender: Sender
    sender_places: Places
    store: Store
    store_places: Places
    door: Door

    def send(self, now: datetime) -> sending.Sent:
        return sending.send(self.sender, self.sender_places, now)

    def here(self) -> "Estate":
        """The same estate without SSH between its hosts, for what does not depend on it: much faster."""
        repository = str(self.store.repository("production"))
        return replace(self, sender=replace(self.sender, repository=repository))

    def as_sender(self, *words: str) -> borg.Outcome:
        """What somebody could do who has taken over production: any borg command, with its key and passphrase."""
        return borg.run(self.sender.open(self.sender_places), borg.command(*words))

    def kept(self) -> borg.Repository:
        return self.store.open("production", self.store_places)

    def admit(self, *, before: str = "") -> None:
        """Write authorized_keys as the role does; `before` goes in front of the forced command."""
        command = before + " ".join(borg.serve_command(self.store.repository("production")))
        public = self.sender.key.with_suffix(".pub").read_text().strip()
        self.door.authorized_keys.write_text(f'restrict,command="{command}" {public}\n')


@pytest.fixture(scope="session")
def empty_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository as the first backup makes it, to be copied: making one takes borg a while."""
    folder = tmp_path_factory.mktemp("repository")
    borg.init(borg.Repository(str(folder / "repository"), "correct horse", folder / "base"))
    return folder / "repository"


@pytest.fixture
def estate(
    tmp_path: Path,
    empty_repository: Path,
    door: Door,
    cluster: postgres.Server,
    library: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Estate:
    monkeypatch.setenv("PGHOST", str(cluster.host))
    production, backup, media = tmp_path / "production", tmp_path / "backup", tmp_path / "media"
    media.mkdir()
    (media / "cover.txt").write_text("a cover")
    make_key_in = production / "etc"
    make_key_in.mkdir(parents=True)
    make_key(make_key_in / "key")
    folder = backup / "store"
    shutil.copytree(empty_repository, folder / "production" / "repository")
    write_host(
        production / "etc",
        "production",
        {"backup_passphrase": "correct horse"},
        {
            "sender": {
                "host": "production",
                "repository": f"ssh://{getpass.getuser()}@127.0.0.1:{door.port}{folder}/production/repository",
                "key": str(make_key_in / "key"),
                "known_hosts": str(door.known_hosts),
                "sources": {"postgresql": ["library"], "directories": [str(media)]},
            }
        },
    )
    write_host(
        backup / "etc",
        "backup",
        {"backup_passphrase": "correct horse"},
        {
            "store": {
                "senders": ["production"],
                "folder": str(folder),
                "user": getpass.getuser(),
                "scratch_role": GUEST,
                "keep": {"hourly": 2, "daily": 2, "weekly": 0, "monthly": 0},
            }
        },
    )
    sender_places = Places(production / "etc", production / "state", production / "current")
    store_places = Places(backup / "etc", backup / "state", backup / "current")
    made = Estate(
        configuration.sender(sender_places), sender_places, configuration.store(store_places), store_places, door
    )
    made.admit()
    return made


def write_host(etc: Path, environment: str, secrets: dict[str, str], backup: dict[str, object]) -> None:
    """The files that roles write on a host."""
    (etc / "credentials").mkdir(parents=True, exist_ok=True)
    (etc / "environment").write_text(f"{environment}\n")
    for name, secret in secrets.items():
        (etc / "credentials" / name).write_text(f"{secret}\n")
    # JSON is YAML.
    (etc / "backup.yml").write_text(json.dumps({"backup": backup}))


def with_sources(estate: Estate, **names: list[str]) -> Estate:
    """The same estate, with other things to back up."""
    sources = configuration.Sources(**{kind: tuple(values) for kind, values in names.items()})
    return replace(estate, sender=replace(estate.sender, sources=sources))


def environment_of(cluster: postgres.Server) -> dict[str, str]:
    """For programs under test that are started as processes."""
    return {**os.environ, "PGHOST": str(cluster.host)}
