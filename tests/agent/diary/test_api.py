"""The read API answers what its OpenAPI document says, to whom it should, and nothing else."""

import base64
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import Client
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

from rota.diary import tokens
from rota.diary.models import Person, PersonToken, Run
from rota.diary.wsgi import application
from tests.agent.diary.conftest import TOKEN, Cast, Shipper, visitor
from tests.agent.diary.records import catalogue, caught, definition, deploy, failed, identifier, run, running, timing

EXAMPLES = 20
LISTS = ("/api/v1/runs", "/api/v1/hosts", "/api/v1/deploys", "/api/v1/tasks", "/api/v1/outbox")


@pytest.fixture
def token(cast: Cast) -> str:
    return tokens.make(cast.people["viewer"], "a test")


def bearing(token: str) -> Client:
    client = visitor()
    client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return client


def answer(client: Client, address: str, status: int = 200) -> Any:
    response = client.get(address)
    assert response.status_code == status, response.content
    return response.json()


@pytest.mark.parametrize("address", [*LISTS, "/failures.atom"])
def test_a_stranger_is_asked_for_a_token(cast: Cast, address: str) -> None:
    for client in (cast.stranger, bearing("rota_none"), bearing("")):
        response = client.get(address)
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_hosts_token_reads_nothing(cast: Cast, production: Shipper) -> None:
    assert bearing(TOKEN).get("/api/v1/runs").status_code == 401


def test_a_token_reads_as_bearer_and_as_password(cast: Cast, production: Shipper, token: str) -> None:
    production.ship(run())
    basic = visitor()
    basic.defaults["HTTP_AUTHORIZATION"] = "Basic " + base64.b64encode(f"anybody:{token}".encode()).decode()
    for client in (bearing(token), basic, cast.viewer):
        assert len(answer(client, "/api/v1/runs")["runs"]) == 1
    assert PersonToken.objects.get().last_used is not None


def test_a_wrong_token_is_not_made_good_by_a_session(cast: Cast) -> None:
    client = cast.viewer
    assert client.get("/api/v1/runs", HTTP_AUTHORIZATION="Bearer rota_wrong").status_code == 401


def test_a_token_of_somebody_who_left_or_that_is_revoked_opens_nothing(cast: Cast, token: str) -> None:
    Person.objects.filter(email="viewer@example.org").update(is_active=False)
    assert bearing(token).get("/api/v1/runs").status_code == 401
    Person.objects.update(is_active=True)
    client = cast.viewer
    client.post(f"/tokens/{PersonToken.objects.get().pk}/revoke")
    assert bearing(token).get("/api/v1/runs").status_code == 401


def test_a_token_is_shown_once_and_kept_hashed(cast: Cast) -> None:
    client = cast.viewer
    page = client.post("/tokens/make", {"name": "the wall screen"}).content.decode()
    shown = page.partition("<code>")[2].partition("</code>")[0]
    assert answer(bearing(shown), "/api/v1/runs")["runs"] == []
    listed = client.get("/tokens/").content.decode()
    assert "the wall screen" in listed
    assert shown not in listed
    assert shown not in str(list(PersonToken.objects.values()))


def test_nobody_revokes_anothers_token(cast: Cast, token: str) -> None:
    assert cast.administrator.post(f"/tokens/{PersonToken.objects.get().pk}/revoke").status_code == 404


def test_a_run_is_told_whole(cast: Cast, production: Shipper, token: str) -> None:
    record = failed(parameters={"name": ["Alpha"], "full": True}, unexpected=["rows is 0; expected >0"])
    (here,) = (result["id"] for result in production.ship(record))
    cast.reviewer.post(f"/runs/{here}/review", {"state": "done", "summary": "was the disk", "tags": "#disk"})
    told = answer(bearing(token), f"/api/v1/runs/{here}")
    for key in ("task", "host", "status", "reason", "exit_code", "counts", "parameters", "unexpected", "items"):
        assert told[key] == record[key], key
    assert told["reviews"][0] | {"at": ""} == {
        "at": "", "person": "Reviewer", "state": "done", "assessment": "", "summary": "was the disk", "tags": ["disk"],
    } | {"tags": ["#disk"]}  # fmt: skip
    assert bearing(token).get(told["output"]).content == b"hello\n"
    assert cast.viewer.get(told["page"]).status_code == 200


@pytest.mark.each_engine
def test_lists_are_narrowed_and_paged_by_key(cast: Cast, production: Shipper, token: str) -> None:
    production.ship(*(run(started=f"2025-03-01T02:{n:02d}:00Z") for n in range(7)), failed(), deploy())
    client = bearing(token)
    assert [each["status"] for each in answer(client, "/api/v1/runs?status=failed")["runs"]] == ["failed"]
    seen: list[str] = []
    key = ""
    while key is not None:
        told = answer(client, f"/api/v1/runs?limit=3&before={key.replace('+', '%2B')}")
        seen += [each["id"] for each in told["runs"]]
        key = told["older"]
    assert seen == [str(pk) for pk in Run.objects.order_by("-started", "-id").values_list("pk", flat=True)]
    assert len(answer(client, "/api/v1/runs?text=hello+-failed&limit=200")["runs"]) == 8
    assert "text: A quotation mark" in answer(client, "/api/v1/runs?text=%22open", 422)["error"]
    first = answer(client, "/api/v1/runs?text=hel*&limit=5")
    second = answer(client, f"/api/v1/runs?text=hel*&limit=5&before={first['older']}")
    assert [each["id"] for each in first["runs"] + second["runs"]] == seen
    assert answer(client, f"/api/v1/runs?text=hel*&limit=5&after={second['newer']}")["runs"] == first["runs"]
    assert "before" in answer(client, f"/api/v1/runs?before={first['older']}", 422)["error"]
    assert len(answer(client, "/api/v1/deploys")["deploys"]) == 1
    assert answer(client, "/api/v1/hosts")[0]["name"] == "production"


def test_runs_are_narrowed_by_all_that_the_page_narrows_by(cast: Cast, production: Shipper, token: str) -> None:
    production.ship(run(), run(trigger="manual", asked_by="anna", pack="logs", reason="too slow: 3"))
    for query in ("trigger=manual", "asked_by=anna", "pack=logs", "reason=too+slow", "since=2025-03-01"):
        found = answer(bearing(token), f"/api/v1/runs?{query}")["runs"]
        assert len(found) == (2 if query.startswith("since") else 1), query
    assert answer(bearing(token), "/api/v1/runs?until=2025-02-01")["runs"] == []
    assert "since" in answer(bearing(token), "/api/v1/runs?since=yesterday", 422)["error"]


@pytest.mark.each_engine
def test_tasks_are_told_with_what_is_to_come_of_them(cast: Cast, production: Shipper, token: str) -> None:
    tasks = {"send_reports": definition(timing=timing()), "by_hand": definition()}
    production.ship(catalogue(tasks=tasks), run(duration=3.0))
    client = bearing(token)
    told = {each["task"]: each for each in answer(client, "/api/v1/tasks?host=production")}
    assert told.keys() == tasks.keys()
    assert told["by_hand"]["due"] is None
    assert told["send_reports"]["due"] is not None
    assert told["send_reports"]["is_late"]
    whole = answer(client, "/api/v1/hosts/production/tasks/send_reports")
    assert whole.items() >= told["send_reports"].items()
    assert whole["fields"] == definition()["fields"]
    assert answer(client, "/api/v1/tasks?host=other") == []
    assert "nothing" in answer(client, "/api/v1/hosts/production/tasks/other", 404)["error"]
    assert "hots" in answer(client, "/api/v1/tasks?hots=production", 422)["error"]
    assert 'rota_diary_late{host="production",task="send_reports"} 1' in client.get("/metrics").content.decode()


@pytest.mark.each_engine
def test_what_was_caught_is_told_and_found(cast: Cast, production: Shipper, token: str) -> None:
    production.ship(*(caught(subject=f"Letter {n}", at=f"2025-03-01T02:{n:02d}:00Z") for n in range(5)))
    client = bearing(token)
    for query in ("", "text=letter&"):
        first = answer(client, f"/api/v1/outbox?{query}limit=3")
        second = answer(client, f"/api/v1/outbox?{query}limit=3&before={first['older'].replace('+', '%2B')}")
        assert [each["subject"][-1] for each in first["caught"] + second["caught"]] == ["4", "3", "2", "1", "0"]
        assert second["older"] is None
        back = answer(client, f"/api/v1/outbox?{query}limit=3&after={second['newer'].replace('+', '%2B')}")
        assert back["caught"] == first["caught"]
    (one,) = answer(client, "/api/v1/outbox?text=%22letter+2%22")["caught"]
    whole = answer(client, f"/api/v1/outbox/{one['id']}")
    assert whole == one | {"text": caught()["text"]}
    assert "before" in answer(client, "/api/v1/outbox?text=letter&before=x", 422)["error"]
    assert "nothing" in answer(client, f"/api/v1/outbox/{uuid.uuid4()}", 404)["error"]


@pytest.mark.parametrize(
    "query", ["stauts=failed", "status=broken", "limit=0", "limit=x", "before=yesterday", "host=%00", "review=fine"]
)
def test_a_wrong_question_is_refused_with_the_reason(cast: Cast, token: str, query: str) -> None:
    assert query.partition("=")[0] in answer(bearing(token), f"/api/v1/runs?{query}", 422)["error"]


def test_what_is_not_there_is_not_found(cast: Cast, token: str) -> None:
    for address in (f"/api/v1/runs/{uuid.uuid4()}", f"/api/v1/runs/{uuid.uuid4()}/output"):
        assert "nothing" in answer(bearing(token), address, 404)["error"]


@pytest.mark.each_engine
def test_failures_are_a_feed(cast: Cast, production: Shipper, token: str) -> None:
    production.ship(run(), failed(reason="exit <3>"), failed(task="other_task"))
    feed = bearing(token).get("/failures.atom?task=send_reports")
    assert feed.headers["Content-Type"].startswith("application/atom+xml")
    text = feed.content.decode()
    assert text.count("<entry>") == 1
    assert "exit &lt;3&gt;" in text
    for query, entries in (
        ("text=hello", 2),
        ("text=hello&status=lost", 0),
        ("text=-other_task", 1),
        ("status=running", 0),
    ):
        assert bearing(token).get(f"/failures.atom?{query}").content.decode().count("<entry>") == entries, query
    assert bearing(token).get("/failures.atom?text=%22open").status_code == 400


@pytest.mark.each_engine
def test_who_has_the_feed_already_is_told_so_until_it_says_something_else(
    cast: Cast, production: Shipper, token: str
) -> None:
    def ask(known: str, address: str = "/failures.atom", **more: str) -> tuple[int, str, bool]:
        response = bearing(token).get(address, HTTP_IF_NONE_MATCH=known, **more)
        return response.status_code, response.headers["ETag"], bool(response.content)

    tags = [ask('"x"')[1]]
    late = {"started": "2025-02-01T02:30:00Z", "ended": "2025-02-01T02:31:00Z"}
    for shipped in (failed(), failed(**late), running(task="other", id=(under_way := identifier()))):
        production.ship(shipped)
        status, tag, has_content = ask(tags[-1])
        assert (status, has_content) == ((304, False) if shipped["status"] == "running" else (200, True))
        assert ask(tag) == (304, tag, False)
        assert ask(f"W/{tag}") == (304, tag, False), "nginx compressed it"
        tags.append(tag)
    production.ship(failed(task="other", id=under_way, reason="exit 4"))
    others = [ask(tags[-1]), ask(tags[-1], "/failures.atom?task=other"), ask(tags[-1], HTTP_ACCEPT_LANGUAGE="de")]
    assert [each[0] for each in others] == [200] * 3
    assert len({*tags, *(each[1] for each in others)}) == 6
    Run.objects.filter(pk=under_way).delete()
    assert ask(tags[-1])[0] == 304, "it says what it said before"


@contextmanager
def one_connection() -> Iterator[None]:
    """Requests that end do not close the connection in which the test's rows are; Django's client does the same."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.mark.each_engine
def test_the_api_is_as_its_document_says_whatever_is_asked(cast: Cast, production: Shipper, token: str) -> None:
    """Schemathesis asks each address what its document allows and what it does not."""
    production.ship(run(), failed(output="\x1b[31mred\0"[:-1]), deploy(), caught(), catalogue())
    headers = {"X-Forwarded-Proto": "https", "Host": "localhost", "Authorization": f"Bearer {token}"}
    rules = settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    def ask(case: Any) -> None:
        # A key of a list is text to the document, and not each text is one.
        case.call_and_validate(headers=headers, excluded_checks=[positive_data_acceptance])

    # Each case is asked with the token: one that had none of its own would be answered though it should not.
    rules_of_cases = SchemathesisConfig.from_dict({"generation": {"with-security-parameters": False}})
    with one_connection():
        schema = schemathesis.openapi.from_wsgi(
            "/api/v1/openapi.json", application, config=rules_of_cases, headers=headers
        )
        operations = [each.ok() for each in schema.get_all_operations() if isinstance(each, Ok)]
        for operation in operations:
            for mode in GenerationMode:
                with suppress(Unsatisfiable):  # nothing is wrong to ask of an address that takes nothing
                    rules(given(case=operation.as_strategy(generation_mode=mode))(ask))()
    assert len(operations) == 9
