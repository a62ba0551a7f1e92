"""One mirror after another between two real PostgreSQL servers and a real SSH server."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rota.adapters import postgres
from rota.core.errors import RotaError
from rota.core.masking import RulesDoNotFit
from rota.packs.mirror import mirroring
from rota.packs.mirror.configuration import load_destination
from rota.packs.mirror.mirroring import MaskingFailed, NotADestination, Result, StillUnmasked
from rota.packs.mirror.progress import Progress
from rota.packs.mirror.source import SourceFailed
from tests.agent.mirror.conftest import RULES, Estate

pytestmark = pytest.mark.servers


def mirror(estate: Estate, lines: list[str] | None = None) -> Result:
    heard: list[str] = [] if lines is None else lines
    return mirroring.mirror(load_destination(estate.configuration), Progress(heard.append), datetime.now(UTC))


def leftovers(estate: Estate) -> list[str]:
    found = [name for name in postgres.databases(estate.here) if name not in ("postgres", "library")]
    return found + [str(path) for path in estate.media_here.parent.rglob(".*.mirror")]


def test_a_mirror_is_production_with_every_ruled_column_masked(estate: Estate) -> None:
    lines: list[str] = []

    result = mirror(estate, lines)

    assert estate.query("SELECT count(*) FROM reader") == [(300,)]
    assert estate.query("SELECT title FROM book ORDER BY id") == estate.query(
        "SELECT title FROM book ORDER BY id", estate.there
    )
    for email, name, phone, card, birthday, password, note, extra in estate.query(
        "SELECT email, name, phone, card, birthday, password, note, extra->>'says' FROM reader"
    ):
        assert re.fullmatch(r"m[0-9a-f]{16}@masked\.invalid", email)
        assert re.fullmatch(r"Person [0-9a-f]{16}", name)
        assert re.fullmatch(r"(\+999\d{12})?", phone)
        assert re.fullmatch(r"[0-9a-f]{32}", card)
        assert (birthday, password) == (None, "!")
        assert note == "asked for masked@masked.invalid, twice"
        assert extra == "first line\nmasked@masked.invalid"
    assert result.counts["rows"] == 600
    assert result.counts["masked_columns"] == len(result.masked) == 10
    assert {(one.table, one.column, one.rule, one.rows) for one in result.masked} >= {
        ("reader", "email", "email", 300),
        ("reader", "birthday", "null", 0),
        ("loan", "remark", "text", 0),
    }
    assert any(re.fullmatch(r"rows: 600 in 3 tables, .* received, [\d.]+ s", line) for line in lines)


def test_equal_values_stay_equal_across_tables_and_change_from_mirror_to_mirror(estate: Estate) -> None:
    mirror(estate)
    matched = "SELECT count(*) FROM loan JOIN reader ON reader.email = loan.reader_email AND reader.id = loan.reader"
    first = estate.query("SELECT id, email FROM reader ORDER BY id")
    assert estate.query(matched) == [(200,)]

    mirror(estate)

    assert estate.query(matched) == [(200,)]
    assert not set(first) & set(estate.query("SELECT id, email FROM reader ORDER BY id"))


def test_nothing_of_the_source_is_left_in_the_files_of_the_database(estate: Estate) -> None:
    mirror(estate)
    estate.query("CHECKPOINT")

    assert estate.here.host
    home = Path(estate.here.host)
    (oid,) = estate.query("SELECT oid FROM pg_database WHERE datname = 'library'")[0]
    files = [file for file in (home / "data" / "base" / str(oid)).iterdir() if file.is_file()]
    assert files
    assert not [file.name for file in files if b"@library.example" in file.read_bytes()]


def test_media_become_production_s_and_only_what_changed_travels(estate: Estate) -> None:
    mirror(estate)
    before = {path.name: path.stat().st_ino for path in estate.media_here.iterdir()}
    (estate.media_there / "cover3").write_text("a new cover 3")

    result = mirror(estate)

    assert {path.name for path in estate.media_here.iterdir()} == {f"cover{n}" for n in range(20)}
    assert (estate.media_here / "cover3").read_text() == "a new cover 3"
    assert result.counts["media_files_copied"] == 1
    after = {path.name: path.stat().st_ino for path in estate.media_here.iterdir()}
    assert {name for name in before if before[name] != after[name]} == {"cover3"}


def test_a_mirror_leaves_nothing_behind(estate: Estate) -> None:
    mirror(estate)

    assert leftovers(estate) == []


def test_the_mirrored_database_belongs_to_the_service_and_keeps_its_settings(estate: Estate) -> None:
    estate.query("ALTER DATABASE library SET work_mem = '5MB'", database="postgres")

    mirror(estate)

    assert estate.query("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'") == [("library",)]
    assert estate.query("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'library'") == [("library",)]
    assert estate.query("SELECT extname FROM pg_extension WHERE extname <> 'plpgsql'") == [("pg_stat_statements",)]
    assert estate.query("SHOW work_mem") == [("5MB",)]


def test_rows_may_travel_compressed(estate: Estate) -> None:
    estate.configure(compression="zstd")

    assert mirror(estate).counts["rows"] == 600


def test_a_column_without_a_rule_aborts_before_anything_is_copied(estate: Estate) -> None:
    estate.query("ALTER TABLE reader ADD COLUMN nickname text", estate.there)
    before, lines = estate.seen(), list[str]()

    with pytest.raises(RulesDoNotFit, match=r"reader\.nickname has no rule"):
        mirror(estate, lines)

    assert lines == ["ask …"]
    assert estate.seen() == before
    assert leftovers(estate) == []


def test_a_rule_without_a_column_aborts(estate: Estate) -> None:
    estate.configure(rules=RULES | {"shelf": {"place": "keep"}})

    with pytest.raises(RulesDoNotFit, match=r"the rule for shelf\.place has no column"):
        mirror(estate)


def test_an_address_in_a_kept_column_aborts_the_mirror(estate: Estate) -> None:
    estate.query("UPDATE book SET title = 'Letters of someone@library.example' WHERE id = 7", estate.there)
    before = estate.seen()

    with pytest.raises(StillUnmasked, match=r"book\.title \(1 rows\)"):
        mirror(estate)

    assert estate.seen() == before


def test_a_rule_that_makes_a_unique_column_repeat_itself_aborts(estate: Estate) -> None:
    estate.configure(rules=RULES | {"reader": RULES["reader"] | {"card": "'the same'"}})
    before = estate.seen()

    with pytest.raises(RotaError, match="reader_card_key"):
        mirror(estate)

    assert estate.seen() == before


def test_sql_that_the_database_refuses_is_named_with_its_table(estate: Estate) -> None:
    estate.configure(rules=RULES | {"reader": RULES["reader"] | {"note": "no_such_function(note)"}})

    with pytest.raises(MaskingFailed, match="reader: function no_such_function"):
        mirror(estate)


def test_a_failed_mirror_leaves_nothing_behind(estate: Estate) -> None:
    estate.query("UPDATE book SET title = 'someone@library.example' WHERE id = 7", estate.there)

    with pytest.raises(StillUnmasked):
        mirror(estate)

    assert leftovers(estate) == []
    assert list((estate.folder / "work").iterdir()) == []


def test_a_mirror_leaves_alone_what_a_restore_put_aside(estate: Estate) -> None:
    kept = "library_before_20260101T000000Z"
    estate.query(f'CREATE DATABASE "{kept}"', database="postgres")

    mirror(estate)

    assert leftovers(estate) == [kept]


@pytest.mark.parametrize("said", ["production", "backup", "", "Staging", "staging production"])
def test_no_other_host_than_staging_and_development_is_a_destination(environment: Path, said: str) -> None:
    environment.write_text(f"{said}\n")

    with pytest.raises(NotADestination, match=repr(said)):
        mirroring.require_destination()


def test_a_host_that_does_not_know_what_it_is_is_no_destination(environment: Path) -> None:
    environment.unlink()

    with pytest.raises(NotADestination, match="there is no"):
        mirroring.require_destination()


def test_a_host_that_is_no_destination_stays_as_it_is(estate: Estate, environment: Path) -> None:
    environment.write_text("production\n")
    before = estate.seen()

    with pytest.raises(NotADestination):
        mirror(estate)

    assert estate.seen() == before


def test_another_host_key_than_the_pinned_one_is_refused(estate: Estate, tmp_path: Path) -> None:
    other = tmp_path / "known_hosts"
    other.write_text("elsewhere " + estate.sshd.known_hosts.read_text().split(maxsplit=1)[1])
    estate.configure(source=estate.settings["source"] | {"known_hosts": str(other)})

    with pytest.raises(SourceFailed, match="Host key verification failed"):
        mirror(estate)
