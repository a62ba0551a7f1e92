"""Clients get their files by key or login, whole or in ranges, and nobody else's."""

import os
import re
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

import bcrypt
import pytest
from django.contrib.auth.hashers import make_password
from django.test import Client as Browser

from rota.diary.configuration import Form
from rota.diary.models import AuditEntry, LoginFailure, Person
from rota.packs.reports.definitions import Definitions
from rota.packs.reports.diary import places
from rota.packs.reports.diary.keeping import client_value, keep, save_definitions
from rota.packs.reports.diary.models import Client, RunLog, Task
from rota.packs.reports.diary.pages.files import files_of
from rota.packs.reports.diary.published import Published
from rota.packs.reports.diary.sending import HEADERS
from tests.agent.diary.conftest import PASSWORD, SOURCES, Cast, visitor
from tests.agent.reports.diary.conftest import Publish
from tests.agent.reports.diary.test_editor import NEW, REPORT, form_of

KEY = "0123456789abcdef0123456789abcdef"
FILE, PAGE = "/reports/file/library/books.csv", "/reports/files/library/"
CONTENT = b"title\nMoby-Dick\n"


@pytest.fixture
def book(shelf: Task, publish: Publish) -> Task:
    """The report, made once, of a client with a key and a password."""
    Client.objects.update(access_key=sha256(KEY.encode()).hexdigest(), password=make_password("a secret"))
    shelf.client.refresh_from_db()
    publish(shelf, CONTENT)
    return shelf


def body(response: Any) -> bytes:
    return b"".join(response.streaming_content) if response.streaming else response.content


def logged_in() -> Browser:
    client = visitor()
    response = client.post(PAGE, {"password": "a secret"})
    assert (response.status_code, response.headers.get("Location")) == (302, PAGE)
    return client


@pytest.mark.each_engine
def test_the_key_opens_the_file_as_bearer_and_in_the_address(book: Task) -> None:
    for response in (visitor().get(FILE, HTTP_AUTHORIZATION=f"Bearer {KEY}"), visitor().get(f"{FILE}?key={KEY}")):
        assert (response.status_code, body(response)) == (200, CONTENT)
        assert response["Content-Type"] == "text/csv; charset=utf-8"
        assert response["Referrer-Policy"] == "same-origin"
    assert not LoginFailure.objects.exists()


def test_what_is_not_for_who_asks_is_told_in_the_originals_words(book: Task, publish: Publish) -> None:
    def told(address: str) -> tuple[int, bytes]:
        response = visitor().get(address)
        return response.status_code, body(response)

    assert told("/reports/file/nobody/books.csv") == (404, b"CLIENT NOT FOUND")
    assert told("/reports/file/library/other.csv") == (404, b"FILE NOT FOUND")
    assert told("/reports/file/library/.checksums") == (404, b"FILE NOT FOUND")
    assert told("/reports/file/library/..%2fx.csv")[0] == 404
    assert told(FILE) == (401, b"UNAUTHORIZED")
    assert told(f"{FILE}?key=") == (401, b"UNAUTHORIZED")
    assert told(f"{FILE}?key={KEY[::-1]}") == (401, b"UNAUTHORIZED")
    book.is_public = True
    book.save()
    assert told(FILE) == (200, CONTENT)
    book.delete()
    assert told(f"{FILE}?key={KEY}") == (401, b"UNAUTHORIZED")


def test_a_client_without_a_key_is_opened_by_none(book: Task) -> None:
    for none in (None, ""):
        Client.objects.update(access_key=none)
        assert visitor().get(f"{FILE}?key={KEY}").status_code == 401
        assert visitor().get(FILE, HTTP_AUTHORIZATION="Bearer ").status_code == 401


def test_one_clients_key_opens_no_others_file(book: Task, publish: Publish) -> None:
    other = Client.objects.create(name="Other", username="other", access_key=sha256(b"b" * 32).hexdigest())
    assert visitor().get(f"{FILE}?key={'b' * 32}").status_code == 401
    Client.objects.filter(pk=other.pk).update(password=make_password("another"))
    browser = visitor()
    assert browser.post("/reports/files/other/", {"password": "another"}).status_code == 302
    assert "books.csv" not in browser.get(PAGE).content.decode()
    assert browser.get(FILE).status_code == 401


def test_guessing_keys_is_slowed_down_and_locks_no_person_out(book: Task, cast: Cast) -> None:
    statuses = [visitor().get(f"{FILE}?key={number}").status_code for number in range(11)]
    assert statuses == [401] * 10 + [429]
    assert visitor().get(f"{FILE}?key={KEY}")["Retry-After"] == "900"
    assert visitor().get(f"{FILE}?key={KEY}", REMOTE_ADDR="192.0.2.9").status_code == 200
    said = {"username": "viewer@example.org", "password": PASSWORD}
    assert visitor().post("/login/", said).status_code == 302


@pytest.mark.each_engine
def test_the_clients_login_shows_what_was_made_and_ends_with_its_password(book: Task) -> None:
    browser = logged_in()
    page = browser.get(PAGE).content.decode()
    assert "books.csv" in page
    assert sha256(CONTENT).hexdigest() in page
    assert body(browser.get(FILE)) == CONTENT
    assert browser.get("/runs/").status_code == 302, "a client is no person of the diary"
    Client.objects.update(password=make_password("a new one"))
    assert browser.get(FILE).status_code == 401
    assert "books.csv" not in browser.get(PAGE).content.decode()


def test_a_client_logs_out_and_a_person_in_the_same_browser_stays(book: Task, cast: Cast) -> None:
    browser = visitor(cast.people["viewer"])
    assert browser.post(PAGE, {"password": "a secret"}).status_code == 302
    assert browser.get(FILE).status_code == 200
    assert browser.post(f"{PAGE}leave").status_code == 302
    assert browser.get(FILE).status_code == 401
    assert browser.get("/runs/").status_code == 200


def test_a_password_of_the_original_opens_and_is_hashed_anew(book: Task) -> None:
    hashed = bcrypt.hashpw(b"a secret", bcrypt.gensalt(4)).decode().replace("$2b$", "$2a$")
    Client.objects.update(password=hashed)
    browser = logged_in()
    kept = Client.objects.get().password or ""
    assert not kept.startswith("$2")
    assert browser.get(FILE).status_code == 200
    logged_in()
    Client.objects.update(password="$2a$nonsense")
    assert visitor().post(PAGE, {"password": "a secret"}).status_code == 200


def test_guessing_a_clients_password_is_slowed_down_and_told_to_the_audit_log(book: Task) -> None:
    statuses = [visitor().post(PAGE, {"password": str(number)}).status_code for number in range(11)]
    assert statuses == [200] * 10 + [429]
    assert AuditEntry.objects.filter(action="login refused").count() == 10
    assert visitor().post("/reports/files/nobody/", {"password": "a"}).status_code == 200


def test_strangers_are_not_told_on_the_page_which_clients_there_are(book: Task) -> None:
    pages = [visitor().get(f"/reports/files/{name}/") for name in ("library", "nobody!")]
    first, second = (page.content.decode().replace("nobody!", "library") for page in pages)
    assert [page.status_code for page in pages] == [200, 200]
    strip = lambda page: page.partition("csrfmiddlewaretoken")[0]  # noqa: E731 - only here
    assert strip(first) == strip(second)


def test_a_form_from_another_site_logs_nobody_in(book: Task) -> None:
    browser = Browser(HTTP_X_FORWARDED_PROTO="https", HTTP_HOST="localhost", enforce_csrf_checks=True)
    assert browser.post(PAGE, {"password": "a secret"}).status_code == 403
    assert browser.post(f"{PAGE}leave").status_code == 403


def test_failures_and_what_is_inactive_are_not_listed(book: Task) -> None:
    file = places.exports() / "library/books.csv"
    file.rename(file.with_name(".away"))
    RunLog.objects.update(is_success=False)
    assert "books.csv" not in logged_in().get(PAGE).content.decode()
    file.with_name(".away").rename(file)
    assert "books.csv" in logged_in().get(PAGE).content.decode()
    Task.objects.update(is_active=False)
    assert "books.csv" not in logged_in().get(PAGE).content.decode()


def test_editors_see_their_clients_files_and_viewers_do_not(book: Task, editor: Person, cast: Cast) -> None:
    for client, status in ((visitor(editor), 200), (cast.administrator, 200), (cast.operator, 401)):
        assert client.get(FILE).status_code == status


def test_previous_versions_are_listed_and_sent(book: Task, publish: Publish) -> None:
    publish(book, b"title\nBartleby\n")
    browser = logged_in()
    (each,) = browser.get(PAGE).context["files"]
    (version,) = each["versions"]
    address = f"{FILE}/{version['name']}"
    assert body(browser.get(address)) == CONTENT
    assert browser.get(address)["ETag"] != browser.get(FILE)["ETag"]
    assert body(browser.get(FILE)) == b"title\nBartleby\n"
    assert visitor().get(address).status_code == 401
    assert browser.get(f"{FILE}/20200101T000000.000000000Z").status_code == 404


def made_anew(cast: Cast, shelf: Task) -> None:
    """The client and its report are deleted, and others get their names; the new report is public."""
    browser = cast.administrator
    browser.post(f"{REPORT}delete")
    browser.post("/reports/clients/library/delete")
    browser.post("/reports/clients/new", {"username": "library", "name": "Another"})
    assert browser.post(NEW, form_of(browser, NEW, file_name="books.csv", is_public=True)).status_code == 302


def renamed(cast: Cast, shelf: Task) -> None:
    """Another report of the client gets the name of one that is deleted."""
    browser = cast.administrator
    browser.post(NEW, form_of(browser, NEW, file_name="other.csv", is_public=True))
    browser.post(f"{REPORT}delete")
    other = REPORT.replace("books", "other")
    assert browser.post(other, form_of(browser, other, file_name="books.csv")).status_code == 302


def client_renamed(cast: Cast, shelf: Task) -> None:
    """Another client gets the name of one that is deleted, and a report from a folder that it had under its own."""
    browser = cast.administrator
    browser.post("/reports/clients/new", {"username": "archive", "name": "Another"})
    browser.post(f"{REPORT}delete")
    browser.post("/reports/clients/library/delete")
    task = Task(client=Client.objects.get(), file_name="books.csv", extension="csv", start_date=shelf.start_date)
    task.is_public = task.is_active = True
    keep(task, by=None)
    save_definitions(Definitions(clients=(replace(client_value(task.client), username="library"),)), by=None)


@pytest.mark.each_engine
@pytest.mark.parametrize("change", [made_anew, renamed, client_renamed])
def test_who_gets_a_name_gets_no_file_that_another_left(
    book: Task, cast: Cast, publish: Publish, change: Callable[[Cast, Task], None]
) -> None:
    publish(book, b"title\nBartleby\n")
    (version,) = Published(book.client).versions(book)
    for path in (version.path, places.exports() / "library/books.csv"):
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 60))
    change(cast, book)
    new = Task.objects.select_related("client").get()
    for address in (FILE, f"{FILE}/{version.path.name}"):
        response = visitor().get(address)
        assert (response.status_code, body(response)) == (404, b"FILE NOT FOUND")
    assert [each for each in files_of(new.client) if each["size"] or each["versions"]] == []
    publish(new, CONTENT)
    assert body(visitor().get(FILE)) == CONTENT
    assert visitor().get(f"{FILE}/{version.path.name}").status_code == 404


RANGES = {
    "bytes=0-4": (206, CONTENT[:5], "bytes 0-4/16"),
    "bytes=6-": (206, CONTENT[6:], "bytes 6-15/16"),
    "bytes=-3": (206, CONTENT[-3:], "bytes 13-15/16"),
    "bytes=-99": (206, CONTENT, "bytes 0-15/16"),
    "bytes=4-999": (206, CONTENT[4:], "bytes 4-15/16"),
    "bytes=16-": (416, b"", "bytes */16"),
    "bytes=-0": (416, b"", "bytes */16"),
    "bytes=5-2": (200, CONTENT, None),
    "bytes=0-1,3-4": (200, CONTENT, None),
    "lines=1-2": (200, CONTENT, None),
    "bytes=-": (200, CONTENT, None),
}


@pytest.mark.parametrize("asked", RANGES)
def test_one_range_is_sent(book: Task, asked: str) -> None:
    response = visitor().get(FILE, HTTP_RANGE=asked, HTTP_AUTHORIZATION=f"Bearer {KEY}")
    assert (response.status_code, body(response), response.get("Content-Range")) == RANGES[asked]


def test_an_unchanged_file_is_not_sent_again_and_a_changed_one_whole(book: Task, publish: Publish) -> None:
    bearer = {"HTTP_AUTHORIZATION": f"Bearer {KEY}"}
    tag = visitor().get(FILE, **bearer)["ETag"]
    assert visitor().get(FILE, HTTP_IF_NONE_MATCH=tag, **bearer).status_code == 304
    assert visitor().get(FILE, HTTP_RANGE="bytes=0-1", HTTP_IF_RANGE=tag, **bearer).status_code == 206
    publish(book, CONTENT * 2)
    assert visitor().get(FILE, HTTP_IF_NONE_MATCH=tag, **bearer).status_code == 200
    assert visitor().get(FILE, HTTP_RANGE="bytes=0-1", HTTP_IF_RANGE=tag, **bearer).status_code == 200


def test_head_says_the_length_and_sends_nothing(book: Task) -> None:
    response = visitor().head(FILE, HTTP_AUTHORIZATION=f"Bearer {KEY}")
    assert (response.status_code, response["Content-Length"], body(response)) == (200, "16", b"")


def test_what_a_script_wrote_runs_nothing_in_the_diarys_name(book: Task, publish: Publish) -> None:
    page = Task.objects.create(
        client=book.client, file_name="page.html", extension="html", start_date=book.start_date, is_public=True
    )
    publish(page, b"<script>alert(1)</script>")
    response = visitor().get("/reports/file/library/page.html")
    assert response["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert response["Content-Type"] == "text/html; charset=utf-8"
    assert "attachment" not in response["Content-Disposition"]
    assert visitor().get("/reports/file/library/page.html?download")["Content-Disposition"].startswith("attachment")


def test_nginx_says_of_a_file_what_the_diary_would() -> None:
    location = (SOURCES.parents[1] / "roles/reports/templates/locations.conf.j2").read_text()
    said = dict(re.findall(r'add_header (\S+) "?(.+?)"? always;', location))
    assert said.items() >= HEADERS.items()
    assert said.keys() - HEADERS.keys() == {"Referrer-Policy"}, "which for_clients sets in the embedded form"


def test_on_a_host_nginx_sends_the_bytes(book: Task, settings: Any) -> None:
    settings.CONFIGURATION = replace(settings.CONFIGURATION, form=Form.HOST)
    response = visitor().get(FILE, HTTP_AUTHORIZATION=f"Bearer {KEY}")
    assert response["X-Accel-Redirect"] == "/reports-exports/library/books.csv"
    assert (response.status_code, response.content) == (200, b"")
    assert visitor().get(FILE).get("X-Accel-Redirect") is None


def test_a_file_is_listed_before_the_diary_has_heard_of_its_run(book: Task) -> None:
    RunLog.objects.all().delete()
    page = logged_in().get(PAGE).content.decode()
    assert f'href="{FILE}"' in page
    (places.exports() / "library/books.csv").unlink()
    assert FILE not in logged_in().get(PAGE).content.decode()
