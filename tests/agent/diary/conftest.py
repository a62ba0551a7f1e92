"""The diary's cast, and both databases it runs on."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections, transaction
from django.test import Client

from rota.diary.configuration import Configuration, Database, Engine
from rota.diary.models import Host, Person, Role, Token
from rota.diary.settings import database_settings
from tests.agent.neighbours import as_user, newest_postgres, open_folder, postgres_cluster

SOURCES = Path(__file__).resolve().parents[3] / "agent" / "src"
PASSWORD = "a ledger of quiet nights"
TOKEN = "the production host's own token"

Records = list[dict[str, Any]]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The socket folder of a PostgreSQL server with a database `diary`, where whoever runs the tests is a peer."""
    with open_folder("diary") as folder, postgres_cluster(folder) as server:
        here = [f"--host={server.host}"]
        if os.geteuid() == 0:
            run_program(as_user("postgres", [f"{newest_postgres()}/createuser", *here, "--superuser", "root"]))
        run_program([f"{newest_postgres()}/createdb", *here, "diary"])
        yield str(server.host)


def run_program(command: list[str]) -> None:
    subprocess.run(command, check=True, cwd="/")


@pytest.fixture
def use_database(django_db_blocker: Any) -> Iterator[Callable[[Database], None]]:
    """Makes Django's default database another one, until the test ends."""
    before = connections.settings["default"]

    def use(database: Database) -> None:
        connections.close_all()
        connections.settings["default"] = connections.configure_settings(
            {"default": database_settings(Configuration(database=database))}
        )["default"]
        del connections["default"]

    with django_db_blocker.unblock():
        # Makes the connection object exist, so that it can be replaced.
        _ = connections["default"]
        yield use
        connections.close_all()
    connections.settings["default"] = before
    del connections["default"]


@pytest.fixture(scope="session")
def migrated() -> set[str]:
    """The databases whose tables have been made."""
    return set()


@pytest.fixture(scope="session")
def empty_diary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with the diary's tables, made once for all workers; to be copied."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    home = folder / "empty-diary"
    home.mkdir(exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "diary.sqlite3").exists():
            making = home / "making"
            making.mkdir()
            assert rota_diary("migrate", "--verbosity=0", ROTA_HOME=str(making)).returncode == 0
            (making / "diary.sqlite3").rename(home / "diary.sqlite3")
    return home / "diary.sqlite3"


def rota_diary(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, configured by `environment` alone."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROTA_", "DJANGO_"))}
    return subprocess.run(
        [sys.executable, "-m", "rota.diary.manage", *arguments],
        env={**kept, "PYTHONPATH": str(SOURCES), **environment},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """On SQLite, which is quicker; on both engines whatever is marked as `each_engine`."""
    if "configured" in metafunc.fixturenames:
        is_for_each = metafunc.definition.get_closest_marker("each_engine") is not None
        engines = list(Engine) if is_for_each else [Engine.SQLITE]
        metafunc.parametrize("configured", engines, ids=str, indirect=True, scope="session")


@pytest.fixture(scope="session")
def configured(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, migrated: set[str]
) -> Database:
    if request.param is Engine.SQLITE:
        file = str(tmp_path_factory.mktemp("diary") / "diary.sqlite3")
        shutil.copyfile(request.getfixturevalue("empty_diary"), file)
        migrated.add(file)
        return Database(name=file)
    return Database(engine=Engine.POSTGRESQL, name="diary", host=request.getfixturevalue("postgresql"))


@pytest.fixture
def database(
    configured: Database, use_database: Callable[[Database], None], migrated: set[str], settings: Any
) -> Iterator[Database]:
    """A migrated database; what a test writes is rolled back."""
    # The real hasher takes most of a second, as it should, and there are many people and guesses.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    use_database(configured)
    if configured.name not in migrated:
        call_command("migrate", interactive=False, verbosity=0)
        migrated.add(configured.name)
    with undone():
        yield configured


@contextmanager
def undone() -> Iterator[None]:
    """Rolls back what is written within."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def visitor(person: Person | None = None) -> Client:
    """A browser whose requests came through nginx with TLS; logged in when it is somebody's."""
    client = Client(HTTP_X_FORWARDED_PROTO="https", HTTP_HOST="localhost", enforce_csrf_checks=False)
    if person is not None:
        client.force_login(person)
    return client


@dataclass
class Cast:
    """Everybody who meets the diary."""

    people: dict[str, Person] = field(default_factory=dict)

    def __getattr__(self, role: str) -> Client:
        return visitor(self.people[role])

    @property
    def stranger(self) -> Client:
        return visitor()


@pytest.fixture
def cast(database: Database) -> Cast:
    return Cast(
        {
            role: Person.objects.create_user(f"{role}@example.org", PASSWORD, name=role.title(), role=role)
            for role in Role.values
        }
    )


@dataclass
class Shipper:
    """A host that ships records with its token."""

    host: Host
    client: Client = field(default_factory=visitor)

    def ship(self, *records: object) -> Records:
        response = self.post({"version": 1, "records": list(records)})
        assert response.status_code == 200, response.content
        results: Records = response.json()["results"]
        return results

    def post(self, body: object, token: str = TOKEN, **extra: Any) -> Any:
        return self.client.post(
            "/api/v1/records", body, content_type="application/json", HTTP_AUTHORIZATION=f"Bearer {token}", **extra
        )


@pytest.fixture
def production(database: Database) -> Shipper:
    host = Host.objects.create(name="production", environment="production")
    Token.objects.create(host=host, digest=sha256(TOKEN.encode()).hexdigest())
    return Shipper(host)
