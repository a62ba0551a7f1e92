"""Masking rules: that they speak of every column, and what they make of values in a real database."""

import json
import re
import string
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from rota.adapters import postgres
from rota.adapters.postgres import Connection, Server
from rota.core.masking import Column, MaskedColumn, MaskedTable, Rule, RulesDoNotFit, plan
from rota.packs.mirror import statements
from rota.packs.mirror.mirroring import SESSION
from tests.agent.mirror.conftest import GUEST, ensure_role

NAMES = st.text(string.ascii_lowercase, min_size=1, max_size=5)
SCHEMAS = st.dictionaries(NAMES, st.sets(NAMES, min_size=1, max_size=4), max_size=4)
VALUES = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=30)
MASKING_RULES = [Rule.EMAIL, Rule.NAME, Rule.PHONE, Rule.HASH]


def text(table: str, name: str, **more: Any) -> Column:
    return Column("public", table, name, "text", **more)


@given(SCHEMAS, SCHEMAS)
def test_rules_fit_exactly_when_they_speak_of_every_column_and_no_other(
    schema: dict[str, set[str]], ruled: dict[str, set[str]]
) -> None:
    columns = [text(table, name) for table, names in schema.items() for name in names]
    rules = {table: dict.fromkeys(names, "keep") for table, names in ruled.items()}
    here = {f"{table}.{name}" for table, names in schema.items() for name in names}
    said = {f"{table}.{name}" for table, names in ruled.items() for name in names}
    expected = [f"{one} has no rule" for one in here - said] + [
        f"the rule for {one} has no column" for one in said - here
    ]

    if not expected:
        assert plan(rules, columns).tables == ()
        return
    with pytest.raises(RulesDoNotFit) as refusal:
        plan(rules, columns)
    assert sorted(str(refusal.value).split(": ", 1)[1].split("; ")) == sorted(expected)


@pytest.mark.parametrize(
    ("column", "rule", "complaint"),
    [
        (text("a", "b"), "emial", "'emial' is neither SQL nor one of email, name"),
        (text("a", "b"), "", "'' is neither SQL"),
        (text("a", "b", nullable=False), "null", "a.b may not be null"),
        (text("a", "b", computed=True), "email", "can only be keep"),
        (text("a", "b", computed=True), "upper(b)", "neither SQL"),
        (text("a", "b", length=31), "email", "holds 31 characters, email needs 32"),
        (text("a", "b", length=22), "name", "holds 22 characters, name needs 23"),
        (text("a", "b", length=15), "phone", "holds 15 characters, phone needs 16"),
        (text("a", "b", length=15, unique=True), "hash", "holds 15 characters, hash needs 16"),
        (Column("public", "a", "b", "date"), "email", "of type date, which email cannot mask; write SQL"),
        (Column("public", "a", "b", "integer", unique=True), "hash", "an integer is too small"),
        (Column("public", "a", "b", "jsonb"), "hash", "of type jsonb, which hash cannot mask"),
    ],
)
def test_a_rule_that_a_column_cannot_follow_is_refused(column: Column, rule: str, complaint: str) -> None:
    with pytest.raises(RulesDoNotFit, match=re.escape(complaint)):
        plan({"a": {"b": rule}}, [column])


@pytest.mark.parametrize(("child", "parent"), [("keep", "email"), ("email", "keep"), ("hash", "email"), ("'x'", "'y'")])
def test_both_sides_of_a_foreign_key_need_the_same_rule(child: str, parent: str) -> None:
    columns = [text("loan", "reader", references="reader.email"), text("reader", "email", unique=True)]

    with pytest.raises(RulesDoNotFit, match=r"loan\.reader refers to reader\.email"):
        plan({"loan": {"reader": child}, "reader": {"email": parent}}, columns)
    assert plan({"loan": {"reader": parent}, "reader": {"email": parent}}, columns)


def test_both_sides_of_a_foreign_key_are_cut_to_the_same_length() -> None:
    columns = [text("loan", "card", references="reader.card", length=20), text("reader", "card", unique=True)]

    with pytest.raises(RulesDoNotFit, match=r"loan\.card refers to reader\.card"):
        plan({"loan": {"card": "hash"}, "reader": {"card": "hash"}}, columns)


def test_tables_of_other_schemas_are_named_with_them() -> None:
    column = Column("archive", "reader", "name", "text")

    assert plan({"archive.reader": {"name": "name"}}, [column]).tables[0].label == "archive.reader"
    with pytest.raises(RulesDoNotFit):
        plan({"reader": {"name": "name"}}, [column])


def test_yaml_s_bare_null_is_the_rule_of_that_name() -> None:
    rules: Any = {"a": {"b": None}}

    assert plan(rules, [text("a", "b")]).tables[0].columns[0].rule == Rule.NULL


def test_names_are_quoted_and_expressions_are_taken_as_they_are() -> None:
    column = Column("public", 'a"; DROP TABLE x; --', "select", "text")
    table = MaskedTable("public", column.table, column.table, (MaskedColumn(column, "repeat('%s {x}', 2)"),))

    assert statements.update(table).as_string(None) == (
        'UPDATE ONLY "public"."a""; DROP TABLE x; --" SET "select" = (repeat(\'%s {x}\', 2))'
    )


@pytest.fixture
def session(clusters: tuple[Server, Server]) -> Iterator[Connection]:
    """A session that can mask, in a database without tables."""
    ensure_role(clusters[1], GUEST)
    with postgres.connect(
        "postgres", replace(clusters[1], user=GUEST, system_user=GUEST), settings=SESSION
    ) as connection:
        use_key(connection, "0")
        connection.execute(statements.CREATE_DIGEST.encode())
        yield connection


def use_key(session: Connection, digit: str) -> None:
    session.execute("SELECT set_config(%s, %s, false)", (statements.SETTING, digit * 64))


def masked(session: Connection, column: Column, rule: str, values: list[str]) -> list[Any]:
    """What the rule makes of these values."""
    expression = statements.value(MaskedColumn(column, rule))
    query = sql.SQL("SELECT {} FROM unnest({}::text[]) WITH ORDINALITY AS given({}, n) ORDER BY n").format(
        expression, sql.Literal(values), sql.Identifier(column.name)
    )
    return [value for (value,) in session.execute(query)]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(VALUES, min_size=1, max_size=20, unique=True), rule=st.sampled_from(MASKING_RULES))
def test_equal_values_stay_equal_others_differ_and_none_survives(
    session: Connection, values: list[str], rule: Rule
) -> None:
    column = text("reader", "value", unique=True)

    once, again = (masked(session, column, rule, values) for _ in range(2))

    assert once == again
    assert len(set(once)) == len(values)
    assert all((new == "") == (old == "") and (new != old or old == "") for old, new in zip(values, once, strict=True))


def test_another_key_makes_other_values_of_everything(session: Connection) -> None:
    column = text("reader", "value")
    before = [masked(session, column, rule, ["a@b.example"]) for rule in MASKING_RULES]
    use_key(session, "1")

    after = [masked(session, column, rule, ["a@b.example"]) for rule in MASKING_RULES]

    assert all(one != other for one, other in zip(before, after, strict=True))


def test_a_masked_value_is_the_keyed_sha_256_and_null_stays_null(session: Connection) -> None:
    # printf '%064d%s' 0 a@b.example | sha256sum
    digest = "00b25983d9abed74ec2b3a37a907b49da9dbba49bdc5be2b041e3ce5e5fc2e47"
    column = text("reader", "value")

    assert masked(session, column, Rule.EMAIL, ["a@b.example"]) == [f"m{digest[:16]}@masked.invalid"]
    assert masked(session, column, Rule.NAME, ["a@b.example"]) == [f"Person {digest[:16]}"]
    assert masked(session, column, Rule.HASH, ["a@b.example"]) == [digest[:32]]
    assert masked(session, text("r", "value", length=20), Rule.HASH, ["a@b.example"]) == [digest[:20]]
    number = int(digest[:12], 16) % 10**12
    assert masked(session, column, Rule.PHONE, ["a@b.example"]) == [f"+999{number:012d}"]
    assert session.execute(f"SELECT {statements.DIGEST}(NULL)".encode()).fetchone() == (None,)


@pytest.mark.parametrize("type_name", ["uuid", "bytea", "bigint", "integer"])
def test_hashes_of_other_types_stay_of_their_type(session: Connection, type_name: str) -> None:
    column = Column("public", "reader", "value", type_name)
    query = sql.SQL("SELECT pg_typeof({})::text FROM (SELECT 'x' AS value) AS given")

    kind = session.execute(query.format(statements.value(MaskedColumn(column, Rule.HASH))))

    assert kind.fetchone() == (type_name,)


ADDRESSES = [
    ("write to a.b+c@d-e.example.org now", "write to masked@masked.invalid now"),
    ("<ü.ä@büro.example>, x@y.example", "<masked@masked.invalid>, masked@masked.invalid"),
    ("ssh backup@production as before", "ssh backup@production as before"),
    ("maabb@masked.invalid", "maabb@masked.invalid"),
    ("100 @ 3.50", "100 @ 3.50"),
]


@pytest.mark.parametrize(("before", "after"), ADDRESSES)
def test_addresses_in_running_text_are_replaced(session: Connection, before: str, after: str) -> None:
    assert masked(session, text("run", "value"), Rule.TEXT, [before]) == [after]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=st.text(st.sampled_from('a@.\n\\"é\x01u0 '), max_size=30))
@pytest.mark.parametrize("type_name", ["json", "jsonb"])
def test_documents_stay_documents_when_addresses_in_them_are_replaced(
    session: Connection, type_name: str, before: str
) -> None:
    expression = statements.value(MaskedColumn(Column("public", "run", "value", type_name), Rule.TEXT))
    for ascii_only in ("true", "false"):
        document = json.dumps({"says": before}, ensure_ascii=ascii_only == "true")
        query = sql.SQL("SELECT {} FROM (SELECT {}::{} AS value) AS given").format(
            expression, sql.Literal(document), sql.SQL(type_name)
        )
        row = session.execute(query).fetchone()
        assert row is not None
        assert set(row[0]) == {"says"}
        assert not re.search(r"a@a\.a", row[0]["says"])


TYPES = [
    ("text[]", "ARRAY['x', 'a@b.example']"),
    ("xml", "'<a>a@b.example</a>'::xml"),
    ("tsvector", "to_tsvector('simple', 'a@b.example')"),
    ("mail", "'a@b.example'::mail"),
    ("mail[]", "ARRAY['a@b.example'::mail]"),
    ("json", r"""'{"says": "a\u0040b\u002eexample"}'::json"""),
    ("json[]", r"""ARRAY['{"says": "a\u0040b.example"}'::json]"""),
    ("bytea", "'a@b.example'::bytea"),
]


@pytest.mark.parametrize(("type_name", "expression"), TYPES)
def test_an_address_is_found_in_a_kept_column_of_any_type_that_can_hold_words(
    clusters: tuple[Server, Server], type_name: str, expression: str
) -> None:
    column = Column("pg_temp", "reader", "value", type_name)
    assert plan({"pg_temp.reader": {"value": "keep"}}, [column]).watched == (column,)
    with postgres.connect("postgres", clusters[1], settings=SESSION) as superuser:
        superuser.execute("CREATE DOMAIN pg_temp.mail AS text")
        superuser.execute(f"SET search_path = pg_temp; CREATE TABLE reader AS SELECT {expression} AS value".encode())
        superuser.execute("INSERT INTO reader VALUES (NULL)")

        assert superuser.execute(statements.residue(column)).fetchone() == (1,)


@pytest.mark.parametrize("type_name", ["bigint", "integer[]", "timestamp with time zone", "uuid", "inet"])
def test_what_can_hold_no_words_is_not_looked_through(type_name: str) -> None:
    assert plan({"a": {"b": "keep"}}, [Column("public", "a", "b", type_name)]).watched == ()
