"""Hosts that make reports fetch what is defined and tell what came of it; nobody else does, nothing counts twice."""

import uuid
from typing import Any

import pytest
from django.conf import settings

from rota.diary.models import Host, TaskDefinition
from rota.packs.reports import ledger, source
from rota.packs.reports.attempt import from_mapping
from rota.packs.reports.definitions import Client, Definitions, Query, Script, from_json
from rota.packs.reports.diary.keeping import definitions_of_database, save_definitions
from rota.packs.reports.diary.models import History, RunLog, Task
from tests.agent.diary.conftest import TOKEN, Cast, Shipper, visitor

BEARER = {"HTTP_AUTHORIZATION": f"Bearer {TOKEN}"}
DEFINITIONS, ATTEMPTS = "/api/v1/reports/definitions", "/api/v1/reports/attempts"


def attempt(task: Task | str, **changed: Any) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()),
        "task": task if isinstance(task, str) else task.id,
        "host": "production",
        "run": None,
        "trigger": "schedule",
        "planned": "2026-01-31",
        "started": "2026-01-31T02:00:00+00:00",
        "ended": "2026-01-31T02:00:02+00:00",
        "outcome": "published",
        "message": "OK",
        "bytes": 12,
        "rows": 3,
        "sha256": "a" * 64,
    } | changed


def tell(*attempts: object) -> list[str]:
    said = {"version": 1, "attempts": list(attempts)}
    response = visitor().post(ATTEMPTS, said, content_type="application/json", **BEARER)
    assert response.status_code == 200, response.content
    return [each["result"] for each in response.json()["results"]]


@pytest.mark.each_engine
def test_a_host_that_makes_reports_is_given_them_without_secrets(maker: Shipper, shelf: Task) -> None:
    shelf.client.password, shelf.client.access_key = "a hash", "another"
    shelf.client.save()
    response = visitor().get(DEFINITIONS, **BEARER)
    answer = source.read_answer(response.json())
    assert answer["version"] == response["ETag"]
    assert list(from_json(answer["definitions"]).reports) == ["library/books.csv"]
    assert b"a hash" not in response.content
    assert b"another" not in response.content
    again = visitor().get(DEFINITIONS, HTTP_IF_NONE_MATCH=response["ETag"], **BEARER)
    assert (again.status_code, again.content) == (304, b"")
    Task.objects.update(description="changed")
    assert visitor().get(DEFINITIONS, HTTP_IF_NONE_MATCH=response["ETag"], **BEARER).status_code == 200


def test_what_a_host_sends_of_its_ledger_is_taken_and_understood(maker: Shipper, shelf: Task) -> None:
    made = from_mapping({**attempt(shelf), "report": "library/books.csv"})
    for expected in ("accepted", "unchanged"):
        response = visitor().post(ATTEMPTS, ledger.told([made]), content_type="application/json", **BEARER)
        assert ledger.answers(response.json()) == [(made.id, expected, "")]
    assert RunLog.objects.get().rows == 3


def test_nobody_else_is_given_anything(cast: Cast, maker: Shipper, shelf: Task) -> None:
    assert visitor().get(DEFINITIONS).status_code == 401
    assert cast.administrator.get(DEFINITIONS).status_code == 401
    Host.objects.update(environment="staging")
    assert settings.CONFIGURATION.environment != "staging"
    assert visitor().get(DEFINITIONS, **BEARER).status_code == 403
    Host.objects.update(environment=settings.CONFIGURATION.environment)
    TaskDefinition.objects.update(definition={"pack": "backup"})
    response = visitor().get(DEFINITIONS, **BEARER)
    assert response.status_code == 403
    assert "rota sync" in response.json()["error"]


@pytest.mark.each_engine
def test_an_attempt_is_a_row_of_the_run_log_however_often_it_is_told(maker: Shipper, shelf: Task) -> None:
    told = attempt(shelf)
    assert [tell(told), tell(told, attempt(shelf, outcome="failed"))] == [["accepted"], ["unchanged", "accepted"]]
    row = RunLog.objects.get(attempt=told["id"])
    assert (row.is_success, row.duration, row.bytes, row.host) == (True, 2.0, 12, "production")
    assert row.planned is not None


def test_each_attempt_is_judged_by_itself(maker: Shipper, shelf: Task) -> None:
    changes = [
        {"outcome": "?"}, {"outcome": "shown"}, {"started": "2026-01-31"}, {"ended": "0001-01-01T00:00:00+09:00"},
        {"bytes": -1}, {"rows": True}, {"sha256": "z"}, {"id": "a"}, {"run": "a"}, {"trigger": None}, {"message": 7},
    ]  # fmt: skip
    bad = [7, None, *(attempt(shelf, **each) for each in changes)]
    assert tell(*bad, attempt("gone"), attempt(shelf)) == ["refused"] * 13 + ["unknown", "accepted"]
    assert RunLog.objects.count() == 1


def test_what_a_newer_host_tells_besides_is_left_out(maker: Shipper, shelf: Task) -> None:
    assert tell(attempt(shelf, newer=1)) == ["accepted"]


def test_a_dry_run_leaves_no_row(maker: Shipper, shelf: Task) -> None:
    assert tell(attempt(shelf, trigger="dry run", outcome="shown")) == ["accepted"]
    assert not RunLog.objects.exists()


def test_a_message_however_long_is_cut_to_what_the_column_held(maker: Shipper, shelf: Task) -> None:
    assert tell(attempt(shelf, message="é\0" * 90_000)) == ["accepted"]
    assert 65_000 < len(RunLog.objects.get().message.encode()) <= 65_535


@pytest.mark.each_engine
def test_what_is_saved_is_read_again_as_it_was(shelf: Task) -> None:
    defined = definitions_of_database()
    more = Definitions(
        clients=(Client(id="c", name="Another", username="another", access_key="b" * 64),),
        scripts=(Script(id="s", name="another:x_csv", id_query="q", body="print(2)"),),
        queries=(Query(id="q", name="another:x_csv", body="SELECT 2"),),
    )
    assert save_definitions(more, by=None) == {"clients": 1, "queries": 1, "scripts": 1, "tasks": 0}
    assert save_definitions(more, by=None) == {"clients": 0, "queries": 0, "scripts": 0, "tasks": 0}
    now = definitions_of_database()
    assert set(now.clients) == {*defined.clients, *more.clients}
    assert now.tasks == defined.tasks
    assert "b" * 64 not in str(list(History.objects.values()))
