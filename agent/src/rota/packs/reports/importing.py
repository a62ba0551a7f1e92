"""A database of the original system, read as it is: MariaDB or MySQL, or the same tables in PostgreSQL.

Nothing is written to it. Keys are hashed, for nobody needs them in clear; passwords stay the bcrypt hashes they are, in
the form in which Django keeps them. Users of the editor and settings are not taken: people have their logins in the
diary.
"""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from rota.adapters.spool import replace_through
from rota.core.errors import RotaError
from rota.packs.reports.attempt import aware
from rota.packs.reports.definitions import Client, Definitions, Frequency, Query, Script, ScriptType, Task
from rota.packs.reports.frequency import next_due
from rota.packs.reports.names import BadName, check_key
from rota.packs.reports.reviewing import review

PASSWORD = "ROTA_REPORTS_PASSWORD"  # noqa: S105 - the name of a variable
ENGINES = {"mysql": "mariadb", "mariadb": "mariadb", "postgresql": "postgresql", "postgres": "postgresql"}
LOGS = 100
"""Run logs taken of each task, unless it is said otherwise."""
BCRYPT = re.compile(r"\$2[abxy]\$[0-9]{2}\$[./A-Za-z0-9]{53}")

Rows = Callable[[str], Sequence[Mapping[str, Any]]]


class BadDatabase(RotaError):
    """This database cannot be imported."""


class BadLogs(RotaError):
    """This is no file of run logs, as `rota reports import --logs-file` writes it."""


@dataclass(frozen=True)
class RunLog:
    """What the original noted of one run."""

    id: int
    id_task: str
    date: datetime
    is_success: bool
    message: str


@dataclass(frozen=True)
class Imported:
    """All that was read, and what did not come along as it was."""

    definitions: Definitions
    logs: tuple[RunLog, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Address:
    """Where a database is, without its password."""

    engine: str
    host: str
    port: int | None
    user: str
    database: str
    socket: str = ""


def address_of(url: str) -> Address:
    """Of `mysql://user@host:port/database` or `postgresql://…`, with `?socket=FILE` for a local one.

    Raises BadDatabase, which never repeats the URL: there may be a password in it.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadDatabase("its URL cannot be read; write mysql://user@host:3306/database") from None
    if parts.scheme not in ENGINES:
        raise BadDatabase("its URL begins with mysql://, mariadb:// or postgresql://")
    asked = parse_qs(parts.query)
    if parts.password is not None or asked.keys() - {"socket"}:
        raise BadDatabase(f"take the password out of its URL, and give it in {PASSWORD} or by --password-file")
    database = unquote(parts.path.strip("/"))
    if not database:
        raise BadDatabase("its URL ends with the name of the database, as in mysql://user@host/memo")
    socket = asked.get("socket", [""])[0]
    host, user = parts.hostname or "localhost", unquote(parts.username or "")
    return Address(ENGINES[parts.scheme], host, port, user, database, socket)


def password_of(file: Path | None, environment: Mapping[str, str] = os.environ) -> str:
    """The first line of the file, else what the environment says, else ""."""
    if file is None:
        return environment.get(PASSWORD, "")
    return (file.read_text(encoding="utf-8").splitlines() or [""])[0]


def read_database(url: str, password: str = "", *, logs: int = LOGS) -> Imported:
    """All definitions, and the newest so many run logs of each task. Raises BadDatabase, BadDefinitions."""
    address = address_of(url)
    with connected(address, password) as rows:
        problems: list[str] = []
        definitions = Definitions(
            clients=tuple(client_of(row, problems) for row in rows("SELECT * FROM homedir ORDER BY username")),
            tasks=tuple(map(task_of, rows("SELECT * FROM task ORDER BY id_homedir, file_name"))),
            scripts=tuple(map(script_of, rows("SELECT * FROM script ORDER BY name"))),
            queries=tuple(map(query_of, rows(f"SELECT * FROM {quoted(address, 'query')} ORDER BY name"))),  # noqa: S608 - quoted identifiers alone
        )
        taken = tuple(map(log_of, rows(newest_logs(logs))))
        problems += left_out(rows, address)
    return Imported(definitions, taken, tuple(problems))


def quoted(address: Address, name: str) -> str:
    return f"`{name}`" if address.engine == "mariadb" else f'"{name}"'


def newest_logs(count: int) -> str:
    return (
        "SELECT * FROM (SELECT runlog.*, ROW_NUMBER() OVER (PARTITION BY id_task ORDER BY date DESC, id DESC) AS place"  # noqa: S608 - quoted identifiers alone
        f" FROM runlog) AS numbered WHERE place <= {int(count)} ORDER BY id"
    )


def write_logs(logs: Iterable[RunLog], file: Path) -> None:
    """As JSON, for `rota-diary import_reports`. Raises OSError."""
    values = [{**asdict(log), "date": log.date.isoformat()} for log in logs]
    replace_through(file, json.dumps({"version": 1, "logs": values}))


def read_logs(file: Path) -> tuple[RunLog, ...]:
    """What `write_logs` wrote. Raises BadLogs."""
    try:
        return tuple(log_of_json(value) for value in json.loads(file.read_text("utf-8"))["logs"])
    except OSError as error:
        raise BadLogs(f"{file}: {error.strerror}") from None
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise BadLogs(f"{file}: {type(error).__name__}: {error}") from None


def log_of_json(value: Mapping[str, Any]) -> RunLog:
    at = aware(value["date"])
    return RunLog(int(value["id"]), str(value["id_task"]), at, bool(value["is_success"]), str(value["message"]))


def left_out(rows: Rows, address: Address) -> Iterator[str]:
    for table, instead in (("user", "give them logins in the diary"), ("setting", "set them in group_vars")):
        count = rows(f"SELECT COUNT(*) AS found FROM {quoted(address, table)}")[0]["found"]  # noqa: S608 - quoted identifiers alone
        if count:
            yield f"{count} of the table {table} not taken; {instead}"


@contextmanager
def connected(address: Address, password: str) -> Iterator[Rows]:
    """A function that asks, in one transaction that only reads. Raises BadDatabase."""
    opening = from_mariadb if address.engine == "mariadb" else from_postgresql
    with opening(address, password) as rows:
        yield rows


@contextmanager
def from_mariadb(address: Address, password: str) -> Iterator[Rows]:
    import pymysql
    import pymysql.cursors

    try:
        connection = pymysql.connect(
            host=address.host,
            port=address.port or 3306,
            user=address.user or None,
            password=password,
            database=address.database,
            unix_socket=address.socket or None,
            charset="utf8mb4",
            cursorclass=pymysql.cursors.DictCursor,
            connect_timeout=10,
        )
        with connection, connection.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION READ ONLY")
            cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")

            def rows(statement: str) -> Sequence[Mapping[str, Any]]:
                cursor.execute(statement)
                return cursor.fetchall()

            yield rows
    except pymysql.Error as error:
        raise BadDatabase(f"{address.database}: {error.args[-1]}") from None


@contextmanager
def from_postgresql(address: Address, password: str) -> Iterator[Rows]:
    import psycopg
    from psycopg.rows import dict_row

    try:
        with psycopg.connect(
            host=address.socket or address.host,
            port=address.port,
            user=address.user or None,
            password=password or None,
            dbname=address.database,
            connect_timeout=10,
            row_factory=dict_row,
        ) as connection:
            connection.read_only = True
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            yield lambda statement: connection.execute(statement.encode()).fetchall()
    except psycopg.Error as error:
        raise BadDatabase(f"{address.database}: {' '.join(str(error).split())}") from None


def client_of(row: Mapping[str, Any], problems: list[str]) -> Client:
    username = str(row["username"])
    return Client(
        id=str(row["id"]),
        name=row["name"] or "",
        username=username,
        password=stored_password(row["password"] or "", username, problems),
        access_key=hashed_key(row["access_key"] or "", username, problems),
        is_editable=bool(row["is_editable"]),
        notes=row["notes"] or "",
    )


def stored_password(found: str, username: str, problems: list[str]) -> str:
    """As Django stores bcrypt: `bcrypt$` before the hash."""
    if found and not BCRYPT.fullmatch(found):
        problems.append(f"client {username}: its password is no bcrypt hash, and not taken; give it a new one")
        return ""
    return f"bcrypt${found}" if found else ""


def hashed_key(key: str, username: str, problems: list[str]) -> str:
    """SHA-256, in hexadecimal: a key has 128 random bits, so it needs no slower hash."""
    if not key:
        return ""
    try:
        check_key(key)
    except BadName as error:
        problems.append(f"client {username}: {error}; it is taken as it is")
    return hashlib.sha256(key.encode()).hexdigest()


def task_of(row: Mapping[str, Any]) -> Task:
    return Task(
        id=str(row["id"]),
        id_homedir=str(row["id_homedir"]),
        file_name=row["file_name"],
        extension=row["extension"] or "",
        id_script=row["id_script"],
        description=row["description"] or "",
        start_date=row["start_date"],
        frequency=Frequency(row["frequency"]),
        is_active=bool(row["is_active"]),
        is_public=bool(row["is_public"]),
        notes=row["notes"] or "",
    )


def script_of(row: Mapping[str, Any]) -> Script:
    return Script(
        id=str(row["id"]),
        name=row["name"],
        type=ScriptType(row["type"]),
        id_query=row["id_query"],
        body=row["body"] or "",
        params=row["params"] or "",
        notes=row["notes"] or "",
    )


def query_of(row: Mapping[str, Any]) -> Query:
    return Query(
        id=str(row["id"]),
        name=row["name"],
        body=row["body"] or "",
        params=row["params"] or "",
        notes=row["notes"] or "",
        is_library=bool(row["is_library"]),
    )


def log_of(row: Mapping[str, Any]) -> RunLog:
    """Its time was written in the server's own zone, which is taken to be this host's."""
    at = row["date"].astimezone(UTC)
    return RunLog(int(row["id"]), str(row["id_task"]), at, bool(row["is_success"]), row["message"] or "")


def tell(imported: Imported, today: date) -> Iterator[str]:
    """The report of an import, line by line: counts, what to look at, and what is made next."""
    found = imported.definitions
    for kind in ("clients", "tasks", "scripts", "queries"):
        yield f"{kind}: {len(getattr(found, kind))}"
    yield f"run logs: {len(imported.logs)}"
    yield from imported.problems
    remarks = review(found)
    for sort, count in sorted(Counter(remark.sort for remark in remarks).items()):
        yield f"remarks on {sort}: {count}"
    yield from map(str, remarks)
    for name, task in found.reports.items():
        due = next_due(task, today)
        yield f"{name}: next on {due}" if due else f"{name}: not active"
