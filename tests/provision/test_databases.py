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
    "roles": [
        {"name": name, "createdb": False, "member_of": [], "connections": -1}
        for name in ("librarian", "nobody", "backup")
    ],
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
        "select pg_terminate_backend(1)",
        "select pg_cancel_backend(1)",
        "select pg_logical_emit_message(false, 'a', 'b')",
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


def test_what_a_database_of_somebody_else_gives_everybody_is_left_to_its_owner(converge: Converge, say: Say) -> None:
    """As databases are by themselves, and were before PostgreSQL 15."""
    say(
        "create role elder login; create database legacy owner elder; grant all on database legacy to public",
        "postgres",
    )
    say("grant create on schema public to public; create table old (id int)", "legacy")
    readers = {"roles": POSTGRES["roles"], "databases": [], "readers": [{"role": "nobody", "database": "legacy"}]}
    assert say("create temporary table mine (id int)", "legacy", user="nobody").returncode == 0
    assert "left temporary on database legacy in legacy to elder" in converge(readers)
    assert converge(readers) == []
    for sql in ("create temporary table mine (id int)", "create table mine (id int)", "create schema mine"):
        assert "permission denied" in say(sql, "legacy", user="nobody").stderr, sql
    for sql in ("create temporary table mine (id int)", "create table mine (id int)", "select lo_create(0)"):
        assert say(sql, "legacy", role="elder").returncode == 0, sql


def test_the_first_preview_tells_of_a_role_that_is_still_to_be_made(converge: Converge) -> None:
    converge({**POSTGRES, "readers": []})
    unknown = {"name": "unknown", "createdb": False, "member_of": [], "connections": 3}
    readers = {"roles": [unknown], "databases": [], "readers": [{"role": "unknown", "database": "library"}]}
    assert converge(readers, check=True) == ["made the PostgreSQL role unknown", "would let unknown read library"]


def test_a_role_has_as_many_connections_as_it_is_given(converge: Converge, say: Say) -> None:
    one = {"name": "nobody", "createdb": False, "member_of": [], "connections": 1}
    converge()
    assert converge({**POSTGRES, "roles": [one]}) == ["corrected the PostgreSQL role nobody"]
    twice = r"\! psql --no-psqlrc -qAt --host=$(dirname $PGDATA) --dbname=library -c 'select 1'"
    assert (
        "too many connections"
        in say(f"\\setenv PGDATA {say('show data_directory').stdout.strip()}\n{twice}", user="nobody").stderr
    )
    assert converge() == ["corrected the PostgreSQL role nobody"]


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
    """The role's own statements, over rights that are too many; an underscore in a name stands for itself."""
    steps = {one["name"]: one for one in yaml.safe_load((ROOT / "roles/reports/tasks/main.yml").read_text())}
    step = steps["Let scripts read it, and nothing else there"]

    def rendered_with(text: str, **known: object) -> str:
        return str(Templar(DataLoader(), variables=known).template(trust_as_template(text)))

    wanted = [rendered_with(one, reports_database="our_library") for one in step["vars"]["reports_grants"]]
    statements = rendered_with(step["ansible.builtin.command"]["stdin"], reports_grants=wanted)
    ask = steps["Ask what scripts may do in the host's MariaDB"]["ansible.builtin.command"]["stdin"]
    with open_folder("mariadb") as folder, mariadb_server(folder / "server") as socket:
        client, *options = step["ansible.builtin.command"]["argv"]

        def say(sql: str) -> Any:
            words = [client, "--no-defaults", f"--socket={socket}", *options]
            return subprocess.run(words, input=sql, capture_output=True, text=True, check=False)

        say("CREATE DATABASE our_library; CREATE DATABASE ourXlibrary")
        nobody = say(ask)
        assert (nobody.returncode, "There is no such grant" in nobody.stderr) == (1, True), "as the step expects"
        assert say(statements).returncode == 0
        say("GRANT INSERT ON ourXlibrary.* TO 'rota-reports'@localhost")
        assert sorted(say(ask).stdout.splitlines()) != sorted(wanted)
        assert say(statements).returncode == 0
        assert sorted(say(ask).stdout.splitlines()) == sorted(wanted)
        assert "`our\\_library`.*" in wanted[1]
