"""The report database as scripts see it: real PostgreSQL and MariaDB servers, through their sockets and nothing else.

What a script tries is the body of a `try`, as in the attacks; here it has a connection, and two tables: `loan`, which
its role may only read, and `careless`, which somebody has let it write by mistake.
"""

import subprocess
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rota.adapters import postgres
from rota.packs.reports.bundle import bundle
from rota.packs.reports.database import Database, Engine
from rota.packs.reports.definitions import Query, Script
from rota.packs.reports.sandbox import Reason
from rota.packs.reports.sandbox.bubblewrap import Bubblewrap
from rota.packs.reports.sandbox.podman import Podman
from tests.agent.neighbours import mariadb_server, open_folder, postgres_cluster
from tests.agent.reports.sandboxes import (
    ACCOUNT,
    Came,
    Host,
    drivers,
    host_with_treasures,
    podman_on_this_machine,
    run_bundle,
)

pytestmark = pytest.mark.servers

TABLES = """
CREATE TABLE loan (id int PRIMARY KEY, title varchar(99));
INSERT INTO loan VALUES (1, 'Emma'), (2, 'ünï 🐝');
CREATE TABLE careless (id int);
"""


@pytest.fixture(scope="module")
def ground() -> Iterator[Path]:
    with open_folder("databases") as folder:
        kept, tempfile.tempdir = tempfile.tempdir, str(folder)
        yield folder
        tempfile.tempdir = kept


@pytest.fixture(scope="module")
def libraries(ground: Path) -> Path:
    return drivers(ground / "libraries")


@pytest.fixture(scope="module")
def host(ground: Path) -> Iterator[Host]:
    with host_with_treasures(ground / "host") as host:
        yield host


@pytest.fixture(scope="module")
def postgresql(ground: Path) -> Iterator[Database]:
    (ground / "postgresql").mkdir()
    with postgres_cluster(ground / "postgresql") as server:
        with postgres.connect("postgres", server) as connection:
            connection.execute("CREATE DATABASE library")
            connection.execute("REVOKE ALL ON DATABASE library FROM PUBLIC")
            connection.execute(f'CREATE ROLE "{ACCOUNT}" LOGIN'.encode())
        with postgres.connect("library", server) as connection:
            connection.execute(TABLES.encode())
            connection.execute(f'GRANT CONNECT ON DATABASE library TO "{ACCOUNT}"'.encode())
            connection.execute(f'GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{ACCOUNT}"'.encode())
            connection.execute(f'GRANT INSERT ON careless TO "{ACCOUNT}"'.encode())
        folder = Path(str(server.host))
        yield Database(engine=Engine.POSTGRESQL, name="library", user=ACCOUNT, socket=folder, seconds=0.5)


@pytest.fixture(scope="module")
def mariadb_database(ground: Path) -> Iterator[Database]:
    with mariadb_server(ground / "mariadb") as socket:
        (ground / "mariadb").chmod(0o755)
        statements = f"""CREATE DATABASE library CHARACTER SET utf8mb4; USE library; {TABLES}
            CREATE USER '{ACCOUNT}'@localhost IDENTIFIED VIA unix_socket;
            GRANT SELECT ON library.* TO '{ACCOUNT}'@localhost;
            GRANT INSERT ON library.careless TO '{ACCOUNT}'@localhost;
        """
        client = ["mariadb", "--no-defaults", f"--socket={socket}", "--default-character-set=utf8mb4"]
        subprocess.run(client, input=statements.encode(), check=True)
        yield Database(engine=Engine.MARIADB, name="library", user=ACCOUNT, socket=socket, seconds=0.5)


@pytest.fixture(params=Engine)
def database(request: pytest.FixtureRequest) -> Database:
    fixture = "postgresql" if request.param is Engine.POSTGRESQL else "mariadb_database"
    found: Database = request.getfixturevalue(fixture)
    return found


def report(
    database: Database, libraries: Path, script: str, query: str = "SELECT id, title FROM loan ORDER BY id"
) -> Came:
    main = Script(id="1", name="abc:loans_csv", body=script)
    files = bundle(main, queries=[Query(id="2", name="abc:loans_csv", body=query)], database=database)
    return run_bundle(Bubblewrap(libraries, database), files)


READING = """
from database import connect
from queries.abc import loans_csv
cursor = connect().cursor()
cursor.execute(loans_csv.query)
for row in cursor:
    print(*row, sep=",")
"""


def test_a_script_reads_rows_with_the_connection_that_is_ready(database: Database, libraries: Path) -> None:
    came = report(database, libraries, READING)
    assert (came.output, came.ending.errors) == ("1,Emma\n2,ünï 🐝\n", "")
    assert came.ending.is_success


def test_podman_lets_the_same_socket_through(postgresql: Database, libraries: Path, ground: Path) -> None:
    plain = podman_on_this_machine(ground / "image")
    podman = Podman(plain.image, libraries, postgresql, more=plain.more)
    files = bundle(
        Script(id="1", name="abc:loans_csv", body=READING),
        queries=[Query(id="2", name="abc:loans_csv", body="SELECT id, title FROM loan ORDER BY id")],
        database=postgresql,
    )
    came = run_bundle(podman, files)
    assert (came.output, came.ending.errors) == ("1,Emma\n2,ünï 🐝\n", "")


@dataclass(frozen=True)
class Try:
    """`refused` is part of what the database says, for PostgreSQL and for MariaDB; "" where it is tried on one only."""

    name: str
    body: str
    postgresql: str = ""
    mariadb: str = ""


DENIED, ONLY_READS = "permission denied", "read-only transaction"
NO_RIGHT, NO_WRITES = "denied to user|Access denied", "READ ONLY transaction"
REFUSED = (f"{ONLY_READS}|{DENIED}", f"{NO_WRITES}|{NO_RIGHT}")
ENDLESS = f"SELECT count(*) FROM {', '.join(f'information_schema.collations t{n}' for n in range(5))}"  # noqa: S608 - names of ours
TRIES = [
    Try("writing", "cursor.execute('INSERT INTO loan VALUES (3, null)')", *REFUSED),
    Try("writing where the role may", "cursor.execute('INSERT INTO careless VALUES (1)')", ONLY_READS, NO_WRITES),
    Try("writing with a commit", "cursor.execute('INSERT INTO careless VALUES (1)'); commit()", ONLY_READS, NO_WRITES),
    Try(
        "unsetting read only",
        "rollback(); cursor.execute('SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE'); rollback();"
        "cursor.execute('SET default_transaction_read_only = off'); rollback();"
        "connection.read_only = False; cursor.execute('UPDATE loan SET id = 9')",
        DENIED,
    ),
    Try(
        "unsetting read only",
        "cursor.execute('SET SESSION TRANSACTION READ WRITE'); cursor.execute('UPDATE loan SET id = 9')",
        mariadb=NO_RIGHT,
    ),
    Try("making a table", "cursor.execute('CREATE TABLE mine (id int)')", *REFUSED),
    Try("dropping a table", "cursor.execute('DROP TABLE loan')", f"{ONLY_READS}|owner", f"{NO_WRITES}|{NO_RIGHT}"),
    Try("becoming another", "cursor.execute('SET ROLE postgres')", DENIED, "Invalid role|denied"),
    Try("reading the server's files", "cursor.execute(\"SELECT pg_read_file('/etc/passwd')\")", DENIED),
    Try("reading the server's files", "one(\"SELECT length(load_file('/etc/passwd')) + 0\")", mariadb="nothing"),
    Try("a program by way of a copy", "cursor.execute(\"COPY loan TO PROGRAM 'id'\")", "must be superuser"),
    Try("a file by way of a query", "cursor.execute(\"SELECT 1 INTO OUTFILE '/tmp/rota-x'\")", mariadb=NO_RIGHT),
    Try("a local file by way of a load", "cursor.execute(\"LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE careless\")",
        mariadb="disabled|not allowed|READ ONLY"),
    Try("passwords", "cursor.execute('SELECT * FROM pg_authid')", DENIED),
    Try("passwords", "cursor.execute('SELECT * FROM mysql.global_priv')", mariadb=NO_RIGHT),
    Try("another database", "connect(dbname='postgres').execute('CREATE TABLE mine ()')", f"{DENIED}|{ONLY_READS}"),
    Try("another database", "connect(database='mysql')", mariadb=NO_RIGHT),
    Try("another role", "connect(user='postgres')", "Peer authentication failed"),
    Try("another role", "connect(user='root')", mariadb="denied"),
    Try("ending others' sessions",
        "one('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename IS NULL')",
        "must be|" + DENIED),
    Try("a statement without end", "cursor.execute('SELECT pg_sleep(99)')", "statement timeout"),
    Try("a statement without end", f"cursor.execute({ENDLESS!r})",
        mariadb="max_statement_time"),
    Try("two statements in one", "cursor.execute('SELECT 1; COMMIT; INSERT INTO loan VALUES (7, null)')",
        f"{ONLY_READS}|{DENIED}", "error in your SQL syntax"),
    Try("a network of the server's neighbours", "socket.socket(socket.AF_INET)", "Operation not permitted",
        "Operation not permitted"),
    Try("an abstract socket of the host", "socket.socket(socket.AF_UNIX).connect(ABSTRACT)", "refused", "refused"),
    Try("another socket of the host", "socket.socket(socket.AF_UNIX).connect(SOCKET)", "No such file", "No such file"),
]  # fmt: skip
PARTS = [
    pytest.param(engine, each, id=f"{engine}, {each.name}")
    for engine in Engine
    for each in TRIES
    if getattr(each, engine)
]

TRYING = """
import socket
from database import connect
ABSTRACT, SOCKET = {abstract!r}, {socket!r}
connection = connect()
cursor = connection.cursor()
commit, rollback = connection.commit, connection.rollback

def one(query):
    cursor.execute(query)
    found = cursor.fetchone()
    if not found or not found[0]:
        raise LookupError("nothing")

try:
{body}
except Exception as error:  # any refusal will do
    print("refused:", error)
else:
    print("reached")
"""


@pytest.mark.parametrize(("engine", "tried"), PARTS)
def test_a_script_can_but_read(
    engine: Engine, tried: Try, host: Host, libraries: Path, request: pytest.FixtureRequest
) -> None:
    database = request.getfixturevalue("postgresql" if engine is Engine.POSTGRESQL else "mariadb_database")
    body = textwrap.indent(tried.body, "    ")
    script = TRYING.format(body=body, abstract=host.abstract, socket=str(host.socket_file))
    came = report(database, libraries, script)
    assert came.output.startswith("refused:"), came
    assert any(words in came.output for words in getattr(tried, engine).split("|")), came.output
    assert (came.ending.reason, came.ending.exit_code) == (Reason.ENDED, 0)
    both = "SELECT id, title FROM loan UNION ALL SELECT count(*), 'careless' FROM careless"
    assert report(database, libraries, READING, both).output == "1,Emma\n2,ünï 🐝\n0,careless\n"


@pytest.mark.parametrize(
    "text", ["'''\nimport os\nos.abort()\n'''", "'); DROP TABLE loan; --", "50\\%", "\\'", "%s {0}"]
)
def test_hostile_query_text_stays_text(text: str, postgresql: Database, libraries: Path) -> None:
    came = report(postgresql, libraries, "from queries.abc import loans_csv\nprint(loans_csv.query)", text)
    assert came.output == f"\n{text}\n\n"


def test_without_a_database_there_is_none_to_connect_to(libraries: Path) -> None:
    came = run_bundle(Bubblewrap(libraries), bundle(Script(id="1", name="x", body="import database")))
    assert "No module named 'database'" in came.ending.errors
