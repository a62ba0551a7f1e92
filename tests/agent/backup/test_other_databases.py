"""MariaDB and SQLite: dumps of one moment, and fingerprints that tell whether they came back."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rota.adapters import mariadb, sqlite
from rota.core.fingerprint import Fingerprint, differences
from rota.packs.backup import restoring, work
from rota.packs.backup.manifest import Kind, Source
from tests.agent.backup.conftest import Estate, with_sources

pytestmark = pytest.mark.servers

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def reports(mariadb_socket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / ".my.cnf").write_text(f"[client]\nsocket = {mariadb_socket}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    mariadb.drop("reports")
    mariadb.create("reports")
    statements = """
        CREATE TABLE `odd ``name` (id int PRIMARY KEY, body longtext, raw blob) ENGINE=InnoDB;
        INSERT INTO `odd ``name` VALUES (1, 'a line\\nINSERT INTO `x` VALUES', x'00ff0a27'), (2, 'ünï 🐝', NULL);
        CREATE TABLE empty (id int);
        CREATE VIEW both_of AS SELECT id FROM `odd ``name`;
    """
    subprocess.run(mariadb.client_command(database="reports"), input=statements.encode(), check=True)
    return "reports"


def test_a_mariadb_dump_comes_back_with_the_rows_counted_on_its_way(reports: str, tmp_path: Path) -> None:
    tables = mariadb.dump(reports, tmp_path / "reports.sql")
    assert {name: one.rows for name, one in tables.items()} == {"odd ``name": 2, "empty": 0}
    mariadb.drop("reports_again")
    mariadb.create("reports_again")
    mariadb.restore_into("reports_again", tmp_path / "reports.sql")
    assert mariadb.fingerprint("reports_again") == tables
    execute("UPDATE reports_again.`odd ``name` SET body = 'x' WHERE id = 2")
    assert differences(tables, mariadb.fingerprint("reports_again")) == ["odd ``name has 2 rows, but not the same"]


def execute(statement: str) -> None:
    subprocess.run(mariadb.client_command(execute=statement), check=True)


def test_a_failed_mariadb_dump_leaves_no_file_of_its_name(reports: str, tmp_path: Path) -> None:
    with pytest.raises(mariadb.ProgramFailed, match="absent"):
        mariadb.dump("absent", tmp_path / "absent.sql")
    assert not (tmp_path / "absent.sql").exists()
    with pytest.raises(mariadb.NameRefused):
        mariadb.dump("--all-databases", tmp_path / "absent.sql")


def make_notes(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute('CREATE TABLE "odd ""note" (id INTEGER PRIMARY KEY, body TEXT)')
        connection.executemany('INSERT INTO "odd ""note" (body) VALUES (?)', [(f"note {n}",) for n in range(50)])
        connection.commit()


def test_a_sqlite_copy_is_whole_while_the_database_is_written(tmp_path: Path) -> None:
    make_notes(tmp_path / "notes")
    with closing(sqlite3.connect(tmp_path / "notes")) as writer:
        writer.execute("""INSERT INTO "odd ""note" (body) VALUES ('not yet committed')""")
        tables = sqlite.copy(tmp_path / "notes", tmp_path / "copy")
    assert tables['odd "note'].rows == 50
    assert sqlite.fingerprint(tmp_path / "copy") == tables


def test_a_damaged_sqlite_file_is_refused(tmp_path: Path) -> None:
    make_notes(tmp_path / "notes")
    sqlite.copy(tmp_path / "notes", tmp_path / "copy")
    content = bytearray((tmp_path / "copy").read_bytes())
    content[4096:6000] = b"\x99" * (6000 - 4096)
    (tmp_path / "copy").write_bytes(content)
    with pytest.raises(sqlite.DatabaseDamaged):
        sqlite.fingerprint(tmp_path / "copy")
    with pytest.raises(sqlite.DatabaseMissing):
        sqlite.copy(tmp_path / "absent", tmp_path / "copy")


def test_a_sqlite_file_is_swapped_in_and_the_old_one_kept(tmp_path: Path) -> None:
    make_notes(tmp_path / "notes")
    tables = sqlite.copy(tmp_path / "notes", tmp_path / "copy")
    with closing(sqlite3.connect(tmp_path / "notes")) as connection:
        connection.execute('DELETE FROM "odd ""note"')
        connection.commit()
    before = sqlite.swap(tmp_path / "copy", tmp_path / "notes", NOW)
    assert before is not None
    assert sqlite.fingerprint(tmp_path / "notes") == tables
    assert sqlite.fingerprint(before) == {'odd "note': Fingerprint(0, "0")}


CRASH = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA cache_size = 1")
connection.execute('UPDATE "odd ""note" SET body = hex(randomblob(4000))')
os._exit(0)
"""


def test_what_a_crashed_writer_left_is_taken_back_before_a_swap(tmp_path: Path) -> None:
    make_notes(tmp_path / "notes")
    with closing(sqlite3.connect(tmp_path / "notes")) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    tables = sqlite.copy(tmp_path / "notes", tmp_path / "copy")
    subprocess.run([sys.executable, "-c", CRASH, str(tmp_path / "notes")], check=True)
    assert (tmp_path / "notes-journal").exists()
    before = sqlite.swap(tmp_path / "copy", tmp_path / "notes", NOW)
    assert before is not None
    assert sqlite.fingerprint(before) == tables
    assert sqlite.fingerprint(tmp_path / "notes") == tables
    assert not list(tmp_path.glob("notes*-journal"))


def test_a_damaged_sqlite_file_can_be_replaced_and_one_in_use_cannot(tmp_path: Path) -> None:
    make_notes(tmp_path / "notes")
    tables = sqlite.copy(tmp_path / "notes", tmp_path / "copy")
    with closing(sqlite3.connect(tmp_path / "notes")) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sqlite, "PATIENCE", 0)
            with pytest.raises(sqlite.DatabaseInUse, match="stop what uses it"):
                sqlite.swap(tmp_path / "copy", tmp_path / "notes", NOW)
    (tmp_path / "notes").write_bytes(b"no database any more" * 99)
    sqlite.swap(tmp_path / "copy", tmp_path / "notes", NOW)
    assert sqlite.fingerprint(tmp_path / "notes") == tables


def test_a_backup_of_every_kind_passes_its_drill(estate: Estate, reports: str, tmp_path: Path) -> None:
    make_notes(tmp_path / "notes")
    every = with_sources(
        estate.here(),
        postgresql=["library"],
        mariadb=[reports],
        sqlite=[str(tmp_path / "notes")],
        directories=[str(tmp_path / "media")],
    )
    every.send(NOW)
    for with_mariadb in (True, False):
        store = replace(every.store, mariadb=with_mariadb)
        report = work.drill(store, every.store_places, NOW)
        assert [(item.outcome, report.counts) for item in report.items] == [("done", {"rows compared": 652})]


def test_a_difference_is_told_in_words() -> None:
    one, other = Fingerprint(1, "5"), Fingerprint(2, "5")
    assert differences({"a": one, "b": one}, {"b": other, "c": one}) == [
        "a is missing",
        "b has 2 rows instead of 1",
        "c was not there before",
    ]
    with pytest.raises(restoring.NotAsRecorded, match="a is missing"):
        restoring.require_as_recorded(Source(Kind.SQLITE, "n", 1, tables={"a": one}), {})
