"""Operators ask hosts for runs and pauses; hosts fetch what is asked for, once, and their answers are shown."""

import json
import re
import uuid
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from rota.core.host_request import parse_request
from rota.diary.asking import MOST_WAITING
from rota.diary.models import Attention, Host, HostRequest, Run, Token
from tests.agent.diary.conftest import TOKEN, Cast, Shipper
from tests.agent.diary.records import catalogue, definition, failed, identifier, run
from tests.agent.diary.test_ingest import fates
from tests.agent.diary.test_pages import text_of

TASK = "/hosts/production/tasks/send_reports/"
EVIL = "$(rm -rf /) <b>'\";\u202e"


@pytest.fixture
def production(production: Shipper) -> Shipper:
    production.ship(catalogue())
    return production


def token_on(client: Client, address: str = TASK) -> str:
    found = re.search(r'name="token" value="([^"]+)"', text_of(client, address))
    assert found
    return found[1]


def ask(client: Client, **form: Any) -> Any:
    return client.post(f"{TASK}ask", {"token": token_on(client), "action": "run"} | form)


def listen(shipper: Shipper, token: str = TOKEN, **said: Any) -> dict[str, Any]:
    body = {"version": 1, "is_asking": True, "got": []} | said
    response = shipper.client.post(
        "/api/v1/listen", body, content_type="application/json", HTTP_AUTHORIZATION=f"Bearer {token}"
    )
    assert response.status_code == 200, response.content
    answer: dict[str, Any] = response.json()
    return answer


def look(shipper: Shipper) -> float:
    response = shipper.client.get("/api/v1/listen", HTTP_AUTHORIZATION=f"Bearer {TOKEN}")
    again: float = response.json()["again"]
    return again


def answer_to(request: str, **changes: Any) -> dict[str, Any]:
    record = {"version": 1, "kind": "answer", "id": identifier(), "host": "production", "environment": "production"}
    return record | {"at": timezone.now().isoformat(), "request": request, "is_done": True, "reason": ""} | changes


@pytest.mark.parametrize(("role", "may"), [("viewer", 0), ("reviewer", 0), ("operator", 1), ("administrator", 1)])
def test_operators_and_administrators_may_ask_and_others_see_no_button(
    cast: Cast, production: Shipper, role: str, may: int
) -> None:
    client, shipped = getattr(cast, role), production.ship(failed())[0]["id"]
    for address in (TASK, f"/runs/{shipped}/"):
        assert ("Run now" in text_of(client, address) or "Run again" in text_of(client, address)) is bool(may)
    token = token_on(cast.operator)
    assert client.post(f"{TASK}ask", {"token": token, "action": "run"}).status_code == (302 if may else 403)
    assert client.post(f"/runs/{shipped}/ask", {"token": token_on(cast.operator)}).status_code == (302 if may else 403)
    assert HostRequest.objects.count() == 2 * may
    assert Attention.objects.exists(), "the operator looked"


def test_a_stranger_asks_for_nothing(cast: Cast, production: Shipper) -> None:
    assert "/login/" in cast.stranger.post(f"{TASK}ask", {"action": "run"}).headers["Location"]
    assert cast.stranger.get("/api/v1/listen").status_code == 401
    assert not HostRequest.objects.exists()


def test_only_a_form_of_this_diary_asks_and_only_from_its_own_page(cast: Cast, production: Shipper) -> None:
    checked = Client(HTTP_X_FORWARDED_PROTO="https", HTTP_HOST="localhost", enforce_csrf_checks=True)
    checked.force_login(cast.people["operator"])
    assert checked.post(f"{TASK}ask", {"action": "run"}).status_code == 403
    for token in ("", str(uuid.uuid4()), identifier()):
        assert cast.operator.post(f"{TASK}ask", {"action": "run", "token": token}).status_code == 400
    assert not HostRequest.objects.exists()


@pytest.mark.each_engine
def test_a_request_reaches_its_host_word_for_word_until_that_confirms_it(cast: Cast, production: Shipper) -> None:
    form = {"set:full": "true", "set:items": ["march.pdf"], "dry_run": "yes"}
    page = ask(cast.operator, **form).headers["Location"]
    first, again = listen(production), listen(production)
    (told,) = first["requests"]
    assert [told["id"]] == [each["id"] for each in again["requests"]]
    assert (told["values"], told["is_dry_run"]) == ([["full", "true"], ["items", "march.pdf"]], True)
    assert 890 < told["seconds"] <= 900
    read = parse_request(told | {"deadline": timezone.now().isoformat()})
    assert (str(read.id), read.who) == (told["id"], "operator@example.org via the diary")
    assert listen(production, got=[told["id"]])["requests"] == []
    assert "fetched" in text_of(cast.viewer, page)


@pytest.mark.each_engine
def test_a_request_sent_twice_is_asked_once(cast: Cast, production: Shipper) -> None:
    client = cast.operator
    token = token_on(client)
    pages = {client.post(f"{TASK}ask", {"token": token, "action": "run"}).headers["Location"] for _ in range(3)}
    assert len(pages) == HostRequest.objects.count() == 1


@pytest.mark.each_engine
def test_what_came_of_it_is_shown_and_the_first_answer_counts(cast: Cast, production: Shipper) -> None:
    page = ask(cast.operator).headers["Location"]
    (told,) = listen(production)["requests"]
    done = answer_to(told["id"])
    for answer in (done, answer_to(told["id"], is_done=False, reason="no"), done):
        assert fates(production.ship(answer)) == ["accepted"]
    assert "The run has begun" in text_of(cast.viewer, page)
    production.ship(run(id=told["id"], trigger="manual", asked_by="operator@example.org via the diary"))
    assert f'href="/runs/{told["id"]}/"' in text_of(cast.viewer, page)


def test_a_refusal_is_shown_with_its_reason_as_text(cast: Cast, production: Shipper) -> None:
    page = ask(cast.operator).headers["Location"]
    (told,) = listen(production)["requests"]
    production.ship(answer_to(told["id"], is_done=False, reason="<b>it runs already"))
    shown = text_of(cast.viewer, page)
    assert "&lt;b&gt;it runs already" in shown
    assert "refused" in text_of(cast.viewer, TASK)


def test_a_request_that_nobody_fetches_expires_and_is_never_handed_out(cast: Cast, production: Shipper) -> None:
    page = ask(cast.operator).headers["Location"]
    HostRequest.objects.update(expires=timezone.now() - timedelta(seconds=1))
    assert "nothing was done, and nothing will be" in text_of(cast.viewer, page)
    assert listen(production)["requests"] == []


def test_a_run_is_asked_for_again_with_its_own_parameters(cast: Cast, production: Shipper) -> None:
    parameters = {"full": True, "items": ["april.pdf", "march.pdf"]}
    shipped = production.ship(failed(parameters=parameters))[0]["id"]
    client = cast.operator
    token = token_on(client, f"/runs/{shipped}/")
    assert client.post(f"/runs/{shipped}/ask", {"token": token}).status_code == 302
    (told,) = listen(production)["requests"]
    assert told["values"] == [["full", "true"], ["items", "april.pdf"], ["items", "march.pdf"]]
    assert not told["is_dry_run"]


def test_a_pause_and_its_end_are_asked_for(cast: Cast, production: Shipper) -> None:
    client = cast.operator
    for form in ({"action": "pause", "until": "2099-12-01T08:00", "why": " moving\nhouse "}, {"action": "resume"}):
        assert ask(client, **form).status_code == 302
    first, second = listen(production)["requests"]
    assert (first["action"], first["until"], first["reason"]) == ("pause", "2099-12-01T08:00:00+00:00", "moving house")
    assert (second["action"], second["until"]) == ("resume", None)


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ({"set:full": "perhaps"}, "it must be true or false"),
        ({"set:items": ["may.pdf"]}, "may.pdf"),
        ({"action": "explode"}, "explode"),
        ({"action": "pause", "until": "2001-01-01T00:00"}, "a time to come"),
        ({"action": "pause", "until": "soon"}, "is no time like"),
    ],
    ids=str,
)
def test_what_cannot_be_is_told_at_once_beside_what_was_typed(
    cast: Cast, production: Shipper, form: dict[str, Any], problem: str
) -> None:
    response = ask(cast.operator, **form)
    assert (response.status_code, HostRequest.objects.count()) == (400, 0)
    assert problem in response.content.decode()


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"is_asking": False}, "heeds no requests"),
        ({"tasks": {"send_reports": definition(is_asked=False)}}, "<code>asking: true</code>"),
        ({"tasks": {}}, "has this task no more"),
    ],
    ids=str,
)
def test_where_nothing_may_be_asked_the_page_says_why_and_a_post_is_refused(
    cast: Cast, production: Shipper, changes: dict[str, Any], refusal: str
) -> None:
    client = cast.operator
    token = token_on(client)
    production.ship(catalogue(at="2025-03-02T09:00:00Z", **changes))
    page = text_of(client, TASK)
    assert refusal in page
    assert "Run now" not in page
    assert client.post(f"{TASK}ask", {"token": token, "action": "run"}).status_code == 400


def test_a_host_that_heeds_nothing_is_handed_nothing(cast: Cast, production: Shipper) -> None:
    ask(cast.operator)
    assert listen(production, is_asking=False)["requests"] == []
    assert len(listen(production)["requests"]) == 1


def test_a_host_hears_and_confirms_its_own_requests_alone(cast: Cast, production: Shipper) -> None:
    Token.objects.create(host=Host.objects.create(name="staging"), digest=sha256(b"staging's").hexdigest())
    ask(cast.operator)
    (asked,) = HostRequest.objects.all()
    assert listen(production, token="staging's", got=[str(asked.pk)])["requests"] == []
    response = production.post(
        {"version": 1, "records": [answer_to(str(asked.pk), host="staging", environment="staging")]}, token="staging's"
    )
    assert fates(response.json()["results"]) == ["accepted"]
    assert HostRequest.objects.get().state == "waiting"


def test_a_host_is_told_to_stay_while_somebody_who_may_ask_looks_at_it(cast: Cast, production: Shipper) -> None:
    assert look(production) == 0
    text_of(cast.reviewer, TASK)
    assert look(production) == 0
    text_of(cast.operator, TASK)
    assert 0 < look(production) <= 5
    Attention.objects.update(until=timezone.now())
    assert look(production) == 0
    ask(cast.operator)
    Attention.objects.update(until=timezone.now())
    assert look(production) > 0, "something waits"


@pytest.mark.each_engine
def test_no_more_than_so_many_requests_wait_for_a_host(cast: Cast, production: Shipper) -> None:
    client = cast.operator
    codes = [ask(client).status_code for _ in range(MOST_WAITING + 1)]
    assert codes == [302] * MOST_WAITING + [400]


@pytest.mark.each_engine
@pytest.mark.parametrize("said", [{"got": "x"}, {"got": [None, "x", EVIL, [1]]}, {"is_asking": EVIL}], ids=str)
def test_whatever_a_host_says_it_gets_an_answer(production: Shipper, said: dict[str, Any]) -> None:
    assert listen(production, **said)["again"] == 0


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"version": 2}', b"[" * 100_000], ids=range(4))
def test_an_unreadable_question_is_refused(production: Shipper, body: bytes) -> None:
    response = production.client.post(
        "/api/v1/listen", body, content_type="application/json", HTTP_AUTHORIZATION=f"Bearer {TOKEN}"
    )
    assert response.status_code == 400


@pytest.mark.each_engine
def test_hostile_words_stay_words_from_the_form_to_the_host_and_on_every_page(cast: Cast, production: Shipper) -> None:
    text = {"name": "label", "kind": "text", "is_many": False, "choices": [], "default": EVIL, "meaning": EVIL}
    tasks = {"send_reports": definition(parameters=[text], description=EVIL, words=EVIL)}
    production.ship(catalogue(at="2025-03-02T09:00:00Z", tasks=tasks))
    assert ask(cast.operator, **{"set:label": "\u202e right to left"}).status_code == 400, "it is no line of text"
    plain = EVIL.removesuffix("\u202e")
    page = ask(cast.operator, **{"set:label": plain}).headers["Location"]
    (told,) = json.loads(json.dumps(listen(production)["requests"]))
    assert told["values"] == [["label", plain]]
    for address in (page, TASK, "/tasks/"):
        shown = text_of(cast.operator, address)
        assert "<b>'" not in shown
        assert "\u202e" not in shown


@pytest.mark.each_engine
def test_pages_cost_the_same_however_much_is_asked(
    cast: Cast, production: Shipper, django_assert_max_num_queries: Any
) -> None:
    client = cast.operator
    for _ in range(MOST_WAITING):
        ask(client)
    with django_assert_max_num_queries(16):
        text_of(client, TASK)
    with django_assert_max_num_queries(5):
        look(production)
    assert Run.objects.count() == 0
