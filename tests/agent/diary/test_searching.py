"""What is searched for is found: every run that has it and no other, as people type it, on both databases."""

import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rota.diary.models import Mark, Run, Words
from rota.diary.searching import index as indexes
from rota.diary.searching.excerpts import excerpts, pattern_of
from rota.diary.searching.finding import Finding, spans
from rota.diary.searching.index import HIGHEST, LOWEST, Asked, Span
from rota.diary.searching.keeping import fill, not_before, refresh
from rota.diary.searching.query import BadQuery, parse
from rota.diary.searching.words import document, fact, folded
from tests.agent.diary.conftest import Shipper
from tests.agent.diary.records import failed, identifier, run, running

pytestmark = pytest.mark.each_engine

OUTPUTS = {
    "unit": "rota-task-x.service: main process exited",
    "path": "moved /srv/in/a-4711.pdf to /srv/out",
    "code": "it ended with exit 3\n",
    "codes": "exit 13, then 3 more",
    "name": "send_reports was skipped",
    "accents": "Die Größe für Müller; café; Отчёт готов",
    "colours": "\x1b[1;31mtimeout\x1b[0m after 30 s",
    "ideographs": "任務失敗了",
}


def found(text: str, *facts: str, newest_first: bool = True) -> list[str]:
    asked = Asked(parse(text), facts)
    return [str(pk) for _, pk in Finding(asked, Span(LOWEST, HIGHEST), newest_first=newest_first)]


def at(minute: int) -> str:
    return (datetime(2025, 3, 1, tzinfo=UTC) + timedelta(minutes=minute)).isoformat()


@pytest.fixture(params=[False, True], ids=["walked", "asked"])
def asked_for(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found by looking at the nearest runs is found by asking the index as well."""
    if request.param:
        monkeypatch.setattr(indexes, "WALKED", {"postgresql": 1, "sqlite": 1})


TYPED = {
    "rota-task-x.service": "unit",
    "task service": "unit",
    "/srv/in/a-4711.pdf": "path",
    "4711": "path",
    "SRV": "path",
    "exit 3": "code codes",
    '"exit 3"': "code",
    "exit -13": "code",
    'exit -"exit 13"': "code",
    "send_reports": "name",
    "send_rep*": "name",
    "reports_send": "",
    "tim*": "colours",
    "timeou": "",
    "fur muller": "accents",
    "GRÖßE café": "accents",
    "ОТЧЁТ": "accents",
    "失敗": "ideographs",
    "敗失": "",
    "31mtimeout": "",
    "march.pdf": "unit path code codes name accents colours ideographs",
    "-exit": "unit path name accents colours ideographs",
    "nothing has this": "",
    "exit* serv*": "unit",
}


@pytest.mark.usefixtures("asked_for")
def test_words_are_found_as_people_type_them(production: Shipper, subtests: pytest.Subtests) -> None:
    ids = {
        name: production.ship(run(task="work", output=output, started=at(n)))[0]["id"]
        for n, (name, output) in enumerate(OUTPUTS.items())
    }
    for text, names in TYPED.items():
        with subtests.test(text):
            expected = [ids[name] for name in OUTPUTS if name in names.split()]
            assert found(text) == expected[::-1]
            assert found(text, newest_first=False) == expected


def test_all_that_a_run_says_is_found(production: Shipper) -> None:
    one = failed(
        task="import_members",
        reason="never started: a credential is missing",
        items=[{"name": "north.csv", "outcome": "refused", "message": "column seven"}],
        parameters={"since": "2026-01-31", "only": ["harbour", "lighthouse"], "full": True},
        asked_by="operator@workstation",
        unexpected=["rows is 0; expected >0"],
    )
    production.ship(one, run())
    for text in (
        "import_members",
        "credential",
        "north.csv",
        "refused",
        '"column seven"',
        "since 2026-01-31",
        "lighthouse",
        "operator@workstation",
        '"rows is 0"',
    ):
        assert found(text) == [one["id"]], text
    assert found('"missing column"') == [], "a phrase lies within one text"


def test_the_end_of_a_run_replaces_its_start_in_the_index(production: Shipper) -> None:
    start = running(reason="warming")
    production.ship(start)
    assert found("warming") == [start["id"]]
    production.ship(run(id=start["id"], output="cooling"))
    assert (found("warming"), found("cooling")) == ([], [start["id"]])
    assert Words.objects.count() == 1


def test_filters_narrow_what_is_found(production: Shipper) -> None:
    one, other = failed(task="one", output="needle"), run(task="other", output="needle")
    production.ship(one, other)
    assert found("needle", fact("status", "failed")) == [one["id"]]
    assert found("needle", fact("host", "production"), fact("task", "other")) == [other["id"]]
    assert found("", fact("task", "one"), fact("status", "succeeded")) == []
    assert found("", fact("task", "one")) == [one["id"]]


def test_runs_of_one_moment_are_all_found(production: Shipper) -> None:
    same = [run(started=at(0), id=str(uuid.UUID(int=(n << 70) + uuid.UUID(identifier()).int))) for n in range(5)]
    keys = {uuid.UUID(each["id"]): 7 for each in same}
    assert sorted(indexes.free_keys(keys).values()) == [7, 8, 9, 10, 11]
    production.ship(*same)
    assert set(found("march")) == {each["id"] for each in same}


@settings(max_examples=200)
@given(st.integers(LOWEST, HIGHEST), st.integers(0, 1 << 60), st.booleans())
def test_a_span_is_cut_into_pieces_without_a_gap(low: int, length: int, newest_first: bool) -> None:
    whole = Span(low, low + length)
    pieces = list(spans(whole, newest_first=newest_first))
    pieces.sort(key=lambda piece: piece.low)
    assert sum(piece.high - piece.low for piece in pieces) == length
    assert all(piece.high == following.low for piece, following in zip(pieces, pieces[1:], strict=False))
    assert all(len(indexes.blocks(piece)) <= 8 for piece in pieces)


def test_what_was_there_before_the_index_is_brought_in_and_said_until_then(production: Shipper) -> None:
    records = [run(output=f"needle {n}", started=at(n)) for n in range(5)]
    production.ship(*records)
    kept = Run.objects.get(pk=records[4]["id"])
    indexes.index().forget([uuid.UUID(each["id"]) for each in records])
    assert found("needle") == []
    Mark.objects.create(name="search: not before", value="2100-01-01T00:00:00+00:00")
    assert fill(lambda done: None) == 5
    assert found("needle 4") == [str(kept.pk)]
    assert not_before() is None
    assert fill(lambda done: None) == 0


def test_how_far_the_index_reaches_is_told_when_filling_was_ended(
    production: Shipper, monkeypatch: pytest.MonkeyPatch
) -> None:
    production.ship(*(run(output="needle", started=at(n)) for n in range(4)))
    indexes.index().forget(list(Run.objects.values_list("pk", flat=True)))
    monkeypatch.setattr("rota.diary.searching.keeping.LOOKED_THROUGH", 2)

    class Killed(Exception):
        pass

    def end(done: int) -> None:
        if done >= 4:
            raise Killed

    with pytest.raises(Killed):
        fill(end)
    assert not_before() == datetime.fromisoformat(at(2)), "the first two are in, and written down"
    assert len(found("needle")) == 4


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('an "open phrase', "not closed"),
        ("***", "no letter"),
        ("-", "no letter"),
        ('""', "no letter"),
        ("ab*", "at least 3 letters"),
        ("x" * 501, "501 characters"),
        ("a " * 21, "21 words"),
    ],
)
def test_what_cannot_be_searched_for_says_what_would_be_right(text: str, told: str) -> None:
    with pytest.raises(BadQuery, match=told):
        parse(text)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), max_size=60))
def test_whatever_is_typed_is_searched_for_or_explained(production: Shipper, text: str) -> None:
    if not Run.objects.exists():
        production.ship(run(), run(output="other"))
    try:
        query = parse(text)
    except BadQuery:
        return
    span = Span(LOWEST, HIGHEST)
    found = indexes.index().find(Asked(query), span, 9, newest_first=True, within=60)
    assert found == list(Finding(Asked(query), span))


@pytest.mark.parametrize("newest_first", [True, False])
def test_a_search_that_takes_too_long_says_how_far_it_came_and_goes_on_from_there(
    production: Shipper, monkeypatch: pytest.MonkeyPatch, newest_first: bool
) -> None:
    production.ship(*(run(output="needle", started=at(n)) for n in range(6)))
    monkeypatch.setattr(indexes, "WALKED", {"postgresql": 2, "sqlite": 2})

    def never(*_: object, **__: object) -> list[object]:
        raise indexes.TookTooLong

    for kind in (indexes.PostgresIndex, indexes.SqliteIndex):
        monkeypatch.setattr(kind, "find", never)
    whole, found = Span(LOWEST, HIGHEST), []
    for _ in range(9):
        finding = Finding(Asked(parse("needle")), whole, newest_first=newest_first)
        found += [pk for _, pk in finding]
        if finding.stopped is None:
            break
        whole = Span(LOWEST, finding.stopped) if newest_first else Span(finding.stopped + 1, HIGHEST)
    assert found == list(Run.objects.order_by("-started" if newest_first else "started").values_list("pk", flat=True))


@given(st.text("ab_1 é-", max_size=40), st.lists(st.text("ab1é", min_size=1, max_size=2), min_size=1, max_size=2))
def test_lines_show_whole_words_and_no_part_of_one(text: str, words: list[str]) -> None:
    pattern = pattern_of(parse('"' + " ".join(words) + '"'))
    assert pattern
    plain = folded(text)
    usual = re.compile("(?<![a-z0-9])" + "[^a-z0-9]+".join(map(folded, words)) + "(?![a-z0-9])")
    assert [each.span() for each in pattern.finditer(plain)] == [each.span() for each in usual.finditer(plain)]


def test_what_no_run_has_is_asked_for_by_spans_only_where_these_bound_the_work(
    production: Shipper, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    production.ship(*(run(output="one two", started=(now - timedelta(days=n)).isoformat()) for n in (0, 1, 9, 99, 300)))
    monkeypatch.setattr(indexes, "WALKED", {"postgresql": 1, "sqlite": 1})
    with CaptureQueriesContext(connection) as asked:
        assert list(Finding(Asked(parse('"two one"')), Span(LOWEST, HIGHEST))) == []
    amount = sum("MATCH" in each["sql"] or "key + 0" in each["sql"] for each in asked)
    assert amount == (1 if connection.vendor == "sqlite" else 5)


def test_a_statement_that_takes_too_long_is_ended_and_the_next_one_is_answered(production: Shipper) -> None:
    production.ship(run(output="needle"))
    if connection.vendor == "postgresql":
        asking = (transaction.atomic(), indexes.limited_statement(0.01))
        with pytest.raises(indexes.TookTooLong), asking[0], asking[1], connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(5)")
    span = Span(LOWEST, HIGHEST)
    assert len(indexes.index().find(Asked(parse("needle")), span, 9, newest_first=True, within=60)) == 1


def test_a_very_long_output_is_kept_as_far_as_it_fits(production: Shipper) -> None:
    many = " ".join(f"w{number:x}{'y' * 50}" for number in range(2300))
    items = [{"name": f"{number} {'z' * 1900}", "outcome": "done", "message": ""} for number in range(900)]
    one = run(output=many[:131_000], items=items, reason="needle")
    assert production.ship(one)[0]["result"] == "accepted"
    assert found("needle") == [one["id"]]
    refresh([uuid.UUID(one["id"])])
    assert found("needle") == [one["id"]]


@pytest.mark.parametrize(
    ("text", "line", "shown"),
    [
        ("exit", "<b>exit</b> & more", "&lt;b&gt;<mark>exit</mark>&lt;/b&gt; &amp; more"),
        ('"exit 3"', "exit 13 exit-3", "exit 13 <mark>exit-3</mark>"),
        ("tim*", "a timeout, no optimum", "a <mark>tim</mark>eout, no optimum"),
        ("uber", "Ich war ÜBER dir", "Ich war <mark>ÜBER</mark> dir"),
        ("red", "\x1b[31mred\x1b[0m", "<mark>red</mark>"),
        ("nul", "nul\u202e", '<mark>nul</mark><span class="mark">U+202E</span>'),
    ],
)
def test_the_lines_found_are_shown_as_text_with_the_words_marked(text: str, line: str, shown: str) -> None:
    pattern = pattern_of(parse(text))
    assert pattern is not None
    assert excerpts([f"before\n{line}\nafter"], pattern) == [shown]


def test_of_a_long_line_the_part_around_the_word_is_shown() -> None:
    pattern = pattern_of(parse("needle"))
    assert pattern is not None
    line = excerpts(["x" * 5000 + " needle " + "y" * 5000], pattern)[0]
    assert "<mark>needle</mark>" in line
    assert len(line) < 300


def test_a_document_without_words_still_has_its_facts() -> None:
    assert str(document([], [("host", "production"), ("task", "")])).split() == [
        "=",
        "=all",
        fact("host", "production"),
    ]


def test_thousands_of_runs_of_one_moment_are_indexed_without_a_query_for_each(
    production: Shipper, django_assert_max_num_queries: Any
) -> None:
    moment = "2025-03-01T02:30:00.000000Z"
    for _ in range(3):
        with django_assert_max_num_queries(60):
            production.ship(*(run(started=moment, output="", items=[]) for _ in range(400)))
    assert Words.objects.count() == 1200
