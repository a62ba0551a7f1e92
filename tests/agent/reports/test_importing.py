"""Laws of importing the original's database, from real MariaDB and PostgreSQL servers alike; no secret is shown."""

import getpass
import hashlib
import subprocess
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import bcrypt
import psycopg
import pymysql
import pytest
from django.contrib.auth.hashers import BCryptPasswordHasher
from pymysql.constants import CLIENT

from rota.packs.reports import importing
from rota.packs.reports.__main__ import main
from rota.packs.reports.definitions import Frequency, ScriptType
from rota.packs.reports.folder import canonical, read_folder, write_folder
from rota.packs.reports.importing import BadDatabase, Imported, address_of, password_of, read_database
from tests.agent.neighbours import as_user, mariadb_server, newest_postgres, open_folder, postgres_cluster

HERE = Path(__file__).parent
ROWS = (HERE / "original_rows.sql").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def mariadb() -> Iterator[str]:
    """A server with the original's database; its URL."""
    with open_folder("reports") as folder, mariadb_server(folder / "server") as socket:
        with pymysql.connect(
            unix_socket=str(socket), user=getpass.getuser(), charset="utf8mb4", client_flag=CLIENT.MULTI_STATEMENTS
        ) as connection:
            cursor = connection.cursor()
            cursor.execute("CREATE DATABASE memo CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
            connection.select_db("memo")
            rows = ROWS.replace('"user"', "`user`").replace("(key,", "(`key`,").replace("INTO query", "INTO `query`")
            for script in ((HERE / "original_mariadb.sql").read_text(encoding="utf-8"), rows):
                cursor.execute(script)
                while cursor.nextset():
                    pass
            connection.commit()
        yield f"mysql://{getpass.getuser()}@localhost/memo?socket={socket}"


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    with open_folder("reports") as folder, postgres_cluster(folder) as server:
        psql = [f"{newest_postgres()}/psql", "--host", str(server.host), "--dbname", "postgres", "--quiet"]
        me = getpass.getuser()
        if me != "postgres":
            make = f'CREATE ROLE "{me}" LOGIN SUPERUSER'
            subprocess.run(as_user("postgres", [*psql, "--command", make]), check=True, cwd="/")
        with psycopg.connect(host=str(server.host), dbname="postgres", user=me, autocommit=True) as connection:
            connection.execute("CREATE DATABASE memo")
        with psycopg.connect(host=str(server.host), dbname="memo", user=me) as connection:
            connection.execute((HERE / "original_postgresql.sql").read_bytes())
            connection.execute(ROWS.encode())
        yield f"postgresql://{me}@localhost/memo?socket={server.host}"


ENGINES = [pytest.param(name, marks=pytest.mark.servers) for name in ("mariadb", "postgresql")]


@pytest.fixture(scope="module", params=ENGINES)
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


@pytest.fixture(scope="module")
def imported(url: str) -> Imported:
    return read_database(url, logs=2)


def test_every_definition_is_taken_as_it_was(imported: Imported) -> None:
    found = imported.definitions
    first, second = found.clients_by_id["c1"], found.clients_by_id["c2"]
    assert (first.name, first.username, first.notes) == ("Some Press", "press", "")
    assert (second.name, second.notes, second.access_key) == ("Länder", "ünï", "")
    task = found.report("press/titles.xml")
    assert (task.id, task.start_date, task.frequency) == ("t1", date(2024, 1, 31), Frequency.MONTHLY)
    assert (task.is_active, task.is_public, task.extension) == (True, True, "xml")
    script = found.script_of(task)
    assert script is not None
    assert script.body == "from sniplets import connect, gone"
    query = found.query_of(script)
    assert query is not None
    assert query.body == "SELECT 'ü'"
    assert found.queries_by_name["countries"].is_library
    assert found.snippets["connect"].type is ScriptType.SNIP
    assert found.report("t3").id_script is None


def test_keys_are_hashed_and_passwords_stay_as_django_checks_them(imported: Imported) -> None:
    client = imported.definitions.clients_by_id["c1"]
    assert client.access_key == hashlib.sha256(b"0123456789abcdef0123456789abcdef").hexdigest()
    assert client.password.startswith("bcrypt$$2a$10$")
    assert "client a_b: its password is no bcrypt hash" in "\n".join(imported.problems)
    assert "plain" not in repr(imported)


@pytest.mark.parametrize("sign", ["2a", "2b", "2y"])
def test_django_takes_the_password_whose_hash_was_taken(sign: str) -> None:
    made = bcrypt.hashpw(b"secret-1", bcrypt.gensalt(4)).decode().replace("$2b$", f"${sign}$")
    stored = importing.stored_password(made, "abc", [])
    assert BCryptPasswordHasher().verify("secret-1", stored)
    assert not BCryptPasswordHasher().verify("secret-2", stored)


def test_the_newest_run_logs_of_each_task_are_taken(imported: Imported) -> None:
    assert [(log.id_task, log.is_success, log.message) for log in imported.logs] == [
        ("t1", False, "exit value 1: ü"),
        ("t1", True, "OK"),
        ("t2", True, ""),
    ]
    assert imported.logs[0].date == datetime(2024, 3, 31, 2, 0, 2).astimezone()  # noqa: DTZ001 - the host's own


def test_what_is_not_taken_is_told(imported: Imported) -> None:
    said = "\n".join(importing.tell(imported, date(2024, 4, 1)))
    for expected in (
        "clients: 2",
        "run logs: 3",
        "1 of the table user not taken",
        "1 of the table setting not taken",
        "a_b/a.b.xml: its script is called 'a_b:a_b.xml'; 'a_b:a_b_xml' would be right",
        "a_b/a.b.xml.py:1: syntax: invalid syntax",
        "press/titles.xml.py:1: import: sniplets has no 'gone'",
        "libraries/connect.py:1: guard: open()",
        "press/titles.xml: next on 2024-05-31",
        "a_b/a.b.xml: not active",
    ):
        assert expected in said


def test_an_import_can_be_kept_as_files(imported: Imported, tmp_path: Path) -> None:
    write_folder(imported.definitions, tmp_path)
    assert read_folder(tmp_path) == canonical(imported.definitions)


def test_run_logs_can_be_kept_as_a_file(
    url: str, imported: Imported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["import", url, "--folder", str(tmp_path / "reports"), "--logs", "2", "--logs-file", str(tmp_path / "logs")]
    assert main(words) == 0
    assert f"3 run logs written to {tmp_path / 'logs'}" in capsys.readouterr().out
    assert importing.read_logs(tmp_path / "logs") == imported.logs
    assert main([*words[:-1], "/no/such/logs"]) == 2


def test_an_import_changes_nothing(url: str) -> None:
    with pytest.raises(BadDatabase), importing.connected(address_of(url), "") as rows:
        rows("DELETE FROM runlog")
    assert len(read_database(url).logs) == 4


def test_a_database_without_the_tables_is_refused_in_one_line(url: str) -> None:
    other = url.replace("/memo?", "/postgres?" if url.startswith("postgres") else "/mysql?")
    with pytest.raises(BadDatabase, match="homedir") as caught:
        read_database(other)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://me:hunter2@host/memo",
        "mysql://me@host/memo?password=hunter2",
        "postgresql://me:hunter2@host/memo?socket=/tmp",
        "oracle://me:hunter2@host/memo",
        "mysql://me:hunter2@host:port/memo",
        "mysql://me:hunter2@[host/memo",
        "mysql://me:hunter2@host",
    ],
)
def test_a_password_in_the_url_is_refused_and_never_shown(url: str) -> None:
    with pytest.raises(BadDatabase) as caught:
        address_of(url)
    assert "hunter2" not in str(caught.value)


def test_a_password_comes_from_a_file_or_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("from file\nmore\n")
    assert password_of(file, {importing.PASSWORD: "other"}) == "from file"
    assert password_of(None, {importing.PASSWORD: "other"}) == "other"
    assert password_of(None, {}) == ""
