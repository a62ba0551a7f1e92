"""What the tests of the mirror share: two PostgreSQL servers, and an SSH server whose one key opens one command."""

import os
import pwd
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from rota.adapters import postgres
from rota.adapters.postgres import Server
from rota.packs.mirror import mirroring
from rota.packs.mirror.configuration import Source, load_destination
from tests.agent.neighbours import postgres_cluster

HERE = Path(__file__).parent
SOURCES = HERE.parents[2] / "agent" / "src"
RELEASE = "20261122T120000Z-0123456789ab"
GUEST = "nobody"  # here the scratch's role: a user that every system has

RULES: dict[str, dict[str, str]] = {
    "reader": {
        "id": "keep", "email": "email", "name": "name", "phone": "phone", "card": "hash", "note": "text",
        "birthday": "null", "password": "'!'", "extra": "text",
    },
    "loan": {"id": "keep", "reader": "keep", "reader_email": "email", "remark": "text"},
    "book": {"id": "keep", "title": "keep"},
}  # fmt: skip


@dataclass(frozen=True)
class Sshd:
    """An SSH server of this machine, the key it lets in, and where its forced command finds its configuration."""

    port: int
    key: Path
    known_hosts: Path
    configuration: Path
    process: int


@contextmanager
def reachable_folder() -> Iterator[Path]:
    """A folder that other users may pass through. pytest's own lie below one that every pytest closes again."""
    with tempfile.TemporaryDirectory(prefix="rota-mirror-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture(scope="session")
def clusters() -> Iterator[tuple[Server, Server]]:
    """Production's server and staging's."""
    with (
        reachable_folder() as one,
        reachable_folder() as other,
        postgres_cluster(one) as there,
        postgres_cluster(other) as here,
    ):
        let_anybody_in(here)
        yield there, here


def let_anybody_in(server: Server) -> None:
    """Let whoever runs the tests be any role: not all that have a role here are users of the system."""
    assert server.host
    (Path(server.host) / "data" / "pg_hba.conf").write_text("local all all trust\n")
    with postgres.connect("postgres", server) as connection:
        connection.execute("SELECT pg_reload_conf()")


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with ssh_server(tmp_path_factory.mktemp("ssh")) as server:
        yield server


@contextmanager
def ssh_server(folder: Path, *, opened: bool = False) -> Iterator[Sshd]:
    """The server; when `opened`, the key `open` beside the mirror's opens everything, for comparisons."""
    for name in ("host", "user", "open"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    forced = (
        f"/usr/bin/env PYTHONPATH={SOURCES} {sys.executable} -m rota.packs.mirror --configuration {folder}/mirror.yml"
    )
    public = (folder / "user.pub").read_text()
    also = (folder / "open.pub").read_text() if opened else ""
    (folder / "authorized_keys").write_text(f'restrict,command="{forced} serve" {public}{also}')
    host_key = " ".join((folder / "host.pub").read_text().split()[:2])
    (folder / "known_hosts").write_text(f"production {host_key}\n")
    (folder / "config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized_keys\n"
        f"StrictModes no\nUsePAM no\nPasswordAuthentication no\nPidFile none\nSubsystem sftp internal-sftp\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", f"{folder}/config"], stderr=log)
        try:
            wait_for_port(port, folder / "log")
            yield Sshd(port, folder / "user", folder / "known_hosts", folder / "mirror.yml", process.pid)
        finally:
            process.terminate()
            process.wait()


def write_serving(sshd: Sshd, server: Server, media: Path, release: Path) -> None:
    """Production's configuration: what its forced command hands out."""
    serving = {"database": "library", "media": str(media), "release": str(release), "server": {"host": server.host}}
    sshd.configuration.write_text(yaml.safe_dump({"mirror": {"serve": serving}}))


def wait_for_port(port: int, log: Path) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)  # nothing tells when sshd begins to listen
    raise AssertionError(f"sshd does not listen: {log.read_text()}")


@dataclass
class Estate:
    """Production with its content, and staging with content of its own and a configuration for the mirror."""

    there: Server
    here: Server
    folder: Path
    sshd: Sshd
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def media_there(self) -> Path:
        return self.folder / "production" / "media"

    @property
    def media_here(self) -> Path:
        return self.folder / "staging" / "media"

    @property
    def configuration(self) -> Path:
        return self.folder / "mirror.yml"

    def configure(self, **changed: Any) -> Path:
        """Write both sides' configuration; `changed` replaces settings of the destination."""
        self.settings |= changed
        self.configuration.write_text(yaml.safe_dump({"mirror": {"destination": self.settings}}))
        write_serving(self.sshd, self.there, self.media_there, self.folder / "production" / "opt")
        return self.configuration

    def query(self, text: str, server: Server | None = None, database: str = "library") -> list[tuple[Any, ...]]:
        with postgres.connect(database, server or self.here) as connection:
            cursor = connection.execute(text.encode())
            return cursor.fetchall() if cursor.description else []

    def seen(self) -> dict[str, Any]:
        """Everything of staging that a failed mirror must leave alone."""
        return {
            "titles": self.query("SELECT * FROM old ORDER BY 1"),
            "owner": self.query("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'library'"),
            "media": {path.name: path.read_text() for path in sorted(self.media_here.iterdir())},
        }


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that says what this host is: staging, until a test says otherwise."""
    file = tmp_path / "environment"
    file.write_text("staging\n")
    monkeypatch.setattr(mirroring, "ENVIRONMENT_FILE", file)
    return file


@pytest.fixture
def estate(clusters: tuple[Server, Server], sshd: Sshd, environment: Path) -> Iterator[Estate]:
    there, here = clusters
    with reachable_folder() as folder:
        estate = Estate(there, here, folder, sshd)
        prepare(estate)
        yield estate
    for server in (there, here):
        with postgres.connect("postgres", server) as connection:
            for name in postgres.databases(server):
                if name != "postgres":
                    connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def prepare(estate: Estate) -> None:
    fill_production(estate)
    fill_staging(estate)
    source = {
        "host": "production", "address": "127.0.0.1", "port": estate.sshd.port, "user": current_user(),
        "key": str(estate.sshd.key), "known_hosts": str(estate.sshd.known_hosts),
    }  # fmt: skip
    estate.configure(
        source=source,
        database="library",
        owner="library",
        media=str(estate.media_here),
        work=str(estate.folder / "work"),
        release=str(estate.folder / "staging" / "opt"),
        server={"host": estate.here.host},
        scratch_role=GUEST,
        rules=RULES,
    )


def current_user() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def fill_production(estate: Estate) -> None:
    ensure_role(estate.there)
    estate.query("CREATE DATABASE library OWNER library TEMPLATE template0", estate.there, "postgres")
    with postgres.connect("library", estate.there) as connection:
        connection.execute("CREATE EXTENSION pg_stat_statements")  # one that only a superuser may make
        connection.execute("SET ROLE library")
        connection.execute((HERE / "production.sql").read_bytes())
    estate.media_there.mkdir(parents=True)
    for number in range(20):
        (estate.media_there / f"cover{number}").write_text(f"cover {number} of production")
    release = estate.folder / "production" / "opt" / "releases" / RELEASE
    release.mkdir(parents=True)
    (release / "RELEASE.json").write_text(f'{{"id": "{RELEASE}"}}')


def fill_staging(estate: Estate) -> None:
    ensure_role(estate.here)
    ensure_role(estate.here, GUEST)
    estate.query("CREATE DATABASE library OWNER library TEMPLATE template0", estate.here, "postgres")
    estate.query("CREATE TABLE old (title text)")
    estate.query("INSERT INTO old VALUES ('as it was')")
    estate.media_here.mkdir(parents=True)
    (estate.media_here / "old").write_text("as it was")
    (estate.folder / "staging" / "opt" / "releases").mkdir(parents=True)


def ensure_role(server: Server, name: str = "library") -> None:
    with postgres.connect("postgres", server) as connection:
        if not connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (name,)).fetchall():
            connection.execute(f"CREATE ROLE {name} LOGIN".encode())


def mirror_source(estate: Estate) -> Source:
    """Production as staging's configuration describes it."""
    return load_destination(estate.configuration).source
