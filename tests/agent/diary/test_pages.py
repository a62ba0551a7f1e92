"""Every page answers everybody as it should, shows what it was told, and costs the same however much there is."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db.migrations import AddField
from django.db.migrations.loader import MigrationLoader
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

from rota.core import status as words
from rota.diary import models
from rota.diary.login import MOST_PER_ADDRESS, MOST_PER_EMAIL, MOST_PER_PAIR
from rota.diary.models import Deploy, Host, LoginFailure, Outbound, Person, Review, Run
from rota.diary.paging import PAGE
from rota.diary.views import unhandled_failures
from tests.agent.diary.conftest import PASSWORD, Cast, Shipper, visitor
from tests.agent.diary.records import caught, deploy, failed, identifier, run, running

PAGES = ("/", "/runs/", "/tasks/", "/hosts/", "/releases/", "/outbox/")
OPEN = ("/login/", "/healthz", "/static/diary/diary.css")


def text_of(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200, (address, response.status_code)
    return response.content.decode()


def at(minute: int) -> str:
    return (datetime(2025, 3, 1, tzinfo=UTC) + timedelta(minutes=minute)).isoformat()


def test_a_stranger_is_asked_to_log_in(cast: Cast) -> None:
    for address in PAGES:
        response = cast.stranger.get(address)
        assert response.status_code == 302
        assert response.headers["Location"] == f"/login/?next={address}"


def test_a_stranger_sees_neither_a_run_nor_its_output(cast: Cast, production: Shipper) -> None:
    identifier = production.ship(run())[0]["id"]
    for name in ("run", "output_text"):
        assert cast.stranger.get(reverse(name, args=[identifier])).status_code == 302
    assert cast.stranger.post(reverse("review", args=[identifier]), {"state": "done"}).status_code == 302


@pytest.mark.each_engine
def test_an_empty_page_says_what_would_appear_there(cast: Cast) -> None:
    client = cast.viewer
    for address in PAGES:
        page = text_of(client, address)
        assert 'class="empty' in page, address
        assert "`" not in page, address


def test_no_page_allows_inline_script_frames_or_other_sites(cast: Cast) -> None:
    client = cast.viewer
    for address in (*PAGES, *OPEN):
        headers = client.get(address).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"], address
        assert "unsafe" not in headers["Content-Security-Policy"], address
        assert headers["X-Frame-Options"] == "DENY", address
        assert headers["X-Content-Type-Options"] == "nosniff", address
        assert headers["Strict-Transport-Security"] == "max-age=31536000", "other names are not ours to speak for"


def test_no_page_carries_inline_style_or_script(cast: Cast, production: Shipper) -> None:
    production.ship(run(), failed(), running(), deploy(), caught())
    for address in (*PAGES, "/login/"):
        page = text_of(cast.stranger if address == "/login/" else cast.reviewer, address)
        assert not [mark for mark in ("<script", "<style", " style=") if mark in page], address


def test_plain_http_is_sent_to_https_but_health_is_not(database: Any) -> None:
    client = Client(HTTP_HOST="localhost")
    assert client.get("/").headers["Location"].startswith("https://")
    assert client.get("/healthz").status_code == 200


def test_an_unknown_host_name_is_refused(database: Any) -> None:
    assert Client(HTTP_HOST="evil.example", HTTP_X_FORWARDED_PROTO="https").get("/login/").status_code == 400


def test_the_right_password_opens_the_diary_and_logging_out_closes_it(cast: Cast) -> None:
    client = cast.stranger
    response = client.post("/login/", {"username": " Viewer@Example.org", "password": PASSWORD, "next": "/hosts/"})
    assert response.headers["Location"] == "/hosts/"
    cookie = response.cookies[settings.SESSION_COOKIE_NAME]
    assert (cookie["secure"], cookie["httponly"], cookie["samesite"]) == (True, True, "Lax")
    assert client.get("/").status_code == 200
    client.post("/logout/")
    assert client.get("/").status_code == 302


def test_a_login_leads_to_no_other_site(cast: Cast) -> None:
    form = {"username": "viewer@example.org", "password": PASSWORD, "next": "https://evil.example/"}
    assert cast.stranger.post("/login/", form).headers["Location"] == "/"


def test_somebody_who_left_cannot_log_in(cast: Cast) -> None:
    Person.objects.update(is_active=False)
    response = cast.stranger.post("/login/", {"username": "viewer@example.org", "password": PASSWORD})
    assert response.status_code == 200
    assert "do not belong together" in response.content.decode()


RIGHT = {"username": "viewer@example.org", "password": PASSWORD}


def guess_everywhere(client: Client, amount: int) -> set[int]:
    """Guess the viewer's password once from each of so many network addresses; returns the statuses."""
    return {
        client.post("/login/", RIGHT | {"password": f"guess {n}"}, REMOTE_ADDR=f"192.0.2.{n}").status_code
        for n in range(amount)
    }


@pytest.mark.each_engine
def test_guessing_one_persons_password_is_slowed_down_here_and_closes_nothing_elsewhere(cast: Cast) -> None:
    for number in range(MOST_PER_PAIR):
        assert cast.stranger.post("/login/", RIGHT | {"password": f"guess {number}"}).status_code == 200
    response = cast.stranger.post("/login/", RIGHT)
    assert response.status_code == 429
    assert int(response.headers["Retry-After"]) > 0
    assert cast.stranger.post("/login/", RIGHT, REMOTE_ADDR="192.0.2.1").status_code == 302
    LoginFailure.objects.update(at=datetime(2025, 1, 1, tzinfo=UTC))
    assert cast.stranger.post("/login/", RIGHT).status_code == 302


def test_guessing_from_everywhere_is_slowed_down_but_locks_nobody_out(cast: Cast) -> None:
    known = cast.stranger
    assert known.post("/login/", RIGHT).status_code == 302
    known.post("/logout/")
    assert guess_everywhere(cast.stranger, MOST_PER_EMAIL) == {200}
    assert guess_everywhere(cast.stranger, 2) == {429}
    assert cast.stranger.post("/login/", RIGHT).status_code == 429
    assert known.post("/login/", RIGHT).status_code == 302, "a browser that they logged in with before"


def test_a_browser_is_known_for_the_person_who_logged_in_with_it_alone(cast: Cast) -> None:
    guess_everywhere(cast.stranger, MOST_PER_EMAIL)
    other = cast.stranger
    assert other.post("/login/", {"username": "reviewer@example.org", "password": PASSWORD}).status_code == 302
    other.post("/logout/")
    assert other.post("/login/", RIGHT).status_code == 429


def test_an_attempt_counts_before_its_password_is_looked_at(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else as many guesses as there are threads would slip through at one moment."""
    counted = []

    def check_password(*_: object) -> bool:
        counted.append(LoginFailure.objects.count())
        return True

    monkeypatch.setattr(Person, "check_password", check_password)
    cast.stranger.post("/login/", RIGHT)
    assert counted == [1]
    assert not LoginFailure.objects.exists(), "a login that succeeds is no failure"


def test_guessing_from_one_address_is_slowed_down_whoever_is_guessed(cast: Cast) -> None:
    # Over the unix socket the address is what nginx appended; what the client claims before it counts for nothing.
    for number in range(MOST_PER_ADDRESS):
        guess = {"username": f"{number}@example.org", "password": "guess"}
        claim = f"203.0.113.{number}, 192.0.2.7"
        cast.stranger.post("/login/", guess, REMOTE_ADDR="", HTTP_X_FORWARDED_FOR=claim)
    right = {"username": "viewer@example.org", "password": PASSWORD}
    for address, status in (("198.51.100.1, 192.0.2.7", 429), ("192.0.2.7, 192.0.2.8", 302)):
        response = cast.stranger.post("/login/", right, REMOTE_ADDR="", HTTP_X_FORWARDED_FOR=address)
        assert response.status_code == status


def test_a_form_from_another_site_is_refused(cast: Cast) -> None:
    client = Client(enforce_csrf_checks=True, HTTP_HOST="localhost", HTTP_X_FORWARDED_PROTO="https")
    client.force_login(cast.people["viewer"])
    response = client.post("/logout/")
    assert response.status_code == 403
    assert "This is not for you to do." in response.content.decode()


def test_the_overview_shows_what_needs_somebody(cast: Cast, production: Shipper) -> None:
    production.ship(
        failed(task="old_failure", started=at(0)),
        failed(task="send_reports", reason="exit 4", started=at(1)),
        failed(task="send_reports", reason="timeout", started=at(2)),
        running(task="long_import", started=at(3)),
        run(task="quiet_success"),
        deploy(ref="release-7"),
    )
    page = text_of(cast.viewer, "/")
    for shown in ("old_failure", "timeout", "long_import", "release-7", ">2</a>"):
        assert shown in page
    for hidden in ("exit 4", "quiet_success"):
        assert hidden not in page


@pytest.mark.each_engine
def test_of_failures_the_newest_of_each_task_is_shown_once_with_how_many_there_are(
    cast: Cast, production: Shipper
) -> None:
    ids = sorted(identifier() for _ in range(3))
    production.ship(
        failed(task="at_once", id=ids[1], started=at(9)),
        failed(task="at_once", id=ids[2], started=at(9)),
        failed(task="at_once", id=ids[0], started=at(9)),
        failed(task="handled", started=at(8)),
        failed(task="earlier", started=at(1)),
        failed(task="earlier", started=at(7)),
    )
    Run.objects.filter(task="handled").update(review="done")
    Run.objects.filter(task="earlier", started=at(7)).update(review="ongoing")
    chosen = [(run.task, str(run.pk), run.open) for run in unhandled_failures(9)]  # type: ignore[attr-defined]  # as said
    assert chosen == [("at_once", ids[2], 3), ("earlier", str(Run.objects.get(review="ongoing").pk), 2)]
    assert [run.task for run in unhandled_failures(1)] == ["at_once"]


def test_a_handled_failure_leaves_the_overview(cast: Cast, production: Shipper) -> None:
    identifier = production.ship(failed(task="broken_task"))[0]["id"]
    assert "broken_task" in text_of(cast.viewer, "/")
    cast.reviewer.post(reverse("review", args=[identifier]), {"state": "done", "summary": "disk was full"})
    assert "broken_task" not in text_of(cast.viewer, "/")
    page = text_of(cast.viewer, reverse("run", args=[identifier]))
    assert "disk was full" in page
    assert "Reviewer" in page


@pytest.mark.each_engine
def test_one_review_can_close_all_open_failures_of_the_task_up_to_the_run(cast: Cast, production: Shipper) -> None:
    first, second, third = (production.ship(failed(started=at(minute)))[0]["id"] for minute in range(3))
    other = production.ship(failed(task="another_task", started=at(0)))[0]["id"]
    cast.operator.post(reverse("review", args=[second]), {"state": "done", "all": "yes"})
    states = {str(pk): review for pk, review in Run.objects.values_list("pk", "review")}
    assert states == {first: "done", second: "done", third: "needs_analysis", other: "needs_analysis"}


def test_what_was_said_of_a_running_run_holds_when_it_has_ended(cast: Cast, production: Shipper) -> None:
    start = running()
    production.ship(start)
    cast.reviewer.post(reverse("review", args=[start["id"]]), {"state": "ongoing", "summary": "it hangs"})
    production.ship(failed(id=start["id"]), failed(task="another_task"))
    assert dict(Run.objects.values_list("task", "review")) == {
        "send_reports": "ongoing",
        "another_task": "needs_analysis",
    }


def test_a_viewer_may_not_review(cast: Cast, production: Shipper) -> None:
    identifier = production.ship(failed())[0]["id"]
    assert "<textarea" not in text_of(cast.viewer, reverse("run", args=[identifier]))
    assert cast.viewer.post(reverse("review", args=[identifier]), {"state": "done"}).status_code == 403
    assert not Review.objects.exists()


def test_a_made_up_review_state_changes_nothing(cast: Cast, production: Shipper) -> None:
    identifier = production.ship(failed())[0]["id"]
    for state in ("", "nonsense"):
        cast.reviewer.post(reverse("review", args=[identifier]), {"state": state})
    assert Run.objects.get().review == "needs_analysis"


def test_a_run_page_shows_the_whole_record(cast: Cast, production: Shipper) -> None:
    identifier = production.ship(run(output="\x1b[31m<b>red</b>\x1b[0m\nsecond\n"))[0]["id"]
    page = text_of(cast.viewer, reverse("run", args=[identifier]))
    assert '<span class="ansi-red">&lt;b&gt;red&lt;/b&gt;</span>' in page
    assert 'id="L2"' in page
    for shown in ("march.pdf", "to the board", "timer", "50.0", "20250228T120000Z-0123456789ab", "2025-03-01 02:30:00"):
        assert shown in page
    response = cast.viewer.get(reverse("output_text", args=[identifier]))
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert response.content == b"\x1b[31m<b>red</b>\x1b[0m\nsecond\n"


def test_a_run_page_says_who_asked_for_what_and_who_watched(cast: Cast, production: Shipper) -> None:
    asked = production.ship(
        run(
            trigger="manual",
            slot=None,
            asked_by="operator@desk",
            attended=True,
            dry_run=True,
            parameters={"full": True, "databases": ["alpha", "beta"], "limit": 10.0, "since": "2025-01-01"},
        )
    )[0]["id"]
    for address in (reverse("run", args=[asked]), "/runs/"):
        page = text_of(cast.viewer, address)
        assert "operator@desk" in page
        assert "dry run" in page
        assert "on a terminal" in page
    assert "databases=alpha, beta, full=yes, limit=10, since=2025-01-01" in page
    page = text_of(cast.viewer, reverse("run", args=[asked]))
    for name, value in (("full", "yes"), ("databases", "alpha, beta"), ("limit", "10"), ("since", "2025-01-01")):
        assert f"<dt>{name}</dt><dd>{value}</dd>" in page
    plain = text_of(cast.viewer, reverse("run", args=[production.ship(run())[0]["id"]]))
    for hidden in ("Parameters", "Asked for by", "on a terminal", "dry run", "tried again", "suspicious"):
        assert hidden not in plain


@pytest.mark.each_engine
def test_a_suspicious_success_is_shown_as_such_until_somebody_has_handled_it(cast: Cast, production: Shipper) -> None:
    identifier = production.ship(run(task="send_reports", unexpected=["rows is 0; expected >0"]))[0]["id"]
    own = reverse("run", args=[identifier])
    for address in ("/", "/runs/", "/runs/?review=open", own):
        page = text_of(cast.viewer, address)
        assert '<span class="status succeeded suspicious">succeeded</span>' in page
        assert '<span class="doubt">suspicious:</span> rows is 0; expected &gt;0' in page
    assert "needs analysis" in text_of(cast.viewer, own)
    cast.reviewer.post(reverse("review", args=[identifier]), {"state": "done"})
    assert "send_reports" not in text_of(cast.viewer, "/")
    assert "suspicious:" in text_of(cast.viewer, own)


def test_a_failure_that_another_attempt_follows_says_when(cast: Cast, production: Shipper) -> None:
    identifier = production.ship(failed(retry_at="2025-03-01T02:32:00Z"))[0]["id"]
    for address in ("/runs/", reverse("run", args=[identifier])):
        page = text_of(cast.viewer, address)
        assert "tried again at" in page
        assert ">02:32:00</time>" in page
    assert "send_reports" not in text_of(cast.viewer, "/")


@pytest.mark.each_engine
def test_whatever_a_host_sends_is_shown_as_text(cast: Cast, production: Shipper) -> None:
    evil, sent = "\"><script>alert('x')</script>", str(uuid.UUID(int=7 << 76 | 2 << 62))
    identifier = production.ship(
        failed(
            reason=evil,
            release=evil,
            items=[{"name": evil, "outcome": evil, "message": evil}],
            counts={evil: 1},
            asked_by=evil,
            parameters={evil: evil, "several": [evil, evil]},
        ),
        run(unexpected=[evil, evil]),
        caught(id=sent, subject=evil, text=evil, to=[evil]),
        deploy(ref=evil, who=evil, reason=evil),
        {"id": evil},
    )[0]["id"]
    doubtful = reverse("run", args=[Run.objects.get(status="succeeded").pk])
    own = [reverse("run", args=[identifier]), doubtful, reverse("caught", args=[sent])]
    for address in (*PAGES, *own, f"/runs/?text={evil}", f"/outbox/?text={evil}"):
        page = text_of(cast.reviewer, address)
        assert "<script" not in page
        assert escape("alert('x')") in page or "alert" not in page
        assert "&amp;lt;" not in page, "escaped twice"


@pytest.mark.each_engine
def test_a_run_knows_the_runs_of_its_task_before_and_after_it(cast: Cast, production: Shipper) -> None:
    first, second, third = (production.ship(run(started=at(minute)))[0]["id"] for minute in range(3))
    production.ship(run(task="another_task", started=at(1)))
    page = text_of(cast.viewer, reverse("run", args=[second]))
    assert f'href="/runs/{first}/" rel="prev"' in page
    assert f'href="/runs/{third}/" rel="next"' in page


def test_a_run_that_is_not_there_is_not_found(cast: Cast) -> None:
    response = cast.viewer.get(reverse("run", args=[uuid.uuid4()]))
    assert response.status_code == 404
    assert "There is no such page." in response.content.decode()


NARROWED = {
    "": {"a", "b", "c", "d"},
    "environment=staging": {"d"},
    "host=production": {"a", "b", "c"},
    "task=send_reports": {"a", "b", "d"},
    "task=send_reports&status=failed": {"b"},
    "review=open": {"b"},
    "review=done": set(),
    "text=Needle": {"c"},
    "text=EXIT+9": {"b"},
    "text=100%25": set(),
    "text=a_b": set(),
    "status=nonsense": set(),
    "host=%00": {"a", "b", "c", "d"},
    "before=nonsense": {"a", "b", "c", "d"},
}


@pytest.mark.each_engine
def test_the_list_of_runs_is_narrowed_by_its_address(cast: Cast, production: Shipper) -> None:
    ids = {
        "a": production.ship(run())[0]["id"],
        "b": production.ship(failed(reason="exit 9"))[0]["id"],
        "c": production.ship(run(task="rotate_logs", output="a needle in hay\n"))[0]["id"],
    }
    staging = Host.objects.create(name="staging", environment="staging")
    template = Run.objects.get(pk=ids["a"])
    template.pk, template.host, template.environment = uuid.uuid4(), staging, "staging"
    template.save(force_insert=True)
    ids["d"] = str(template.pk)
    client = cast.viewer

    def found(query: str) -> set[str]:
        page = text_of(client, f"/runs/?{query}")
        return {name for name, identifier in ids.items() if identifier in page}

    assert {query: found(query) for query in NARROWED} == NARROWED


@pytest.mark.each_engine
def test_paging_shows_every_run_once_in_both_directions(cast: Cast, production: Shipper) -> None:
    amount = 2 * PAGE + 7
    # Five runs share each moment, so that the id has to settle their order.
    production.ship(*(run(started=at(number // 5)) for number in range(amount)))
    expected = [str(pk) for pk in Run.objects.order_by("-started", "-id").values_list("pk", flat=True)]
    seen: list[list[str]] = []
    address = "?status=succeeded"
    while address:
        page = cast.viewer.get(f"/runs/{address}").context["page"]
        seen.append([str(row.pk) for row in page.rows])
        last, address = page, page.older
    assert [len(rows) for rows in seen] == [PAGE, PAGE, 7]
    assert sum(seen, []) == expected
    back = cast.viewer.get(f"/runs/{last.newer}").context["page"]
    assert [str(row.pk) for row in back.rows] == seen[1]
    first = cast.viewer.get(f"/runs/{back.newer}").context["page"]
    assert [str(row.pk) for row in first.rows] == seen[0]
    assert first.newer == ""


@pytest.mark.each_engine
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/Los_Angeles"])
def test_no_page_breaks_at_the_edge_of_the_calendar(
    cast: Cast, production: Shipper, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    identifier = production.ship(failed())[0]["id"]
    sent = production.ship(deploy(), caught())[1]["id"]
    for edge in (datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)):
        Run.objects.update(started=edge, ended=edge, slot=edge, retry_at=edge)
        Deploy.objects.update(started=edge, ended=edge)
        Outbound.objects.update(at=edge)
        Person.objects.update(time_zone=zone)
        for address in (*PAGES, reverse("run", args=[identifier]), reverse("caught", args=[sent])):
            text_of(cast.viewer, address)


@pytest.mark.each_engine
@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_an_address_at_the_edge_of_the_calendar_is_read_as_no_page(cast: Cast, moment: str) -> None:
    for direction in ("before", "after"):
        for address in ("/runs/", "/outbox/"):
            text_of(cast.viewer, f"{address}?{urlencode({direction: f'{moment}~{uuid.uuid4()}'})}")


@pytest.mark.parametrize("name", ["Environment", "Status", "Trigger", "DeployAction", "DeployStatus"])
def test_the_diary_has_a_word_for_everything_that_a_record_can_say(name: str) -> None:
    assert list(getattr(models, name)) == list(getattr(words, name))


@pytest.mark.each_engine
def test_releases_are_listed_and_narrowed_by_host(cast: Cast, production: Shipper) -> None:
    production.ship(deploy(), deploy(status="returned", action="return", reason="health did not come"))
    page = text_of(cast.viewer, "/releases/?host=production")
    assert "health did not come" in page
    assert "operator@example.org" in page
    assert "No deploy is like this" in text_of(cast.viewer, "/releases/?host=nowhere")


@pytest.mark.each_engine
def test_hosts_show_their_release_their_silence_and_what_was_not_understood(cast: Cast, production: Shipper) -> None:
    assert "silent" in text_of(cast.viewer, "/hosts/")
    production.ship(deploy(), run(status="perhaps"))
    page = text_of(cast.viewer, "/hosts/")
    assert "silent" not in page
    assert "20250301T090000Z-ba9876543210" in page
    assert "&#x27;status&#x27; is &#x27;perhaps&#x27;" in page


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_every_page_says_where_it_is_unless_it_is_production(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, environment: str
) -> None:
    monkeypatch.setattr(settings, "CONFIGURATION", replace(settings.CONFIGURATION, environment=environment))
    for address in (*PAGES, "/login/"):
        client = cast.stranger if address == "/login/" else cast.viewer
        assert ("not production" in text_of(client, address)) is (environment == "staging")


@pytest.mark.each_engine
def test_a_page_costs_the_same_handful_of_queries_however_much_there_is(
    cast: Cast, production: Shipper, django_assert_max_num_queries: Any
) -> None:
    def counted(client: Client) -> dict[str, int]:
        searches = ("/runs/?text=x&status=failed&host=production", "/outbox/?text=x&means=mail&host=production")
        first = reverse("run", args=[Run.objects.order_by("started")[0].pk])
        counts = {}
        for address in (*PAGES, *searches, first):
            with django_assert_max_num_queries(13) as queries:
                text_of(client, address)
            counts[address] = len(queries)
        return counts

    production.ship(failed(started=at(0)), running(), deploy(), caught())
    few = counted(cast.reviewer)
    production.ship(*(caught(at=at(n), run=str(Run.objects.order_by("started")[0].pk)) for n in range(40)))
    production.ship(*(failed(task=f"task_{n}", started=at(n)) for n in range(60)), *(deploy() for _ in range(40)))
    production.ship(*(running(task=f"task_{n}", started=at(n)) for n in range(60)))
    Host.objects.bulk_create(Host(name=f"host-{n}") for n in range(20))
    assert counted(cast.reviewer) == few


def test_the_style_sheet_may_be_kept_for_good_because_its_address_changes_with_it(cast: Cast) -> None:
    page = text_of(cast.stranger, "/login/")
    address = page.split('rel="stylesheet" href="')[1].split('"')[0]
    response = cast.stranger.get(address)
    assert response.status_code == 200
    assert "?v=" in address
    assert "immutable" in response.headers["Cache-Control"]


@pytest.mark.parametrize("path", ["../settings.py", "%2e%2e/settings.py", "diary/missing.css", "/etc/passwd"])
def test_only_static_files_are_served_as_such(cast: Cast, path: str) -> None:
    assert cast.stranger.get(f"/static/{path}").status_code in (400, 404)


def test_the_migrations_say_what_the_tables_are(database: Any) -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_the_release_before_can_go_on_writing_while_and_after_the_tables_are_migrated() -> None:
    loader = MigrationLoader(None)
    added = [
        (name, operation)
        for (app, name), migration in loader.disk_migrations.items()
        if app == "diary" and not migration.initial
        for operation in migration.operations
        if isinstance(operation, AddField)
    ]
    assert added
    for name, operation in added:
        assert operation.field.null or operation.field.has_db_default(), f"{name}: {operation.name}"


def test_a_person_without_a_password_cannot_log_in(database: Any) -> None:
    Person.objects.create_user("new@example.org", None, name="New")
    for password in ("", "None", "!"):
        response = visitor().post("/login/", {"username": "new@example.org", "password": password})
        assert response.status_code == 200
