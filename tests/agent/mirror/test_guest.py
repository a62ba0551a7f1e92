"""The scratch while it holds what is not masked: who may enter it, as whom a dump's own code runs, what errors say."""

import subprocess
import sys
from dataclasses import replace

import pytest

from rota.adapters import postgres
from rota.adapters.postgres import ProgramFailed
from rota.core.errors import RotaError
from rota.packs.mirror.mirroring import MaskingFailed, StructureChanged
from tests.agent.mirror.conftest import GUEST, HERE, RULES, Estate, ensure_role
from tests.agent.mirror.test_mirroring import leftovers, mirror

pytestmark = pytest.mark.servers

# A function of the dump, which says as whom it runs once it has done what it can to be more.
SPY = """
CREATE FUNCTION spy(given anyelement) RETURNS boolean LANGUAGE plpgsql {kind} AS $$
BEGIN
    IF {when} THEN
        {act}
    END IF;
    RETURN true;
END $$;
"""
RISE = """
BEGIN EXECUTE 'RESET ROLE'; EXCEPTION WHEN others THEN NULL; END;
BEGIN EXECUTE 'RESET SESSION AUTHORIZATION'; EXCEPTION WHEN others THEN NULL; END;
RAISE 'spied as % and %', session_user, current_user;
"""
COPYING = "current_database() LIKE '%scratch%'"
MASKING = "coalesce(current_setting('rota.masking_key', true), '') <> ''"
CHECKED = "ALTER TABLE reader ADD CONSTRAINT spied CHECK (spy(name));"
INDEXED = "CREATE INDEX spied ON reader (spy(name));"


@pytest.mark.parametrize(("when", "used"), [(COPYING, CHECKED), (MASKING, CHECKED), (COPYING, INDEXED)])
def test_nothing_of_a_dump_runs_as_more_than_a_role_that_owns_nothing_else(
    estate: Estate, when: str, used: str
) -> None:
    estate.query(SPY.format(kind="IMMUTABLE", when=when, act=RISE) + used, estate.there)

    with pytest.raises((ProgramFailed, MaskingFailed), match=f"spied as {GUEST} and {GUEST}"):
        mirror(estate)

    assert leftovers(estate) == []


def test_at_no_moment_of_a_mirror_the_service_can_enter_the_scratch(estate: Estate) -> None:
    words = [sys.executable, str(HERE / "knock.py"), str(estate.here.host), "library"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as knocking:
        mirror(estate)
        knocking.terminate()
        came, _ = knocking.communicate()

    assert set(came.split()) <= {"refused", "gone"}
    assert came.count("refused") > 3


def test_after_a_mirror_the_scratch_s_role_has_nothing_and_the_service_and_others_what_they_had(
    estate: Estate,
) -> None:
    ensure_role(estate.here, "visitor")
    estate.query("GRANT CREATE ON DATABASE library TO visitor", database="postgres")
    before = estate.query(ALLOWED)
    estate.query(
        f"ALTER ROLE {GUEST} SET default_transaction_read_only = on", database="postgres"
    )  # by an earlier dump

    mirror(estate)

    assert estate.query(ALLOWED) == before
    owned = "SELECT count(*) FROM pg_shdepend JOIN pg_roles ON pg_roles.oid = refobjid WHERE rolname = 'nobody'"
    assert estate.query(owned) == [(0,)]
    with postgres.connect("library", replace(estate.here, user="library")) as service:
        assert service.execute("SELECT count(*) FROM reader JOIN loan ON loan.reader = reader.id").fetchone() == (200,)
        service.execute("CREATE TABLE another ()")


ALLOWED = """
SELECT grantee::text, privilege_type FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba)))
WHERE datname = 'library' ORDER BY 1, 2
"""


def test_a_table_that_appears_while_others_are_masked_aborts_the_mirror(estate: Estate) -> None:
    hide = SPY.format(kind="VOLATILE", when=MASKING, act="CREATE TABLE IF NOT EXISTS hidden AS SELECT * FROM loan;")
    estate.query(hide + CHECKED, estate.there)

    with pytest.raises(StructureChanged):
        mirror(estate)


REFUSED = "ALTER TABLE reader ADD CONSTRAINT at_home CHECK (current_database() NOT LIKE '%scratch%')"
MISTAKEN = RULES | {"reader": RULES["reader"] | {"card": "email::integer::text"}}


@pytest.mark.parametrize(("prepared", "rules", "reason"), [(REFUSED, RULES, "at_home"), ("", MISTAKEN, "type integer")])
def test_an_error_names_the_constraint_and_never_the_row(
    estate: Estate, prepared: str, rules: dict[str, dict[str, str]], reason: str
) -> None:
    if prepared:
        estate.query(prepared, estate.there)
    estate.configure(rules=rules)

    with pytest.raises(RotaError, match=reason) as refusal:
        mirror(estate)

    assert "@" not in str(refusal.value)
    assert "Reader" not in str(refusal.value)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('error: COPY failed for table "a": ERROR:  invalid input syntax for type integer: "Anna "A" B"',
         'error: COPY failed for table "a": ERROR:  invalid input syntax for type integer: …'),
        ('ERROR:  value "493012" is out of range for type integer', "ERROR:  value … is out of range for type integer"),
        ('ERROR:  "4930123456" is out of range', "ERROR:  … is out of range"),
        ('ERROR:  duplicate key value violates unique constraint "a_key"\nDETAIL:  Key (name)=(Anna) already exists.',
         'ERROR:  duplicate key value violates unique constraint "a_key"'),
        ("pg_restore: error: one\npg_restore: hint: x\npg_restore: error: two",
         "pg_restore: error: one; pg_restore: error: two"),
        ("ERROR:  nobody called anna@library.example lives here", "ERROR:  nobody called … lives here"),
        ("killed", "it did not say why"),
    ],
)  # fmt: skip
def test_of_a_program_s_words_errors_are_told_and_values_are_not(said: str, told: str) -> None:
    assert postgres.reasons(said) == told


def test_settings_of_a_session_come_before_those_of_its_role(estate: Estate) -> None:
    estate.query(f"ALTER ROLE {GUEST} SET search_path = evil, pg_catalog", database="postgres")
    guest = replace(estate.here, user=GUEST)

    with postgres.connect("library", guest, settings={"search_path": 'public, "a \\ b"'}) as session:
        assert session.execute("SHOW search_path").fetchone() == ('public, "a \\ b"',)
