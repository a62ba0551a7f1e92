"""Dumps, fingerprints and swaps against a real PostgreSQL server."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from rota.adapters import postgres
from rota.adapters.postgres import Server

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def rows(server: Server, database: str, table: str) -> int:
    with postgres.connect(database, server) as connection:
        row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone()
        assert row is not None
        return int(row[0])


def execute(server: Server, database: str, statement: str) -> None:
    with postgres.connect(database, server) as connection:
        connection.execute(statement.encode())


def fingerprint(server: Server, database: str) -> dict[str, postgres.Fingerprint]:
    with postgres.connect(database, server) as connection:
        return postgres.fingerprint(connection)


def test_commands_carry_no_secret_and_no_shell() -> None:
    assert postgres.dump_command("diary", snapshot="00000003-1") == [
        "pg_dump", "--format=custom", "--compress=0", "--no-password", "--snapshot=00000003-1", "--dbname=diary",
    ]  # fmt: skip
    assert postgres.restore_command("diary_scratch", owners=False) == [
        "pg_restore", "--exit-on-error", "--no-password", "--no-owner", "--no-privileges",
        "--dbname=diary_scratch",
    ]  # fmt: skip


def test_a_restored_dump_has_the_fingerprint_recorded_at_its_moment(
    cluster: Server, library: str, tmp_path: Path
) -> None:
    execute(cluster, library, "SELECT lo_from_bytea(0, 'scan of a page')")
    dump = postgres.snapshot_dump(library, tmp_path / "library.dump", cluster)
    execute(cluster, library, "UPDATE book SET title = 'changed' WHERE id = 1")
    scratch = postgres.create_scratch(library, NOW, cluster)
    postgres.restore_into(scratch, dump.file, cluster)
    assert dump.tables.keys() == {"public.book", "public.loan", postgres.LARGE_OBJECTS}
    assert dump.tables["public.book"].rows == 500
    assert fingerprint(cluster, scratch) == dump.tables
    assert fingerprint(cluster, library) != dump.tables


def test_a_dump_restores_from_a_stream(cluster: Server, library: str, tmp_path: Path) -> None:
    dump = postgres.snapshot_dump(library, tmp_path / "library.dump", cluster)
    scratch = postgres.create_scratch(library, NOW, cluster)
    with dump.file.open("rb") as stream:
        postgres.restore_into(scratch, stream, cluster, owners=False)
    assert fingerprint(cluster, scratch) == dump.tables


def test_the_fingerprint_does_not_depend_on_the_order_of_rows_nor_on_the_session(cluster: Server, library: str) -> None:
    before = fingerprint(cluster, library)
    execute(cluster, library, "UPDATE book SET id = id")  # moves every row within the table's file
    with postgres.connect(library, cluster) as connection:
        connection.execute("SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'German'; SET bytea_output = 'escape'")
        assert postgres.fingerprint(connection) == before


def test_the_fingerprint_notices_one_changed_byte_and_two_exchanged_values(cluster: Server, library: str) -> None:
    before = fingerprint(cluster, library)["public.book"]
    execute(cluster, library, "UPDATE book SET cover = set_byte(cover, 3, get_byte(cover, 3) # 1) WHERE id = 7")
    one_byte = fingerprint(cluster, library)["public.book"]
    execute(cluster, library, "UPDATE book SET title = 'Book ' || 17 - id WHERE id IN (8, 9)")
    exchanged = fingerprint(cluster, library)["public.book"]
    assert (before.rows, one_byte.rows, exchanged.rows) == (500, 500, 500)
    assert len({before.checksum, one_byte.checksum, exchanged.checksum}) == 3


def test_a_table_with_odd_names_is_fingerprinted(cluster: Server, library: str) -> None:
    execute(
        cluster, library, """CREATE SCHEMA "Odd; schema"; CREATE TABLE "Odd; schema"."a ""b" (rota_row int, t text)"""
    )
    assert fingerprint(cluster, library)['Odd; schema.a "b'] == postgres.Fingerprint(0, "0")


def test_a_failed_dump_leaves_no_file_of_its_name(cluster: Server, library: str, tmp_path: Path) -> None:
    with pytest.raises(postgres.ProgramFailed, match="pg_dump exited with"):
        postgres.snapshot_dump(library, tmp_path / "library.dump", cluster, options=["--table=absent"])
    assert not (tmp_path / "library.dump").exists()


def test_a_broken_dump_fails_the_restore_with_the_programs_words(cluster: Server, library: str, tmp_path: Path) -> None:
    dump = postgres.snapshot_dump(library, tmp_path / "library.dump", cluster)
    dump.file.write_bytes(dump.file.read_bytes()[: dump.size // 2])
    scratch = postgres.create_scratch(library, NOW, cluster)
    with pytest.raises(postgres.ProgramFailed, match="pg_restore exited with"):
        postgres.restore_into(scratch, dump.file, cluster)


def test_the_renames_of_a_swap_are_one_transaction(cluster: Server, library: str) -> None:
    with postgres.connect("postgres", cluster, autocommit=False) as connection:
        connection.execute("ALTER DATABASE library RENAME TO library_before_x")
        connection.rollback()
    assert postgres.databases(cluster) == ["library", "postgres"]


def test_a_swap_keeps_the_old_database_and_takes_over_its_properties(cluster: Server, library: str) -> None:
    execute(cluster, "postgres", "DROP ROLE IF EXISTS librarian; CREATE ROLE librarian LOGIN")
    execute(cluster, "postgres", "ALTER DATABASE library OWNER TO librarian")
    execute(cluster, "postgres", "ALTER DATABASE library SET search_path = public, 'odd one'")
    execute(cluster, "postgres", "REVOKE CONNECT ON DATABASE library FROM PUBLIC")
    query = (
        "SELECT pg_get_userbyid(datdba), ARRAY(SELECT unnest(datacl)::text ORDER BY 1), setconfig FROM pg_database"
        " LEFT JOIN pg_db_role_setting ON setdatabase = oid WHERE datname = 'library'"
    )
    with postgres.connect("postgres", cluster) as connection:
        old = connection.execute(query.encode()).fetchone()
        scratch = postgres.create_scratch(library, NOW, cluster)
        before = postgres.swap(scratch, library, NOW, cluster)
        assert connection.execute(query.encode()).fetchone() == old
    assert before == "library_before_20260301T120000Z"
    assert postgres.databases(cluster) == ["library", before, "postgres"]
    assert rows(cluster, before, "book") == 500


def test_a_swap_ends_sessions_that_keep_coming_back(cluster: Server, library: str) -> None:
    done = threading.Event()

    def insist() -> None:
        while not done.is_set():
            try:
                with postgres.connect(library, cluster) as connection:
                    while not done.is_set():
                        connection.execute("SELECT 1")
            except (postgres.NoConnection, psycopg.OperationalError):
                continue

    clients = [threading.Thread(target=insist) for _ in range(3)]
    for client in clients:
        client.start()
    try:
        for second in range(5):
            now = NOW + timedelta(seconds=second)
            postgres.swap(postgres.create_scratch(library, now, cluster), library, now, cluster)
    finally:
        done.set()
        for client in clients:
            client.join()
    assert postgres.kept(library, cluster) == ["library_before_20260301T120004Z"]


def test_a_swap_where_there_was_no_database_makes_it(cluster: Server, library: str) -> None:
    scratch = postgres.create_scratch("archive", NOW, cluster)
    assert postgres.swap(scratch, "archive", NOW, cluster) is None
    assert "archive" in postgres.databases(cluster)


def test_only_one_restore_at_a_time_and_leftovers_of_dead_ones_are_dropped(cluster: Server, library: str) -> None:
    leftover = postgres.create_scratch(library, NOW, cluster)
    with postgres.restoring(library, cluster):
        assert leftover not in postgres.databases(cluster)
        with pytest.raises(postgres.RestoreUnderWay, match="'library'"), postgres.restoring(library, cluster):
            pass
        with postgres.restoring("another", cluster):
            pass


def test_a_name_that_would_be_cut_short_is_refused(cluster: Server) -> None:
    with pytest.raises(postgres.NameTooLong, match="shorter"):
        postgres.create_scratch("a" * 50, NOW, cluster)


def test_drop_scratch_refuses_a_live_database(cluster: Server, library: str) -> None:
    with pytest.raises(ValueError, match="neither a scratch"):
        postgres.drop_scratch(library, cluster)
    assert rows(cluster, library, "book") == 500
