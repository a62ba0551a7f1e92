"""Roles and databases on real servers: who may read a database reads all of it, and writes nothing."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from tests.agent.neighbours import mariadb_server, open_folder, postgres_cluster
from tests.provision.test_converge import loaded
from tests.provision.test_roles import ROOT
from tests.provision.test_templates import rendered

pytestmark = pytest.mark.servers

POSTGRES = {
    "roles": [{"name": name, "createdb": False, "member_of": []} for name in ("librarian", "nobody", "backup")],
    "databases": [
        {"name": name, "owner": "librarian", "extensions": [], "connect": []} for name in ("library", "other")
    ],
    "readers": [{"role": "nobody", "database": "library"}],
}
OWNED = """create schema stock; create table stock.copy (id int); create table title (id int);
insert into title values (1); create view titles as select * from title;
create function made() returns int language sql as 'select 1';"""
HBA = [{"name": "nobody", "only": ["library"]}]

Say = Callable[..., subprocess.CompletedProcess[str]]
Converge = Callable[..., list[str]]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    with open_folder("converge") as folder, postgres_cluster(folder) as server:
        yield Path(str(server.host))


@pytest.fixture
def say(cluster: Path) -> Say:
    """psql as a user of the system, who is the role of the same name."""

    def run(sql: str, database: str = "library", user: str = "postgres", role: str = "") -> Any:
        psql = ["psql", "--no-psqlrc", "-qAt", "--set=ON_ERROR_STOP=1", f"--host={cluster}", f"--dbname={database}"]
        become = ["runuser", "--user", user, "--"] if os.geteuid() == 0 else []
        given = f'set role "{role}"; {sql}' if role else sql
        return subprocess.run([*become, *psql], input=given, capture_output=True, text=True, cwd="/", check=False)

    return run


@pytest.fixture
def converge(say: Say, monkeypatch: pytest.MonkeyPatch) -> Converge:
    """Bring the cluster to what is described; the sentences about what changed."""
    module: ModuleType = loaded(ROOT / "provision/plugins/host/converge.py")

    def query(sql: str, database: str = "postgres") -> list[tuple[str, ...]]:
        psql = say(f"\\pset fieldsep '\\t'\n{sql}", database)
        if psql.returncode:
            raise module.Failed(psql.stderr.strip())
        return [tuple(line.split("\t")) for line in psql.stdout.splitlines()]

    monkeypatch.setattr(module, "query", query)
    monkeypatch.setattr(module, "await_postgres", lambda: None)

    def run(described: dict[str, Any] = POSTGRES, *, check: bool = False) -> list[str]:
        ledger = module.Ledger(check, "postgres")
        try:
            module.converge_postgres(described, ledger)
        finally:
            ledger.close()
        changes: list[str] = ledger.changes
        return changes

    return run


def test_a_reader_reads_all_now_and_later_and_writes_nothing(converge: Converge, say: Say) -> None:
    first = converge()
    assert "made the database library" in first
    assert "let nobody read what librarian will make in library" in first
    assert say(OWNED, role="librarian").returncode == 0
    assert converge() == []
    assert say("revoke select on title from nobody").returncode == 0
    would, changes = converge(check=True), converge()
    assert would == changes == ["let nobody read public of library"]
    assert converge() == []

    assert say("select id from title union all select id from titles", user="nobody").stdout == "1\n1\n"
    later = "create table later (id int); create schema annexe; create table annexe.thing (id int);"
    assert say(later, role="librarian").returncode == 0
    for table in ("later", "annexe.thing", "stock.copy"):
        assert say(f"table {table}", user="nobody").returncode == 0, table
    assert converge() == []

    refused = [
        "insert into title values (2)",
        "update title set id = 2",
        "delete from title",
        "truncate title",
        "create table mine (id int)",
        "create temporary table mine (id int)",
        "create schema mine",
        "create function mine() returns int language sql as 'select 1'",
        "select lo_create(0)",
        "select lo_creat(-1)",
        "select lo_from_bytea(0, 'x')",
        "copy title to program 'id'",
        "copy title to '/tmp/of-a-reader'",
        "select pg_read_file('/etc/passwd')",
        "set role librarian",
        "alter role nobody superuser",
    ]
    for sql in refused:
        ended = say(sql, user="nobody")
        assert ended.returncode != 0, sql
        assert "permission denied" in ended.stderr or "must be" in ended.stderr, (sql, ended.stderr)


def test_a_reader_of_a_database_that_nobody_made_is_refused(converge: Converge) -> None:
    missing = {"roles": [], "databases": [], "readers": [{"role": "nobody", "database": "missing"}]}
    assert converge(missing, check=True) == ["would let nobody read missing"]
    with pytest.raises(Exception, match="there is no database missing for nobody to read"):
        converge(missing)


@pytest.mark.usefixtures("ansible_plugins")
def test_a_role_for_some_databases_alone_reaches_no_other(cluster: Path, converge: Converge, say: Say) -> None:
    converge()
    assert say("select 1", "postgres", user="nobody").returncode == 0
    rules = cluster / "data/pg_hba.conf"
    before = rules.read_text()
    rules.write_text(rendered("postgres/templates/pg_hba.conf.j2", postgres_roles=HBA))
    try:
        say("select pg_reload_conf()")
        assert say("select 1", "library", user="nobody").returncode == 0
        for database in ("postgres", "template1", "other"):
            assert "rejects connection" in say("select 1", database, user="nobody").stderr, database
        assert say("select 1", "other").returncode == 0
    finally:
        rules.write_text(before)
        say("select pg_reload_conf()")


@pytest.mark.usefixtures("ansible_plugins")
def test_the_reports_user_of_mariadb_reads_one_database_and_nothing_else() -> None:
    """The role's own statements, twice; an underscore in a name stands for itself."""
    (step,) = [
        one for one in yaml.safe_load((ROOT / "roles/reports/tasks/main.yml").read_text()) if "stdin" in str(one)
    ]
    template = trust_as_template(step["ansible.builtin.command"]["stdin"])
    statements = Templar(DataLoader(), variables={"reports_database": "our_library"}).template(template)
    with open_folder("mariadb") as folder, mariadb_server(folder / "server") as socket:
        client = ["mariadb", "--no-defaults", f"--socket={socket}", "--batch", "--raw", "--skip-column-names"]

        def say(sql: str) -> list[str]:
            return subprocess.run(client, input=sql, capture_output=True, text=True, check=True).stdout.splitlines()

        say("CREATE DATABASE our_library; CREATE DATABASE ourXlibrary")
        say(statements)
        say("GRANT INSERT ON ourXlibrary.* TO 'rota-reports'@localhost")
        say(statements)
        usage, select = sorted(say("SHOW GRANTS FOR 'rota-reports'@localhost"))[::-1]
        assert usage == "GRANT USAGE ON *.* TO `rota-reports`@`localhost` IDENTIFIED VIA unix_socket"
        assert select == "GRANT SELECT, SHOW VIEW ON `our\\_library`.* TO `rota-reports`@`localhost`"
