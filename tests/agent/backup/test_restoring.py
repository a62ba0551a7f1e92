"""Restoring: found in the newest good archive, compared, swapped in; interrupted anywhere, nothing has changed."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rota.adapters import borg, postgres
from rota.packs.backup import __main__ as command_line
from rota.packs.backup import restoring, work
from tests.agent.backup.conftest import GUEST, Estate
from tests.agent.backup.test_keeping import damage_most_data
from tests.agent.neighbours import open_folder

pytestmark = pytest.mark.servers

NOW = datetime.now(UTC).replace(microsecond=0)
# More, and less compressible, than all there was before.
NOISE = """
INSERT INTO book SELECT n, (SELECT string_agg(md5(random()::text || n), '') FROM generate_series(1, 30)), NULL
FROM generate_series(900, 1400) n
"""
Tables = dict[str, postgres.Fingerprint]


def tables(server: postgres.Server, database: str = "library") -> Tables:
    with postgres.connect(database, server) as connection:
        return postgres.fingerprint(connection)


def change(server: postgres.Server) -> None:
    with postgres.connect("library", server) as connection:
        connection.execute("DELETE FROM loan")
        connection.execute(
            "INSERT INTO book SELECT n, repeat(md5(n::text), 99), NULL FROM generate_series(900, 1400) n"
        )


def words(estate: Estate, *arguments: str) -> list[str]:
    places = estate.sender_places
    return [f"--etc={places.etc}", f"--state={places.state}", *arguments]


@pytest.fixture
def restorable(estate: Estate) -> Estate:
    """Production with its repository in reach without SSH, as far as its files say."""
    configuration = estate.sender_places.etc / "backup.yml"
    here = str(estate.store.repository("production"))
    configuration.write_text(configuration.read_text().replace(estate.sender.repository, here))
    return estate.here()


def test_a_database_comes_back_as_it_was_backed_up(
    restorable: Estate, cluster: postgres.Server, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = tables(cluster)
    restorable.send(NOW)
    change(cluster)
    changed = tables(cluster)
    assert command_line.main(words(restorable, "restore-db", "library", "--confirmed")) == 0
    [before] = postgres.kept("library", cluster)
    assert tables(cluster) == recorded
    assert tables(cluster, before) == changed
    assert f"what it was before is {before}" in capsys.readouterr().out


def plant(cluster: postgres.Server, written: Path) -> None:
    """What a hole in the application gives: code that runs whenever a row is checked, and takes whatever it can get."""
    with postgres.connect("library", cluster) as connection:
        connection.execute("CREATE EXTENSION pg_stat_statements")
        connection.execute("CREATE FUNCTION check_it(int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN true; END'")
        connection.execute("CREATE TABLE planted (n int CHECK (check_it(n)))")
        connection.execute("INSERT INTO planted VALUES (1)")
        connection.execute(
            f"""CREATE OR REPLACE FUNCTION check_it(int) RETURNS bool LANGUAGE plpgsql AS $$
            BEGIN
                RESET ROLE;
                RESET SESSION AUTHORIZATION;
                COPY (SELECT current_user) TO PROGRAM 'cat > {written}';
                RETURN true;
            EXCEPTION WHEN insufficient_privilege THEN
                RETURN true;
            END $$""".encode()
        )


def test_code_in_a_dump_gets_no_more_than_its_scratch_in_a_drill(
    restorable: Estate, cluster: postgres.Server, restored_by_others: Path
) -> None:
    plant(cluster, restored_by_others)
    restorable.send(NOW)
    report = work.drill(restorable.store, restorable.store_places, NOW + timedelta(minutes=1))
    assert [item.outcome for item in report.items] == ["done"], report.items
    assert report.counts["rows compared"] == 601
    assert not restored_by_others.exists()
    assert postgres.scratches("drill", cluster) == []


def test_code_in_a_dump_gets_no_more_than_the_owner_in_a_restore(
    restorable: Estate, cluster: postgres.Server, restored_by_others: Path
) -> None:
    plant(cluster, restored_by_others)
    restorable.send(NOW)
    with postgres.connect("postgres", cluster) as connection:
        connection.execute(f"ALTER DATABASE library OWNER TO {GUEST}".encode())
    assert command_line.main(words(restorable, "restore-db", "library", "--confirmed")) == 0
    assert not restored_by_others.exists()
    assert postgres.owner_of("library", cluster) == GUEST
    with postgres.connect("library", replace(cluster, user=GUEST)) as connection:
        owners = connection.execute("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'").fetchall()
    assert owners == [(GUEST,)]


def test_a_database_that_is_not_there_is_not_restored(
    restorable: Estate, cluster: postgres.Server, capsys: pytest.CaptureFixture[str]
) -> None:
    restorable.send(NOW)
    with postgres.connect("postgres", cluster) as connection:
        connection.execute("ALTER DATABASE library RENAME TO another")
    assert command_line.main(words(restorable, "restore-db", "library", "--confirmed")) == 2
    assert "provision this host first" in capsys.readouterr().err


def test_production_is_refused_without_confirmation(
    restorable: Estate, cluster: postgres.Server, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tables(cluster)
    assert command_line.main(words(restorable, "restore-db", "library")) == 2
    assert "This host is production" in capsys.readouterr().err
    assert tables(cluster) == before


def test_a_damaged_newest_archive_is_passed_over_with_its_reason(
    restorable: Estate, cluster: postgres.Server, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = tables(cluster)
    good = restorable.send(NOW)
    change(cluster)
    bad = restorable.send(NOW + timedelta(seconds=1))
    damage_most_data(restorable)
    report = work.drill(restorable.store, restorable.store_places, NOW + timedelta(minutes=1))
    assert [item.outcome for item in report.items] == ["failed"]
    assert command_line.main(words(restorable, "restore-db", "library", "--confirmed")) == 0
    said = capsys.readouterr().out
    assert f"{bad.name} is passed over." in said
    assert f"restored library from {good.name}" in said
    assert tables(cluster) == recorded


def test_at_takes_the_newest_backup_not_after_that_time(restorable: Estate, cluster: postgres.Server) -> None:
    archives = [borg.Archive(str(hour), f"at-{hour}", NOW + timedelta(hours=hour)) for hour in range(5)]
    chosen = restoring.candidates(archives, NOW + timedelta(hours=2, minutes=30))
    assert [archive.name for archive in chosen] == ["at-2", "at-1", "at-0"]
    with pytest.raises(restoring.NoGoodBackup, match="the oldest is of"):
        restoring.candidates(archives, NOW - timedelta(hours=1))


@pytest.fixture
def restored_by_others() -> Iterator[Path]:
    """A file that any user of the machine could write."""
    with open_folder("planted") as folder:
        folder.chmod(0o777)
        yield folder / "written"


@contextmanager
def restore_under_way(estate: Estate, cluster: postgres.Server) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "rota.packs.backup", *words(estate, "restore-db", "library", "--confirmed")]
    environment = {**os.environ, "PGHOST": str(cluster.host), "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True) as it:
        yield it


STAGES = {
    "is whole": "old",
    "restoring into": "old",
    "every table is as it was recorded": "old or new",  # the swap follows at once
    "is in place": "new",
}


def test_killed_at_any_stage_the_database_is_the_old_one_or_the_new_one(
    restorable: Estate, cluster: postgres.Server
) -> None:
    recorded = tables(cluster)
    restorable.send(NOW)
    change(cluster)
    for stage, expected in STAGES.items():
        before = tables(cluster)
        with restore_under_way(restorable, cluster) as process:
            assert process.stdout is not None
            assert any(stage in line for line in process.stdout)
            os.killpg(process.pid, signal.SIGKILL)
        possible = {"old": [before], "new": [recorded], "old or new": [before, recorded]}
        assert tables(cluster) in possible[expected], stage
    assert command_line.main(words(restorable, "restore-db", "library", "--confirmed")) == 0
    assert tables(cluster) == recorded
    assert postgres.scratches("library", cluster) == []


def test_a_store_that_is_full_fails_the_backup_and_keeps_the_earlier_ones(
    estate: Estate, cluster: postgres.Server
) -> None:
    good = estate.here().send(NOW)
    change(cluster)
    shutil.rmtree(estate.sender_places.state / "borg")  # which knows the repository by its place without SSH
    estate.admit(before="prlimit --fsize=100000 ")
    with pytest.raises(borg.BorgFailed, match="borg create exited with 2"):
        estate.send(NOW + timedelta(seconds=1))
    assert [archive.name for archive in borg.archives(estate.kept())] == [good.name]
    estate.admit()
    better = estate.send(NOW + timedelta(seconds=2))
    assert [archive.name for archive in borg.archives(estate.kept())] == [good.name, better.name]
    assert work.check(estate.store, estate.store_places, NOW + timedelta(minutes=1)).items[0].outcome == "done"


def test_a_directory_comes_back_and_what_was_there_is_kept(restorable: Estate, tmp_path: Path) -> None:
    restorable.send(NOW)
    media = tmp_path / "media"
    (media / "cover.txt").write_text("another cover")
    assert command_line.main(words(restorable, "restore-files", str(media), "--confirmed")) == 0
    [before] = tmp_path.glob("media.before-*")
    assert (media / "cover.txt").read_text() == "a cover"
    assert (before / "cover.txt").read_text() == "another cover"


def test_an_empty_host_set_up_anew_does_not_hide_the_good_backups(
    restorable: Estate, cluster: postgres.Server, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = tables(cluster)
    good = restorable.send(NOW)
    shutil.rmtree(restorable.sender_places.state)
    with postgres.connect("library", cluster) as connection:
        connection.execute("TRUNCATE book, loan")
    restorable.send(NOW + timedelta(seconds=1))
    empty = restorable.send(NOW + timedelta(seconds=2))
    assert empty.manifest.shrunken
    assert command_line.main(words(restorable, "restore-db", "library", "--confirmed")) == 0
    assert f"{empty.name} is passed over. The archive was marked" in capsys.readouterr().out
    assert tables(cluster) == recorded
    assert good.name < empty.name
