"""A list of runs shows what its address asks for, in its order, page by page, and as a file."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client

from rota.diary.models import Host, Mark, Run, SavedSearch
from rota.diary.paging import PAGE
from rota.diary.searching import index as indexes
from tests.agent.diary.conftest import Cast, Shipper
from tests.agent.diary.records import failed, run, running

pytestmark = pytest.mark.each_engine


def at(minute: int) -> str:
    return (datetime(2025, 3, 1, tzinfo=UTC) + timedelta(minutes=minute)).isoformat()


def shown(client: Client, **query: str) -> list[str]:
    response = client.get(f"/runs/?{urlencode(query)}")
    assert response.status_code == 200, response.content
    return [row.task for row in response.context["page"].rows]


@pytest.fixture
def several(production: Shipper) -> None:
    production.ship(
        run(task="a", started=at(0), pack="reports", release="r1", duration=5.0, output="needle one"),
        failed(task="b", started=at(1), reason="never started: no user", duration=9.0, output="needle two"),
        run(task="c", started=at(1500), trigger="manual", asked_by="operator@desk", duration=1.0),
        failed(task="d", started=at(1501), reason="exit 3", pack="", duration=None, output="needle three"),
        running(task="e", started=at(3000)),
    )


ASKED: list[tuple[dict[str, str], str]] = [
    ({"pack": "reports"}, "e c b a"),
    ({"release": "r1"}, "a"),
    ({"reason": "never started"}, "b"),
    ({"reason": "never started: no user"}, "b"),
    ({"reason": "exit"}, ""),
    ({"trigger": "manual"}, "c"),
    ({"asked_by": "operator@desk"}, "c"),
    ({"status": "failed", "host": "production"}, "d b"),
    ({"status": "failed", "reason": "exit 3", "review": "open"}, "d"),
    ({"status": "failed", "pack": "reports", "task": "a"}, ""),
    ({"since": "2025-03-02"}, "e d c"),
    ({"until": "2025-03-01"}, "b a"),
    ({"since": "2025-03-01T00:01", "until": "2025-03-02T01:00"}, "c b"),
    ({"since": "2025-03-02", "status": "failed", "host": "production"}, "d"),
    ({"text": "needle"}, "d b a"),
    ({"text": "needle", "status": "failed", "until": "2025-03-01"}, "b"),
    ({"text": "needle", "sort": "oldest"}, "a b d"),
    ({"sort": "oldest"}, "a b c d e"),
    ({"sort": "longest"}, "b a c"),
    ({"sort": "longest", "task": "a"}, "a"),
    ({"sort": "longest", "status": "failed"}, "d b"),
]


@pytest.mark.usefixtures("several")
def test_a_list_is_narrowed_and_ordered(cast: Cast, subtests: pytest.Subtests) -> None:
    client = cast.viewer
    for index in ("whole", "half"):
        if index == "half":
            Mark.objects.create(name="search: not before", value="2100-01-01T00:00:00+00:00")
        for query, tasks in ASKED:
            with subtests.test(index, query=query):
                assert shown(client, **query) == tasks.split()


PAGED = [
    {"sort": order} | query
    for order in ("", "oldest")
    for query in ({}, {"text": "hello"}, {"status": "succeeded", "pack": "reports"}, {"sort": "longest"})
]


def test_pages_show_every_run_once_in_both_directions(
    cast: Cast, production: Shipper, monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests
) -> None:
    monkeypatch.setattr(indexes, "WALKED", {"postgresql": 10, "sqlite": 10})
    client, amount = cast.viewer, 2 * PAGE + 7
    production.ship(*(run(started=at(n * n // 5), duration=float(n // 5)) for n in range(amount)))
    for query in PAGED:
        with subtests.test(str(query)):
            address, pages = f"?{urlencode(query)}", []
            while address:
                page = client.get(f"/runs/{address}").context["page"]
                pages.append([str(row.pk) for row in page.rows])
                last, address = page, page.later
            assert [len(rows) for rows in pages] == [PAGE, PAGE, 7]
            assert len(set(sum(pages, []))) == amount
            back = client.get(f"/runs/{last.earlier}").context["page"]
            assert [str(row.pk) for row in back.rows] == pages[1]
            first = client.get(f"/runs/{back.earlier}").context["page"]
            assert [str(row.pk) for row in first.rows] == pages[0]
            assert first.earlier == ""


UNASKABLE = ('text="open', "text=***", "since=yesterday", "until=2026-13-01", "since=0001-01-01T00:00&text=*")


@pytest.mark.parametrize("address", ["/runs/", "/runs.csv", "/runs.json"])
def test_what_cannot_be_asked_is_explained(cast: Cast, address: str) -> None:
    client = cast.viewer
    for query in UNASKABLE:
        response = client.get(f"{address}?{query}")
        assert response.status_code == (200 if address == "/runs/" else 400), query
        assert "“" in response.content.decode() or "quotation mark" in response.content.decode(), query


PLACES = ("9" * 30, "-1", "nan~x", "inf~0190", "1e999~01900000-0000-7000-8000-000000000001", "\x00", "٣")


@pytest.mark.parametrize("query", ["", "&text=hello", "&sort=longest", "&sort=oldest", "&status=failed&task=x"])
def test_a_place_that_is_none_breaks_nothing(cast: Cast, production: Shipper, query: str) -> None:
    production.ship(run())
    client = cast.viewer
    for place in PLACES:
        for name in ("before", "after"):
            assert client.get(f"/runs/?{urlencode({name: place})}{query}").status_code == 200, (name, place)


def test_the_lines_found_are_shown_below_their_run_as_text(cast: Cast, production: Shipper) -> None:
    production.ship(run(output="first\n<script>needle</script>\n", items=[]), run(output="other", items=[]))
    page = cast.viewer.get("/runs/?text=needle").content.decode()
    assert "<code>&lt;script&gt;<mark>needle</mark>&lt;/script&gt;</code>" in page


def test_the_page_says_from_when_on_all_is_found(cast: Cast, production: Shipper) -> None:
    production.ship(run())
    Mark.objects.create(name="search: not before", value="2025-02-03T04:05:06+00:00")
    assert "may be missing" in cast.viewer.get("/runs/?text=hello").content.decode()
    assert "may be missing" not in cast.viewer.get("/runs/").content.decode()


def test_a_review_is_found_as_soon_as_it_is_written(cast: Cast, production: Shipper) -> None:
    identifier = production.ship(failed(task="broken"))[0]["id"]
    cast.reviewer.post(f"/runs/{identifier}/review", {"state": "done", "summary": "the moon was full #moon"})
    assert shown(cast.viewer, text="moon") == ["broken"]
    assert shown(cast.viewer, review="done", status="failed") == ["broken"]
    assert shown(cast.viewer, review="open", status="failed") == []


def test_a_list_is_given_as_csv_in_which_nothing_is_a_formula(cast: Cast, production: Shipper) -> None:
    evil = '=HYPERLINK("http://evil.example")'
    production.ship(failed(task="bad", reason=evil, asked_by="@cmd", release="-1+1"), run(task="good", started=at(0)))
    response = cast.viewer.get("/runs.csv?host=production")
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(b"".join(response).decode())))
    assert [row["task"] for row in rows] == ["bad", "good"]
    assert (rows[0]["reason"], rows[0]["asked_by"], rows[0]["release"]) == (f"'{evil}", "'@cmd", "'-1+1")


def test_a_list_is_given_as_json_and_has_an_end(
    cast: Cast, production: Shipper, monkeypatch: pytest.MonkeyPatch
) -> None:
    def given(query: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(b"".join(cast.viewer.get(f"/runs.json?{query}")))
        return found

    production.ship(*(run(started=at(n)) for n in range(60)), failed(task="one"))
    assert [row["task"] for row in given("status=failed")] == ["one"]
    assert given("status=lost") == []
    assert len(given("")) == 61
    monkeypatch.setattr("rota.diary.pages.runs.MOST_EXPORTED", 40)
    assert len(given("text=hello")) == 40


def test_a_search_is_kept_shared_and_removed(cast: Cast, production: Shipper) -> None:
    form = {"name": "Red  nights", "query": "status=failed&text=disk+full&evil=1", "share": "yes"}
    response = cast.reviewer.post("/searches/", form)
    assert response.headers["Location"] == "/runs/?status=failed&text=disk+full"
    assert "Red nights" in cast.viewer.get("/runs/").content.decode()
    cast.viewer.post("/searches/", {"name": "Mine", "query": "task=x"})
    assert "Mine" not in cast.reviewer.get("/runs/").content.decode()
    mine, shared = SavedSearch.objects.order_by("name")
    cast.viewer.post(f"/searches/{shared.pk}/remove")
    assert SavedSearch.objects.count() == 2, "another's stays"
    cast.viewer.post(f"/searches/{mine.pk}/remove")
    assert list(SavedSearch.objects.all()) == [shared]


def test_a_search_of_the_same_name_is_replaced_and_there_is_an_end_to_them(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rota.diary.pages.saved.MOST", 2)
    for name in ("one", "two", "two", "three"):
        cast.viewer.post("/searches/", {"name": name, "query": f"task={name}"})
    assert sorted(SavedSearch.objects.values_list("name", flat=True)) == ["one", "two"]


def test_a_stranger_gets_no_list_and_keeps_no_search(cast: Cast) -> None:
    for address in ("/runs.csv", "/runs.json"):
        assert cast.stranger.get(address).status_code == 302
    assert cast.stranger.post("/searches/", {"name": "x", "query": ""}).status_code == 302
    assert not SavedSearch.objects.exists()


def test_a_runs_id_finds_it(cast: Cast, production: Shipper) -> None:
    one = run(task="one", items=[], output="")
    production.ship(one, run(task="other"))
    assert shown(cast.viewer, text=one["id"]) == ["one"]


def test_another_hosts_runs_are_told_apart(cast: Cast, production: Shipper) -> None:
    production.ship(run())
    Host.objects.create(name="staging", environment="staging")
    assert shown(cast.viewer, host="staging", status="succeeded") == []
    assert Run.objects.count() == 1
